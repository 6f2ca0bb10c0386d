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
from consumer.model.provider import Provider


class Reread(Protocol):
    """Reads a body of ``rejected`` again; gives the records that it makes now.

    Raises:
        StillRejectedError: it is not understood now either.

    """

    def __call__(self, account: str, event_id: str, raw: bytes) -> Sequence[OutRecord]: ...


class StillRejectedError(Exception):
    """A kept body that is no event of its account; the message says why."""


@dataclass(frozen=True, slots=True)
class ConsoleState:
    """The console's view of the installation.

    ``overview`` gives the figures of the page, ``webhooks`` how many were taken in here, None where none are.
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
    rejected: RejectedLog
    reread: Reread
