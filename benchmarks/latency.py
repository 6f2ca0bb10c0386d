"""From the broker's ack of a deciding event to its decision being read, beside one bare hop through the same broker.

A hop is from sending a record to reading it, by bare aiokafka in one process. The deciding event registers a call under
an order in force; from its ack, correlate has to read it, fold it and write the decision, which is read as the hop's record
is. The two are taken in turns, 100 a second in all, with correlate in a process of its own.
"""

import asyncio
import time
from collections.abc import Callable

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.report import Figure, percentile
from benchmarks.stage import Stage
from benchmarks.world import STOPPED_CAMPAIGN, PlannedCall
from consumer.kafka.producer import OutRecord

SAMPLES = 500
WARM_UP = 50
PAUSE_SECONDS = 0.01
GIVE_UP_SECONDS = 10.0
WANTED_HOPS = 2.0


async def latency(stage: Stage) -> list[Figure]:
    """Take the samples; correlate must be running and caught up."""
    sampler = _Sampler(stage)
    await sampler.start()
    try:
        await sampler.take(WARM_UP)
        sampler.hops.clear()
        sampler.answers.clear()
        await sampler.take(SAMPLES)
    finally:
        await sampler.stop()
    return _figures(sampler.hops, sampler.answers)


class _Sampler:
    """Sends a bare record and a deciding event in turns, and notes when the one and the other's decision come."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._hop_topic = stage.topics.rejected.name  # nobody else writes there
        self._seen: dict[bytes, float] = {}
        self._came = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._consumers: list[AIOKafkaConsumer] = []
        self._producer = AIOKafkaProducer(bootstrap_servers=stage.servers, acks="all")
        self._count = 0
        self.hops: list[float] = []
        self.answers: list[float] = []

    async def start(self) -> None:
        await self._producer.start()
        for topic, name_of in ((self._hop_topic, bytes), (self._stage.topics.terminations.name, _call_id)):
            consumer = AIOKafkaConsumer(topic, bootstrap_servers=self._stage.servers, auto_offset_reset="latest")
            await consumer.start()
            self._consumers.append(consumer)
            for tp in consumer.assignment():
                await consumer.position(tp)
            self._tasks.append(asyncio.create_task(self._listen(consumer, name_of)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in (*self._consumers, self._producer):
            await client.stop()

    async def take(self, samples: int) -> None:
        for _ in range(samples):
            self._count += 1
            name = f"sample-{self._count}".encode()
            began = time.perf_counter()
            await self._send(OutRecord(self._hop_topic, 0, b"", name))
            self.hops.append(await self._arrival(name) - began)
            await asyncio.sleep(PAUSE_SECONDS)
            record, call_id = self._deciding()
            await self._send(record)
            acknowledged = time.perf_counter()
            self.answers.append(max(0.0, await self._arrival(call_id) - acknowledged))
            await asyncio.sleep(PAUSE_SECONDS)

    def _deciding(self) -> tuple[OutRecord, bytes]:
        call = PlannedCall(f"latency-{self._count}", STOPPED_CAMPAIGN, "agent-of-latency", "+919800000000")
        return self._stage.world.registered(call), call.call_id.encode()

    async def _send(self, record: OutRecord) -> None:
        headers = list(record.headers)
        await self._producer.send_and_wait(record.topic, record.value, record.key, record.partition, headers=headers)

    async def _arrival(self, name: bytes) -> float:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while name not in self._seen:
                self._came.clear()
                await self._came.wait()
        return self._seen.pop(name)

    async def _listen(self, consumer: AIOKafkaConsumer, name_of: Callable[[bytes], bytes]) -> None:
        async for record in consumer:
            at = time.perf_counter()
            self._seen[name_of(record.value)] = at
            self._came.set()


def _call_id(value: bytes) -> bytes:
    return str(orjson.loads(value)["call_id"]).encode()


def _figures(hops: list[float], answers: list[float]) -> list[Figure]:
    p50, p99 = (percentile(answers, share) / percentile(hops, share) for share in (0.50, 0.99))
    figures = [
        Figure("latency: ack to decision ÷ hop, p50", p50, "x", wanted=f"≤ {WANTED_HOPS}", met=p50 <= WANTED_HOPS),
        Figure("latency: ack to decision ÷ hop, p99", p99, "x"),
    ]
    for name, seconds in (("ack to decision", answers), ("bare hop", hops)):
        figures += [
            Figure(f"latency: {name}, p{share}", 1_000 * percentile(seconds, share / 100), "ms") for share in (50, 99)
        ]
    return figures
