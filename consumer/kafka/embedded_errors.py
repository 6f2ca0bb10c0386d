"""Why an embedded broker is not there, and the progress of one that is coming.

EmbeddedKafkaError
├── ResolveError      the Kafka jars could not be fetched
├── DataDirInUseError another process serves this data directory
├── DataDirError      the data directory holds a cluster of another shape, or a file that cannot be read
├── PortTakenError    the port asked for is held by another process
└── StartError        a broker ended, or did not answer in time
"""

from collections.abc import Callable
from dataclasses import dataclass


class EmbeddedKafkaError(Exception):
    """Root: the message says what happened, where the log is, and what to do."""


class ResolveError(EmbeddedKafkaError):
    pass


class DataDirInUseError(EmbeddedKafkaError):
    pass


class DataDirError(EmbeddedKafkaError):
    pass


class PortTakenError(EmbeddedKafkaError):
    pass


class StartError(EmbeddedKafkaError):
    pass


@dataclass(frozen=True, slots=True)
class Progress:
    """One step towards a running broker.

    `stage` is resolving, formatting, starting, ready or restarting; `fraction` is 0 to 1, None where it is not known.
    """

    stage: str
    detail: str
    fraction: float | None = None


OnProgress = Callable[[Progress], None]
