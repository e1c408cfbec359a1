"""A named place in the code, as decorator, block and statement.

A disarmed Point's methods are empty.  Arming changes the *class* of the Point, so there is no
flag to test; the methods of the armed class call functions of this module and nothing of
``self``, which may have been disarmed since it was looked at.  Between entering and leaving a
block nothing is kept on the Point, so one Point serves all threads and tasks at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import methodcaller
from types import (
    ClassMethodDescriptorType,
    MappingProxyType,
    MethodDescriptorType,
    WrapperDescriptorType,
)
from typing import TYPE_CHECKING, Any, TypeVar, cast

from chaospoint.errors import InvalidPoint

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.explanation import Explanation
    from chaospoint._kernel.search import Searches
    from chaospoint._patching.site import Site
    from chaospoint._patching.wrapper import Wrapper
    from chaospoint._registry.registry import Registry

__all__ = ["ArmedPoint", "Core", "LabelledPoint", "Point"]

_F = TypeVar("_F")
_METHODS_IN_C = (ClassMethodDescriptorType, MethodDescriptorType, WrapperDescriptorType)


class Core:
    """What all Point objects of one name share; changed under the `arming` lock only."""

    __slots__ = (
        "after",
        "before",
        "description",
        "discarded",
        "home",
        "labelled",
        "name",
        "raises",
        "rules",
        "sites",
    )

    def __init__(self, name: str, home: Registry) -> None:
        self.name = name
        self.home = home
        self.description = ""
        self.raises: tuple[type[BaseException], ...] = ()  # what any of its placements raises
        self.sites: list[Site | Wrapper] = []
        self.discarded = ""  # what was wrapped although nobody kept the wrapper
        self.labelled = False  # blocks or statements have brought labels, and others may come
        self.rules: tuple[ArmedRule, ...] = ()  # armed here, in the order they are tried
        # One reach of a block or statement; None where no rule is armed that acts then.
        self.before: Searches | None = None
        self.after: Searches | None = None


class Point:
    """A named place in the code.  Make one with `chaospoint.point`.

    Decorate with it, enter it with ``with`` or ``async with``, or call `hit`, in any thread or
    task.  While nothing is armed on it, it does nothing.
    """

    __slots__ = ("__weakref__", "core")

    _labels: Mapping[str, object] = MappingProxyType({})

    def __init__(self, core: Core) -> None:
        self.core = core

    def __repr__(self) -> str:
        return f"<Point {self.name!r}{', armed' if self.armed else ''}>"

    @property
    def name(self) -> str:
        """The name."""
        return self.core.name

    @property
    def description(self) -> str:
        """What the point stands for, in words."""
        return self.core.description

    @property
    def labels(self) -> Mapping[str, object]:
        """What this placement is told apart by."""
        return self._labels

    @property
    def raises(self) -> tuple[type[BaseException], ...]:
        """What this placement really raises, as its author says; for tools and docs."""
        return ()

    @property
    def armed(self) -> bool:
        """Whether anything is armed on the point."""
        return bool(self.core.home.rules(self.name))

    @property
    def placements(self) -> tuple[str, ...]:
        """The decorated callables: ``module:qualname (kind)``; blocks are not known."""
        return tuple(str(site) for site in self.core.sites if not site.gone)

    def explain(self) -> Explanation:
        """Say what each rule here is, how far it has come, and why it does not fire.

        ``print(point.explain())`` for reading; its ``rules`` hold the same as data.
        """
        from chaospoint._registry.explain import explain

        return explain(self.core.home, self)

    def __call__(self, target: _F) -> _F:
        """Put the point on ``target``, and return what is to be used in its place.

        A Python function is patched where it is and returned as it is, also behind a method, a
        `classmethod` or `staticmethod` object, or a wrapper of wrapt such as OpenTelemetry's, so
        the point lies below these.  Any other callable is wrapped: use what is returned in its
        place.  Raises `InvalidPoint` for what is not callable, and for a method of a type written
        in C, which nothing can replace.
        """
        from chaospoint._patching.site import can_patch, place
        from chaospoint._patching.unwrap import function_of

        if can_patch() and (function := function_of(target)) is not None:
            place(self, function)
            return target
        inner = target.__func__ if isinstance(target, classmethod | staticmethod) else target
        if not callable(inner):
            raise InvalidPoint(
                f"{self.name!r} cannot decorate {target!r}, which is not callable; "
                "decorate the function itself (of a property: its getter), or use a with block"
            )
        if type(inner) in _METHODS_IN_C:
            raise InvalidPoint(
                f"{self.name!r} cannot decorate {target!r}: it is a method of a type written in "
                "C, where nothing can replace it; override it in a subclass and decorate that, or "
                "decorate a function that calls it"
            )
        from chaospoint._patching.wrapper import wrap

        wrapped: _F = wrap(self, cast("Callable[..., object]", target))
        return wrapped

    def __copy__(self) -> Point:
        return self

    def __deepcopy__(self, memo: object) -> Point:
        return self

    def __reduce__(self) -> tuple[methodcaller, tuple[Registry]]:
        """Pickle the name, labels and ``raises``; loading asks the default registry for them."""
        keys: dict[str, Any] = {"labels": dict(self.labels)} if self.labels else {}
        if self.raises:
            keys["raises"] = self.raises
        return methodcaller("point", self.name, **keys), (self.core.home,)

    def __enter__(self) -> Point:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return None

    async def __aenter__(self) -> Point:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        return None

    def hit(self, /, **labels: object) -> None:
        """Reach the point here and now, as a statement."""

    async def ahit(self, /, **labels: object) -> None:
        """Reach the point here and now, in a coroutine."""


class ArmedPoint(Point):
    """What a Point is while something is armed on it."""

    __slots__ = ()

    def __enter__(self) -> Point:
        if (searches := self.core.before) is not None:
            searches.act("block", self._labels)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None and (searches := self.core.after) is not None:
            searches.act("block", self._labels)

    async def __aenter__(self) -> Point:
        if (searches := self.core.before) is not None:
            await searches.aact("async block", self._labels)
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None and (searches := self.core.after) is not None:
            await searches.aact("async block", self._labels)

    def hit(self, /, **labels: object) -> None:
        given = {**self._labels, **labels} if self._labels else labels
        if given:
            self.core.labelled = True
        if (searches := self.core.before) is not None:
            searches.act("statement", given)

    async def ahit(self, /, **labels: object) -> None:
        given = {**self._labels, **labels} if self._labels else labels
        if given:
            self.core.labelled = True
        if (searches := self.core.before) is not None:
            await searches.aact("async statement", given)


class LabelledPoint(ArmedPoint):
    """A light Point that carries labels and what its placement raises, and shares all else.

    There may be one for each call, so arming does not look for them; they look for themselves.
    """

    __slots__ = ("_labels", "_raises")

    def __init__(
        self,
        core: Core,
        labels: Mapping[str, object],
        raises: tuple[type[BaseException], ...],
    ) -> None:
        super().__init__(core)
        self._labels = labels
        self._raises = raises

    def __enter__(self) -> Point:
        core = self.core
        core.labelled = True
        if (searches := core.before) is not None:
            searches.act("block", self._labels)
        return self

    async def __aenter__(self) -> Point:
        core = self.core
        core.labelled = True
        if (searches := core.before) is not None:
            await searches.aact("async block", self._labels)
        return self

    def __eq__(self, other: object) -> bool:
        """Whether it is the same placement, as one is that went through a pickle."""
        if not isinstance(other, LabelledPoint):
            return NotImplemented
        mine, others = (self._raises, self._labels), (other._raises, other._labels)
        return self.core is other.core and mine == others

    def __hash__(self) -> int:
        return hash(self.core)  # labels may hold what has no hash

    @property
    def raises(self) -> tuple[type[BaseException], ...]:
        return self._raises
