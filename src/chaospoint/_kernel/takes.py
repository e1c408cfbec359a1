"""Pass the arguments of a call to functions of rules, which may take only some of them."""

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
    """The arguments of a call: as the caller passed them, and all that have names, by name."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    named: Mapping[str, Any]


NO_ARGUMENTS = Given((), MappingProxyType({}), MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Takes:
    """The parameters of a function, without bound ones and those that chaospoint fills itself.

    ``placed``: the names of the positional parameters. ``keywords``: of the keyword-only ones.
    ``needed``: of those without a default. ``unnamed``: whether some are positional-only. ``extra``
    and ``rest``: whether there is ``*args`` and ``**kwargs``. ``bound``: the keywords that a
    ``partial`` binds.
    """

    placed: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    needed: frozenset[str] = frozenset()
    unnamed: bool = False
    extra: bool = False
    rest: bool = False
    bound: frozenset[str] = frozenset()

    def handed(self, given: Given) -> Arguments:
        """Return the arguments for the function: by name if its names match those of the call,
        otherwise as the caller passed them."""
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
        """Whether the function can take the arguments of some call of this shape."""
        return shape.open or any(self._binds(*self.handed(call)) for call in shape.calls())

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
    """The arguments that the calls of a placement have.

    ``defaults``: the names that a call may omit; empty if the placement fills them in.  ``open``:
    whether it has ``*args`` or ``**kwargs``.
    """

    placed: tuple[str, ...]
    keywords: tuple[str, ...]
    defaults: frozenset[str] = frozenset()
    open: bool = False

    @classmethod
    def of_code(cls, code: CodeType, shown: Signature | None) -> Shape:
        """Return the shape of a function; ``shown``: its signature, if it differs from its code."""
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
        """Return a call with all arguments, and one with as few as possible."""
        placed, keywords = self.placed, self.keywords
        named = dict.fromkeys((*placed, *keywords))
        needed = [name for name in placed if name not in self.defaults]
        needed_keywords = {name: None for name in keywords if name not in self.defaults}
        return (
            Given(tuple(placed), dict.fromkeys(keywords), named),
            Given(tuple(needed), needed_keywords, named),
        )

    def __str__(self) -> str:
        parts = [*self.placed, *["*"] * bool(self.keywords), *self.keywords]
        return f"({', '.join(parts)})"
