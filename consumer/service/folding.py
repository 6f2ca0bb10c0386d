"""Starting the worker of a role: a member of the role's group, and the views of the partitions that it is given."""

from collections.abc import Callable, Sequence

from consumer.kafka.metrics import show_bytes
from consumer.kafka.only_here import only_here
from consumer.kafka.pace import DEFAULT_PACE, Pace
from consumer.kafka.reader import GroupReader
from consumer.kafka.view import held_views
from consumer.kafka.worker import FoldingWorker, Shard
from consumer.service.host import Host
from consumer.service.parts import Parts

PARTITIONS_UNREAD = "partitions are still being taken over or read"


async def start_worker(
    host: Host,
    parts: Parts,
    name: str,
    topics: Sequence[str],
    open_shard: Callable[[int], Shard],
    *,
    pace: Pace = DEFAULT_PACE,
) -> tuple[FoldingWorker, GroupReader]:
    """Start the worker of the role ``name``; it joins its group as soon as others can reach this process."""
    folder = host.stack.enter_context(only_here(parts.views, name))
    show_bytes(name, folder)
    reader = GroupReader(
        parts.connection,
        group=name,
        topics=topics,
        node=parts.node,
        held=lambda: held_views(folder),
        member_file=folder / "member",
        url=lambda: host.url,
    )
    worker = FoldingWorker(
        name=name,
        reader=reader,
        producer=parts.producer,
        topics=topics,
        open_shard=open_shard,
        pace=pace,
    )
    await reader.start(join=False)
    host.when_reachable(reader.join)
    host.stack.push_async_callback(reader.stop)
    host.stack.push_async_callback(worker.drain)
    host.add_task(name, worker.run)
    host.watch(name, worker, lambda: worker.ready, PARTITIONS_UNREAD)
    parts.feed.on_change(worker.wake)
    return worker, reader
