"""The payloads of the providers beside Ringg and its white label, each with the events it must become.

``expect`` is a list here: an analysed call of Bland's is told by one body that becomes two events. ``rejected`` is why a
body becomes none.
"""

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from multidict import CIMultiDict

from consumer.ingest.intake import Intake, Taken
from consumer.kafka.topics import Topics
from consumer.model.codec import decode_event
from consumer.model.events import Position
from handlers.providers import bland, vapi
from handlers.providers.table import PROVIDERS
from tests.unit.test_webhooks_golden import NOT_OF_THE_BODY, WEBHOOKS, golden
from tests.unit.values import SECRET, account

FILES = sorted(path for provider in ("bland", "vapi", "sonarly") for path in (WEBHOOKS / provider).glob("*.json"))


def take(path: Path) -> Taken:
    file, provider = golden(path), path.parent.name
    auth = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
    group = {"account_group_id": "507f1f77bcf86cd799439011"} if provider == "sonarly" else {}
    of = account(provider=provider, webhook={"auth": auth, "fields": file.get("fields", {})}, **group)
    intake = Intake(of, PROVIDERS[provider], Topics.named())
    return intake.take(CIMultiDict({"X-Webhook-Secret": SECRET}), orjson.dumps(file["body"]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_documented_payload_becomes_exactly_the_events_it_tells_of(path: Path) -> None:
    taken, file = take(path), golden(path)
    if "rejected" in file:
        assert taken.reason is not None
        assert file["rejected"] in taken.reason
        return
    assert taken.reason is None
    events = [decode_event(record.value, Position("call-events", 0, 0), 0.0) for record in taken.records]
    assert len({event.event_id for event in events}) == len(events)
    assert all(event.raw == file["body"] and event.provider == path.parent.name for event in events)
    told: list[dict[str, Any]] = [
        {
            name: value
            for name, value in msgspec.structs.asdict(event).items()
            if name not in NOT_OF_THE_BODY and value is not None and value is not False and value != {}
        }
        for event in events
    ]
    assert told == file["expect"]


def test_every_documented_status_has_its_file() -> None:
    bodies = {path: golden(path)["body"] for path in FILES if "rejected" not in path.stem}
    queue = {body["queue_status"] for path, body in bodies.items() if path.parent.name == "bland" and "call_id" in body}
    assert queue >= {"queued", "allocated", "started", "call_error", "complete_error", "completed", "complete"}
    assert queue <= bland.WAITING | bland.LIVE | bland.OVER
    updates = [body["message"] for path, body in bodies.items() if path.parent.name == "vapi"]
    assert {m["status"] for m in updates if "status" in m} == {*vapi.STATUSES, vapi.ENDED, vapi.SAYS_NOTHING}
