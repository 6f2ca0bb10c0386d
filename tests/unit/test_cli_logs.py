"""What logs look like, and what never stands in them."""

import io
import logging
from collections.abc import Iterator

import orjson
import pytest
from pydantic import SecretStr

from consumer import logs
from consumer.model.accounts import Account
from consumer.model.masking import Mask

NUMBER = "+918882876897"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A log stream, as set up for a service; the test's own logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    logs.configure(logging.INFO, written)
    yield written
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


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


def test_a_terminal_gets_short_lines() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = Terminal()
    logs.configure(logging.INFO, stream)
    logging.getLogger("consumer.test").warning("look at this")
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)
    assert "look at this" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
    assert "{" not in stream.getvalue()


def test_an_unknown_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.LEVEL_VARIABLE, "LOUD")
    with pytest.raises(ValueError, match="write one of DEBUG"):
        logs.level_from_environment()
