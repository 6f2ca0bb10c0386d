from typing import Any

import pytest

from consumer.model.explained import LONGEST_SHOWN, shown, shown_all


@pytest.mark.parametrize(
    ("path", "value", "as_shown"),
    [
        ("event.number", "+918882876897", "•••6897"),
        ("call.from_number", "8882876897", "•••6897"),
        ("event.args.note", "ring +91 88828 76897 or (0221) 555-0001 later", "ring •••6897 or (•••0001 later"),
        ("event.call_id", "12345678-1234-1234-1234-123456789012", "12345678-1234-1234-1234-123456789012"),
        ("event.campaign_id", "campaign-20261121", "campaign-20261121"),
        ("event.cost", 0.15, 0.15),
        ("call.terminable", True, True),
        ("event.attempt", None, None),
        ("event.raw", {"whole": "body"}, "map of 1"),
        ("params.days", ["mon", "tue"], "list of 2"),
        ("event.analysis.summary", "x" * 1_000, "x" * LONGEST_SHOWN),
    ],
)
def test_an_explanation_shows_a_value_short_and_without_numbers(path: str, value: Any, as_shown: Any) -> None:
    assert shown(value, path) == as_shown
    assert shown_all({path: value}) == {path: as_shown}
