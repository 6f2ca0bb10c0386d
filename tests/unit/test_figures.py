"""Figures of several processes: real HTTP, and groups whose members the test names."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from consumer.console import figures as figures_module
from consumer.console.figures import Figures, KnownHere, Report
from consumer.console.peers import Peers
from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.members import Groups, Member
from consumer.kafka.progress import Progress
from consumer.service.held_here import HeldHere
from consumer.service.internal_routes import internal_routes
from consumer.service.peer_proof import PeerProof
from tests.patience import PATIENCE_SECONDS
from tests.unit.values import account

PROOF = PeerProof([account()])
SENDING = {"breaker": "closed", "held": None, "backlog": 3, "requests": 9, "last_success_at": 1_000.5}
NOT_SENDING = dict.fromkeys(SENDING)


class Named(Groups):
    """Groups as the test says; ``LogUnavailable`` for one that it does not name."""

    def __init__(self, **members: Sequence[Member]) -> None:
        super().__init__(Connection("127.0.0.1:9"))
        self.named = members
        self.asked: list[str] = []

    async def _ask(self, group: str) -> tuple[Member, ...]:
        self.asked.append(group)
        if group not in self.named:
            raise LogUnavailable("being shared out anew")
        return tuple(self.named[group])


class Reporting(HeldHere):
    def __init__(self, report: Report) -> None:
        super().__init__()
        self.said = report

    def report(self) -> Report:
        return self.said


@asynccontextmanager
async def worker(node: str, report: Report) -> AsyncIterator[Member]:
    application = web.Application()
    application.add_routes(internal_routes(Reporting(report), node=node, proof=PROOF))
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield Member(f"id-of-{node}", node, url, frozenset(report.calls) or frozenset({0}))
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def peers() -> AsyncIterator[Peers]:
    asking = Peers(PROOF.authorization)
    await asking.start()
    yield asking
    await asking.stop()


def figures_of(groups: Groups, peers: Peers, own: Report, *, partitions: int = 4, accounts: str = "ab") -> Figures:
    return Figures(KnownHere("here", lambda: own, partitions, frozenset(accounts)), groups, peers)


def of_account(sending: Mapping[str, Any], last_webhook_at: float | None) -> dict[str, Any]:
    return {**sending, "last_webhook_at": last_webhook_at}


async def test_what_is_known_here_and_elsewhere_is_put_together(peers: Peers) -> None:
    own = Report({0: (10, 1)}, {"a": 50.0}, {"a": SENDING})
    one = Report({1: (20, 2), 2: (30, 3)}, {"a": 70.0, "b": 60.0})
    two = Report({3: (40, 4)}, {"b": 40.0}, {"b": SENDING | {"breaker": "open"}})
    async with worker("one", one) as first, worker("two", two) as second:
        figures = figures_of(Named(correlate=[first, second], terminate=[second]), peers, own)
        figures.look()
        assert figures.counts() is None
        assert figures.account("b") == of_account(NOT_SENDING, None)
        await figures.refresh()
        assert figures.counts() == (100, 10)
        assert figures.account("a") == of_account(SENDING, 70.0)
        assert figures.account("b") == of_account(SENDING | {"breaker": "open"}, 60.0)


async def test_how_often_a_rule_raised_is_added_up_over_processes(peers: Peers) -> None:
    own, one, two = (Report(failures={"opt-out": times, "mine": 1}) for times in (1, 20, 300))
    async with worker("one", one) as first, worker("two", two) as second:
        figures = figures_of(Named(correlate=[first], guard=[first, second]), peers, own)
        await figures.refresh()
        assert [figures.failures(rule) for rule in ("opt-out", "mine", "another")] == [321, 3, 0]


async def test_what_others_read_back_is_known_until_they_are_done(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures_module, "EVERY_SECONDS", 0.0)
    reading = Progress("correlate", 1, 3, 100, 400, 5.0)
    async with worker("one", Report({0: (1, 1)}, {}, {}, (reading,))) as first, worker("two", Report()) as second:
        groups = Named(correlate=[first, second], terminate=[])
        figures = figures_of(groups, peers, Report())
        await figures.refresh()
        assert figures.reading_elsewhere() == (reading,)
        groups.named = {"correlate": [second]}
        await figures.refresh()
        assert figures.reading_elsewhere() == ()


async def test_process_that_knows_everything_asks_nobody(peers: Peers) -> None:
    groups = Named()
    figures = figures_of(groups, peers, Report({0: (5, 2)}, {}, {"a": SENDING}), partitions=1, accounts="a")
    await figures.refresh()
    assert figures.counts() == (5, 2)
    assert groups.asked == []


async def test_others_are_asked_while_somebody_looks_and_not_otherwise(peers: Peers) -> None:
    async with worker("one", Report({0: (1, 1)})) as member:
        groups = Named(correlate=[member], terminate=[])
        figures = figures_of(groups, peers, Report(), partitions=1)
        running = asyncio.create_task(figures.run())
        try:
            for _ in range(20):
                await asyncio.sleep(0)
            assert groups.asked == []
            figures.look()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while figures.counts() is None:
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_last_word_is_kept_through_a_rebalance_and_not_for_ever(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker("one", Report({0: (7, 3)}, {"a": 9.0}, {"a": SENDING})) as member:
        groups = Named(correlate=[member], terminate=[])
        figures = figures_of(groups, peers, Report(), partitions=1)
        await figures.refresh()
    groups.named = {}
    monkeypatch.setattr(figures_module, "EVERY_SECONDS", 0.0)
    await figures.refresh()
    assert figures.counts() == (7, 3)
    assert figures.account("a") == of_account(SENDING, 9.0)
    monkeypatch.setattr(figures_module, "KEPT_SECONDS", 0.0)
    assert figures.counts() is None
    assert figures.account("a") == of_account(NOT_SENDING, 9.0)


async def test_worker_that_is_gone_or_answers_nonsense_leaves_the_figures_of_the_others(peers: Peers) -> None:
    async with worker("gone", Report({0: (1, 1)})) as gone:
        pass
    async with worker("odd", Report({1: (1, 1)}, {}, {"a": 7})) as odd, worker("one", Report({2: (8, 4)})) as one:  # type: ignore[dict-item]
        figures = figures_of(Named(correlate=[gone, odd, one], terminate=[]), peers, Report())
        await figures.refresh()
        assert figures.counts() is None
        figures = figures_of(Named(correlate=[gone, odd, one], terminate=[]), peers, Report(), partitions=1)
        await figures.refresh()
        assert figures.counts() == (8, 4)


async def test_questions_that_come_together_are_asked_once(peers: Peers) -> None:
    async with worker("one", Report({0: (1, 1)})) as member:
        groups = Named(correlate=[member], terminate=[])
        figures = figures_of(groups, peers, Report())
        before = time.monotonic()
        await asyncio.gather(*(figures.refresh() for _ in range(20)))
        assert (
            groups.asked == ["correlate", "terminate", "guard"]
            or time.monotonic() - before > figures_module.EVERY_SECONDS / 2
        )
