"""Whether Kafka answers, asked every two seconds: what ``/readyz`` says must be true now, not when we last wrote."""

import asyncio
import logging
from typing import Protocol

from consumer.kafka.errors import LogUnavailable

logger = logging.getLogger(__name__)

EVERY_SECONDS = 2.0


class Asked(Protocol):
    """Anything that can ask the cluster something cheap."""

    async def bounds(self) -> object: ...


class KafkaProbe:
    """``reachable`` is what the last question showed, ``missed`` whether there was one that nobody answered."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.reachable = self.missed = False

    async def run(self) -> None:
        while True:
            try:
                await self._asked.bounds()
                reachable = True
            except LogUnavailable as error:
                reachable = False
                logger.warning("Kafka does not answer: %s", error)
            if reachable and not self.reachable:
                logger.info("Kafka answers")
            self.reachable, self.missed = reachable, not reachable
            await asyncio.sleep(EVERY_SECONDS)
