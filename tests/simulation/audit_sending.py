"""Laws about what is asked of the provider: who, when, how often, and what is said of it afterwards."""

from collections import Counter
from collections.abc import Iterator

from consumer.model.orders import Mode, OrderRecord, OrderState, effective_mode
from consumer.model.terminations import Attempt, State, Termination
from tests.simulation.log import EPOCH
from tests.simulation.plan import FREEZE
from tests.simulation.wanted import is_wanted
from tests.simulation.world import World

MAX_SENDS = 3
LARGEST_REQUEST = 100
LOOK_HOLDS_SECONDS = 3.0


def nobody_is_left_waiting(world: World) -> Iterator[str]:
    """A call is still to be dialled though an order enforces its stop only where the provider would not, three times."""
    for call in world.provider.calls.values():
        folded = world.oracle.calls.get((call.plan.account, call.plan.call_id))
        if not call.waits or folded is None or not folded.terminable or not is_wanted(world, folded, enforced=True):
            continue
        mine = [t for t in _of_call(world, call.plan.call_id) if t.episode == folded.episode]
        if not any(t.state is State.UNCONFIRMED and t.sends >= MAX_SENDS for t in mine):
            yield f"{call.plan.call_id} still waits, its terminations are {[(str(t.state), t.sends) for t in mine]}"


def confirmed_means_cancelled(world: World) -> Iterator[str]:
    """What is called confirmed was cancelled at the provider, and what was cancelled there is confirmed.

    Except where the request hit an episode that it was not made for, and that nobody had heard of or meant to stop.
    """
    for call in world.provider.calls.values():
        mine = _of_call(world, call.plan.call_id)
        states = {t.state for t in mine}
        if State.CONFIRMED in states and call.status != "cancelled":
            yield f"{call.plan.call_id} is confirmed, and the provider has it as {call.status}"
        if call.status != "cancelled" or call.plan.call_id in world.wire.stopped_with_their_scope:
            continue
        meant = any(t.episode == call.attempt and t.mode is not Mode.SHADOW for t in mine)
        if meant and State.CONFIRMED not in states:
            yield f"{call.plan.call_id} was cancelled, and its terminations are {sorted(states)}"


def every_request_was_wanted(world: World) -> Iterator[str]:
    """When a call was chosen for a request, an order that its sender knew enforced its stop right then.

    Of the attempts of a request the first names what the call was chosen for; a later one is of an episode that shares it.
    """
    lives = {life.process.name: life for node in world.nodes for life in node.lives}
    chosen: dict[tuple[str, str], Attempt] = {}
    for _, attempt in world.oracle.attempts:
        chosen.setdefault((attempt.request_id, attempt.call_id), attempt)
    for attempt in chosen.values():
        t = world.oracle.terminations[attempt.termination_id]
        chooser = lives[attempt.request_id.rsplit("-", 1)[0]]
        choice = chooser.choices[attempt.request_id]
        book = world.oracle.book_until(choice.orders_read)
        wanting = [book.orders[one] for one in t.orders if one in book.orders]
        if not any(_enforces(record, t, choice.at) for record in wanting):
            yield f"{t.call_id or t.scope} was chosen for {attempt.request_id}, and no order wanted that any more"


def attempts_come_before_requests(world: World) -> Iterator[str]:
    """Nothing reaches the provider before an attempt for each of its calls is in the log, and nothing reaches it twice."""
    written: dict[str, list[tuple[float, str]]] = {}
    for at, attempt in world.oracle.attempts:
        written.setdefault(attempt.request_id, []).append((at, attempt.call_id))
    for stop in world.wire.stops:
        before = {call_id for at, call_id in written.get(stop.request_id, ()) if at <= EPOCH + stop.at}
        missing = set(stop.call_ids or ("",)) - before
        if missing:
            yield f"request {stop.request_id} reached the provider without an attempt for {sorted(missing)}"
    for request_id, times in Counter(stop.request_id for stop in world.wire.stops).items():
        if times > 1:
            yield f"request {request_id} reached the provider {times} times"


def allowance_is_kept(world: World) -> Iterator[str]:
    """A call is asked for once, again only after a crash, an unknown or an unconfirmed answer, and three times at most."""
    reached = {stop.request_id for stop in world.wire.stops}
    for t in world.oracle.terminations.values():
        asked = [attempt for attempt in t.attempts if attempt.request_id in reached]
        if len(asked) > MAX_SENDS:
            yield f"{t.call_id} was asked for {len(asked)} times"
        excuses = len(world.plan.strikes) + sum(bool(r.answer and r.answer.may_have_acted) for r in t.results)
        if len(asked) > 1 + excuses:
            yield f"{t.call_id} was asked for {len(asked)} times with {excuses} reasons to ask again"


def requests_are_small_and_of_one_account(world: World) -> Iterator[str]:
    """No request names more than a hundred calls, one twice, one of another account, or none at all."""
    if world.wire.nameless:
        yield f"{world.wire.nameless} times a call without a name was asked for"
    accounts = {plan.call_id: plan.account for plan in world.plan.calls}
    for stop in world.wire.stops:
        ids = stop.call_ids
        if len(ids) > LARGEST_REQUEST or len(set(ids)) != len(ids) or any(accounts[one] != stop.account for one in ids):
            yield f"request {stop.request_id} names {ids} at {stop.account}"


def no_live_call_is_cut(world: World) -> Iterator[str]:
    """Where a stop would hang up on a live call, the call was seen waiting right before it was asked for."""
    for stop in world.wire.stops:
        for call_id in stop.cut if stop.call_ids else ():
            looks = [
                at
                for at, by, looked_at, status in world.wire.looks
                if (by, looked_at) == (stop.by, call_id) and status in {"registered", "retry"} and at <= stop.decided_at
            ]
            if not looks or stop.decided_at - max(looks) > LOOK_HOLDS_SECONDS:
                ago = f"{stop.decided_at - max(looks):.1f} s before" if looks else "never"
                yield f"{call_id} was hung up on by {stop.request_id}; it was seen waiting {ago}"


def rate_is_kept(world: World) -> Iterator[str]:
    """In no second more requests leave than the limit allows, also when the account changes hands; zombies excepted."""
    if any(strike.kind == FREEZE for strike in world.plan.strikes):
        return
    for account in world.accounts.values():
        most = max(account.rate_limit.burst, int(account.rate_limit.requests_per_second))
        sent = sorted(stop.decided_at for stop in world.wire.stops if stop.account == account.name)
        for first, following in zip(sent, sent[most:], strict=False):
            if following - first < 1.0:
                yield f"{account.name}: {most + 1} requests within {following - first:.3f} s"


def _of_call(world: World, call_id: str) -> list[Termination]:
    return [t for t in world.oracle.terminations.values() if t.call_id == call_id]


def _enforces(record: OrderRecord, t: Termination, now: float) -> bool:
    mode = effective_mode(record.order, t.call_id, t.campaign_id)
    return record.state(now) is OrderState.IN_FORCE and mode is Mode.ENFORCE
