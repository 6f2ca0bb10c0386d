"""What the correlators say of orders of rules, in ``scope-totals`` on the partition of their judge.

Each partition of ``call-events`` says how many of its calls the order would stop, unless that is none, and then how far it
has applied ``stop-orders``: where all of them have passed an order, its count is complete.
"""

from collections.abc import Mapping

import msgspec

JUDGE = 0
"""The partition of ``scope-totals`` whose owner judges."""
COUNT, UP_TO, STOPPED = b".count/", b".counted/", b".stopped/"
"""What the keys begin with; no account's name begins with a dot, and all other keys there do with one."""


class OrderCount(msgspec.Struct, frozen=True, tag_field="kind", tag="count"):
    """How many calls of one source partition an order would stop now.

    ``by_campaign`` has them by campaign, those without one left out, and ``open_in`` how many wait in those campaigns there.
    """

    order_id: str
    source: int
    matched: int
    by_campaign: Mapping[str, int] = {}
    open_in: Mapping[str, int] = {}

    @property
    def key(self) -> bytes:
        return COUNT + f"{self.order_id}/{self.source}".encode()


class CountedUpTo(msgspec.Struct, frozen=True, tag_field="kind", tag="counted"):
    """Everything in ``stop-orders`` before ``applied`` has been counted by a source partition.

    ``log`` is the id of the topic that offset is of, ``open_calls`` the calls that wait there, by account. One that is
    ``reading`` still catches up with its calls, and has counted nothing yet.
    """

    source: int
    log: str
    applied: int
    open_calls: Mapping[str, int] = {}
    reading: bool = False

    @property
    def key(self) -> bytes:
        return UP_TO + b"%d" % self.source


class OrderStopped(msgspec.Struct, frozen=True, tag_field="kind", tag="stopped"):
    """How many calls of a source partition an order has stopped since that was last said.

    ``at`` (milliseconds) is another with every word of a partition, so that a repetition is known.
    """

    order_id: str
    source: int
    at: int
    calls: int

    @property
    def key(self) -> bytes:
        return STOPPED + f"{self.order_id}/{self.source}".encode()


Said = OrderCount | CountedUpTo | OrderStopped

encode_said = msgspec.json.Encoder().encode
decode_said = msgspec.json.Decoder(Said).decode
"""Read a record of ``scope-totals`` for which ``is_said`` holds; raises ``msgspec.DecodeError``."""


def is_said(key: bytes | None) -> bool:
    """Whether a record of ``scope-totals`` is about an order, and no total."""
    return key is not None and key.startswith((COUNT, UP_TO, STOPPED))
