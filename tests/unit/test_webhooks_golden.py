"""Every payload as its provider documents it, beside the event it must become.

A file holds ``body``, ``expect`` (the fields of the event that are set) and where needed the account's ``fields``.
"""

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from multidict import CIMultiDict

from consumer.ingest.intake import Intake
from consumer.kafka.topics import Topics
from consumer.model.codec import decode_event
from consumer.model.events import CallEvent, Position
from consumer.model.status import EventType, Status
from handlers.providers.ringg import EVENT_TYPES
from handlers.providers.table import PROVIDERS
from tests.unit.values import SECRET, account

WEBHOOKS = Path(__file__).parent.parent / "webhooks"
FILES = sorted(path for provider in ("ringg", "revenueable") for path in (WEBHOOKS / provider).glob("*.json"))
NOT_OF_THE_BODY = {"account", "provider", "event_id", "raw", "source", "logged_at", "position"}
HERE = Position("call-events", 0, 0)


def golden(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


def read(path: Path) -> CallEvent:
    file, provider = golden(path), path.parent.name
    auth = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
    of = account(provider=provider, webhook={"auth": auth, "fields": file.get("fields", {})})
    intake = Intake(of, PROVIDERS[provider], Topics.named())
    taken = intake.take(CIMultiDict({"X-Webhook-Secret": SECRET}), orjson.dumps(file["body"]))
    assert taken.reason is None
    return decode_event(taken.records[0].value, HERE, 0.0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_documented_payload_becomes_exactly_the_event_it_tells_of(path: Path) -> None:
    event, file = read(path), golden(path)
    told = {name: value for name, value in msgspec.structs.asdict(event).items() if name not in NOT_OF_THE_BODY}
    told = {name: value for name, value in told.items() if value is not None and value is not False and value != {}}
    assert told == file["expect"]
    assert event.provider == path.parent.name
    assert event.raw == file["body"]


def test_every_documented_event_type_and_status_has_its_file() -> None:
    events = [read(path) for path in FILES if path.parent.name == "ringg"]
    assert {golden(path)["body"].get("event_type") for path in FILES} - {None} == set(EVENT_TYPES)
    callbacks = {
        event.status for event, path in zip(events, FILES[-len(events) :], strict=True) if "callback" in path.stem
    }
    assert callbacks == set(Status)
    assert {event.type for event in events} == set(EventType)
