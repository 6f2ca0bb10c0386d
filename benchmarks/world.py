"""A world of calls for the benchmarks: Ringg's webhooks, in a likely order, as ingest writes them to ``call-events``.

Every body goes through the real adapter and codec, so a record is what a webhook leaves in Kafka, its raw body included.
Campaigns register one after the other, each all at once; their calls wait, and some hundreds at a time are dialled.
"""

import random
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import SecretStr

from consumer.ingest.intake import Intake
from consumer.kafka.order_feed import fact_record, order_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account, EventField, HeaderAuth, WebhookSettings
from consumer.model.identity import body_event_id
from consumer.model.orders import EMERGENCY, OPT_OUT, Author, Fact, FactKind, StopOrder
from consumer.model.scopes import MAX_IDS, Scope
from handlers.providers.table import PROVIDERS

ACCOUNT_NAME = "bench"
SECRET = "benchmark-secret-1234567890"  # noqa: S105 -- of the benchmarks only
CAMPAIGN_FIELD: dict[EventField, str] = {"campaign_id": "custom_args_values.campaign_id"}
STOPPED_CAMPAIGN = "campaign-stopped"
HALF_A_YEAR = 180 * 86_400.0
DIALLED_AT_ONCE = 500
WAITING_CALLS = 10_000


@dataclass(frozen=True, slots=True)
class Size:
    """How large a world is. ``stopped`` and ``opted_out`` are shares of the calls, the other counts are numbers.

    ``numbers_in_lists`` were opted out in lists of 10,000, ``numbers_by_rule`` each by an order of a rule.
    """

    calls: int
    campaigns: int = 8
    agents: int = 5
    stopped: float = 0.01
    opted_out: float = 0.005
    numbers_in_lists: int = 80_000
    numbers_by_rule: int = 20_000


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """What all webhooks of one call say alike."""

    call_id: str
    campaign_id: str
    agent_id: str
    number: str


def account() -> Account:
    """The account whose webhooks these are; like the example configuration, it has the campaign in its own field."""
    return Account(
        name=ACCOUNT_NAME,
        provider="ringg",
        api_key=SecretStr("unused-api-key"),
        webhook=WebhookSettings(
            auth=HeaderAuth(name="X-Webhook-Secret", secrets=(SecretStr(SECRET),)),
            fields=CAMPAIGN_FIELD,
        ),
    )


class World:
    """The calls, the orders and the webhooks of one size; the same size is the same world."""

    def __init__(self, size: Size, topics: Topics, seed: int = 7) -> None:
        self.size = size
        self._topics = topics
        self._random = random.Random(seed)  # noqa: S311 -- a reproducible world
        self._intake = Intake(account(), PROVIDERS["ringg"], topics)
        self._sent = 0
        self.calls = [self._plan(n) for n in range(size.calls)]

    @property
    def under_orders(self) -> frozenset[str]:
        """The ids of the calls that an order in force wants stopped."""
        opted_out = frozenset(_opted_out_numbers(self.size))
        return frozenset(
            call.call_id for call in self.calls if call.campaign_id == STOPPED_CAMPAIGN or call.number in opted_out
        )

    def orders(self) -> Iterator[OutRecord]:
        """The records of ``stop-orders``: a stopped campaign, numbers in lists and numbers that a rule opted out."""
        topic = self._topics.stop_orders
        yield order_record(topic, campaign_order("stop-campaign", STOPPED_CAMPAIGN))
        numbers = _opted_out_numbers(self.size)
        for first in range(0, self.size.numbers_in_lists, MAX_IDS):
            listed = numbers[first : min(first + MAX_IDS, self.size.numbers_in_lists)]
            by = Author("operator", "importer")
            yield order_record(topic, _numbers_order(f"list-{first}", listed, by, hold=None))
        rule, guard = Author("rule", "opt-out", "1", "c0ffee"), Author("guard", "guard")
        for number in numbers[self.size.numbers_in_lists :]:
            order_id = f"rule-{number[1:]}"
            yield order_record(topic, _numbers_order(order_id, [number], rule, hold=HALF_A_YEAR))
            yield fact_record(topic, Fact(order_id, FactKind.ADMITTED, guard, "within the limits"))

    def events(self) -> Iterator[OutRecord]:
        """The records of ``call-events``, about 4.2 a call."""
        waiting: deque[Iterator[OutRecord]] = deque()
        live: list[Iterator[OutRecord]] = []
        by_campaign: dict[str, list[PlannedCall]] = {}
        for call in self.calls:
            by_campaign.setdefault(call.campaign_id, []).append(call)
        for calls in by_campaign.values():
            for call in calls:
                yield self.record(_registered(call))
                waiting.append(self._life(call))
            while len(waiting) > WAITING_CALLS:
                yield from self._next_of_one(waiting, live)
        while waiting or live:
            yield from self._next_of_one(waiting, live)

    def record(self, body: dict[str, Any]) -> OutRecord:
        """Take one webhook in and give its record, as ingest does."""
        raw = orjson.dumps(body)
        (record,) = self._intake.read(raw, body_event_id(ACCOUNT_NAME, raw)).records
        return record

    def tried_once(self, calls: Sequence[PlannedCall]) -> Iterator[OutRecord]:
        """Two events of each call, after which it waits again: it was dialled, and nobody answered."""
        for call in calls:
            yield self.record(_started(call, 0))
            yield self.record(_completed(call, "retry", 0, self._now()))

    def registered(self, call: PlannedCall) -> OutRecord:
        return self.record(_registered(call))

    def _next_of_one(self, waiting: deque[Iterator[OutRecord]], live: list[Iterator[OutRecord]]) -> Iterator[OutRecord]:
        while waiting and len(live) < DIALLED_AT_ONCE:
            live.append(waiting.popleft())
        n = self._random.randrange(len(live))
        record = next(live[n], None)
        if record is None:
            live[n] = live[-1]
            live.pop()
        else:
            yield record

    def _life(self, call: PlannedCall) -> Iterator[OutRecord]:
        """What follows the registration: 60 % connect at once, 20 % at the second attempt, 20 % fail."""
        dice = self._random.random()
        yield self.record(_started(call, 0))
        if dice < 0.2:
            yield self.record(_completed(call, "failed", 0, self._now()))
            return
        attempt = 0
        if dice < 0.4:
            attempt = 1
            yield self.record(_completed(call, "retry", 0, self._now()))
            yield self.record(_started(call, 1))
        yield self.record(_completed(call, "completed", attempt, self._now()))
        yield self.record(_processed(call, attempt, self._now()))

    def _plan(self, n: int) -> PlannedCall:
        dice = self._random
        stopped = dice.random() < self.size.stopped
        campaign = (
            STOPPED_CAMPAIGN if stopped else f"campaign-{n * self.size.campaigns // self.size.calls:02d}-of-bench"
        )
        listed = dice.random() < self.size.opted_out
        prefix, span = ("+9170", self.size.numbers_in_lists + self.size.numbers_by_rule) if listed else ("+9198", 10**8)
        return PlannedCall(
            call_id=str(uuid.UUID(int=dice.getrandbits(128))),
            campaign_id=campaign,
            agent_id=f"cbaf9944-3e34-43b6-b3e8-6a905de1663{dice.randrange(self.size.agents)}",
            number=f"{prefix}{dice.randrange(span):08d}" if span else f"+9198{dice.randrange(10**8):08d}",
        )

    def _now(self) -> str:
        """The provider's time: half a millisecond after the event before."""
        self._sent += 500
        seconds, micros = divmod(self._sent, 1_000_000)
        minutes, seconds = divmod(seconds, 60)
        return f"2025-12-14T19:{minutes % 60:02d}:{seconds:02d}.{micros:06d}Z"


def campaign_order(order_id: str, campaign_id: str, account: str = ACCOUNT_NAME) -> StopOrder:
    """An operator's order to stop a campaign until it is released."""
    return StopOrder(
        order_id=order_id,
        account=account,
        scope=Scope.campaign(campaign_id),
        reason="a benchmark",
        by=Author("operator", "bench"),
        hold=None,
        lane=EMERGENCY,
    )


def _numbers_order(order_id: str, numbers: Sequence[str], by: Author, *, hold: float | None) -> StopOrder:
    return StopOrder(
        order_id=order_id,
        account=ACCOUNT_NAME,
        scope=Scope.numbers(numbers),
        reason="asked not to be called again",
        by=by,
        hold=hold,
        lane=OPT_OUT,
    )


def _opted_out_numbers(size: Size) -> list[str]:
    return [f"+9170{n:08d}" for n in range(size.numbers_in_lists + size.numbers_by_rule)]


def registered(call: PlannedCall) -> dict[str, Any]:
    """The webhook that tells that a call waits."""
    return _registered(call)


def processed(call: PlannedCall) -> dict[str, Any]:
    """The webhook that sums up a call in which somebody opted out."""
    return {**_processed(call, 0, "2025-12-14T19:37:13.310707Z"), "client_analysis": {"opt_out": True}}


def _arguments(call: PlannedCall) -> dict[str, str]:
    return {
        "callee_name": "John",
        "order_value": "70000",
        "company_name": "Acme Corp",
        "campaign_id": call.campaign_id,
    }


def _registered(call: PlannedCall) -> dict[str, Any]:
    return {
        "status": "success",
        "message": "Call Details",
        "data": {
            "call_id": call.call_id,
            "call_direction": "outbound",
            "status": "registered",
            "call_duration": None,
            "recording_url": None,
            "transcript": "",
            "agent_id": call.agent_id,
            "retry": 0,
            "from_number": "+918035735900",
            "to_number": call.number,
            "custom_args_values": _arguments(call),
        },
    }


def _started(call: PlannedCall, attempt: int) -> dict[str, Any]:
    return {
        "event_type": "call_started",
        "call_id": call.call_id,
        "call_sid": f"{call.call_id[:8]}-{attempt}",
        "agent_id": call.agent_id,
        "workspace_id": "442a9db3-0fd4-47dc-b8cd-cc7eedfa272f",
        "custom_args_values": _arguments(call),
        "sub_status": "ACCEPTED",
        "agent_name": "Payment Reminder Agent",
        "version_id": "a1b2c3d4-5e6f-7890-abcd-ef1234567890",
        "version_slug": "v1",
        "version_description": "Initial version",
        "tool_call_logs": [],
    }


def _completed(call: PlannedCall, status: str, attempt: int, now: str) -> dict[str, Any]:
    talked = status == "completed"
    return {
        "event_type": "call_completed",
        "call_duration": 15.733745 if talked else 0,
        "agent_message_count": 3,
        "user_message_count": 2,
        "call_type": "outbound",
        "custom_args_values": _arguments(call),
        "to_number": call.number,
        "from_number": "+918035735900",
        "bulk_list_id": call.campaign_id,
        "call_id": call.call_id,
        "call_sid": f"{call.call_id[:8]}-{attempt}",
        "agent_id": call.agent_id,
        "workspace_id": "442a9db3-0fd4-47dc-b8cd-cc7eedfa272f",
        "status": status,
        "called_on": now,
        "agent_name": "Payment Reminder Agent",
        "version_id": "a1b2c3d4-5e6f-7890-abcd-ef1234567890",
        "call_cost": 0.15 if talked else None,
        "overall_latency_seconds": 0.892345,
        "first_utterance_seconds": 0.456789,
        "transcript": [{"bot": "Hello, am I speaking with John?"}, {"user": "Yes. Go ahead."}] if talked else [],
        "retry_count": attempt,
        "recording_url": None,
    }


def _processed(call: PlannedCall, attempt: int, now: str) -> dict[str, Any]:
    return {
        **_completed(call, "completed", attempt, now),
        "event_type": "all_processing_completed",
        "recording_url": f"https://recordings.example.com/{call.call_id}.mp3",
        "platform_analysis": {"sentiment": "neutral"},
        "client_analysis": {"opt_out": False, "promised_to_pay": True},
    }
