"""Orders looking for calls: the waiting calls in an order's scope, a page at a time so that nothing else has to wait."""

from collections.abc import Iterator

from consumer.correlate.calls import Calls
from consumer.model.calls import Call
from consumer.model.orders import OrderRecord

PAGE_CALLS = 50
KEYS_AT_ONCE = 100
STEPS_AT_ONCE, OUTPUTS_AT_ONCE = 16, 10
"""So many steps that come to little are one: else many small orders of rules hold up what is given after them."""


def in_scope(calls: Calls, record: OrderRecord) -> Iterator[list[Call]]:
    """Give the waiting calls that may be in one order's scope, many keys at a time where an order names many."""
    found: list[Call] = []
    for n, key in enumerate(record.order.scope.index_keys(), start=1):
        for page in calls.waiting(record.order.account, key, limit=PAGE_CALLS):
            found += page
            if len(found) >= PAGE_CALLS:
                yield found
                found = []
        if n % KEYS_AT_ONCE == 0:
            yield found
            found = []
    yield found


def all_waiting(calls: Calls) -> Iterator[list[Call]]:
    """Give every waiting call."""
    after = 0
    while True:
        page, after = calls.all_waiting(after=after, limit=PAGE_CALLS)
        yield page
        if not after:
            return
