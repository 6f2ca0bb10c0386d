"""The simulated provider: it dials the calls of the plan, tells of them by webhooks, and is asked to stop them.

It keeps the truth that the auditors compare with: which calls it stopped, which it connected, and what it was asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from consumer.ingest.intake import Intake
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from consumer.model.provider import Provider
from tests.simulation.faults import Faults
from tests.simulation.log import EPOCH, SimulatedLog
from tests.simulation.loop import VirtualLoop
from tests.simulation.plan import NEVER, CallPlan

WAITING = {"registered", "retry"}
LATE_SECONDS = 8.0
RESENT_SECONDS = 3.0

Row = dict[str, Any]
Note = Callable[[str, str], None]


@dataclass(slots=True)
class DialledCall:
    """One call as the provider knows it. ``moments`` are its statuses with their times; ``cut`` when it was hung up on."""

    plan: CallPlan
    status: str = ""
    attempt: int = 0
    moments: list[tuple[float, str]] = field(default_factory=list)
    cut_at: float | None = None

    @property
    def waits(self) -> bool:
        return self.status in WAITING

    @property
    def rests(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.status in {"completed", "failed", "cancelled"} or (self.waits and self.wait == NEVER)

    @property
    def wait(self) -> float:
        return self.plan.attempts[self.attempt].wait


class SimulatedProvider:
    """Every account's calls."""

    def __init__(
        self,
        loop: VirtualLoop,
        log: SimulatedLog,
        random: Random,
        *,
        faults: Faults,
        topics: Topics,
        accounts: dict[str, Account],
        providers: dict[str, Provider],
        note: Note,
    ) -> None:
        self.calls: dict[str, DialledCall] = {}
        self._loop = loop
        self._log = log
        self._random = random
        self._faults = faults
        self._note = note
        self._intakes = {name: Intake(a, providers[a.provider], topics) for name, a in accounts.items()}
        self._spares_live = {
            name: not providers[a.provider].capabilities.look_before_stop for name, a in accounts.items()
        }
        self._webhooks = 0
        self._on_the_way = 0
        for plan in faults.plan.calls:
            loop.after(plan.at, loop.world, self._register, plan)

    @property
    def busy(self) -> bool:
        """Whether it still dials, or something it sent has not arrived."""
        begun = len(self.calls) == len(self._faults.plan.calls)
        return not begun or self._on_the_way > 0 or any(not call.rests for call in self.calls.values())

    def of_account(self, account: str) -> list[DialledCall]:
        return [call for call in self.calls.values() if call.plan.account == account]

    def stop(self, call: DialledCall) -> None:
        """Do as told: what waits is cancelled, and what talks is hung up on where the provider does that."""
        if call.plan.stubborn:
            return
        if call.waits:
            self._becomes(call, "cancelled")
        elif call.status == "ongoing" and not self._spares_live[call.plan.account]:
            call.cut_at = self._loop.time()
            self._becomes(call, "completed")

    def row(self, call: DialledCall) -> Row:
        """The call as the history and the call details show it."""
        return {
            "id": call.plan.call_id,
            "status": call.status,
            "bulk_list_id": call.plan.campaign,
            "to_number": call.plan.number,
            "created_at": EPOCH + call.plan.at,
            "call_attempt_time": f"{call.attempt} {call.status}",
        }

    def _register(self, plan: CallPlan) -> None:
        self.calls[plan.call_id] = call = DialledCall(plan)
        self._becomes(call, "registered")

    def _becomes(self, call: DialledCall, status: str) -> None:
        now = self._loop.time()
        call.status = status
        call.moments.append((now, status))
        self._note("provider", f"{call.plan.call_id} is {status} (attempt {call.attempt})")
        self._tell(call, {"data": self._data(call, status)}, lossy=status != "registered")
        if status in WAITING:
            if status == "retry":
                call.attempt += 1
            if call.wait < NEVER:
                self._loop.after(call.wait, self._loop.world, self._dial, call, call.attempt)

    def _dial(self, call: DialledCall, attempt: int) -> None:
        if call.waits and call.attempt == attempt:
            self._becomes(call, "ongoing")
            self._loop.after(call.plan.attempts[attempt].talk, self._loop.world, self._hang_up, call, attempt)

    def _hang_up(self, call: DialledCall, attempt: int) -> None:
        if call.status != "ongoing" or call.attempt != attempt:
            return
        self._becomes(call, call.plan.attempts[attempt].ends)
        if call.plan.opts_out and attempt == 0:
            body = {**self._data(call, call.status), "event_type": "client_analysis_completed"}
            self._tell(call, {**body, "status": None, "client_analysis": {"opt_out": True}}, lossy=False)

    def _data(self, call: DialledCall, status: str) -> Row:
        self._webhooks += 1
        return {
            "event_id": f"{call.plan.call_id}-{self._webhooks}",
            "call_id": call.plan.call_id,
            "status": status,
            "retry": call.attempt,
            "retry_count": call.attempt,
            "bulk_list_id": call.plan.campaign,
            "to_number": call.plan.number,
            "called_on": EPOCH + int(self._loop.time() * 4) / 4,
            "call_duration": 7 if status == "completed" else None,
        }

    def _tell(self, call: DialledCall, body: Row, *, lossy: bool) -> None:
        """Send a webhook, until it is taken: late, more than once, or never where the sender gives up."""
        faults = self._faults
        if lossy and faults.chance(faults.plan.webhooks_lost):
            self._note("provider", f"the webhook {body.get('data', body)['event_id']} is lost")
            return
        raw = orjson.dumps(body)
        times = 1 + faults.chance(faults.plan.webhooks_twice) + faults.chance(faults.plan.webhooks_twice / 3)
        delay = 0.0
        for _ in range(times):
            late = LATE_SECONDS if faults.chance(faults.plan.webhooks_late) else 0.1
            delay += self._random.random() * late
            self._on_the_way += 1
            self._loop.after(delay, self._loop.world, self._arrive, call.plan.account, raw)

    def _arrive(self, account: str, raw: bytes) -> None:
        if self._log.down:
            self._loop.after(self._log.seconds_down + RESENT_SECONDS, self._loop.world, self._arrive, account, raw)
            return
        self._on_the_way -= 1
        self._log.append(self._intakes[account].read(raw, "unnamed").records, "ingest")
