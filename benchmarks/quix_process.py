"""The same topic through Quix Streams: a stateful update per call id with its defaults. Runs in an environment of its own.

Defaults: RocksDB state with a changelog topic, a checkpoint every 5 s, at-least-once, its JSON deserialiser (orjson). The
state of a call is one entry: how many events, and the last status. Measured from the first message to the end of the
checkpoint that holds the last one; starting, joining the group and leaving are not.
"""

import sys
import warnings
from typing import Any

import orjson

from benchmarks.marks import Mark, between, mark

with warnings.catch_warnings(record=True):  # of a library under it, about another library
    from quixstreams import Application, State
    from quixstreams.checkpointing import Checkpoint


class Follow:
    """Counts a call's events in its state, and stops the application behind the last one."""

    def __init__(self, application: Application, events: int) -> None:
        self._application = application
        self._events = events
        self.done = 0
        self.first: Mark | None = None

    def __call__(self, value: dict[str, Any], state: State) -> None:
        if not self.done:
            self.first = mark(0)
        known = state.get("call") or {"events": 0, "status": None}
        known["events"] += 1
        known["status"] = value.get("status") or known["status"]
        state.set("call", known)
        self.done += 1
        if self.done == self._events:
            self._application.stop()


def main() -> None:
    job = orjson.loads(sys.argv[1])
    application = Application(
        broker_address=job["servers"],
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        state_dir=job["folder"],
        loglevel="WARNING",
    )
    follow = Follow(application, job["events"])
    application.dataframe(application.topic(job["topic"])).update(follow, stateful=True)
    last: list[Mark] = []
    commit = Checkpoint.commit

    def noted(self: Checkpoint, **options: Any) -> None:
        commit(self, **options)
        last.append(mark(follow.done))

    Checkpoint.commit = noted  # the only thing that is not its own: a look at the clock behind each checkpoint
    application.run()
    assert follow.first is not None
    at_the_end = next(one for one in last if one.events == follow.done)
    sys.stdout.buffer.write(orjson.dumps({**between(follow.first, at_the_end), "checkpoints": len(last)}) + b"\n")


if __name__ == "__main__":
    main()
