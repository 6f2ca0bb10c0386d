"""While views are read back the page says how far it is, calmly, and says nothing of it once that is done."""

import asyncio
import re
import shutil
from pathlib import Path

import pytest
from playwright.async_api import expect

from consumer.kafka.reader import GroupReader
from consumer.service.service import Role, Service
from tests.browser.conftest import WAIT_MS, OpenPage
from tests.kafka.service_stage import ACCOUNT, running, staged

pytestmark = pytest.mark.browser

CALLS = 150
EVENTS_A_POLL = 1
SECONDS_A_POLL = 0.4

expect.set_options(timeout=WAIT_MS)


async def test_page_shows_how_far_reading_back_is_and_that_it_is_done(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage:
        async with running(stage.settings):
            _, ids = await stage.campaign(CALLS)
            for call_id in ids:
                await stage.eventually(f"/calls/{ACCOUNT}/{call_id}", lambda _: True)
        shutil.rmtree(tmp_path / "views")
        poll = GroupReader.poll
        looked = asyncio.Event()

        async def slowly(reader: GroupReader, *, max_records: int, timeout_ms: int) -> object:
            if looked.is_set():
                return await poll(reader, max_records=max_records, timeout_ms=timeout_ms)
            await asyncio.sleep(SECONDS_A_POLL)
            return await poll(reader, max_records=EVENTS_A_POLL, timeout_ms=timeout_ms)

        monkeypatch.setattr(GroupReader, "poll", slowly)
        async with Service(stage.settings, frozenset(Role)) as service:
            work = asyncio.create_task(service.run())
            try:
                async with open_page(stage.url) as watched:
                    page = watched.page
                    rows = page.get_by_role("list", name="Reading back", exact=True).get_by_role("listitem")
                    row = rows.filter(has_text="Reading back calls")
                    await expect(row).to_have_text(
                        re.compile(
                            r"Reading back calls: [012] of 2 partitions · \d+ % · \d+ of 15\d events( · \d+ s left)?"
                        )
                    )
                    await expect(row).to_contain_text("left")
                    await expect(page.get_by_role("heading", name="Reading back", exact=True)).to_be_visible()
                    await expect(page.locator("#troubles")).to_be_hidden()
                    await expect(page.get_by_role("list", name="Readiness checks")).to_contain_text(
                        re.compile(r"calls \d+ %")
                    )
                    async with stage.http.get(f"{stage.url}/readyz") as answer:
                        assert answer.status == 503
                        reason = (await answer.json())["checks"]["correlate"]
                        assert re.fullmatch(
                            r"reading back: \d of 2 partitions, \d+%, \d+ of 15\d events(, \d+ s left)?", reason
                        )
                    async with stage.http.get(f"{stage.url}/metrics") as answer:
                        found = re.search(
                            r'callbreaker_view_rebuild_seconds_left\{role="correlate"\} (\S+)', await answer.text()
                        )
                        assert found
                        assert float(found[1]) > 0
                    looked.set()
                    await expect(page.get_by_role("heading", name="Working")).to_be_visible()
                    await expect(rows).to_have_count(0)
            finally:
                service.end()
                await work
