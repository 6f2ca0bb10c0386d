"""Fills views that the service has made with waiting calls, through the real fold and tables: far quicker than the log."""

import sqlite3
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.children import job_of_this_process, say
from benchmarks.million_calls import call_id_of, event_of
from consumer.correlate.calls import Calls
from consumer.kafka.topics import Topics
from consumer.model.calls import fold
from consumer.model.events import Position

SAVE_EVERY = 5_000


def main() -> None:
    job = job_of_this_process()
    topics = Topics.named(job["prefix"])
    mine = set(job["mine"])
    by_partition: defaultdict[int, list[int]] = defaultdict(list)
    for n in range(*job["calls"]):
        partition = topics.partition_of_call(job["account"], call_id_of(n))
        if partition in mine:
            by_partition[partition].append(n)
    for partition, numbers in by_partition.items():
        fill_one(Path(job["folder"]) / f"{partition}.sqlite", Position(topics.call_events.name, partition, 0), numbers)
    say({"calls": sum(map(len, by_partition.values()))})


def fill_one(path: Path, position: Position, numbers: list[int]) -> None:
    """Put calls into a view, whose offset stays: as if they had been folded before it. Nobody else may have it open."""
    if not path.exists():
        raise FileNotFoundError(f"the service has made no view {path}")
    connection = sqlite3.connect(path, isolation_level=None)
    calls = Calls(connection)
    for start in range(0, len(numbers), SAVE_EVERY):
        for n in numbers[start : start + SAVE_EVERY]:
            calls.put(fold(None, event_of(n, time.time(), position)), None)
        connection.execute("BEGIN IMMEDIATE")
        while calls.save(connection):
            pass
        connection.execute("COMMIT")
    connection.close()


if __name__ == "__main__":
    main()
