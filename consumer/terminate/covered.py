"""Calls that waited when a provider was told to stop their whole scope: that request is theirs too. Pure.

They are not asked for again by id. Whether it reached them is told by a webhook or by a look, as for any request.
"""

from collections.abc import Callable, Iterator

from consumer.model.identity import scope_termination_id
from consumer.model.order_book import OrderBook
from consumer.model.orders import Reach
from consumer.model.scopes import NUMBERS_AT_ONCE, Scope
from consumer.model.terminations import AnswerClass, Attempt, Result, State, Termination

Find = Callable[[str], Termination | None]
REACHED = {AnswerClass.ACCEPTED, AnswerClass.UNKNOWN}


def must_wait(t: Termination, book: OrderBook, find: Find) -> bool:
    """Whether a stop of the whole scope is about to be answered that would make a request for ``t`` needless."""
    return any(stop.state in {State.WAITING, State.REQUESTED} for stop in _stops(t, book, find))


def shared_request(t: Termination, book: OrderBook, find: Find) -> list[Attempt | Result]:
    """Give ``t`` the request that stops its whole scope, with the answer if there is one; nothing where there is none."""
    for stop in _stops(t, book, find):
        answer = stop.last_answer
        if not stop.attempts or (answer is not None and answer.answer not in REACHED):
            continue
        made = stop.attempts[-1]
        shared = Attempt(t.termination_id, t.account, t.call_id, t.episode, made.request_id, 1, made.at, t.orders)
        return [shared] if answer is None else [shared, _answer_for(t, answer)]
    return []


def _answer_for(t: Termination, answer: Result) -> Result:
    return Result(
        t.termination_id,
        t.account,
        t.call_id,
        t.episode,
        answer.at,
        request_id=answer.request_id,
        n=1,
        answer=answer.answer,
        http_status=answer.http_status,
        detail=f"with its whole scope: {answer.detail}",
        trace_id=answer.trace_id,
    )


def _stops(t: Termination, book: OrderBook, find: Find) -> Iterator[Termination]:
    """Find the stops of whole scopes that ``t`` waited in when they were ordered."""
    if t.scope is not None or t.attempts:
        return
    for order_id in t.orders:
        record = book.get(order_id)
        if record is None or record.order.reach is not Reach.EVERYTHING:
            continue
        # an event that came after the order may tell of a call that came after the stop
        if t.evidence and t.decided_at > (record.since or 0.0):
            continue
        stop = find(scope_termination_id(t.account, order_id, _cut(record.order.scope, t.number)))
        if stop is not None:
            yield stop


def _cut(scope: Scope, number: str | None) -> int:
    return scope.mobile_numbers.index(number) // NUMBERS_AT_ONCE if number in scope.mobile_numbers else 0
