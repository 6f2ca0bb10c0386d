"""CloudEvents 1.0 over HTTP, with the provider's own events inside: binary, structured and batched.

Facts: cloudevents/spec, ``bindings/http-protocol-binding.md`` (the modes, decoding of headers), ``formats/json-format.md``
(data) and ``http-webhook.md`` (202, 415, 429, the OPTIONS handshake). Of that last page one thing is left out on purpose:
a token in the query, which every log on the way would keep.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from consumer.ingest.authenticate import authenticate
from consumer.ingest.intake import NOT_JSON, Intake, Refusal, Taken, trace_headers
from consumer.model.identity import body_event_id, digest

NOT_A_CLOUD_EVENT = Refusal(400, "not a CloudEvent")
UNSUPPORTED = Refusal(415, "unsupported media type")
TOO_MANY = Refusal(413, "too many events")

JSON = "application/json"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
REQUIRED = ("specversion", "id", "source", "type")
MAX_EVENTS = 1_000
_ORIGIN = re.compile(r"[A-Za-z0-9*._:-]{1,253}")


class NotACloudEvent(ValueError):
    """What was sent breaks the rules of CloudEvents; the message says which, without values."""


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """One event: the name that source and id give it, and its data, which is the provider's own body."""

    event_id: str
    data: bytes


class CloudEventsIntake(Intake):
    """Turns the CloudEvents of one account into records."""

    taken_status = 202
    overload_status = 429

    def take(self, headers: Mapping[str, str], raw: bytes, now: float | None = None) -> Taken:
        """Take one request, as ``Intake.take``; whatever is wrong with an authentic one is kept in ``rejected``."""
        authenticate(self.account.webhook.auth, headers, raw, now)
        traceparent = headers.get("traceparent")
        refused = NOT_A_CLOUD_EVENT
        try:
            media_type = _media_type(headers.get("Content-Type") or JSON)
            if media_type == BATCH:
                return self._take_batch(raw, orjson.loads(raw), traceparent)
            if media_type == STRUCTURED:
                event = structured(orjson.loads(raw))
                return self.read(event.data, event.event_id, traceparent)
            if not media_type.startswith("application/cloudevents") and _is_json(media_type):
                return self.read(raw, self._name_binary(headers, raw), traceparent)
            refused, reason = UNSUPPORTED, f"Content-Type is neither {STRUCTURED}, nor {BATCH}, nor JSON"
        except orjson.JSONDecodeError as error:
            refused, reason = NOT_JSON, f"not JSON: {error}"
        except NotACloudEvent as error:
            reason = f"not a CloudEvent: {error}"
        return self._rejected(body_event_id(self.account.name, raw), raw, reason, trace_headers(traceparent), refused)

    def consent(self, headers: Mapping[str, str], per_minute: int) -> dict[str, str]:
        """Give the headers that tell a sender it may deliver here; none where it does not say who it is.

        This protects others from being flooded by that sender, and is no authentication: every delivery proves itself.
        """
        origin = headers.get("WebHook-Request-Origin", "")
        if not _ORIGIN.fullmatch(origin):
            return {}
        return {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": str(per_minute)}

    def _name_binary(self, headers: Mapping[str, str], raw: bytes) -> str:
        """Name a binary event. A signature covers the body and no ``ce-`` header, so it must not be one that names it."""
        name = _identity({one: _header_value(headers.get(f"ce-{one}", "")) for one in REQUIRED})
        signed = self.account.webhook.auth.type in {"hmac-sha256", "standard-webhooks"}
        return self._name(headers, raw) if signed else name

    def _take_batch(self, raw: bytes, batch: Any, traceparent: str | None) -> Taken:
        """Take every event of a batch; one that is wrong is told of and keeps no other from being taken."""
        batch_id, trace = body_event_id(self.account.name, raw), trace_headers(traceparent)
        if not isinstance(batch, list):
            raise NotACloudEvent("a batch is a JSON list")
        if len(batch) > MAX_EVENTS:
            return self._rejected(batch_id, raw, f"a batch holds at most {MAX_EVENTS} events", trace, TOO_MANY)
        taken, wrong = [], []
        for n, document in enumerate(batch):
            try:
                event = structured(document)
            except NotACloudEvent as error:
                wrong.append(f"at index {n}, {error}")
            else:
                taken.append(self.read(event.data, event.event_id, traceparent))
        if wrong:
            reason = f"{len(wrong)} of {len(batch)} events are not CloudEvents: {wrong[0]}"
            taken.append(self._rejected(batch_id, raw, reason, trace, NOT_A_CLOUD_EVENT))
        return Taken(
            batch_id,
            tuple(record for one in taken for record in one.records),
            reason=next((one.reason for one in taken if one.reason), None),
            refused=next((one.refused for one in taken if one.refused), None),
        )


def structured(document: Any) -> CloudEvent:
    """Read one event of the JSON event format, already parsed.

    Raises:
        NotACloudEvent: a required attribute is missing or of another type, or the data cannot be had.

    """
    if not isinstance(document, dict):
        raise NotACloudEvent("it is not a JSON object")
    return CloudEvent(_identity(document), _data(document))


def _identity(attributes: Mapping[str, Any]) -> str:
    """Check the required attributes and name the event: source and id together are its identity."""
    for one in REQUIRED:
        value = attributes.get(one)
        if value is None or value == "":
            raise NotACloudEvent(f"the attribute {one} is missing")
        if not isinstance(value, str):
            raise NotACloudEvent(f"the attribute {one} is not a text")
    if attributes["specversion"] != "1.0":
        raise NotACloudEvent("specversion is not 1.0")
    return f"ce-{digest((attributes['source'], attributes['id']))}"


def _data(document: Mapping[str, Any]) -> bytes:
    """Get the data as it would be the body of a binary event; without any, an empty body."""
    encoded, data = document.get("data_base64"), document.get("data")
    if encoded is not None:
        if data is not None or not isinstance(encoded, str):
            raise NotACloudEvent("data_base64 stands beside data, or is not a text")
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise NotACloudEvent("data_base64 is not base64") from None
    if "data" not in document:
        return b""
    if isinstance(data, str) and not _is_json(_media_type(document.get("datacontenttype") or JSON)):
        return data.encode()
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError:
        raise NotACloudEvent("its data is nested too deep") from None


def _header_value(value: str) -> str:
    """Undo double quotes, then one round of percent-encoding."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeError:
        raise NotACloudEvent("a header with an attribute is not UTF-8") from None


def _media_type(content_type: Any) -> str:
    if not isinstance(content_type, str):
        raise NotACloudEvent("datacontenttype is not a text")
    return content_type.partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    return media_type.endswith(("/json", "+json"))
