import pytest

from consumer.kafka.bloom import Bloom

LEAST_BITS = 1 << 10


def names(count: int, prefix: str = "+9170") -> list[str]:
    return [f"{prefix}{n:08}" for n in range(count)]


@pytest.mark.parametrize("bits_each", [8, 64])
def test_a_member_is_never_denied_however_often_the_set_has_grown(bits_each: int) -> None:
    known = Bloom(0, bits_each=bits_each, least_bits=LEAST_BITS)
    some = names(8 * LEAST_BITS // bits_each)  # grows three times on the way
    for n in range(0, len(some), 10):
        known.update(some[n : n + 10])
    assert all(name in known for name in some)
    assert len(known) == len(some)


@pytest.mark.parametrize(("bits_each", "most"), [(8, 1_500), (64, 300)])
def test_few_others_are_taken_for_members(bits_each: int, most: int) -> None:
    known = Bloom(20_000, bits_each=bits_each, least_bits=LEAST_BITS)
    known.update(names(20_000))
    assert sum(name in known for name in names(10_000, "+4915")) < most


def test_one_that_has_grown_takes_few_others_for_members_too() -> None:
    known = Bloom(0, bits_each=8, least_bits=LEAST_BITS)
    for n in range(20):
        known.update(names(1_000, f"+{n}"))
    assert sum(name in known for name in names(10_000, "+4915")) < 4_000
