"""Finding a call wherever it is held: in this process, else at the worker that holds its partition now."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.console.peers import PeerError, Peers
from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogUnavailable, NotCaughtUp, NotHeld
from consumer.kafka.members import Groups, Member
from consumer.kafka.reader import fetch_records
from consumer.kafka.topics import Topics
from consumer.model.codec import CodecError, decode_event
from consumer.model.events import CallEvent, Position

DEADLINE_SECONDS = 3.0
ATTEMPT_SECONDS = 1.0
PAUSE_SECONDS = 0.15
REMEMBERED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call as its owner knows it: as the API shows it, and the offsets of its events in its partition."""

    shown: Mapping[str, Any]
    history: tuple[int, ...]


class OwnCalls(Protocol):
    """Looks a call up in this process.

    Raises:
        NotHeld: its partition is not held here.
        NotCaughtUp: it is, but what is known of it may be old.
        LogUnavailable: Kafka does not answer.

    """

    async def __call__(self, account: str, call_id: str) -> KnownCall | None: ...


class CallElsewhereError(Exception):
    """Nobody who can be asked now knows how the call stands; the message says who should, and why not."""


class CallFinder:
    """Looks calls up, and the events that they are folded from."""

    def __init__(self, connection: Connection, topics: Topics, groups: Groups, peers: Peers, own: OwnCalls) -> None:
        self._connection = connection
        self._topics = topics
        self._groups = groups
        self._peers = peers
        self._own = own

    async def find(self, account: str, call_id: str) -> KnownCall | None:
        """Give a call, None where its owner has read all of its partition and knows of none.

        Raises:
            CallElsewhereError: no owner said so within ``DEADLINE_SECONDS``.

        """
        give_up_at = time.monotonic() + DEADLINE_SECONDS
        asked_after = time.monotonic() - REMEMBERED_SECONDS
        reason = "nobody answered in time"
        while True:
            left = give_up_at - time.monotonic()
            try:
                async with asyncio.timeout(left):
                    return await self._once(account, call_id, asked_after, min(ATTEMPT_SECONDS, left))
            except (LogUnavailable, NotCaughtUp, PeerError, TimeoutError) as error:
                reason = str(error) or reason
                if time.monotonic() + PAUSE_SECONDS >= give_up_at:
                    raise CallElsewhereError(self._why(account, call_id, reason)) from error
            asked_after = time.monotonic()  # what the group looked like until now did not help
            await asyncio.sleep(PAUSE_SECONDS)

    async def history(self, account: str, call_id: str, call: KnownCall) -> list[CallEvent]:
        """Read the events of a call that retention has left; raises ``LogUnavailable``."""
        topic, partition = self._topics.call_events.name, self._topics.partition_of_call(account, call_id)
        records = await fetch_records(self._connection, topic, partition, call.history)
        return [
            decode_event(record.value, Position(topic, partition, record.offset), record.timestamp / 1_000)
            for record in records
        ]

    async def events_at(self, positions: Iterable[Position]) -> dict[Position, CallEvent]:
        """Read single events that retention has left, of whatever calls; raises ``LogUnavailable``."""
        topic = self._topics.call_events.name
        offsets: dict[int, list[int]] = {}
        for position in positions:
            if position.topic == topic:
                offsets.setdefault(position.partition, []).append(position.offset)
        found: dict[Position, CallEvent] = {}
        for partition, wanted in offsets.items():
            for record in await fetch_records(self._connection, topic, partition, wanted):
                position = Position(topic, partition, record.offset)
                with contextlib.suppress(CodecError):
                    found[position] = decode_event(record.value, position, record.timestamp / 1_000)
        return found

    async def _once(self, account: str, call_id: str, asked_after: float, within_seconds: float) -> KnownCall | None:
        with contextlib.suppress(NotHeld):
            return await self._own(account, call_id)
        owner = await self._owner(self._topics.partition_of_call(account, call_id), asked_after)
        answer = await self._peers.ask(owner, "calls", account, call_id, within_seconds=within_seconds)
        try:
            call = answer["call"]
            return None if call is None else KnownCall(dict(call), tuple(map(int, answer["history"])))
        except (KeyError, TypeError, ValueError) as error:
            raise PeerError(f"worker {owner.node} at {owner.url} answers something else") from error

    async def _owner(self, partition: int, asked_after: float) -> Member:
        members = await self._groups.members("correlate", asked_after=asked_after)
        for member in members:
            if partition in member.partitions:
                return member
        raise PeerError("no worker holds it" if members else "no correlate worker is running")

    def _why(self, account: str, call_id: str, reason: str) -> str:
        partition = self._topics.partition_of_call(account, call_id)
        return (
            f"partition {partition} of {self._topics.call_events.name}, which holds the call, cannot be asked: {reason}"
        )
