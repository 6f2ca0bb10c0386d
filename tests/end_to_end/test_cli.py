"""The command line against a service, a broker and a simulated provider that are all real processes."""

import json
import signal
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command_line import Running, all_gone, call, running, until
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

ACCOUNT = "acme-ringg"
SECRET = "webhook-secret-of-the-test"
STANDING = {"campaigns": [], "speed": 1, "dial": {"per_second": 0.001, "ring_seconds": 600}}
"""Nothing is dialled but the first call: what registers stays waiting."""


@dataclass(frozen=True)
class Stage:
    directory: Path
    service: Running
    port: int
    provider_port: int

    def call(self, *arguments: str) -> Any:
        return call(*arguments, "--config", "callbreaker.yaml", cwd=self.directory)

    def json(self, *arguments: str) -> Any:
        done = self.call(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def api(self, path: str) -> tuple[int, Any]:
        """Ask as the commands do; starting one each time that something is waited for would take a while."""
        return ask_api(self.directory, self.port, path)

    def provider(self, method: str, path: str, body: Any = None) -> Any:
        return _ask(self.provider_port, method, f"/_simulator/{path}", body)[1]

    def campaign(self, calls: int) -> tuple[str, list[str]]:
        """Let the provider register calls; gives the campaign and the calls once the service has seen them all."""
        campaign = self.provider("POST", "campaigns", {"calls": calls, "register_per_second": 1000})["campaign_id"]
        path = f"calls?campaign_id={campaign}&status=registered"
        until(lambda: self.provider("GET", f"calls?campaign_id={campaign}")["total"] == calls)
        until(lambda: self.provider("GET", "verdict")["webhooks_waiting"] == 0)
        ids = [row["call_id"] for row in self.provider("GET", path)["calls"]]
        until(lambda: all(self.api(f"calls/{ACCOUNT}/{one}")[0] == 200 for one in ids))
        return campaign, ids

    def confirmed(self, order: str, calls: int) -> None:
        """Wait until so many calls of an order are confirmed as stopped."""
        until(lambda: len(self.api(f"terminations?order_id={order}&outcome=confirmed")[1]["items"]) == calls)
        found = ("terminations", "--order", order, "--outcome", "confirmed")
        assert len(self.json(*found)["items"]) == calls


def _ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ask_api(directory: Path, port: int, path: str) -> tuple[int, Any]:
    """GET from the operator API of a service with the token that it has left for its owner."""
    token = (directory / ".callbreaker" / "token").read_text()
    return _ask(port, "GET", f"/api/v1/{path}", Authorization=f"Bearer {token}")


def _configure(directory: Path, port: int, provider_port: int) -> None:
    (directory / "callbreaker.yaml").write_text(f"""
accounts:
  {ACCOUNT}:
    provider: ringg
    api_key: api-key-of-the-test
    base_url: http://127.0.0.1:{provider_port}/ca/api/v0
    webhook:
      auth: {{type: header, name: X-Webhook-Secret, secret: {SECRET}}}
      fields: {{campaign_id: custom_args_values.campaign_id}}
rules:
  - {{name: opt-out, handler: opt_out, mode: enforce}}
http: {{port: {port}}}
""")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("command-line")
    port, provider_port = free_port(), free_port()
    _configure(directory, port, provider_port)
    (directory / "scenario.json").write_text(json.dumps(STANDING))
    simulate = (
        *("simulate", "--port", str(provider_port), "--scenario", "scenario.json"),
        *("--webhook-url", f"http://127.0.0.1:{port}/webhooks/{ACCOUNT}"),
        *("--webhook-secret", SECRET, "--api-key", "api-key-of-the-test"),
    )
    with (
        running("run", "--config", "callbreaker.yaml", cwd=directory) as service,
        running(*simulate, cwd=directory) as provider,
    ):
        service.until_it_says("callbreaker is up")
        provider.until_it_says("the simulated provider is up")
        until(lambda: _ask(port, "GET", "/readyz")[0] == 200)
        yield Stage(directory, service, port, provider_port)
        brokers = service.children()
        assert service.ends(signal.SIGTERM) == 0
        assert all_gone(brokers)
        assert provider.ends(signal.SIGTERM) == 0


def test_run_says_where_everything_is_and_keeps_its_token_for_its_owner(stage: Stage) -> None:
    said = stage.service.said
    token = stage.directory / ".callbreaker" / "token"
    assert f"http://127.0.0.1:{stage.port}/webhooks/{ACCOUNT}" in said
    assert f"http://127.0.0.1:{stage.port}/\n" in said
    assert token.read_text() in said
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def test_a_campaign_is_stopped_listed_explained_and_released(stage: Stage) -> None:
    campaign, ids = stage.campaign(12)
    done = stage.call("stop", "--account", ACCOUNT, "--campaign", campaign, "--reason", "wrong price list")
    assert done.returncode == 0, done.stderr
    assert "is in_force" in done.stdout
    order = done.stdout.split()[2]
    stage.confirmed(order, len(ids))
    listed = next(line for line in stage.call("orders").stdout.splitlines() if line.startswith(order))
    assert f"campaign {campaign} of {ACCOUNT}" in listed
    assert "wrong price list" in listed
    explained = stage.call("explain", ACCOUNT, ids[0]).stdout
    assert "queued → registered" in explained
    assert f"operator local ordered to stop campaign {campaign}, “wrong price list” [{order}]" in explained
    assert "request 1 to the provider" in explained
    assert "confirmed: stopped; the call is cancelled" in explained
    assert "released" in stage.call("release", order, "--reason", "mended").stdout
    assert stage.json("orders", "--state", "released")["items"][0]["order_id"] == order
    assert stage.provider("GET", "verdict")["calls_by_status"]["cancelled"] == len(ids)


def test_several_calls_behind_one_option_are_stopped_and_no_other(stage: Stage) -> None:
    _, ids = stage.campaign(5)
    before = stage.provider("GET", "verdict")["calls_by_status"]["cancelled"]
    order = stage.json("stop", "--account", ACCOUNT, "--call", *ids[:3], "--reason", "these three")["order_id"]
    stage.confirmed(order, 3)
    assert {t["call_id"] for t in stage.json("terminations", "--order", order)["items"]} == set(ids[:3])
    assert stage.provider("GET", "verdict")["calls_by_status"]["cancelled"] == before + 3


def test_a_shadow_order_records_and_sends_nothing(stage: Stage) -> None:
    campaign, ids = stage.campaign(3)
    requests = stage.provider("GET", "verdict")["terminate_requests"]
    shadow = ("--mode", "shadow", "--hold", "24h", "--reason", "only looking")
    order = stage.json("stop", "--account", ACCOUNT, "--campaign", campaign, *shadow)["order_id"]
    until(lambda: len(stage.api(f"terminations?order_id={order}&outcome=shadow")[1]["items"]) == len(ids))
    assert stage.provider("GET", "verdict")["terminate_requests"] == requests


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("stop", "--account", "nobody", "--campaign", "c", "--reason", "r"), "the configured ones are acme-ringg"),
        (("stop", "--account", ACCOUNT, "--number", "12", "--reason", "r"), "E.164"),
        (("release", "op-nothing", "--reason", "r"), "no stop order has this id"),
        (("explain", ACCOUNT, "never/seen"), "no event of account acme-ringg"),
        (("orders", "--token", "not-the-token"), "CALLBREAKER_TOKEN"),
        (("rejected", "replay", "0-99999"), "nothing with this id is kept"),
    ],
)
def test_what_the_api_refuses_is_one_paragraph_and_exit_code_1(
    stage: Stage, arguments: tuple[str, ...], says: str
) -> None:
    done = stage.call(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_only_an_order_that_waits_for_approval_can_be_approved_or_rejected(stage: Stage) -> None:
    order = stage.json("stop", "--account", ACCOUNT, "--agent", "a-1", "--reason", "r")["order_id"]
    for change in ("approve", "reject"):
        done = stage.call(change, order)
        assert done.returncode == 1
        assert "the order is in_force" in done.stderr


def test_a_rejected_webhook_is_listed_and_stays_rejected_until_it_is_understood(stage: Stage) -> None:
    headers = {"X-Webhook-Secret": SECRET}
    assert _ask(stage.port, "POST", f"/webhooks/{ACCOUNT}", {"nothing": "known"}, **headers)[0] == 200
    kept = stage.json("rejected", "list")["items"]
    newest = kept[0]
    assert newest["account"] == ACCOUNT
    assert json.loads(newest["body"]) == {"nothing": "known"}
    assert newest["reason"] in stage.call("rejected", "list", "--limit", "1").stdout
    replayed = stage.call("rejected", "replay", newest["rejected_id"])
    assert replayed.returncode == 1
    assert "still rejected" in replayed.stderr
    assert len(stage.json("rejected", "list")["items"]) == len(kept)


def test_the_rejected_are_listed_newest_first_over_several_pages(stage: Stage) -> None:
    headers = {"X-Webhook-Secret": SECRET}
    for number in range(7):
        assert _ask(stage.port, "POST", f"/webhooks/{ACCOUNT}", {"number": number}, **headers)[0] == 200
    numbers: list[int] = []
    cursor = ""
    while cursor is not None and len(numbers) < 7:
        page = stage.api(f"rejected?limit=2&cursor={cursor}")[1]
        numbers += [json.loads(item["body"])["number"] for item in page["items"] if "number" in item["body"]]
        cursor = page["next_cursor"]
    assert numbers == [6, 5, 4, 3, 2, 1, 0]


def test_a_second_service_on_the_same_data_or_port_says_what_to_do(stage: Stage, tmp_path: Path) -> None:
    same_data = stage.call("run")
    assert same_data.returncode == 1
    assert "is in use by process" in same_data.stderr
    _configure(tmp_path, stage.port, stage.provider_port)
    same_port = call("run", "--config", "callbreaker.yaml", cwd=tmp_path)
    assert same_port.returncode == 1
    assert f"port {stage.port} on 127.0.0.1 cannot be listened on: Address already in use" in same_port.stderr
    assert "Traceback" not in same_data.stderr + same_port.stderr


def test_a_second_signal_ends_at_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    _configure(tmp_path, port, free_port())
    with running("run", "--config", "callbreaker.yaml", cwd=tmp_path) as service:
        service.until_it_says("callbreaker is up")
        started = service.children()
        assert started
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as sender:
            head = f"POST /webhooks/{ACCOUNT} HTTP/1.1\r\nHost: x\r\nX-Webhook-Secret: {SECRET}\r\nContent-Length: 9\r\n\r\n"
            sender.sendall(head.encode())
            until(lambda: b"callbreaker_webhooks_in_flight 1.0" in _metrics(port))
            service.process.send_signal(signal.SIGINT)
            until(lambda: "ending in order" in service.err.read_text())
            assert service.ends(signal.SIGINT) == 1
        until(lambda: all_gone(started))


def _metrics(port: int) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    finally:
        connection.close()
