"""What a partition writes: each thing as the record of its topic."""

from typing import NamedTuple

import orjson

from consumer.correlate.ask_rules import RuleFailure
from consumer.kafka.order_feed import order_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topics
from consumer.model.calls import Call
from consumer.model.codec import encode_carried
from consumer.model.events import Position
from consumer.model.identity import call_key
from consumer.model.matches import Match, encode_match
from consumer.model.orders import StopOrder
from consumer.model.termination_codec import encode_termination_record
from consumer.model.terminations import Decision, Ended
from consumer.model.totals import ScopeTotals, encode_totals


class Records(NamedTuple):
    """Makes the records of one partition of ``call-events``."""

    topics: Topics
    partition: int

    def termination(self, record: Decision | Ended) -> OutRecord:
        partition = self.topics.partition_of_account(record.account)
        key = record.termination_id.encode()
        return OutRecord(self.topics.terminations.name, partition, key, encode_termination_record(record))

    def order(self, order: StopOrder) -> OutRecord:
        return order_record(self.topics.stop_orders, order)

    def totals(self, totals: ScopeTotals) -> OutRecord:
        topic = self.topics.scope_totals
        return OutRecord(topic.name, topic.partition_of(totals.scope_key), totals.key, encode_totals(totals))

    def match(self, match: Match) -> OutRecord:
        topic = self.topics.scope_totals
        return OutRecord(topic.name, topic.partition_of(match.scope_key), match.key, encode_match(match))

    def carried(self, call: Call) -> OutRecord:
        return OutRecord(
            self.topics.call_events.name, self.partition, call_key(call.account, call.call_id), encode_carried(call)
        )

    def failure(self, failure: RuleFailure) -> OutRecord:
        position = failure.event.position or Position("", 0, 0)
        value = {
            "source": "rule",
            "rule": failure.rule,
            "version": failure.version,
            "reason": failure.error,
            "account": failure.event.account,
            "call_id": failure.event.call_id,
            "evidence": position._asdict(),
        }
        topic = self.topics.rejected
        return OutRecord(topic.name, position.partition % topic.partitions, b"rule", orjson.dumps(value))
