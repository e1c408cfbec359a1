"""The exceptions of chaospoint, and the default exception that it injects.

::

    Exception
    ├── ChaosError              a wrong use of chaospoint, or a failure in it; never injected
    │   ├── InvalidPlan         a rule, plan, file or body is invalid
    │   ├── UnknownPoint        the point does not exist (``strict=True``)
    │   ├── InvalidPoint        a name is invalid, or an object cannot be decorated
    │   ├── UnsupportedFault    no placement of the point can express the fault
    │   ├── NotPermitted        chaospoint is disabled, or not allowed in this environment
    │   ├── LimitExceeded       a rule exceeds a configured limit
    │   └── StoreError          the store cannot be read or written
    │       └── StoreBusy       another process is writing the store
    └── InjectedFault           the default injected exception

    UserWarning
    └── ChaosWarning            a rule armed in code will not act as written
"""

from __future__ import annotations

from typing import Any, Self, TypeVar

from chaospoint._kernel.context import transparently

__all__ = [
    "ChaosError",
    "ChaosWarning",
    "InjectedFault",
    "InvalidPlan",
    "InvalidPoint",
    "LimitExceeded",
    "NotPermitted",
    "StoreBusy",
    "StoreError",
    "UnknownPoint",
    "UnsupportedFault",
]


_E = TypeVar("_E", bound="ChaosError")


class ChaosError(Exception):
    """The base class of all errors of chaospoint; injected exceptions do not derive from it.

    Pickling and copying keep all attributes. An attribute that cannot be pickled is replaced by
    its `repr`.
    """

    # `Exception` would call the constructor with the message alone, and subclasses take more.
    def __reduce__(self) -> tuple[object, ...]:
        state = {name: transparently(_portable, value) for name, value in vars(self).items()}
        return _restored, (type(self), self.args), state

    def __copy__(self) -> Self:
        error = _restored(type(self), self.args)
        vars(error).update(vars(self))
        return error

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()  # the attributes belong to the caller, so they are not copied


def _restored(kind: type[_E], args: tuple[object, ...]) -> _E:
    return kind.__new__(kind, *args)


def _portable(value: object) -> object:
    """Return the value if it can be pickled and loaded, otherwise its `repr`."""
    import pickle  # late, because the import takes 2 ms and is seldom needed

    try:
        pickle.loads(pickle.dumps(value))
    except Exception:  # code of the program runs here and may raise anything
        try:
            return repr(value)
        except Exception:
            return f"<{type(value).__name__}>"
    return value


class InvalidPlan(ChaosError):
    """A plan, or one of its rules, is invalid; no rule of the plan is armed.

    The message names the error, the value and the cure. Attributes hold the parts for tools:
    ``rule`` (its text), ``field`` (the key), ``value`` (as given) and ``cure``. ``unquoted`` is the
    message without the text of the rule, which may contain values that logs must not show.
    """

    def __init__(
        self,
        message: str,
        *,
        rule: str | None = None,
        field: str | None = None,
        value: object = None,
        cure: str | None = None,
        unquoted: str | None = None,
    ) -> None:
        super().__init__(message)
        self.unquoted = message if unquoted is None else unquoted
        self.rule = rule
        self.field = field
        self.value = value
        self.cure = cure


class UnknownPoint(ChaosError):
    """The point does not exist, or no point matches the glob.

    ``name``: the name or glob. ``close``: the most similar names of existing points.
    """

    def __init__(self, name: str, close: tuple[str, ...] = ()) -> None:
        hint = f"did you mean {', '.join(map(repr, close))}?" if close else "no name is near it"
        super().__init__(f"no point is named {name!r}: {hint}")
        self.name = name
        self.close = close


class InvalidPoint(ChaosError):
    """The name of a point is invalid, or an object cannot be decorated."""


class UnsupportedFault(ChaosError):
    """No placement of the point can express the fault: a block, say, returns no value."""


class NotPermitted(ChaosError):
    """chaospoint is disabled, or not allowed in this environment."""


class LimitExceeded(ChaosError):
    """A rule exceeds a configured limit."""


class StoreError(ChaosError):
    """The store cannot be read or written; its contents did not change."""


class StoreBusy(StoreError):
    """Another process is writing the store at the moment; try again."""


class InjectedFault(Exception):
    """The exception that a rule injects if it names no other.

    It does not derive from `ChaosError`, so code that handles errors of chaospoint does not catch
    injected faults.
    """


class ChaosWarning(UserWarning):
    """A rule that code armed will not act as written."""
