"""A named place in the code, as decorator, block and statement.

A disarmed Point's methods are empty.  Arming changes the *class* of the Point, so there is no
flag to test; the methods of the armed class call functions of this module and nothing of
``self``, which may have been disarmed since it was looked at.  Between entering and leaving a
block nothing is kept on the Point, so one Point serves all threads and tasks at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import methodcaller
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.explanation import Explanation
    from chaospoint._kernel.placement import Kind
    from chaospoint._kernel.search import Searches
    from chaospoint._kernel.takes import Shape

__all__ = ["ArmedPoint", "Home", "LabelledPoint", "Point", "PointState", "Site"]

_F = TypeVar("_F")


class Site(Protocol):
    """A decorated callable: one that was patched, or what wraps it."""

    @property
    def kind(self) -> Kind:
        """The kind of callable."""
        ...

    @property
    def points(self) -> Sequence[Point]:
        """The points on it, the innermost first."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the callable is gone."""
        ...

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """The names of its arguments; None if it takes whatever name there is."""

    @property
    def shape(self) -> Shape | None:
        """The arguments of a call, as they are handed to functions of rules."""

    @property
    def unsigned(self) -> bool:
        """Whether it shows no signature."""
        ...

    def rebuild(self) -> None:
        """Make it do what is armed on its points now."""


class Home(Protocol):
    """The registry of a point."""

    def rules(self, point: str | None = None) -> tuple[ArmedRule, ...]:
        """Return the armed rules, or those at one point."""
        ...

    def place(self, point: Point, target: _F) -> _F:
        """Put a point on ``target``, and return what is to be used in its place."""
        ...

    def explain(self, point: Point) -> Explanation:
        """Return what there is at a point, and why its rules fire or do not."""
        ...


class PointState:
    """What all Point objects of one name share; changed under the arming lock only."""

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

    def __init__(self, name: str, home: Home) -> None:
        self.name = name
        self.home = home
        self.description = ""
        self.raises: tuple[type[BaseException], ...] = ()  # what any of its placements raises
        self.sites: list[Site] = []
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

    def __init__(self, core: PointState) -> None:
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
        return self.core.home.explain(self)

    def __call__(self, target: _F) -> _F:
        """Put the point on ``target``, and return what is to be used in its place.

        A Python function is patched where it is and returned as it is, also behind a method, a
        `classmethod` or `staticmethod` object, or a wrapper of wrapt such as OpenTelemetry's, so
        the point lies below these.  Any other callable is wrapped: use what is returned in its
        place.  Raises `InvalidPoint` for what is not callable, and for a method of a type written
        in C, which nothing can replace.
        """
        return self.core.home.place(self, target)

    def __copy__(self) -> Point:
        return self

    def __deepcopy__(self, memo: object) -> Point:
        return self

    def __reduce__(self) -> tuple[methodcaller, tuple[Home]]:
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
        core: PointState,
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
