"""Place points on the functions that a plan names, without importing any module for it.

Modules that are imported already get their points at once, others right after their import. The
poller looks again for modules that came in another way: reloaded ones, or a script that runs as
``__main__``. A placement that fails is logged once, and the others are not affected. All of this
happens under the arming lock, where no point acts, and runs no code of the program.
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
"""Seconds after which a module that was not imported is logged."""

_SCRIPTS = ("__main__", "__mp_main__")
_SPARED = ("chaospoint", "wrapt")  # modules that must not call the points that they place
_WHOLE = "the program continues; a point that was not placed is not reached"


class _Placement:
    """One placement of a plan, and its state."""

    __slots__ = ("asked_at", "logged", "missed", "module", "placed", "point", "qualname", "text")

    def __init__(self, target: str, point: str, now: float) -> None:
        self.module, _, self.qualname = target.partition(":")
        self.point = point
        self.text = f"placement {target!r} of point {point!r}"
        self.asked_at = now
        self.placed: Callable[[], object] = lambda: (
            None
        )  # weak reference to the function with the point
        self.logged = False  # the reason why it is not placed is logged
        self.missed = False  # its module was there without the name


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

        Earlier placements that are not in ``wanted`` stay in place, at no cost. Raises nothing.
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
        """Store the wanted placements, and return the new ones."""
        for key in [key for key in self._all if key not in wanted.items()]:
            placement = self._all.pop(key)
            if placement.placed() is not None:
                log(
                    logging.INFO,
                    "%s was removed from the plan; the point stays on the function, at no cost",
                    placement.text,
                )
        fresh = [key for key in wanted.items() if key not in self._all]
        self._registry.engine.points.placing = {point: target for target, point in wanted.items()}
        for target, point in fresh:
            self._all[target, point] = _Placement(target, point, self._now())
        return fresh

    def look(self) -> None:
        """Place the points that can be placed now, and log overdue ones; raises nothing."""
        with arming_lock:
            transparently(self._try_all, tuple(self._all.values()), False)
        arming_lock.carry_out()

    def end(self) -> None:
        """Stop placing points; points that are in place stay."""
        with arming_lock:
            transparently(self._log_the_rest)
            self._all.clear()
            self._registry.engine.points.placing = {}
        arming_lock.carry_out()

    def _log_the_rest(self) -> None:
        for placement in tuple(self._all.values()):
            if placement.missed:
                _log_missed(placement)
            elif (
                placement.module not in sys.modules
                and placement.placed() is None
                and not placement.logged
            ):
                self._try(placement, False)
                _log_waiting(placement)

    def _await_import(self, name: str) -> None:
        """Place the points of a module right after its import, if it is not imported yet."""
        if name in sys.modules:
            return
        try:
            after_import(name, partial(_imported, ref(self), name))
        except Exception:
            reporting.report_bug(f"waiting for the import of {name}", _WHOLE)

    def imported(self, name: str) -> None:
        """Place the points of this module, which has just been imported."""
        with arming_lock:
            transparently(self._try_all, self._of(name), True)
        arming_lock.carry_out()

    def _of(self, module: str) -> list[_Placement]:
        return [placement for placement in self._all.values() if placement.module == module]

    def _try_all(self, placements: Iterable[_Placement], whole: bool) -> None:
        for placement in placements:
            self._try(placement, whole)

    def _try(self, placement: _Placement, whole: bool) -> None:
        """Try one placement; ``whole``: the module has run to its end."""
        try:
            self._place(placement, whole)
        except Exception:
            reporting.report_bug(f"{placement.text}: placing", _WHOLE)

    def _place(self, placement: _Placement, whole: bool) -> None:
        overdue = self._now() - placement.asked_at >= PATIENCE_SECONDS
        module = sys.modules.get(placement.module)
        if module is None:
            if placement.placed() is None and (cure := _in_a_class(placement)):
                _log_failure(placement, cure)
            elif overdue and placement.placed() is None:
                _log_waiting(placement)
            return
        if not (whole or overdue) and is_initializing(module):
            return
        found = _find(placement)
        if isinstance(found, Refused):
            if found.missing and (found.on_demand or placement.module in _SCRIPTS) and not overdue:
                placement.missed = True  # the module may still define the name
                return
            if placement.placed() is None:
                _log_failure(placement, found.reason)
            return
        if found.function is placement.placed():
            return
        point = self._registry.point(placement.point)
        if placement.placed() is not None and _is_on(point, found.held):
            placement.placed = _weakly(found.function)  # another point was added to it
            return
        if (reason := _put(point, found, placement.module)) is not None:
            _log_failure(placement, reason)
            return
        held = _find(placement)
        assert isinstance(held, Found)
        placement.placed = _weakly(held.function)
        if placement.missed:
            message = "%s was placed while the %s ran, so earlier calls did not reach it; %s"
            log(logging.WARNING, message, placement.text, *_late_and_cure(placement, held))
        else:
            log(logging.INFO, "%s is in place", placement.text)
        placement.missed = False


def _imported(placements: ref[Placements], name: str, _: object) -> None:
    """Run after an import; an error here must not break the import."""
    try:
        if (live := placements()) is not None:
            live.imported(name)
    except Exception:
        reporting.report_bug(f"placing points in {name}", _WHOLE)


def _find(placement: _Placement) -> Found | Refused:
    return find(sys.modules.get(placement.module), placement.module, placement.qualname)


def _put(point: Point, found: Found, module: str) -> str | None:
    """Place the point unless it is there already; return the reason if that is impossible."""
    if _is_on(point, found.held):
        return None
    if type(found.function) is FunctionType and can_patch():
        point(found.function)  # patched in place, so every importer of it is affected
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
    """Return whether the object has to be replaced in every module that has it.

    A name for a builtin such as ``length = len`` means this name only. A builtin is replaced for
    all modules only if the placement names `builtins`.
    """
    held = found.held
    if type(held) is not BuiltinFunctionType:
        return True
    global_builtin = dictionary(builtins).get(held.__name__) is held and module != "builtins"
    return found.name == held.__name__ and not global_builtin


def _is_on(point: Point, held: object) -> bool:
    """Return whether the object is wrapped for the point already."""
    live: list[object] = [site._live for site in point.core.sites if isinstance(site, Wrapper)]
    proxies = (cast("_Proxy", layer) for layer in layers(held) if issubclass(type(layer), _Proxy))
    return any(proxy._self_enabled is enabled for proxy in proxies for enabled in live)


def _replace(held: object, stand_in: object) -> None:
    """Replace the object in all modules that have imported it."""
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


def _log_waiting(placement: _Placement) -> None:
    if placement.logged:
        return
    placement.logged = True
    top = placement.module.partition(".")[0]
    near = close_to(
        placement.module, [name for name in sys.modules if _could_be_meant(name, placement.module)]
    )
    if top not in sys.modules and _is_installed(top):
        cure = f"{top!r} is installed, and the point is placed after its import"
        near = ""
    else:
        cure = near or "correct the name, unless the module is imported later"
    # INFO if no name is similar: it may be for another process, such as the parent of workers.
    log(
        logging.WARNING if near or top in sys.modules else logging.INFO,
        "%s waits: in %g s no module %r was imported; %s",
        placement.text,
        PATIENCE_SECONDS,
        placement.module,
        cure,
    )


def _in_a_class(placement: _Placement) -> str:
    """Return how to write a name whose class was written as a module; empty if that is not so."""
    parts = placement.module.split(".")
    for at in range(len(parts) - 1, 0, -1):
        name, inner = ".".join(parts[:at]), ".".join(parts[at:])
        module = sys.modules.get(name)
        if module is None:
            continue
        if issubclass(type(dictionary(module).get(parts[at])), type):
            return (
                f"'{name}.{parts[at]}' is a class and not a module: write "
                f"'{name}:{inner}.{placement.qualname}'"
            )
        break
    return ""


def _could_be_meant(name: str, wanted: str) -> bool:
    """Return whether one name may be a typing mistake for the other; `dis` is not for `redis`."""
    return name[:1] == wanted[:1] or abs(len(name) - len(wanted)) <= 1


def _is_installed(top: str) -> bool:
    try:
        return PathFinder.find_spec(top) is not None
    except Exception:  # a foreign finder may raise anything
        return False


def _log_missed(placement: _Placement) -> None:
    """Log the result of a placement whose name was not there at first."""
    found = _find(placement)
    if isinstance(found, Found):
        message = "%s was not placed: the %s ended before its module could be inspected; %s"
        log(logging.WARNING, message, placement.text, *_late_and_cure(placement, found))
    elif placement.module not in _SCRIPTS and not placement.logged:
        _log_failure(placement, found.reason)


def _log_failure(placement: _Placement, reason: str) -> None:
    if not placement.logged:
        placement.logged = True
        log(logging.WARNING, "%s cannot be made: %s", placement.text, reason)


def _late_and_cure(placement: _Placement, found: Found) -> tuple[str, str]:
    """Return ``script`` or ``program``, which ran meanwhile, and the cure."""
    if placement.module in _SCRIPTS:
        return "script", (
            f"a script defines its names while it runs: move {placement.qualname!r} to a module "
            "that it imports, or decorate it"
        )
    function = found.function
    where = f", {function.__module__!r}" if type(function) is FunctionType else ""
    cure = f"its module creates the name on access: name the module that defines it{where}"
    return "program", cure
