"""Posting webhooks to ingest."""

from typing import Self

import aiohttp
import orjson

from benchmarks.world import ACCOUNT_NAME, SECRET


class Webhooks:
    """Posts webhooks of the benchmarks' account to an ingest."""

    def __init__(self, url: str) -> None:
        """Prepare to post to the ingest at ``url``."""
        self._url = f"{url}/webhooks/{ACCOUNT_NAME}"
        self._http: aiohttp.ClientSession
        self.sent = 0

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(headers={"X-Webhook-Secret": SECRET})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def post(self, body: dict[str, object]) -> None:
        """Post one; raises ``RuntimeError`` where the answer is no 200."""
        self.sent += 1
        async with self._http.post(self._url, data=orjson.dumps(body)) as answer:
            if answer.status != 200:
                raise RuntimeError(f"a webhook was answered with {answer.status}")
