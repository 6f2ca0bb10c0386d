"""What a provider told the last owner of an account and still stands: who takes the account over keeps to it. Pure."""

from consumer.model.provider import Answer
from consumer.model.terminations import AnswerClass, Result
from consumer.terminate.dispatcher import FAILING, HOLDING, Dispatcher


class Standing:
    """The answers of one account as its log has them, in whatever order they are read."""

    def __init__(self) -> None:
        self._throttled: Result | None = None
        self._said: Result | None = None

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


def _later(one: Result, other: Result) -> bool:
    return (one.at, one.answer or "") > (other.at, other.answer or "")
