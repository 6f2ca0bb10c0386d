"""What a provider does that its capability table denies: refuse. A provider overrides what it offers."""

from consumer.model.accounts import Account
from consumer.model.provider import (
    Capabilities,
    HistoryPage,
    HistoryQuery,
    HttpRequest,
    HttpResponse,
    Look,
    ScopeState,
    UnsafeRequest,
    WholeScope,
)


class BaseProvider:
    """The refusals. ``name``, ``default_base_url`` and ``capabilities`` are class attributes of the provider."""

    name: str
    default_base_url: str
    capabilities: Capabilities

    def url(self, account: Account, path: str) -> str:
        """Join the account's base URL and a path of the API."""
        return f"{account.base_url or self.default_base_url}{path}"

    def look_up(self, account: Account, call_id: str) -> HttpRequest:  # noqa: ARG002 -- the protocol's form
        raise UnsafeRequest(f"{self.name} cannot be asked for one call")

    def read_look_up(self, account: Account, call_id: str, response: HttpResponse) -> Look:  # noqa: ARG002
        raise UnsafeRequest(f"{self.name} cannot be asked for one call")

    def history(self, account: Account, query: HistoryQuery) -> HttpRequest:  # noqa: ARG002
        raise UnsafeRequest(f"{self.name} has no call history")

    def read_history(self, account: Account, query: HistoryQuery, response: HttpResponse) -> HistoryPage:  # noqa: ARG002
        raise UnsafeRequest(f"{self.name} has no call history")

    def scope_state(self, account: Account, whole: WholeScope) -> HttpRequest:  # noqa: ARG002
        raise UnsafeRequest(f"{self.name} does not tell the state of a scope")

    def read_scope_state(self, account: Account, whole: WholeScope, response: HttpResponse) -> ScopeState:  # noqa: ARG002
        raise UnsafeRequest(f"{self.name} does not tell the state of a scope")
