"""The points, and the way to what is armed on them.

Everything takes ``registry=``; there is one default.  A registry is light until something is
armed: the engine, and with it all that only arming needs, is made then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import methodcaller
from typing import TYPE_CHECKING, TypeVar

from chaospoint._kernel import reporting
from chaospoint._kernel.bell import Bell
from chaospoint._kernel.clock import SystemClock  # early: somebody may freeze or patch `time` later
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

    Make one of your own to keep tests or parts of a program apart; there is a default one, which
    every function of the package uses unless it is given ``registry=``.
    """

    __module__ = "chaospoint"  # its public name, by which it is pickled

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._points: dict[str, Point] = {}
        self._clock = clock
        self._made: Engine | None = None

    def __repr__(self) -> str:
        return f"<Registry of {quantity(len(self._points), 'point')}>"

    def __copy__(self) -> Registry:
        return self

    def __deepcopy__(self, memo: object) -> Registry:
        return self

    def __reduce__(self) -> tuple[methodcaller, tuple[type[Registry]]]:
        if self is not _default:
            raise TypeError(
                "a registry of its own, and a point of it, cannot be pickled: another process "
                "cannot find it; pickle the name of the point, or use the default registry"
            )
        return methodcaller("default"), (Registry,)

    @classmethod
    def default(cls) -> Registry:
        """Return the one that is used where none is named."""
        return _default

    def point(
        self,
        name: str,
        *,
        description: str = "",
        labels: Mapping[str, object] | None = None,
        raises: type[BaseException] | Sequence[type[BaseException]] = (),
    ) -> Point:
        """Return the point of this name, made if need be; always the same object.

        With ``labels`` or ``raises`` it is a light Point that carries them and shares all else
        with the one of that name.  Raises `InvalidPoint` for a name that cannot be one, a
        ``description`` that is not text, ``labels`` that are not a mapping of names, and ``raises``
        that are not classes of exceptions.
        """
        if not isinstance(description, str):
            raise InvalidPoint(f"{description!r} cannot describe point {name!r}: write text")
        types = () if raises == () or raises is None else _exception_types(name, raises)
        own = _label_names(name, labels) if labels is not None else None
        found = self._points.get(name) if isinstance(name, str) else None
        if found is None:
            found = self._make(check_name(name))
        if description and description != found.description:
            self._describe(found.core, description)
        if own or types:
            if fresh := [one for one in types if one not in found.core.raises]:
                with arming_lock:
                    found.core.raises = (*found.core.raises, *fresh)
            return LabelledPoint(found.core, own or {}, types)
        return found

    def _make(self, name: str) -> Point:
        if self is _default:
            _start()
        point = Point(PointState(name, self))
        with arming_lock:
            if self._made is None:
                return self._points.setdefault(name, point)
        return self._made.appear(point)

    def _describe(self, core: PointState, description: str) -> None:
        with arming_lock:
            core.description = core.description or description
        if core.description != description:
            from chaospoint._kernel.reporting import warn

            warn(
                f"point {core.name!r} is described as {core.description!r} already; "
                f"{description!r} is not kept: describe it in one place",
                "code",
            )

    def points(self) -> tuple[Point, ...]:
        """Return all points, by name."""
        return tuple(point for _, point in sorted(self._points.copy().items()))

    def find(self, name: str) -> Point | None:
        """Return the point of this name if there is one."""
        return self._points.get(name)

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return up to three names of points that look most like ``name``."""
        return nearest(name, self._points.copy())

    def place(self, point: Point, target: _F) -> _F:
        """Put a point on ``target``, and return what is to be used in its place."""
        from chaospoint._patching.decorate import decorate

        return decorate(point, target)

    def explain(self, point: Point) -> Explanation:
        """Return what there is at a point, and why its rules fire or do not."""
        from chaospoint._registry.explain import explain

        name = point.name
        near = () if point.placements else tuple(n for n in self.nearest(name) if n != name)
        return explain(self.engine, point, near)

    # -- what is armed --------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """What is armed; made when first asked for."""
        if self._made is None:
            from chaospoint._registry.engine import Engine

            with arming_lock:
                if self._made is None:
                    self._made = Engine(self._points, self._clock or SystemClock())
        return self._made

    @property
    def enabled(self) -> bool:
        """The master switch: whether anything may be armed."""
        return self._made is None or self._made.enabled

    def rules(self, point: str | None = None) -> tuple[ArmedRule, ...]:
        """Return the armed rules, or those at one point, in the order in which they are tried."""
        return () if self._made is None else tuple(self._made.rules(point))

    def install(
        self, terms: Sequence[CompiledRule], *, source: Source, by: str = "", strict: bool = False
    ) -> Armed:
        """Arm compiled rules, before all that this kind of source armed earlier.

        Raises `NotPermitted` while disabled, `UnknownPoint` if ``strict`` and a rule has no point
        yet, `UnsupportedFault` if no placement can express it; nothing is armed then.
        """
        return self.engine.install(terms, source, by=by, strict=strict)

    def replace(self, terms: Sequence[CompiledRule], *, source: Source, by: str = "") -> Armed:
        """Arm compiled rules in place of all that ``source`` armed.

        Rules that did not change keep tally and deadline; while disabled the new ones are kept for
        `enable`.
        """
        return self.engine.reload(terms, source, by=by)

    def disarm(self, pattern: str = "*", *, by: str = "code") -> int:
        """Disarm all that matches a name or glob, of every source; return how many rules."""
        return 0 if self._made is None else self._made.disarm(pattern, by)

    def release(self, pattern: str = "*") -> int:
        """Release the paused calls at the matching points; return how many.

        What is behind the pause in the rule acts; calls that come later are paused again.
        """
        return 0 if self._made is None else self._made.release(pattern)

    def disable(self, *, by: str = "code") -> None:
        """Stop every effect now, disarm everything, and refuse to arm until enabled."""
        self.engine.disable(by)

    def enable(self, *, by: str = "code") -> None:
        """Allow arming again; what env, file and store hold comes back as it stood.

        Raises `NotPermitted` where no thread can be started to end that; then nothing changes.
        """
        self.engine.enable(by)

    def flush(self) -> None:
        """Tell the observers of the reaches so far."""
        if self._made is not None:
            self._made.flush()

    # -- observers ------------------------------------------------------------------------

    @property
    def observers(self) -> tuple[Observer, ...]:
        """The observers of injections, in this order."""
        return self.engine.observers

    def add_observer(self, observer: Observer) -> None:
        """Tell ``observer`` of every injection, and if it has ``notice`` of all else."""
        if not callable(getattr(observer, "observe", None)):
            raise TypeError(
                f"{observer!r} cannot observe: give an object with a method observe(injection)"
            )
        self.engine.add_observer(observer)

    def remove_observer(self, observer: Observer) -> None:
        """Tell ``observer`` no more; no error if it was not told."""
        self.engine.remove_observer(observer)

    def say(self, notice: Notice) -> None:
        """Tell the observers that listen of ``notice``."""
        self.engine.say(notice)


def _label_names(point: str, labels: object) -> dict[str, object]:
    """Return the labels of a placement, of which no other code holds the mapping."""
    if type(labels) is not dict and not isinstance(labels, Mapping):
        raise InvalidPoint(
            f"the labels of point {point!r} are {labels!r}, which is not a mapping: write names "
            'with their values, such as labels={"tenant": "acme"}'
        )
    own = dict(labels)
    for key in own:
        if not isinstance(key, str):
            raise InvalidPoint(
                f"point {point!r} has a label {key!r}, which no `where` can ask for: write its "
                f"name as text, such as labels={{{str(key)!r}: ...}}"
            )
    return own


def _exception_types(point: str, raises: object) -> tuple[type[BaseException], ...]:
    """Return the classes of exceptions that a placement raises."""
    given: tuple[object, ...] = (raises,)
    if not isinstance(raises, str | type) and isinstance(raises, Iterable):
        given = tuple(raises)
    types = tuple(one for one in given if isinstance(one, type) and issubclass(one, BaseException))
    if len(types) < len(given):
        wrong = next(one for one in given if one not in types)
        raise InvalidPoint(
            f"`raises` of point {point!r} holds {wrong!r}, which is not a class of exceptions: "
            "write the classes themselves, such as raises=TimeoutError or "
            "raises=(TimeoutError, OSError)"
        )
    return types


_default = Registry()


def default_registry() -> Registry:
    """Return the registry that is used where none is named."""
    return _default


_before_first_point: list[Callable[[], None]] = []
_started = Bell()
_SECONDS_TO_WAIT = 5.0


def before_first_point(call: Callable[[], None]) -> None:
    """Have ``call`` called, once, before the default registry makes its first point."""
    _before_first_point.append(call)
    _started.clear()


def _start() -> None:
    """Start what waits for the first point; another thread's points wait for that, but not for
    ever: what starts may be waiting for this thread."""
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
        reporting.report_bug("starting", "the program goes on without what is armed from outside")
    finally:
        _started.set()
