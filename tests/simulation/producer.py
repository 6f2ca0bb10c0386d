"""What stands in for the producer: batches per partition, in order, late, sometimes twice, and landing after a death."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from consumer.kafka.producer import OutRecord, Producer
from tests.simulation.log import Key
from tests.simulation.loop import Process
from tests.simulation.machine import Surroundings
from tests.simulation.readers import Gate

WIRE_SECONDS = 0.01
SLOW_WIRE_SECONDS = 2.0
RESEND_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _InOrder:
    """What waits for one partition; its head is on its way."""

    waiting: deque[tuple[Sequence[OutRecord], asyncio.Future[int]]] = field(default_factory=deque)


class SimulatedProducer(Producer):
    """One process's producer: ``publish_all`` and nothing else of the real one."""

    def __init__(self, around: Surroundings, process: Process, gate: Gate) -> None:
        self._virtual = around.loop
        self._broker = around.log
        self._random = around.random
        self._faults = around.faults
        self._process = process
        self._gate = gate
        self._partitions: dict[Key, _InOrder] = {}
        self.pending_bytes = 0

    def publish_all(self, records: Iterable[OutRecord]) -> asyncio.Future[list[int]]:
        batches: dict[Key, list[OutRecord]] = {}
        for record in records:
            batches.setdefault((record.topic, record.partition), []).append(record)
        acknowledged = [self._enqueue(key, batch) for key, batch in batches.items()]
        return self._virtual.create_task(self._written(acknowledged))

    async def _written(self, acknowledged: Sequence[asyncio.Future[int]]) -> list[int]:
        if not acknowledged:
            return []
        await self._gate("before a write")
        offsets = [await one for one in acknowledged]
        await self._gate("after a write")
        return offsets

    def _enqueue(self, key: Key, batch: Sequence[OutRecord]) -> asyncio.Future[int]:
        lane = self._partitions.setdefault(key, _InOrder())
        acknowledged: asyncio.Future[int] = self._virtual.create_future()
        lane.waiting.append((batch, acknowledged))
        self.pending_bytes += sum(record.size_bytes for record in batch)
        if len(lane.waiting) == 1:
            self._virtual.after(0.0, self._process, self._transmit, lane)
        return acknowledged

    def _transmit(self, lane: _InOrder) -> None:
        """Put the head of a lane on the wire; there it is out of the process's hands."""
        self._virtual.after(self._wire_seconds(), self._virtual.world, self._land, lane)

    def _land(self, lane: _InOrder) -> None:
        if not self._process.alive and self._random.random() < 0.5:
            return  # it was still in the dead process's buffers
        if self._broker.down:
            self._virtual.after(self._broker.seconds_down + RESEND_SECONDS, self._process, self._transmit, lane)
            return
        batch, _ = lane.waiting[0]
        last = self._broker.append(batch, self._process.name)
        self._faults.touch(self._process, "written, not acknowledged")
        if self._faults.chance(self._faults.plan.acks_lost):
            self._virtual.after(self._random.random() * RESEND_SECONDS, self._process, self._transmit, lane)
        else:
            self._virtual.after(self._wire_seconds(), self._process, self._reach, lane, last)

    def _reach(self, lane: _InOrder, last: int) -> None:
        batch, acknowledged = lane.waiting.popleft()
        self.pending_bytes -= sum(record.size_bytes for record in batch)
        if lane.waiting:
            self._transmit(lane)
        if not acknowledged.done():
            acknowledged.set_result(last)

    def _wire_seconds(self) -> float:
        slow = self._faults.chance(self._faults.plan.slow_writes)
        return self._random.random() * (SLOW_WIRE_SECONDS if slow else WIRE_SECONDS)
