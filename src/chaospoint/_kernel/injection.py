"""What observers are told of: one immutable record per firing, before the effect happens."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from chaospoint._kernel.context import transparently

__all__ = ["Injection", "Observer", "injection_of", "mark", "was_injected"]

_MARK = "__chaospoint_injection__"


class Injection(NamedTuple):
    """One firing of one rule at one point.

    ``point``: the point's name. ``fault``: what acts, as in metrics: ``latency``,
    ``exception``, ``latency+exception``. ``rule``: the rule's text. ``ordinal``: which matching
    reach of the rule this was, from 1. ``source``: who armed the rule. ``latency``: the seconds
    asked for, or None. ``exception``: the name of the exception's type, or None.
    """

    point: str
    fault: str
    rule: str
    ordinal: int
    source: str
    latency: float | None
    exception: str | None


class Observer(Protocol):
    """Is told of every injection, on the thread and in the context of the call it hits."""

    def observe(self, injection: Injection) -> None:
        """Take note of ``injection``; keep it short, and raise nothing that matters.

        No lock of chaospoint's is held; what this raises is logged and goes no further.
        """


def mark(exception: BaseException, injection: Injection, note: str) -> None:
    """Make ``exception`` recognisable as injected: a PEP 678 note, and its `Injection`."""
    state = exception.__dict__  # and not by attribute: an exception may be frozen
    if not state:
        state["__notes__"] = [note]
    else:
        if _MARK in state:  # made once, injected again: it would gather notes and frames for ever
            state["__notes__"], exception.__traceback__ = [], None
        state["__notes__"] = [*state.get("__notes__", ()), note]
    state[_MARK] = injection


def was_injected(exception: BaseException) -> bool:
    """Tell whether ``exception`` itself was injected; its last note is ours then."""
    return _MARK in exception.__dict__


def injection_of(exc: BaseException | None) -> Injection | None:
    """Return the `Injection` behind an exception, or None if it was not injected.

    Looks through causes, contexts and exception groups, so an injected error that was wrapped
    or replaced on its way is found all the same.
    """
    if exc is not None and not isinstance(exc, BaseException):
        raise TypeError(f"injection_of takes an exception or None, not {exc!r}")
    return transparently(_find, exc)  # an attribute of a foreign exception may be code


def _find(exc: BaseException | None) -> Injection | None:
    seen: set[int] = set()
    queue = [exc]
    while queue:
        current = queue.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        found = getattr(current, _MARK, None)
        if isinstance(found, Injection):
            return found
        queue += [current.__context__, current.__cause__]
        if isinstance(current, BaseExceptionGroup):
            queue += reversed(current.exceptions)
    return None
