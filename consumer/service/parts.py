"""What every role of a process is made from."""

from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from consumer.kafka.connection import Connection
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.producer import Producer
from consumer.kafka.topics import Cluster, Topic, Topics
from consumer.kafka.view import CACHE_KIBIBYTES, View
from consumer.service.ruling import InForce


@dataclass(frozen=True, slots=True)
class Parts:
    """The connection, the log, the orders, and the rules in force. ``views`` is the folder of all views of the process."""

    connection: Connection
    topics: Topics
    cluster: Cluster
    producer: Producer
    feed: OrderFeed
    in_force: InForce
    node: str
    views: Path

    def view(
        self, role: str, partition: int, schema: str, *beside: Topic, cache_kibibytes: int = CACHE_KIBIBYTES
    ) -> View:
        """Open the view of a partition; ``beside`` are other topics that the role keeps offsets of in its rows."""
        others = {topic.name: self.cluster.topic_ids.get(topic.name, "") for topic in beside}
        path = self.views / role / f"{partition}.sqlite"
        return View(path, schema, cluster_id=self.cluster.cluster_id, beside=others, cache_kibibytes=cache_kibibytes)


def node_name(data_dir: Path) -> str:
    """The stable name of this node, kept beside its views."""
    path = data_dir / "node"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid4().hex)
    return path.read_text().strip()
