"""Who reads which partition.

aiokafka's own assignors either scatter same-numbered partitions of two topics or keep state in class attributes, so this
is one of ours: stateless, and the same partition number of every topic goes to the same member. A member says in its
subscription which partitions it has a view of; it gets those back first, up to its even share. The rest goes by
rendezvous hashing, so that one member more or less moves as little as possible.
"""

from collections.abc import Callable, Iterable, Mapping

import orjson
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from consumer.model.identity import digest

VERSION = 0


def share_out(partitions: int, held: Mapping[str, frozenset[int]], nodes: Mapping[str, str]) -> dict[str, list[int]]:
    """Share partitions 0 … ``partitions - 1`` among members.

    Args:
        partitions: how many there are.
        held: by member, the partitions it has a view of.
        nodes: by member, the stable name of its node, for the hash.

    """
    members = sorted(held, key=lambda member: (nodes[member], member))
    shares: dict[str, list[int]] = {member: [] for member in members}
    quota, extra = divmod(partitions, len(members))
    room = {member: quota + (1 if n < extra else 0) for n, member in enumerate(members)}
    left = []
    for partition in range(partitions):
        holders = [member for member in members if partition in held[member] and room[member]]
        if holders:
            chosen = max(holders, key=lambda member: (room[member], _weight(nodes[member], partition)))
            shares[chosen].append(partition)
            room[chosen] -= 1
        else:
            left.append(partition)
    for partition in left:
        chosen = max((m for m in members if room[m]), key=lambda member: _weight(nodes[member], partition))
        shares[chosen].append(partition)
        room[chosen] -= 1
    return {member: sorted(share) for member, share in shares.items()}


def _weight(node: str, partition: int) -> str:
    return digest((node, str(partition)), 8)


def view_aware_assignor(node: str, held: Callable[[], Iterable[int]]) -> type[AbstractPartitionAssignor]:
    """Make the assignor class of one consumer (aiokafka takes classes, so what differs sits in a closure)."""

    class ViewAwareAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka ships no types
        name = "callbreaker-view-aware"

        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            inventory = orjson.dumps({"node": node, "held": sorted(held())})
            return ConsumerProtocolMemberMetadata(VERSION, sorted(topics), inventory)

        @classmethod
        def assign(
            cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
            partitions = max((len(cluster.partitions_for_topic(topic) or ()) for topic in topics), default=0)
            inventories = {member: orjson.loads(metadata.user_data or b"{}") for member, metadata in members.items()}
            shares = share_out(
                partitions,
                {member: frozenset(inventory.get("held", ())) for member, inventory in inventories.items()},
                {member: inventory.get("node", member) for member, inventory in inventories.items()},
            )
            return {
                member: ConsumerProtocolMemberAssignment(
                    VERSION, [(topic, share) for topic in topics] if share else [], b""
                )
                for member, share in shares.items()
            }

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            """Nothing to remember: the state is in the subscription."""

    return ViewAwareAssignor
