"""The shop: takes orders, keeps them, has the bank charge them.

    BANK_URL=http://127.0.0.1:8001 uvicorn --app-dir examples/shop --factory shop:create_app

An order goes through four steps, each with what a good service has there:

    inventory.check   fallback: if the stock cannot be read, sell on trust
    orders.save       retry; if it cannot be kept, answer 503 before anybody has paid
    payment.charge    timeout and retry; fallback: the order is kept as pending
    orders.paid       retry; fallback: the order is kept as pending

The chaos points are inside the retries and the timeout: what they inject is what the bank, the
network and the database would do, and all that is meant to cope with it is really put to work.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import gettempdir
from typing import Literal

import httpx
from attempts import attempt, log_to_stdout, tracer
from fastapi import FastAPI, HTTPException, Response
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from pydantic import BaseModel, PositiveInt
from sqlalchemy.exc import SQLAlchemyError
from store import Store
from tenacity import (
    AsyncRetrying,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

import chaospoint

BANK_ERRORS = (httpx.HTTPError, TimeoutError)


class NewOrder(BaseModel):
    item: str
    cents: PositiveInt


class Receipt(BaseModel):
    id: str
    status: Literal["paid", "pending"]
    stock: Literal["checked", "assumed"]


@dataclass(frozen=True, slots=True)
class Shop:
    bank: httpx.AsyncClient
    store: Store
    patience: float = 1.0  # seconds for one attempt at the bank
    pause: float = 0.01  # seconds, the first wait between two attempts; doubled each time

    async def order(self, new: NewOrder) -> Receipt:
        order_id = uuid.uuid4().hex
        stock = await self.check(order_id, new.item)
        await self.keep("orders.save", order_id, self.store.save, new.item, new.cents)
        try:
            await self.charge(order_id, new.cents)
            await self.keep("orders.paid", order_id, self.store.mark_paid)
        except (*BANK_ERRORS, SQLAlchemyError):
            return Receipt(id=order_id, status="pending", stock=stock)  # to be settled later
        return Receipt(id=order_id, status="paid", stock=stock)

    async def check(self, order_id: str, item: str) -> Literal["checked", "assumed"]:
        try:
            with attempt("inventory.check", order_id):
                left = await asyncio.to_thread(self.store.in_stock, item)
        except SQLAlchemyError:
            return "assumed"
        if not left:
            raise HTTPException(409, f"{item} is out of stock")
        return "checked"

    async def charge(self, order_id: str, cents: int) -> None:
        async for tried in AsyncRetrying(
            retry=retry_if_exception_type(BANK_ERRORS),
            stop=stop_after_attempt(3),
            wait=wait_random_exponential(multiplier=self.pause),
            reraise=True,
        ):
            number = tried.retry_state.attempt_number
            with tried, attempt("payment.charge", order_id, number):
                async with asyncio.timeout(self.patience):
                    await ask_bank(self.bank, order_id, cents, number)

    async def keep(
        self, step: str, order_id: str, write: Callable[..., None], *values: object
    ) -> None:
        def until_it_is_kept() -> None:
            for tried in Retrying(
                retry=retry_if_exception_type(SQLAlchemyError),
                stop=stop_after_attempt(4),
                wait=wait_random_exponential(multiplier=self.pause),
                reraise=True,
            ):
                with tried, attempt(step, order_id, tried.retry_state.attempt_number):
                    write(order_id, *values)

        await asyncio.to_thread(until_it_is_kept)


@chaospoint.point(
    "payment.charge",
    description="one attempt to have the bank charge an order",
    raises=(httpx.ConnectTimeout, httpx.ReadTimeout, httpx.ConnectError, httpx.ReadError),
)
async def ask_bank(bank: httpx.AsyncClient, order_id: str, cents: int, number: int) -> None:
    headers = {"Idempotency-Key": order_id, "X-Attempt": str(number)}
    answer = await bank.post("/charges", json={"cents": cents}, headers=headers)
    answer.raise_for_status()


def api(shop: Shop) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await shop.bank.aclose()
        shop.store.close()

    app = FastAPI(title="shop", lifespan=lifespan)

    @app.get("/health")
    async def health() -> str:
        return "ok"

    @app.post("/orders", status_code=201)
    async def order(new: NewOrder, response: Response) -> Receipt:
        with tracer.start_as_current_span("POST /orders"):
            try:
                receipt = await shop.order(new)
            except SQLAlchemyError as error:
                raise HTTPException(
                    503, "the order could not be kept; nothing is charged"
                ) from error
        if receipt.status == "pending":
            response.status_code = 202
        return receipt

    return app


def create_app() -> FastAPI:
    """The shop as its environment describes it: BANK_URL, DATABASE_URL, SPANS_FILE."""
    log_to_stdout()
    if spans := os.environ.get("SPANS_FILE"):
        # One span a line, written when it ends; a real service would put an OTLP exporter here.
        file = open(spans, "a", encoding="utf-8")  # noqa: SIM115 - as long as the process
        exporter = ConsoleSpanExporter(
            out=file, formatter=lambda span: span.to_json(indent=None) + "\n"
        )
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
    bank = httpx.AsyncClient(base_url=os.environ.get("BANK_URL", "http://127.0.0.1:8001"))
    return api(
        Shop(bank, Store(os.environ.get("DATABASE_URL", f"sqlite:///{gettempdir()}/shop.db")))
    )
