"""Who may do what: bearer tokens with a role each. A role may do all that the ones before it may."""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from consumer.console.problems import ProblemError

ROLES = ("viewer", "operator", "approver")


@dataclass(frozen=True, slots=True)
class OperatorToken:
    """One person or tool, with its token."""

    name: str
    role: str
    token: str

    def may(self, role: str) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


def generated_token() -> OperatorToken:
    """Make the one token of an installation without operators; it is printed at the start and lives as long as it."""
    return OperatorToken("local", "approver", secrets.token_urlsafe(24))


class Operators:
    """The configured tokens."""

    def __init__(self, tokens: Iterable[OperatorToken]) -> None:
        self._tokens = tuple(tokens)

    def require(self, request: web.Request, role: str) -> OperatorToken:
        """Give the operator that asks.

        Raises:
            ProblemError: 401 without a valid token, 403 when its role does not reach.

        """
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            raise ProblemError(401, "no token", "send Authorization: Bearer TOKEN, with a token of `operators`")
        sent = given.strip().encode(errors="surrogateescape")
        found = [token for token in self._tokens if hmac.compare_digest(token.token.encode(), sent)]
        if not found:
            raise ProblemError(401, "wrong token", "no operator has this token")
        if not found[0].may(role):
            has = f"{found[0].name} has the role {found[0].role}"
            raise ProblemError(403, "not allowed", f"{has}; this needs the role {role}")
        return found[0]
