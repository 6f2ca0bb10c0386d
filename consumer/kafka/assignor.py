"""Who reads which partition.

aiokafka's own assignors either scatter same-numbered partitions of two topics or keep state in class attributes, so this
is one of ours: stateless, and the same partition number of every topic goes to the same member. A member says in its
subscription which partitions it has a view of and how far each is folded. A partition goes to whom it costs least to read
on, and those where the choice matters most are given first; the rest goes by rendezvous hashing, so that one member more
or less moves as little as possible. Shares are even, whatever views there are. A member also says where it answers HTTP,
so that others can ask it for what it holds (``members.py``); user data is readable for whoever may describe the group.
"""

from collections.abc import Callable, Iterable, Mapping

import orjson
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from consumer.model.identity import digest

VERSION = 0


def share_out(
    partitions: int,
    held: Mapping[str, frozenset[int]],
    nodes: Mapping[str, str],
    folded: Mapping[str, Mapping[int, int]] | None = None,
) -> dict[str, list[int]]:
    """Share partitions 0 … ``partitions - 1`` among members.

    Args:
        partitions: how many there are.
        held: by member, the partitions it has a view of.
        nodes: by member, the stable name of its node, for the hash.
        folded: by member, how many records its views have folded; views of whose progress nothing is known are equal.

    """
    members = sorted(held, key=lambda member: (nodes[member], member))
    shares: dict[str, list[int]] = {member: [] for member in members}
    quota, extra = divmod(partitions, len(members))
    room = {member: quota + (1 if n < extra else 0) for n, member in enumerate(members)}
    done = {member: {p: 1 + (folded or {}).get(member, {}).get(p, 0) for p in held[member]} for member in members}

    def matters(partition: int) -> int:
        """How many records more the second best would have to read than the best."""
        best, second = sorted((done[member].get(partition, 0) for member in members), reverse=True)[:2]
        return best - second

    order = sorted(range(partitions), key=lambda p: -matters(p)) if len(members) > 1 else range(partitions)
    for partition in order:
        free = (member for member in members if room[member])
        chosen = max(free, key=lambda member: (done[member].get(partition, 0), _weight(nodes[member], partition)))
        shares[chosen].append(partition)
        room[chosen] -= 1
    return {member: sorted(share) for member, share in shares.items()}


def _weight(node: str, partition: int) -> str:
    return digest((node, str(partition)), 8)


def view_aware_assignor(
    node: str, held: Callable[[], Iterable[int]], url: Callable[[], str | None] = lambda: None
) -> type[AbstractPartitionAssignor]:
    """Make the assignor class of one consumer (aiokafka takes classes, so what differs sits in a closure)."""

    class ViewAwareAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka ships no types
        name = "callbreaker-view-aware"

        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            views = held()
            folded = {str(p): n for p, n in views.items()} if isinstance(views, Mapping) else {}
            inventory = orjson.dumps({"node": node, "held": sorted(views), "folded": folded, "url": url()})
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
                {
                    member: {int(p): n for p, n in inventory.get("folded", {}).items()}
                    for member, inventory in inventories.items()
                },
            )
            return {
                member: ConsumerProtocolMemberAssignment(
                    VERSION, [(topic, share) for topic in sorted(members[member].subscription) if share], b""
                )
                for member, share in shares.items()  # of a version that reads other topics, only those: it would die of more
            }

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            """Nothing to remember: the state is in the subscription."""

    return ViewAwareAssignor
