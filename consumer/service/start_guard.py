"""Starting ``guard``: totals become orders of rules, and limits say which of them wait for a person."""

from consumer.guard.notify import Notifier
from consumer.service.assembly import receiver_of
from consumer.service.folding import start_worker
from consumer.service.host import Host
from consumer.service.parts import Parts
from consumer.service.ruled_shards import GuardShards
from consumer.settings import Settings


async def start_guard(host: Host, parts: Parts, settings: Settings) -> None:
    """Start the role, and the notifying of whoever is configured."""
    shards = GuardShards(parts)
    worker, _ = await start_worker(host, parts, "guard", [parts.topics.scope_totals.name], shards.open)
    worker.on_folded(worker.wake)  # an order is judged as soon as the last partition has counted for it
    parts.in_force.on_taken(lambda ruling: shards.take(ruling, worker.shards.values()))
    receiver = receiver_of(settings.notify)
    if receiver:
        notifier = Notifier(receiver, parts.feed, lambda: shard.view if (shard := worker.shards.get(0)) else None)
        host.add_task("notify", notifier.run)
