"""Points: used as a decorator, as a block and as a statement.

The methods of a disarmed Point are empty.  Arming a point replaces the *class* of its Point object,
so a call does not have to test a flag.  Another thread may disarm the point while a method of the
armed class runs.  So these methods read the searches of ``core`` once, and call no method of
``self``, whose class may have changed.

A Point stores nothing between entering and leaving a block, so all threads and tasks can use the
same one at once.
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
    """A decorated callable, patched or wrapped."""

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
        """Whether the callable no longer exists."""
        ...

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """The names of its arguments; None if it takes any name."""

    @property
    def shape(self) -> Shape | None:
        """The arguments of a call, as they are passed to functions of rules."""

    @property
    def unsigned(self) -> bool:
        """Whether `inspect.signature` fails for it."""
        ...

    def rebuild(self) -> None:
        """Apply the rules that are now armed on its points."""


class Home(Protocol):
    """The part of a registry that its points use."""

    def rules(self, point: str | None = None) -> tuple[ArmedRule, ...]:
        """Return the armed rules, or those at one point."""
        ...

    def place(self, point: Point, target: _F) -> _F:
        """Put a point on ``target``, and return the object to use instead of it."""
        ...

    def explain(self, point: Point) -> Explanation:
        """Explain a point: its placements, its rules, and why these fire or do not."""
        ...


class PointState:
    """The state that all Points with one name share; changed only under the arming lock.

    Calls read it without the lock.  So arming builds new objects and assigns them here; it never
    modifies a tuple of rules or the searches that a call may be using.
    """

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
        self.raises: tuple[type[BaseException], ...] = ()  # of all its placements
        self.sites: list[Site] = []
        self.discarded = ""  # the name of a callable whose wrapper the program did not keep
        self.labelled = False  # whether any block or statement has had labels
        self.rules: tuple[ArmedRule, ...] = ()  # armed here, in the order in which they are tried
        # The searches of blocks and statements; None if no armed rule acts at that moment.
        self.before: Searches | None = None
        self.after: Searches | None = None


class Point:
    """A named place in the code.  Create one with `chaospoint.point`.

    Decorate a callable with it, enter it with ``with`` or ``async with``, or call `hit`, in any
    thread or task.  It has no effect while no rule is armed on it.
    """

    __module__ = "chaospoint"
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
        """The description of the point, or an empty string."""
        return self.core.description

    @property
    def labels(self) -> Mapping[str, object]:
        """The labels of this placement."""
        return self._labels

    @property
    def raises(self) -> tuple[type[BaseException], ...]:
        """The exceptions that this placement really raises, as its author declared."""
        return ()

    @property
    def armed(self) -> bool:
        """Whether any rule is armed on the point."""
        return bool(self.core.home.rules(self.name))

    @property
    def placements(self) -> tuple[str, ...]:
        """The decorated callables, as ``module:qualname (kind)``; without blocks and statements."""
        return tuple(str(site) for site in self.core.sites if not site.gone)

    def explain(self) -> Explanation:
        """Explain the rules of this point: their counts, and why they fire or do not.

        ``print(point.explain())`` shows a text; ``rules`` of the result has the same as data.
        Thread-safe.
        """
        return self.core.home.explain(self)

    def __call__(self, target: _F) -> _F:
        """Put the point on ``target``, and return the object to use instead of it.

        A Python function is patched, and the result is ``target`` itself.  This also holds for the
        function behind a method, a `classmethod` or `staticmethod` object, or a wrapper made with
        wrapt such as OpenTelemetry's: the point is then inside these.  Any other callable is
        wrapped, and the result is the wrapper.  Raises `InvalidPoint` if ``target`` is not
        callable, or is a method of a type written in C, which cannot be replaced.
        """
        return self.core.home.place(self, target)

    def __copy__(self) -> Point:
        return self

    def __deepcopy__(self, memo: object) -> Point:
        return self

    def __reduce__(self) -> tuple[methodcaller, tuple[Home]]:
        """Pickle the name, labels and ``raises``; loading gets the point of the registry."""
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
        """Reach the point, with these labels."""

    async def ahit(self, /, **labels: object) -> None:
        """Reach the point, with these labels, in a coroutine."""


class ArmedPoint(Point):
    """The class of a Point while a rule is armed on it."""

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
    """A Point with the labels and ``raises`` of one placement; it shares the rest.

    A program may create one for each call, so arming does not change their class.  They always have
    the methods of the armed class, which check whether a search exists.
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
        """Whether the other has the same name, labels and ``raises``."""
        if not isinstance(other, LabelledPoint):
            return NotImplemented
        mine, others = (self._raises, self._labels), (other._raises, other._labels)
        return self.core is other.core and mine == others

    def __hash__(self) -> int:
        return hash(self.core)  # labels may contain values that are not hashable

    @property
    def raises(self) -> tuple[type[BaseException], ...]:
        return self._raises
