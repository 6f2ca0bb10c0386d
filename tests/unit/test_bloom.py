from rbloom import Bloom

from consumer.kafka.bloom import GrowingBloom


def names(count: int, prefix: str = "+9170") -> list[str]:
    return [f"{prefix}{n:08}" for n in range(count)]


OTHERS = names(10_000, "+4915")


def test_a_member_is_never_denied_however_often_the_set_has_grown() -> None:
    known = GrowingBloom(100, false_positives=0.01)
    some = names(7_000)  # grows three times on the way
    for n in range(0, len(some), 10):
        known.update(some[n : n + 10])
    assert all(name in known for name in some)
    assert all(name in known.quickest for name in some)
    assert len(known) == len(some)


def test_few_others_are_taken_for_members() -> None:
    known = GrowingBloom(20_000, false_positives=0.01)
    known.update(names(20_000))
    assert 50 < sum(name in known for name in OTHERS) < 150


def test_one_that_has_grown_takes_few_others_for_members_too() -> None:
    known = GrowingBloom(100, false_positives=0.01)
    for n in range(20):
        known.update(names(1_000, f"+{n}"))
    assert 150 < sum(name in known for name in OTHERS) < 500


def test_the_one_filter_is_asked_itself_until_there_are_more() -> None:
    known = GrowingBloom(100, false_positives=0.01)
    asked: list[object] = []
    for more in (names(100), names(1, "+1")):
        known.update(more)
        asked.append(known.quickest)
    assert isinstance(asked[0], Bloom)
    assert asked[1] is known
