"""What aiokafka's errors mean to us, once a client has started. Why one cannot start, ``diagnosis.py`` finds out.

Its attribute ``retriable`` is no guide: it is False of plain time-outs. So what trying again does not help is named here, and
everything else is tried again; what does not get better is ended by the watchdog.
"""

from aiokafka import errors

from consumer.kafka.errors import LogError, LogUnavailable, Refused

NOT_ALLOWED = (
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.ClusterAuthorizationFailedError,
    errors.DelegationTokenAuthDisabled,
    errors.DelegationTokenAuthorizationFailed,
    errors.DelegationTokenExpired,
    errors.DelegationTokenNotFound,
    errors.DelegationTokenOwnerMismatch,
    errors.DelegationTokenRequestNotAllowed,
    errors.GroupAuthorizationFailedError,
    errors.IllegalSaslStateError,
    errors.InvalidPrincipalType,
    errors.SaslAuthenticationFailed,
    errors.SecurityDisabled,
    errors.TopicAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.UnsupportedSaslMechanismError,
)
NOT_POSSIBLE = (
    errors.IllegalArgumentError,
    errors.IncompatibleBrokerVersion,
    errors.InconsistentGroupProtocolError,
    errors.InvalidConfigurationError,
    errors.InvalidGroupIdError,
    errors.InvalidRequestError,
    errors.InvalidSessionTimeoutError,
    errors.InvalidTopicError,
    errors.KafkaConfigurationError,
    errors.PolicyViolationError,
    errors.RecordTooLargeError,
    errors.UnrecognizedBrokerVersion,
    errors.UnsupportedCodecError,
    errors.UnsupportedForMessageFormatError,
    errors.UnsupportedVersionError,
)


def translated(error: Exception, what: str) -> LogError:
    """Give our error for one of aiokafka's; ``what`` says what could not be done, as the beginning of a sentence."""
    said = f"{what}: {error!r}"
    if isinstance(error, NOT_ALLOWED):
        return Refused(f"{said}; Kafka does not allow it: check kafka.security and what its user may do")
    if isinstance(error, NOT_POSSIBLE):
        return Refused(f"{said}; trying again would not change that")
    return LogUnavailable(said)
