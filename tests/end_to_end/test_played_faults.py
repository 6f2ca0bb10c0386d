"""Every way in which a simulated provider misbehaves: what was ordered is stopped, nothing else is, and each call ends."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from consumer.simulate.calls import TERMINABLE, Status
from tests.end_to_end.played_stage import LIVE, Account, Player, having, playing, sends

pytestmark = [pytest.mark.kafka]

CALLS = 143
WAITING = CALLS - LIVE
Faults = tuple[tuple[str, dict[str, Any]], ...]
ALL_CONFIRMED = {"confirmed": WAITING}

FAULTS: dict[str, tuple[Faults, dict[str, int]]] = {
    "unauthorized-for-a-while": ((("unauthorized", {"count": 3}),), ALL_CONFIRMED),
    "forbidden": ((("forbidden", {"count": 2}),), ALL_CONFIRMED),
    "throttled-seconds": ((("throttled", {"count": 2, "retry_after": "seconds", "delay_seconds": 1}),), ALL_CONFIRMED),
    "throttled-date": ((("throttled", {"count": 2, "retry_after": "date", "delay_seconds": 1}),), ALL_CONFIRMED),
    "throttled-none": ((("throttled", {"count": 2}),), ALL_CONFIRMED),
    "server-error-applied": ((("server-error", {"count": 2, "applied": True}),), ALL_CONFIRMED),
    "server-error": ((("server-error", {"count": 2}),), ALL_CONFIRMED),
    "bad-gateway": ((("server-error", {"count": 1, "status": 502}),), ALL_CONFIRMED),
    "timeout-applied": ((("timeout", {"count": 2, "applied": True}),), ALL_CONFIRMED),
    "timeout": ((("timeout", {"count": 2}),), ALL_CONFIRMED),
    "reset": ((("reset", {"count": 2}),), ALL_CONFIRMED),
    "reset-applied": ((("reset", {"count": 2, "applied": True}),), ALL_CONFIRMED),
    "slow": ((("slow", {"delay_seconds": 0.8}),), ALL_CONFIRMED),
    "lie": ((("lie", {"count": 2}),), ALL_CONFIRMED),
    "ignore-ids": ((("ignore-ids", {"share": 0.1, "count": 2}),), ALL_CONFIRMED),
    "poison": ((("poison", {}),), {"confirmed": WAITING - 1, "failed": 1}),
    "repeat": ((("repeat", {"times": 3}),), ALL_CONFIRMED),
    "lose": ((("lose", {"share": 0.5}),), ALL_CONFIRMED),
    "late": ((("late", {"share": 0.5, "delay_seconds": 1.5}),), ALL_CONFIRMED),
    "reorder": ((("reorder", {"delay_seconds": 1.0}),), ALL_CONFIRMED),
    "reads-fail": (
        (
            ("lie", {"count": 2}),
            ("lose", {}),
            ("server-error", {"on": "read", "count": 2}),
            ("throttled", {"on": "read", "count": 1}),
        ),
        ALL_CONFIRMED,
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def players(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Player]]:
    folder: Path = tmp_path_factory.mktemp("played-faults")
    accounts = {name: Account() for name in FAULTS}
    async with playing(kafka_servers, f"{folder.name}.", folder, accounts) as players:
        yield players


@pytest.mark.parametrize("name", FAULTS)
async def test_nothing_but_what_was_ordered_is_stopped_and_no_outcome_is_missing(
    players: dict[str, Player], name: str
) -> None:
    player = players[name]
    faults, expected = FAULTS[name]
    campaign = await player.campaign(CALLS)
    spared = await player.campaign(10, people="spared")
    waiting = having(campaign, *TERMINABLE)
    for kind, settings in faults:
        bad = {"call_ids": frozenset({waiting[50].id})} if kind == "poison" else {}
        player.fault(kind, **settings, **bad)
    order = await player.order({"campaign_id": campaign.id}, hold="until-released")
    ends = await player.settled(order, WAITING)
    verdict = player.verdict
    assert ends == expected, verdict
    assert set(verdict.faults_struck) == {kind for kind, _ in faults}
    assert verdict.violations == {}
    assert len(having(campaign, Status.ONGOING)) == LIVE
    assert len(having(spared, *TERMINABLE)) == 10
    assert verdict.ordered_still_terminable == expected.get("failed", 0)
    assert max(sends(t) for t in await player.terminations(order)) <= 3
