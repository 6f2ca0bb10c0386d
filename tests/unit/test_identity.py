"""These values are stored in topics and name records for ever: a test that fails here has found a broken promise."""

import pytest

from consumer.kafka.topics import Topics
from consumer.model.identity import body_event_id, call_key, digest, mask_number, partition_of, termination_id


@pytest.mark.parametrize(
    ("key", "partition"),
    [
        (b"", 0),
        (b"acme-ringg", 14),
        (b"acme-ringg/4b30f5dc-7f86-4e4c-a3aa-15c01138559b", 59),
        ("acme-ringg/परीक्षा".encode(), 29),
    ],
)
def test_a_key_stays_in_its_partition_for_ever(key: bytes, partition: int) -> None:
    assert partition_of(key, 64) == partition


def test_a_termination_keeps_its_id_for_ever() -> None:
    assert termination_id("acme-ringg", "call-1", 0) == "889906caec3b667193d234ba5cd21411"
    assert termination_id("acme-ringg", "call-1", 1) == "2f1ab6720201b5e87dc0f91987f3d32d"


def test_a_body_without_an_id_is_named_by_account_and_bytes() -> None:
    assert body_event_id("acme-ringg", b'{"a":1}') == "body-d6179aed52c4bd03d55df450a97ad949"
    assert body_event_id("acme-ringg", b'{"a": 1}') != body_event_id("acme-ringg", b'{"a":1}')
    assert body_event_id("other", b'{"a":1}') != body_event_id("acme-ringg", b'{"a":1}')


def test_a_digest_knows_where_its_parts_end() -> None:
    assert digest(("ab", "c")) == "4162491f24e2a1dbaab3ca42bdf6415b"
    assert len({digest(parts) for parts in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ()]}) == 6
    assert len(digest(("x",), 6)) == 12


def test_the_key_of_a_call_names_its_account() -> None:
    assert call_key("acme-ringg", "a/b") == b"acme-ringg/a/b"


@pytest.mark.parametrize(
    ("number", "shown"),
    [("+918882876897", "•••6897"), ("+1234", "•••1234"), ("1234", "•••"), ("", "none"), (None, "none")],
)
def test_a_number_is_shown_by_its_last_four_digits(number: str | None, shown: str) -> None:
    assert mask_number(number) == shown


def test_an_account_keeps_its_partition_in_both_topics_about_terminations() -> None:
    topics = Topics.named("x.")
    assert topics.terminations.partitions == topics.termination_log.partitions == 32
    assert topics.partition_of_account("acme-ringg") == partition_of(b"acme-ringg", 32) == 14
