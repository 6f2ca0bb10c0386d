"""What is counted of the views: how far each partition is folded, and how the reading back of one goes."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import Counter, Gauge

PARTITION = ["role", "topic", "partition"]

POSITION = Gauge("callbreaker_view_position", "The next offset to be folded into the view.", PARTITION)
END = Gauge(
    "callbreaker_view_end",
    "The end of the partition when Kafka was last asked: the next offset to be written.",
    PARTITION,
)
LAG = Gauge("callbreaker_view_lag", "Records of the partition that are not folded into the view yet.", PARTITION)
SECONDS_LEFT = Gauge(
    "callbreaker_view_rebuild_seconds_left",
    "How long reading back will take at the present pace; 0 once all of it is read, NaN while that cannot be told.",
    ["role"],
)
REBUILDS = Counter("callbreaker_view_rebuilds", "Views that were thrown away and built again from the log.", ["role"])
BYTES = Gauge("callbreaker_view_bytes", "What the files of a role's views take on the disk.", ["role"])


def show_bytes(role: str, folder: Path, files: str = "*.sqlite*") -> None:
    """Measure the files of a role's views in a folder whenever the metrics are asked for."""
    BYTES.labels(role).set_function(lambda: bytes_on_disk(folder.glob(files)))


def bytes_on_disk(files: Iterable[Path]) -> int:
    """Add up the sizes of files; a journal may be gone before it is looked at."""
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total
