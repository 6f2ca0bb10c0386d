"""Starting ``correlate``: call events and stop orders become terminations and totals."""

from consumer.correlate.lag import LagWatch
from consumer.correlate.queries import CallQueries
from consumer.correlate.room import room_of
from consumer.kafka.pace import Pace
from consumer.service.assembly import keeping_of
from consumer.service.folding import start_worker
from consumer.service.host import Host
from consumer.service.parts import Parts
from consumer.service.ruled_shards import CorrelateShards
from consumer.settings import Settings


async def start_correlate(host: Host, parts: Parts, settings: Settings) -> CallQueries:
    """Start the role; gives what answers questions about the calls that it holds."""
    topic = parts.topics.call_events
    shards = CorrelateShards(parts, keeping_of(settings, parts.topics))
    pace = Pace(save_at_records=room_of(topic.partitions).unsaved_events)
    worker, reader = await start_worker(host, parts, "correlate", [topic.name], shards.open, pace=pace)
    parts.in_force.on_taken(lambda ruling: shards.take(ruling, worker.shards.values()))
    lag = LagWatch(worker, parts.feed, parts.producer, lambda: any(True for _ in parts.in_force.now.rules))
    host.add_task("lag", lag.run)
    return CallQueries(worker, reader, parts.topics)
