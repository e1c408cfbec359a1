"""The marker ``chaos``: the test function arms the faults itself, just before it runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any
from unittest import TestCase

import pytest

from chaospoint._kernel.reporting import located
from chaospoint.errors import ChaosError

if TYPE_CHECKING:
    from chaospoint.testing.kit.chaos import Chaos

__all__ = ["describe_marker", "marked"]


def describe_marker(config: pytest.Config) -> None:
    """Register the marker, for ``pytest --markers`` and ``--strict-markers``."""
    config.addinivalue_line(
        "markers",
        "chaos(point, **keys): arm a fault for the test, with the keys of chaospoint.arm;"
        " must_fire=False if the test may pass without it firing",
    )


def _marks(item: pytest.Item) -> list[pytest.Mark]:
    """Return the markers: those nearest to the test first, each group from top to bottom."""
    return [
        mark
        for node in reversed(item.listchain())
        # Decorators apply from the bottom up; a module has a list, `pytestmark`, in order.
        for mark in node.own_markers[:: 1 if isinstance(node, pytest.Module) else -1]
        if mark.name == "chaos"
    ]


@contextmanager
def marked(item: pytest.Item, kit_of: Callable[[pytest.Item], Chaos]) -> Iterator[None]:
    """Let the test function arm the faults of its markers, in its own thread and task.

    Then calls in fixtures and ``setUp`` do not use up a rule, and scoped rules act in the test.
    ``kit_of``: returns the `Chaos` of a test.
    """
    marks = _marks(item)
    if not marks:
        yield
        return
    kit = kit_of(item)

    def arm() -> None:
        for mark in reversed(marks):  # because the last rule armed takes precedence
            _arm(kit, mark, item)

    if not isinstance(item, pytest.Function) or _runs_coroutine_examples(item.obj):
        arm()  # asyncio runs the examples in a copy of the current context
        yield
        return
    function = item.obj
    item.obj = arming_function = _arms_first(arm, function)
    owner = item.instance.__dict__ if isinstance(item.instance, TestCase) else {}
    owner[item.name] = arming_function  # unittest looks here for a coroutine function
    try:
        yield
    finally:
        item.obj = function
        owner.pop(item.name, None)


def _runs_coroutine_examples(function: Callable[..., Any]) -> bool:
    """Whether Hypothesis runs its examples with a coroutine function."""
    test = getattr(getattr(function, "hypothesis", None), "inner_test", None)
    return inspect.iscoroutinefunction(test)


def _arms_first(arm: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: object, **kwargs: object) -> object:
            arm()
            return await function(*args, **kwargs)

        return awaited

    @wraps(function)
    def called(*args: object, **kwargs: object) -> object:
        arm()
        return function(*args, **kwargs)

    return called


def _arm(kit: Chaos, mark: pytest.Mark, item: pytest.Item) -> None:
    if len(mark.args) != 1:
        pytest.fail(
            "@pytest.mark.chaos takes one positional argument (a point, a Rule or a Plan) and then "
            f"keywords, and got {_written(mark)}: write "
            "@pytest.mark.chaos('payment.charge', exception=TimeoutError)",
            pytrace=False,
        )
    path, line, _ = item.reportinfo()
    try:
        with located(str(path), (line or 0) + 1):  # so that warnings name the test and not pytest
            kit.arm(*mark.args, **mark.kwargs)
    except ChaosError as error:
        message = f"@pytest.mark.chaos({mark.args[0]!r}, ...): {error}"
    else:
        return
    pytest.fail(message, pytrace=False)


def _written(mark: pytest.Mark) -> str:
    words = [*map(repr, mark.args), *(f"{key}={value!r}" for key, value in mark.kwargs.items())]
    return f"({', '.join(words)})"
