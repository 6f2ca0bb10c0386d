"""What the console is given by the composition root: everything it reads and the one thing it writes through."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.console.ledger_view import LedgerView
from consumer.console.operators import Operators
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.rejected import RejectedLog
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.provider import Provider


class FindCall(Protocol):
    """Looks a call up where it is held.

    Raises:
        CallElsewhereError: its partition is held by no worker this process can ask.

    """

    def __call__(self, account: str, call_id: str) -> Call | None: ...


class CallElsewhereError(Exception):
    """The call's partition is not held here."""


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
    """The console's view of the installation. ``account_status`` gives what is known here of an account's sending."""

    accounts: Mapping[str, Account]
    providers: Mapping[str, Provider]
    operators: Operators
    feed: OrderFeed
    ledger: LedgerView
    producer: Producer
    topics: Topics
    find_call: FindCall
    history: Callable[[Call], Awaitable[Sequence[CallEvent]]]
    account_status: Callable[[str], dict[str, Any]]
    overview: Callable[[], dict[str, Any]]
    rejected: RejectedLog
    reread: Reread
