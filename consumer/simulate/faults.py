"""Misbehaviour on demand: what can be switched on, and the board that says whether it strikes now."""

from collections.abc import Collection
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from .dice import Dice


class FaultKind(StrEnum):
    # in the answers of the API
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    THROTTLED = "throttled"
    SERVER_ERROR = "server-error"
    TIMEOUT = "timeout"
    RESET = "reset"
    SLOW = "slow"
    LIE = "lie"
    IGNORE_IDS = "ignore-ids"
    POISON = "poison"
    # in the webhooks
    REPEAT = "repeat"
    REORDER = "reorder"
    LOSE = "lose"
    LATE = "late"


ANSWERS = frozenset(
    {
        FaultKind.UNAUTHORIZED,
        FaultKind.FORBIDDEN,
        FaultKind.THROTTLED,
        FaultKind.SERVER_ERROR,
        FaultKind.TIMEOUT,
        FaultKind.RESET,
    }
)
"""Faults that replace the answer of a request."""


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Fault:
    """One fault, in force until it has struck `count` times or `seconds` have passed, else until cleared.

    `share` is of requests (of ids for `ignore-ids` and `poison`, of webhooks for the last four kinds).
    """

    kind: FaultKind
    share: float = Field(default=1.0, ge=0, le=1)
    count: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, gt=0)
    on: Literal["terminate", "read", "any"] = "terminate"
    applied: bool = False
    """The effect of the request happens although the answer does not say so."""
    status: Literal[500, 502, 503, 504] = 500
    retry_after: Literal["none", "seconds", "date"] = "none"
    delay_seconds: float = Field(default=2.0, ge=0)
    """Of `slow`, `late`, `reorder` (the window) and Retry-After."""
    times: int = Field(default=2, ge=2, le=100)
    """How often `repeat` sends a webhook in all."""
    call_ids: frozenset[str] = frozenset()
    """The ids that `ignore-ids` and `poison` mean; empty: a `share` of all ids, always the same ones."""


_FAULT = TypeAdapter(Fault)


def parse_fault(text: str) -> Fault:
    """`kind[,field=value…]` as on the command line, e.g. `timeout,share=0.1,applied=true`; ids are joined by `+`.

    Raises ValueError that names the field and what it may hold.
    """
    kind, *settings = text.split(",")
    fields: dict[str, object] = {"kind": kind.strip()}
    for setting in settings:
        name, is_given, value = setting.partition("=")
        if not is_given:
            raise ValueError(f"fault {text!r}: {setting!r} is not field=value")
        fields[name.strip()] = value.strip().split("+") if name.strip() == "call_ids" else value.strip()
    # the text "503" is no literal 503
    if (status := str(fields.get("status", ""))).isdecimal():
        fields["status"] = int(status)
    try:
        return _FAULT.validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"fault {text!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class _Active:
    __slots__ = ("fault", "left", "until")

    def __init__(self, fault: Fault, now: float) -> None:
        self.fault = fault
        self.left = fault.count
        self.until = None if fault.seconds is None else now + fault.seconds

    def in_force(self, now: float) -> bool:
        return self.left != 0 and (self.until is None or now < self.until)

    def strike(self) -> Fault:
        if self.left is not None:
            self.left -= 1
        return self.fault


class FaultBoard:
    """The faults in force; synchronous, `now` in seconds."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._active: list[_Active] = []
        self._draws = 0

    def switch_on(self, fault: Fault, now: float) -> None:
        self._active.append(_Active(fault, now))

    def clear(self, kind: FaultKind | None = None) -> None:
        self._active = [] if kind is None else [one for one in self._active if one.fault.kind is not kind]

    def in_force(self, now: float) -> list[Fault]:
        self._active = [one for one in self._active if one.in_force(now)]
        return [one.fault for one in self._active]

    def take(self, kinds: Collection[FaultKind], now: float, *, stops: bool | None = None) -> Fault | None:
        """Find the fault that strikes this request (`stops`: it asks for a stop) or, with None, this webhook."""
        for one in self._active:
            fault = one.fault
            if fault.kind not in kinds or not one.in_force(now):
                continue
            if stops is not None and fault.on != "any" and (fault.on == "terminate") is not stops:
                continue
            self._draws += 1
            if fault.share >= 1 or self._dice.share("fault", self._draws) < fault.share:
                return one.strike()
        return None

    def strikes_id(self, kind: FaultKind, call_id: str, now: float) -> bool:
        """Whether `ignore-ids` or `poison` means this id; the same ids every time."""
        for one in self._active:
            fault = one.fault
            if fault.kind is not kind or not one.in_force(now):
                continue
            meant = (
                call_id in fault.call_ids
                if fault.call_ids
                else fault.share >= 1 or self._dice.share(kind, call_id) < fault.share
            )
            if meant:
                one.strike()
                return True
        return False
