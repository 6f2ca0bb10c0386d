"""Rules on the page in Chromium: the safety lever, their modes, and approving what waits."""

import re
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import OpenPage
from tests.kafka.service_stage import Stage, running, staged
from tests.kafka.test_limits import provoke, registered, the_order, with_rules

pytestmark = [pytest.mark.browser, pytest.mark.kafka]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ruled(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    prefix = f"r{secrets.token_hex(4)}."
    async with (
        staged(kafka_servers, prefix, tmp_path_factory.mktemp("rules")) as stage,
        running(with_rules(stage.settings)),
    ):
        yield stage


async def test_the_lever_is_pulled_and_released_with_a_reason_and_cannot_be_overlooked(
    ruled: Stage, open_page: OpenPage
) -> None:
    async with open_page(ruled.url) as watched:
        page = watched.page
        await page.get_by_role("button", name="Pull the safety lever").click()
        confirm = page.get_by_role("dialog", name="Pull the safety lever?")
        await expect(confirm).to_contain_text("What operators order is sent as before")
        await confirm.get_by_role("button", name="Pull it").click()
        await expect(confirm.get_by_role("alert")).to_contain_text("Say why")
        await confirm.get_by_label("Reason").fill("half of it goes wrong")
        await confirm.get_by_role("button", name="Pull it").click()
        rules = page.get_by_role("region", name="Rules")
        await expect(rules.get_by_role("status")).to_contain_text("half of it goes wrong — the-operator")
        await expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
        await expect(page.locator("#troubles")).to_contain_text("The safety lever is engaged, by the-operator")
        await page.get_by_role("button", name="Release the safety lever").click()
        release = page.get_by_role("dialog", name="Release the safety lever?")
        await release.get_by_label("Reason").fill("mended")
        await release.get_by_role("button", name="Release it").click()
        await expect(page.get_by_role("heading", name="Working")).to_be_visible()
        await expect(page.get_by_role("button", name="Pull the safety lever")).to_be_visible()


async def test_a_rule_is_set_to_another_mode(ruled: Stage, open_page: OpenPage) -> None:
    async with open_page(ruled.url) as watched:
        page = watched.page
        rule = page.get_by_role("article", name="Rule looks")
        await expect(rule).to_contain_text("shadow")
        await rule.get_by_role("button", name="canary").click()
        confirm = page.get_by_role("dialog", name="Set rule looks to canary?")
        await confirm.get_by_label("Reason").fill("it did well")
        await confirm.get_by_label("Share of the calls").fill("0")
        await confirm.get_by_role("button", name="Set to canary").click()
        await expect(confirm.get_by_role("alert")).to_contain_text("between 1 and 100")
        await confirm.get_by_label("Share of the calls").fill("25")
        await confirm.get_by_role("button", name="Set to canary").click()
        await expect(rule).to_contain_text("canary 25 %")
        await expect(rule).to_contain_text("set by the-operator, configured as shadow: it did well")
        await rule.get_by_role("button", name="shadow").click()
        back = page.get_by_role("dialog", name="Set rule looks to shadow?")
        await back.get_by_label("Reason").fill("enough")
        await back.get_by_role("button", name="Set to shadow").click()
        await expect(rule.get_by_text("canary 25 %")).to_be_hidden()


async def test_an_approver_approves_what_waits_knowing_how_many_calls_it_stops(
    ruled: Stage, open_page: OpenPage
) -> None:
    campaign, _ = await registered(ruled, 30)
    await provoke(ruled, "whole", campaign)
    await the_order(ruled, campaign, "awaiting_approval")
    async with open_page(ruled.url, role="operator") as watched:
        order = watched.page.get_by_role("article", name=re.compile(campaign))
        await expect(order).to_contain_text(re.compile(r"Waits for approval: it would stop \d+ calls"))
        await expect(order.get_by_role("button", name="Approve")).to_be_hidden()
    async with open_page(ruled.url, role="approver") as watched:
        page = watched.page
        order = page.get_by_role("article", name=re.compile(campaign))
        await expect(page.locator("#troubles")).to_contain_text("awaits approval")
        await order.get_by_role("button", name="Approve").click()
        confirm = page.get_by_role("dialog", name=re.compile("^Approve the stop"))
        await expect(confirm).to_contain_text(re.compile(r"it would stop (29|30) calls"))
        await confirm.get_by_label("Reason").fill("it is broken indeed")
        await confirm.get_by_role("button", name="Approve").click()
        await expect(order).to_contain_text("in force")
        await expect(order).to_contain_text(re.compile("(29|30) confirmed"))
        await expect(page.get_by_role("article", name="Rule whole")).to_contain_text("1 order, last")


async def test_a_viewer_sees_rules_and_touches_none(ruled: Stage, open_page: OpenPage) -> None:
    async with open_page(ruled.url, role="viewer", width=390, scheme="dark") as watched:
        page = watched.page
        await expect(page.get_by_role("article", name="Rule single")).to_contain_text("enforce")
        await expect(page.get_by_role("button", name="Pull the safety lever")).to_be_hidden()
        await expect(page.get_by_role("region", name="Rules").get_by_role("button")).to_have_count(0)
        sizes = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert sizes[0] <= sizes[1]
