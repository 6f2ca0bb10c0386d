"""What somebody has to be told, and when it is tried again. Pure: the controls, the orders that wait and the time go in."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from consumer.model.controls import Controls
from consumer.model.explained import shown
from consumer.model.orders import FactKind, OrderRecord

BACKOFF_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to be told once. ``name`` tells it from all others; ``body`` is what is posted."""

    name: str
    body: Mapping[str, Any]


def notices(controls: Controls, waiting: Iterable[OrderRecord]) -> Iterator[Notice]:
    """Everything that is loud now: the lever, what waits for approval, alerts."""
    lever = controls.lever
    if lever is not None:
        kind = "safety_lever_engaged" if lever.engaged else "safety_lever_released"
        words = "is engaged: nothing is sent that only rules want" if lever.engaged else "is released"
        text = f"The safety lever {words}. {lever.by.name}: {lever.reason}"
        yield _notice(f"lever/{lever.at}", kind, text, lever.at, who=lever.by.name)
    for record in waiting:
        yield _waits(record)
    for alert in controls.alerts.values():
        yield _notice(f"alert/{alert.name}/{alert.since}", "alert", alert.text, alert.since, alert=alert.name)


def _waits(record: OrderRecord) -> Notice:
    order, held = record.order, record.fact(FactKind.HELD)
    why = held.reason if held else ""
    text = f"An order of rule {order.by.name} at {order.account} waits for approval: {why}"
    count = (held.details or {}).get("count") if held else None
    more = {"order_id": order.order_id, "account": order.account, "rule": order.by.name, "count": count}
    return _notice(f"held/{order.order_id}", "awaiting_approval", text, held.at if held else order.at, **more)


def _notice(name: str, kind: str, text: str, at: float, **more: Any) -> Notice:
    return Notice(name, {"kind": kind, "text": shown(text)[:1_000], "at": at, **more})


@dataclass(slots=True)
class _Try:
    first_at: float
    tries: int = 0
    next_at: float = 0.0


@dataclass(slots=True)
class Outbox:
    """Which notices are due. ``told`` are the names of those that are done with; ``within`` is in seconds."""

    within: float
    told: set[str] = field(default_factory=set)
    _tries: dict[str, _Try] = field(default_factory=dict)

    def due(self, found: Iterable[Notice], now: float) -> list[Notice]:
        """Give those to be posted now, the oldest first; what is no longer loud is forgotten."""
        loud = {notice.name: notice for notice in found}
        self._tries = {name: told for name, told in self._tries.items() if name in loud}
        due = [
            notice
            for name, notice in loud.items()
            if name not in self.told and self._tries.setdefault(name, _Try(now)).next_at <= now
        ]
        return sorted(due, key=lambda notice: (notice.body["at"], notice.name))

    def over(self, found: Iterable[Notice]) -> set[str]:
        """Give the names of what was told and is not loud any more."""
        return self.told - {notice.name for notice in found}

    def failed(self, notice: Notice, now: float) -> bool:
        """Note that a notice was not taken; says whether it is given up."""
        told = self._tries.setdefault(notice.name, _Try(now))
        told.next_at = now + BACKOFF_SECONDS[min(told.tries, len(BACKOFF_SECONDS) - 1)]
        told.tries += 1
        return now - told.first_at >= self.within
