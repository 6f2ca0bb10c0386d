from typing import Any

import pytest

from consumer.model.scopes import MAX_IDS, Scope, ScopeError, ScopeKind, normalise_number

NUMBER = "+918882876897"


@pytest.mark.parametrize(
    ("value", "scope"),
    [
        ({"call_ids": ["a", "b", "a"]}, Scope.calls(["a", "b"])),
        ({"campaign_id": "c"}, Scope.campaign("c")),
        ({"agent_id": "a"}, Scope.agent("a")),
        ({"mobile_numbers": ["+91 88828-76897", "00918882876897"]}, Scope.numbers([NUMBER])),
        ({"campaign_id": "c", "mobile_numbers": [NUMBER]}, Scope.numbers_in_campaign("c", [NUMBER])),
    ],
)
def test_each_of_the_five_forms_is_read_and_written_again(value: dict[str, Any], scope: Scope) -> None:
    assert Scope.parse(value) == scope
    assert Scope.parse(scope.as_dict()) == scope


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        ({}, "scope", "exactly one"),
        (None, "scope", "object"),
        (["c"], "scope", "object"),
        ({"campaign_id": ""}, "scope.campaign_id", "empty"),
        ({"campaign_id": None}, "scope.campaign_id", "empty"),
        ({"campaign_id": " "}, "scope.campaign_id", "non-empty"),
        ({"call_ids": []}, "scope.call_ids", "empty"),
        ({"call_ids": ()}, "scope.call_ids", "empty"),
        ({"call_ids": [""]}, "scope.call_ids", "non-empty"),
        ({"call_ids": "abc"}, "scope.call_ids", "list"),
        ({"call_ids": {"a": 1}}, "scope.call_ids", "list"),
        ({"call_ids": [7]}, "scope.call_ids", "text"),
        ({"call_ids": ["x" * 10_000]}, "scope.call_ids", "longer than 256"),
        ({"call_ids": ["é" * 129]}, "scope.call_ids", "longer than 256"),
        ({"call_ids": ["\ud800"]}, "scope.call_ids", "surrogate"),
        ({"call_ids": [str(n) for n in range(MAX_IDS + 1)]}, "scope.call_ids", "split"),
        ({"campaign_id": "c", "agent_id": "a"}, "scope", "exactly one"),
        ({"campaign_id": "c", "agent_id": None}, "scope.agent_id", "empty"),
        ({"call_ids": ["a"], "mobile_numbers": [NUMBER]}, "scope", "exactly one"),
        ({"agent_id": "a", "mobile_numbers": [NUMBER]}, "scope", "exactly one"),
        ({"campaign": "c"}, "scope.campaign", "is not a scope"),
        ({"mobile_numbers": ["8882876897"]}, "scope.mobile_numbers", "E.164"),
        ({"mobile_numbers": ["+0882876897"]}, "scope.mobile_numbers", "E.164"),
        ({"mobile_numbers": [NUMBER, "+91-call-me"]}, "scope.mobile_numbers", "E.164"),
        ({"mobile_numbers": ["+" + "9" * 16]}, "scope.mobile_numbers", "E.164"),
    ],
)
def test_what_names_nothing_or_too_much_is_refused_by_field(value: object, field: str, reason: str) -> None:
    with pytest.raises(ScopeError, match=reason) as refused:
        Scope.parse(value)
    assert refused.value.field == field


def test_a_refusal_never_repeats_a_number() -> None:
    with pytest.raises(ScopeError) as refused:
        Scope.parse({"mobile_numbers": ["0712345678"]})
    assert "0712345678" not in str(refused.value)


def test_numbers_are_compared_in_one_form() -> None:
    assert normalise_number(" (00 91) 888.287-6897\n") == NUMBER


def test_every_kind_has_a_word() -> None:
    assert [kind.value for kind in ScopeKind] == ["call", "number", "campaign", "agent", "number-in-campaign"]
