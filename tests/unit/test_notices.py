from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from consumer.guard.notices import Notice, Outbox, notices
from consumer.model.controls import Alert, Control, Controls, Lever
from consumer.model.orders import Author, Fact, FactKind, OrderRecord
from consumer.settings.notify import NotifySettings, masked_address
from tests.unit.test_controls import changes
from tests.unit.values import OPERATOR, RULE, order

GUARD = Author("guard", "guard")


def controls(*told: Control) -> Controls:
    return Controls().with_all(changes(*told))


def test_the_lever_alerts_and_what_waits_are_told_without_full_numbers() -> None:
    held = Fact("r-1", FactKind.HELD, GUARD, "it would stop 120 calls", 5.0, {"count": 120})
    told = list(
        notices(
            controls(
                Lever(True, "errors burst", Author("terminate", "terminate"), 7.0),
                Alert("held/acme", "+4915112345678 is the number to call", 3.0),
            ),
            [OrderRecord(order("r-1", by=RULE), (held,))],
        )
    )
    assert [(one.name, one.body["kind"], one.body["at"]) for one in told] == [
        ("lever/7.0", "safety_lever_engaged", 7.0),
        ("held/r-1", "awaiting_approval", 5.0),
        ("alert/held/acme/3.0", "alert", 3.0),
    ]
    assert "errors burst" in told[0].body["text"]
    assert (told[1].body["order_id"], told[1].body["count"], told[1].body["rule"]) == ("r-1", 120, "opt-out")
    assert "5678" in told[2].body["text"]
    assert "4915112345678" not in told[2].body["text"]


def test_a_released_lever_is_told_as_another_notice() -> None:
    (one,) = notices(controls(Lever(False, "well again", OPERATOR, 8.0)), [])
    assert (one.name, one.body["kind"], one.body["who"]) == ("lever/8.0", "safety_lever_released", "ops")


def a_notice(name: str, at: float = 0.0) -> Notice:
    return Notice(name, {"at": at})


def test_a_notice_is_due_once_and_the_oldest_goes_first() -> None:
    outbox = Outbox(within=600.0)
    found = [a_notice("b", 2.0), a_notice("a", 1.0)]
    assert [one.name for one in outbox.due(found, 10.0)] == ["a", "b"]
    outbox.told.add("a")
    assert [one.name for one in outbox.due(found, 10.0)] == ["b"]
    assert outbox.over([a_notice("b")]) == {"a"}


def test_what_is_not_taken_is_tried_later_and_later_and_given_up_in_the_end() -> None:
    outbox, notice, now = Outbox(within=100.0), a_notice("a"), 0.0
    tried_at = []
    while now < 1_000.0:
        if outbox.due([notice], now):
            tried_at.append(now)
            if outbox.failed(notice, now):
                break
        now += 1.0
    assert tried_at == [0.0, 1.0, 3.0, 8.0, 23.0, 53.0, 113.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "ftp://host/x"}, "not a web address"),
        ({"url": "https://user:secret@host/x"}, "carries a user"),
        ({"url": "http://example.org/x"}, "unencrypted"),
        ({"url": "https://host/x", "auth": {"type": "basic"}}, "auth"),
    ],
)
def test_a_receiver_that_cannot_be_meant_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        NotifySettings.model_validate(given)
    assert words in str(refused.value)
    assert "secret@" not in str(refused.value)


def test_an_address_is_shown_without_its_path() -> None:
    assert masked_address(SecretStr("https://hooks.example.org:8443/T0/B0/xyz?k=v")) == (
        "https://hooks.example.org:8443/••••"
    )
