"""Starting ``terminate``: terminations become requests to providers, and a record of what came of them."""

from consumer.kafka.worker import Pace
from consumer.service.folding import start_worker
from consumer.service.host import Host
from consumer.service.parts import Parts
from consumer.settings import Settings
from consumer.terminate.account_loop import LoopParts
from consumer.terminate.role import TerminateRole
from consumer.terminate.shard import SCHEMA, TerminateShard
from handlers.providers.table import PROVIDERS

LOG_RECORDS_UNSAVED = 10_000
"""A partition is saved before each commit, and sooner where many of its calls have changed, which the shard tells."""
LEDGER_CACHE_KIBIBYTES = 16 * 1_024
"""Only partitions that accounts fall on have anything to keep, and accounts are few."""


async def start_terminate(host: Host, parts: Parts, settings: Settings) -> TerminateRole:
    """Start the role."""
    accounts = settings.accounts

    def open_shard(partition: int) -> TerminateShard:
        view = parts.view("terminate", partition, SCHEMA, cache_kibibytes=LEDGER_CACHE_KIBIBYTES)
        return TerminateShard(view, topics=parts.topics, book=parts.feed.book, accounts=accounts, providers=PROVIDERS)

    names = [parts.topics.terminations.name, parts.topics.termination_log.name]
    worker, reader = await start_worker(
        host, parts, "terminate", names, open_shard, pace=Pace(save_at_records=LOG_RECORDS_UNSAVED)
    )
    role = TerminateRole(
        parts=LoopParts(worker, parts.producer, parts.topics, lambda: reader.generation),
        accounts=accounts,
        providers=PROVIDERS,
    )
    worker.on_folded(role.wake)
    host.add_task("dispatch", role.run)
    return role
