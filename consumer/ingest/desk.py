"""Where webhooks that arrive together are taken together: read in one go, written together, and answered one by one.

Reading a webhook between the HTTP of two others takes the processor three times as long as reading it right after another
one. So what arrives in one turn of the event loop is read in the next, and goes to Kafka as one group for each partition.
Whatever befalls one webhook befalls none of its group.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from consumer.ingest.intake import Taken, Takes
from consumer.ingest.spool import Spool
from consumer.kafka.errors import Backpressure, LogUnavailable, RecordTooLarge
from consumer.kafka.producer import OutRecord, Producer

ACK_SECONDS, ACK_ELSE_SPOOL_SECONDS = 4.0, 2.0
"""How long Kafka may take for a webhook, and for one that can be kept on the disk instead."""
TURN_SECONDS = 0.005
"""How long reading may keep the event loop from everything else; what is left is read in the next turn."""


class _Arrived(NamedTuple):
    """A webhook as it came, and who waits for it."""

    intake: Takes
    headers: Mapping[str, str]
    raw: bytes
    durable: asyncio.Future[Taken]


@dataclass(slots=True, eq=False)
class _Webhook:
    """A webhook on its way into Kafka or onto the disk; ``unwritten`` of its records are not acknowledged yet."""

    taken: Taken
    durable: asyncio.Future[Taken]
    unwritten: int


@dataclass(slots=True, eq=False)
class _Group:
    """Records for one partition, each with the webhook it is of."""

    records: list[OutRecord] = field(default_factory=list)
    webhooks: list[_Webhook] = field(default_factory=list)


_Groups = dict[tuple[str, int], _Group]


class Desk:
    """Takes webhooks in for all accounts."""

    def __init__(self, producer: Producer, spool: Spool | None = None) -> None:
        """Write what comes to Kafka, or else to ``spool``, which its owner runs and closes."""
        self._producer = producer
        self._spool = spool
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[_Arrived] = deque()

    def hand_in(self, intake: Takes, headers: Mapping[str, str], raw: bytes) -> asyncio.Future[Taken]:
        """Take one webhook; the future gives what it became once every record of it is acknowledged, or on the disk.

        It raises ``NotAuthentic``, a ``LogError`` where neither Kafka (after ``ACK_SECONDS`` at the latest) nor the spool can
        or will have it, or whatever reading the body raised. It may be cancelled; the records may be written all the same.
        """
        if not self._arrived:
            self._loop.call_soon(self._take)
        durable = self._loop.create_future()
        self._arrived.append(_Arrived(intake, headers, raw, durable))
        return durable

    def _take(self) -> None:
        """Read what has arrived, for ``TURN_SECONDS`` at most, and hand it to the producer."""
        began = self._loop.time()
        groups: _Groups = {}
        while self._arrived:
            self._read(self._arrived.popleft(), groups)
            if self._arrived and self._loop.time() - began > TURN_SECONDS:
                self._loop.call_soon(self._take)
                break
        give_up_at = began + (ACK_ELSE_SPOOL_SECONDS if self._spool and self._spool.has_room else ACK_SECONDS)
        for group in groups.values():
            self._write(group, give_up_at)

    def _read(self, arrived: _Arrived, groups: _Groups) -> None:
        intake, headers, raw, durable = arrived
        if durable.done():
            return  # its sender is gone
        try:
            taken = intake.take(headers, raw)
        except Exception as error:  # noqa: BLE001 -- it is raised where the webhook is waited for
            durable.set_exception(error)
            return
        if not taken.records:
            durable.set_result(taken)
        webhook = _Webhook(taken, durable, len(taken.records))
        for record in taken.records:
            partition = record[:2]
            group = groups.get(partition)
            if group is None:
                group = groups[partition] = _Group()
            group.records.append(record)
            group.webhooks.append(webhook)

    def _write(self, group: _Group, give_up_at: float) -> None:
        if self._spool and self._spool.is_behind(group.records[0]):
            self._keep(self._spool, group)
            return
        try:
            written = self._producer.publish_group(group.records, within_seconds=give_up_at - self._loop.time())
        except Backpressure as error:
            self._not_in_time(group, error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, nobody may wait for ever
            _fail(group, error)
        else:
            written.add_done_callback(partial(self._settle, group, give_up_at))

    def _settle(self, group: _Group, give_up_at: float, written: asyncio.Future[int]) -> None:
        error = written.exception()
        if error is None:
            _acknowledge(group)
        elif isinstance(error, RecordTooLarge) and len(group.records) > 1:
            for record, webhook in zip(
                group.records, group.webhooks, strict=True
            ):  # which one it is, Kafka does not say
                self._write(_Group([record], [webhook]), give_up_at)
        elif isinstance(error, LogUnavailable):
            self._not_in_time(group, error)
        else:
            _fail(group, error)

    def _not_in_time(self, group: _Group, error: LogUnavailable | Backpressure) -> None:
        if self._spool and self._spool.takes(group.records[0]):
            self._keep(self._spool, group)
        else:
            _fail(group, error)

    def _keep(self, spool: Spool, group: _Group) -> None:
        spool.keep(group.records).add_done_callback(partial(_settle_kept, group))


def _settle_kept(group: _Group, kept: asyncio.Future[None]) -> None:
    error = kept.exception()
    if error is None:
        _acknowledge(group)
    else:
        _fail(group, error)


def _acknowledge(group: _Group) -> None:
    for webhook in group.webhooks:
        webhook.unwritten -= 1
        if not webhook.unwritten and not webhook.durable.done():
            webhook.durable.set_result(webhook.taken)


def _fail(group: _Group, error: BaseException) -> None:
    for webhook in group.webhooks:
        if not webhook.durable.done():
            webhook.durable.set_exception(copy(error))
