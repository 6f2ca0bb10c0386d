"""What a worker is told by the main process when it starts."""

from dataclasses import dataclass

from consumer.kafka.connection import Connection
from consumer.kafka.topics import Topics
from consumer.settings import Settings


@dataclass(frozen=True, slots=True)
class Assignment:
    """The configuration as the main process has read it, its Kafka, the port to share and its own Unix socket."""

    settings: Settings
    connection: Connection
    topics: Topics
    port: int
    main_socket: str
