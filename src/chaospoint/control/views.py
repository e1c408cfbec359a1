"""The read-only views of the admin endpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from chaospoint._kernel.armed_rule import ArmedRule
from chaospoint._kernel.names import is_glob, matches, nearest
from chaospoint._kernel.point import Point
from chaospoint._registry.explain import gone_from
from chaospoint._registry.fits import fits
from chaospoint._registry.registry import Registry
from chaospoint._version import __version__
from chaospoint.control.access import AccessPolicy
from chaospoint.control.pages import USUAL, Page
from chaospoint.control.rendering import (
    instant,
    state_of_injection,
    state_of_point,
    state_of_rules,
    state_of_worker,
    switched_off,
)
from chaospoint.errors import UnknownPoint
from chaospoint.observers.journal import journal_of
from chaospoint.plan.limits import NO_LIMITS, Limits
from chaospoint.sources.reading import reports
from chaospoint.sources.settings import Permission
from chaospoint.stores.desired import Desired
from chaospoint.stores.reconciler import Reconciler

__all__ = ["Views", "scrape"]


FIRST = Page()


class Views:
    """The points, the rules, the plan, the workers and the injections of one registry.

    Safe from any thread; each answer is plain data.
    """

    def __init__(
        self,
        registry: Registry,
        policy: AccessPolicy,
        reconciler: Callable[[], Reconciler],
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._find = reconciler
        self._forbidden = limits.forbidden_points
        self._journal = journal_of(registry)

    @property
    def _reconciler(self) -> Reconciler:
        return self._find()

    def status(self, page: Page = FIRST) -> dict[str, object]:
        """Return the process, whether arming is allowed and why not, the sources, and the rules."""
        rules, mark = page.of_rules(self._registry.rules(), self._registry.engine.ended())
        registry, permission = self._registry, self._policy.permission
        reconciler = self._reconciler
        desired = reconciler.seen
        return {
            "version": __version__,
            "pid": os.getpid(),
            "worker": reconciler.id,
            "enabled": registry.enabled,
            "environment": self._policy.environment,
            "allowed": permission.allowed,
            "may_arm": registry.enabled and permission.allowed and desired.enabled,
            "why": _why(permission, registry, desired),
            "store": reconciler.store.url,
            "generation": desired.generation,
            "refusal": reconciler.refusal,
            "by": desired.by,
            "reason": desired.reason,
            "changed_at": instant(desired.at) if desired.generation else None,
            "sources": reports(registry),
            "points": len(registry.points()),
            "counts": "of this process alone",
            "rules": self._rules(rules),
            "next": mark,
        }

    def workers(self) -> dict[str, object]:
        """Return the processes that follow the store; may raise `StoreError`."""
        reconciler = self._reconciler
        reconciler.report()
        workers = reconciler.store.workers()
        return {
            "generation": reconciler.seen.generation,
            "store": reconciler.store.url,
            "workers": [state_of_worker(worker, reconciler.id) for worker in workers],
        }

    def points(self, page: Page = FIRST) -> dict[str, object]:
        """Return the points of this process."""
        engine = self._registry.engine
        names, mark = page.of_names(point.name for point in self._registry.points())
        return {
            "points": [self._of_point(engine.points.by_name[name]) for name in names],
            "next": mark,
        }

    def point(
        self, name: str, points: Sequence[Point] | None = None, page: Page = FIRST
    ) -> dict[str, object]:
        """Return one point with its rules, or the points and rules of a glob.

        Raises `UnknownPoint`.  After rules were put on a glob, ``points`` is the earlier result of
        `known`, and only the rules on the same glob are returned.  ``page`` selects from the rules
        of one point, or from the points and rules of a glob.
        """
        was_put = points is not None
        points = self.known(name) if points is None else points
        engine = self._registry.engine
        if is_glob(name) or not points:
            there = self._standing_at(points)
            armed = [
                rule for rule in engine.rules() if rule in there or matches(name, rule.pattern)
            ]
            ended = [rule for rule in engine.ended() if matches(name, rule.pattern)]
            own = [rule for rule in armed + ended if rule.pattern == name]
            if was_put:
                armed, ended = [rule for rule in armed if rule.pattern == name], []
            names, rules, mark = page.of_both((point.name for point in points), armed, ended)
            fitting = [
                each
                for each in names
                if not own or any(fits(rule, engine.points.by_name[each]) for rule in own)
            ]
            return {"name": name, "points": fitting, "rules": self._rules(rules), "next": mark}
        (point,) = points
        _, rules, mark = page.of_both((), engine.rules(name), gone_from(engine, name))
        return {**self._of_point(point), "rules": self._rules(rules, point), "next": mark}

    def renewed(self, pattern: str) -> list[dict[str, object]]:
        """Return the first rules of HTTP or the store that ``pattern`` matches."""
        source = self._reconciler.source
        from_outside = (rule for rule in self._registry.rules() if rule.source == source)
        meant = (rule for rule in from_outside if matches(pattern, rule.pattern))
        return self._rules([*islice(meant, USUAL)])

    def injections(self, pattern: str, limit: int) -> dict[str, object]:
        """Return the latest injections at the points that ``pattern`` matches, newest first."""
        latest = (entry for entry in self._journal.latest() if matches(pattern, entry[1].point))
        return {
            "pid": os.getpid(),
            "counts": "of this process alone",
            "injections": [state_of_injection(at, each) for at, each in islice(latest, limit)],
        }

    # -- what there is --------------------------------------------------------------------

    def known(self, name: str) -> list[Point]:
        """Return the points of this process that a name or glob matches.

        The list is empty if only other workers have such a point.  Raises `UnknownPoint` if no
        worker has one.
        """
        registry = self._registry
        if is_glob(name):
            points = [point for point in registry.points() if matches(name, point.name)]
        else:
            point = registry.find(name)
            points = [] if point is None else [point]
        if not points:
            elsewhere = {
                other for worker in self._reconciler.store.workers() for other in worker.points
            }
            if not any(matches(name, other) for other in elsewhere):
                there = {*elsewhere, *(point.name for point in registry.points())}
                raise UnknownPoint(name, nearest(name, there))
        return points

    def check_known(self, pattern: str) -> None:
        """Raise `UnknownPoint` if ``pattern`` matches neither a point nor a rule."""
        rules = (*self._registry.rules(), *self._registry.engine.ended())
        stored = (entry.rule.point for entry in self._reconciler.seen.entries)
        named = (*(rule.pattern for rule in rules), *stored)
        if pattern != "*" and not any(matches(pattern, name) for name in named):
            self.known(pattern)

    def _of_point(self, point: Point) -> dict[str, object]:
        return state_of_point(
            point,
            self._registry.rules(point.name),
            forbidden=any(matches(pattern, point.name) for pattern in self._forbidden),
        )

    def _standing_at(self, points: Sequence[Point]) -> set[ArmedRule]:
        """Return the rules of all these points; most points with the same rules share a tuple."""
        tuples = [self._registry.engine.standing_at(point.name) for point in points]
        return set[ArmedRule]().union(*{id(rules): rules for rules in tuples}.values())

    def _rules(
        self, rules: Sequence[ArmedRule], point: Point | None = None
    ) -> list[dict[str, object]]:
        return state_of_rules(self._registry.engine, rules, point)


def _why(permission: Permission, registry: Registry, desired: Desired) -> str:
    if registry.enabled:
        if desired.enabled:
            return permission.why
        return (
            f"this process was enabled by its own code, while its store stays disabled by "
            f"{desired.disabled_by}: code may arm here; POST /v1/enable enables all processes"
        )
    off = switched_off(desired.reason if not desired.enabled else registry.engine.off)
    if not permission.allowed:
        return f"{permission.why}; and {off}, which chaospoint.enable() in the program ends"
    return f"{off}; POST /v1/enable ends that ({permission.why})"


def scrape() -> tuple[str, bytes]:
    """Return content type and text of the metrics, of all processes in multiprocess mode."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return CONTENT_TYPE_LATEST, generate_latest(registry)
