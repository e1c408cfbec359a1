"""What can go wrong with chaospoint itself, and what it raises on your behalf.

::

    Exception
    ├── ChaosError              your mistake, or the way things are; never injected
    │   ├── InvalidPlan         a rule, plan, file or body that means nothing
    │   ├── UnknownPoint        no point has this name (``strict=True``)
    │   ├── InvalidPoint        a bad name, or a thing that cannot be decorated
    │   ├── UnsupportedFault    no placement of the point can express the fault
    │   ├── NotPermitted        disabled, or chaos is not allowed here
    │   ├── LimitExceeded       a bound that nothing may pass
    │   └── StoreError          the store of the desired state cannot be read or written
    │       └── StoreBusy       somebody else is writing it at this moment
    └── InjectedFault           what you asked for: the default injected exception

    UserWarning
    └── ChaosWarning            something armed in code will not do what it says
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
    """The root of every error that is about chaospoint and not an injected fault.

    It pickles and copies as it stands, with all of its attributes; a value that cannot be pickled
    comes back as its `repr`.
    """

    # The arguments of a constructor differ from the message, which is all that `Exception` keeps.
    def __reduce__(self) -> tuple[object, ...]:
        state = {name: transparently(_portable, value) for name, value in vars(self).items()}
        return _restored, (type(self), self.args), state

    def __copy__(self) -> Self:
        made = _restored(type(self), self.args)
        vars(made).update(vars(self))
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()  # the attributes are what was given: they are not ours to copy


def _restored(kind: type[_E], args: tuple[object, ...]) -> _E:
    return kind.__new__(kind, *args)


def _portable(value: object) -> object:
    """Return the value if it survives pickling, or else its `repr`."""
    import pickle  # which costs 2 ms, for a thing that seldom happens

    try:
        pickle.loads(pickle.dumps(value))
    except Exception:  # the value is foreign code, and may raise anything
        try:
            return repr(value)
        except Exception:
            return f"<{type(value).__name__}>"
    return value


class InvalidPlan(ChaosError):
    """A plan, or a rule of one, was refused; nothing of it is armed.

    The message says what happened, the value and the cure; the parts are kept for tools:
    ``rule`` (which one), ``field`` (which key), ``value`` (as given) and ``cure``. ``unquoted`` is
    the message without the text of the rule, which may hold values that logs must not show.
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
    """No point has the name, or matches the glob, that was asked for.

    ``name`` is what was asked for, ``close`` the nearest names that exist.
    """

    def __init__(self, name: str, close: tuple[str, ...] = ()) -> None:
        hint = f"did you mean {', '.join(map(repr, close))}?" if close else "no name is near it"
        super().__init__(f"no point is named {name!r}: {hint}")
        self.name = name
        self.close = close


class InvalidPoint(ChaosError):
    """A name that cannot be a point's, or a thing that cannot be decorated."""


class UnsupportedFault(ChaosError):
    """No placement of the point can express the fault, such as a return value at a block."""


class NotPermitted(ChaosError):
    """chaospoint is disabled, or not allowed in this environment."""


class LimitExceeded(ChaosError):
    """A bound that nothing may pass was passed."""


class StoreError(ChaosError):
    """The store of the desired state cannot be read or written; nothing in it was changed."""


class StoreBusy(StoreError):
    """Somebody else is writing the store at this moment, so it has to be tried again."""


class InjectedFault(Exception):
    """The exception that is injected when none is named.

    It is not a `ChaosError`: this is what you asked for, that would be your mistake.
    """


class ChaosWarning(UserWarning):
    """Something that code armed will not do what it seems to say."""
