"""One process of the orders benchmark: folds a million orders into a file, or begins with it and is asked."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from benchmarks.children import job_of_this_process, say
from benchmarks.report import percentile
from consumer.kafka.checkpoints import wait_for_journal
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_feed import SLICE_RECORDS
from consumer.model.calls import Call
from consumer.model.codec import decode_order_record, encode_fact, encode_order
from consumer.model.identity import digest
from consumer.model.orders import OPT_OUT, Author, Fact, FactKind, StopOrder
from consumer.model.scopes import Scope
from consumer.service.memory import quieten_gc

ACCOUNT = "bench"
RULE, GUARD, OPERATOR = Author("rule", "opt-out", "1", "c0ffee"), Author("guard", "guard"), Author("operator", "bench")
HALF_A_YEAR = 180 * 86_400.0
BEGAN_AT = 1_700_000_000.0
LET_THROUGH_AFTER = 300
"""So many records later, as when a rule opts out hundreds a second."""
STOPPED = "campaign-stopped"


def fold(job: dict[str, Any]) -> None:
    """Fold all records of so many orders, and tell what it took: its own thread, and the one that shortens the journal."""
    book = StoredOrderBook(Path(job["path"]))
    quieten_gc()
    loop = asyncio.new_event_loop()
    records, offset = records_of(job["orders"]), 0
    steps_took: list[float] = []
    beside = 0.0
    while part := list(islice(records, SLICE_RECORDS)):
        steps = slice_of(book, offset, part)
        while True:
            began = time.thread_time()
            more = next(steps, None)
            steps_took.append(time.thread_time() - began)
            if more is None:
                break
        began = time.process_time()
        loop.run_until_complete(wait_for_journal(book.view.path))
        beside += time.process_time() - began
        offset += len(part)
    loop.close()
    assert len(book) == job["orders"]
    book.close()
    megabytes = Path(job["path"]).stat().st_size / 1e6
    say(
        {
            "records": offset,
            "cpu_seconds": sum(steps_took) + beside,
            "slice_p999_ms": 1_000 * percentile(steps_took, 0.999),
            "longest_slice_ms": 1_000 * max(steps_took),
            "megabytes": megabytes,
        }
    )


def slice_of(book: StoredOrderBook, offset: int, part: list[bytes]) -> Iterator[bool]:
    """Do what the feed does with a slice; it lets others run at every step, and waits for the journal's thread in the end."""
    changes = [(n, decode_order_record(value, BEGAN_AT + n / 1_000)) for n, value in enumerate(part, start=offset)]
    book.fold(changes, {("stop-orders", 0): offset + len(part)})
    yield True
    if book.is_untidy:
        for _ in book.tidy():
            yield True


def records_of(orders: int) -> Iterator[bytes]:
    """Make the values of the topic's records: each order, and a little later the fact that lets it through."""
    waiting: deque[str] = deque()
    for n in range(orders):
        order_id = f"rule-{digest((str(n),), 10)}"
        reason = "asked not to be called again"
        yield encode_order(
            StopOrder(order_id, ACCOUNT, Scope.numbers([opted_out(n)]), reason, RULE, hold=HALF_A_YEAR, lane=OPT_OUT)
        )
        waiting.append(order_id)
        if len(waiting) > LET_THROUGH_AFTER:
            yield let_through(waiting.popleft())
    yield from map(let_through, waiting)


def let_through(order_id: str) -> bytes:
    return encode_fact(Fact(order_id, FactKind.ADMITTED, GUARD, "within the limits"))


def opted_out(n: int) -> str:
    return f"+9170{n:08d}"


def ask(job: dict[str, Any]) -> None:
    """Begin with the file, ask, and tell what it took."""
    quieten_gc()
    before = psutil.Process().memory_info().rss
    began = time.process_time()
    book = StoredOrderBook(Path(job["path"]))
    start_seconds = time.process_time() - began
    assert len(book) == job["orders"]
    answer = {"start_seconds": start_seconds, "started_megabytes": megabytes_since(before)}
    asked, step = job["asked"], job["orders"] // job["asked"]
    answer["miss_us"] = min(asking(book, asked, "+9198{:08d}", hits=0) for _ in range(3))
    answer["first_us"] = asking(book, asked, "+9170{:08d}", hits=asked, step=step)
    answer["looked_up_megabytes"] = megabytes_since(before)
    answer["again_us"] = min(asking(book, 1_000, "+9170{:08d}", hits=1_000) for _ in range(3))
    campaign = StopOrder("campaign", ACCOUNT, Scope.campaign(STOPPED), "a benchmark", OPERATOR, hold=None, at=BEGAN_AT)
    book.put_order(campaign, 3 * job["orders"])
    answer["campaign_us"] = min(asking(book, asked, "+9198{:08d}", hits=asked, campaign=STOPPED) for _ in range(3))
    book.close()
    say(answer)


def asking(
    book: StoredOrderBook, count: int, number: str, *, hits: int, step: int = 1, campaign: str | None = None
) -> float:
    """Ask for orders aimed at calls that were just made, a few at a time as in a batch; gives the CPU time of each in µs."""
    found, cpu_seconds = 0, 0.0
    for first in range(0, count, 500):
        calls = [call(n, number.format(n * step), campaign) for n in range(first, min(first + 500, count))]
        began = time.process_time()
        for one in calls:
            if book.aimed_at(one):
                found += 1
        cpu_seconds += time.process_time() - began
    assert found == hits
    return 1e6 * cpu_seconds / count


def call(n: int, number: str, campaign: str | None) -> Call:
    return Call(
        account=ACCOUNT,
        call_id=f"4b30f5dc-7f86-4e4c-a3aa-{n:012d}",
        provider="ringg",
        campaign_id=campaign or f"0b52ca2b-7767-4cb5-ac4c-{n % 50:012d}",
        agent_id=f"cbaf9944-3e34-43b6-b3e8-{n % 7:012d}",
        number=number,
    )


def megabytes_since(before: int) -> float:
    return (psutil.Process().memory_info().rss - before) / 1e6


KINDS = {"fold": fold, "ask": ask}

if __name__ == "__main__":
    this_job = job_of_this_process()
    KINDS[this_job["kind"]](this_job)
