"""What a provider told the last owner of an account and still stands: who takes the account over keeps to it.

It is kept in the view too, since who goes on from there does not read again what was folded before.
"""

import sqlite3

from consumer.model.provider import Answer
from consumer.model.termination_codec import decode_termination_record, encode_termination_record
from consumer.model.terminations import AnswerClass, Result
from consumer.terminate.dispatcher import FAILING, HOLDING, Dispatcher

SCHEMA = """
CREATE TABLE IF NOT EXISTS standing (
    account TEXT NOT NULL, kind TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (account, kind)
) WITHOUT ROWID;
"""


class Standing:
    """The answers of one account as its log has them, in whatever order they are read."""

    def __init__(self) -> None:
        self._throttled: Result | None = None
        self._said: Result | None = None

    @property
    def answers(self) -> dict[str, Result]:
        """The answers that may still stand, by what each tells."""
        told = {"throttled": self._throttled, "said": self._said}
        return {kind: result for kind, result in told.items() if result}

    def answered(self, result: Result) -> None:
        """Note the answer to a request: until when to wait, and whether the account was refused as a whole."""
        if result.answer is AnswerClass.THROTTLED:
            if self._throttled is None or result.retry_at > self._throttled.retry_at:
                self._throttled = result
        elif result.answer and result.answer not in FAILING and (self._said is None or _later(result, self._said)):
            self._said = result

    def hand_over(self, dispatcher: Dispatcher, now: float, moment: float) -> None:
        """Tell a new dispatcher; ``now`` is in seconds since the epoch, ``moment`` the same on the dispatcher's clock."""
        said, throttled = self._said, self._throttled
        if said and said.answer in HOLDING:
            dispatcher.answered("", Answer(said.answer, said.detail), moment - max(0.0, now - said.at))
        if throttled and throttled.retry_at > now:
            wait = throttled.retry_at - now
            dispatcher.answered("", Answer(AnswerClass.THROTTLED, throttled.detail, wait), moment)


class Standings:
    """What stands of the accounts of one partition. Changes wait in memory until ``save``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Go on with what the table holds."""
        self._of: dict[str, Standing] = {}
        self._changed: set[str] = set()
        for (record,) in connection.execute("SELECT record FROM standing"):
            result = decode_termination_record(record)
            assert isinstance(result, Result)
            self.of(result.account).answered(result)

    def of(self, account: str) -> Standing:
        """Give what stands of an account."""
        return self._of.setdefault(account, Standing())

    def answered(self, result: Result) -> None:
        """Note the answer to a request."""
        self.of(result.account).answered(result)
        self._changed.add(result.account)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction."""
        rows = [
            (account, kind, encode_termination_record(result))
            for account in self._changed
            for kind, result in self._of[account].answers.items()
        ]
        connection.executemany("INSERT OR REPLACE INTO standing VALUES (?, ?, ?)", rows)
        self._changed.clear()


def _later(one: Result, other: Result) -> bool:
    return (one.at, one.answer or "") > (other.at, other.answer or "")
