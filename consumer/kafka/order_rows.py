"""The tables of the order book, and what a row holds beside the order itself so that it is found without being read."""

from collections.abc import Mapping
from math import inf

import msgspec
import orjson

from consumer.model.orders import Fact, FactKind, OrderRecord, OrderState, Reach
from consumer.model.scopes import Scope, ScopeKind

SCHEMA = """ -- orders.record: layout 1, msgpack of OrderRecord
CREATE TABLE IF NOT EXISTS orders (
    n INTEGER PRIMARY KEY, order_id TEXT NOT NULL, account TEXT NOT NULL, stands TEXT NOT NULL, ends REAL NOT NULL,
    listing TEXT NOT NULL, everything INTEGER NOT NULL, main INTEGER NOT NULL, changed INTEGER NOT NULL, record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_change ON orders (changed);
CREATE INDEX IF NOT EXISTS by_account ON orders (account);
CREATE INDEX IF NOT EXISTS by_stand ON orders (stands) WHERE stands <> 'in_force';
CREATE INDEX IF NOT EXISTS by_listing ON orders (account, listing, ends DESC) WHERE stands = 'in_force';
CREATE INDEX IF NOT EXISTS by_end_everything ON orders (ends) WHERE everything = 1 AND stands = 'in_force';
CREATE INDEX IF NOT EXISTS by_end_main ON orders (ends, stands) WHERE main = 1;
CREATE TABLE IF NOT EXISTS kinds (id INTEGER PRIMARY KEY, account TEXT NOT NULL, kind INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS names (
    kind INTEGER NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (kind, name, n)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS indexed (until INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS early_facts (
    order_id TEXT NOT NULL, kind TEXT NOT NULL, fact BLOB NOT NULL, PRIMARY KEY (order_id, kind)
) WITHOUT ROWID;
"""
"""``orders.n`` is the offset of the order's record, so that rows lie in the order of time and every process counts alike.

``names`` leads to it from its id (kind 0) and from what it is aimed at (``kinds``: an account and a kind of name).
"""
UPSERT = (
    "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (n) DO UPDATE SET stands = excluded.stands,"
    " ends = excluded.ends, changed = excluded.changed, record = excluded.record"
)

CALLS = "calls"
ORDER_ID = 0
WIDE = {ScopeKind.CAMPAIGN, ScopeKind.AGENT}
Row = tuple[int, str, str, str, float, str, bool, bool, int, bytes]

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(OrderRecord).decode
decode_fact = msgspec.msgpack.Decoder(Fact).decode


def schema(decision_ttl: Mapping[str, float]) -> str:
    """Give the tables. Rows tell when an order ends, so a file folded with another ``decision_ttl`` is built again."""
    return f"{SCHEMA} -- decision_ttl: {orjson.dumps(decision_ttl, option=orjson.OPT_SORT_KEYS).decode()}\n"


def row(n: int, record: OrderRecord, changed: int) -> Row:
    """Write an order's row; ``changed`` is the offset of the last record that changed it."""
    order = record.order
    stands = record.state(-inf)  # before any time has passed: where its facts alone put it
    return (
        n,
        order.order_id,
        order.account,
        stands,
        _ends(record, stands),
        _listing(order.scope),
        order.reach is Reach.EVERYTHING,
        order.by.is_operator or order.scope.kind in WIDE,
        changed,
        encode(record),
    )


def _ends(record: OrderRecord, stands: OrderState) -> float:
    """When the order ends or ended, in seconds since the epoch; infinity where nothing says so yet."""
    match stands:
        case OrderState.IN_FORCE:
            until = record.until
            return inf if until is None else until
        case OrderState.RELEASED | OrderState.REJECTED:
            fact = record.fact(FactKind.RELEASED) or record.fact(FactKind.REJECTED)
            return fact.at if fact else inf
        case _:
            return inf


def _listing(scope: Scope) -> str:
    """Name the listing of a provider's call history in which the calls of a scope are found."""
    match scope.kind:
        case ScopeKind.CAMPAIGN | ScopeKind.NUMBER_IN_CAMPAIGN:
            return f"campaign {scope.campaign_id}"
        case ScopeKind.AGENT:
            return f"agent {scope.agent_id}"
        case ScopeKind.NUMBER:
            return "numbers"
        case ScopeKind.CALL:
            return CALLS
