"""The file of ``rules test``: what may be said in it, and the tests that it makes."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BeforeValidator, Field, JsonValue

from consumer.backtest.case import Case, Expected
from consumer.backtest.from_file import as_seconds
from consumer.commands.trial import AccountOf
from consumer.model.accounts import Section, Text
from consumer.model.durations import Duration, HoldSeconds, format_hold
from consumer.model.events import CallEvent, Position
from consumer.model.identity import body_event_id
from consumer.model.orders import Mode
from consumer.model.provider import NotUnderstood, Provider
from consumer.model.refusals import RefusedError
from consumer.model.scopes import Scope, ScopeError
from consumer.model.status import EventType, Status
from consumer.settings.file import Document
from consumer.settings.problems import ConfigurationError

BEGINNING = datetime(2026, 1, 5, 10, tzinfo=UTC).timestamp()
"""When the first event comes, unless it says otherwise: a Monday morning."""
KINDS = {Status.REGISTERED: EventType.QUEUED, Status.ONGOING: EventType.STARTED}


def _seconds(at: Any) -> float:
    seconds = as_seconds(at)
    if seconds is None:
        raise RefusedError("this is not a time", "write ISO 8601, such as 2026-01-05T10:00:00Z")
    return seconds


def _scope(value: Any) -> Scope:
    try:
        return Scope.parse(value)
    except ScopeError as error:
        raise RefusedError(f"this is not a scope: {error}", "write it as the API does, {campaign_id: …}") from error


At = Annotated[float, BeforeValidator(_seconds)]


class EventSection(Section):
    """One event: a whole webhook as ``body``, or the normalised fields. ``after`` counts from the event before."""

    body: dict[str, JsonValue] | None = None
    at: At | None = None
    after: Duration = 1.0
    account: Text | None = None
    event_id: Text | None = None
    type: EventType | None = None
    status: Status | None = None
    call_id: Text = "call-1"
    attempt: int | None = Field(default=None, ge=0)
    campaign_id: Text | None = None
    agent_id: Text | None = None
    number: Text | None = None
    from_number: Text | None = None
    duration_seconds: float | None = None
    cost: float | None = None
    connected: bool = False
    analysis: dict[str, JsonValue] = Field(default={})
    args: dict[str, JsonValue] = Field(default={})
    raw: dict[str, JsonValue] = Field(default={})


class ExpectSection(Section):
    """An order that must be made; what is left out may be anything, and ``reason`` is a part of the order's."""

    rule: Text
    scope: Annotated[Scope, BeforeValidator(_scope)] | None = None
    reason: Text | None = None
    hold: HoldSeconds | Literal["any"] = "any"
    mode: Mode | None = None


class TestSection(Section):
    """One test: exactly these orders are made, and, where ``stopped`` is there, exactly these calls are stopped."""

    name: Text
    events: tuple[EventSection, ...] = Field(min_length=1)
    expect: tuple[ExpectSection, ...] = ()
    stopped: tuple[Text, ...] | None = None


class TestFile(Section):
    """``rules`` names the file of the rules, beside this one; without it, they are in this file."""

    rules: Any = None
    provider: Text = "ringg"
    account: Text = "acme"
    tests: tuple[TestSection, ...] = Field(min_length=1)


def cases(
    file: TestFile, document: Document, account_of: AccountOf, providers: Mapping[str, Provider]
) -> Iterator[Case]:
    """Make the tests of a file.

    Raises:
        ConfigurationError: an event that cannot be one.

    """
    for n, test in enumerate(file.tests):
        events: list[CallEvent] = []
        now = BEGINNING
        for m, section in enumerate(test.events):
            now = section.at if section.at is not None else now + (section.after if events else 0.0)
            try:
                events += _events(section, file, f"event-{m + 1}", account_of, providers, now)
            except (NotUnderstood, RefusedError) as error:
                problem = document.problem(
                    ("tests", n, "events", m),
                    f"this cannot be an event: {error}",
                    "correct it; docs/rules.md has examples",
                )
                raise ConfigurationError((problem,)) from error
        positioned = [event.replaced(position=Position("events", 0, m)) for m, event in enumerate(events, start=1)]
        stopped = None if test.stopped is None else frozenset(test.stopped)
        yield Case(test.name, positioned, [_expected(one) for one in test.expect], stopped)


def _events(
    section: EventSection,
    file: TestFile,
    event_id: str,
    account_of: AccountOf,
    providers: Mapping[str, Provider],
    now: float,
) -> list[CallEvent]:
    name = section.account or file.account
    account = account_of(name)
    if account is None:
        raise RefusedError(f"there is no account {name!r}", "name another")
    if section.body is not None:
        named = section.event_id or body_event_id(name, orjson.dumps(section.body))
        events = providers[account.provider].read_webhook(account, section.body, named)
        return [event.replaced(logged_at=now) for event in events]
    fields = section.model_dump(exclude={"body", "at", "after", "account", "event_id", "type"})
    return [
        CallEvent(
            account=name,
            provider=account.provider,
            event_id=section.event_id or event_id,
            type=_type(section),
            at=now,
            logged_at=now,
            **fields,
        )
    ]


def _type(section: EventSection) -> EventType:
    if section.type is not None:
        return section.type
    if section.status is not None:
        return KINDS.get(section.status, EventType.FINISHED)
    if section.analysis:
        return EventType.ANALYSIS
    raise RefusedError("it has neither type, status, analysis nor body", "say what it is of")


def _expected(section: ExpectSection) -> Expected:
    hold = None if section.hold == "any" else format_hold(section.hold)
    return Expected(section.rule, section.scope, section.reason, hold, section.mode)


def rules_beside(path: Path, file: TestFile) -> Path:
    """Give the file in which the rules are."""
    return path.parent / file.rules if isinstance(file.rules, str) else path
