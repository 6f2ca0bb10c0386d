"""A Bloom filter with one hash that grows: a set of which one can be sure what is not in it, in some bits a member."""

from collections.abc import Collection, Hashable


class Bloom:
    """A set that takes others for members too: one in ``bits_each`` after a start, some more as it grows."""

    def __init__(self, expected: int, *, bits_each: int, least_bits: int) -> None:
        """Make room for so many members; the bits are a power of two and at least ``least_bits``, which is one too."""
        size = max(least_bits, 1 << (expected * bits_each).bit_length())
        self._bits_each = bits_each
        self._bits = bytearray(size // 8)
        self._mask = size - 1
        self._count = 0

    def __contains__(self, member: Hashable) -> bool:
        place = hash(member) & self._mask
        return self._bits[place >> 3] >> (place & 7) & 1 == 1

    def __len__(self) -> int:
        return self._count

    def update(self, members: Collection[Hashable]) -> None:
        self._count += len(members)
        while self._count * self._bits_each > self._mask:
            self._double()
        bits, mask = self._bits, self._mask
        for member in members:
            place = hash(member) & mask
            bits[place >> 3] |= 1 << (place & 7)

    def _double(self) -> None:
        """Grow by one bit of the hash, which nobody knows any more: a member now has both places that it may have."""
        self._bits = self._bits + self._bits
        self._mask = 2 * self._mask + 1
