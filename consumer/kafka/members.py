"""Who holds which partition of a consumer group, and where it answers HTTP: asked of the group's coordinator.

Every member says its address in its subscription (``assignor.py``), as Kafka Streams does with ``application.server``, so
whoever may describe the group finds the process that holds a partition. Nothing else keeps a list of processes.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError, for_code

from consumer.kafka.connection import Connection
from consumer.kafka.diagnosis import unreachable
from consumer.kafka.errors import LogUnavailable

REQUEST_TIMEOUT_MS = 3_000
STOP_SECONDS = 3.0
SETTLED = "Stable"
NOBODY = ("Empty", "Dead")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a group. ``url`` is where it answers, without a path; None where it does not say."""

    member_id: str
    node: str
    url: str | None
    partitions: frozenset[int]


@dataclass(slots=True)
class _Asked:
    """What a group looked like when it was asked last; ``at`` is the monotonic time at which the question left."""

    at: float = float("-inf")
    members: tuple[Member, ...] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Groups:
    """The members of this installation's groups. What is asked often is asked of Kafka once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._admin: AIOKafkaAdminClient | None = None
        self._asked: dict[str, _Asked] = {}

    async def start(self) -> None:
        self._admin = AIOKafkaAdminClient(
            **self._connection.client_options("callbreaker-groups"),
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=30_000,
        )
        try:
            await self._admin.start()
        except (KafkaError, OSError) as error:
            raise await unreachable(self._connection, error) from error

    async def stop(self) -> None:
        if self._admin:
            with contextlib.suppress(TimeoutError, KafkaError, OSError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._admin.close()

    async def members(self, group: str, *, asked_after: float) -> tuple[Member, ...]:
        """Give the members of a role's group as they were at ``asked_after`` (monotonic) or later.

        Raises:
            LogUnavailable: Kafka does not answer, or the group is sharing its partitions out anew.

        """
        asked = self._asked.setdefault(group, _Asked())
        async with asked.lock:
            if asked.at < asked_after:
                now = time.monotonic()
                asked.members = await self._ask(group)
                asked.at = now
            return asked.members

    async def _ask(self, group: str) -> tuple[Member, ...]:
        if self._admin is None:
            raise LogUnavailable("the groups cannot be asked before they are started")
        try:
            # One group a request: aiokafka 0.14 reads an answer of version 3 as one of version 2, which ends sooner.
            (response,) = await self._admin.describe_consumer_groups([self._connection.group_id(group)])
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"Kafka does not say who is in the group {group}: {error!r}") from error
        code, _, state, _, _, members, *_ = response.groups[0]
        if code:
            raise LogUnavailable(f"Kafka does not say who is in the group {group}: {for_code(code).__name__}")
        if state in NOBODY:
            return ()
        if state != SETTLED:
            raise LogUnavailable(f"the partitions of the group {group} are being shared out anew ({state})")
        return tuple(
            read_member(member_id, metadata, assignment) for member_id, _, _, metadata, assignment, *_ in members
        )


def read_member(member_id: str, metadata: bytes, assignment: bytes) -> Member:
    """Read what a group's description has of a member: what it said as it joined, and what it was given."""
    inventory = _inventory(metadata)
    node, url = inventory.get("node"), inventory.get("url")
    return Member(
        member_id,
        node if isinstance(node, str) else member_id,
        url if isinstance(url, str) else None,
        _partitions(assignment),
    )


def _inventory(metadata: bytes) -> Mapping[str, Any]:
    """What a member said in its subscription; nothing of one that is not ours, or of an older version."""
    try:
        found = orjson.loads(ConsumerProtocolMemberMetadata.decode(metadata).user_data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _partitions(assignment: bytes) -> frozenset[int]:
    """Give the partition numbers; they are the same of each topic (``assignor.py``)."""
    if not assignment:
        return frozenset()
    return frozenset(tp.partition for tp in ConsumerProtocolMemberAssignment.decode(assignment).partitions())
