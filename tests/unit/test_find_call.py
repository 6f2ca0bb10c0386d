"""Finding a call at other processes: real HTTP, and a group whose members the test names."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from consumer.console import find_call
from consumer.console.find_call import CallElsewhereError, CallFinder, KnownCall
from consumer.console.peers import Peers
from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogUnavailable, NotCaughtUp, NotHeld
from consumer.kafka.members import Groups, Member
from consumer.kafka.topics import Topics
from consumer.service.held_here import HeldHere
from consumer.service.internal_routes import internal_routes
from consumer.service.peer_proof import PeerProof
from tests.patience import PATIENCE_SECONDS
from tests.unit.values import ACCOUNT, account

CALL = "call 1/%2F"
PAUSE_SECONDS = 0.05
TOPICS = Topics.named(call_events=1)
CONNECTION = Connection("127.0.0.1:9")
FOUND = KnownCall({"call_id": CALL, "status": "registered"}, (3, 5))
PROOF = PeerProof([account()])


class Named(Groups):
    """A group that looks as the test says, one answer after the other; the last one stays."""

    def __init__(self, *answers: Sequence[Member] | LogUnavailable) -> None:
        super().__init__(CONNECTION)
        self.answers = list(answers)
        self.asked = 0

    async def _ask(self, group: str) -> tuple[Member, ...]:
        assert group == "correlate"
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, LogUnavailable):
            raise answer
        return tuple(answer)


class Holding(HeldHere):
    """A process that says the same of every call."""

    def __init__(self, says: KnownCall | Exception | None) -> None:
        super().__init__()
        self.says = says

    async def find(self, account: str, call_id: str) -> KnownCall | None:
        assert (account, call_id) == (ACCOUNT, CALL)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


NOTHING = Holding(NotHeld("this process holds no calls"))


@asynccontextmanager
async def served(routes: Sequence[web.RouteDef]) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def worker(node: str, says: KnownCall | Exception | None, proof: PeerProof = PROOF) -> AsyncIterator[Member]:
    async with served(internal_routes(Holding(says), node=node, proof=proof)) as url:
        yield owner(node, url)


def owner(node: str, url: str | None) -> Member:
    return Member(f"id-of-{node}", node, url, frozenset({0}))


@pytest_asyncio.fixture(loop_scope="session")
async def peers() -> AsyncIterator[Peers]:
    asking = Peers(PROOF.authorization)
    await asking.start()
    yield asking
    await asking.stop()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_call, "DEADLINE_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(find_call, "PAUSE_SECONDS", PAUSE_SECONDS)
    monkeypatch.setattr(find_call, "ATTEMPT_SECONDS", PATIENCE_SECONDS)


async def look_up(groups: Groups, peers: Peers, own: HeldHere = NOTHING) -> KnownCall | None:
    return await CallFinder(CONNECTION, TOPICS, groups, peers, own.find).find(ACCOUNT, CALL)


async def refusal(groups: Groups, peers: Peers, own: HeldHere = NOTHING, *, tries: int = 1) -> str:
    """Give why nobody says how a call stands; a single try leaves no time for another pause."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find_call, "PAUSE_SECONDS", PATIENCE_SECONDS if tries == 1 else PAUSE_SECONDS)
        with pytest.raises(CallElsewhereError) as refused:
            await look_up(groups, peers, own)
    assert "partition 0 of call-events" in str(refused.value)
    return str(refused.value)


async def test_own_call_needs_nobody_else(peers: Peers) -> None:
    groups = Named(())
    assert await look_up(groups, peers, Holding(FOUND)) == FOUND
    assert await look_up(groups, peers, Holding(None)) is None
    assert groups.asked == 0


async def test_owner_is_asked_and_its_answer_given(peers: Peers) -> None:
    async with worker("a", FOUND) as a, worker("b", None) as b:
        assert await look_up(Named([a]), peers) == FOUND
        assert await look_up(Named([b]), peers) is None


async def test_many_questions_at_once_ask_kafka_once(peers: Peers) -> None:
    async with worker("a", FOUND) as a:
        groups = Named([a])
        finder = CallFinder(CONNECTION, TOPICS, groups, peers, NOTHING.find)
        assert await asyncio.gather(*(finder.find(ACCOUNT, CALL) for _ in range(20))) == [FOUND] * 20
        assert groups.asked == 1


async def test_owner_that_lost_the_partition_makes_the_group_be_asked_again(peers: Peers) -> None:
    async with worker("a", NotHeld("it moved")) as former, worker("b", FOUND) as present:
        groups = Named([former], [present])
        assert await look_up(groups, peers) == FOUND
        assert groups.asked == 2


async def test_owner_that_left_makes_the_group_be_asked_again(peers: Peers) -> None:
    async with worker("a", FOUND) as gone:
        pass
    async with worker("b", FOUND) as present:
        assert await look_up(Named([gone], [present]), peers) == FOUND


async def test_rebalance_is_waited_for(peers: Peers) -> None:
    async with worker("a", FOUND) as a:
        assert await look_up(Named(LogUnavailable("being shared out"), [], [a]), peers) == FOUND


async def test_address_that_another_process_has_taken_over_does_not_answer_for_the_owner(peers: Peers) -> None:
    async with worker("another", None) as another:
        assert "this is another" in await refusal(Named([owner("a", another.url)]), peers)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        (Named([]), "no correlate worker is running"),
        (Named([Member("id", "a", "http://127.0.0.1:9", frozenset({1}))]), "no worker holds it"),
        (Named([owner("a", None)]), "worker a does not say where"),
        (Named([owner("a", "http://127.0.0.1:9")]), "worker a at http://127.0.0.1:9 cannot be asked"),
        (Named([owner("a", "no address")]), "worker a at no address cannot be asked"),
        (Named(LogUnavailable("being shared out anew")), "being shared out anew"),
    ],
)
async def test_partition_that_nobody_answers_for_is_named_with_the_reason(
    peers: Peers, groups: Groups, reason: str
) -> None:
    assert reason in await refusal(groups, peers)


async def test_partition_that_is_still_being_read_is_unknown_and_not_empty(peers: Peers) -> None:
    reading = NotCaughtUp("partition 0 is still being read: 10 of 90")
    assert "10 of 90" in await refusal(Named([]), peers, Holding(reading))
    async with worker("a", reading) as a:
        assert "10 of 90" in await refusal(Named([a]), peers)


async def test_process_of_another_installation_answers_nothing(peers: Peers) -> None:
    async with worker("a", FOUND, PeerProof([account(api_key="another-key")])) as a:
        assert "no account has the same name and API key" in await refusal(Named([a]), peers)


async def test_owner_that_says_nothing_is_given_up_in_time(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_call, "DEADLINE_SECONDS", 0.6)
    monkeypatch.setattr(find_call, "ATTEMPT_SECONDS", 0.2)
    over = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async with served([web.get("/{rest:.*}", silent)]) as url, asyncio.timeout(PATIENCE_SECONDS):
        assert f"worker a at {url} does not answer in time" in await refusal(Named([owner("a", url)]), peers, tries=3)
        over.set()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"title": "no such route"}),
        (200, {"call": {"call_id": CALL}}),
        (200, {"call": 7, "history": []}),
        (200, {"call": {}, "history": ["x"]}),
        (200, {}),
        (200, []),
        (302, {}),
    ],
)
async def test_strange_answer_never_makes_a_call_unknown(peers: Peers, status: int, body: Any) -> None:
    async def strange(_: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers={"Location": "/another"})

    async def another(_: web.Request) -> web.Response:
        return web.json_response({"call": None, "history": []})

    async with served([web.get("/another", another), web.get("/{rest:.*}", strange)]) as url:
        assert "worker a" in await refusal(Named([owner("a", url)]), peers)
