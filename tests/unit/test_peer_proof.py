from collections.abc import Sequence

import pytest

from consumer.model.accounts import Account
from consumer.service.peer_proof import MOST_ACCOUNTS, PeerProof
from tests.unit.values import account

A, B, C = (account(name=name, api_key=f"api-key-of-{name}") for name in "abc")


def believed(asking: Sequence[Account], asked: Sequence[Account]) -> bool:
    return PeerProof(asked).is_in(PeerProof(asking).authorization)


def test_one_account_in_common_is_enough_so_that_others_may_come_and_go() -> None:
    assert believed([A], [A])
    assert believed([A, B], [B, C])
    assert not believed([A], [B, C])


def test_same_key_under_another_name_or_another_key_under_the_same_name_is_no_proof() -> None:
    assert not believed([A], [account(name="b", api_key="api-key-of-a")])
    assert not believed([A], [account(name="a", api_key="api-key-of-b")])


def test_nothing_in_common_is_nothing_proven() -> None:
    assert not believed([], [])
    assert not believed([], [A])
    assert not believed([A], [])


@pytest.mark.parametrize("authorization", ["", "callbreaker-peer", "callbreaker-peer ,", "callbreaker-peer é,\udcff"])
def test_anything_else_is_no_proof(authorization: str) -> None:
    assert not PeerProof([A]).is_in(authorization)


def test_proof_under_another_scheme_is_none() -> None:
    assert not PeerProof([A]).is_in(PeerProof([A]).authorization.replace("callbreaker-peer", "Bearer"))


def test_no_key_is_in_what_is_sent_and_it_fits_a_header_however_many_accounts() -> None:
    many = [account(name=f"a{n}", api_key=f"api-key-{n}") for n in range(3 * MOST_ACCOUNTS)]
    sent = PeerProof(many).authorization
    assert "api-key" not in sent
    assert len(sent) < 8_000
    assert believed(many, many)
