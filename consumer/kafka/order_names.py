"""Which names any order is aimed at, in memory: for nearly every event the answer is none, and it must cost next to nothing.

Names of one account and kind are a set while they are few. Many of them are in a Bloom filter, which takes two bytes a name
and now and then says yes where no order is: yes only means that the tables are to be asked.
"""

from collections.abc import Collection, Container, Sequence
from typing import Protocol

from consumer.kafka.bloom import GrowingBloom
from consumer.model.scopes import Key

CALL, CAMPAIGN, AGENT, NUMBER, NUMBER_IN_CAMPAIGN = range(5)
KIND = {"call": CALL, "campaign": CAMPAIGN, "agent": AGENT, "number": NUMBER}
FEW = 1_000
LEAST_MANY = 20_000
FALSE_POSITIVES = 0.001

Hit = tuple[int, str]
"""A kind of name, and the name."""
NO_HITS: Sequence[Hit] = ()


class Named(Protocol):
    """A call, as far as orders are aimed at it."""

    @property
    def account(self) -> str: ...
    @property
    def call_id(self) -> str: ...
    @property
    def campaign_id(self) -> str | None: ...
    @property
    def agent_id(self) -> str | None: ...
    @property
    def number(self) -> str | None: ...


def named(key: Key) -> Hit:
    """Give the kind of a scope key and one text for what it names."""
    if len(key) == 3:
        return NUMBER_IN_CAMPAIGN, f"{key[1]} {key[2]}"  # a number in E.164 has no space
    return KIND[key[0]], key[1]


class AimedNames:
    """What orders are aimed at, by account."""

    def __init__(self) -> None:
        self._known: dict[str, list[set[str] | GrowingBloom]] = {}
        self._asked: dict[str, list[Container[str]]] = {}

    def expect(self, account: str, kind: int, count: int) -> None:
        """Make room for so many more names."""
        of_account = self._known.setdefault(account, [set() for _ in range(5)])
        known = of_account[kind]
        if isinstance(known, set) and len(known) + count > FEW:
            expected = max(LEAST_MANY, len(known) + count)
            of_account[kind] = many = GrowingBloom(expected, false_positives=FALSE_POSITIVES)
            many.update(known)

    def add(self, account: str, kind: int, names: Collection[str]) -> None:
        self.expect(account, kind, len(names))
        of_account = self._known[account]
        of_account[kind].update(names)
        self._asked[account] = [known if isinstance(known, set) else known.quickest for known in of_account]

    def may_hold(self, account: str, hit: Hit) -> bool:
        of_account = self._asked.get(account)
        return of_account is not None and hit[1] in of_account[hit[0]]

    def hits(self, call: Named) -> Sequence[Hit]:
        """Give the names of a call at which an order may be aimed."""
        of_account = self._asked.get(call.account)
        if of_account is None:
            return NO_HITS
        calls, campaigns, agents, numbers, pairs = of_account
        number, campaign = call.number, call.campaign_id
        if (
            (calls and call.call_id in calls)
            or campaign in campaigns
            or call.agent_id in agents
            or number in numbers
            or (pairs and f"{number} {campaign}" in pairs)
        ):
            return [(kind, name) for kind, name in enumerate(_names_of(call)) if name and name in of_account[kind]]
        return NO_HITS


def _names_of(call: Named) -> tuple[str | None, ...]:
    """Give the names of a call by their kinds."""
    pair = f"{call.number} {call.campaign_id}" if call.number and call.campaign_id else None
    return call.call_id, call.campaign_id, call.agent_id, call.number, pair
