from dataclasses import dataclass

from consumer.kafka.slices import FIRST_BYTES, MOST_RECORDS, RECORD_BYTES, Slices

DECISIONS, REQUESTS = "terminations", "termination-log"


@dataclass(frozen=True)
class Record:
    topic: str
    offset: int
    value: bytes
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None


def decisions(count: int) -> list[Record]:
    return [Record(DECISIONS, n, bytes(300)) for n in range(count)]


def requests(count: int) -> list[Record]:
    return [Record(REQUESTS, n, bytes(8_000)) for n in range(count)]


def test_every_record_is_in_one_part_and_none_is_on_both_sides_of_the_boundary() -> None:
    records = decisions(1_000)
    parts = list(Slices().of(records, 333))
    assert [record for part, _ in parts for record in part] == records
    assert [record.offset for part, live in parts if not live for record in part] == list(range(333))
    assert all(part for part, _ in parts)


def test_a_record_that_weighs_more_than_a_part_may_is_one_of_its_own() -> None:
    heavy = [Record(REQUESTS, n, bytes(2 * FIRST_BYTES)) for n in range(3)]
    assert [len(part) for part, _ in Slices().of(heavy, 0)] == [1, 1, 1]


def test_what_is_quick_is_cut_into_larger_and_what_is_slow_into_smaller_parts() -> None:
    slices = Slices()
    for part, _ in slices.of(decisions(5_000), 0):
        slices.fit(0.000_01 * len(part))
    (quick, _), *_ = slices.of(decisions(5_000), 0)
    assert len(quick) == MOST_RECORDS
    slices.fit(0.5)
    (slow, _), *_ = slices.of(decisions(5_000), 0)
    assert len(slow) <= 5


def test_nobody_waits_long_for_the_first_part_however_light_and_slow_its_records_are() -> None:
    (first, _), *_ = Slices().of([Record(DECISIONS, n, b"") for n in range(1_000)], 0)
    assert len(first) == FIRST_BYTES // RECORD_BYTES


def test_how_quickly_one_topic_is_folded_says_nothing_of_another() -> None:
    slices = Slices()
    for part, _ in slices.of(decisions(5_000), 0):
        slices.fit(0.000_01 * len(part))
    (first, _), *_ = slices.of(requests(400), 0)
    assert len(first) == 1
