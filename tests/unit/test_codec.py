import orjson
import pytest

from consumer.model.codec import CodecError, decode_event, decode_order_record, encode_event, encode_order
from consumer.model.events import Position
from consumer.model.status import Status
from consumer.model.termination_codec import decode_termination_record
from tests.unit.values import event, order

HERE = Position("call-events", 3, 7)


def test_what_is_zero_is_kept_and_what_is_absent_takes_no_room() -> None:
    zero = event("e", Status.FAILED, attempt=0, cost=0.0, duration_seconds=0.0, at=0.0)
    record = orjson.loads(encode_event(zero))
    assert (record["attempt"], record["cost"], record["duration_seconds"], record["at"]) == (0, 0.0, 0.0, 0.0)
    assert not {"campaign_id", "number", "connected", "analysis", "args"} & set(record)
    assert decode_event(encode_event(zero), HERE, 5.0) == zero.replaced(logged_at=5.0, position=HERE)


def test_a_body_keeps_its_doubled_keys_and_its_digits() -> None:
    raw = b'{"a": 1,\n "a": 2, "n": 12345678901234567890123, "f": 1.10}'
    assert encode_event(event(), raw).endswith(b',"raw":\t' + raw + b"}")


def test_the_time_of_an_order_is_the_brokers_and_never_its_writers() -> None:
    assert decode_order_record(encode_order(order(at=5.0)), 99.0).at == 99.0


@pytest.mark.parametrize("hold", [None, 0.0, 30.0])
def test_until_released_once_and_seconds_are_three_things(hold: float | None) -> None:
    read = decode_order_record(encode_order(order(hold=hold)), 1_000.0)
    assert read == order(hold=hold)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b"{",
        b"\xff",
        b'{"account":"a","provider":"p","call_id":7,"event_id":"e","type":"other"}',
        b'{"account":"a","provider":"p","call_id":"c","event_id":"e","type":"dialled"}',
        b'{"account":"a","provider":"p","call_id":"c","event_id":"e","type":"other","status":"forwarded"}',
        b'{"account":"a","provider":"p","call_id":"c","event_id":"e","type":"other","attempt":"1"}',
        b'{"account":"a","provider":"p","call_id":"c","event_id":"e","type":"other","attempt":true}',
        b'{"account":"a","provider":"p","call_id":"c","event_id":"e","type":"other","at":"now"}',
        b'{"account":"a","provider":"p","call_id":"c","event_id":"e","type":"other","analysis":[1]}',
        None,
    ],
)
def test_a_foreign_record_is_no_event(value: bytes | None) -> None:
    with pytest.raises(CodecError):
        decode_event(value, HERE, 0.0)


def test_a_record_of_an_unknown_kind_is_refused_by_its_name() -> None:
    with pytest.raises(CodecError, match="redial"):
        decode_termination_record(b'{"kind":"redial","termination_id":"t","account":"a","call_id":"c","episode":0}')
