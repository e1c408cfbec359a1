"""`point(x)` acts, refuses, or says that nobody kept what it returned."""

from __future__ import annotations

import datetime
import functools
import logging
import sqlite3
import zlib
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock, create_autospec

import pytest
import wrapt
from helpers import Boom, finish

import chaospoint
from chaospoint import Registry
from chaospoint.errors import ChaosWarning, InvalidPoint


@wrapt.decorator
def traced(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Note a failure, as a tracer does, and pass it on."""
    try:
        return wrapped(*args, **kwargs)
    except Boom:
        SEEN.append(wrapped.__name__)
        raise


SEEN: list[str] = []


def shouting(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def shout(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return shout


class Connection:
    @classmethod
    def connect(cls) -> str:
        return cls.__name__

    @staticmethod
    def ping() -> str:
        return "pong"

    def send(self) -> str:
        return "sent"

    @traced
    def instrumented(self) -> str:
        return "sent"

    @traced
    @classmethod
    def instrumented_class(cls) -> str:
        return cls.__name__

    @classmethod
    @traced
    def class_of_instrumented(cls) -> str:
        return cls.__name__

    @shouting
    def shouted(self) -> str:
        return "sent"


@traced
@traced
def twice() -> str:
    return "sent"


CONNECTION = Connection()
PLACES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "bound class method": (lambda: Connection.connect, lambda: Connection.connect()),
    "method of an instance": (lambda: CONNECTION.send, lambda: Connection().send()),
    "static method": (lambda: Connection.ping, lambda: CONNECTION.ping()),
    "class method object": (lambda: vars(Connection)["connect"], lambda: Connection.connect()),
    "wrapped by wrapt": (lambda: Connection.instrumented, lambda: CONNECTION.instrumented()),
    "bound, wrapped by wrapt": (
        lambda: CONNECTION.instrumented,
        lambda: CONNECTION.instrumented(),
    ),
    "wrapped class method": (
        lambda: Connection.instrumented_class,
        lambda: Connection.instrumented_class(),
    ),
    "class method of a wrapped one": (
        lambda: vars(Connection)["class_of_instrumented"],
        lambda: Connection.class_of_instrumented(),
    ),
    "wrapped twice": (lambda: twice, lambda: twice()),
    "behind functools.wraps": (lambda: Connection.shouted, lambda: CONNECTION.shouted()),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_python_function_is_patched_whatever_stands_before_it(
    name: str, registry: Registry
) -> None:
    """Nothing is done with what is returned, as where a program patches what it did not write."""
    target, call = PLACES[name]
    registry.point("p")(target())
    answer = call()
    with chaospoint.armed("p", exception=Boom, registry=registry) as armed, pytest.raises(Boom):
        call()
    assert armed.injections == 1
    assert call() == answer


def test_the_point_is_inside_a_wrapper_of_wrapt(registry: Registry) -> None:
    registry.point("p")(Connection.instrumented)
    SEEN.clear()
    with chaospoint.armed("p", exception=Boom, registry=registry), pytest.raises(Boom):
        CONNECTION.instrumented()
    assert SEEN == ["instrumented"]


def test_the_returned_object_is_the_given_one(registry: Registry) -> None:
    method = CONNECTION.send
    assert registry.point("p")(method) is method
    assert registry.point("p")(twice) is twice


IN_C = [
    sqlite3.Connection.execute,
    str.upper,
    object.__init__,
    vars(dict)["fromkeys"],
]


@pytest.mark.parametrize("target", IN_C, ids=repr)
def test_a_method_of_a_type_in_c_is_refused_with_a_cure_that_works(
    target: Any, registry: Registry
) -> None:
    point = registry.point("p")
    with pytest.raises(InvalidPoint, match="override it in a subclass and decorate that"):
        point(target)
    assert point.placements == ()

    class Ours(sqlite3.Connection):
        @point
        def execute(self, *args: Any) -> Any:
            return super().execute(*args)

    with sqlite3.connect(":memory:", factory=Ours) as connection:
        with chaospoint.armed("p", exception=Boom, registry=registry), pytest.raises(Boom):
            connection.execute("select 1")
        assert connection.execute("select 1").fetchone() == (1,)
    connection.close()


class Callme:
    def __call__(self) -> int:
        return 1


THROWN_AWAY: dict[str, tuple[Callable[[], Any], str]] = {
    "builtin": (lambda: zlib.crc32, "zlib:crc32"),
    "bound method in C": (lambda: datetime.datetime.now, "datetime.now"),
    "object": (Callme, f"{__name__}:Callme"),
    "partial": (lambda: functools.partial(int, "1"), "builtins:int"),
    "class": (lambda: Callme, f"{__name__}:Callme"),
    "cache": (lambda: functools.cache(zlib.crc32), "zlib:crc32"),
}


@pytest.mark.parametrize("name", THROWN_AWAY)
def test_a_discarded_wrapper_is_reported_when_arming(name: str, registry: Registry) -> None:
    target, shown = THROWN_AWAY[name]
    registry.point("p")(target())
    words = f"{shown} was decorated with 'p', and the wrapper that this returned was thrown away"
    with pytest.warns(ChaosWarning, match=words):
        chaospoint.arm("p", exception=Boom, registry=registry)


@pytest.mark.parametrize("name", THROWN_AWAY)
def test_a_discarded_wrapper_is_reported_at_once_if_its_point_is_armed(
    name: str, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    held = registry.point("p")(Callme())
    chaospoint.arm("p", exception=Boom, registry=registry)
    target, shown = THROWN_AWAY[name]
    registry.point("p")(target())
    [said] = [one for one in caplog.records if "thrown away" in one.getMessage()]
    assert said.levelno == logging.WARNING
    assert said.getMessage().startswith(shown)
    with pytest.raises(Boom):
        held()


def test_the_cure_for_a_discarded_wrapper_works(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.point("p")(zlib.crc32)
    monkeypatch.setattr(zlib, "crc32", registry.point("p")(zlib.crc32))
    with chaospoint.armed("p", exception=Boom, registry=registry), pytest.raises(Boom):
        zlib.crc32(b"")


def test_a_wrapper_that_was_kept_for_a_while_is_not_reported_as_discarded(
    registry: Registry,
) -> None:
    """As where a request makes a partial of its own."""
    point = registry.point("p")
    kept: list[Any] = []

    def request() -> int:
        job = point(functools.partial(int, "1"))
        return int(job())

    assert request() == 1
    kept.extend(map(point, [zlib.crc32]))
    kept.append(point(len))
    chaospoint.arm("p", exception=Boom, registry=registry)
    for one in kept:
        with pytest.raises(Boom):
            one(b"")
    kept.clear()
    chaospoint.arm("p", latency=0, registry=registry)


def fetch() -> int:
    return 1


MOCKS: dict[str, Callable[[], Any]] = {
    "mock": Mock,
    "mock of a function": lambda: Mock(spec=fetch),
    "magic mock": MagicMock,
    "mock of a method": lambda: Mock(spec=Connection).send,
    "autospec": lambda: create_autospec(fetch),
    "async mock": AsyncMock,
}


@pytest.mark.parametrize("name", MOCKS)
def test_a_mock_fails_where_a_rule_says_so(name: str, registry: Registry) -> None:
    mock = registry.point("p")(MOCKS[name]())
    with chaospoint.armed("p", exception=Boom, registry=registry), pytest.raises(Boom):
        finish(mock())
    finish(mock())


def test_a_transport_that_opentelemetry_has_instrumented(registry: Registry) -> None:
    httpx = pytest.importorskip("httpx")
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
    instrumentor = instrumentation.HTTPXClientInstrumentor()
    instrumentor.instrument()
    try:
        registry.point("http.send")(httpx.HTTPTransport.handle_request)
        fault = chaospoint.armed("http.send", exception=httpx.ConnectTimeout, registry=registry)
        with fault as armed, pytest.raises(httpx.ConnectTimeout):
            httpx.get("http://127.0.0.1:9/")
        assert armed.injections == 1
    finally:
        instrumentor.uninstrument()
