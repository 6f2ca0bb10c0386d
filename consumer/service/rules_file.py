"""Watching the configuration file: sound changes of its rules become a record, others are refused and say why."""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

from consumer.kafka.order_feed import OrderFeed, control_record
from consumer.kafka.producer import Producer
from consumer.model.controls import Alert, Control, RulesChanged
from consumer.model.masking import MASK
from consumer.model.orders import Author
from consumer.service import control_metrics
from consumer.service.ruling import InForce
from consumer.settings import ConfigurationError, Settings
from consumer.settings.parts import PARTS, hash_of, written_in

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
READ_BACK_SECONDS = 5.0
OWN = ("rules-refused/", "rules-not-taken/")
"""What our alerts are called; who takes over a sound file takes all of them back, also those of processes that are gone."""


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """The file that the service was started with, and how it is read and checked as it was then.

    ``read`` raises ``ConfigurationError`` with everything that is wrong. ``parts`` is what may change, as it stood in the
    file then; None where that may not travel, ``why_not`` says why.
    """

    path: Path
    read: Callable[[], Settings]
    parts: dict[str, Any] | None
    why_not: str = ""

    @classmethod
    def at(cls, path: Path, read: Callable[[], Settings]) -> "ConfigurationFile":
        try:
            return cls(path, read, written_in(path))
        except ConfigurationError as error:
            return cls(path, read, None, str(error))

    @property
    def hash(self) -> str:
        """What tells ``parts`` from others; empty where there are none."""
        return "" if self.parts is None else hash_of(self.parts)


class RulesFile:
    """Follows one file, and what others say of theirs."""

    def __init__(
        self,
        file: ConfigurationFile | None,
        *,
        settings: Settings,
        in_force: InForce,
        feed: OrderFeed,
        producer: Producer,
    ) -> None:
        self._file = file
        self._settings = settings
        self._in_force = in_force
        self._feed = feed
        self._producer = producer
        self._stamp: tuple[int, int, int] | None = None
        self._seen: tuple[int, int, int] | None = None
        self._own_hash = file.hash if file else ""
        self._refused: str | None = None
        self._by = f"{socket.gethostname()}, {file.path.name}" if file else socket.gethostname()

    async def run(self) -> None:
        """Say what this process was started with, then take over what is said and watch the file, until cancelled."""
        await self._feed.caught_up()
        if self._file is not None and self._file.parts is None:
            logger.warning("rules cannot change while this runs:\n%s", self._file.why_not)
            await asyncio.Event().wait()
        await self._say_own()
        self._in_force.follow()
        self._feed.on_change(self._in_force.follow)
        while True:
            await self._look()
            await self._say_trouble()
            await asyncio.sleep(EVERY_SECONDS)

    async def _say_own(self) -> None:
        """Publish what this process was started with, where that is not what was said last."""
        if self._file is not None and self._file.parts is not None:
            await self._publish(self._file.parts)

    async def _look(self) -> None:
        """Read the file where it has changed, once it has stayed so for a while: it may be being written."""
        stamp, before = self._stamp_now(), self._seen
        self._seen = stamp
        if self._file is None or stamp is None or stamp == self._stamp or stamp != before:
            return
        self._stamp = stamp
        try:
            settings = self._file.read()
            parts = written_in(self._file.path)
        except ConfigurationError as error:
            self._refused = str(error)
            logger.error("the changed configuration is refused, the old rules stay:\n%s", error)
            return
        self._refused = None
        names = [name for name in type(settings).model_fields if name not in PARTS]
        if others := [name for name in names if getattr(self._settings, name) != getattr(settings, name)]:
            logger.warning("%s has also changed in the configuration, which takes a restart", " and ".join(others))
        if (
            hash_of(parts) != self._own_hash
        ):  # what others have said meanwhile is not undone by a file that is as it was
            self._own_hash = hash_of(parts)
            await self._publish(parts)

    async def _publish(self, parts: dict[str, Any]) -> None:
        last = self._feed.controls.rules
        hash_ = hash_of(parts)
        if last is not None and last.hash == hash_:
            return
        version = 1 if last is None else last.version + 1
        told = RulesChanged(hash_, version, parts, Author("configuration", self._by))
        known = self._feed.controls.alerts.values()
        over = [_taken_back(alert) for alert in known if alert.name.startswith(OWN)]
        written: list[Control] = [told, *over]
        await self._producer.publish_all([control_record(self._feed.topic, one) for one in written])
        give_up_at = monotonic() + READ_BACK_SECONDS
        while self._feed.controls.rules is last and monotonic() < give_up_at:
            await asyncio.sleep(0.01)

    async def _say_trouble(self) -> None:
        """Raise an alert while something is refused here, and take it back when that is over."""
        told = {
            "rules-refused": self._refused and f"The configuration file of {self._by} is refused: {self._refused}",
            "rules-not-taken": self._in_force.trouble
            and f"{self._by} could not take over the rules, its old ones stay: {self._in_force.trouble}",
        }
        control_metrics.REFUSED.set(bool(self._refused or self._in_force.trouble))
        for kind, text in told.items():
            name = f"{kind}/{self._by}"
            known = self._feed.controls.alerts.get(name)
            if text:
                alert = Alert(name, MASK.text(text)[:2_000], time(), by="configuration")
                if known is not None and known.text == alert.text:
                    continue
            elif known is not None:
                alert = _taken_back(known)
            else:
                continue
            await self._producer.publish_all([control_record(self._feed.topic, alert)])

    def _stamp_now(self) -> tuple[int, int, int] | None:
        """What shows that the file may have changed; None where it cannot be looked at, as between two versions of it."""
        try:
            found = self._file.path.stat() if self._file else None
        except OSError:
            return None
        return found and (found.st_mtime_ns, found.st_size, found.st_ino)


def _taken_back(alert: Alert) -> Alert:
    return Alert(alert.name, alert.text, alert.since, active=False, by=alert.by)
