"""The registry: named points, and access to what is armed on them.

There is one default registry; every public function takes ``registry=`` for another one.  A
registry is light until something is armed: only then is the engine created.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import methodcaller
from typing import TYPE_CHECKING, TypeVar

from chaospoint._kernel import reporting
from chaospoint._kernel.bell import Bell
from chaospoint._kernel.clock import SystemClock  # before a test freezes or patches `time`
from chaospoint._kernel.context import in_chaospoint, transparently
from chaospoint._kernel.lock import arming_lock
from chaospoint._kernel.names import check_name, nearest
from chaospoint._kernel.point import LabelledPoint, Point, PointState
from chaospoint._kernel.quantity import quantity
from chaospoint.errors import InvalidPoint

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule, Source
    from chaospoint._kernel.clock import Clock
    from chaospoint._kernel.compiled_rule import CompiledRule
    from chaospoint._kernel.explanation import Explanation
    from chaospoint._kernel.injection import Observer
    from chaospoint._registry.engine import Engine
    from chaospoint._registry.handle import Armed
    from chaospoint._registry.notices import Notice

__all__ = ["Registry", "before_first_point", "default_registry"]

_F = TypeVar("_F")


class Registry:
    """Named points and what is armed on them; safe to use from any thread.

    Every function of the package uses the default registry unless you pass ``registry=``.  Create
    a registry to isolate tests or parts of a program from each other.
    """

    __module__ = "chaospoint"  # pickle and repr use the public name

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._points: dict[str, Point] = {}
        self._clock = clock
        self._engine: Engine | None = None

    def __repr__(self) -> str:
        return f"<Registry of {quantity(len(self._points), 'point')}>"

    def __copy__(self) -> Registry:
        return self

    def __deepcopy__(self, memo: object) -> Registry:
        return self

    def __reduce__(self) -> tuple[methodcaller, tuple[type[Registry]]]:
        if self is not _default:
            raise TypeError(
                "only the default registry and its points can be pickled, because another process "
                "cannot find this one: pickle the name of the point, or use the default registry"
            )
        return methodcaller("default"), (Registry,)

    @classmethod
    def default(cls) -> Registry:
        """Return the registry that is used where ``registry=`` is not given."""
        return _default

    def point(
        self,
        name: str,
        *,
        description: str = "",
        labels: Mapping[str, object] | None = None,
        raises: type[BaseException] | Sequence[type[BaseException]] = (),
    ) -> Point:
        """Return the point of this name, and create it if necessary; always the same object.

        With ``labels`` or ``raises``, return a light Point that carries them and shares everything
        else with the point of that name.  Raises `InvalidPoint` if the name is not valid, if
        ``description`` is not text, if ``labels`` is not a mapping with names as keys, or if
        ``raises`` holds anything except exception classes.
        """
        if not isinstance(description, str):
            raise InvalidPoint(f"{description!r} cannot describe point {name!r}: write text")
        types = () if raises == () or raises is None else _exception_types(name, raises)
        own = _label_names(name, labels) if labels is not None else None
        point = self._points.get(name) if isinstance(name, str) else None
        if point is None:
            point = self._create(check_name(name))
        if description and description != point.description:
            self._describe(point.core, description)
        if own or types:
            if fresh := [error for error in types if error not in point.core.raises]:
                with arming_lock:
                    point.core.raises = (*point.core.raises, *fresh)
            return LabelledPoint(point.core, own or {}, types)
        return point

    def _create(self, name: str) -> Point:
        if self is _default:
            _start()
        point = Point(PointState(name, self))
        with arming_lock:
            if self._engine is None:
                return self._points.setdefault(name, point)
        return self._engine.appear(point)

    def _describe(self, core: PointState, description: str) -> None:
        with arming_lock:
            core.description = core.description or description
        if core.description != description:
            from chaospoint._kernel.reporting import warn

            warn(
                f"point {core.name!r} already has the description {core.description!r}; "
                f"{description!r} was ignored: describe the point in one place",
                "code",
            )

    def points(self) -> tuple[Point, ...]:
        """Return all points, sorted by name."""
        return tuple(point for _, point in sorted(self._points.copy().items()))

    def find(self, name: str) -> Point | None:
        """Return the point of this name, or None."""
        return self._points.get(name)

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return up to three names of points that look most like ``name``."""
        return nearest(name, self._points.copy())

    def place(self, point: Point, target: _F) -> _F:
        """Put a point on ``target``, and return the object to use in its place."""
        from chaospoint._patching.decorate import decorate

        return decorate(point, target)

    def explain(self, point: Point) -> Explanation:
        """Return the placements and rules of a point, and why each rule fires or does not."""
        from chaospoint._registry.explain import explain

        name = point.name
        near = () if point.placements else tuple(n for n in self.nearest(name) if n != name)
        return explain(self.engine, point, near)

    # -- what is armed --------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine, which holds what is armed; created on first use."""
        if self._engine is None:
            from chaospoint._registry.engine import Engine

            with arming_lock:
                if self._engine is None:
                    self._engine = Engine(self._points, self._clock or SystemClock())
        return self._engine

    @property
    def enabled(self) -> bool:
        """The master switch: whether anything may be armed."""
        return self._engine is None or self._engine.enabled

    def rules(self, point: str | None = None) -> tuple[ArmedRule, ...]:
        """Return the armed rules, or those at one point, in the order in which they are tried."""
        return () if self._engine is None else tuple(self._engine.rules(point))

    def install(
        self, terms: Sequence[CompiledRule], *, source: Source, by: str = "", strict: bool = False
    ) -> Armed:
        """Arm compiled rules; they are tried before the earlier rules of this kind of source.

        Raises `NotPermitted` while disabled, `UnknownPoint` if ``strict`` and a rule matches no
        point yet, and `UnsupportedFault` if no placement can express a rule.  In each case nothing
        is armed.
        """
        return self.engine.install(terms, source, by=by, strict=strict)

    def replace(self, terms: Sequence[CompiledRule], *, source: Source, by: str = "") -> Armed:
        """Arm compiled rules in place of all rules of ``source``.

        Rules that did not change keep their tally and deadline.  While disabled, the new rules are
        stored, and `enable` arms them.
        """
        return self.engine.reload(terms, source, by=by)

    def disarm(self, pattern: str = "*", *, by: str = "code") -> int:
        """Disarm the rules of every source that match a name or glob; return their number."""
        return 0 if self._engine is None else self._engine.disarm(pattern, by)

    def release(self, pattern: str = "*") -> int:
        """Release the paused calls at the matching points; return their number.

        The faults after the pause then act.  Later calls are paused again.
        """
        return 0 if self._engine is None else self._engine.release(pattern)

    def disable(self, *, by: str = "code") -> None:
        """Stop every effect now, disarm everything, and refuse to arm until enabled."""
        self.engine.disable(by)

    def enable(self, *, by: str = "code") -> None:
        """Allow arming again, and arm the rules of env, file and store as they were.

        Raises `NotPermitted` if no thread can be started to expire them; nothing changes then.
        """
        self.engine.enable(by)

    def flush(self) -> None:
        """Pass the reaches so far to the observers."""
        if self._engine is not None:
            self._engine.flush()

    # -- observers ------------------------------------------------------------------------

    @property
    def observers(self) -> tuple[Observer, ...]:
        """The observers of injections, in the order in which they are called."""
        return self.engine.observers

    def add_observer(self, observer: Observer) -> None:
        """Call ``observer.observe`` for injections, and ``observer.notice`` for all else."""
        if not callable(getattr(observer, "observe", None)):
            raise TypeError(
                f"{observer!r} is not an observer: pass an object with a method observe(injection)"
            )
        self.engine.add_observer(observer)

    def remove_observer(self, observer: Observer) -> None:
        """Stop calling ``observer``; an unknown one is ignored."""
        self.engine.remove_observer(observer)

    def say(self, notice: Notice) -> None:
        """Pass ``notice`` to the observers that have a method ``notice``."""
        self.engine.say(notice)


def _label_names(point: str, labels: object) -> dict[str, object]:
    """Return a copy of the labels of a placement."""
    if type(labels) is not dict and not isinstance(labels, Mapping):
        raise InvalidPoint(
            f"the labels of point {point!r} are {labels!r}, which is not a mapping: write names "
            'with their values, such as labels={"tenant": "acme"}'
        )
    own = dict(labels)
    for key in own:
        if not isinstance(key, str):
            raise InvalidPoint(
                f"point {point!r} has a label {key!r}, which is not text, so no `where` can name "
                f"it: write labels={{{str(key)!r}: ...}}"
            )
    return own


def _exception_types(point: str, raises: object) -> tuple[type[BaseException], ...]:
    """Return the exception classes that a placement raises."""
    given: tuple[object, ...] = (raises,)
    if not isinstance(raises, str | type) and isinstance(raises, Iterable):
        given = tuple(raises)
    types = tuple(
        item for item in given if isinstance(item, type) and issubclass(item, BaseException)
    )
    if len(types) < len(given):
        wrong = next(item for item in given if item not in types)
        raise InvalidPoint(
            f"`raises` of point {point!r} holds {wrong!r}, which is not an exception class: "
            "pass classes, such as raises=TimeoutError or "
            "raises=(TimeoutError, OSError)"
        )
    return types


_default = Registry()


def default_registry() -> Registry:
    """Return the registry that is used where ``registry=`` is not given."""
    return _default


_before_first_point: list[Callable[[], None]] = []
_started = Bell()
_SECONDS_TO_WAIT = 5.0


def before_first_point(call: Callable[[], None]) -> None:
    """Call ``call`` once, before the default registry creates its first point."""
    _before_first_point.append(call)
    _started.clear()


def _start() -> None:
    """Make the call that waits for the first point.

    Points of other threads wait for its end, for some seconds at most, because the call may itself
    wait for one of those threads.
    """
    if _started.is_set() or in_chaospoint.get():
        return
    try:
        call = _before_first_point.pop()
    except IndexError:
        _started.wait(_SECONDS_TO_WAIT)
        _started.set()
        return
    try:
        transparently(call)
    except Exception:
        reporting.report_bug("starting", "the program continues without the rules from outside")
    finally:
        _started.set()
