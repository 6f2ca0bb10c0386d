"""What the operator API is sent, read strictly: an unknown or missing field is named and nothing is guessed."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from consumer.console.problems import ProblemError
from consumer.model.orders import Mode, Reach

M = TypeVar("M", bound=BaseModel)

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Enough for the 10,000 longest call ids of one order; far above what a webhook may hold."""

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StopOrderRequest(Strict):
    """An operator's stop order."""

    account: str = Field(description="The account as the configuration names it.")
    scope: dict[str, Any] = Field(
        description="Exactly one of call_ids, campaign_id, agent_id, mobile_numbers, or campaign_id with mobile_numbers."
    )
    reason: Reason = Field(description="Why; kept with every call that is stopped.")
    reach: Reach = Field(
        Reach.KNOWN, description="known: calls seen in events. everything: the provider's own stop too."
    )
    hold: str | int | None = Field(None, description="24h, 30d, until-released, or 0 for once.")
    mode: Mode = Field(Mode.ENFORCE, description="shadow records what would be stopped and sends nothing.")
    canary_share: float = Field(0.1, gt=0, le=1, description="canary: the share of calls that is stopped, by hash.")
    allow_live: bool = Field(False, description="Needed where the provider's stop may cut live calls.")


class ReasonRequest(Strict):
    """Why an order is released, approved or rejected."""

    reason: Reason


class LeverRequest(Strict):
    """Engage or release the safety lever."""

    engaged: bool = Field(description="true: rules decide and record, and nothing is sent for them.")
    reason: Reason


class CanaryRequest(Strict):
    """The part of the calls that a rule in canary mode really stops."""

    share: float | None = Field(None, gt=0, le=1, description="The share of calls, by hash.")
    campaigns: tuple[str, ...] = Field((), max_length=1_000, description="Or these campaigns.")


class RuleModeRequest(Strict):
    """Set a rule's mode at run time."""

    mode: Mode | None = Field(description="null: as the configuration says.")
    canary: CanaryRequest | None = Field(None, description="For the mode canary: a share, or campaigns.")
    reason: Reason


async def parse(request: web.Request, model: type[M]) -> M:
    """Read a JSON body.

    Raises:
        ProblemError: 400 not JSON; 422 a field is missing, unknown or cannot be meant.

    """
    try:
        body = orjson.loads(await request.clone(client_max_size=MAX_BODY_BYTES).read())
    except orjson.JSONDecodeError as error:
        raise ProblemError(400, "not JSON", f"the body is not JSON: {error}") from error
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise ProblemError(422, "cannot be read", f"{field}: {_in_words(first, model)}", field=field) from error


def _in_words(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Say what is wrong with a field and what to write instead."""
    kind, loc = error["type"], error["loc"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        near = get_close_matches(str(loc[-1]), model.model_fields, 1) if len(loc) == 1 else []
        return f"there is no such field; did you mean {near[0]}?" if near else "there is no such field"
    if kind in {"model_type", "dict_type"}:
        return "must be a JSON object"
    return str(error["msg"]).replace("Input should be", "must be").replace("String should", "must")
