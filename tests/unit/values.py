"""Values of the model for tests: each builder gives a plain one, and takes what a test is about."""

from typing import Any

from consumer.model.accounts import Account
from consumer.model.calls import Call, fold
from consumer.model.events import CallEvent
from consumer.model.identity import termination_id
from consumer.model.orders import Author, Mode, StopOrder
from consumer.model.scopes import Scope
from consumer.model.status import EventType, Status
from consumer.model.terminations import AnswerClass, Attempt, Decision, Ended, Result

SECRET = "a-secret-of-some-length"
ACCOUNT = "acme-ringg"
OPERATOR = Author("operator", "ops")
RULE = Author("rule", "opt-out", "1", "abc")


def account(**given: Any) -> Account:
    fields: dict[str, Any] = {
        "name": ACCOUNT,
        "provider": "ringg",
        "api_key": "key-of-the-account",
        "webhook": {"auth": {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}},
    }
    return Account.model_validate(fields | given)


def event(event_id: str = "e1", status: Status | None = None, **given: Any) -> CallEvent:
    fields: dict[str, Any] = {
        "account": ACCOUNT,
        "provider": "ringg",
        "call_id": "call-1",
        "event_id": event_id,
        "type": EventType.OTHER,
        "status": status,
    }
    return CallEvent(**(fields | given))


def folded(*events: CallEvent) -> Call:
    call: Call | None = None
    for one in events:
        call = fold(call, one)
    assert call is not None
    return call


def waiting_call(call_id: str = "call-1", **given: Any) -> Call:
    """A call that is registered, with what else its first event says."""
    return folded(event(f"registered {call_id}", Status.REGISTERED, call_id=call_id, **given))


def order(order_id: str = "order-1", **given: Any) -> StopOrder:
    fields: dict[str, Any] = {
        "account": ACCOUNT,
        "scope": Scope.campaign("campaign-1"),
        "reason": "because",
        "by": OPERATOR,
        "hold": None,
        "at": 1_000.0,
    }
    return StopOrder(order_id=order_id, **(fields | given))


def _of_call(call_id: str, episode: int) -> dict[str, Any]:
    return {
        "termination_id": termination_id(ACCOUNT, call_id, episode),
        "account": ACCOUNT,
        "call_id": call_id,
        "episode": episode,
    }


def decision(call_id: str = "call-1", episode: int = 0, **given: Any) -> Decision:
    fields: dict[str, Any] = {
        "orders": ("order-1",),
        "mode": Mode.ENFORCE,
        "lane": 2,
        "decided_at": 1_000.0,
        "status": Status.REGISTERED,
    }
    return Decision(**_of_call(call_id, episode), **(fields | given))


def ended(status: Status, at: float = 1_100.0, call_id: str = "call-1", episode: int = 0) -> Ended:
    return Ended(**_of_call(call_id, episode), status=status, at=at)


def attempt(n: int = 1, at: float = 1_010.0, call_id: str = "call-1", episode: int = 0, **given: Any) -> Attempt:
    fields: dict[str, Any] = {"request_id": f"request-{n}", "orders": ("order-1",)}
    return Attempt(**_of_call(call_id, episode), n=n, at=at, **(fields | given))


def answered(
    answer: AnswerClass, n: int = 1, at: float = 1_011.0, call_id: str = "call-1", episode: int = 0, **given: Any
) -> Result:
    fields: dict[str, Any] = {"request_id": f"request-{n}", "n": n, "answer": answer}
    return Result(**_of_call(call_id, episode), at=at, **(fields | given))


def closed(call_id: str = "call-1", episode: int = 0, at: float = 1_200.0, **given: Any) -> Result:
    fields: dict[str, Any] = {"orders": ("order-1",)}
    return Result(**_of_call(call_id, episode), at=at, **(fields | given))
