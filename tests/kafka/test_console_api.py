"""The operator API as tools see it: real HTTP to a whole service on real Kafka."""

import asyncio
import io
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from consumer.console.routes import PREFIX
from consumer.kafka.connection import Connection
from consumer.kafka.order_feed import fact_record, order_record
from consumer.kafka.producer import Producer
from consumer.model.orders import Author, Fact, FactKind, StopOrder
from consumer.model.scopes import Scope
from consumer.service.service import Service
from tests.kafka.service_stage import ACCOUNT, SECRET, SPARE, TOKENS, Answer, Stage, running, staged

pytestmark = pytest.mark.kafka

PROBLEM = "application/problem+json"
NUMBER = "+4915112345678"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def up(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stage, Service]]:
    """One service for all tests here; each aims at ids of its own."""
    async with (
        staged(kafka_servers, f"a{secrets.token_hex(4)}.", tmp_path_factory.mktemp("console")) as stage,
        running(stage.settings) as service,
    ):
        yield stage, service


@pytest.fixture(scope="module")
def stage(up: tuple[Stage, Service]) -> Stage:
    return up[0]


def campaign_stop(**more: Any) -> dict[str, Any]:
    return {"account": ACCOUNT, "scope": {"campaign_id": f"c-{secrets.token_hex(4)}"}, "reason": "trying"} | more


async def give(stage: Stage, **more: Any) -> Answer:
    return await stage.ask("POST", "/stop-orders", campaign_stop(**more))


def problem(answer: Answer, status: int, field: str | None = None) -> str:
    """Check that an answer is these problem details; gives the detail."""
    assert (answer.status, answer.content_type) == (status, PROBLEM), answer
    assert answer.body["status"] == status
    assert answer.body["title"]
    assert answer.body.get("field") == field
    return str(answer.body["detail"])


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer \udcff\udcfe"}],
)
async def test_without_a_good_token_every_route_answers_401(stage: Stage, headers: dict[str, str]) -> None:
    for method, path in [("POST", "/stop-orders"), ("GET", "/stop-orders"), ("GET", "/accounts"), ("GET", "/stream")]:
        async with stage.http.request(method, f"{stage.url}{PREFIX}{path}", headers=headers) as answer:
            assert answer.status == 401
            assert answer.content_type == PROBLEM
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_role_that_does_not_reach_answers_403_and_says_which_does(stage: Stage) -> None:
    for role, path, needed in [
        ("viewer", "/stop-orders", "operator"),
        ("viewer", "/stop-orders/x/release", "operator"),
        ("operator", "/stop-orders/x/approve", "approver"),
        ("operator", "/stop-orders/x/reject", "approver"),
    ]:
        answer = await stage.ask("POST", path, {"reason": "r"}, role=role)
        assert f"needs the role {needed}" in problem(answer, 403)


async def test_an_order_is_given_shown_released_and_cannot_be_released_again(stage: Stage) -> None:
    given = await give(stage, reason="wrong script")
    assert given.status == 202
    assert given.body["state"] == "in_force"
    path = f"/stop-orders/{given.body['order_id']}"
    shown = (await stage.ask("GET", path, role="viewer")).body
    assert (shown["who"], shown["rule"], shown["reason"]) == ("the-operator", None, "wrong script")
    assert (shown["reach"], shown["hold"], shown["mode"]) == ("known", "until-released", "enforce")
    assert shown["scope_in_words"].startswith("campaign c-")
    assert set(shown["counts"]) >= {"matched", "requested", "accepted", "confirmed", "missed", "not_found", "expired"}
    assert set(shown["counts"]) >= {"failed", "unconfirmed"}

    released = await stage.ask("POST", f"{path}/release", {"reason": "right again"}, role="approver")
    assert released.status == 200
    assert released.body["state"] == "released"
    assert released.body["changes"][0]["who"] == "the-approver"
    assert "released" in problem(await stage.ask("POST", f"{path}/release", {"reason": "again"}), 409)


async def test_an_order_stops_the_calls_it_names_and_says_what_came_of_them(stage: Stage) -> None:
    campaign, ids = await stage.campaign(4)
    for call_id in ids:
        await stage.eventually(f"/calls/{ACCOUNT}/{call_id}", lambda _: True)
    given = await stage.ask(
        "POST", "/stop-orders", {"account": ACCOUNT, "scope": {"call_ids": ids[2:]}, "reason": "two of four"}
    )
    order_id = given.body["order_id"]
    counts = (await stage.eventually(f"/stop-orders/{order_id}", lambda b: b["counts"]["confirmed"] == 2))["counts"]
    assert (counts["matched"], counts["requested"], counts["accepted"], counts["missed"]) == (2, 2, 2, 0)
    found = (await stage.ask("GET", f"/terminations?order_id={order_id}&outcome=confirmed")).body["items"]
    assert {one["call_id"] for one in found} == set(ids[2:])
    story = (await stage.ask("GET", f"/calls/{ACCOUNT}/{ids[2]}")).body
    assert (story["campaign_id"], story["status"], story["terminable"]) == (campaign, "cancelled", False)
    assert [event["status"] for event in story["history"]] == ["registered", "cancelled"]
    assert story["terminations"][0]["requests"][0]["http_status"] == 200
    assert story["orders"][0]["reason"] == "two of four"


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"account": "nobody"}, 422, "account"),
        ({"scope": {}}, 422, "scope"),
        ({"scope": {"campaign_id": ""}}, 422, "scope.campaign_id"),
        ({"scope": {"call_ids": []}}, 422, "scope.call_ids"),
        ({"scope": {"campaign_id": "a", "agent_id": "b"}}, 422, "scope"),
        ({"scope": {"call_ids": ["a"], "mobile_numbers": [NUMBER]}}, 422, "scope"),
        ({"scope": {"campaign": "a"}}, 422, "scope.campaign"),
        ({"scope": {"mobile_numbers": [NUMBER, "12345"]}}, 422, "scope.mobile_numbers"),
        ({"scope": {"call_ids": "a"}}, 422, "scope.call_ids"),
        ({"scope": {"campaign_id": "a" * 300}}, 422, "scope.campaign_id"),
        ({"scope": []}, 422, "scope"),
        ({"reason": None}, 422, "reason"),
        ({"reason": "  "}, 422, "reason"),
        ({"hold": "a while"}, 422, "hold"),
        ({"mode": "loud"}, 422, "mode"),
        ({"mode": "canary", "canary_share": 0}, 422, "canary_share"),
        ({"why": "typing error"}, 422, "why"),
        ({"account": SPARE, "scope": {"agent_id": "a"}, "reach": "everything"}, 409, "reach"),
        ({"scope": {"call_ids": ["a"]}, "reach": "everything"}, 409, "reach"),
    ],
)
async def test_an_order_that_cannot_be_meant_is_refused_at_its_field(
    stage: Stage, change: dict[str, Any], status: int, field: str
) -> None:
    answer = await give(stage, **change)
    detail = problem(answer, status, field)
    assert NUMBER not in detail


async def test_a_body_that_is_no_json_answers_400_and_one_that_is_too_large_413(stage: Stage) -> None:
    headers = {"Authorization": f"Bearer {TOKENS['operator']}"}
    url = f"{stage.url}{PREFIX}/stop-orders"
    for body, status in [(b"not json", 400), (b"", 400), (b'"' + b"a" * 4_000_000 + b'"', 413)]:
        async with stage.http.post(url, data=io.BytesIO(body), headers=headers) as answer:
            assert (answer.status, answer.content_type) == (status, PROBLEM)


async def test_an_order_may_name_ten_thousand_calls(stage: Stage) -> None:
    ids = [f"{secrets.token_hex(16)}-{n}" for n in range(10_000)]
    given = await give(stage, scope={"call_ids": ids})
    assert given.status == 202
    shown = (await stage.ask("GET", f"/stop-orders/{given.body['order_id']}")).body
    assert shown["scope_in_words"] == "10000 calls"


async def test_the_same_idempotency_key_gives_one_order_and_never_another(stage: Stage) -> None:
    body, headers = campaign_stop(), {"Idempotency-Key": secrets.token_hex(8)}
    answers = [await stage.ask("POST", "/stop-orders", body, headers=headers) for _ in range(3)]
    assert {answer.body["order_id"] for answer in answers} == {answers[0].body["order_id"]}
    assert [answer.status for answer in answers] == [202, 202, 202]
    other = await stage.ask("POST", "/stop-orders", body | {"reason": "another"}, headers=headers)
    assert "new one for each order" in problem(other, 422, "Idempotency-Key")
    elsewhere = await stage.ask("POST", "/stop-orders", body, headers=headers, role="approver")
    assert elsewhere.body["order_id"] != answers[0].body["order_id"]
    bad = await stage.ask("POST", "/stop-orders", body, headers={"Idempotency-Key": "x" * 201})
    problem(bad, 400, "Idempotency-Key")


async def test_a_canary_of_an_operator_stops_its_share_and_no_more(stage: Stage) -> None:
    given = await give(stage, mode="canary")
    assert (await stage.ask("GET", f"/stop-orders/{given.body['order_id']}")).body["canary_share"] == 0.1


async def test_lists_go_on_where_the_cursor_says_while_they_grow(stage: Stage) -> None:
    given = [(await give(stage, account=SPARE)).body["order_id"] for _ in range(5)]
    seen: list[str] = []
    query = f"/stop-orders?account={SPARE}&state=in_force&limit=2"
    cursor = ""
    for _ in range(20):
        answer = (await stage.ask("GET", query + cursor)).body
        seen += [item["order_id"] for item in answer["items"]]
        await give(stage, account=SPARE)
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    assert [one for one in seen if one in given] == given[::-1]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("/stop-orders?limit=0", "limit"),
        ("/stop-orders?limit=501", "limit"),
        ("/stop-orders?limit=%C2%B2", "limit"),
        ("/stop-orders?cursor=%C3%A4", "cursor"),
        ("/stop-orders?cursor=bm9uZQ", "cursor"),
        ("/stop-orders?state=sleeping", "state"),
        ("/terminations?outcome=perhaps", "outcome"),
        ("/terminations?outcom=missed", "outcom"),
        ("/stop-orders?stat=released", "stat"),
        ("/rejected?account=any", "account"),
        ("/terminations?cursor=WzFd", "cursor"),
    ],
)
async def test_a_list_that_cannot_be_meant_is_refused_at_its_field(stage: Stage, query: str, field: str) -> None:
    problem(await stage.ask("GET", query), 422, field)


async def test_what_is_not_there_answers_404_or_405_as_problem(stage: Stage) -> None:
    for path in ("/stop-orders/op-none", f"/calls/{ACCOUNT}/none", "/calls/nobody/none", "/no-such-route"):
        problem(await stage.ask("GET", path), 404)
    answer = await stage.ask("DELETE", "/stop-orders")
    problem(answer, 405)
    assert answer.headers["Allow"] == "GET, POST"


async def test_an_id_of_any_characters_is_found_again(stage: Stage) -> None:
    call_id = "50% of/this {id} ünï"
    body = {"event_type": "call_started", "call_id": call_id, "to_number": NUMBER, "status": "ongoing"}
    headers = {"X-Webhook-Secret": SECRET}
    async with stage.http.post(f"{stage.url}/webhooks/{ACCOUNT}", json=body, headers=headers) as answer:
        assert answer.status == 200
    found = await stage.eventually(f"/calls/{ACCOUNT}/{quote(call_id, safe='')}", lambda _: True)
    assert (found["call_id"], found["status"]) == (call_id, "ongoing")


async def test_accounts_say_what_they_can_do_and_how_sending_goes(stage: Stage) -> None:
    items = (await stage.ask("GET", "/accounts", role="viewer")).body["items"]
    assert [item["account"] for item in items] == [ACCOUNT, SPARE]
    assert items[0]["capabilities"]["by_id"] is True
    assert items[0]["rate"] == {"requests_per_second": 5.0, "burst": 5}
    assert {"breaker", "held", "backlog", "last_webhook_at", "last_success_at"} <= set(items[0])
    assert items[1]["last_webhook_at"] is None


async def test_a_held_order_is_approved_or_rejected_by_an_approver(
    up: tuple[Stage, Service], kafka_servers: str
) -> None:
    stage, service = up
    connection = Connection(kafka_servers, topic_prefix=stage.settings.kafka.topic_prefix)
    by = Author("rule", "failing-campaign", "1", "abc")
    producer = Producer(connection)
    await producer.start()
    try:
        for order_id in ("held-1", "held-2"):
            order = StopOrder(order_id, ACCOUNT, Scope.campaign(f"c-{order_id}"), "half of it fails", by)
            await producer.publish(order_record(service.feed.topic, order))
            held = Fact(order_id, FactKind.HELD, Author("guard", "guard"), "above 500 calls")
            await producer.publish(fact_record(service.feed.topic, held))
    finally:
        await producer.stop()
    for order_id, change, state in [("held-1", "approve", "in_force"), ("held-2", "reject", "rejected")]:
        await stage.eventually(f"/stop-orders/{order_id}", lambda b: b["state"] == "awaiting_approval")
        answer = await stage.ask("POST", f"/stop-orders/{order_id}/{change}", {"reason": "seen"}, role="approver")
        assert answer.body["state"] == state
        problem(await stage.ask("POST", f"/stop-orders/{order_id}/approve", {"reason": "r"}, role="approver"), 409)


async def test_two_who_release_at_once_leave_one_release(stage: Stage) -> None:
    path = f"/stop-orders/{(await give(stage)).body['order_id']}/release"
    answers = await asyncio.gather(*(stage.ask("POST", path, {"reason": str(n)}) for n in range(2)))
    assert {answer.status for answer in answers} <= {200, 409}
    assert len((await stage.ask("GET", path.removesuffix("/release"))).body["changes"]) == 1


async def test_the_openapi_document_tells_of_every_route_and_holds_together(up: tuple[Stage, Service]) -> None:
    stage, service = up
    async with stage.http.get(f"{stage.url}{PREFIX}/openapi.json") as answer:
        document = await answer.json()
    assert document["openapi"] == "3.1.0"
    told = {(method, path) for path, methods in document["paths"].items() for method in methods}
    routes = [route for route in service.host.routes if route.path.startswith(PREFIX) and route.method != "*"]
    assert told == {(route.method.lower(), route.path.replace(":[^/]+", "")) for route in routes}
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    for reference in _references(document):
        where: Any = document
        for part in reference.removeprefix("#/").split("/"):
            where = where[part]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


async def test_what_the_views_take_on_the_disk_is_shown(up: tuple[Stage, Service]) -> None:
    stage, service = up
    files = [file for file in stage.settings.data_dir.rglob("*.sqlite*") if file.is_file()]
    assert service.overview()["views_bytes"] >= 4_096 * sum(file.suffix == ".sqlite" for file in files)
    async with stage.http.get(f"{stage.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    for role in ("orders", "correlate", "guard", "terminate", "console"):
        (line,) = [line for line in lines if line.startswith(f'callbreaker_view_bytes{{role="{role}"}}')]
        assert float(line.split()[-1]) >= 4_096
