"""The record of one firing, which observers receive before the effects happen."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from chaospoint._kernel.context import transparently

__all__ = ["Injection", "Observer", "injection_of", "mark", "was_injected"]

_MARK = "__chaospoint_injection__"


class Injection(NamedTuple):
    """One firing of one rule at one point.

    ``point``: the name of the point. ``fault``: the kinds of faults that act, as in metrics:
    ``latency``, ``exception``, ``latency+exception``. ``rule``: the text of the rule. ``ordinal``:
    the number of this reach of the rule, from 1. ``source``: where the rule was armed.
    ``latency``: the intended delay in seconds, or None. ``exception``: the name of the type of the
    exception, or None.
    """

    point: str
    fault: str
    rule: str
    ordinal: int
    source: str
    latency: float | None
    exception: str | None


class Observer(Protocol):
    """Receives every injection, in the thread and context of the affected call."""

    def observe(self, injection: Injection) -> None:
        """Record ``injection``, quickly: the call waits for it.

        chaospoint holds no lock meanwhile. Exceptions are logged and do not reach the caller.
        """


def mark(exception: BaseException, injection: Injection, note: str) -> None:
    """Mark ``exception`` as injected: add a note (PEP 678) and its `Injection`."""
    state = exception.__dict__  # setting attributes fails for frozen exceptions
    if not state:
        state["__notes__"] = [note]
    else:
        if _MARK in state:  # an instance that is injected again would collect notes and frames
            state["__notes__"], exception.__traceback__ = [], None
        state["__notes__"] = [*state.get("__notes__", ()), note]
    state[_MARK] = injection


def was_injected(exception: BaseException) -> bool:
    """Whether ``exception`` itself was injected; if so, its last note is chaospoint's."""
    return _MARK in exception.__dict__


def injection_of(exc: BaseException | None) -> Injection | None:
    """Return the `Injection` that caused an exception, or None.

    It searches causes, contexts and exception groups, so it also finds an injected exception that
    another one wraps or replaces. Raises `TypeError` for other objects. Thread-safe.
    """
    if exc is not None and not isinstance(exc, BaseException):
        raise TypeError(f"injection_of takes an exception or None, not {exc!r}")
    return transparently(_find, exc)  # an attribute may be a property of the program


def _find(exc: BaseException | None) -> Injection | None:
    seen: set[int] = set()
    queue = [exc]
    while queue:
        current = queue.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        injection = getattr(current, _MARK, None)
        if isinstance(injection, Injection):
            return injection
        queue += [current.__context__, current.__cause__]
        if isinstance(current, BaseExceptionGroup):
            queue += reversed(current.exceptions)
    return None
