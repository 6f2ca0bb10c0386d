"""A load of webhooks, in a process of its own: so many a second register calls that nobody stops, until its input ends.

Whenever it is asked, it says how many it has sent.
"""

import asyncio
import os
import time
from itertools import count

import uvloop

from benchmarks.children import job_of_this_process, questions, say
from benchmarks.webhooks import Webhooks
from benchmarks.world import PlannedCall, registered

AT_ONCE = 10


async def main() -> None:
    job = job_of_this_process()
    os.sched_setaffinity(0, job["cores"])
    async with Webhooks(job["url"]) as webhooks, asyncio.TaskGroup() as group:
        posting = group.create_task(_post(webhooks, job["per_second"]))
        async for _ in questions():
            say({"sent": webhooks.sent})
        posting.cancel()


async def _post(webhooks: Webhooks, per_second: int) -> None:
    numbers = count()
    async with asyncio.TaskGroup() as group:
        due = time.perf_counter()
        while True:
            for n in (next(numbers) for _ in range(AT_ONCE)):
                call = PlannedCall(f"load-{n}", "campaign-of-the-load", "agent", f"+9199{n:08d}")
                group.create_task(webhooks.post(registered(call)))
            due += AT_ONCE / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))


if __name__ == "__main__":
    uvloop.run(main())
