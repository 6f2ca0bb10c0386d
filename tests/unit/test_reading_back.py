from consumer.kafka.progress import Progress, Reading, ReadingBack, duration, together


def at(*positions: int, end: int = 10_000, begun: int = 0) -> list[Reading]:
    return [Reading("call-events", n, begun, position, end) for n, position in enumerate(positions)]


def test_events_share_and_time_left_are_told() -> None:
    back = ReadingBack("correlate")
    for second in range(5):
        back.observe(at(1_000 * second, 500 * second, 10_000), 100.0 + second)
    progress = back.progress
    assert progress == Progress("correlate", 1, 3, 16_000, 30_000, 14_000 / 1_500)
    assert str(progress) == "reading back: 1 of 3 partitions, 53%, 16,000 of 30,000 events, 9 s left"


def test_what_takes_no_second_is_not_told() -> None:
    back = ReadingBack("correlate")
    assert back.observe(at(0), 100.0) is None
    assert back.observe(at(5_000), 100.9) is None
    assert back.observe(at(10_000), 101.5) is None


def test_what_was_folded_before_is_not_counted() -> None:
    back = ReadingBack("correlate")
    back.observe(at(9_000, begun=9_000), 0.0)
    progress = back.observe(at(9_500, begun=9_000), 2.0)
    assert progress
    assert (progress.records, progress.of_records, progress.share, progress.seconds_left) == (500, 1_000, 0.5, 2.0)


def test_records_written_meanwhile_are_no_part_of_it() -> None:
    back = ReadingBack("correlate")
    back.observe(at(0, 0), 0.0)
    progress = back.observe([*at(12_000), Reading("call-events", 1, 0, 5_000, 10_000)], 2.0)
    assert progress
    assert (progress.records, progress.of_records) == (15_000, 20_000)


def test_the_time_left_is_unknown_while_nothing_moves_and_after_partitions_moved() -> None:
    back = ReadingBack("correlate")
    back.observe(at(0), 0.0)
    standing = back.observe(at(0), 2.0)
    assert standing
    assert standing.seconds_left is None
    assert str(standing) == "reading back: 0 of 1 partitions, 0%, 0 of 10,000 events"
    back.observe(at(5_000), 3.0)
    moved = back.observe(at(100, begun=0), 4.0)
    assert moved
    assert moved.seconds_left is None


def test_the_pace_is_that_of_the_last_seconds() -> None:
    back = ReadingBack("correlate")
    for second in range(30):
        back.observe(at(second if second < 15 else 15 + 100 * (second - 15)), float(second))
    assert back.progress
    assert back.progress.seconds_left == (10_000 - 1_415) / 100


def test_it_is_over_once_all_is_read_and_may_begin_again() -> None:
    back = ReadingBack("correlate")
    back.observe(at(0), 0.0)
    assert back.observe(at(5_000), 5.0)
    assert back.observe(at(10_000), 9.0) is None
    assert back.progress is None
    assert back.observe(at(0), 20.0) is None
    assert back.observe(at(1), 22.0)


def test_durations_are_rounded_to_what_one_wants_to_know() -> None:
    assert [duration(s) for s in (0.2, 8.4, 99.0, 150.0, 3_000.0, 9_000.0)] == [
        "1 s",
        "8 s",
        "99 s",
        "2 min",
        "50 min",
        "2 h",
    ]


def test_what_several_processes_read_back_is_added_up_and_lasts_as_long_as_the_slowest() -> None:
    parts = [Progress("correlate", 1, 3, 100, 400, 5.0), Progress("guard", 0, 2, 0, 10, 1.0)]
    assert together([*parts, Progress("correlate", 2, 3, 50, 100, 9.0)]) == [
        Progress("correlate", 3, 6, 150, 500, 9.0),
        parts[1],
    ]
    (unknown,) = together([parts[0], Progress("correlate", 2, 3, 50, 100, None)])
    assert unknown.seconds_left is None
