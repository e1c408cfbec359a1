"""The bank: charges an order, once. Somebody else's service, so it has no chaos points.

    uvicorn --app-dir examples/shop bank:app --port 8001

It prints one line of JSON for each attempt that reached it. An attempt that the shop made and that
has no line here never left the shop.
"""

import asyncio
import json
import time
from typing import Annotated

from fastapi import FastAPI, Header
from pydantic import BaseModel, PositiveInt

app = FastAPI(title="bank")
charged: dict[str, int] = {}  # idempotency key -> cents: asked twice, it charges once


class Charge(BaseModel):
    cents: PositiveInt


@app.get("/health")
async def health() -> str:
    return "ok"


@app.post("/charges", status_code=201)
async def charge(
    charge: Charge,
    idempotency_key: Annotated[str, Header()],
    x_attempt: Annotated[int, Header()] = 1,
) -> dict[str, int]:
    line = {"step": "bank.charge", "order": idempotency_key, "attempt": x_attempt}
    print(json.dumps(line | {"at": time.time()}), flush=True)
    await asyncio.sleep(0.002)  # the ledger
    charged.setdefault(idempotency_key, charge.cents)
    return {"charged": charged[idempotency_key]}
