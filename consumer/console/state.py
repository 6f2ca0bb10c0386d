"""What the console is given by the composition root: everything it reads and the one thing it writes through."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.console.figures import Figures
from consumer.console.find_call import CallFinder
from consumer.console.ledger_view import LedgerView
from consumer.console.operators import Operators
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.rejected import RejectedLog
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from consumer.model.orders import Mode
from consumer.model.protected import Protected
from consumer.model.provider import Provider


class Reread(Protocol):
    """Reads a body of ``rejected`` again; gives the records that it makes now.

    Raises:
        StillRejectedError: it is not understood now either.

    """

    def __call__(self, account: str, event_id: str, raw: bytes) -> Sequence[OutRecord]: ...


class RuleInForce(Protocol):
    """What the console shows of a rule: how it is configured, whatever was set at run time."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def hash(self) -> str: ...

    @property
    def mode(self) -> Mode: ...

    @property
    def canary_share(self) -> float: ...

    @property
    def canary_campaigns(self) -> tuple[str, ...]: ...


class StillRejectedError(Exception):
    """A kept body that is no event of its account; the message says why."""


@dataclass(frozen=True, slots=True)
class ConsoleState:
    """The console's view of the installation.

    ``overview`` gives the figures of the page, ``webhooks`` how many were taken in here, None where none are; ``rules`` gives
    the rules in force, ``protected`` what they never stop.
    """

    accounts: Mapping[str, Account]
    providers: Mapping[str, Provider]
    operators: Operators
    feed: OrderFeed
    ledger: LedgerView
    producer: Producer
    topics: Topics
    calls: CallFinder
    figures: Figures
    overview: Callable[[], dict[str, Any]]
    webhooks: Callable[[], int | None]
    rules: Callable[[], Sequence[RuleInForce]]
    protected: Callable[[], Protected]
    rejected: RejectedLog
    reread: Reread
