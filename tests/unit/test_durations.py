from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from consumer.model.durations import (
    Duration,
    HoldSeconds,
    PositiveDuration,
    Size,
    format_duration,
    format_hold,
    format_size,
    parse_duration,
    parse_hold,
    parse_size,
)
from consumer.model.refusals import RefusedError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50ms", 0.05),
        ("90s", 90.0),
        ("10m", 600.0),
        ("24h", 86_400.0),
        ("30d", 2_592_000.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("1m5ms", 60.005),
        ("0s", 0.0),
        ("0", 0.0),
        (0, 0.0),
        (0.0, 0.0),
        ("3650d", 315_360_000.0),
    ],
)
def test_a_duration_is_seconds(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("bare", [5, 0.5, "5", "1.5", -1, True, False, float("nan")])
def test_a_number_without_a_unit_is_refused_for_lack_of_a_unit(bare: str | float) -> None:
    with pytest.raises(RefusedError, match="needs a unit; write numbers with units"):
        parse_duration(bare)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5 s",
        "-5s",
        "5S",
        "5w",
        "30m1h",
        "1h1h",
        "s",
        "5s\n",
        "1e3s",
        "\N{ARABIC-INDIC DIGIT FIVE}s",
        "inf",
        "off",
        "5..1s",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["3651d", "999999999d999999999d", "999999999h"])
def test_a_duration_beyond_ten_years_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=3650 * 86_400_000))
def test_what_is_formatted_is_read_back_to_the_millisecond(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)


def test_a_duration_is_formatted_in_its_largest_units() -> None:
    assert [format_duration(s) for s in (0, 0.0004, 0.05, 90, 5400, 86_400, -90)] == (
        ["0s", "0s", "50ms", "1m30s", "1h30m", "1d", "-1m30s"]
    )


@pytest.mark.parametrize(("text", "hold"), [("24h", 86_400.0), (0, 0.0), ("0", 0.0), ("until-released", None)])
def test_a_hold_is_once_or_seconds_or_until_released(text: str | int, hold: float | None) -> None:
    assert parse_hold(text) == hold
    assert parse_hold(format_hold(hold)) == hold


@pytest.mark.parametrize(
    ("text", "size"),
    [("256KiB", 262_144), ("1 MiB", 1_048_576), ("2GiB", 2_147_483_648), ("7B", 7), (0, 0), (1024, 1024)],
)
def test_a_size_is_bytes(text: str | int, size: int) -> None:
    assert parse_size(text) == size
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("text", ["", "KiB", "1kb", "1.5MiB", "-1B", -1, True, "12", 1.5, None])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize("value", [None, [], {}, "soon"])
@pytest.mark.parametrize("kind", [Duration, PositiveDuration, HoldSeconds, Size])
def test_the_types_refuse_what_their_parsers_refuse(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


def test_the_types_write_json_as_people_do() -> None:
    values: list[tuple[Any, Any]] = [(Duration, 90.0), (HoldSeconds, None), (HoldSeconds, 0.0), (Size, 262_144)]
    written = [TypeAdapter(kind).dump_json(value) for kind, value in values]
    assert written == [b'"1m30s"', b'"until-released"', b'"0"', b'"256KiB"']


def test_a_positive_duration_is_more_than_none() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PositiveDuration).validate_python(0)
