import asyncio
import re
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from consumer.service import listening
from tests.browser.conftest import WAIT_MS, OpenPage
from tests.kafka.service_stage import ACCOUNT, TOKENS, Stage, running, staged
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.browser

expect.set_options(timeout=WAIT_MS)


def the_orders(page: Page) -> Locator:
    return page.get_by_role("list", name="Stop orders", exact=True)


def the_order(page: Page, scope: str) -> Locator:
    return the_orders(page).get_by_role("article", name=re.compile(re.escape(scope)))


def the_form(page: Page) -> Locator:
    return page.get_by_role("region", name="Stop calls")


async def registered(stage: Stage, calls: int) -> tuple[str, list[str]]:
    """A campaign of which the service knows every call."""
    campaign, ids = await stage.campaign(calls)
    for call_id in ids:
        await stage.eventually(f"/calls/{ACCOUNT}/{call_id}", lambda _: True)
    return campaign, ids


async def fill_stop(page: Page, campaign: str, reason: str) -> None:
    form = the_form(page)
    await form.get_by_label("Account").select_option(ACCOUNT)
    await form.get_by_label("Campaign ID").fill(campaign)
    await form.get_by_label("Reason").fill(reason)
    await form.get_by_role("button", name="Review the stop").click()


async def heard_nothing_new(stage: Stage) -> None:
    """Listen as another page until a second without a change, which is only a comment."""
    headers = {"Authorization": f"Bearer {TOKENS['viewer']}"}
    async with (
        stage.http.get(f"{stage.url}/api/v1/stream", headers=headers) as stream,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        while not (await stream.content.readline()).startswith(b":"):
            pass


async def test_a_wrong_token_is_refused_and_asked_for_again(stage: Stage, open_page: OpenPage) -> None:
    async with open_page(stage.url, role=None) as watched:
        page, watched.expected = watched.page, ("401 (Unauthorized)",)
        await page.get_by_label("Access token").fill("not-a-token-of-anybody")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert").filter(has_text="not valid")).to_be_visible()
        await page.get_by_label("Access token").fill(TOKENS["operator"])
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("the-operator, operator")).to_be_visible()


async def test_a_token_in_the_address_signs_in_and_does_not_stay_there(stage: Stage, open_page: OpenPage) -> None:
    async with open_page(stage.url) as watched:
        page = watched.page
        await expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()
        assert "token" not in page.url
        assert await page.context.cookies() == []
        assert await page.evaluate("localStorage.length") == 0
        await page.reload()
        await expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Access token")).to_be_focused()
        assert await page.evaluate("sessionStorage.length") == 0


async def test_webhooks_show_as_they_come_in(stage: Stage, open_page: OpenPage) -> None:
    async with open_page(stage.url) as watched:
        page = watched.page
        await expect(page.get_by_role("heading", name="Working")).to_be_visible()
        checks = page.get_by_role("list", name="Readiness checks")
        assert "✗" not in await checks.inner_text()
        known = page.locator("#calls")
        before = int((await known.inner_text()).replace(",", ""))
        await registered(stage, 30)
        await expect(known).to_have_text(f"{before + 30:,}")
        account = page.get_by_role("row", name=re.compile(ACCOUNT))
        await expect(account.get_by_role("cell").last).to_have_text(re.compile(r"ago|none yet"))
        await expect(account).to_contain_text("calls by ID, 100 a request")
        await expect(page.locator("#disk")).to_have_text(re.compile(r"^\d[\d.,]* (kB|MB)$"))


async def test_a_stop_given_through_the_form_is_confirmed_and_released(stage: Stage, open_page: OpenPage) -> None:
    campaign, ids = await registered(stage, 130)
    async with open_page(stage.url) as watched:
        page = watched.page
        await fill_stop(page, campaign, "wrong script went live")
        confirm = page.get_by_role("dialog", name=f"Stop campaign {campaign} at {ACCOUNT}?")
        await expect(confirm).to_contain_text("by ID, up to 100 in a request, ahead of everything else")
        await expect(confirm).to_contain_text("Calls that register later are stopped too, until the order is released")
        await confirm.get_by_role("button", name="Stop now").click()

        order = the_order(page, campaign)
        await expect(order).to_contain_text("in force")
        await expect(order).to_contain_text("wrong script went live — the-operator")
        await expect(order).to_contain_text(re.compile("1[23][0-9] confirmed"))
        assert stage.simulator.verdict().violations == {}

        await order.get_by_role("button", name="Details").click()
        details = page.get_by_role("dialog", name=f"campaign {campaign} at {ACCOUNT}")
        rows = details.get_by_role("list", name="Terminations of this order").get_by_role("listitem")
        await expect(rows).to_have_count(25)
        await details.get_by_role("button", name="Show more").click()
        await expect(rows).to_have_count(50)
        await details.get_by_label("Outcome").select_option("not_found")
        await expect(rows).to_have_text(["none"])
        await details.get_by_role("button", name="Close").click()

        await order.get_by_role("button", name="Release").click()
        release = page.get_by_role("dialog", name=re.compile("^Release the stop"))
        await release.get_by_role("button", name="Release").click()
        await expect(release.get_by_role("alert")).to_contain_text("Say why")
        await release.get_by_label("Reason").fill("the script is right again")
        await release.get_by_role("button", name="Release").click()
        await expect(order).to_contain_text("released")
        await expect(order.get_by_role("button", name="Release")).to_be_hidden()
    assert len(ids) == 130


async def test_a_call_tells_its_story_and_no_number_in_full(stage: Stage, open_page: OpenPage) -> None:
    campaign, ids = await registered(stage, 5)
    number = (await stage.ask("GET", f"/calls/{ACCOUNT}/{ids[3]}")).body["number"]
    given = await stage.ask(
        "POST",
        "/stop-orders",
        {"account": ACCOUNT, "scope": {"mobile_numbers": [number]}, "reason": f"{number} asked us <b>twice</b>"},
    )
    await stage.eventually(f"/terminations?order_id={given.body['order_id']}&outcome=confirmed", lambda b: b["items"])
    async with open_page(stage.url) as watched:
        page = watched.page
        find = page.get_by_role("region", name="Find a call")
        await find.get_by_label("Call ID").fill("no-such-call")
        watched.expected = ("404 (Not Found)",)
        await find.get_by_role("button", name="Show its story").click()
        await expect(find.get_by_role("alert")).to_contain_text("no event of account")

        await find.get_by_label("Call ID").fill(ids[3])
        await page.keyboard.press("Enter")
        details = page.get_by_role("dialog", name=f"Call {ids[3]}")
        story = details.get_by_role("list", name="Story of the call")
        await expect(story).to_contain_text("To be stopped the-operator")
        text = await story.inner_text()
        steps = ["Registered at the provider", "To be stopped", "Request 1", "Answer: accepted", "Confirmed"]
        assert sorted(steps, key=text.index) == steps
        await expect(details).to_contain_text(f"•••{number[-4:]}")
        await expect(details).to_contain_text(campaign)
        everything = await page.content()
        assert number.lstrip("+") not in everything
        await details.get_by_role("button", name="Close").click()
        await expect(the_order(page, f"number •••{number[-4:]}")).to_contain_text("asked us <b>twice</b>")


async def test_what_is_wrong_in_the_form_is_said_at_its_field(stage: Stage, open_page: OpenPage) -> None:
    async with open_page(stage.url) as watched:
        page, form = watched.page, the_form(watched.page)
        await expect(form.get_by_label("Account")).to_have_value(ACCOUNT)
        await form.get_by_role("button", name="Review the stop").click()
        await expect(form.get_by_label("Campaign ID")).to_be_focused()
        await form.get_by_label("Campaign ID").fill("any")
        await form.get_by_role("button", name="Review the stop").click()
        await expect(form.get_by_label("Reason")).to_be_focused()
        await form.get_by_label("Reason").fill("trying")
        await form.get_by_role("radio", name="Numbers").check()
        await form.get_by_label("Phone numbers").fill("12345")
        await form.get_by_role("button", name="Review the stop").click()
        confirm = page.get_by_role("dialog", name=re.compile("^Stop number"))
        watched.expected = ("422 (Unprocessable",)
        await confirm.get_by_role("button", name="Stop now").click()
        await expect(confirm.get_by_role("alert")).to_contain_text("not E.164")
        await confirm.get_by_role("button", name="Back").click()
        await expect(form.get_by_label("Phone numbers")).to_have_attribute("aria-invalid", "true")


async def test_reach_and_holds_follow_what_the_provider_can_do(stage: Stage, open_page: OpenPage) -> None:
    async with open_page(stage.url) as watched:
        page, form = watched.page, the_form(watched.page)
        await form.get_by_text("How long, how far, how seriously").click()
        await expect(form.get_by_label("Hold")).to_have_value("until-released")
        await expect(form.get_by_label("Reach").get_by_role("option")).to_have_count(2)
        await form.get_by_role("radio", name="Calls").check()
        await expect(form.get_by_label("Reach").get_by_role("option")).to_have_count(1)
        await expect(form.get_by_label("Hold")).to_have_value("0")
        await form.get_by_label("Call IDs").fill("a\nb\na")
        await form.get_by_label("Reason").fill("trying")
        await form.get_by_label("Mode").select_option("shadow")
        await form.get_by_role("button", name="Review the stop").click()
        confirm = page.get_by_role("dialog", name=re.compile("Record a stop of 2 calls"))
        await expect(confirm).to_contain_text("Nothing is sent to the provider")
        await page.keyboard.press("Escape")
        await expect(confirm).to_be_hidden()


async def test_the_keyboard_alone_stops_a_campaign(stage: Stage, open_page: OpenPage) -> None:
    campaign, _ = await registered(stage, 3)
    async with open_page(stage.url, width=390) as watched:
        page = watched.page
        await page.get_by_role("link", name="Stop calls").press("Enter")
        await expect(the_form(page).get_by_label("Campaign ID")).to_be_focused()
        await page.keyboard.type(campaign)
        await page.keyboard.press("Tab")
        await page.keyboard.type("by hand")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Stop now")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(the_order(page, campaign)).to_contain_text("3 confirmed")


@pytest.mark.parametrize("width", [390, 1280])
async def test_nothing_sticks_out_of_the_screen(stage: Stage, open_page: OpenPage, width: int) -> None:
    campaign, _ = await registered(stage, 3)
    async with open_page(stage.url, width=width, scheme="dark") as watched:
        page = watched.page
        await fill_stop(page, campaign, "a reason that goes on and on without a blank " + "o" * 200)
        await page.get_by_role("button", name="Stop now").click()
        await expect(the_order(page, campaign)).to_be_visible()
        for close in (None, "Close"):
            sizes = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert sizes[0] <= sizes[1], await page.evaluate(
                "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
                ".map(e => e.tagName + '#' + e.id + '.' + e.className).join(' ')"
            )
            if close is None:
                await the_order(page, campaign).get_by_role("button", name="Details").click()
                await expect(page.get_by_role("button", name="Close")).to_be_in_viewport()


@pytest.mark.parametrize("width", [390, 901, 1151, 1280])
async def test_a_number_of_many_digits_stands_in_one_line_within_its_card(
    stage: Stage, open_page: OpenPage, width: int
) -> None:
    async with open_page(stage.url, width=width) as watched:
        await expect(watched.page.locator("#calls")).not_to_be_empty()
        figures = await watched.page.evaluate(
            """() => ["webhooks", "calls", "waiting", "disk", "terminations"].map((id) => {
                 const value = document.getElementById(id);
                 value.textContent = "7";
                 const line = value.clientHeight;
                 value.textContent = id === "disk" ? "999 GB" : "12,345,678";
                 const within = document.getElementById("glance").getBoundingClientRect().right;
                 return [id, value.clientHeight / line, value.getBoundingClientRect().right <= within];
               })"""
        )
        assert figures == [[name, 1, True] for name in ("webhooks", "calls", "waiting", "disk", "terminations")]


async def test_a_viewer_looks_and_cannot_touch(stage: Stage, open_page: OpenPage) -> None:
    campaign, _ = await registered(stage, 2)
    await stage.ask("POST", "/stop-orders", {"account": ACCOUNT, "scope": {"campaign_id": campaign}, "reason": "r"})
    async with open_page(stage.url, role="viewer") as watched:
        page = watched.page
        await expect(the_order(page, campaign)).to_be_visible()
        await expect(the_order(page, campaign).get_by_role("button", name="Release")).to_be_hidden()
        await expect(the_form(page)).to_contain_text("sign in as an operator")
        await expect(page.get_by_role("button", name="Review the stop")).to_be_hidden()


async def test_a_page_that_nobody_looks_at_gives_its_connection_back(stage: Stage, open_page: OpenPage) -> None:
    async with open_page(stage.url) as watched:
        page = watched.page
        live = page.get_by_role("status").filter(has_text="live")
        await expect(live).to_be_visible()
        for hidden in (True, False):
            await page.evaluate(
                "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
                " document.dispatchEvent(new Event('visibilitychange')) }",
                hidden,
            )
            await (expect(live).to_be_hidden() if hidden else expect(live).to_be_visible())


async def test_nothing_is_loaded_from_elsewhere_and_nothing_inline_may_run(stage: Stage, open_page: OpenPage) -> None:
    async with open_page(stage.url) as watched:
        page = watched.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        answer = await page.reload()
        assert answer is not None
        await expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert len(asked) > 5
        assert all(url.startswith(stage.url) for url in asked)


async def test_a_service_with_pages_open_ends_at_once_and_the_page_says_how_old_its_figures_are(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "CLOSE_SECONDS", 2 * PATIENCE_SECONDS)
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage, AsyncExitStack() as stack:
        async with running(stage.settings):
            watched = await stack.enter_async_context(open_page(stage.url))
            page = watched.page
            await expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()
            await heard_nothing_new(stage)
            await registered(stage, 4)
            await expect(page.locator("#calls")).to_have_text("4")
            watched.expected = ("net::ERR_", "503 (Service")
            ending = time.monotonic()
        assert time.monotonic() - ending < PATIENCE_SECONDS, "the open page is not waited for"
        await expect(page.get_by_role("alert").filter(has_text="Reconnecting since")).to_contain_text(
            re.compile(r"The figures are those of \d\d:\d\d:\d\d")
        )
        await expect(page.locator("body")).to_have_class(re.compile("stale"))
        async with running(stage.settings):
            await expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()
            await expect(page.get_by_role("alert").filter(has_text="Reconnecting")).to_be_hidden()
            await expect(page.locator("#calls")).to_have_text("4")
