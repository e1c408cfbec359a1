"""The admin endpoint of the shop's chaospoint, as an operator uses it: five requests."""

from collections.abc import Mapping
from typing import Any

import httpx
from evidence import Metrics


class Admin:
    """What is refused raises `httpx.HTTPStatusError`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def arm(self, point: str, rule: Mapping[str, Any]) -> None:
        (await self._client.put(f"/v1/points/{point}", json=rule)).raise_for_status()

    async def refuses(self, point: str, rule: Mapping[str, Any]) -> bool:
        return (await self._client.put(f"/v1/points/{point}", json=rule)).status_code == 409

    async def disarm(self, point: str) -> None:
        (await self._client.delete(f"/v1/points/{point}")).raise_for_status()

    async def switch(self, *, on: bool) -> None:
        (await self._client.post("/v1/enable" if on else "/v1/disable")).raise_for_status()

    async def metrics(self) -> Metrics:
        return Metrics.parse((await self._client.get("/metrics")).raise_for_status().text)
