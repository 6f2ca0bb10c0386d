"""What stands in for HTTP: requests travel to the simulated provider and answers back, or something goes wrong on the way."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from urllib.parse import parse_qs, urlsplit

import orjson

from consumer.model.provider import Answer, HttpRequest, HttpResponse
from consumer.model.terminations import AnswerClass
from consumer.terminate.sender import TOTAL_SECONDS, Sender
from tests.simulation.faults import Faults
from tests.simulation.log import EPOCH
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.provider import DialledCall, SimulatedProvider
from tests.simulation.readers import Gate

TRAVEL_SECONDS = 0.3
TROUBLES = (
    "refused",
    "throttled",
    "lost",
    "acted, then silent",
    "failed",
    "acted, then failed",
    "lied",
    "lied about some",
    "slow",
    "unauthorised",
)


@dataclass(frozen=True, slots=True)
class Stop:
    """A request to stop calls that reached the provider. ``cut`` names live calls it hung up on.

    ``decided_at`` is when the sender let go of it: what its process slept after that is nobody's fault.
    """

    request_id: str
    at: float
    decided_at: float
    account: str
    by: str
    call_ids: tuple[str, ...]
    whole: dict[str, object] | None
    cut: tuple[str, ...]


@dataclass(slots=True)
class _Exchange:
    process: Process
    request: HttpRequest
    answer: asyncio.Future[HttpResponse | Answer]
    request_id: str
    decided_at: float


class Wire:
    """Between all senders and the provider. ``stops`` are the requests that reached it."""

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        provider: SimulatedProvider,
        faults: Faults,
        heard: Callable[[Stop], None],
    ) -> None:
        self._loop = loop
        self._random = random
        self._provider = provider
        self._faults = faults
        self._heard = heard
        self.stops: list[Stop] = []
        self.looks: list[tuple[float, str, str, str]] = []
        self.stopped_with_their_scope: set[str] = set()
        self.nameless = 0
        self._open: list[_Exchange] = []

    def now(self) -> float:
        return self._loop.time()

    @property
    def busy(self) -> bool:
        """Whether a process that lives still waits for an answer."""
        self._open = [one for one in self._open if one.process.alive and not one.answer.done()]
        return bool(self._open)

    def send(self, process: Process, request: HttpRequest, decided_at: float) -> asyncio.Future[HttpResponse | Answer]:
        """Put a request on the wire; its answer comes to the process, if that still lives."""
        answer: asyncio.Future[HttpResponse | Answer] = self._loop.create_future()
        exchange = _Exchange(process, request, answer, _request_id(), decided_at)
        self._open.append(exchange)
        trouble = ""
        if self._faults.chance(self._faults.plan.misbehaves):
            trouble = TROUBLES[int(self._random.random() * len(TROUBLES))]
        if trouble == "refused":
            self._reply(exchange, Answer(AnswerClass.NOT_SENT, "no connection"))
        else:
            self._loop.after(self._travel(), self._loop.world, self._arrive, exchange, trouble)
        return answer

    def _arrive(self, exchange: _Exchange, trouble: str) -> None:
        if exchange.request.method == "PATCH":
            self._arrive_stop(exchange, trouble)
        else:
            self._arrive_question(exchange, trouble)
        self._faults.touch(exchange.process, "request arrived")

    def _arrive_stop(self, exchange: _Exchange, trouble: str) -> None:
        account = exchange.request.headers["X-API-KEY"].removeprefix("key-of-")
        named = orjson.loads(exchange.request.body or b"{}")
        if trouble in {"lost", "throttled", "unauthorised"}:
            self._answer_badly(exchange, trouble)
            return
        calls = self._provider.of_account(account)
        if "call_ids" in named:
            asked = [call for call in calls if call.plan.call_id in named["call_ids"]]
        else:
            asked = [call for call in calls if self._covered(named, call)]
        terminable = [call for call in asked if call.waits]
        acts = trouble not in {"failed", "lied"}
        before = {call.plan.call_id for call in asked if call.cut_at is not None}
        if acts:
            for call in asked:
                if trouble != "lied about some" or self._random.random() < 0.5:
                    self._provider.stop(call)
        cut = tuple(c.plan.call_id for c in asked if c.cut_at is not None and c.plan.call_id not in before)
        if "call_ids" not in named:
            self.stopped_with_their_scope.update(c.plan.call_id for c in terminable if not c.waits)
        ids = tuple(named.get("call_ids", ()))
        stop = Stop(
            exchange.request_id,
            self._loop.time(),
            exchange.decided_at,
            account,
            exchange.process.name,
            ids,
            None if "call_ids" in named else named,
            cut,
        )
        self.stops.append(stop)
        self._heard(stop)
        if "failed" in trouble or "silent" in trouble:
            self._answer_badly(exchange, trouble)
        elif terminable or cut or trouble.startswith("lied"):
            self._respond(exchange, 200, {"message": "Calls terminated successfully!"}, slow=trouble == "slow")
        else:
            self._respond(exchange, 400, {"message": "No terminable calls found for the specified parameters"})

    def _arrive_question(self, exchange: _Exchange, trouble: str) -> None:
        account = exchange.request.headers["X-API-KEY"].removeprefix("key-of-")
        if trouble in {"lost", "throttled", "unauthorised", "failed"}:
            self._answer_badly(exchange, trouble)
            return
        parts = urlsplit(exchange.request.url)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        calls = self._provider.of_account(account)
        if parts.path.endswith("/call-details"):
            if "id" not in asked:
                self.nameless += 1
            found = next((call for call in calls if call.plan.call_id == asked.get("id")), None)
            if found is None:
                self._respond(exchange, 404, {"message": "call not found"})
                return
            self.looks.append((self._loop.time(), exchange.process.name, found.plan.call_id, found.status))
            self._respond(exchange, 200, {"data": self._provider.row(found)})
            return
        rows = [self._provider.row(c) for c in calls if asked.get("bulk_list_id", c.plan.campaign) == c.plan.campaign]
        wanted = [row for row in rows if asked.get("status", row["status"]) == row["status"]]
        first = int(asked["offset"])
        self._respond(exchange, 200, {"calls": wanted[first : first + int(asked["limit"])], "total": len(wanted)})

    def _covered(self, named: dict[str, object], call: DialledCall) -> bool:
        return named.get("campaign_id", call.plan.campaign) == call.plan.campaign

    def _answer_badly(self, exchange: _Exchange, trouble: str) -> None:
        if trouble in {"lost", "acted, then silent"}:
            silent = Answer(AnswerClass.UNKNOWN, "no answer: TimeoutError")
            self._loop.after(TOTAL_SECONDS, exchange.process, self._reply, exchange, silent)
        elif trouble == "throttled":
            wait = {"retry-after": "2"} if self._random.random() < 0.5 else {}
            self._respond(exchange, 429, {"message": "slow down"}, headers=wait)
        elif trouble == "unauthorised":
            self._respond(exchange, 401, {"message": "invalid key"})
        else:
            self._respond(exchange, 503, {"message": "upstream failed"})

    def _respond(
        self,
        exchange: _Exchange,
        status: int,
        body: object,
        *,
        headers: dict[str, str] | None = None,
        slow: bool = False,
    ) -> None:
        self._faults.touch(exchange.process, "answer on its way")
        delay = self._travel() + (self._random.random() * 10.0 if slow else 0.0)
        response = HttpResponse(status, headers or {}, orjson.dumps(body), EPOCH + self._loop.time())
        self._loop.after(delay, exchange.process, self._reply, exchange, response)

    def _reply(self, exchange: _Exchange, reply: HttpResponse | Answer) -> None:
        if not exchange.answer.done():
            exchange.answer.set_result(reply)

    def _travel(self) -> float:
        return self._random.random() * TRAVEL_SECONDS


def _request_id() -> str:
    """The request that the present task was started for: the last word of its name."""
    task = asyncio.current_task()
    return task.get_name().rsplit(" ", 1)[-1] if task else ""


class SimulatedSender(Sender):
    """One account's connections of one process; what comes back is read by the real ``Sender``."""

    def __init__(self, wire: Wire, process: Process, gate: Gate) -> None:
        self._wire = wire
        self._process = process
        self._gate = gate

    async def close(self) -> None:
        """There is nothing to close."""

    async def _exchange(self, request: HttpRequest, at_most_bytes: int) -> HttpResponse | Answer:  # noqa: ARG002
        stops = request.method == "PATCH"
        decided_at = self._wire.now()
        if stops:
            await self._gate("before a request")
        answer = await self._wire.send(self._process, request, decided_at)
        await self._gate("after a request" if stops else "after a look")
        return answer
