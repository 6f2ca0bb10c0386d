"""Laws about what is known: views, ledgers, counts and decisions are what the log says."""

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from consumer.correlate.shard import CorrelateShard
from consumer.model.identity import digest
from consumer.model.orders import FactKind
from consumer.model.terminations import COUNTS, contribution
from consumer.model.totals import as_figures
from consumer.terminate.shard import TerminateShard
from tests.simulation.wanted import is_wanted
from tests.simulation.world import World

S = TypeVar("S")


def views_equal_the_log(world: World) -> Iterator[str]:
    """Every call in the views is the fold of the whole log, and nothing else is in them."""
    shards = _shards(world, "correlate", CorrelateShard)
    for (account, call_id), expected in world.oracle.calls.items():
        partition = world.topics.partition_of_call(account, call_id)
        found = shards[partition].calls.get(account, call_id) if partition in shards else None
        if found is None:
            yield f"{call_id} is missing from partition {partition}"
        elif msgspec.structs.replace(found, decided=()) != expected:
            yield f"{call_id} is {found}, and the log says {expected}"
    known = sum(shard.calls.count()[0] for shard in shards.values())
    waiting = sum(shard.calls.count()[1] for shard in shards.values())
    calls = world.oracle.calls.values()
    if (known, waiting) != (len(calls), sum(call.terminable for call in calls)):
        yield f"the views count {known} calls of which {waiting} wait, and the log has {len(calls)}"


def ledgers_equal_the_log(world: World) -> Iterator[str]:
    """Every termination in the views is the fold of the whole log."""
    shards = _shards(world, "terminate", TerminateShard)
    for one, expected in world.oracle.terminations.items():
        partition = world.topics.partition_of_account(expected.account)
        found = shards[partition].ledger.get(one) if partition in shards else None
        if found != expected and one not in world.oracle.early_ends:
            yield f"termination {one} of {expected.call_id} is {found}, and the log says {expected}"


def counts_equal_a_recount(world: World) -> Iterator[str]:
    """What the ledgers count per order and per state is what counting again gives."""
    if not world.oracle.early_ends.isdisjoint(world.oracle.terminations):
        return
    shards = _shards(world, "terminate", TerminateShard)
    for partition, shard in shards.items():
        mine = [
            t for t in world.oracle.terminations.values() if world.topics.partition_of_account(t.account) == partition
        ]
        states = {state: n for state, n in Counter(str(t.state) for t in mine).items() if n}
        if shard.ledger.totals() != states:
            yield f"partition {partition} counts {shard.ledger.totals()}, a recount gives {states}"
        for order_id in world.oracle.book.orders:
            recount = dict.fromkeys(COUNTS, 0)
            for t in mine:
                if order_id in t.orders:
                    for name in contribution(t):
                        recount[name] += 1
            if shard.ledger.counts(order_id) != recount:
                yield f"{order_id} counts {shard.ledger.counts(order_id)}, a recount gives {recount}"


def every_order_is_judged(world: World) -> Iterator[str]:
    """What a rule proposed was let through: every partition has counted for it, and no limit is in its way."""
    for record in world.oracle.book.orders.values():
        admitted = record.fact(FactKind.ADMITTED)
        if not record.order.by.is_operator and (admitted is None or record.fact(FactKind.HELD)):
            yield f"{record.order.order_id} has {[fact.kind for fact in record.facts]}"
        elif admitted is not None and not isinstance((admitted.details or {}).get("count"), int):
            yield f"{record.order.order_id} was let through without a count"


def totals_equal_a_recount(world: World) -> Iterator[str]:
    """What is published of a partition's totals is what counting its events one by one gives."""
    for partition, recount in world.oracle.recounts.items():
        for (account, kind, name, minute), amounts in recount.minutes.items():
            found = recount.published.get((account, kind, name, minute))
            if any(amounts) and (found is None or found.figures != as_figures(amounts)):
                yield f"partition {partition}, {kind} {name}: {found}, a recount gives {as_figures(amounts)}"
        for (account, kind, name), waiting in recount.waiting.items():
            found = recount.published.get((account, kind, name, None))
            if (found.open if found else 0) != waiting:
                yield f"partition {partition}, {kind} {name}: {found}, a recount finds {waiting} waiting"


def one_termination_for_each_episode(world: World) -> Iterator[str]:
    """However often it was decided, by whomever: one call, one episode, one id.

    A call that an order names and that no event had told of when it was looked up has one more, named after the order.
    """
    for (account, call_id, episode), ids in world.oracle.decisions.items():
        by_name = {digest(("named", account, order_id, call_id)) for order_id in world.oracle.book.orders}
        if len(ids - by_name) > 1:
            yield f"{call_id} has {len(ids)} terminations in episode {episode}"


def every_wanted_stop_is_decided(world: World) -> Iterator[str]:
    """A call that waits and that an order in force covers has its termination."""
    for call in world.oracle.calls.values():
        if call.terminable and is_wanted(world, call):
            ids = world.oracle.decisions.get((call.account, call.call_id, call.episode))
            if not ids:
                yield f"{call.call_id} waits in episode {call.episode}, an order wants it stopped, nobody decided it"


def folds_tell_the_truth(world: World) -> Iterator[str]:
    """Where no webhook was lost, a call stands in the log as it does at the provider."""
    if world.plan.webhooks_lost:
        return
    for call in world.provider.calls.values():
        folded = world.oracle.calls.get((call.plan.account, call.plan.call_id))
        if folded is None or folded.status != call.status:
            yield f"{call.plan.call_id} is {folded.status if folded else 'unknown'}, at the provider {call.status}"


def nothing_is_forgotten(world: World) -> Iterator[str]:
    """No task of a live process ended with an error that nobody looked at."""
    for process, complaint in world.loop.complaints:
        if process.alive:
            yield f"{process.name}: {complaint}"


def _shards(world: World, role: str, kind: type[S]) -> dict[int, S]:
    found: dict[int, S] = {}
    for node in world.nodes:
        worker, _ = node.life.workers[role]
        found.update({p: shard for p, shard in worker.shards.items() if isinstance(shard, kind)})
    return found
