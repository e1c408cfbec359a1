"""pydantic and FastAPI read signatures and keep functions: a point changes nothing of it.

Not when it is armed after they looked, and not when it is armed while they look.
"""

# No annotations as text here: what a function holds is not found by them.

import json
import socket
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import JSONResponse
from helpers import PATIENCE, Boom, Threads, run
from patching_kit import STATES, labelled, state
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
    validate_call,
)

import chaospoint
from chaospoint import Point, Registry

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # newer ones would like another client
    warnings.simplefilter("ignore", UserWarning)
    from fastapi.testclient import TestClient

every_state = pytest.mark.parametrize("name", STATES)


# -- pydantic ----------------------------------------------------------------------------


def model_of(point: Point) -> type[BaseModel]:
    class Order(BaseModel):
        name: str
        amount: int = Field(default_factory=point(lambda: 1))

        @field_validator("name", mode="before")
        @classmethod
        @point
        def _strip(cls, value: str) -> str:
            return value.strip()

        @field_validator("amount")
        @point
        @classmethod
        def _positive(cls, value: int) -> int:
            if value < 0:
                raise ValueError("below zero")
            return value

        @model_validator(mode="after")
        @point
        def _known(self) -> Any:
            if self.name == "nobody":
                raise ValueError("unknown")
            return self

        @computed_field
        @property
        @point
        def total(self) -> int:
            """What it comes to."""
            return 10 * self.amount

        @field_serializer("name")
        @point
        def _shout(self, value: str) -> str:
            return value.upper()

        @point
        def model_post_init(self, context: object) -> None:
            self.amount += 1

        @point
        def shown(self, end: str = ".") -> str:
            return self.name + end

    return Order


def use(model: Any) -> object:
    problems = []
    for wrong in ({"name": " nobody "}, {"name": "a", "amount": -1}, {}):
        with pytest.raises(ValidationError) as problem:
            model(**wrong)
        problems += [(one["loc"], one["msg"]) for one in problem.value.errors()]
    order = model(name=" a ", amount="4")
    return (
        order.model_dump(),
        order.shown(),
        order.total,
        problems,
        model.model_json_schema(mode="serialization"),
        model.model_validate_json('{"name": "b"}').amount,
    )


@every_state
def test_methods_and_validators_of_a_model(registry: Registry, name: str) -> None:
    model = model_of(labelled(registry))
    before = use(model)
    with state(registry, name) as armed:
        assert use(model) == before
        assert all(handle.reaches > 5 for handle in armed)
        assert use(model_of(labelled(registry))) == before
    assert use(model) == before


@every_state
def test_a_validated_call(registry: Registry, name: str) -> None:
    def make() -> Any:
        @validate_call(validate_return=True)
        @labelled(registry)
        def double(number: int, *, times: Annotated[int, Field(ge=1)] = 2) -> int:
            return number * times

        return double

    before = make()
    with state(registry, name):
        for double in (before, make()):
            assert double("4") == 8
            with pytest.raises(ValidationError, match="greater than or equal to 1"):
                double(4, times=0)


def test_a_validator_fails_as_its_point_says(registry: Registry) -> None:
    model = model_of(registry.point("p"))
    with chaospoint.armed("p", registry=registry, exception=ValueError("told to"), times=1):
        with pytest.raises(ValidationError, match="told to"):
            model(name="a")
        assert model(name="a").shown() == "a."


# -- FastAPI -----------------------------------------------------------------------------


def app_of(point: Point) -> FastAPI:
    """Return an app all of whose functions are decorated."""
    closed: list[str] = []

    @point
    def tenant(tenant: str = "acme") -> str:
        return tenant

    @point
    async def atenant(who: Annotated[str, Depends(tenant)]) -> str:
        return who * 2

    @point
    def session() -> Iterator[str]:
        yield "session"
        closed.append("session")

    @point
    async def asession() -> AsyncIterator[str]:
        yield "asession"
        closed.append("asession")

    class Pager:
        @point
        def __init__(self, page: int = 1) -> None:
            self.page = page

        @point
        def __call__(self, size: int = 10) -> int:
            return self.page * size

    @asynccontextmanager
    @point
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        closed.clear()
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/sync/{order}")
    @point
    def sync(
        order: int,
        who: Annotated[str, Depends(atenant)],
        one: Annotated[str, Depends(session)],
        two: Annotated[str, Depends(asession)],
        pager: Annotated[Pager, Depends()],
        size: Annotated[int, Depends(Pager(3))],
        q: str | None = None,
    ) -> dict[str, Any]:
        """Say all of it."""
        return {"all": [order, who, one, two, pager.page, size, q]}

    class Order(BaseModel):
        name: str
        amount: int = 1

    @app.post("/async", status_code=201)
    @point
    async def post(order: Order, background: BackgroundTasks) -> Order:
        background.add_task(point(closed.append), "background")
        return order

    @app.get("/closed")
    def told() -> list[str]:
        return sorted(closed)

    @app.middleware("http")
    @point
    async def header(request: Any, call_next: Callable[[Any], Any]) -> Any:
        response = await call_next(request)
        response.headers["x-seen"] = "yes"
        return response

    @app.exception_handler(Boom)
    @point
    async def boom(request: Any, error: Boom) -> Any:
        return JSONResponse({"error": str(error)}, 503)

    @app.get("/boom")
    def fail() -> None:
        raise Boom("sorry")

    @app.websocket("/ws")
    @point
    async def socket(websocket: WebSocket, who: Annotated[str, Depends(atenant)]) -> None:
        await websocket.accept()
        await websocket.send_text(who)
        await websocket.close()

    return app


def ask(app: FastAPI) -> object:
    with TestClient(app) as client:
        answers = [
            client.get("/sync/3", params={"page": 2, "q": "x", "tenant": "b"}),
            client.get("/sync/none"),
            client.post("/async", json={"name": "a"}),
            client.post("/async", json={"amount": "many"}),
            client.get("/boom"),
            client.get("/closed"),
        ]
        with client.websocket_connect("/ws") as websocket:
            said = websocket.receive_text()
        return [(one.status_code, one.json(), one.headers.get("x-seen")) for one in answers], said


@every_state
def test_routes_and_dependencies_made_before_and_while_armed(registry: Registry, name: str) -> None:
    app = app_of(labelled(registry))
    schema = json.dumps(app.openapi())
    before = ask(app)
    with state(registry, name) as armed:
        assert ask(app) == before
        assert all(handle.reaches >= 10 for handle in armed)
        again = app_of(labelled(registry))
        assert json.dumps(again.openapi()) == schema
        assert ask(again) == before
        app.openapi_schema = None
        assert json.dumps(app.openapi()) == schema
    assert ask(again) == before


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_dependency_fails_as_its_point_says(registry: Registry, when: str) -> None:
    point = registry.point("p")

    def make() -> FastAPI:
        @point
        async def who() -> str:
            return "somebody"

        app = FastAPI()

        @app.get("/")
        def route(who: Annotated[str, Depends(who)]) -> str:
            return who

        @app.exception_handler(Boom)
        def boom(request: Any, error: Boom) -> JSONResponse:
            return JSONResponse(str(error), 503)

        return app

    app = make()
    with chaospoint.armed("p", registry=registry, exception=Boom("told to"), times=1):
        client = TestClient(app if when == "before" else make())
        answers = [client.get("/") for _ in range(2)]
    assert [(one.status_code, one.json()) for one in answers] == [
        (503, "told to"),
        (200, "somebody"),
    ]


@pytest.mark.parametrize("name", ["armed", "acts"])
def test_a_real_server_serves_decorated_routes(
    registry: Registry, pool: Threads, name: str
) -> None:
    app = app_of(labelled(registry))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(
            uvicorn.Config(app, loop="asyncio", log_config=None, lifespan="off")
        )
        served = pool.submit(run, server.serve([listening]))
        connection = HTTPConnection(*listening.getsockname(), timeout=PATIENCE)
        seen = []
        for name_now in ("never armed", name, "disarmed"):
            with state(registry, name_now) as armed:
                connection.request("GET", "/sync/3?tenant=b")
                answer = connection.getresponse()
                seen.append((answer.status, json.loads(answer.read())))
                assert all(handle.reaches > 0 for handle in armed)
        connection.close()
        server.should_exit = True
        served.result(PATIENCE)
    assert seen == [(200, {"all": [3, "bb", "session", "asession", 1, 30, None]})] * 3
