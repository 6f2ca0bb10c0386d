"""``/healthz``, ``/readyz`` and ``/metrics``, the same for every role."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a check is passed, and what is wrong if not."""

    name: str
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be true for the process to do its work; ``otherwise`` says what is wrong."""

    name: str
    holds: Callable[[], bool]
    otherwise: str | Callable[[], str]

    def passes(self) -> Verdict:
        if self.holds():
            return Verdict(self.name, True)
        return Verdict(self.name, False, self.otherwise if isinstance(self.otherwise, str) else self.otherwise())


class Readiness:
    """All checks of a process, and whether it is to be sent its work whatever they say."""

    def __init__(self, checks: tuple[Check, ...], regardless: Callable[[], bool]) -> None:
        self._checks = checks
        self._regardless = regardless

    async def readyz(self, _: web.Request) -> web.Response:
        """200 when every check is passed, or webhooks are taken regardless; else 503. With what is wrong in any case."""
        verdicts = [check.passes() for check in self._checks]
        ready = all(verdict.ok for verdict in verdicts) or self._regardless()
        body = {
            "ready": ready,
            "checks": {verdict.name: "ok" if verdict.ok else verdict.reason for verdict in verdicts},
        }
        return web.Response(status=200 if ready else 503, body=orjson.dumps(body), content_type="application/json")


async def healthz(_: web.Request) -> web.Response:
    """Answer: the process lives and its loop turns."""
    return web.Response(body=b'{"alive":true}', content_type="application/json")


def health_routes(readiness: Readiness, collector: Collector) -> list[web.RouteDef]:
    """Give the routes; ``collector`` has all metrics."""

    async def metrics(_: web.Request) -> web.Response:
        """Give all metrics in the Prometheus text form."""
        return web.Response(body=generate_latest(collector), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/healthz", healthz), web.get("/readyz", readiness.readyz), web.get("/metrics", metrics)]
