"""The signatures of Standard Webhooks 1.0.0.

The two vectors are those of the specification's own libraries (libraries/go, TestWebhookSign and TestAsymmetricWebhookSign);
the public key is the one that belongs to the second's private key.
"""

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict
from pydantic import SecretStr, ValidationError
from standardwebhooks.webhooks import Webhook

from consumer.ingest.authenticate import NotAuthentic, authenticate
from consumer.ingest.standard_webhooks import MAX_SIGNATURES, TOLERANCE_SECONDS, what_is_wrong
from consumer.model.accounts import WebhookSettings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC_KEY = "whpk_ZlN4eg7dSSqi0moX9hQUk3orrOouK3QVQSlJa248c/g="
OTHER_SECRET = "whsec_b3RoZXItc2VjcmV0LW9mLTI0LWJ5dGVz"
OTHER_PUBLIC_KEY = "whpk_4rQZjjkCnn4m/ciYBaRPSZTA+Y/UwqgD6hgxOllF28g="
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SENT_AT = 1_614_265_330
BODY = b'{"test": 2432232314}'
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
KINDS = [(SECRET, V1), (PUBLIC_KEY, V1A)]
WRONG = "no signature in webhook-signature is right"


def problem(
    *secrets: str,
    signature: str = V1,
    body: bytes = BODY,
    message_id: str = MESSAGE_ID,
    timestamp: str = str(SENT_AT),
    now: float = SENT_AT,
) -> str | None:
    headers = {"Webhook-Id": message_id, "Webhook-Timestamp": timestamp, "Webhook-Signature": signature}
    return what_is_wrong([SecretStr(secret) for secret in secrets], CIMultiDict(headers), body, now)


@pytest.mark.parametrize(("secret", "signature"), KINDS)
def test_the_vectors_of_the_specification_are_right(secret: str, signature: str) -> None:
    assert problem(secret, signature=signature) is None


def test_what_another_implementation_signs_is_right() -> None:
    body = '{"name": "जय"}'
    signature = Webhook(OTHER_SECRET).sign("evt-1", datetime.fromtimestamp(SENT_AT, UTC), body)
    assert problem(OTHER_SECRET, signature=signature, message_id="evt-1", body=body.encode()) is None


def test_a_body_that_is_no_text_is_signed_like_any_other() -> None:
    signature = "v1,dnDi5GZ3Te6lvRJ+A/l7mt41DfmU9c0vC3pjxJYxUg8="  # computed apart
    assert problem(SECRET, signature=signature, body=b"\xff\xfe") is None
    assert problem(SECRET, signature=signature, body=b"\xff\xff") == WRONG


@pytest.mark.parametrize(("secret", "signature"), KINDS)
def test_every_byte_of_body_id_and_time_is_signed(secret: str, signature: str) -> None:
    for n in range(len(BODY)):
        changed = BODY[:n] + bytes([BODY[n] ^ 1]) + BODY[n + 1 :]
        assert problem(secret, signature=signature, body=changed) == WRONG
    assert problem(secret, signature=signature, body=BODY + b" ") == WRONG
    assert problem(secret, signature=signature, message_id=MESSAGE_ID + "x") == WRONG
    assert problem(secret, signature=signature, timestamp=str(SENT_AT + 1)) == WRONG
    assert problem(secret, signature=signature, timestamp=f"0{SENT_AT}") == WRONG


@pytest.mark.parametrize(("secret", "signature"), KINDS)
def test_a_time_is_right_up_to_five_minutes_off_either_way(secret: str, signature: str) -> None:
    for off in (-TOLERANCE_SECONDS, -1, 0, 1, TOLERANCE_SECONDS):
        assert problem(secret, signature=signature, now=SENT_AT + off) is None
    for off in (-TOLERANCE_SECONDS - 0.1, TOLERANCE_SECONDS + 0.1, 1e9, -1e9):
        assert "too old or too new" in str(problem(secret, signature=signature, now=SENT_AT + off))


def test_while_secrets_are_rotated_either_side_may_be_ahead() -> None:
    other = Webhook(OTHER_SECRET).sign(MESSAGE_ID, datetime.fromtimestamp(SENT_AT, UTC), BODY.decode())
    assert problem(OTHER_SECRET, SECRET, signature=V1) is None
    assert problem(SECRET, signature=f"{other} {V1}") is None
    assert problem(OTHER_SECRET, SECRET, signature=other) is None
    assert problem(OTHER_PUBLIC_KEY, PUBLIC_KEY, signature=V1A) is None
    for secret in (SECRET, PUBLIC_KEY):
        assert problem(secret, signature=f"{V1} {V1A}") is None
        assert problem(OTHER_SECRET, OTHER_PUBLIC_KEY, secret, signature=f"{V1A} {V1}") is None
    assert problem(OTHER_SECRET, OTHER_PUBLIC_KEY, signature=f"{V1} {V1A}") == WRONG


@pytest.mark.parametrize(
    "beside", ["v1", "v1,", "v1,%%%", "v1a,YWJj", "v2,YWJj", ",", "v1,a,b", "é", "\udcff", "v1,\udcff", "v1a,"]
)
def test_a_signature_of_another_form_hides_none_that_is_right(beside: str) -> None:
    for secret, signature in KINDS:
        assert problem(secret, signature=beside) == WRONG
        assert problem(secret, signature=f"{beside} {signature}") is None


def test_a_version_is_only_checked_with_secrets_of_its_kind() -> None:
    assert problem(SECRET, signature=V1.replace("v1,", "v1a,")) == WRONG
    assert problem(PUBLIC_KEY, signature=V1A.replace("v1a,", "v1,")) == WRONG
    as_hmac = "whsec_" + PUBLIC_KEY.removeprefix("whpk_")
    forged = Webhook(as_hmac).sign(MESSAGE_ID, datetime.fromtimestamp(SENT_AT, UTC), BODY.decode())
    assert problem(as_hmac, signature=forged) is None
    assert problem(PUBLIC_KEY, signature=forged) == WRONG  # a public key is no secret


@pytest.mark.parametrize("message_id", ["a.b", ".", "é", "\udcff", "a\x00"])
def test_an_id_that_could_be_read_in_two_ways_is_refused(message_id: str) -> None:
    assert str(problem(SECRET, message_id=message_id)).startswith("webhook-id has a full stop")


@pytest.mark.parametrize("timestamp", ["1614265330.5", "-1", "1e9", "now", "nan", "١٢٣", "9" * 400, "9" * 5_000])
def test_a_time_that_is_no_number_of_seconds_is_refused(timestamp: str) -> None:
    assert str(problem(SECRET, timestamp=timestamp)).startswith("webhook-timestamp is not a whole number")


@pytest.mark.parametrize("name", ["message_id", "timestamp", "signature"])
def test_each_header_is_needed(name: str) -> None:
    for nothing in ("", " "):
        assert problem(SECRET, **{name: nothing}) is not None  # type: ignore[arg-type]  # each is a text


def test_no_more_signatures_are_checked_than_a_rotation_needs() -> None:
    assert problem(PUBLIC_KEY, signature=" ".join(["v1a,YWJj"] * (MAX_SIGNATURES - 1) + [V1A])) is None
    assert "more than" in str(problem(PUBLIC_KEY, signature=" ".join(["v1a,YWJj"] * MAX_SIGNATURES + [V1A])))


def test_a_public_key_is_configured_like_a_secret() -> None:
    auth = WebhookSettings.model_validate({"auth": {"type": "standard-webhooks", "secrets": [SECRET, PUBLIC_KEY]}}).auth
    assert auth.type == "standard-webhooks"
    for signature in (V1, V1A):
        headers = CIMultiDict(
            {"webhook-id": MESSAGE_ID, "webhook-timestamp": str(SENT_AT), "webhook-signature": signature}
        )
        authenticate(auth, headers, BODY, SENT_AT)
        with pytest.raises(NotAuthentic, match="too old or too new"):
            authenticate(auth, headers, BODY)


@pytest.mark.parametrize("key", ["whpk_", "whpk_YWJjZGVmZ2g=", PUBLIC_KEY[:-4], PUBLIC_KEY.replace("whpk_", "whsk_")])
def test_a_key_that_could_verify_nothing_is_refused_at_start(key: str) -> None:
    with pytest.raises(ValidationError):
        WebhookSettings.model_validate({"auth": {"type": "standard-webhooks", "secret": key}})
