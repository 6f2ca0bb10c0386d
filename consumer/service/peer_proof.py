"""How a process shows another one that both belong to the same installation: they have an account's API key in common.

What is sent is a keyed hash per account, never a key or a token: where a process answers is read from Kafka, so nothing that
opens more than the read-only routes may be sent there. It needs nothing in the configuration, with operators or without.
"""

import hmac
from collections.abc import Iterable

from consumer.model.accounts import Account

SCHEME = "callbreaker-peer"
MOST_ACCOUNTS = 100
HEX_DIGITS = 40


class PeerProof:
    """The proofs of the configured accounts; with any one in common, two processes trust each other to read."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        first = sorted(accounts, key=lambda account: account.name)[:MOST_ACCOUNTS]
        self._proofs = tuple(_proof(account) for account in first)

    @property
    def authorization(self) -> str:
        """What to send as ``Authorization``."""
        return f"{SCHEME} {','.join(self._proofs)}"

    def is_in(self, authorization: str) -> bool:
        """Whether a request with this header comes from a process of this installation."""
        scheme, _, given = authorization.partition(" ")
        sent = [proof.encode(errors="surrogateescape") for proof in given.split(",")[:MOST_ACCOUNTS]]
        # Every pair is compared, so that the time it takes says nothing.
        same = [hmac.compare_digest(proof.encode(), one) for proof in self._proofs for one in sent]
        return scheme.lower() == SCHEME and any(same)


def _proof(account: Account) -> str:
    key = account.api_key.get_secret_value().encode()
    return hmac.digest(key, f"{SCHEME} 1 {account.name}".encode(), "sha256").hex()[:HEX_DIGITS]
