"""What stands on the stack while a function is armed, and who is seen by those who look up.

A call that nothing fires in has one frame more, which has the function's names, its file and its
first line; a call that chaospoint makes has one more again, of chaospoint itself.
"""

from __future__ import annotations

import faulthandler
import inspect
import logging
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any

import pytest
from helpers import Boom, finish, run
from patching_kit import ARMED, STATES, extra_frames, labelled, state

import chaospoint
from chaospoint import Registry
from chaospoint._kernel import drive
from chaospoint._patching import calls

every_state = pytest.mark.parametrize("name", STATES)
PLAIN = ("never armed", "disarmed")
KINDS = ("function", "coroutine", "generator", "async generator")


def make(registry: Registry, kind: str, body: Callable[[], Any]) -> Callable[[], Any]:
    """Return a decorated function that calls ``body`` and returns or yields what it returns."""
    point = labelled(registry)

    @point
    def function() -> Any:
        return body()

    @point
    async def coroutine() -> Any:
        return body()

    @point
    def generator() -> Any:
        yield body()

    @point
    async def async_generator() -> Any:
        yield body()

    made = (function, coroutine, generator, async_generator)
    return dict(zip(KINDS, made, strict=True))[kind]


def entries(error: BaseException) -> list[tuple[str, str, int]]:
    """Return file, function and line of each frame from this file's callers down."""
    return [
        (frame.f_code.co_filename, frame.f_code.co_name, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]


def fail() -> None:
    raise ValueError("own")


# -- tracebacks --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@every_state
def test_an_exception_of_the_function_passes_at_most_one_frame_of_chaospoint(
    registry: Registry, kind: str, name: str
) -> None:
    function = make(registry, kind, fail)
    assert isinstance(function, FunctionType)
    own = function.__name__

    def seen() -> list[tuple[str, str, int]]:
        with pytest.raises(ValueError, match="own") as failure:
            finish(function())
        assert not hasattr(failure.value, "__notes__")
        found = entries(failure.value)
        return [one for one in found if one[1] in (own, "fail") or "chaospoint" in one[0]]

    plain = seen()
    assert [one[1] for one in plain] == [own, "fail"]
    with state(registry, name):
        found = seen()
    head = (__file__, own, function.__code__.co_firstlineno)
    ours = (calls.__file__, "_" + kind.replace(" ", "_"))
    if name in PLAIN:
        assert found == plain
    elif kind == "function":
        # The trampoline stands on the stack only for a plain function: the others are made by
        # it, and run when it has returned.
        assert found == [head, *plain]
    else:
        assert [one[:2] for one in found[:-2]] == [ours][: extra_frames(name, kind)]
        assert found[-2:] == plain


@pytest.mark.parametrize("kind", KINDS)
def test_an_injected_exception_comes_from_two_frames_of_chaospoint(
    registry: Registry, kind: str
) -> None:
    function = make(registry, kind, fail)
    with (
        chaospoint.armed("p", registry=registry, exception=Boom),
        pytest.raises(Boom) as failure,
    ):
        finish(function())
    found = [one for one in entries(failure.value) if one[0] in (calls.__file__, drive.__file__)]
    drives = "adrive" if kind in ("coroutine", "async generator") else "drive"
    goes_on = [] if kind == "function" else ["_" + kind.replace(" ", "_")]
    assert [one[1] for one in found] == [*goes_on, drives]
    assert "injected by chaospoint at 'p'" in "".join(traceback.format_exception(failure.value))


@every_state
def test_tracebacks_show_the_head_of_the_function_and_no_misplaced_marks(
    registry: Registry, name: str
) -> None:
    function = make(registry, "function", fail)
    with state(registry, name):
        try:
            function()
        except ValueError as error:
            shown = "".join(traceback.format_exception(error))
            rich = "".join(
                traceback.TracebackException.from_exception(error, capture_locals=True).format()
            )
    head, body = shown.count("    @point\n"), shown.count("    return body()\n")
    assert (head, body) == (0 if name in PLAIN else 1, 1)
    assert "^" not in shown.partition("@point")[2].partition("  File")[0]
    assert rich.count("    return body()\n") == 1


@every_state
def test_locals_of_every_frame_can_be_shown(registry: Registry, name: str) -> None:
    kept = "held"

    @labelled(registry)
    def function(a: int, *args: int, k: int = 2, **rest: int) -> list[dict[str, Any]]:
        assert kept
        frame: FrameType | None = sys._getframe()
        shown = []
        while (
            frame is not None and frame.f_code.co_name != "test_locals_of_every_frame_can_be_shown"
        ):
            shown.append(dict(frame.f_locals))
            frame = frame.f_back
        return shown

    with state(registry, name):
        own, *others = function(1, 2, k=3, x=4)
    expected = {"a": 1, "args": (2,), "k": 3, "rest": {"x": 4}}
    assert expected.items() <= own.items()
    assert len(others) == extra_frames(name)
    if others:
        assert expected.items() <= others[-1].items()


@every_state
def test_faulthandler_dumps_the_stack(registry: Registry, name: str) -> None:
    with tempfile.TemporaryFile("w+") as file:
        function = make(registry, "function", lambda: faulthandler.dump_traceback(file))
        with state(registry, name):
            function()
        file.seek(0)
        lines = [line for line in file if line.endswith(" in function\n")]
    assert len(lines) == (1 if name in PLAIN else 2)
    assert all(__file__ in line for line in lines)


# -- who called? What cannot be kept -----------------------------------------------------


def above() -> tuple[str, str, int]:
    """Return module, name and line of the frame above the caller's."""
    frame = sys._getframe(2)
    return frame.f_globals["__name__"], frame.f_code.co_name, frame.f_lineno


def caller_of(function: Callable[[], Any]) -> Any:
    return function()


HERE = (__name__, "caller_of", caller_of.__code__.co_firstlineno + 1)


def seen_above(name: str, function: Any) -> tuple[str, str, int]:
    """Return who is seen one above a plain function in each state."""
    if name in PLAIN:
        return HERE
    return (__name__, "function", function.__code__.co_firstlineno)


@every_state
def test_the_calling_frame_shows_the_head_of_an_armed_function(
    registry: Registry, name: str
) -> None:
    looks: list[Callable[[], Any]] = [
        above,
        lambda: _place(inspect.currentframe().f_back.f_back),
        lambda: _place(inspect.stack()[2].frame),
    ]
    for look in looks:
        function = make(registry, "function", look)
        expected = seen_above(name, function)
        with state(registry, name):
            found = caller_of(function)
        assert found == expected


def _place(frame: FrameType | None) -> tuple[str, str, int]:
    assert frame is not None
    return frame.f_globals["__name__"], frame.f_code.co_name, frame.f_lineno


@pytest.mark.parametrize("name", ARMED)
def test_the_caller_is_one_frame_higher_up(registry: Registry, name: str) -> None:
    function = make(registry, "function", lambda: _place(sys._getframe(3)))
    with state(registry, name):
        assert caller_of(function) == HERE


@every_state
@pytest.mark.parametrize("kind", ["coroutine", "generator", "async generator"])
def test_coroutines_and_generators_that_do_not_fire_are_seen_from_their_caller(
    registry: Registry, kind: str, name: str
) -> None:
    """The trampoline has returned when they run."""
    function: Any = make(registry, kind, lambda: _place(sys._getframe(2)))

    def caller() -> Any:
        return next(function())

    async def acaller() -> Any:
        return await (function() if kind == "coroutine" else anext(function()))

    with state(registry, name):
        _, found, _ = caller() if kind == "generator" else run(acaller())
    ours = "_" + kind.replace(" ", "_")
    assert found == (
        ours if extra_frames(name, kind) else "caller" if kind == "generator" else "acaller"
    )


@every_state
def test_a_warning_for_the_caller_blames_the_functions_head_while_armed(
    registry: Registry, name: str
) -> None:
    def warn() -> None:
        warnings.warn("old", DeprecationWarning, stacklevel=3)  # from here: the caller of function

    function = make(registry, "function", warn)
    _, _, line = seen_above(name, function)
    with state(registry, name), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        caller_of(function)
    (warning,) = caught
    assert (warning.filename, warning.lineno) == (__file__, line)


@every_state
def test_a_log_line_for_the_caller_blames_the_functions_head_while_armed(
    registry: Registry, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def log() -> None:
        logging.getLogger("host").warning("own", stacklevel=2)
        logging.getLogger("host").warning("caller's", stacklevel=3)

    function = make(registry, "function", log)
    _, above, line = seen_above(name, function)
    with state(registry, name):
        caller_of(function)
    own, callers = [one for one in caplog.records if one.name == "host"]
    assert (own.funcName, own.pathname) == ("function", __file__)
    assert (callers.funcName, callers.lineno) == (above, line)
