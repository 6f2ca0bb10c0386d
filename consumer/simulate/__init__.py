"""A simulated provider: dials campaigns, sends webhooks, can be told to stop, misbehaves on demand, and judges."""

from .faults import Fault, FaultKind, parse_fault
from .judge import Verdict
from .orders import Told
from .provider import PROVIDERS, PortTakenError, SimulatedProvider
from .scenario import CampaignPlan, Dial, Outcomes, RateLimit, Scenario, Webhooks, parse_scenario
from .signing import Bearer, HeaderSecret, Hmac, NoAuth, StandardWebhooks, WebhookAuth

__all__ = [
    "PROVIDERS",
    "Bearer",
    "CampaignPlan",
    "Dial",
    "Fault",
    "FaultKind",
    "HeaderSecret",
    "Hmac",
    "NoAuth",
    "Outcomes",
    "PortTakenError",
    "RateLimit",
    "Scenario",
    "SimulatedProvider",
    "StandardWebhooks",
    "Told",
    "Verdict",
    "WebhookAuth",
    "Webhooks",
    "parse_fault",
    "parse_scenario",
]
