"""How a function of the program is given the arguments of the call that it answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import CodeType

    from chaospoint._kernel.signature import Signature

__all__ = ["NO_ARGUMENTS", "Given", "Shape", "Takes"]

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


class Given(NamedTuple):
    """The arguments of a call: as it was made, and all that have a name by their names."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    named: Mapping[str, Any]


NO_ARGUMENTS = Given((), MappingProxyType({}), MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Takes:
    """What a function takes beside what is bound already and what comes first.

    ``placed``: the names of what it takes by place; ``keywords``: of what it takes by keyword
    alone; ``needed``: of all without a default; ``unnamed``: whether some of it is taken by place
    alone; ``extra`` and ``rest``: whether there are ``*args`` and ``**kwargs``; ``bound``: the
    keywords that a ``partial`` has said.
    """

    placed: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    needed: frozenset[str] = frozenset()
    unnamed: bool = False
    extra: bool = False
    rest: bool = False
    bound: frozenset[str] = frozenset()

    def handed(self, given: Given) -> Arguments:
        """Return the arguments for the function: by name where its names are those of the call,
        else as the call was made."""
        args, kwargs, named = given
        if self.extra or self.unnamed:
            return args, kwargs
        names = (*self.placed, *self.keywords)
        if all(name in named for name in names) or (
            not self._binds(args, kwargs) and self.needed <= named.keys()
        ):
            wanted = named.keys() - self.bound if self.rest else named.keys() & set(names)
            return (), {name: value for name, value in named.items() if name in wanted}
        return args, kwargs

    def fits(self, shape: Shape) -> bool:
        """Tell whether some call of this shape can be handed to the function."""
        return shape.open or any(self._binds(*self.handed(one)) for one in shape.calls())

    def _binds(self, args: Collection[object], kwargs: Mapping[str, object]) -> bool:
        if len(args) > len(self.placed) and not self.extra:
            return False
        filled = set(self.placed[: len(args)])
        if filled & kwargs.keys() or not self.needed <= filled | kwargs.keys():
            return False
        return self.rest or kwargs.keys() <= {*self.placed, *self.keywords}

    def __str__(self) -> str:
        parts = [*self.placed, *["*args"] * self.extra]
        parts += ["*"] * bool(self.keywords and not self.extra)
        return f"({', '.join([*parts, *self.keywords, *['**kwargs'] * self.rest])})"


@dataclass(frozen=True, slots=True)
class Shape:
    """The arguments that a placement has to give.

    ``defaults``: the names that a call may leave out; none where they are filled in.  ``open``:
    it takes more than has names.
    """

    placed: tuple[str, ...]
    keywords: tuple[str, ...]
    defaults: frozenset[str] = frozenset()
    open: bool = False

    @classmethod
    def of_code(cls, code: CodeType, shown: Signature | None) -> Shape:
        """Return that of a function; ``shown``: its signature, where that is another."""
        named = code.co_argcount + code.co_kwonlyargcount
        placed = code.co_varnames[: code.co_argcount]
        keywords = code.co_varnames[code.co_argcount : named]
        extra, rest = bool(code.co_flags & 0x04), bool(code.co_flags & 0x08)
        if shown is None or not extra or not rest:
            return cls(placed, keywords, open=extra or rest)
        more = tuple(name for name, nth in shown.places.items() if nth >= 0)
        alone = tuple(name for name, nth in shown.places.items() if nth < 0)
        defaults = frozenset(shown.defaults)
        return cls((*placed, *more), (*keywords, *alone), defaults, shown.is_open)

    def calls(self) -> tuple[Given, ...]:
        """Return a call with all arguments, and one with as few as can be."""
        placed, keywords = self.placed, self.keywords
        everything = dict.fromkeys((*placed, *keywords))
        few = [name for name in placed if name not in self.defaults]
        kept = {name: None for name in keywords if name not in self.defaults}
        return (
            Given(tuple(placed), dict.fromkeys(keywords), everything),
            Given(tuple(few), kept, everything),
        )

    def __str__(self) -> str:
        parts = [*self.placed, *["*"] * bool(self.keywords), *self.keywords]
        return f"({', '.join(parts)})"
