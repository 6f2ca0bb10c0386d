"""How much rules may stop without asking, and what a stop would come to. Pure; durations in seconds."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from consumer.model.durations import format_duration
from consumer.model.orders import Mode, StopOrder, effective_mode
from consumer.model.proposals import CAMPAIGN


class Limit(NamedTuple):
    """Above either within ``within`` seconds, an order waits for approval.

    ``calls`` is absolute, ``share`` is of the open calls; a share of ``share_from`` calls or fewer is not looked at, since
    of a handful of open calls each one is a large share.
    """

    calls: int
    share: float
    within: float
    share_from: int


class Limits(NamedTuple):
    """The limits of an installation; None where there is none."""

    per_rule: Limit | None = None
    per_campaign: Limit | None = None
    per_account: Limit | None = None

    @property
    def any(self) -> bool:
        return self != NO_LIMITS


NO_LIMITS = Limits()


class Count(NamedTuple):
    """What an order would stop now.

    ``open_calls`` are those that wait in its account, None where that is not known; ``by_campaign`` has the calls that it
    would stop in each campaign, and ``open_in`` the calls that wait there.
    """

    matched: int
    open_calls: int | None = None
    by_campaign: Mapping[str, int] = {}
    open_in: Mapping[str, int] = {}


def count_of_named(order: StopOrder, open_calls: int | None) -> Count:
    """What an order for calls by id would stop: as many as it names, but for those that its canary leaves alone.

    Nobody has to be asked. Which campaign they are of is known where the rule was asked about the call itself.
    """
    campaign: str | None = (order.explanation or {}).get(CAMPAIGN)
    calls = order.scope.call_ids
    unsure = order.mode is Mode.CANARY and bool(order.canary_campaigns) and campaign is None
    if not unsure and order.mode is not Mode.SHADOW:
        calls = tuple(one for one in calls if effective_mode(order, one, campaign) is Mode.ENFORCE)
    return Count(len(calls), open_calls, {campaign: len(calls)} if campaign and calls else {})


class Subject(NamedTuple):
    """Whose stops are added up: a rule, an account, a campaign of an account; None is any."""

    rule: str | None = None
    account: str | None = None
    campaign: str | None = None


Used = Callable[[Subject, float], int]
"""How many calls were let through for a subject within the last so many seconds."""


class Look(NamedTuple):
    """One limit, looked at: what was stopped ``before`` in its time, what it is ``with_it``, and why that is too much."""

    name: str
    of: str
    limit: Limit
    before: int
    with_it: int
    open_calls: int | None
    over: str | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "limit": self.name,
            "of": self.of,
            "calls": self.limit.calls,
            "share": self.limit.share,
            "within_seconds": self.limit.within,
            "before": self.before,
            "with_it": self.with_it,
            "open": self.open_calls,
            "over": self.over,
        }


def look(order: StopOrder, count: Count, limits: Limits, used: Used) -> list[Look]:
    """Look at every limit that applies to an order."""
    return list(_looks(order, count, limits, used))


def _looks(order: StopOrder, count: Count, limits: Limits, used: Used) -> Iterator[Look]:
    account, rule = order.account, order.by.name
    if limits.per_rule:
        anywhere = used(Subject(rule=rule), limits.per_rule.within)
        here = used(Subject(rule=rule, account=account), limits.per_rule.within)
        yield _look("per_rule", f"rule {rule}", limits.per_rule, (anywhere, here), count.matched, count.open_calls)
    if limits.per_account:
        before = used(Subject(account=account), limits.per_account.within)
        yield _look(
            "per_account", f"account {account}", limits.per_account, (before, before), count.matched, count.open_calls
        )
    for campaign, matched in sorted(count.by_campaign.items()) if limits.per_campaign else ():
        assert limits.per_campaign is not None
        before = used(Subject(account=account, campaign=campaign), limits.per_campaign.within)
        open_in = count.open_in.get(campaign)
        yield _look("per_campaign", f"campaign {campaign}", limits.per_campaign, (before, before), matched, open_in)


def _look(name: str, of: str, limit: Limit, before: tuple[int, int], matched: int, open_calls: int | None) -> Look:
    """Look at one limit; ``before`` is what counts towards its calls, and what towards its share."""
    with_it, here = before[0] + matched, before[1] + matched
    over = None
    # What was counted first may have gone on by the time that the open calls were.
    base = None if open_calls is None else max(open_calls, matched) + before[1]
    if matched and with_it > limit.calls:
        over = f"{with_it:,} calls within {format_duration(limit.within)} are more than {limit.calls:,} ({name}.calls)"
    elif matched and base is not None and here > limit.share_from and here > limit.share * base:
        over = (
            f"{here:,} of {base:,} open calls within {format_duration(limit.within)} "
            f"are more than {limit.share:.4g} ({name}.share)"
        )
    return Look(name, of, limit, before[0], with_it, open_calls, over)
