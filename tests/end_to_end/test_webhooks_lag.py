"""Webhooks that lag behind what the simulated provider does: a call is stopped in an episode that nobody has told us of."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from consumer.simulate.calls import TERMINABLE, Status
from tests.end_to_end.played_stage import Account, Player, having, playing, scenario
from tests.kafka.helpers import until

pytestmark = [pytest.mark.kafka]

CALLS = 120
LAG_SECONDS = 4.0
RINGING = scenario(
    dial={"per_second": 20, "lines": 400, "ring_seconds": 0.2, "retry_after_seconds": 1_000},
    outcomes={"not_answered": 1.0, "failed": 0.0, "opt_out": 0.0},
)
"""Nobody answers: every call rings shortly and is in the queue again, for longer than the test takes."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def player(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Player]:
    folder: Path = tmp_path_factory.mktemp("webhooks-lag")
    account = Account(scenario=RINGING, settings={"confirm_within": "30s", "reconcile": "off"})
    async with playing(kafka_servers, f"{folder.name}.", folder, {"lagging": account}) as players:
        yield players["lagging"]


def settled(terminations: Any) -> bool:
    return all(t["outcome"] in {"confirmed", "missed"} for t in terminations["items"])


async def test_calls_that_were_stopped_after_a_retry_unheard_of_are_confirmed_and_asked_for_once(
    player: Player,
) -> None:
    campaign = await player.campaign(CALLS, told=False)
    await until(lambda: player.calls_known() == CALLS)
    player.fault("late", delay_seconds=LAG_SECONDS)
    await until(lambda: len(having(campaign, Status.RETRY)) > CALLS // 3)
    order = await player.order({"campaign_id": campaign.id})
    await until(lambda: not player.verdict.webhooks_waiting and not having(campaign, *TERMINABLE, Status.ONGOING))
    await player.eventually(f"/terminations?order_id={order}&limit=500", settled)
    told = await player.terminations(order)
    verdict = player.verdict
    stopped = {call.id for call in having(campaign, Status.CANCELLED)}
    assert {t["call_id"] for t in told if t["outcome"] == "confirmed"} == stopped
    assert sum(t["outcome"] == "confirmed" for t in told) == len(stopped) == CALLS
    assert any(t["outcome"] == "missed" for t in told), "no webhook was late enough for this to be tried"
    assert verdict.violations == {}
