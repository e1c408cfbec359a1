"""The states of a point, and who looks at what is placed there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from helpers import code_of

import chaospoint
from chaospoint import Armed, Point, Registry
from chaospoint._patching.trampoline import clone_of

NEVER = 10**9
"""A ``skip`` that no test comes to the end of."""

STATES: dict[str, tuple[dict[str, Any], ...]] = {
    "never armed": (),
    "armed": ({"skip": NEVER},),
    "two rules": ({"skip": NEVER}, {"skip": NEVER}),
    "asks": ({"skip": NEVER, "where": {"tenant": "acme"}},),
    "after": ({"skip": NEVER, "when": "after"},),
    "scoped": ({"skip": NEVER, "scope": "context"},),
    "acts": ({},),
    "acts among two": ({}, {"skip": NEVER}),
    "acts after": ({"when": "after"},),
    "disarmed": (),
}
"""What is armed at a point, by a name for it: one state for each kind of trampoline, at least.

What acts is a latency of nothing: the whole way is gone, and the call is made.
"""

ARMED = tuple(name for name, rules in STATES.items() if rules)
IDLE = ("armed", "two rules", "asks", "scoped")
"""Armed, and what is no plain function gets the callable's own."""


def extra_frames(name: str, kind: str = "function") -> int:
    """Return how many frames chaospoint has below the caller of a call, in a state."""
    return int(name in ARMED and (kind == "function" or name not in IDLE))


def labelled(registry: Registry, name: str = "p") -> Point:
    """Return a point that the state which asks for a label can find."""
    return registry.point(name, labels={"tenant": "acme"})


@contextmanager
def state(registry: Registry, name: str, pattern: str = "p") -> Iterator[list[Armed]]:
    """Hold a point in one of the states."""
    if name == "disarmed":
        chaospoint.arm(pattern, registry=registry, latency=0).disarm()
    handles = [
        chaospoint.arm(pattern, registry=registry, latency=0, **keys) for keys in STATES[name]
    ]
    try:
        yield handles
    finally:
        for handle in handles:
            handle.disarm()


def patched(call: Any) -> bool:
    """Whether a function, or that of a method, has a trampoline now."""
    return clone_of(code_of(call)) is not None


def function_of(call: Any) -> FunctionType:
    """Return the function that a method calls, or the function."""
    function = getattr(call, "__func__", call)
    assert isinstance(function, FunctionType)
    return function


def same_in(
    registry: Registry, name: str, call: Callable[[], Any], look: Callable[[], Any]
) -> None:
    """Assert that ``look`` sees the same before, in and after a state of the point."""
    before = look()
    assert not patched(call)
    with state(registry, name):
        assert patched(call) is (name in ARMED)
        assert look() == before
    assert not patched(call)
    assert look() == before
