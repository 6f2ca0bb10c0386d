"""One backtest, or only reading and decoding what it reads: how many events, and the CPU time that they took."""

from pathlib import Path

import uvloop

from benchmarks.backtest_rules import RULES
from benchmarks.children import job_of_this_process, say
from benchmarks.marks import Mark, between, mark
from consumer.backtest.run import over_log
from consumer.commands.trial import plan_of_trial
from consumer.kafka.connection import Connection
from consumer.kafka.span import open_span
from consumer.kafka.topics import Topics
from consumer.model.codec import decode_event
from consumer.model.events import Position
from consumer.service.memory import quieten_gc
from consumer.settings import Settings, load_rules


class Marks:
    """The first and the last mark of what is told, from the first batch on: connecting is not measured."""

    def __init__(self) -> None:
        self.first: Mark | None = None
        self.last: Mark | None = None

    def note(self, events: int) -> None:
        self.last = mark(events)
        self.first = self.first or self.last

    def say(self) -> None:
        assert self.first is not None
        assert self.last is not None
        say(between(self.first, self.last))


async def main() -> None:
    job = job_of_this_process()
    connection = Connection(job["servers"], topic_prefix=job["prefix"])
    counts = {name.replace("-", "_"): count for name, count in job["partitions"].items()}
    topics = Topics.named(job["prefix"], **counts)
    marks = Marks()
    if job["kind"] == "decode":
        quieten_gc()
        await decode(connection, topics, marks)
    else:
        rules = Path(job["folder"]) / "rules.yaml"
        rules.write_text(RULES)
        plan = plan_of_trial(Settings().model_copy(update={"rules": load_rules(rules, {})}))
        quieten_gc()
        await over_log(
            plan, connection, topics, until=None, on_progress=lambda _done, _total, events: marks.note(events)
        )
    marks.say()


async def decode(connection: Connection, topics: Topics, marks: Marks) -> None:
    """Read and decode every event in the order of time, and do nothing with it."""
    done = 0
    async with open_span(connection, topics.call_events, name="bench") as span:
        async for batch in span.batches():
            for time_ms, partition, offset, _, value in batch:
                decode_event(value, Position(topics.call_events.name, partition, offset), time_ms / 1_000)
            done += len(batch)
            marks.note(done)


if __name__ == "__main__":
    uvloop.run(main())
