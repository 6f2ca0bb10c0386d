"""What stands in for the Kafka consumers: the members of groups, and the reader of a whole topic."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from consumer.kafka.errors import LogUnavailable
from consumer.kafka.reader import GroupReader, LogRecord, TopicReader
from consumer.kafka.topics import Topic
from tests.simulation.fetcher import Fetcher
from tests.simulation.group import UNNOTICED_SECONDS, Member, SimulatedGroup
from tests.simulation.log import Key, SimulatedLog
from tests.simulation.loop import Process

Gate = Callable[[str], Awaitable[None]]
"""Where a process may die or freeze: awaited around everything it does with the world."""

IDLE_POLL_SECONDS, UNCOMMITTED_POLL_SECONDS = 20.0, 1.1
"""How long a poll waits for the first record: the real 0.2 s would only cost steps; a commit comes after a second."""


class SimulatedGroupReader(GroupReader):
    """A member of a simulated group, with what a worker asks of ``GroupReader`` and none of its parts."""

    generation = 0

    def __init__(
        self,
        fetcher: Fetcher,
        group: SimulatedGroup,
        *,
        topics: Sequence[str],
        log: SimulatedLog,
        process: Process,
        node: str,
        held: Callable[[], list[int]],
        gate: Gate,
    ) -> None:
        self.assigned = frozenset()
        self.joined = False
        self.held = held
        self.silent_until: dict[Key, int] = {}
        self.member = Member(process.name, node, process, self)
        self._names = tuple(topics)
        self._fetcher = fetcher
        self._group = group
        self._broker = log
        self._gate = gate
        self._delivered = False

    async def start(self, *, join: bool = True) -> None:
        await self._gate("joining")
        self._group.leave(self.member.node)
        if join:
            self.join()

    def join(self) -> None:
        self._group.join(self.member)

    def revoked(self) -> None:
        """Lose all partitions, as the rebalance listener does."""
        self._fetcher.stop()
        self.joined = False
        self.generation += 1

    def stood_still(self, seconds: float) -> None:
        """Doubt its membership after it was frozen for so long, as the reader's pulse does before anything else runs."""
        if not self.joined or seconds <= UNNOTICED_SECONDS:
            return
        self.revoked()
        generation = self.generation
        self._group.ask(self.member, lambda: self.given(self.assigned) if generation == self.generation else None)

    def given(self, partitions: frozenset[int]) -> None:
        """Learn the new assignment, as the rebalance listener does; nothing is read until ``open``."""
        self._fetcher.stop()
        self.assigned = partitions
        self.joined = True
        self.generation += 1

    async def committed(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        found = {}
        for partition in partitions:
            await self._ask("asking for a committed offset")
            offset = self._group.committed.get((topic, partition), 0)
            self.silent_until[topic, partition] = offset
            found[partition] = offset
        return found

    async def ends(self, partitions: Iterable[int]) -> dict[Key, tuple[int, int]]:
        await self._ask("asking for ends")
        keys = [(topic, partition) for topic in self._names for partition in partitions]
        return {key: (0, self._broker.end(key)) for key in keys}

    async def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        await self._ask("asking for topic ids")
        return {topic: f"id of {topic}" for topic in topics}

    async def bounds(self, keys: Iterable[Key]) -> dict[Key, tuple[int, int]]:
        await self._ask("asking for bounds")
        return {key: (0, self._broker.end(key)) for key in keys}

    async def position(self, topic: str, partition: int) -> int | None:
        return self._fetcher.positions.get((topic, partition))

    def open(self, offsets: Mapping[Key, int]) -> None:
        if self.joined and {partition for _, partition in offsets} <= self.assigned:
            self._fetcher.follow(offsets)

    async def poll(self, *, max_records: int, timeout_ms: int) -> dict[Key, Sequence[LogRecord]]:  # noqa: ARG002
        generation = self.generation
        found = self._fetcher.take(max_records)
        if not found:
            seconds = UNCOMMITTED_POLL_SECONDS if self._delivered else IDLE_POLL_SECONDS
            await self._fetcher.wait(self._broker.seconds_down or seconds)
            found = self._fetcher.take(max_records) if generation == self.generation else {}
        if found:
            self._delivered = True
            await self._gate("records fetched")
        return found if generation == self.generation else {}

    async def commit(self, offsets: Mapping[Key, int]) -> bool:
        self._delivered = False
        await self._gate("before a commit")
        mine = {key: offset for key, offset in offsets.items() if key in self._fetcher.positions}
        taken = not self._broker.down and (not mine or self._group.commit(self.member, mine))
        await self._gate("after a commit")
        return taken and len(mine) == len(offsets)

    @property
    def positions(self) -> Mapping[Key, int]:
        return self._fetcher.positions

    async def _ask(self, what: str) -> None:
        await self._gate(what)
        if self._broker.down:
            raise LogUnavailable("the simulated broker is down")


class SimulatedTopicReader(TopicReader):
    """Reads all of one topic, with what ``OrderFeed`` asks of ``TopicReader``."""

    def __init__(
        self, fetcher: Fetcher, topic: Topic, *, log: SimulatedLog, gate: Gate, late: Callable[[], float]
    ) -> None:
        self._late = late
        self._fetcher = fetcher
        self._keys = [(topic.name, partition) for partition in range(topic.partitions)]
        self._broker = log
        self._gate = gate

    async def start(self) -> None:
        await self._gate("starting to read orders")

    async def stop(self) -> None:
        self._fetcher.stop()

    async def bounds(self) -> dict[Key, tuple[int, int]]:
        await self._gate("asking for bounds")
        if self._broker.down:
            raise LogUnavailable("the simulated broker is down")
        return {key: (0, self._broker.end(key)) for key in self._keys}

    async def some_bounds(self, keys: Iterable[Key]) -> dict[Key, tuple[int, int]]:
        bounds = await self.bounds()
        return {key: bounds[key] for key in keys}

    async def topic_ids(self) -> dict[str, str]:
        return {topic: f"id of {topic}" for topic, _ in self._keys}

    def seek(self, offsets: Mapping[Key, int]) -> None:
        self._fetcher.follow(offsets)

    async def poll(self, *, max_records: int, timeout_ms: int) -> dict[Key, Sequence[LogRecord]]:  # noqa: ARG002
        if not self._fetcher.ready:
            await self._fetcher.wait(self._broker.seconds_down or IDLE_POLL_SECONDS)
        if self._fetcher.ready and (late := self._late()):
            await asyncio.sleep(late)
        found = self._fetcher.take(max_records)
        if found:
            await self._gate("orders fetched")
        return found

    async def position(self, topic: str, partition: int) -> int:
        return self._fetcher.positions[topic, partition]
