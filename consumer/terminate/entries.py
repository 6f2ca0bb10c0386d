"""What the dispatcher writes into the log: an attempt before each request, an outcome after it. Pure."""

from dataclasses import dataclass

from consumer.model.provider import Answer
from consumer.model.terminations import AnswerClass, Attempt, Result, State, Termination


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a provider and the terminations it names."""

    request_id: str
    batch: tuple[Termination, ...]

    @property
    def termination_ids(self) -> tuple[str, ...]:
        return tuple(t.termination_id for t in self.batch)


def attempts(request: Request, now: float) -> list[Attempt]:
    """Say that this request is about to be made."""
    return [
        Attempt(
            termination_id=t.termination_id,
            account=t.account,
            call_id=t.call_id,
            episode=t.episode,
            request_id=request.request_id,
            n=len(t.attempts) + 1,
            at=now,
            orders=t.orders,
            size=len(request.batch),
        )
        for t in request.batch
    ]


def results(request: Request, answer: Answer, http_status: int | None, now: float, retry_at: float) -> list[Result]:
    """Say what came of it, for each call."""
    return [
        Result(
            termination_id=t.termination_id,
            account=t.account,
            call_id=t.call_id,
            episode=t.episode,
            at=now,
            request_id=request.request_id,
            n=len(t.attempts) + 1,
            answer=answer.answer,
            http_status=http_status,
            detail=answer.detail,
            retry_at=retry_at,
            reported=answer.reported,
            trace_id=answer.trace_id,
            more=answer.more or None,
        )
        for t in request.batch
    ]


def refused_alone(t: Termination, answer: Answer, now: float) -> Result:
    """Close a call that alone makes the provider refuse: it is not known there, or its id cannot be read."""
    outcome = State.NOT_FOUND if answer.answer is AnswerClass.NOT_FOUND else State.FAILED
    return closed(t, outcome, now, answer.detail)


def closed(t: Termination, outcome: State, now: float, reason: str) -> Result:
    """Close a termination with an outcome."""
    return Result(
        termination_id=t.termination_id,
        account=t.account,
        call_id=t.call_id,
        episode=t.episode,
        at=now,
        outcome=outcome,
        detail=reason,
        orders=t.orders,
    )
