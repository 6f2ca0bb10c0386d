import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from aiohttp import web

from consumer.kafka.order_feed import OrderFeed, fact_record, order_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.view import View
from consumer.kafka.worker import FoldingWorker
from consumer.model import Answer, HttpResponse, Provider
from consumer.model.accounts import Account
from consumer.model.identity import termination_id
from consumer.model.orders import EMERGENCY, RULE, Author, Fact, FactKind, Mode, OrderState, StopOrder
from consumer.model.scopes import Scope
from consumer.model.status import Status
from consumer.model.termination_codec import decode_termination_records, encode_termination_record
from consumer.model.terminations import AnswerClass, Attempt, Decision, Ended, Record, Result, State, Termination
from consumer.terminate import breaker, sender
from consumer.terminate.account_loop import LoopParts
from consumer.terminate.desk import Desk
from consumer.terminate.dispatcher import Dispatcher
from consumer.terminate.entries import Request
from consumer.terminate.role import TerminateRole
from consumer.terminate.shard import SCHEMA, TerminateShard
from handlers.providers.ringg import Ringg
from tests.kafka.helpers import (
    API_KEY,
    Breakable,
    Installation,
    Tail,
    a_worker,
    an_account,
    in_background,
    installed,
    until,
    working,
)
from tests.ports import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

ANSWER_SECONDS = 10.0
OK = {"message": "Calls terminated successfully!"}
NONE = {"message": "No terminable calls found for the specified parameters"}
SLOW = {"requests_per_second": 0.4, "burst": 1}
ACCOUNTS: dict[str, dict[str, Any]] = {
    "batches": {},
    "written-first": {},
    "throttled": {},
    "unauthorised": {},
    "failing": {},
    "silent": {},
    "unreachable": {},
    "none-terminable": {},
    "in-pieces": {},
    "poisoned": {},
    "released": {"rate_limit": SLOW},
    "released-late": {"batch": {"linger": "200ms"}},
    "connected": {"rate_limit": SLOW},
    "lanes": {"rate_limit": SLOW},
    "limited": {"rate_limit": {"requests_per_second": 5, "burst": 5}, "batch": {"size": 10}},
    "shadowed": {},
    "redirected": {},
    "odd": {"provider": "stumbling"},
    "crashed": {},
    "ahead": {},
    "confirmed": {},
    "forbidden": {},
    "quoting": {},
    "handed-over": {},
    "unpaid": {},
    "conflicting": {},
    "until-a-date": {},
    "unreadable-ids": {},
    "misdirected": {},
    "teapot": {},
    "looked-at": {"confirm_within": "300ms"},
    "unreadable": {"confirm_within": "300ms"},
    "crowd": {"rate_limit": SLOW},
    "beside-0": {},
    "beside-1": {},
    "beside-2": {},
    "beside-3": {},
    "doubtful": {},
}
names = count(1)
UNREADABLE = "what the provider's code stumbles over"
Respond = Callable[["Seen"], Awaitable[web.StreamResponse]]


class StumblingRingg(Ringg):
    def understand(self, response: HttpResponse) -> Answer:
        if UNREADABLE.encode() in response.body:
            raise KeyError(UNREADABLE)
        return super().understand(response)


PROVIDERS: dict[str, Provider] = {"ringg": Ringg(), "stumbling": StumblingRingg()}


@dataclass(frozen=True)
class Seen:
    """A request that reached the provider."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    call_ids: tuple[str, ...]
    request: web.Request


@dataclass
class ProviderStub:
    """Ringg's terminate endpoint, one base path per account, answering as the test says: 200 unless told otherwise."""

    seen: dict[str, list[Seen]] = field(default_factory=dict)
    respond: dict[str, Respond] = field(default_factory=dict)
    respond_to_looks: dict[str, Respond] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        account = request.match_info["account"]
        body = orjson.loads(await request.read() or b"{}")
        assert set(body) <= {"call_ids"}
        ids = tuple(body.get("call_ids", ()))
        assert len(set(ids)) == len(ids) <= 100
        seen = Seen(time.monotonic(), request.method, request.path, dict(request.headers), ids, request)
        self.seen.setdefault(account, []).append(seen)
        if request.method == "GET":
            if respond := self.respond_to_looks.get(account):
                return await respond(seen)
            return web.json_response({"data": {"id": request.query["id"], "status": "registered"}})
        if respond := self.respond.get(account):
            return await respond(seen)
        return web.json_response(OK)

    def stops(self, account: str) -> list[Seen]:
        return [seen for seen in self.seen.get(account, []) if seen.method == "PATCH"]


def always(status: int, body: object, **headers: str) -> Respond:
    async def respond(_: Seen) -> web.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=status, headers=given)

    return respond


@dataclass
class Dispatching:
    """The terminate role over all accounts of this module, with its provider and its log."""

    log: Installation
    feed: OrderFeed
    worker: FoldingWorker
    role: TerminateRole
    provider: ProviderStub
    tail: Tail

    async def order(self, account: str, **settings: Any) -> str:
        order_id = f"order-{next(names)}"
        given = {"by": Author("operator", "ops"), "hold": None} | settings
        order = StopOrder(order_id, account, Scope.campaign(f"campaign-{order_id}"), "why", **given)
        await self.log.producer.publish(order_record(self.feed.topic, order))
        await until(lambda: self.feed.book.get(order_id) is not None)
        return order_id

    async def fact(self, order_id: str, kind: FactKind) -> None:
        await self.log.producer.publish(fact_record(self.feed.topic, Fact(order_id, kind, Author("guard", "g"), "why")))

    async def decide(
        self, account: str, call_ids: Sequence[str], order_id: str, *, lane: int = RULE, mode: Mode = Mode.ENFORCE
    ) -> None:
        """Write decisions as the correlator does when it scans its calls."""
        await self.write(
            Decision(
                termination_id(account, call_id, 0),
                account,
                call_id,
                0,
                (order_id,),
                mode,
                lane,
                time.time(),
                Status.REGISTERED,
                bulk=True,
            )
            for call_id in call_ids
        )

    async def write(self, records: Any) -> None:
        await self.log.producer.publish_all(
            OutRecord(
                (self.log.topics.termination_log if isinstance(r, Attempt) else self.log.topics.terminations).name,
                self.log.topics.partition_of_account(r.account),
                r.termination_id.encode(),
                encode_termination_record(r),
            )
            for r in records
        )

    def shard(self, account: str) -> TerminateShard:
        shard = self.worker.shards[self.log.topics.partition_of_account(account)]
        assert isinstance(shard, TerminateShard)
        return shard

    def known(self, account: str, call_id: str) -> Termination:
        known = self.shard(account).ledger.get(termination_id(account, call_id, 0))
        assert known is not None
        return known

    def states(self, account: str, call_ids: Sequence[str]) -> set[State]:
        found = (self.shard(account).ledger.get(termination_id(account, one, 0)) for one in call_ids)
        return {t.state if t else State.WAITING for t in found}

    async def all_are(self, account: str, call_ids: Sequence[str], state: State) -> None:
        await until(lambda: self.states(account, call_ids) == {state})

    def logged(self, account: str) -> list[Record]:
        """What the role has written to ``termination-log`` about an account, in order."""
        topic = self.log.topics.termination_log
        records = [one for record in self.tail.of(topic) for one in decode_termination_records(record.value)]
        return [record for record in records if record.account == account]

    def next_send_at(self, account: str, call_id: str) -> tuple[str, float]:
        row = self.shard(account).view.connection.execute(
            "SELECT step, act_at FROM terminations WHERE termination_id = ?", (termination_id(account, call_id, 0),)
        )
        step, at = row.fetchone()
        return step, at

    async def marker(self, account: str) -> None:
        """Wait until a decision that is written now has been sent: what came before it has had its chance."""
        call_id = f"marker-{next(names)}"
        await self.decide(account, [call_id], await self.order(account), lane=RULE + 1)
        await until(lambda: any(call_id in seen.call_ids for seen in self.provider.stops(account)))


def ids(prefix: str, n: int) -> list[str]:
    return [f"{prefix}-{i:04}" for i in range(n)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dispatching]:
    async with dispatching(kafka_servers, "dispatch.", tmp_path_factory.mktemp("terminate")) as running:
        yield running


@asynccontextmanager
async def dispatching(servers: str, prefix: str, folder: Path) -> AsyncIterator[Dispatching]:
    """Start the terminate role for all accounts as the composition root does, with a provider for it."""
    provider = ProviderStub()
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(sender, "TOTAL_SECONDS", ANSWER_SECONDS)
        log = await stack.enter_async_context(installed(servers, prefix, terminations=2))
        application = web.Application()
        application.router.add_route("*", "/{account}/{rest:.*}", provider.handle)
        url = f"http://127.0.0.1:{await serve(stack, application, 0)}"
        accounts: dict[str, Account] = {
            name: an_account(
                name,
                base_url=f"{url}/{name}",
                reconcile="off",
                **({"rate_limit": {"requests_per_second": 50, "burst": 50}} | settings),
            )
            for name, settings in ACCOUNTS.items()
        }
        nobody = f"http://127.0.0.1:{free_port()}/unreachable"
        accounts["unreachable"] = an_account("unreachable", base_url=nobody, reconcile="off")
        feed = OrderFeed(log.connection, log.topics.stop_orders)
        await feed.start()
        stack.push_async_callback(feed.stop)
        await stack.enter_async_context(in_background(feed.run()))

        def open_shard(partition: int) -> TerminateShard:
            view = View(folder / f"{partition}.sqlite", SCHEMA, cluster_id=log.cluster.cluster_id)
            return TerminateShard(view, topics=log.topics, book=feed.book, accounts=accounts, providers=PROVIDERS)

        topics = [log.topics.terminations, log.topics.termination_log]
        worker, reader = a_worker(log, topics, folder, open_shard)
        role = TerminateRole(
            parts=LoopParts(worker, log.producer, log.topics, lambda: reader.generation),
            accounts=accounts,
            providers=PROVIDERS,
        )
        worker.on_folded(role.wake)
        feed.on_change(worker.wake)
        await stack.enter_async_context(working(worker, reader))
        await stack.enter_async_context(in_background(role.run()))
        tail = await stack.enter_async_context(log.following(*topics))
        await until(lambda: worker.ready and feed.ready)
        yield Dispatching(log, feed, worker, role, provider, tail)


async def serve(stack: AsyncExitStack, application: web.Application, port: int) -> int:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return int(runner.addresses[0][1])


async def test_250_calls_leave_in_three_requests(stage: Dispatching) -> None:
    calls = ids("many", 250)
    await stage.decide("batches", calls, await stage.order("batches"))
    await stage.all_are("batches", calls, State.ACCEPTED)
    requests = stage.provider.stops("batches")
    assert [len(seen.call_ids) for seen in requests] == [100, 100, 50]
    assert sorted(call_id for seen in requests for call_id in seen.call_ids) == calls
    for seen in requests:
        assert (seen.method, seen.path) == ("PATCH", "/batches/campaign/terminate")
        assert seen.headers["X-API-KEY"] == API_KEY
    health = stage.role.health("batches")
    assert health is not None
    assert (health.backlog, health.health.breaker, health.health.held) == (0, "closed", None)


async def test_attempt_is_in_the_log_before_the_request_and_the_outcome_after(stage: Dispatching) -> None:
    calls = ids("first", 20)
    at_the_request: list[set[str]] = []

    async def look_into_the_log(_: Seen) -> web.Response:
        records = await stage.log.read(stage.log.topics.termination_log)
        found = [one for record in records for one in decode_termination_records(record.value)]
        assert not [r for r in found if r.account == "written-first" and not isinstance(r, Attempt)]
        at_the_request.append({r.call_id for r in found if r.account == "written-first"})
        return web.json_response(OK)

    stage.provider.respond["written-first"] = look_into_the_log
    await stage.decide("written-first", calls, await stage.order("written-first"))
    await stage.all_are("written-first", calls, State.ACCEPTED)
    assert at_the_request == [set(calls)]
    await until(lambda: len(stage.logged("written-first")) == 40)
    logged = stage.logged("written-first")
    attempts, results = logged[:20], logged[20:]
    assert {type(r) for r in attempts} == {Attempt}
    for result in results:
        assert isinstance(result, Result)
        assert (result.answer, result.http_status, result.detail) == (AnswerClass.ACCEPTED, 200, OK["message"])


async def test_call_that_ends_cancelled_after_the_request_is_confirmed(stage: Dispatching) -> None:
    await stage.decide("confirmed", ["call"], await stage.order("confirmed"))
    await stage.all_are("confirmed", ["call"], State.ACCEPTED)
    t = stage.known("confirmed", "call")
    await stage.write([Ended(t.termination_id, t.account, t.call_id, 0, Status.CANCELLED, time.time())])
    await stage.all_are("confirmed", ["call"], State.CONFIRMED)
    await until(lambda: len(stage.logged("confirmed")) == 3)
    closing = stage.logged("confirmed")[-1]
    assert isinstance(closing, Result)
    assert (closing.outcome, closing.confirmed_by) == (State.CONFIRMED, "webhook")


async def test_retry_after_is_honoured(stage: Dispatching) -> None:
    stage.provider.respond["throttled"] = always(429, {"message": "slow down"}, Retry_After="1")
    await stage.decide("throttled", ids("t", 3), await stage.order("throttled"))
    await until(lambda: len(stage.provider.stops("throttled")) == 1)
    stage.provider.respond.pop("throttled")
    await stage.all_are("throttled", ids("t", 3), State.ACCEPTED)
    first, second = stage.provider.stops("throttled")
    assert second.at - first.at >= 1.0
    assert stage.known("throttled", "t-0000").sends == 1  # a refusal is no send


async def test_401_holds_the_backlog_probes_with_one_call_and_loses_nothing(
    stage: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "PROBE_SECONDS", 0.3)
    calls = ids("held", 120)
    stage.provider.respond["unauthorised"] = always(401, {"message": "Invalid or missing API key"})
    await stage.decide("unauthorised", calls, await stage.order("unauthorised"))
    await until(lambda: len(stage.provider.stops("unauthorised")) >= 4)
    health = stage.role.health("unauthorised")
    assert health is not None
    assert health.health.held == "credentials: Invalid or missing API key"
    assert stage.states("unauthorised", calls) <= {State.WAITING, State.REQUESTED}
    sizes = [len(seen.call_ids) for seen in stage.provider.stops("unauthorised")]
    assert sizes[0] == 100
    assert set(sizes[2:]) == {1}  # the second may have been on its way already
    stage.provider.respond.pop("unauthorised")
    await stage.all_are("unauthorised", calls, State.ACCEPTED)
    health = stage.role.health("unauthorised")
    assert health is not None
    assert health.health.held is None


@pytest.mark.parametrize("account", ["failing", "silent"])
async def test_unknown_effect_is_not_repeated_within_its_window(
    stage: Dispatching, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    over = asyncio.Event()

    async def silent(_: Seen) -> web.Response:
        await over.wait()
        return web.json_response(OK)

    session = stage.role._loops[account]._desk.sender._session
    if account == "silent":
        monkeypatch.setattr(session, "_timeout", aiohttp.ClientTimeout(total=0.5))
    stage.provider.respond[account] = silent if account == "silent" else always(500, {"message": "oops"})
    began = time.time()
    await stage.decide(account, ["call"], await stage.order(account))
    await stage.all_are(account, ["call"], State.UNKNOWN)
    await until(lambda: not stage.shard(account).ledger.dirty)
    _, at = stage.next_send_at(account, "call")
    assert at - began >= 15
    over.set()
    monkeypatch.undo()
    stage.provider.respond.pop(account)
    await stage.marker(account)
    assert [seen.call_ids for seen in stage.provider.stops(account)].count(("call",)) == 1
    answer = stage.known(account, "call").last_answer
    assert answer is not None
    assert (answer.answer, answer.http_status) == (AnswerClass.UNKNOWN, None if account == "silent" else 500)


async def test_refused_connection_is_no_send_and_tried_again(stage: Dispatching) -> None:
    calls = ids("nobody", 3)
    await stage.decide("unreachable", calls, await stage.order("unreachable"))
    await until(lambda: any(isinstance(r, Result) for r in stage.logged("unreachable")))
    refused = next(r for r in stage.logged("unreachable") if isinstance(r, Result))
    assert (refused.answer, refused.http_status) == (AnswerClass.NOT_SENT, None)
    await until(lambda: stage.known("unreachable", calls[0]).last_answer is not None)
    assert stage.known("unreachable", calls[0]).sends == 0
    url = stage.role._loops["unreachable"]._account.base_url
    assert url is not None
    port = int(url.split(":")[2].split("/")[0])
    async with AsyncExitStack() as stack:
        application = web.Application()
        application.router.add_route("*", "/{account}/{rest:.*}", stage.provider.handle)
        await serve(stack, application, port)
        await stage.all_are("unreachable", calls, State.ACCEPTED)
    assert [len(seen.call_ids) for seen in stage.provider.stops("unreachable")] == [3]


async def test_no_terminable_calls_is_an_answer_and_not_cut_in_halves(stage: Dispatching) -> None:
    calls = ids("gone", 100)
    stage.provider.respond["none-terminable"] = always(400, NONE)
    await stage.decide("none-terminable", calls, await stage.order("none-terminable"))
    await stage.all_are("none-terminable", calls, State.UNKNOWN)
    stage.provider.respond.pop("none-terminable")
    await stage.marker("none-terminable")
    assert [len(seen.call_ids) for seen in stage.provider.stops("none-terminable")] == [100, 1]


async def test_answer_that_comes_in_pieces_is_read_whole(stage: Dispatching) -> None:
    async def in_pieces(seen: Seen) -> web.StreamResponse:
        body = orjson.dumps(NONE)
        response = web.StreamResponse(status=400, headers={"Content-Length": str(len(body))})
        await response.prepare(seen.request)
        await response.write(body[:20])
        await asyncio.sleep(0.1)
        await response.write(body[20:])
        return response

    stage.provider.respond["in-pieces"] = in_pieces
    calls = ids("pieces", 2)
    await stage.decide("in-pieces", calls, await stage.order("in-pieces"))
    await stage.all_are("in-pieces", calls, State.UNKNOWN)
    assert len(stage.provider.stops("in-pieces")) == 1


async def test_one_bad_id_in_a_hundred_fails_alone(stage: Dispatching) -> None:
    calls = ids("some", 100)

    async def refuses_one(seen: Seen) -> web.Response:
        bad = calls[37] in seen.call_ids
        return web.json_response({"message": "Invalid call id"} if bad else OK, status=400 if bad else 200)

    stage.provider.respond["poisoned"] = refuses_one
    await stage.decide("poisoned", calls, await stage.order("poisoned"))
    good = [call_id for call_id in calls if call_id != calls[37]]
    await stage.all_are("poisoned", good, State.ACCEPTED)
    await stage.all_are("poisoned", [calls[37]], State.FAILED)
    requests = stage.provider.stops("poisoned")
    assert len(requests) <= 15
    accepted = [call_id for seen in requests if calls[37] not in seen.call_ids for call_id in seen.call_ids]
    assert sorted(accepted) == good


async def test_order_released_before_the_request_withdraws_what_is_left(stage: Dispatching) -> None:
    calls = ids("released", 200)
    order_id = await stage.order("released")
    await stage.decide("released", calls, order_id)
    await until(lambda: len(stage.provider.stops("released")) == 1)
    await stage.fact(order_id, FactKind.RELEASED)
    sent = stage.provider.stops("released")[0].call_ids
    left = [call_id for call_id in calls if call_id not in sent]
    await stage.all_are("released", left, State.WITHDRAWN)
    await stage.marker("released")
    assert [len(seen.call_ids) for seen in stage.provider.stops("released")] == [100, 1]
    closings = [r for r in stage.logged("released") if isinstance(r, Result) and r.outcome is State.WITHDRAWN]
    assert sorted(r.call_id for r in closings) == left


async def test_call_that_connects_while_it_waits_is_not_sent(stage: Dispatching) -> None:
    order_id = await stage.order("connected")
    await stage.decide("connected", ids("before", 100), order_id)
    await until(lambda: len(stage.provider.stops("connected")) == 1)
    waiting = ids("waiting", 2)
    await stage.decide("connected", waiting, order_id)
    taken = termination_id("connected", waiting[0], 0)
    await stage.write([Ended(taken, "connected", waiting[0], 0, Status.ONGOING, time.time())])
    await stage.all_are("connected", waiting[1:], State.ACCEPTED)
    assert stage.provider.stops("connected")[1].call_ids == (waiting[1],)
    assert stage.states("connected", waiting[:1]) == {State.MISSED}


async def test_operators_order_leaves_before_what_rules_want(stage: Dispatching) -> None:
    by_rule, by_operator = ids("rule", 300), ids("operator", 100)
    rule_order, own_order = await stage.order("lanes"), await stage.order("lanes")
    await stage.decide("lanes", by_rule, rule_order)
    await until(lambda: len(stage.provider.stops("lanes")) == 1)
    await stage.decide("lanes", by_operator, own_order, lane=EMERGENCY)
    await until(lambda: len(stage.provider.stops("lanes")) == 3)
    first, second, third = (set(seen.call_ids) for seen in stage.provider.stops("lanes"))
    assert first < set(by_rule)
    assert second == set(by_operator)
    assert third < set(by_rule)


@pytest.fixture
def departures(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each request of the account ``limited`` left; how long they travel is up to the machine."""
    depart = Desk.departure
    left: list[float] = []

    async def seen(desk: Desk, dispatcher: Dispatcher, request: Request, leaves_by: float) -> None:
        await depart(desk, dispatcher, request, leaves_by)
        if desk.name == "limited":
            left.append(time.monotonic())

    monkeypatch.setattr(Desk, "departure", seen)
    return left


def shortest_second(departures: Sequence[float], requests: int) -> float:
    """The shortest time in which one more than ``requests`` left."""
    return min(later - earlier for earlier, later in zip(departures, departures[requests:], strict=False))


async def test_rate_limit_holds_in_every_second(stage: Dispatching, departures: list[float]) -> None:
    calls = ids("limited", 150)
    await stage.decide("limited", calls, await stage.order("limited"))
    await stage.all_are("limited", calls, State.ACCEPTED)
    assert len(departures) == len(stage.provider.stops("limited")) == 15
    assert shortest_second(departures, 5) >= 1.0


async def test_rate_limit_holds_when_acknowledgements_come_late_and_together(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, departures: list[float]
) -> None:
    async with dispatching(breakable_kafka.servers, topic_prefix, tmp_path) as stage:
        calls = ids("late", 150)
        await stage.decide("limited", calls, await stage.order("limited"))
        await until(lambda: len(stage.provider.stops("limited")) >= 2)
        with breakable_kafka.paused():
            await asyncio.sleep(1.5)  # tokens add up meanwhile
        await stage.all_are("limited", calls, State.ACCEPTED)
        assert len(departures) == len(stage.provider.stops("limited")) == 15
        assert shortest_second(departures, 5) >= 1.0


async def test_what_is_released_while_its_request_waits_to_leave_does_not_leave(
    stage: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    depart, prepared, released = Desk.departure, asyncio.Event(), asyncio.Event()

    async def held_up(desk: Desk, dispatcher: Dispatcher, request: Request, leaves_by: float) -> None:
        if desk.name == "released-late":
            prepared.set()
            await released.wait()
        await depart(desk, dispatcher, request, leaves_by)

    monkeypatch.setattr(Desk, "departure", held_up)
    going, staying = await stage.order("released-late"), await stage.order("released-late")
    await stage.decide("released-late", ["spared"], going)
    await stage.decide("released-late", ["stopped"], staying)
    await prepared.wait()
    await stage.fact(going, FactKind.RELEASED)
    known = stage.feed.book.get
    await until(lambda: (order := known(going)) is not None and order.state(time.time()) is OrderState.RELEASED)
    released.set()
    await stage.all_are("released-late", ["stopped"], State.ACCEPTED)
    await stage.all_are("released-late", ["spared"], State.WITHDRAWN)
    assert [seen.call_ids for seen in stage.provider.stops("released-late")] == [("stopped",)]


async def test_shadow_order_sends_nothing(stage: Dispatching) -> None:
    calls = ids("shadow", 5)
    await stage.decide("shadowed", calls, await stage.order("shadowed", mode=Mode.SHADOW), mode=Mode.SHADOW)
    await stage.all_are("shadowed", calls, State.SHADOW)
    await stage.marker("shadowed")
    assert [len(seen.call_ids) for seen in stage.provider.stops("shadowed")] == [1]


async def test_redirect_is_never_followed_and_holds_the_account(stage: Dispatching) -> None:
    stage.provider.respond["redirected"] = always(307, {}, Location="/elsewhere/campaign/terminate")
    await stage.decide("redirected", ["call"], await stage.order("redirected"))
    await until(lambda: any(isinstance(r, Result) for r in stage.logged("redirected")))
    answer = next(r for r in stage.logged("redirected") if isinstance(r, Result))
    assert (answer.answer, answer.http_status) == (AnswerClass.CONFIGURATION, 307)
    assert "elsewhere" not in stage.provider.seen
    await stage.all_are("redirected", ["call"], State.WAITING)


async def test_answer_that_cannot_be_read_is_an_unknown_effect_and_sending_goes_on(stage: Dispatching) -> None:
    stage.provider.respond["odd"] = always(200, {"message": UNREADABLE})
    await stage.decide("odd", ["call"], await stage.order("odd"))
    await stage.all_are("odd", ["call"], State.UNKNOWN)
    stage.provider.respond.pop("odd")
    await stage.marker("odd")


async def test_attempt_without_outcome_is_repeated_only_after_a_look_and_its_window(stage: Dispatching) -> None:
    order_id = await stage.order("crashed")
    ages = {"just-now": 0.0, "long-ago": 60.0}
    await stage.write(
        Attempt(termination_id("crashed", call_id, 0), "crashed", call_id, 0, f"r-{call_id}", 1, time.time() - age)
        for call_id, age in ages.items()
    )
    await stage.decide("crashed", list(ages), order_id)
    await stage.all_are("crashed", ["long-ago"], State.ACCEPTED)
    await stage.marker("crashed")
    looked = stage.provider.seen["crashed"][0]
    assert (looked.method, looked.request.query["id"]) == ("GET", "long-ago")
    assert stage.provider.stops("crashed")[0].call_ids == ("long-ago",)
    assert stage.states("crashed", ["just-now"]) == {State.REQUESTED}


async def test_decision_that_overtakes_its_order_waits_for_it(stage: Dispatching) -> None:
    """The correlator may have read ``stop-orders`` further than we have."""
    early, proposed = ids("overtakes", 3), ids("proposed", 3)
    order = StopOrder("late-order", "ahead", Scope.campaign("c"), "why", Author("operator", "ops"), hold=None)
    await stage.decide("ahead", early, order.order_id)
    rule_order = await stage.order("ahead", by=Author("rule", "r", "1", "h"))
    await stage.decide("ahead", proposed, rule_order)
    await stage.marker("ahead")
    assert stage.states("ahead", early + proposed) == {State.WAITING}
    await stage.log.producer.publish(order_record(stage.feed.topic, order))
    await stage.all_are("ahead", early, State.ACCEPTED)
    assert stage.states("ahead", proposed) == {State.WAITING}
    await stage.fact(rule_order, FactKind.ADMITTED)
    await stage.all_are("ahead", proposed, State.ACCEPTED)
