"""The providers that come with callbreaker. To add one: its file, its line here, its golden payloads."""

from consumer.model.provider import Provider
from handlers.providers.bland import Bland
from handlers.providers.revenueable import Revenueable
from handlers.providers.ringg import Ringg
from handlers.providers.sonarly import Sonarly
from handlers.providers.vapi import Vapi

PROVIDERS: dict[str, Provider] = {
    provider.name: provider
    for provider in (
        Ringg(),
        Revenueable(),
        Bland(),
        Sonarly(),
        Vapi(),
    )
}
