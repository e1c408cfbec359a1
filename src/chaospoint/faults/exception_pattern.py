"""An exception given as an instance: a pattern, from which each injection gets one of its own.

An exception consists of its arguments, its attributes, slots of Python and of C (such as the file
name of an `OSError`), its cause and its notes.  When a rule is read, ways to build it anew are
tried until one gives all of these.
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
    """How to build exceptions like one.

    ``make`` builds one; ``slots`` and ``state`` are the slots and attributes that it leaves
    different. ``args``: the arguments from which the class alone builds it, or None.
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
        """Return the pattern of an instance; `Refusal` if none builds the same again."""
        return transparently(cls._of, pattern)

    @classmethod
    def _of(cls, pattern: BaseException) -> Pattern:
        failed = "it comes out different"
        try:
            str(pattern)
            repr(pattern)
        except Exception as error:
            problem = f"cannot be shown: {describe(error)}"
            raise Refusal(problem, "give one whose text can be made", value=pattern) from None
        for make, args in _ways(pattern):
            try:
                found = cls._found(pattern, make, args)
                if found is not None and _same_exception(found(), pattern):
                    return found
            except (Exception, SystemExit) as error:
                failed = describe(error)
        raise Refusal(
            f"cannot be built again as it is: {failed}",
            f"give a function that makes it: lambda: {type(pattern).__name__}(...)",
            value=pattern,
        )

    @classmethod
    def _found(
        cls,
        pattern: BaseException,
        make: Callable[[], BaseException],
        args: tuple[object, ...] | None,
    ) -> Pattern | None:
        made = make()
        if type(made) is not type(pattern) or made is pattern:
            return None
        state, slots = _state(pattern), dict(_slots(pattern))
        if _state(made).keys() - state.keys():
            return None
        there, given = _state(made), dict(_slots(made))
        state = {n: one for n, one in state.items() if not _same(there.get(n, _MISSING), one)}
        slots = {n: one for n, one in slots.items() if not _same(given.get(n, _MISSING), one)}
        for name in [*slots]:
            if not _can_set(made, name, slots[name]):
                del slots[name]  # the comparison tells whether that matters
        notes = list(getattr(pattern, "__notes__", ()))
        if was_injected(pattern) and notes:
            notes = notes[:-1]  # ours
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
        """Build one."""
        made = self.make()
        held = vars(made)
        for name in [name for name in held if name.startswith("__")]:
            del held[name]  # of a copy: the notes and the marks of the pattern
        for name, value in self.slots.items():
            _set(made, name, value)
        held.update(self.state)
        if self.notes:
            held["__notes__"] = [*self.notes]
        if self.cause is not None:
            _set(made, "__cause__", self.cause)
        _set(made, "__suppress_context__", self.suppress)
        return made


def _ways(
    pattern: BaseException,
) -> Iterator[tuple[Callable[[], BaseException], tuple[object, ...] | None]]:
    """Yield the ways to build it anew: from its arguments, as a copy, and without its constructor;
    with the arguments, for the first."""
    kind = type(pattern)
    try:
        reduced: Any = pattern.__reduce__()
        if reduced[0] is kind:
            yield partial(kind, *reduced[1]), tuple(reduced[1])
    except Exception:
        pass  # foreign code; there are other ways
    yield partial(copy.copy, pattern), None
    yield partial(_blank, kind, pattern.args), None


_set = object.__setattr__  # for an exception may be frozen


def _blank(kind: type[BaseException], args: tuple[object, ...]) -> BaseException:
    made = kind.__new__(kind, *args)
    _set(made, "args", args)
    return made


def _state(made: BaseException) -> dict[str, object]:
    """Return the attributes, without what notes and marks left there."""
    return {name: value for name, value in vars(made).items() if not name.startswith("__")}


def _slots(made: BaseException) -> Iterator[tuple[str, object]]:
    """Yield what is kept in slots, of Python and of C, by name."""
    for kind in type(made).__mro__:
        for name, slot in vars(kind).items():
            kept = isinstance(slot, MemberDescriptorType | GetSetDescriptorType)
            if kept and name not in _ELSEWHERE:
                try:
                    yield name, slot.__get__(made, type(made))
                except AttributeError:
                    pass  # it is not set


def _can_set(made: BaseException, name: str, value: object) -> bool:
    try:
        _set(made, name, value)
    except (AttributeError, TypeError):
        return False
    return True


def _same_exception(made: BaseException, pattern: BaseException) -> bool:
    if made is pattern or str(made) != str(pattern) or not _same(made.args, pattern.args):
        return False
    there, wanted = dict(_slots(made)), dict(_slots(pattern))
    return there.keys() == wanted.keys() and all(
        _same(there[name], value) or _computed(pattern, name, value)
        for name, value in wanted.items()
    )


def _computed(pattern: BaseException, name: str, value: object) -> bool:
    """Tell whether a slot gives another object each time it is read."""
    return not _same(getattr(pattern, name, _MISSING), value)


def _same(one: object, other: object) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # foreign code
        return False
