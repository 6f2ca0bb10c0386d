"""The shards that go by rules, limits and what is protected, made with those in force and told when others come."""

from collections.abc import Iterable

from consumer.correlate.ask_rules import Rules
from consumer.correlate.calls import Keeping
from consumer.correlate.room import room_of
from consumer.correlate.shard import SCHEMA as CORRELATE_SCHEMA
from consumer.correlate.shard import CorrelateShard, Correlation
from consumer.guard.admission import Judging
from consumer.guard.asking import RulesOfGuard
from consumer.guard.shard import SCHEMA as GUARD_SCHEMA
from consumer.guard.shard import GuardShard
from consumer.kafka.shard import Shard
from consumer.service.parts import Parts
from consumer.service.ruling import Ruling


class CorrelateShards:
    """Opens the partitions of ``call-events``."""

    def __init__(self, parts: Parts, keeping: Keeping) -> None:
        self._parts = parts
        self._keeping = keeping
        self._correlation = self._by(parts.in_force.now)

    def open(self, partition: int) -> CorrelateShard:
        topics = self._parts.topics
        cache = room_of(topics.call_events.partitions).cache_kibibytes
        view = self._parts.view("correlate", partition, CORRELATE_SCHEMA, topics.stop_orders, cache_kibibytes=cache)
        return CorrelateShard(view, partition=partition, correlation=self._correlation)

    def take(self, ruling: Ruling, shards: Iterable[Shard]) -> None:
        """Let the open shards, and those opened from here on, go by another ruling."""
        self._correlation = self._by(ruling)
        for shard in shards:
            assert isinstance(shard, CorrelateShard)
            shard.take(self._correlation)

    def _by(self, ruling: Ruling) -> Correlation:
        return Correlation(
            self._parts.topics,
            self._parts.feed,
            Rules(ruling.rules, node=f"correlate-{self._parts.node}"),
            ruling.protected,
            self._keeping,
            measures=ruling.rules.measures,
            totals_of_numbers=ruling.rules.totals_of_numbers,
            counting=ruling.limits.any,
            totals_name_scopes=ruling.rules.totals_name_scopes,
        )


class GuardShards:
    """Opens the partitions of ``scope-totals``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._judging, self._rules = self._by(parts.in_force.now)

    def open(self, partition: int) -> GuardShard:
        view = self._parts.view("guard", partition, GUARD_SCHEMA)
        admits = partition == 0
        return GuardShard(view, feed=self._parts.feed, admits=admits, judging=self._judging, rules=self._rules)

    def take(self, ruling: Ruling, shards: Iterable[Shard]) -> None:
        """Let the open shards, and those opened from here on, go by another ruling."""
        self._judging, self._rules = self._by(ruling)
        for shard in shards:
            assert isinstance(shard, GuardShard)
            shard.take(self._judging, self._rules)

    def _by(self, ruling: Ruling) -> tuple[Judging, RulesOfGuard]:
        topics = self._parts.topics
        rules = RulesOfGuard.of(ruling.rules, topics, node=f"guard-{self._parts.node}")
        return Judging(ruling.limits, topics.call_events.partitions), rules
