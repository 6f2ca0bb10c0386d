"""Why an order that is aimed at a call did not stop it, or what came of it where it did. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consumer.console.call_life import Wait
from consumer.console.shown import iso
from consumer.model.calls import Call
from consumer.model.controls import Controls
from consumer.model.orders import FactKind, Mode, OrderRecord, OrderState, effective_mode
from consumer.model.protected import Protected
from consumer.model.terminations import State, Termination

STOPPED = frozenset({State.CONFIRMED, State.ACCEPTED})


class Why(NamedTuple):
    """``stopped`` says whether the order had the call stopped; ``code`` is one word for why, ``text`` a sentence."""

    stopped: bool
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a call: as it stands, when it waited, and what was decided about it."""

    call: Call
    waits: Sequence[Wait]
    terminations: Sequence[Termination]


def why(record: OrderRecord, about: About, protected: Protected, controls: Controls, now: float) -> Why:
    """Say why; ``now`` is in seconds since the epoch."""
    order_id = record.order.order_id
    decided = next((t for t in reversed(about.terminations) if order_id in t.orders), None)
    if decided is not None:
        return _decided(record, decided, about.call, controls)
    return (
        _not_let_through(record, now)
        or _spared(record, about.call, protected)
        or _missed_each_other(record, about.waits)
        or Why(False, "on_its_way", "it applies; nothing has been decided yet")
    )


def _decided(record: OrderRecord, t: Termination, call: Call, controls: Controls) -> Why:
    if t.mode is Mode.SHADOW or effective_mode(record.order, call.call_id, call.campaign_id) is Mode.SHADOW:
        others = "; another order had the call stopped" if t.state in STOPPED else ""
        if record.order.mode is Mode.CANARY:
            text = "it was decided, but the call is not in the part that the canary stops"
            return Why(False, "canary", text + others)
        return Why(False, "shadow", f"it was decided and only recorded: the order is in shadow{others}")
    if t.state in STOPPED:
        return Why(True, str(t.state), f"it was decided, and the termination is {t.state}")
    by_rule = not record.order.by.is_operator
    if controls.lever is not None and controls.lever_engaged and by_rule and not t.attempts:
        return Why(False, "lever", f"it was decided, but the safety lever is engaged: {controls.lever.reason}")
    detail = f": {t.final.detail}" if t.final and t.final.detail else ""
    return Why(False, str(t.state), f"it was decided, and the termination is {t.state}{detail}")


def _not_let_through(record: OrderRecord, now: float) -> Why | None:
    state = record.state(now)
    held, rejected = record.fact(FactKind.HELD), record.fact(FactKind.REJECTED)
    if state is OrderState.PROPOSED:
        return Why(False, "proposed", "nobody has judged the order yet")
    if state is OrderState.AWAITING_APPROVAL:
        return Why(False, "awaiting_approval", f"the order waits for approval: {held.reason if held else ''}".strip())
    if rejected is not None and state is OrderState.REJECTED:
        return Why(False, "rejected", f"{rejected.by.name} rejected the order at {iso(rejected.at)}: {rejected.reason}")
    return None


def _spared(record: OrderRecord, call: Call, protected: Protected) -> Why | None:
    if record.order.by.is_operator or not protected.covers(call):
        return None
    return Why(False, "protected", "its campaign, agent or number is protected from rules")


def _missed_each_other(record: OrderRecord, waits: Sequence[Wait]) -> Why | None:
    """Say how the times of the order and those in which the call waited lie, unless they overlap."""
    since = record.since
    if since is None:
        return Why(False, "not_in_force", "the order was never in force")
    ended = _ended(record)
    over = ended[0] if ended else None
    overlapping = [
        wait for wait in waits if (over is None or wait.began < over) and (wait.ended is None or wait.ended > since)
    ]
    if not overlapping:
        return _beside(since, ended, waits)
    if record.order.hold == 0.0 and all(wait.began > since for wait in overlapping):
        began = iso(overlapping[-1].began)
        return Why(
            False, "once", f"the order holds once, for what waited at {iso(since)}; the call waits since {began}"
        )
    return None


def _beside(since: float, ended: tuple[float, str] | None, waits: Sequence[Wait]) -> Why:
    later = next((wait for wait in waits if ended is not None and wait.began >= ended[0]), None)
    if later is not None and ended is not None:
        over, how = ended
        return Why(False, how, f"the order was {how} at {iso(over)}, before the call waited at {iso(later.began)}")
    if not waits:
        return Why(False, "not_terminable", "no event has told of the call waiting")
    last = waits[-1]
    return Why(
        False,
        "not_terminable",
        f"the call was {last.became} since {iso(last.ended)}, before the order came into force at {iso(since)}",
    )


def _ended(record: OrderRecord) -> tuple[float, str] | None:
    """When the order ended, if it has or will by itself, and how."""
    released = record.fact(FactKind.RELEASED)
    if released is not None:
        return released.at, "released"
    return (record.until, "expired") if record.until is not None else None
