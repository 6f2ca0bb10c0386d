"""``callbreaker terminate`` in processes of their own at one simulated provider, and the decisions that they work on."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
import yaml
from yarl import URL

from consumer.kafka.order_feed import order_record
from consumer.kafka.producer import OutRecord
from consumer.model.identity import termination_id
from consumer.model.orders import Author, Mode, StopOrder
from consumer.model.scopes import Scope
from consumer.model.status import Status
from consumer.model.termination_codec import decode_termination_records, encode_termination_record
from consumer.model.terminations import Attempt, Decision, Record, Result, State, Termination, fold_termination
from consumer.simulate import CampaignPlan, Dial, Fault, FaultKind, Outcomes, RateLimit, SimulatedProvider, Told
from consumer.simulate.calls import TERMINABLE, Campaign
from consumer.simulate.scenario import Scenario
from tests.end_to_end.service_process import ACCOUNT, API_KEY, SECRET, TOKEN
from tests.kafka.helpers import Installation
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

ORDER = "order-of-the-test"
EVERYTHING = 1_000_000
LATE_SECONDS = 1.0
"""So much later than it left may a request be seen: this process is busy. Two owners at once would be far above it."""


class DispatchProcess:
    """One worker of the terminate role, or of all roles (``run``), with sessions and time-outs as they are."""

    def __init__(
        self, folder: Path, servers: str, prefix: str, provider_url: str, rate: float, *, command: str = "terminate"
    ) -> None:
        port = free_port()
        auth = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
        account = {
            "provider": "ringg",
            "api_key": API_KEY,
            "base_url": provider_url,
            "webhook": {"auth": auth},
            "rate_limit": {"requests_per_second": rate, "burst": 1},
            "batch": {"size": 10},
            "reconcile": "off",
        }
        settings = {
            "accounts": {ACCOUNT: account},
            "kafka": {
                "bootstrap_servers": servers,
                "topic_prefix": prefix,
                "replication_factor": 1,
                "partitions": {"call-events": 1, "scope-totals": 1, "terminations": 1, "rejected": 1},
            },
            "http": {"port": port},
            "operators": [{"name": "test", "role": "operator", "token": TOKEN}],
            "data_dir": str(folder / "data"),
        }
        folder.mkdir()
        self.log = folder / "log"
        self._config = folder / "callbreaker.yaml"
        self._config.write_text(yaml.safe_dump(settings))
        self._command = command
        self._url = f"http://127.0.0.1:{port}"
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "consumer", self._command, "--config", str(self._config)),
                stdout=log,
                stderr=log,
            )
        await eventually(self.ready)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process and self.process.returncode is None:
            self.tell(signal.SIGCONT)
            await self.end(signal.SIGKILL)

    def tell(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    async def end(self, how: signal.Signals) -> int:
        self.tell(how)
        assert self.process
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)

    async def ready(self) -> bool:
        assert self.process
        assert self.process.returncode is None, self.log.read_text()[-3000:]
        return (await self._get("/readyz"))[0] == 200

    async def begin_to_post(self, path: str, **headers: str) -> asyncio.StreamWriter:
        """Send the head of a request, and of its body no more than the first byte."""
        head = {"Host": "here", "Content-Length": "100", **headers}
        _, writer = await asyncio.open_connection("127.0.0.1", URL(self._url).port)
        writer.write("\r\n".join([f"POST {path} HTTP/1.1", *(f"{k}: {v}" for k, v in head.items()), "", "{"]).encode())
        await writer.drain()
        return writer

    async def takes_a_webhook(self) -> bool:
        """Whether a webhook is being taken in now."""
        return "\ncallbreaker_webhooks_in_flight 1.0\n" in (await self._get("/metrics"))[1]

    async def owns(self) -> bool:
        """Whether this worker sends for the account now."""
        status, body = await self._get("/metrics")
        return status == 200 and f'callbreaker_terminate_backlog{{account="{ACCOUNT}"}}' in body

    async def _get(self, path: str) -> tuple[int, str]:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
                http.get(f"{self._url}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""


@dataclass(frozen=True)
class Stopping:
    """A campaign of the provider that is being stopped, with what the log says of it."""

    log: Installation
    provider: SimulatedProvider
    campaign: Campaign

    @property
    def requests(self) -> int:
        return self.provider.exchange.judge.counts["terminate_requests"]

    @property
    def waiting(self) -> list[str]:
        return [call.id for call in self.campaign.group.calls if call.status in TERMINABLE]

    async def begin(self) -> None:
        """Write an order, and a decision for each call that waits."""
        self.provider.exchange.judge.orders.tell(Told(campaign_id=self.campaign.id))
        await _decide(self.log, self.campaign.id, self.waiting)

    def fault(self, kind: FaultKind, *, delay_seconds: float, applied: bool) -> None:
        fault = Fault(kind=kind, delay_seconds=delay_seconds, applied=applied)
        self.provider.exchange.faults.switch_on(fault, self.provider.now())

    async def records(self) -> list[Record]:
        """All that the workers have written about attempts and outcomes."""
        read = await self.log.read(self.log.topics.termination_log)
        return [one for record in read for one in decode_termination_records(record.value)]

    async def terminations(self) -> dict[str, Termination]:
        """Every termination as the two topics tell it."""
        known: dict[str, Termination] = {}
        for topic in (self.log.topics.terminations, self.log.topics.termination_log):
            for record in await self.log.read(topic):
                for one in decode_termination_records(record.value):
                    known[one.termination_id] = fold_termination(known.get(one.termination_id), one)
        return known


@asynccontextmanager
async def a_campaign(log: Installation, calls: int, rate: float) -> AsyncIterator[Stopping]:
    """Start a provider with calls that wait and one that rings; nothing is stopped before ``begin``."""
    scenario = Scenario(
        campaigns=(),
        seed=7,
        speed=1.0,
        dial=Dial(per_second=1_000, lines=1, ring_seconds=EVERYTHING),
        outcomes=Outcomes(not_answered=0, failed=0, opt_out=0),
        rate_limit=RateLimit(requests_per_second=rate, burst=1, jitter_seconds=LATE_SECONDS),
    )
    provider = SimulatedProvider(scenario, port=0, webhook_url=None, api_key=API_KEY)
    await provider.start()
    try:
        plan = CampaignPlan(calls=calls + 1, register_per_second=100_000.0, repeated_people=0.0)
        campaign = provider.exchange.start_campaign(plan, provider.now())
        stopping = Stopping(log, provider, campaign)
        await eventually(lambda: len(campaign.group.calls) == calls + 1 and len(stopping.waiting) == calls)
        yield stopping
    finally:
        await provider.stop()


async def _decide(log: Installation, campaign_id: str, call_ids: Iterable[str]) -> None:
    order = StopOrder(ORDER, ACCOUNT, Scope.campaign(campaign_id), "why", Author("operator", "ops"), hold=None)
    await log.producer.publish(order_record(log.topics.stop_orders, order))
    now = time.time()
    await log.producer.publish_all(
        OutRecord(
            log.topics.terminations.name, 0, decision.termination_id.encode(), encode_termination_record(decision)
        )
        for decision in (
            Decision(
                *(termination_id(ACCOUNT, call_id, 0), ACCOUNT, call_id, 0, (ORDER,), Mode.ENFORCE, 0, now),
                Status.REGISTERED,
                campaign_id=campaign_id,
                bulk=True,
            )
            for call_id in call_ids
        )
    )


async def eventually(holds: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition, which may be a coroutine's."""
    async with asyncio.timeout(seconds):
        while True:
            answer = holds()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.05)


def unanswered(records: Sequence[Record]) -> set[str]:
    """The requests of which no outcome was written."""
    attempts = {record.request_id for record in records if isinstance(record, Attempt)}
    return attempts - {record.request_id for record in records if isinstance(record, Result) if record.request_id}


def states(terminations: dict[str, Termination]) -> set[State]:
    return {t.state for t in terminations.values()}
