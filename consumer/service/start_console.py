"""Starting ``console``: the operators' API, the page, and the ledger that both read."""

from functools import partial

from consumer.console.ledger_view import LedgerView
from consumer.console.operators import Operators, OperatorToken, generated_token
from consumer.console.page import page_routes
from consumer.console.routes import console_routes
from consumer.console.state import ConsoleState
from consumer.console.stream import Live
from consumer.kafka.metrics import show_bytes
from consumer.kafka.only_here import only_here
from consumer.kafka.rejected import RejectedLog
from consumer.kafka.watch import OwnReading
from consumer.service.elsewhere import Elsewhere
from consumer.service.held_here import HeldHere
from consumer.service.host import Host
from consumer.service.overview import Overview
from consumer.service.parts import Parts
from consumer.service.start_ingest import read_again
from consumer.settings import Settings
from handlers.providers.table import PROVIDERS

TERMINATION_LOG_UNREAD = "the termination log is still being read"


async def start_console(host: Host, parts: Parts, settings: Settings, here: HeldHere, overview: Overview) -> str | None:
    """Start the role; gives the operator's token if one had to be made because none is configured."""
    tokens = [OperatorToken(o.name, o.role, o.token.get_secret_value()) for o in settings.operators]
    made = None if tokens else generated_token()
    ledger = overview.ledger = await _start_ledger(host, parts)
    elsewhere = Elsewhere(parts.connection, parts.topics, node=parts.node, accounts=settings.accounts, here=here)
    await host.stack.enter_async_context(elsewhere)
    overview.figures = elsewhere.figures
    host.add_task("figures", elsewhere.figures.run)
    state = ConsoleState(
        accounts=settings.accounts,
        providers=PROVIDERS,
        operators=Operators(tokens or [made] if made else tokens),
        feed=parts.feed,
        ledger=ledger,
        producer=parts.producer,
        topics=parts.topics,
        calls=elsewhere.calls,
        figures=elsewhere.figures,
        overview=overview.now,
        webhooks=overview.webhooks,
        rules=lambda: tuple(parts.in_force.now.rules),
        protected=lambda: parts.in_force.now.protected,
        rejected=RejectedLog(parts.connection, parts.topics.rejected),
        reread=partial(read_again, settings, parts.topics),
    )
    live = Live(state)
    host.add_task("live", live.run)
    host.routes += [*console_routes(state, live), *page_routes()]
    return made.token if made else None


async def _start_ledger(host: Host, parts: Parts) -> LedgerView:
    path = host.stack.enter_context(only_here(parts.views, "console")).with_suffix(".sqlite")
    show_bytes("console", path.parent, f"{path.name}*")
    ledger = LedgerView(parts.connection, parts.topics, parts.cluster, path)
    await ledger.start()
    host.stack.push_async_callback(ledger.stop)
    host.add_task("console", ledger.run)
    reading = OwnReading(ledger.readings, ledger.reader.bounds, lambda: ledger.reader.waited_seconds)
    host.watch("console", reading, lambda: ledger.ready, TERMINATION_LOG_UNREAD)
    return ledger
