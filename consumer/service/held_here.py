"""What this process holds of calls and accounts, whatever its roles: for its own console, and for those of others."""

from collections.abc import Callable, Sequence

from consumer.console import shown
from consumer.console.figures import Report
from consumer.console.find_call import KnownCall
from consumer.correlate.queries import CallQueries
from consumer.ingest.server import WebhookServer
from consumer.kafka.errors import NotHeld
from consumer.kafka.progress import Progress
from consumer.kafka.rule_metrics import failures_here
from consumer.terminate.role import TerminateRole


class HeldHere:
    """Filled in as the roles of the process start."""

    def __init__(self) -> None:
        self.calls: CallQueries | None = None
        self.terminate: TerminateRole | None = None
        self.webhooks: WebhookServer | None = None
        self.reading_back: Callable[[], Sequence[Progress]] = tuple

    async def find(self, account: str, call_id: str) -> KnownCall | None:
        """Look a call up here; raises ``NotHeld``, ``NotCaughtUp`` and ``LogUnavailable``."""
        if self.calls is None:
            raise NotHeld("this process holds no calls")
        call = await self.calls.find(account, call_id)
        return KnownCall(shown.call(call), call.history) if call else None

    def report(self) -> Report:
        """Give what is known here at this moment."""
        last_webhook_at = self.calls.last_webhook_at() if self.calls else {}
        for account, at in self.webhooks.last_webhook_at.items() if self.webhooks else ():
            last_webhook_at[account] = max(at, last_webhook_at.get(account, 0.0))
        sending = self.terminate.healths() if self.terminate else {}
        return Report(
            self.calls.counts() if self.calls else {},
            last_webhook_at,
            {
                account: {
                    "breaker": one.health.breaker,
                    "held": one.health.held,
                    "backlog": one.backlog,
                    "requests": one.health.requests,
                    "last_success_at": one.health.last_success_at,
                }
                for account, one in sending.items()
            },
            tuple(self.reading_back()),
            failures_here(),
        )
