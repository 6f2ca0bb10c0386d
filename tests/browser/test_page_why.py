"""Why a call was or was not stopped, and what led to an order, on the page in Chromium."""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.kafka.service_stage import ACCOUNT, Stage, running, staged
from tests.kafka.test_limits import NUMBER, provoke, registered, the_order, with_rules

pytestmark = [pytest.mark.browser, pytest.mark.kafka]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ruled(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    prefix = f"w{secrets.token_hex(4)}."
    async with (
        staged(kafka_servers, prefix, tmp_path_factory.mktemp("why")) as stage,
        running(with_rules(stage.settings)),
    ):
        yield stage


async def find(page: Page, call_id: str) -> Locator:
    await page.get_by_label("Call ID", exact=True).fill(call_id)
    await page.get_by_role("button", name="Show its story").click()
    return page.get_by_role("dialog", name=f"Call {call_id}")


async def test_a_call_says_what_its_orders_and_the_rules_made_of_it(ruled: Stage, open_page: OpenPage) -> None:
    campaign, ids = await registered(ruled, 30)
    await provoke(ruled, "whole", campaign)
    held = await the_order(ruled, campaign, "awaiting_approval")
    async with open_page(ruled.url) as watched:
        call = await find(watched.page, ids[5])
        await expect(call).to_contain_text("Not stopped: the order waits for approval: it would stop")
        await expect(call).to_contain_text("It still waits, and can be stopped")
        aimed = call.get_by_role("list", name="Orders aimed at the call").get_by_role("listitem")
        await expect(aimed).to_have_count(1)
        await expect(aimed).to_contain_text(f"rule whole: campaign {campaign} · enforce · awaits approval")
        rules = call.get_by_role("list", name="What the rules say", exact=True)
        await rules.get_by_text("whole", exact=True).click()
        await expect(rules).to_contain_text("event.args.bad == 'whole'")
        await expect(rules).to_contain_text("no match")

        await call.get_by_role("button", name=f"Order {held['order_id']}").click()
        order = watched.page.get_by_role("dialog", name=f"campaign {campaign} at {ACCOUNT}")
        await expect(order).to_contain_text("event.args.bad == 'whole'")
        limits = order.get_by_role("list", name="Limits consulted")
        await expect(limits).to_contain_text("of at most 20 calls in 1 h")
        await expect(limits).to_contain_text("over")
        await order.get_by_role("button", name="Back").click()
        await expect(call).to_contain_text("Not stopped")
        await expect(call.get_by_role("button", name="Back")).to_be_hidden()


async def test_an_order_of_a_rule_leads_to_the_call_it_matched_and_that_tells_the_rest(
    ruled: Stage, open_page: OpenPage
) -> None:
    campaign, ids = await registered(ruled, 5)
    number = (await ruled.ask("GET", f"/calls/{ACCOUNT}/{ids[4]}")).body["number"]
    await provoke(ruled, "one", campaign, number)
    words = f"number •••{number[-4:]}"
    made = await the_order(ruled, words, "in_force")
    await ruled.eventually(f"/stop-orders/{made['order_id']}", lambda body: body["counts"]["confirmed"] == 1)
    (evidence,) = (await ruled.ask("GET", f"/stop-orders/{made['order_id']}")).body["evidence"]
    async with open_page(ruled.url, width=390, scheme="dark") as watched:
        page = watched.page
        call = await find(page, ids[4])
        await expect(call).to_contain_text("Stopped: rule one ordered it")
        story = await call.get_by_role("list", name="Story of the call").inner_text()
        steps = ["Rule one matched", "Order let through by guard: within the limits", "Request 1", "Confirmed"]
        assert sorted(steps, key=story.index) == steps
        await call.get_by_role("button", name=f"Order {made['order_id']}").click()
        order = page.get_by_role("dialog", name=f"{words} at {ACCOUNT}")
        await order.get_by_role("button", name=evidence["event"]["call_id"]).click()
        matched = page.get_by_role("dialog", name=f"Call {evidence['event']['call_id']}")
        await expect(matched).to_contain_text("1 of 1 event")
        everything = await page.content()
        assert number.lstrip("+") not in everything
        assert NUMBER.lstrip("+") not in everything
        sizes = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert sizes[0] <= sizes[1]


async def test_a_call_that_nothing_is_aimed_at_says_so(ruled: Stage, open_page: OpenPage) -> None:
    _, ids = await registered(ruled, 2)
    async with open_page(ruled.url, role="viewer") as watched:
        call = await find(watched.page, ids[1])
        await expect(call).to_contain_text("Not stopped: no order is aimed at it. It still waits, and can be stopped.")
        await expect(call.get_by_role("list", name="Orders aimed at the call")).to_have_count(0)
