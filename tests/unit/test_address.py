import socket

import pytest

from consumer.model.refusals import RefusedError
from consumer.service.address import advertised_url, reachable_at, shown_url
from consumer.settings import HttpSettings


@pytest.mark.parametrize(
    ("advertise", "url"),
    [
        ("10.0.0.1", "http://10.0.0.1:8080"),
        ("worker-3.internal", "http://worker-3.internal:8080"),
        ("fd00::1", "http://[fd00::1]:8080"),
        ("[fd00::1]", "http://[fd00::1]:8080"),
        ("http://worker-3:9", "http://worker-3:9"),
        ("https://worker-3.internal", "https://worker-3.internal"),
        ("http://[fd00::1]:80", "http://[fd00::1]:80"),
    ],
)
def test_others_are_told_a_host_with_the_port_that_was_taken_or_a_whole_address(advertise: str, url: str) -> None:
    assert advertised_url("127.0.0.1", 8080, HttpSettings(advertise=advertise).advertise) == url


@pytest.mark.parametrize(
    ("host", "shown", "advertised"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]", "[::1]"),
        ("worker-3", "worker-3", "worker-3"),
        ("0.0.0.0", "127.0.0.1", socket.gethostname()),
        ("::", "127.0.0.1", socket.gethostname()),
    ],
)
def test_without_being_told_it_is_where_we_listen(host: str, shown: str, advertised: str) -> None:
    assert shown_url(host, 1) == f"http://{shown}:1"
    assert advertised_url(host, 1) == f"http://{advertised}:1"


@pytest.mark.parametrize(
    "value",
    [
        *("worker:80", "http://", "ftp://worker", "a b", "worker/path", "http://worker/", "http://worker/path"),
        *("http://worker?", "http://worker?a=b", "http://worker#", "http://worker:99999", "http://wor\tker"),
        *("http://user:pass@worker", "user@worker", "0.0.0.0", "::", "http://0.0.0.0:80"),
    ],
)
def test_anything_else_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(RefusedError) as refused:
        reachable_at(value)
    assert value == "http://" or value not in str(refused.value)
