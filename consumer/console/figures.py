"""What only other processes know, as the page and the API show it: counts of calls, and how each account is sent for.

Every process can give a ``Report`` of its own. The reports of the group members that hold what is not held here are asked for
while somebody looks, and the last word on each partition and account is kept for a while, so that a rebalance does not
make the figures flicker.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from consumer.console.peers import PeerError, Peers
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.members import Groups, Member
from consumer.kafka.progress import Progress

logger = logging.getLogger(__name__)

T = TypeVar("T")

EVERY_SECONDS = 2.0
WITHIN_SECONDS = 2.0
KEPT_SECONDS = 30.0
GROUPS = ("correlate", "terminate", "guard")


@dataclass(frozen=True, slots=True)
class Report:
    """What one process knows.

    ``calls`` has (known, waiting) by partition of ``call-events``, ``last_webhook_at`` seconds since the epoch by account;
    ``sending`` has, for the accounts that it sends for, breaker, held, backlog, requests and last_success_at;
    ``reading_back`` how far what it reads back is, nothing once that is done; ``failures`` how often each rule raised there
    since it started.
    """

    calls: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    last_webhook_at: Mapping[str, float] = field(default_factory=dict)
    sending: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reading_back: Sequence[Progress] = ()
    failures: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "calls": {str(partition): counts for partition, counts in self.calls.items()},
            "last_webhook_at": self.last_webhook_at,
            "sending": self.sending,
            "reading_back": [progress.as_json() for progress in self.reading_back],
            "failures": self.failures,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Report":
        """Read what another process says; raises ``PeerError``."""
        try:
            return cls(
                {int(partition): (int(known), int(waiting)) for partition, (known, waiting) in value["calls"].items()},
                {str(account): float(at) for account, at in value["last_webhook_at"].items()},
                {str(account): dict(sending) for account, sending in value["sending"].items()},
                tuple(map(Progress.from_json, value.get("reading_back", ()))),
                {str(rule): int(times) for rule, times in value.get("failures", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PeerError("a worker reports something else") from error


@dataclass(frozen=True, slots=True)
class KnownHere:
    """What this process is and knows: its node, its own report, and the partitions and accounts there are in all."""

    node: str
    report: Callable[[], Report]
    partitions: int
    accounts: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Heard(Generic[T]):
    """A value with the monotonic time at which it was heard."""

    value: T
    at: float = field(default_factory=time.monotonic)

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self.at < KEPT_SECONDS


NOT_SENDING: Mapping[str, Any] = dict.fromkeys(("breaker", "held", "backlog", "requests", "last_success_at"))


class Figures:
    """The newest word on every partition and account. ``look`` first, then read."""

    def __init__(self, known_here: KnownHere, groups: Groups, peers: Peers) -> None:
        self._here = known_here
        self._groups = groups
        self._peers = peers
        self._calls: dict[int, _Heard[tuple[int, int]]] = {}
        self._sending: dict[str, _Heard[Mapping[str, Any]]] = {}
        self._last_webhook_at: dict[str, float] = {}
        self._failures: dict[str, _Heard[Mapping[str, int]]] = {}
        self._reading_elsewhere: Sequence[Progress] = ()
        self._wanted = asyncio.Event()
        self._refreshed_at = float("-inf")
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Ask the others while somebody looks, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.refresh()
            await asyncio.sleep(EVERY_SECONDS)

    def look(self) -> None:
        """Take in what is known here, and have ``run`` ask the others soon."""
        self._take(self._here.node, self._here.report())
        self._wanted.set()

    async def refresh(self) -> None:
        """Take in what is known here, and what the others know unless they were asked just now."""
        own = self._here.report()
        self._take(self._here.node, own)
        if len(own.calls) == self._here.partitions and self._here.accounts <= set(own.sending):
            self._reading_elsewhere = ()
            return
        async with self._lock:
            if time.monotonic() - self._refreshed_at < EVERY_SECONDS / 2:
                return
            others = await self._others()
            reports = await asyncio.gather(*map(self._report_of, others))
            for member, report in zip(others, reports, strict=True):
                self._take(member.node, report)
            self._reading_elsewhere = tuple(progress for report in reports for progress in report.reading_back)
            self._refreshed_at = time.monotonic()

    def counts(self) -> tuple[int, int] | None:
        """How many calls are known, and how many of them wait; None while a partition has not been heard of."""
        heard = [counts.value for counts in self._calls.values() if counts.fresh]
        if len(heard) < self._here.partitions:
            return None
        return sum(known for known, _ in heard), sum(waiting for _, waiting in heard)

    def account(self, name: str) -> dict[str, Any]:
        """How an account's traffic goes; null where nobody has said so lately."""
        heard = self._sending.get(name)
        sending = heard.value if heard and heard.fresh else NOT_SENDING
        return {**sending, "last_webhook_at": self._last_webhook_at.get(name)}

    def failures(self, rule: str) -> int:
        """How often a rule raised in the processes that can be asked, in each since it started."""
        return sum(heard.value.get(rule, 0) for heard in self._failures.values() if heard.fresh)

    def reading_elsewhere(self) -> Sequence[Progress]:
        """How far what other processes read back was when they were asked last."""
        return self._reading_elsewhere

    async def _others(self) -> list[Member]:
        """Every other process that holds something, once; nobody of a group that Kafka cannot tell about now."""
        asked_after = time.monotonic() - EVERY_SECONDS
        found: dict[str, Member] = {}
        for group in GROUPS:
            try:
                members = await self._groups.members(group, asked_after=asked_after)
            except LogUnavailable as error:
                logger.debug("the figures of other workers stay as they were: %s", error)
                continue
            found.update({member.node: member for member in members if member.partitions})
        found.pop(self._here.node, None)
        return list(found.values())

    async def _report_of(self, member: Member) -> Report:
        try:
            return Report.from_json(await self._peers.ask(member, "report", within_seconds=WITHIN_SECONDS))
        except PeerError as error:
            logger.debug("no figures of another worker: %s", error)
            return Report()

    def _take(self, node: str, report: Report) -> None:
        if report.failures:
            self._failures[node] = _Heard(report.failures)
        self._calls.update({partition: _Heard(counts) for partition, counts in report.calls.items()})
        self._sending.update({account: _Heard(sending) for account, sending in report.sending.items()})
        for account, at in report.last_webhook_at.items():
            self._last_webhook_at[account] = max(at, self._last_webhook_at.get(account, 0.0))
