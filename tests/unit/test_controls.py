from pathlib import Path

import msgspec
import orjson
import pytest

from consumer.kafka.control_rows import ControlChange
from consumer.kafka.order_book import StoredOrderBook
from consumer.model.codec import CodecError
from consumer.model.controls import (
    Alert,
    Control,
    Controls,
    Lever,
    RuleMode,
    RulesChanged,
    as_strong,
    decode_control,
    encode_control,
    in_mode_of_now,
    is_control,
)
from consumer.model.orders import Author, Mode
from tests.unit.values import OPERATOR, RULE, order

TERMINATE = Author("terminate", "terminate")
PULLED = Lever(True, "confirmations collapse", TERMINATE, 5.0)
RELEASED = Lever(False, "the provider is well again", OPERATOR, 6.0)
CANARY = RuleMode("opt-out", Mode.CANARY, "try it", OPERATOR, 0.1, ("c1",), 7.0)
AS_CONFIGURED = RuleMode("opt-out", None, "tried", OPERATOR, at=8.0)
RULES = RulesChanged("abc", 3, {"rules": [{"name": "opt-out", "when": "true"}]}, OPERATOR, 9.0)
LOUD = Alert("silent/c1", "campaign c1 has gone silent", 4.0, by="guard", at=10.0)
OVER = Alert("silent/c1", "campaign c1 is heard again", 4.0, active=False, by="guard", at=11.0)
ALL: list[Control] = [PULLED, RELEASED, CANARY, AS_CONFIGURED, RULES, LOUD, OVER]


def changes(*controls: Control) -> list[ControlChange]:
    return [ControlChange(control.key, control) for control in controls]


@pytest.mark.parametrize("control", ALL, ids=repr)
def test_a_control_is_read_back_with_the_brokers_time(control: Control) -> None:
    assert is_control(control.key)
    assert decode_control(control.key, encode_control(control), control.at) == control
    assert decode_control(control.key, encode_control(control), 99.0).at == 99.0


def test_a_control_says_in_words_what_it_is() -> None:
    told = orjson.loads(encode_control(PULLED))
    assert (told["kind"], told["engaged"], told["reason"]) == ("lever", True, "confirmations collapse")


@pytest.mark.parametrize("key", [b"op-1", b"rule-12ab", b"rule-12ab/admitted", b"leverage", None])
def test_orders_and_facts_are_no_controls(key: bytes | None) -> None:
    assert not is_control(key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"lever", b"not JSON"),
        (b"lever", b"{}"),
        (b"lever", encode_control(LOUD)),
        (b"alert/other", encode_control(LOUD)),
        (b"rule-mode/x", b'{"kind":"rule-mode","rule":"x","mode":"loud","reason":"","by":{"kind":"a","name":"b"}}'),
        (b"lever", b'{"kind":"lever","engaged":1,"reason":"","by":{"kind":"a","name":"b"}}'),
    ],
)
def test_what_is_no_control_or_lies_under_a_wrong_key_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(CodecError):
        decode_control(key, value, 0.0)


def test_an_alert_cannot_be_made_or_read_with_a_full_number_or_a_credential() -> None:
    alert = Alert("silent/c1", "ask +4915112345678, api_key=abcdef", 3.0)
    assert alert.text == "ask •••5678, api_key=••••"
    assert decode_control(alert.key, encode_control(alert), 4.0) == msgspec.structs.replace(alert, at=4.0)
    old = b'{"kind":"alert","name":"silent/c1","text":"ask +4915112345678","since":3.0}'
    told = decode_control(alert.key, old, 4.0)
    assert isinstance(told, Alert)
    assert told.text == "ask •••5678"


def test_the_last_record_of_each_key_stands() -> None:
    now = Controls().with_all(changes(PULLED, CANARY, LOUD, RULES))
    assert now.lever_engaged
    assert now.mode_of("opt-out") == CANARY
    assert now.mode_of("another") is None
    assert dict(now.alerts) == {"silent/c1": LOUD}
    assert now.rules == RULES
    later = now.with_all(changes(RELEASED, AS_CONFIGURED, OVER))
    assert not later.lever_engaged
    assert later.lever == RELEASED
    assert later.mode_of("opt-out") is None
    assert not later.alerts
    assert now.lever_engaged  # what was given out before does not change


def test_tombstones_take_each_control_back() -> None:
    now = Controls().with_all(changes(PULLED, CANARY, LOUD, RULES))
    gone = [ControlChange(control.key, None) for control in (PULLED, CANARY, LOUD, RULES)]
    assert now.with_all(gone) == Controls()


def test_a_rules_order_takes_the_mode_that_was_set_at_run_time() -> None:
    now = Controls().with_all(changes(CANARY))
    told = in_mode_of_now(order(by=RULE), now)
    assert (told.mode, told.canary_share, told.canary_campaigns) == (Mode.CANARY, 0.1, ("c1",))
    assert in_mode_of_now(order(by=OPERATOR), now).mode is Mode.ENFORCE
    assert in_mode_of_now(order(by=Author("rule", "another")), now).mode is Mode.ENFORCE


def test_a_book_that_is_opened_again_knows_its_controls(tmp_path: Path) -> None:
    path = tmp_path / "0.sqlite"
    book = StoredOrderBook(path)
    book.fold([(0, order())], {("t", 0): 7}, controls=changes(PULLED, CANARY, LOUD, RULES))
    book.fold([], {("t", 0): 9}, controls=changes(AS_CONFIGURED, OVER))
    stood = book.controls
    book.close()
    again = StoredOrderBook(path)
    assert again.controls == stood == Controls().with_all(changes(PULLED, RULES))
    assert again.view.offsets == {("t", 0): 9}
    again.begin_anew()
    assert again.controls == Controls()
    again.close()


@pytest.mark.parametrize(
    ("standing", "wanted", "strong"),
    [
        ((Mode.SHADOW, 1.0), (Mode.ENFORCE, 1.0), False),
        ((Mode.SHADOW, 1.0), (Mode.CANARY, 0.1), False),
        ((Mode.CANARY, 0.1), (Mode.ENFORCE, 1.0), False),
        ((Mode.CANARY, 0.1), (Mode.CANARY, 0.2), False),
        ((Mode.CANARY, 0.2), (Mode.CANARY, 0.1), True),
        ((Mode.CANARY, 0.1), (Mode.CANARY, 0.1), True),
        ((Mode.CANARY, 0.1), (Mode.SHADOW, 1.0), True),
        ((Mode.ENFORCE, 1.0), (Mode.CANARY, 0.1), True),
        ((Mode.ENFORCE, 1.0), (Mode.ENFORCE, 1.0), True),
    ],
)
def test_an_order_stands_in_for_another_only_where_it_stops_as_much(
    standing: tuple[Mode, float], wanted: tuple[Mode, float], strong: bool
) -> None:
    one, other = (order(mode=mode, canary_share=share) for mode, share in (standing, wanted))
    assert as_strong(one, other) is strong
