from consumer.correlate.lag import Lag, Read

NOW = 10_000.0


def looks(*reads: tuple[float, int, float]) -> list[set[int]]:
    """Look at one partition several times: at a time, how far it is read, how old its last event is."""
    lag = Lag()
    return [set(lag.look(at, {0: Read(offset, at - age)})) for at, offset, age in reads]


def test_a_partition_that_keeps_reading_old_events_is_behind() -> None:
    found = looks(*((NOW + n, 100 * n, 61.0) for n in range(8)))
    assert found == [set(), set(), set(), set(), set(), set(), {0}, {0}]


def test_one_that_reads_what_has_just_happened_is_not() -> None:
    assert looks(*((NOW + n, 100 * n, 59.0) for n in range(30))) == [set()] * 30


def test_a_partition_in_which_nothing_happens_is_not_behind_however_old_its_last_event_is() -> None:
    assert looks(*((NOW + n, 100, 3_600.0 + n) for n in range(30))) == [set()] * 30
    assert looks((NOW, 100, 3_600.0), *((NOW + n, 101, 3_600.0) for n in range(1, 30))) == [set()] * 30


def test_it_is_over_once_what_has_just_happened_is_read() -> None:
    behind = [(NOW + n, 100 * n, 61.0) for n in range(10)]
    assert looks(*behind, (NOW + 10, 1_100, 1.0), (NOW + 11, 1_200, 61.0))[-3:] == [{0}, set(), set()]


def test_a_partition_that_moves_away_is_forgotten() -> None:
    lag = Lag()
    for n in range(8):
        lag.look(NOW + n, {0: Read(n, NOW - 100), 1: Read(n, NOW - 100)})
    assert set(lag.look(NOW + 8, {1: Read(8, NOW - 100)})) == {1}
    assert set(lag.look(NOW + 9, {0: Read(9, NOW - 100), 1: Read(9, NOW - 100)})) == {1}
