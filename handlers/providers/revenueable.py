"""Revenueable: a white label of Ringg with its own host and the split terminate paths (docs.revenueable.ai)."""

from dataclasses import replace

from consumer.model.scopes import ScopeKind
from handlers.providers.ringg import Ringg


class Revenueable(Ringg):
    """Ringg's webhooks; ``PATCH /campaign/terminate/calls`` takes up to 100 ids and ignores invalid ones."""

    name = "revenueable"
    default_base_url = "https://prod-api.revenueable.ai/ca/api/v0"
    terminate_calls_path = "/campaign/terminate/calls"
    terminate_scope_path = "/campaign/terminate/campaign"
    capabilities = replace(Ringg.capabilities, everything=frozenset({ScopeKind.CAMPAIGN}))
