"""Chance that is the same in every run of a seed, whatever order things happen in."""

from hashlib import blake2b
from uuid import UUID


class Dice:
    """Draws that depend on the seed and on what is drawn for, never on when.

    `run` goes into identities only: the same seed with another run plays the same story with calls nobody has seen yet.
    """

    def __init__(self, seed: int, run: str = "") -> None:
        self._seed = seed
        self._run = run

    def share(self, *parts: object) -> float:
        """Draw a number in [0, 1) for these parts."""
        return int.from_bytes(_digest(8, self._seed, *parts)) / 2**64

    def uuid(self, *parts: object) -> str:
        return str(UUID(bytes=_digest(16, self._seed, self._run, *parts), version=4))

    def object_id(self, *parts: object) -> str:
        """24 hexadecimal digits, the form of Sonarly's ids."""
        return _digest(12, self._seed, self._run, *parts).hex()

    def number(self, digits: int, *parts: object) -> int:
        return int.from_bytes(_digest(8, self._seed, self._run, *parts)) % int(10**digits)


def _digest(size: int, *parts: object) -> bytes:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=size).digest()
