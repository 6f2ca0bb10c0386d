"""What an account is loud about: alerts while nothing can be sent, the safety lever when what rules want stops working."""

import logging
from collections.abc import Iterator

from consumer.kafka.order_feed import control_record
from consumer.model.controls import Alert, Control, Lever
from consumer.model.orders import Author
from consumer.terminate import metrics
from consumer.terminate.breaker import Endpoint
from consumer.terminate.desk import Desk, Owned
from consumer.terminate.dispatcher import Health

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
REPEAT_SECONDS = 10.0
"""What was written and is not read back by then is written once more."""
TERMINATE = Author("terminate", "terminate")


class Alarms:
    """Looks once a second at how one account's sending goes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._looked_at = float("-inf")
        self._written_at: dict[bytes, float] = {}
        self._engaged = False

    async def look(self, owned: Owned) -> None:
        """Show the figures; raise what is to be raised, and end what is over."""
        moment = self._desk.clock.monotonic()
        if moment - self._looked_at < EVERY_SECONDS:
            return
        self._looked_at = moment
        health = owned.dispatcher.health(moment)
        metrics.show(self._desk.name, health, owned.shard.ledger.backlog(self._desk.name))
        wanted = [*self._alerts(owned, health), *self._lever(owned, moment)]
        news = [one for one in wanted if moment - self._written_at.get(one.key, float("-inf")) > REPEAT_SECONDS]
        if news:
            self._written_at.update((one.key, moment) for one in news)
            topic = self._desk.parts.topics.stop_orders
            await self._desk.parts.producer.publish_all([control_record(topic, one) for one in news])

    def gone(self) -> None:
        """Show nothing: another worker has the account."""
        metrics.hide(self._desk.name)

    def _alerts(self, owned: Owned, health: Health) -> list[Control]:
        """Give the alerts that differ from what is known; one is over only once a request has gone well again."""
        now, name = self._desk.clock.now(), self._desk.name
        active = owned.shard.chooser.controls.alerts
        told: list[Control] = []
        for alert, endpoint, text in _troubles(name, health):
            known = active.get(alert)
            if text and known is None:
                logger.error("%s", text)
                told.append(Alert(alert, text, now, by=TERMINATE.name))
            elif not text and known is not None and endpoint in health.well:
                told.append(Alert(alert, known.text, known.since, active=False, by=TERMINATE.name))
        return told

    def _lever(self, owned: Owned, moment: float) -> list[Control]:
        """Pull the safety lever where confirmations have collapsed or errors burst."""
        engaged = owned.shard.chooser.controls.lever_engaged
        trust = owned.shard.trust(self._desk.name)
        if engaged or self._engaged:
            trust.forget()
        self._engaged = engaged
        why = trust.lost(moment)
        if why is None:
            return []
        logger.error("the safety lever is pulled: %s: %s", self._desk.name, why)
        return [Lever(engaged=True, reason=f"{self._desk.name}: {why}", by=TERMINATE)]


def _troubles(name: str, health: Health) -> Iterator[tuple[str, Endpoint, str | None]]:
    """Give each alert there may be, with the endpoint it is about and its text; None while all is well."""
    held, fails = health.held, health.breaker != "closed"
    text = held and f"{name} is held by its provider's answer, and one request a minute tries again: {held}"
    yield f"account-held/{name}", Endpoint.STOP, text
    text = f"{name} pauses because its provider fails, and tries again with one call" if fails else None
    yield f"provider-fails/{name}", Endpoint.STOP, text
    for endpoint, what in ((Endpoint.LOOK, "how a call stands"), (Endpoint.HISTORY, "the call history")):
        held = None if health.held else health.holds[endpoint]
        text = held and f"{name} may not read {what}; stops go on, and one request a minute tries again: {held}"
        yield f"unreadable-{endpoint}/{name}", endpoint, text
