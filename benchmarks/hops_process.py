"""Bare hops, in a process of their own: whenever it is asked, so many from aiokafka to aiokafka, one after the other.

It waits for nothing but the broker and the machine; in the process of the load it would wait for the load as well.
"""

import os
import time

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.children import job_of_this_process, questions, say


async def main() -> None:
    job = job_of_this_process()
    os.sched_setaffinity(0, job["cores"])
    async with (
        AIOKafkaProducer(bootstrap_servers=job["servers"], acks="all") as producer,
        AIOKafkaConsumer(bootstrap_servers=job["servers"]) as consumer,
    ):
        # Alone: while a record waits to be taken, aiokafka asks for the other partitions, and for none else until the answer.
        consumer.assign([TopicPartition(job["topic"], 0)])
        await consumer.seek_to_end()
        say({"ready": True})
        async for _ in questions():
            say({"seconds": await seconds(producer, consumer, job["topic"], job["hops"])})


async def seconds(producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, hops: int) -> float:
    """Take so many hops, and an acknowledgement, one after the other; nobody else writes to the topic."""
    began = time.perf_counter()
    for _ in range(hops):
        await producer.send(topic, b"hop", partition=0)
        await consumer.getone()
    await producer.send_and_wait(topic, b"acknowledged", partition=0)
    took = time.perf_counter() - began
    await consumer.getone()
    return took


if __name__ == "__main__":
    uvloop.run(main())
