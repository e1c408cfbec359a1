"""An exception given as an instance, from which each injection builds an equal one.

An exception consists of its arguments, attributes, slots in Python and in C (such as the file name
of an `OSError`), cause and notes. When a rule is read, several ways to build the exception are
tried until one reproduces all of these.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from chaospoint._kernel.context import transparently
from chaospoint._kernel.injection import was_injected
from chaospoint.models.refusal import Refusal, describe

__all__ = ["Pattern"]

_ELSEWHERE: Final = {
    "__dict__",
    "__weakref__",
    "__cause__",
    "__context__",
    "__suppress_context__",
    "__traceback__",
}
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Pattern:
    """Builds exceptions that are equal to a given one.

    ``make`` builds the exception; ``slots`` and ``state`` are the slots and attributes to set after
    that. ``args``: the arguments if the class and they are enough, else None.
    """

    make: Callable[[], BaseException]
    slots: Mapping[str, object]
    state: Mapping[str, object]
    notes: tuple[str, ...] = ()
    cause: BaseException | None = None
    suppress: bool = False
    args: tuple[object, ...] | None = None

    @classmethod
    def of(cls, pattern: BaseException) -> Pattern:
        """Return the pattern of an instance; `Refusal` if no way builds an equal one."""
        return transparently(cls._of, pattern)

    @classmethod
    def _of(cls, pattern: BaseException) -> Pattern:
        failure = "the copy is different"
        try:
            str(pattern)
            repr(pattern)
        except Exception as error:
            problem = f"cannot be shown: {describe(error)}"
            raise Refusal(problem, "give one whose str() and repr() work", value=pattern) from None
        for make, args in _ways(pattern):
            try:
                candidate = cls._completed(pattern, make, args)
                if candidate is not None and _same_exception(candidate(), pattern):
                    return candidate
            except (Exception, SystemExit) as error:
                failure = describe(error)
        raise Refusal(
            f"cannot be copied: {failure}",
            f"give a function that makes it: lambda: {type(pattern).__name__}(...)",
            value=pattern,
        )

    @classmethod
    def _completed(
        cls,
        pattern: BaseException,
        make: Callable[[], BaseException],
        args: tuple[object, ...] | None,
    ) -> Pattern | None:
        error = make()
        if type(error) is not type(pattern) or error is pattern:
            return None
        state, slots = _state(pattern), dict(_slots(pattern))
        if _state(error).keys() - state.keys():
            return None
        built_state, built_slots = _state(error), dict(_slots(error))
        state = {n: v for n, v in state.items() if not _same(built_state.get(n, _MISSING), v)}
        slots = {n: v for n, v in slots.items() if not _same(built_slots.get(n, _MISSING), v)}
        for name in [*slots]:
            if not _can_set(error, name, slots[name]):
                del slots[name]  # the comparison that follows finds out whether it matters
        notes = list(getattr(pattern, "__notes__", ()))
        if was_injected(pattern) and notes:
            notes = notes[:-1]  # the last one is the note of an injection
        alone = not (state or slots or notes or pattern.__cause__ or pattern.__suppress_context__)
        return cls(
            make,
            slots,
            state,
            tuple(notes),
            pattern.__cause__,
            pattern.__suppress_context__,
            args if alone else None,
        )

    def __call__(self) -> BaseException:
        """Build an exception."""
        error = self.make()
        held = vars(error)
        for name in [name for name in held if name.startswith("__")]:
            del held[name]  # a copy also has the notes and marks of the original
        for name, value in self.slots.items():
            _set(error, name, value)
        held.update(self.state)
        if self.notes:
            held["__notes__"] = [*self.notes]
        if self.cause is not None:
            _set(error, "__cause__", self.cause)
        _set(error, "__suppress_context__", self.suppress)
        return error


def _ways(
    pattern: BaseException,
) -> Iterator[tuple[Callable[[], BaseException], tuple[object, ...] | None]]:
    """Yield ways to build the exception, with its arguments for the first way.

    The ways: from its arguments, as a copy, and without its constructor.
    """
    kind = type(pattern)
    try:
        reduced: Any = pattern.__reduce__()
        if reduced[0] is kind:
            yield partial(kind, *reduced[1]), tuple(reduced[1])
    except Exception:
        pass  # foreign code; there are other ways
    yield partial(copy.copy, pattern), None
    yield partial(_blank, kind, pattern.args), None


_set = object.__setattr__  # works for frozen classes too


def _blank(kind: type[BaseException], args: tuple[object, ...]) -> BaseException:
    error = kind.__new__(kind, *args)
    _set(error, "args", args)
    return error


def _state(error: BaseException) -> dict[str, object]:
    """Return the attributes, without notes and marks."""
    return {name: value for name, value in vars(error).items() if not name.startswith("__")}


def _slots(error: BaseException) -> Iterator[tuple[str, object]]:
    """Yield the names and values of slots in Python and in C."""
    for kind in type(error).__mro__:
        for name, slot in vars(kind).items():
            kept = isinstance(slot, MemberDescriptorType | GetSetDescriptorType)
            if kept and name not in _ELSEWHERE:
                try:
                    yield name, slot.__get__(error, type(error))
                except AttributeError:
                    pass  # the slot is empty


def _can_set(error: BaseException, name: str, value: object) -> bool:
    try:
        _set(error, name, value)
    except (AttributeError, TypeError):
        return False
    return True


def _same_exception(error: BaseException, pattern: BaseException) -> bool:
    if error is pattern or str(error) != str(pattern) or not _same(error.args, pattern.args):
        return False
    built, wanted = dict(_slots(error)), dict(_slots(pattern))
    return built.keys() == wanted.keys() and all(
        _same(built[name], value) or _computed(pattern, name, value)
        for name, value in wanted.items()
    )


def _computed(pattern: BaseException, name: str, value: object) -> bool:
    """Return whether each read of a slot returns another object."""
    return not _same(getattr(pattern, name, _MISSING), value)


def _same(value: object, other: object) -> bool:
    if value is other:
        return True
    try:
        return type(value) is type(other) and bool(value == other)
    except Exception:  # foreign code
        return False
