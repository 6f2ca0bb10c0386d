"""What logs look like, and what never stands in them."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest
from pydantic import SecretStr

from consumer import logs
from consumer.model.accounts import Account
from consumer.model.masking import Mask

NUMBER = "+918882876897"


@contextmanager
def configured(level: int, stream: io.StringIO) -> Iterator[io.StringIO]:
    """Log into ``stream`` as a service does; the test's own logging is put back afterwards."""
    root, client = logging.getLogger(), logging.getLogger("aiokafka")
    before = root.handlers[:], root.level, client.level
    logs.configure(level, stream)
    try:
        yield stream
    finally:
        root.handlers, root.level, client.level = before
        logging.captureWarnings(capture=False)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A log stream, as set up for a service."""
    with configured(logging.INFO, io.StringIO()) as written:
        yield written


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"call to {NUMBER} is stopped", "8882876897"),
        ("call to 918882876897 is stopped", "918882876897"),
        ("call to +91 888 287 6897 is stopped", "888 287"),
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("X-Webhook-Secret: open-sesame", "open-sesame"),
        ('{"api_key": "k-123456"}', "k-123456"),
        ("signed with whsec_MfKQ9r8GKYqrTwjU", "MfKQ9r8GKYqrTwjU"),
        ("password=hunter22&more=1", "hunter22"),
    ],
)
def test_numbers_and_credentials_are_masked(text: str, secret: str) -> None:
    masked = logs.MASK.text(text)
    assert secret not in masked
    assert "•••" in masked


@pytest.mark.parametrize(
    "text",
    [
        "call-events/3@123456789012 is skipped",
        "Kafka on 127.0.0.1:24071",
        "request 9b9ce2692b1b4f97b5c97249a41b6bee for 15 calls",
        "call 8f14e45f-ceea-467f-9c1b-123456789012 is gone",
    ],
)
def test_offsets_addresses_and_ids_stay_readable(text: str) -> None:
    assert logs.MASK.text(text) == text


def test_a_known_secret_is_masked_wherever_it_stands() -> None:
    mask = Mask()
    mask.never_show(["innocent looking words"])
    assert mask.text("he said: innocent looking words!") == "he said: ••••!"


def test_every_secret_of_the_settings_is_known() -> None:
    account = Account.model_validate(
        {
            "name": "a",
            "provider": "ringg",
            "api_key": "key-1",
            "webhook": {"auth": {"type": "bearer", "secret": "secret-1"}},
        }
    )
    assert set(logs.secrets_in({"a": (account,), "b": SecretStr("other")})) == {"key-1", "secret-1", "other"}


def test_a_pipe_gets_json_lines_with_the_trace_masked_too(stream: io.StringIO) -> None:
    try:
        raise ValueError(f"nobody at {NUMBER}")
    except ValueError:
        logging.getLogger("consumer.test").exception("calling %s failed", NUMBER)
    line = orjson.loads(stream.getvalue())
    assert list(line)[:4] == ["at", "level", "logger", "event"]
    assert line["level"] == "error"
    assert line["event"] == "calling •••6897 failed"
    assert "ValueError" in line["exception"]
    assert NUMBER not in stream.getvalue()


def test_what_the_kafka_client_says_while_a_broker_starts_is_kept_back(stream: io.StringIO) -> None:
    client = logging.getLogger("aiokafka.consumer.group_coordinator")
    client.info("(Re-)joining group callbreaker-guard")
    client.error("Group Coordinator Request failed: [Error 15] GroupCoordinatorNotAvailableError")
    client.warning("Marking the coordinator dead (node 1)for group callbreaker-guard.")
    assert stream.getvalue() == ""
    client.error("Heartbeat failed: local member_id was not recognized")
    assert "Heartbeat" in stream.getvalue()


@pytest.mark.parametrize("name", ["aiokafka", "aiokafka.consumer.fetcher", "consumer.ingest.server"])
def test_what_is_said_again_and_again_is_counted(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    now = 1_000.0
    monkeypatch.setattr("consumer.logs.time.monotonic", lambda: now)
    client = logging.getLogger(name)
    for _ in range(1_501):
        client.error("Unable connect to node with id %s: %s", 1, "refused")
        client.error("Unable to update metadata from %s", [1])
    logging.getLogger("consumer.test").warning("mine")
    logging.getLogger("consumer.test").warning("mine")
    now += logs.AGAIN_SECONDS
    client.error("Unable connect to node with id %s: %s", 1, "refused")
    now += logs.AGAIN_SECONDS
    client.error("Unable connect to node with id %s: %s", 1, "refused")
    assert [orjson.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "Unable connect to node with id 1: refused",
        "Unable to update metadata from [1]",
        "mine",
        "mine",
        "Unable connect to node with id 1: refused (said 1,500 times more since)",
        "Unable connect to node with id 1: refused",
    ]


def test_news_and_traces_are_each_told(stream: io.StringIO) -> None:
    worker = logging.getLogger("consumer.kafka.worker")
    for _ in range(2):
        worker.info("guard holds partitions [0, 1]")
        worker.error("guard cannot go on", exc_info=ValueError("why"))
    assert stream.getvalue().count("guard holds") == stream.getvalue().count("guard cannot") == 2


def test_what_differs_each_time_is_not_remembered_for_ever(stream: io.StringIO) -> None:
    client = logging.getLogger("aiokafka")
    for n in range(3 * logs._REMEMBERED):
        client.error("request %s failed", n)
    assert stream.getvalue().count("\n") == 3 * logs._REMEMBERED
    (again,) = [
        one for handler in logging.getLogger().handlers for one in handler.filters if isinstance(one, logs._Again)
    ]
    assert len(again._said) <= logs._REMEMBERED


def test_at_debug_the_kafka_client_says_all() -> None:
    with configured(logging.DEBUG, io.StringIO()) as stream:
        for _ in range(3):
            logging.getLogger("aiokafka").error("Unable to update metadata from [1]")
    assert stream.getvalue().count("Unable to update") == 3


def test_a_terminal_gets_short_lines() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with configured(logging.INFO, Terminal()) as stream:
        logging.getLogger("consumer.test").warning("look at this")
    assert "look at this" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
    assert "{" not in stream.getvalue()


def test_an_unknown_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.LEVEL_VARIABLE, "LOUD")
    with pytest.raises(ValueError, match="write one of DEBUG"):
        logs.level_from_environment()
