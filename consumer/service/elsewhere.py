"""What a console asks other processes with, for what its own does not hold."""

from collections.abc import Mapping
from typing import Self

from consumer.console.figures import Figures, KnownHere
from consumer.console.find_call import CallFinder
from consumer.console.peers import Peers
from consumer.kafka.connection import Connection
from consumer.kafka.members import Groups
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from consumer.service.held_here import HeldHere
from consumer.service.peer_proof import PeerProof


class Elsewhere:
    """Calls and figures of the whole installation. Use as an async context manager."""

    def __init__(
        self, connection: Connection, topics: Topics, *, node: str, accounts: Mapping[str, Account], here: HeldHere
    ) -> None:
        self._groups = Groups(connection)
        self._peers = Peers(PeerProof(accounts.values()).authorization)
        known_here = KnownHere(node, here.report, topics.call_events.partitions, frozenset(accounts))
        self.calls = CallFinder(connection, topics, self._groups, self._peers, here.find)
        self.figures = Figures(known_here, self._groups, self._peers)

    async def __aenter__(self) -> Self:
        await self._groups.start()
        await self._peers.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._peers.stop()
        await self._groups.stop()
