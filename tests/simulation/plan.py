"""What a seed means: a small world, what happens in it, and what goes wrong. Pure: the same seed, the same plan."""

from dataclasses import dataclass
from random import Random

from consumer.model.orders import Mode, Reach
from consumer.model.scopes import ScopeKind

CRASH, FREEZE = "crash", "freeze"
KEPT, OLDER, LOST, ONE_LOST, ORDERS_LOST = "kept", "older", "lost", "one lost", "orders lost"
NEVER = float("inf")
STARTED_BY = 6.0
HEALED_AT = 15.0
"""From then on nothing new goes wrong; what is dead comes back and what is late arrives."""
TOUCHES = (
    "records fetched",
    "before a write",
    "written, not acknowledged",
    "after a write",
    "before the view's commit of correlate",
    "before the view's commit of terminate",
    "after the view's commit of correlate",
    "after the view's commit of correlate",
    "after the view's commit of terminate",
    "before a commit",
    "after a commit",
    "before a request",
    "request arrived",
    "answer on its way",
    "after a request",
    "after a look",
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One dialling: after so long a wait (``NEVER`` comes), so long a talk, and how it ends (``retry`` waits again)."""

    wait: float
    talk: float
    ends: str


@dataclass(frozen=True, slots=True)
class CallPlan:
    """One call's life at the provider, unless it is stopped. A stubborn one is said to be stopped and never is."""

    call_id: str = "call-0"
    account: str = "acme"
    campaign: str = "spring"
    number: str = "+918800000001"
    at: float = 1.0
    attempts: tuple[Attempt, ...] = (Attempt(NEVER, 0.0, "completed"),)
    opts_out: bool = False
    stubborn: bool = False


@dataclass(frozen=True, slots=True)
class OrderPlan:
    """What an operator orders, and when that is released."""

    order_id: str = "order-0"
    at: float = 2.0
    account: str = "acme"
    kind: ScopeKind = ScopeKind.CAMPAIGN
    target: str = "spring"
    hold: float | None = None
    mode: Mode = Mode.ENFORCE
    reach: Reach = Reach.KNOWN
    lane: int = 2
    released_at: float | None = None


@dataclass(frozen=True, slots=True)
class Strike:
    """A process dies or freezes at the ``n``-th touch (of one kind, or of any) for ``seconds``. ``views``: what is left."""

    n: int
    touch: str | None
    kind: str
    seconds: float
    views: str = KEPT


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole of a seed; what is not said is a quiet world of one node.

    ``guards_everywhere``: whether every process guards, or only those of the first node. ``outages`` are pairs of when and
    for how long, ``clocks`` of when and by how much a node's wall clock jumps. ``orders_late_seconds``: how far behind a
    process may be with each batch of ``stop-orders``. ``power``: whether a crash may take the last commits with it.
    """

    nodes: int = 1
    call_partitions: int = 1
    guards_everywhere: bool = False
    accounts: tuple[str, ...] = ("acme",)
    calls: tuple[CallPlan, ...] = (CallPlan(),)
    orders: tuple[OrderPlan, ...] = (OrderPlan(),)
    strikes: tuple[Strike, ...] = ()
    outages: tuple[tuple[float, float], ...] = ()
    rebalances: tuple[float, ...] = ()
    clocks: tuple[tuple[float, float], ...] = ()
    acks_lost: float = 0.0
    slow_writes: float = 0.0
    orders_late_seconds: float = 0.0
    webhooks_twice: float = 0.0
    webhooks_late: float = 0.0
    webhooks_lost: float = 0.0
    misbehaves: float = 0.0
    requests_per_second: float = 5.0
    pace_seconds: float = 1.0
    disorder: float = 0.0
    power: bool = False

    @property
    def over_at(self) -> float:
        """From then on nothing more happens because of the plan; strikes wait for what processes do."""
        orders = [moment for order in self.orders for moment in (order.at, order.released_at or 0.0)]
        outages = [at + seconds for at, seconds in self.outages]
        return max(STARTED_BY, *orders, *outages, *self.rebalances, *(at for at, _ in self.clocks))


def plan_of(seed: int) -> Plan:
    """Draw the plan of a seed."""
    r = Random(f"plan {seed}")
    accounts = r.choice((("acme",), ("acme",), ("careful",), ("acme", "careful")))
    campaigns = ("spring", "autumn")
    numbers = ("+918800000001", "+918800000002", "+918800000003")
    power = r.random() < 0.25
    calls = tuple(_call(r, n, accounts, campaigns, numbers) for n in range(2 + int(r.random() * 2.5)))
    orders = tuple(_order(r, n, calls) for n in range(1 + int(r.random() * 2.5)))
    return Plan(
        nodes=1 + (r.random() < 0.7) + (r.random() < 0.05),
        call_partitions=1 + (r.random() < 0.6) + (r.random() < 0.1),
        guards_everywhere=r.random() < 0.3,
        accounts=accounts,
        calls=calls,
        orders=orders,
        strikes=tuple(_strike(r, power=power) for _ in range(int(r.random() * 5.0))),
        outages=tuple((r.random() * 12.0, 0.5 + r.random() * 6.0) for _ in range(r.random() < 0.12)),
        rebalances=tuple(r.random() * 12.0 for _ in range(r.random() < 0.2)),
        clocks=tuple((r.random() * 12.0, r.choice((-40.0, -3.0, 2.0))) for _ in range(r.random() < 0.08)),
        acks_lost=_some(r, 0.3, 0.3),
        slow_writes=_some(r, 0.3, 0.3),
        orders_late_seconds=_some(r, 0.3, 5.0),
        webhooks_twice=_some(r, 0.5, 0.5),
        webhooks_late=_some(r, 0.4, 0.5),
        webhooks_lost=_some(r, 0.15, 0.4),
        misbehaves=_some(r, 0.4, 0.8),
        requests_per_second=r.choice((1.0, 5.0, 5.0)),
        pace_seconds=0.25 if r.random() < 0.03 else 3.0,
        disorder=_some(r, 0.3, 0.5),
        power=power,
    )


def _some(r: Random, how_often: float, at_most: float) -> float:
    return r.random() * at_most if r.random() < how_often else 0.0


def _call(
    r: Random, n: int, accounts: tuple[str, ...], campaigns: tuple[str, ...], numbers: tuple[str, ...]
) -> CallPlan:
    attempts = [Attempt(1.0 + r.random() * 5.0, 0.2 + r.random() * 3.0, "retry") for _ in range(int(r.random() * 2.0))]
    wait = NEVER if r.random() < 0.4 else 1.0 + r.random() * 6.0
    last = Attempt(wait, 0.2 + r.random() * 4.0, r.choice(("completed", "completed", "failed")))
    return CallPlan(
        call_id=f"call-{n}",
        account=r.choice(accounts),
        campaign=campaigns[r.random() < 0.25],
        number=r.choice(numbers),
        at=r.random() * 4.0,
        attempts=(*attempts, last),
        opts_out=r.random() < 0.25,
        stubborn=wait == NEVER and r.random() < 0.06,
    )


def _order(r: Random, n: int, calls: tuple[CallPlan, ...]) -> OrderPlan:
    aimed_at = r.choice(calls)
    kind = r.choice((ScopeKind.CAMPAIGN, ScopeKind.CAMPAIGN, ScopeKind.NUMBER, ScopeKind.CALL))
    target = {
        ScopeKind.CAMPAIGN: aimed_at.campaign,
        ScopeKind.NUMBER: aimed_at.number,
        ScopeKind.CALL: aimed_at.call_id,
    }
    at = r.random() * 7.0
    everything = kind is ScopeKind.CAMPAIGN and r.random() < 0.15
    return OrderPlan(
        order_id=f"order-{n}",
        at=at,
        account=aimed_at.account,
        kind=kind,
        target=target[kind],
        hold=0.0 if kind is ScopeKind.CALL else r.choice((None, None, 0.0, 6.0)),
        mode=Mode.SHADOW if r.random() < 0.08 else Mode.ENFORCE,
        reach=Reach.EVERYTHING if everything else Reach.KNOWN,
        lane=r.choice((0, 2)),
        released_at=at + r.random() * 8.0 if r.random() < 0.25 else None,
    )


def _strike(r: Random, *, power: bool) -> Strike:
    any_touch = r.random() < 0.4
    freeze = r.random() < 0.3
    views = r.choice((KEPT, KEPT, LOST, ONE_LOST)) if not power else r.choice((KEPT, OLDER, OLDER, LOST))
    return Strike(
        n=1 + int(r.random() * (150 if any_touch else 6)),
        touch=None if any_touch else r.choice(TOUCHES),
        kind=FREEZE if freeze else CRASH,
        seconds=r.choice((0.5, 4.0, 12.0, 16.0)) if freeze else r.choice((0.1, 1.0, 4.0, 14.0)),
        views=KEPT if freeze else views,
    )
