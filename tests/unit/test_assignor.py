import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.protocol.metadata import MetadataResponse_v0

from consumer.kafka.assignor import share_out, view_aware_assignor
from consumer.kafka.members import Member, read_member

PARTITIONS = 64


def shares_of(members: list[str], held: dict[str, set[int]] | None = None) -> dict[str, list[int]]:
    held = held or {}
    return share_out(PARTITIONS, {m: frozenset(held.get(m, ())) for m in members}, {m: f"node-{m}" for m in members})


def as_held(shares: dict[str, list[int]]) -> dict[str, set[int]]:
    return {member: set(share) for member, share in shares.items()}


def test_every_partition_has_one_owner_and_shares_are_even() -> None:
    for size in range(1, 9):
        shares = shares_of([f"m{n}" for n in range(size)])
        assert sorted(p for share in shares.values() for p in share) == list(range(PARTITIONS))
        assert max(map(len, shares.values())) - min(map(len, shares.values())) <= 1


def test_a_member_with_views_gets_its_partitions_back() -> None:
    held = {"a": set(range(0, 64, 2)), "b": set(range(1, 64, 2))}
    assert as_held(shares_of(["a", "b"], held)) == held
    assert as_held(shares_of(["b", "a"], held)) == held


def test_nobody_gets_more_than_an_even_share_for_having_many_views() -> None:
    shares = shares_of(["a", "b"], {"a": set(range(64))})
    assert len(shares["a"]) == len(shares["b"]) == 32


def test_who_comes_back_gets_the_views_it_has_and_nobody_is_given_one_it_has_not() -> None:
    one = dict.fromkeys(range(3), 1_000)
    other = dict.fromkeys(range(3), 1_010) | dict.fromkeys(range(3, 6), 5_000)
    held = {"one": frozenset(one), "other": frozenset(other)}
    for nodes in ({"one": "a", "other": "b"}, {"one": "b", "other": "a"}):
        shares = share_out(6, held, nodes, {"one": one, "other": other})
        assert shares == {"one": [0, 1, 2], "other": [3, 4, 5]}


def test_a_partition_stays_where_its_view_is_newest() -> None:
    held = {member: frozenset(range(8)) for member in "ab"}
    folded = {"a": {p: 900 if p % 2 else 100 for p in range(8)}, "b": {p: 100 if p % 2 else 900 for p in range(8)}}
    shares = share_out(8, held, {"a": "x", "b": "y"}, folded)
    assert shares == {"a": [1, 3, 5, 7], "b": [0, 2, 4, 6]}


def test_when_a_member_leaves_only_its_partitions_move() -> None:
    members = ["a", "b", "c", "d"]
    before = shares_of(members)
    after = shares_of(members[:-1], {m: s for m, s in as_held(before).items() if m != "d"})
    for member in "abc":
        assert set(before[member]) <= set(after[member])


def test_when_a_member_joins_only_its_share_moves() -> None:
    before = as_held(shares_of(["a", "b", "c"]))
    after = as_held(shares_of(["a", "b", "c", "d"], before))
    for member in "abc":
        assert after[member] <= before[member]


def test_without_any_view_a_leaving_member_moves_few_partitions_besides_its_own() -> None:
    before, after = as_held(shares_of(["a", "b", "c", "d"])), as_held(shares_of(["a", "b", "c"]))
    moved = sum(len(before[member] - after[member]) for member in "abc")
    assert moved <= PARTITIONS // 4


def test_a_node_is_known_by_its_name_whatever_the_group_calls_it_today() -> None:
    held = frozenset[int]()
    first = share_out(PARTITIONS, {"x-1": held, "y-1": held}, {"x-1": "x", "y-1": "y"})
    second = share_out(PARTITIONS, {"y-2": held, "x-2": held}, {"x-2": "x", "y-2": "y"})
    assert (first["x-1"], first["y-1"]) == (second["x-2"], second["y-2"])


def test_more_members_than_partitions_leaves_some_without_work() -> None:
    shares = share_out(2, {m: frozenset() for m in "abc"}, {m: m for m in "abc"})
    assert sorted(map(len, shares.values())) == [0, 1, 1]


def test_the_same_partition_number_of_every_topic_goes_to_the_same_member() -> None:
    cluster = ClusterMetadata()
    topics = [(0, name, [(0, p, 1, [1], [1]) for p in range(6)]) for name in ("terminations", "termination-log")]
    cluster.update_metadata(MetadataResponse_v0([(1, "localhost", 9092)], topics))
    assignors = {m: view_aware_assignor(f"node-{m}", lambda m=m: {"a": [0, 2], "b": [1]}[m]) for m in "ab"}  # type: ignore[misc]
    metadata = {m: assignor.metadata({"terminations", "termination-log"}) for m, assignor in assignors.items()}
    assigned = assignors["a"].assign(cluster, metadata)
    shares = {}
    for member, assignment in assigned.items():
        by_topic = dict(assignment.assignment)
        assert by_topic["terminations"] == by_topic["termination-log"]
        shares[member] = set(by_topic["terminations"])
    assert {0, 2} <= shares["a"]
    assert 1 in shares["b"]
    assert shares["a"] | shares["b"] == set(range(6))
    assert len(shares["a"]) == 3


def test_a_member_says_where_it_answers_each_time_it_joins() -> None:
    urls = iter([None, "http://10.0.0.1:8080"])
    assignor = view_aware_assignor("node-a", lambda: [2], lambda: next(urls))
    for url in (None, "http://10.0.0.1:8080"):
        said = assignor.metadata({"call-events"}).encode()
        assigned = ConsumerProtocolMemberAssignment(0, [("terminations", [1, 3]), ("termination-log", [1, 3])], b"")
        assert read_member("id-a", said, assigned.encode()) == Member("id-a", "node-a", url, frozenset({1, 3}))


@pytest.mark.parametrize("user_data", [b"", b"[]", b"sticky\x00\xff", b'{"node": 7, "url": ["x"]}'])
def test_a_member_that_is_not_ours_has_no_address(user_data: bytes) -> None:
    said = ConsumerProtocolMemberMetadata(0, ["call-events"], user_data).encode()
    assert read_member("id-a", said, b"") == Member("id-a", "id-a", None, frozenset())
    assert read_member("id-a", b"", b"") == Member("id-a", "id-a", None, frozenset())
