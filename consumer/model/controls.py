"""Controls: what people and the service itself set while it runs, beside the stop orders and in the same topic.

A control is the last record of its key, so every process that has read as far knows the same: whether the safety lever is
pulled, in which mode a rule is, which rules are in force, and what is loud right now. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from consumer.model.codec import CodecError
from consumer.model.masking import MASK
from consumer.model.orders import Author, Mode, StopOrder
from consumer.model.terminations import MODES

LEVER_KEY = b"lever"
RULES_KEY = b"rules"
MODE_PREFIX = b"rule-mode/"
ALERT_PREFIX = b"alert/"


class Lever(msgspec.Struct, frozen=True, tag_field="kind", tag="lever", omit_defaults=True):
    """The safety lever: while it is engaged, nothing is sent that only rules want. ``at`` is the broker's time (seconds)."""

    engaged: bool
    reason: str
    by: Author
    at: float = 0.0

    @property
    def key(self) -> bytes:
        return LEVER_KEY


class RuleMode(msgspec.Struct, frozen=True, tag_field="kind", tag="rule-mode", omit_defaults=True):
    """The mode a rule was set to at run time. ``mode`` None: what the configuration says, as before."""

    rule: str
    mode: Mode | None
    reason: str
    by: Author
    canary_share: float = 1.0
    canary_campaigns: tuple[str, ...] = ()
    at: float = 0.0

    @property
    def key(self) -> bytes:
        return MODE_PREFIX + self.rule.encode()


class RulesChanged(msgspec.Struct, frozen=True, tag_field="kind", tag="rules", omit_defaults=True):
    """A set of rules that every worker takes over where it reads this.

    ``parts`` are the sections of the configuration file that may change at run time, by name, as the file says them:
    with ``${NAME}`` in place of what the environment holds.
    """

    hash: str
    version: int
    parts: dict[str, Any]
    by: Author
    at: float = 0.0

    @property
    def key(self) -> bytes:
        return RULES_KEY


class Alert(msgspec.Struct, frozen=True, tag_field="kind", tag="alert", omit_defaults=True):
    """Something loud, by its name. ``text`` is for people and holds no full phone number; ``since`` is in seconds.

    One that is not ``active`` any more is over: whoever raised it writes it once more so, and it is forgotten.
    """

    name: str
    text: str
    since: float
    active: bool = True
    by: str = ""
    at: float = 0.0

    def __post_init__(self) -> None:
        """Mask the text, whoever wrote it: a rule, a provider, or the refusal of a configuration."""
        msgspec.structs.force_setattr(self, "text", MASK.text(self.text))

    @property
    def key(self) -> bytes:
        return ALERT_PREFIX + self.name.encode()


Control = Lever | RuleMode | RulesChanged | Alert

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Control).decode


def encode_control(control: Control) -> bytes:
    """Write a control as ``stop-orders`` holds it under its ``key``."""
    return _encode(control)


def is_control(key: bytes | None) -> bool:
    """Whether a record of ``stop-orders`` with this key is a control, and neither an order nor a fact."""
    return key is not None and (key in (LEVER_KEY, RULES_KEY) or key.startswith((MODE_PREFIX, ALERT_PREFIX)))


def decode_control(key: bytes, value: bytes | None, logged_at: float) -> Control:
    """Read a control; ``logged_at`` is the broker's timestamp in seconds.

    Raises:
        CodecError: it is none, or not the one that its key names.

    """
    try:
        control: Control = _decode(value or b"")
    except msgspec.DecodeError as error:
        raise CodecError(f"the record is not a control: {error}") from error
    if control.key != key:
        raise CodecError(f"the record is a {type(control).__name__} under the key of another")
    return msgspec.structs.replace(control, at=logged_at)


@dataclass(frozen=True, slots=True)
class Controls:
    """All controls as they stand. ``alerts`` are the active ones by name."""

    lever: Lever | None = None
    rules: RulesChanged | None = None
    modes: Mapping[str, RuleMode] = field(default_factory=dict)
    alerts: Mapping[str, Alert] = field(default_factory=dict)

    @property
    def lever_engaged(self) -> bool:
        return self.lever is not None and self.lever.engaged

    def mode_of(self, rule: str) -> RuleMode | None:
        """Give what a rule was set to at run time; None where the configuration's mode is in force."""
        return self.modes.get(rule)

    def with_all(self, changes: Iterable[tuple[bytes, Control | None]]) -> "Controls":
        """Fold changes in the order of their records; None under a key is its tombstone."""
        lever, rules = self.lever, self.rules
        modes, alerts = dict(self.modes), dict(self.alerts)
        for key, control in changes:
            match control:
                case Lever():
                    lever = control
                case RulesChanged():
                    rules = control
                case RuleMode(mode=None) | Alert(active=False) | None:
                    modes.pop(_name(key, MODE_PREFIX), None)
                    alerts.pop(_name(key, ALERT_PREFIX), None)
                    lever = None if key == LEVER_KEY else lever
                    rules = None if key == RULES_KEY else rules
                case RuleMode():
                    modes[control.rule] = control
                case Alert():
                    alerts[control.name] = control
        return Controls(lever, rules, modes, alerts)


def in_mode_of_now(order: StopOrder, controls: Controls) -> StopOrder:
    """Give a rule's order the mode that the rule is in now, where somebody has set it at run time."""
    told = controls.mode_of(order.by.name)
    if told is None or told.mode is None or order.by.is_operator:
        return order
    return replace(order, mode=told.mode, canary_share=told.canary_share, canary_campaigns=told.canary_campaigns)


def as_strong(standing: StopOrder, wanted: StopOrder) -> bool:
    """Whether an order that stands already stops whatever another for its scope would: one in shadow stops nothing."""
    if standing.mode is wanted.mode is Mode.CANARY:
        same = (standing.canary_share, standing.canary_campaigns) == (wanted.canary_share, wanted.canary_campaigns)
        return same or (not wanted.canary_campaigns and standing.canary_share > wanted.canary_share)
    return MODES.index(standing.mode) >= MODES.index(wanted.mode)


def _name(key: bytes, prefix: bytes) -> str:
    return key.removeprefix(prefix).decode() if key.startswith(prefix) else ""
