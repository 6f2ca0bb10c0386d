"""One installation of several processes: what the console's process does not hold, it asks of the one that does."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
import yaml
from aiokafka.admin import AIOKafkaAdminClient

from tests.end_to_end.command_line import call as command
from tests.end_to_end.service_process import API_KEY, SECRET, TOKEN
from tests.end_to_end.spread_stage import ACCOUNT, CALLS, PARTITIONS, PREFIX, Installation, spread_out
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.end_to_end, pytest.mark.timeout(400)]

SECRETS = (API_KEY, SECRET, TOKEN)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def spread(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    async with spread_out(kafka_servers, tmp_path_factory.mktemp("elsewhere")) as installation:
        yield installation


async def test_each_call_is_found_whichever_worker_holds_it(spread: Installation) -> None:
    holders = {partition: m.node for m in await spread.members() for partition in m.partitions}
    for call_id in CALLS:
        body = await spread.until_found(call_id)
        assert (body["call_id"], body["status"]) == (call_id, "registered")
        assert [event["status"] for event in body["history"]] == ["registered"]
    asked = {holders[spread.topics.partition_of_call(ACCOUNT, one)] for one in CALLS}
    assert len(asked) == 2


async def test_call_nobody_told_of_is_unknown_once_its_owner_says_so(spread: Installation) -> None:
    unknown = [f"unknown-{n}/%2F ?" for n in range(8)]
    assert len({spread.topics.partition_of_call(ACCOUNT, one) for one in unknown}) > 1
    for call_id in unknown:
        status, body, _ = await spread.get(f"/calls/{ACCOUNT}/{quote(call_id, safe='')}")
        assert (status, body["title"]) == (404, "no such call")


async def test_call_is_known_as_soon_as_its_webhook_has_been_answered(spread: Installation) -> None:
    for n in range(20):
        await spread.webhook(f"fresh-{n}")
        await spread.until_found(f"fresh-{n}")


async def test_accounts_and_page_show_what_other_processes_know(spread: Installation) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            status, body, _ = await spread.get("/accounts")
            (account,) = body["items"]
            if account["breaker"] is not None:
                break
            await asyncio.sleep(0.1)
    assert status == 200
    assert (account["breaker"], account["held"], account["backlog"]) == ("closed", None, 0)
    assert account["last_webhook_at"] is not None
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        spread.http.get(f"{spread.url}/api/v1/stream", headers=headers) as stream,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        while True:
            line = (await stream.content.readline()).decode()
            if line.startswith("data: {") and '"calls"' in line:
                snapshot = yaml.safe_load(line.removeprefix("data: "))
                if snapshot["calls"] is not None:
                    break
    assert snapshot["calls"] >= len(CALLS)
    assert snapshot["waiting"] == snapshot["calls"]
    assert snapshot["accounts"][0]["breaker"] == "closed"


async def test_explain_works_from_a_console_that_holds_no_call(spread: Installation, tmp_path: Path) -> None:
    arguments = ("explain", ACCOUNT, CALLS[0], "--url", spread.url, "--token", TOKEN)
    done = await asyncio.to_thread(command, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "queued → registered" in done.stdout


async def test_worker_tells_nobody_but_its_own_installation(spread: Installation) -> None:
    member = (await spread.members())[0]
    for path in ("report", f"calls/{ACCOUNT}/{CALLS[0]}"):
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"callbreaker-peer {API_KEY}"}):
            url = f"{member.url}/internal/v1/{path}?node={member.node}"
            async with spread.http.get(url, headers=headers) as answer:
                assert answer.status == 401


async def test_group_that_anybody_may_describe_holds_no_secret(spread: Installation) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=spread.servers)
    await admin.start()
    try:
        described = [
            await admin.describe_consumer_groups([f"{PREFIX}callbreaker-{role}"]) for role in ("correlate", "terminate")
        ]
    finally:
        await admin.close()
    members = [member for (response,) in described for member in response.groups[0][5]]
    assert len(members) == 3
    for member in members:
        assert b"http://127.0.0.1:" in member[3]
        assert not any(secret.encode() in part for secret in SECRETS for part in member[3:5])


async def test_silent_owner_is_a_503_that_names_partition_and_worker(spread: Installation) -> None:
    worker = spread.workers[0]
    mine = (await spread.held_by(worker))[0]
    other = (await spread.held_by(spread.workers[1]))[0]
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        status, body, headers = await spread.call(mine)
        await spread.until_found(other)
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    partition = spread.topics.partition_of_call(ACCOUNT, mine)
    assert (status, headers["Content-Type"]) == (503, "application/problem+json")
    assert int(headers["Retry-After"]) > 0
    assert f"partition {partition} of {PREFIX}call-events" in body["detail"]
    assert worker.node.read_text() in body["detail"]
    assert (await spread.until_found(mine))["call_id"] == mine


async def test_calls_of_a_killed_worker_are_found_again_and_never_said_to_be_unknown(spread: Installation) -> None:
    worker = spread.workers[0]
    theirs = await spread.held_by(worker)
    os.kill(worker.pid, signal.SIGKILL)
    assert (await spread.call(theirs[0]))[0] == 503
    for call_id in theirs:
        assert (await spread.until_found(call_id))["status"] == "registered"
    members = await spread.groups.members("correlate", asked_after=time.monotonic())
    assert [member.partitions for member in members] == [frozenset(range(PARTITIONS))]
