"""Starting ``terminate``: terminations become requests to providers, and a record of what came of them."""

from consumer.kafka.pace import Pace
from consumer.service.folding import start_worker
from consumer.service.host import Host
from consumer.service.parts import Parts
from consumer.settings import Settings
from consumer.terminate.account_loop import LoopParts
from consumer.terminate.role import TerminateRole
from consumer.terminate.shard import SCHEMA, TerminateShard
from handlers.providers.table import PROVIDERS

PACE = Pace(save_at_records=10_000, save_silent_at_records=50_000)
"""A partition is saved before each commit, and sooner where many of its calls have changed, which the shard tells."""
LEDGER_CACHE_KIBIBYTES = 10 * 1_024
"""Only partitions that accounts fall on have anything to keep, and accounts are few. A commit writes what has changed in it
at one go, which takes some 30 ms of such a cache; what does not fit has been written before."""


async def start_terminate(host: Host, parts: Parts, settings: Settings) -> TerminateRole:
    """Start the role."""
    accounts = settings.accounts

    def open_shard(partition: int) -> TerminateShard:
        view = parts.view("terminate", partition, SCHEMA, cache_kibibytes=LEDGER_CACHE_KIBIBYTES)
        return TerminateShard(view, topics=parts.topics, book=parts.feed.book, accounts=accounts, providers=PROVIDERS)

    names = [parts.topics.terminations.name, parts.topics.termination_log.name]
    worker, reader = await start_worker(host, parts, "terminate", names, open_shard, pace=PACE)
    role = TerminateRole(
        parts=LoopParts(worker, parts.producer, parts.topics, lambda: reader.generation),
        accounts=accounts,
        providers=PROVIDERS,
    )
    worker.on_folded(role.wake)
    host.add_task("dispatch", role.run)
    host.when_leaving(role.leave)
    return role
