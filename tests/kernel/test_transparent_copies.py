"""What runs with every point transparent runs in a copy of the context, which is simply left."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any
from weakref import ref
from wsgiref.util import setup_testing_defaults

import pytest

from chaospoint import Registry, arm
from chaospoint._kernel.bell import Bell
from chaospoint._kernel.context import atransparently, in_chaospoint, set_safely, transparently
from chaospoint._registry import registry as _registry
from chaospoint._registry.registry import before_first_point, default_registry
from chaospoint.config import Settings
from chaospoint.control import asgi, wsgi
from chaospoint.control.service import Service
from chaospoint.errors import InvalidPlan

here: ContextVar[str] = ContextVar("here", default="nowhere")


def test_a_call_sees_the_context_and_leaves_it_as_it_was() -> None:
    def call(place: str) -> tuple[str, bool]:
        seen = here.get(), in_chaospoint.get()
        here.set(place)
        return seen

    set_safely(here, "outside")
    assert transparently(call, "within") == ("outside", True)
    assert (here.get(), in_chaospoint.get()) == ("outside", False)


def test_other_tasks_meet_points_while_one_waits_transparently() -> None:
    async def answer(waits: asyncio.Event) -> tuple[bool, bool, bool]:
        before = in_chaospoint.get()
        started = asyncio.create_task(_look())
        await waits.wait()
        return before, in_chaospoint.get(), await started

    async def _look() -> bool:
        return in_chaospoint.get()

    async def main() -> tuple[Any, bool, bool]:
        waits = asyncio.Event()
        task = asyncio.create_task(_ask(waits))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        other = await asyncio.create_task(_look())
        mine = in_chaospoint.get()
        waits.set()
        return await task, other, mine

    async def _ask(waits: asyncio.Event) -> tuple[object, bool]:
        return await atransparently(answer, waits), in_chaospoint.get()

    (seen, after), other, mine = asyncio.run(main())
    assert seen == (True, True, True)
    assert (after, other, mine) == (False, False, False)


def test_threads_that_a_task_asks_are_transparent_as_it_is() -> None:
    async def main() -> object:
        return await atransparently(asyncio.to_thread, in_chaospoint.get)

    assert asyncio.run(main()) is True
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(in_chaospoint.get()))
    thread.start()
    thread.join(10)
    assert found == [False]


def test_an_exception_thrown_into_a_task_reaches_the_awaited_object() -> None:
    seen: list[str] = []

    async def answer(forever: asyncio.Future[None]) -> str:
        try:
            await forever
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)
            return "answered all the same"
        return ""

    async def main() -> object:
        forever = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(_asked(answer, forever))
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(main()) == "answered all the same"
    assert seen == ["cancelled"]


async def _asked(call: Any, *args: object) -> object:
    return await atransparently(call, *args)


def test_an_awaited_coroutine_is_closed_with_the_call() -> None:
    ends: list[tuple[str, bool]] = []

    async def answer() -> None:
        try:
            await _once()
        finally:
            ends.append(("closed", in_chaospoint.get()))

    asking = _asked(answer)
    asking.send(None)  # type: ignore[attr-defined]
    asking.close()  # type: ignore[attr-defined]
    assert ends == [("closed", True)]


def test_its_exceptions_come_out() -> None:
    async def answer() -> None:
        await _once()
        raise LookupError("none")

    asking = _asked(answer)
    assert asking.send(None) == "item"  # type: ignore[attr-defined]
    with pytest.raises(LookupError, match="none"):
        asking.send(None)  # type: ignore[attr-defined]


class _Once:
    def __await__(self) -> Any:
        yield "item"


def _once() -> _Once:
    return _Once()


class Marks(Exception):
    """Sets a variable where it is built, shown or pickled."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        here.set("within")

    def __str__(self) -> str:
        here.set("within")
        return "marks"

    def __reduce__(self) -> str:
        here.set("within")
        raise TypeError("it cannot be pickled")


def _arms_an_instance() -> None:
    pattern = Marks()
    set_safely(here, "outside")
    _arms(pattern)


def _arms(exception: Exception | type[Exception]) -> None:
    registry = Registry()
    registry.point("p")
    arm("p", exception=exception, registry=registry)


def _pickles_a_refusal() -> None:
    refusal = InvalidPlan("", value=Marks())
    set_safely(here, "outside")
    pickle.dumps(refusal)


def _begins_with_the_first_point() -> None:
    before_first_point(lambda: here.set("within"))
    default_registry().point("first.of.all.points")


@pytest.mark.parametrize(
    "act",
    [
        _arms_an_instance,
        lambda: _arms(Marks),
        _pickles_a_refusal,
        _begins_with_the_first_point,
    ],
)
def test_no_variable_is_set_in_the_context_of_the_caller(
    act: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finalizer may call it in the middle of ``ContextVar.set``, which CPython 3.11 dies of."""
    monkeypatch.setattr(_registry, "_started", Bell())

    def main() -> str:
        set_safely(here, "outside")
        act()
        return here.get()

    assert copy_context().run(main) == "outside"


def test_what_middleware_sets_as_it_sends_an_answer_is_seen_after_it() -> None:
    service = Service.of(Settings())
    environ: dict[str, object] = {}
    setup_testing_defaults(environ)

    def main() -> list[str]:
        wsgi.app(service)(environ, lambda *_: here.set("sent"))  # type: ignore[arg-type, return-value]
        return [here.get(), asyncio.run(over_asgi())]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    async def send(_: object) -> None:
        here.set("sent")

    async def over_asgi() -> str:
        here.set("before")
        scope = {"type": "http", "method": "GET", "path": "/v1/status", "headers": []}
        await asgi.app(service)(scope, receive, send)
        return here.get()

    assert copy_context().run(main) == ["sent", "sent"]


def test_a_cancelled_task_leaves_no_cycle_behind() -> None:
    class Held:
        pass

    async def waits(_: Held) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> ref[Held]:
        held = Held()
        task = asyncio.create_task(atransparently(waits, held))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return ref(held)

    gc.disable()
    try:
        assert asyncio.run(main())() is None
    finally:
        gc.enable()
