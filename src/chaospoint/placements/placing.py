"""Points are put on functions that a plan names, and no module is ever imported for that.

What is imported already gets its points at once, the rest right behind its import; a look now and
then finds what came in another way: a module that was reloaded, or a script that runs as
``__main__``.  What cannot be placed is said, once, and refuses nothing else.  All of it is done
under the arming lock, where every point is transparent, and runs no code of the program.
"""

from __future__ import annotations

import builtins
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.machinery import PathFinder
from time import monotonic
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Final, cast
from weakref import ref

from chaospoint._kernel import reporting
from chaospoint._kernel.context import transparently
from chaospoint._kernel.lock import arming_lock
from chaospoint._kernel.reporting import log
from chaospoint._kernel.static import dictionary, is_initializing
from chaospoint._patching.site import can_patch
from chaospoint._patching.wrapper import Wrapper, _Proxy, wrap
from chaospoint.models.refusal import close_to
from chaospoint.placements.imports import after_import
from chaospoint.placements.targets import Found, Refused, find, layers

if TYPE_CHECKING:
    from chaospoint._kernel.point import Point
    from chaospoint._registry.registry import Registry

__all__ = ["PATIENCE_SECONDS", "Placements"]

PATIENCE_SECONDS: Final = 10.0
"""After how long it is said that a module was not imported."""

_SCRIPTS = ("__main__", "__mp_main__")
_SPARED = ("chaospoint", "wrapt")  # what places and acts is not to meet what it places
_WHOLE = "the program goes on; what could not be placed is not reached"


class _Placement:
    """One line of a plan: what it names, and how far it has come."""

    __slots__ = ("asked_at", "missed", "module", "placed", "point", "qualname", "said", "text")

    def __init__(self, target: str, point: str, now: float) -> None:
        self.module, _, self.qualname = target.partition(":")
        self.point = point
        self.text = f"placement {target!r} of point {point!r}"
        self.asked_at = now
        self.placed: Callable[[], object] = lambda: None  # a weak reference to what has the point
        self.said = False  # why it is not placed, or not yet
        self.missed = False  # a script was seen that had not defined it yet


class Placements:
    """The placements of one registry; safe from any thread.

    ``now`` is a monotonic clock, in seconds.
    """

    def __init__(self, registry: Registry, *, now: Callable[[], float] = monotonic) -> None:
        self._registry = registry
        self._now = now
        self._all: dict[tuple[str, str], _Placement] = {}

    def put(self, wanted: Mapping[str, str]) -> None:
        """Place points, by ``module:qualname``, now or when their modules are imported.

        What was placed before and is not wanted any more stays placed: it costs nothing. Raises
        nothing.
        """
        transparently(self._put, wanted)

    def _put(self, wanted: Mapping[str, str]) -> None:
        with arming_lock:
            fresh = self._wanted(wanted)
        modules = dict.fromkeys(target.partition(":")[0] for target, _ in fresh)
        for name in modules:
            self._await_import(name)
        self.look()

    def _wanted(self, wanted: Mapping[str, str]) -> list[tuple[str, str]]:
        """Take note of what is wanted; return what was not before."""
        for key in [key for key in self._all if key not in wanted.items()]:
            one = self._all.pop(key)
            if one.placed() is not None:
                log(logging.INFO, "%s was taken back: it stays, and costs nothing", one.text)
        fresh = [key for key in wanted.items() if key not in self._all]
        self._registry.engine.points.placing = {point: target for target, point in wanted.items()}
        for target, point in fresh:
            self._all[target, point] = _Placement(target, point, self._now())
        return fresh

    def look(self) -> None:
        """Place what can be placed by now, and say what is overdue; raises nothing."""
        with arming_lock:
            transparently(self._try_all, tuple(self._all.values()), False)
        arming_lock.carry_out()

    def end(self) -> None:
        """Place nothing any more; points stay where they are."""
        with arming_lock:
            transparently(self._say_what_is_left)
            self._all.clear()
            self._registry.engine.points.placing = {}
        arming_lock.carry_out()

    def _say_what_is_left(self) -> None:
        for one in tuple(self._all.values()):
            if one.missed:
                _say_missed(one)
            elif one.module not in sys.modules and one.placed() is None and not one.said:
                self._try(one, False)
                _say_waiting(one)

    def _await_import(self, name: str) -> None:
        """Have the module looked at right behind its import, if that is still to come."""
        if name in sys.modules:
            return
        try:
            after_import(name, partial(_imported, ref(self), name))
        except Exception:
            reporting.report_bug(f"waiting for the import of {name}", _WHOLE)

    def imported(self, name: str) -> None:
        """Place what is wanted in this module, which was imported just now."""
        with arming_lock:
            transparently(self._try_all, self._of(name), True)
        arming_lock.carry_out()

    def _of(self, module: str) -> list[_Placement]:
        return [one for one in self._all.values() if one.module == module]

    def _try_all(self, placements: Iterable[_Placement], whole: bool) -> None:
        for one in placements:
            self._try(one, whole)

    def _try(self, one: _Placement, whole: bool) -> None:
        """Place one; ``whole``: the module has run to its end."""
        try:
            self._place(one, whole)
        except Exception:
            reporting.report_bug(f"{one.text}: placing", _WHOLE)

    def _place(self, one: _Placement, whole: bool) -> None:
        overdue = self._now() - one.asked_at >= PATIENCE_SECONDS
        module = sys.modules.get(one.module)
        if module is None:
            if one.placed() is None and (cure := _in_a_class(one)):
                _say_not(one, cure)
            elif overdue and one.placed() is None:
                _say_waiting(one)
            return
        if not (whole or overdue) and is_initializing(module):
            return
        found = _find(one)
        if isinstance(found, Refused):
            if found.missing and (found.on_demand or one.module in _SCRIPTS) and not overdue:
                one.missed = True  # a script defines its names while it runs
                return
            if one.placed() is None:
                _say_not(one, found.reason)
            return
        if found.function is one.placed():
            return
        point = self._registry.point(one.point)
        if one.placed() is not None and _is_on(point, found.held):
            one.placed = _weakly(found.function)  # another point has been put there, too
            return
        if (why := _put(point, found, one.module)) is not None:
            _say_not(one, why)
            return
        held = _find(one)
        assert isinstance(held, Found)
        one.placed = _weakly(held.function)
        if one.missed:
            words = "%s was placed while the %s ran, so calls before now passed by; %s"
            log(logging.WARNING, words, one.text, *_of_what_came_late(one, held))
        else:
            log(logging.INFO, "%s is in place", one.text)
        one.missed = False


def _imported(placements: ref[Placements], name: str, _: object) -> None:
    """Be called behind an import, which chaospoint may not break."""
    try:
        if (found := placements()) is not None:
            found.imported(name)
    except Exception:
        reporting.report_bug(f"placing points in {name}", _WHOLE)


def _find(one: _Placement) -> Found | Refused:
    return find(sys.modules.get(one.module), one.module, one.qualname)


def _put(point: Point, found: Found, module: str) -> str | None:
    """Put the point there, unless it is there already; return why that cannot be done."""
    if _is_on(point, found.held):
        return None
    if type(found.function) is FunctionType and can_patch():
        point(found.function)  # patched where it is, whoever imported it and when
        return None
    stand_in: object = wrap(point, cast("Callable[..., object]", found.held))
    if issubclass(type(found.owner), type):
        try:
            type.__setattr__(cast("type", found.owner), found.name, stand_in)
        except TypeError as error:
            return f"{error}: place the point on a function that calls it"
        return None
    dictionary(found.owner)[found.name] = stand_in
    if _is_meant_everywhere(found, module):
        _replace(found.held, stand_in)
    return None


def _is_meant_everywhere(found: Found, module: str) -> bool:
    """Whether a name stands for the thing itself, so that all who hold that meet the point.

    A program that calls a builtin by a name of its own, as in ``length = len``, means this name,
    and what every module finds in `builtins` is replaced only where `builtins` is named.
    """
    held = found.held
    if type(held) is not BuiltinFunctionType:
        return True
    everybodys = dictionary(builtins).get(held.__name__) is held and module != "builtins"
    return found.name == held.__name__ and not everybodys


def _is_on(point: Point, held: object) -> bool:
    """Whether this is wrapped for the point already; of Python functions the site knows."""
    live: list[object] = [one._live for one in point.core.sites if isinstance(one, Wrapper)]
    proxies = (cast("_Proxy", one) for one in layers(held) if issubclass(type(one), _Proxy))
    return any(one._self_enabled is mine for one in proxies for mine in live)


def _replace(held: object, stand_in: object) -> None:
    """Put the stand-in where other modules have imported the thing to."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _SPARED:
            continue
        names = dictionary(module)
        for key in [key for key, value in list(names.items()) if value is held]:
            names[key] = stand_in


def _weakly(thing: object) -> Callable[[], object]:
    try:
        return ref(thing)
    except TypeError:
        return lambda: thing


def _say_waiting(one: _Placement) -> None:
    if one.said:
        return
    one.said = True
    top = one.module.partition(".")[0]
    near = close_to(one.module, [name for name in sys.modules if _could_be_meant(name, one.module)])
    if top not in sys.modules and _is_installed(top):
        cure = f"{top!r} is installed, and the point is placed when it is imported"
        near = ""
    else:
        cure = near or "correct the name, unless the module is imported later"
    # Where nothing is near it is another process's, as that of a server which imports no program.
    log(
        logging.WARNING if near or top in sys.modules else logging.INFO,
        "%s waits: in %g s no module %r was imported; %s",
        one.text,
        PATIENCE_SECONDS,
        one.module,
        cure,
    )


def _in_a_class(one: _Placement) -> str:
    """Say how to write a name in a class of an imported module, where the class was taken for one;
    empty if it was not."""
    parts = one.module.split(".")
    for at in range(len(parts) - 1, 0, -1):
        name, inner = ".".join(parts[:at]), ".".join(parts[at:])
        module = sys.modules.get(name)
        if module is None:
            continue
        if issubclass(type(dictionary(module).get(parts[at])), type):
            return (
                f"'{name}.{parts[at]}' is a class and not a module: write "
                f"'{name}:{inner}.{one.qualname}'"
            )
        break
    return ""


def _could_be_meant(name: str, wanted: str) -> bool:
    """Whether one name may be the other with a mistake in it: `dis` is not meant by `redis`."""
    return name[:1] == wanted[:1] or abs(len(name) - len(wanted)) <= 1


def _is_installed(top: str) -> bool:
    try:
        return PathFinder.find_spec(top) is not None
    except Exception:  # of a loader on the path that is foreign code
        return False


def _say_missed(one: _Placement) -> None:
    """Say at the end what became of a name that was not there at first."""
    found = _find(one)
    if isinstance(found, Found):
        words = "%s came to nothing: the %s had ended before it was seen; %s"
        log(logging.WARNING, words, one.text, *_of_what_came_late(one, found))
    elif one.module not in _SCRIPTS and not one.said:
        _say_not(one, found.reason)


def _say_not(one: _Placement, why: str) -> None:
    if not one.said:
        one.said = True
        log(logging.WARNING, "%s cannot be made: %s", one.text, why)


def _of_what_came_late(one: _Placement, found: Found) -> tuple[str, str]:
    """Return what ran meanwhile, and the cure."""
    if one.module in _SCRIPTS:
        return "script", (
            f"what a script holds is there only once it runs: move {one.qualname!r} to a module "
            "that it imports, or decorate it"
        )
    function = found.function
    where = f", {function.__module__!r}" if type(function) is FunctionType else ""
    cure = f"its module makes the name on demand: name the module that defines it{where}"
    return "program", cure
