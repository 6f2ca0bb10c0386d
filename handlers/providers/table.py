"""The providers that come with callbreaker. To add one: its file, its line here, its golden payloads."""

from consumer.model.provider import Provider
from handlers.providers.revenueable import Revenueable
from handlers.providers.ringg import Ringg

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (Ringg(), Revenueable())}
