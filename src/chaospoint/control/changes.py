"""The changes of the admin endpoint.

Each change is written to the store, applied in this process at once, and answered after every
worker has applied it.  A change is a generator that yields the seconds to wait, so that threads and
event loops can each wait in their own way.  A change is refused before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from chaospoint._kernel.logger import LOGGER
from chaospoint._registry.registry import Registry
from chaospoint.control.problem import Problem
from chaospoint.errors import LimitExceeded, StoreError
from chaospoint.plan.compiling import compile_plan, refuse_placements, seeds
from chaospoint.plan.limits import NO_LIMITS, Limits
from chaospoint.plan.plan import Plan
from chaospoint.plan.rule import Rule
from chaospoint.stores.acknowledging import acknowledged, disabled, updated
from chaospoint.stores.desired import Desired
from chaospoint.stores.moments import moment
from chaospoint.stores.reconciler import Reconciler, reconciler_of

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint.stores.store import Edit

__all__ = ["EXPIRES_AFTER_SECONDS", "MAX_RULES", "Changes", "Written"]

EXPIRES_AFTER_SECONDS = 600.0
"""The lifetime of a rule that is armed here without one."""

MAX_RULES = 100
"""The most rules that one request may put on a name."""

_ALONE = (
    "only pid {} was reached; other processes of the service are unchanged. Set CHAOSPOINT_STORE "
    "to reach all"
)

Written = Generator[float, None, dict[str, object]]
"""Yields the seconds to wait; returns the generation and the state of the workers."""


class Changes:
    """The changes of one registry.  Safe from any thread.

    ``by`` names the client in the log.  ``expected`` is the generation that the change is meant
    for, or None for any; if the store is at another one, a `Problem` (412) is raised.
    """

    def __init__(
        self,
        registry: Registry,
        reconciler: Callable[[], Reconciler] | None = None,
        *,
        seed: int | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._registry = registry
        self._find = reconciler or partial(reconciler_of, registry, seed=seed, limits=limits)
        self._seed = seed
        self._limits = limits = limits.of_strangers
        self._lifetime = limits.lifetime(EXPIRES_AFTER_SECONDS) or EXPIRES_AFTER_SECONDS

    @property
    def _reconciler(self) -> Reconciler:
        return self._find()

    def put(
        self, plan: Plan, *, name: str | None = None, by: str, expected: int | None = None
    ) -> Written:
        """Replace the rules on exactly ``name``, or all rules, with those of ``plan``.

        The result also has the remarks on the rules.  Raises `ChaosError` if a rule cannot be armed
        here; nothing is changed then.
        """
        _, remarks = self.dry_run(plan, name)
        edit = self.put_edit(plan, name=name, by=by, expected=expected)
        return (yield from self._write(edit)) | {"remarks": remarks}

    def put_edit(
        self, plan: Plan, *, name: str | None = None, by: str, expected: int | None = None
    ) -> Edit:
        """Return the edit of `put`; it raises what the store refuses."""
        rules: Sequence[tuple[Rule, int | None]] = tuple(
            zip(plan.rules, seeds(plan, self._seed), strict=True)
        )

        def edit(desired: Desired) -> Desired:
            _expect(desired, expected)
            return desired.put(
                rules, name=name, default_seconds=self._lifetime, by=by, now=moment()
            )

        return edit

    def dry_run(self, plan: Plan, name: str | None = None) -> tuple[list[ArmedRule], list[str]]:
        """Return the rules that `put` would arm here, and the remarks on them, and arm nothing.

        Raises what `put` raises.
        """
        if name is not None and len(plan.rules) > MAX_RULES:
            raise LimitExceeded(
                f"{len(plan.rules)} rules for {name!r} in one request, and the limit is "
                f"{MAX_RULES}: send fewer rules, or use globs"
            )
        refuse_placements(plan)
        terms = compile_plan(
            plan,
            trust="loaded",
            seed=self._seed,
            expires_after=self._lifetime,
            limits=self._limits,
        )
        rules, remarks = self._registry.engine.dry_run(terms, self._reconciler.source)
        remarks += [
            f"{rule.shown} leaves out {', '.join(rule.excluded)}: CHAOSPOINT_FORBIDDEN_POINTS"
            for rule in rules
            if rule.excluded
        ]
        return rules, remarks

    def disarm(self, pattern: str, *, by: str, expected: int | None = None) -> Written:
        """Disarm the rules of every source that ``pattern`` matches, in every process.

        The result also has the number of rules in this process that changed.
        """

        def edit(desired: Desired) -> Desired:
            _expect(desired, expected)
            return desired.disarm(pattern, by=by, now=moment())

        return (yield from self._write(edit, count="disarmed"))

    def renew(
        self, pattern: str, seconds: float | None, *, by: str, expected: int | None = None
    ) -> Written:
        """Move the deadlines of the rules that ``pattern`` matches, in every process.

        They expire ``seconds`` from now, or with None after their original lifetime.  The result
        also has the number of rules.  Raises `Problem` (404) if there is no such rule, and
        `LimitExceeded` beyond a limit.
        """
        self._limits.check_lifetime(seconds, repr(pattern))
        renewed = 0

        def edit(desired: Desired) -> Desired:
            nonlocal renewed
            _expect(desired, expected)
            now = moment()
            renewed = len(desired.live(pattern, now))
            if not renewed:
                raise Problem(
                    404,
                    "nothing-to-renew",
                    f"no rule at {pattern!r} came over HTTP or a store and is still in force",
                    name=pattern,
                    cure=f"PUT /v1/points/{pattern} arms one; other sources keep their deadlines",
                )
            return desired.renew(pattern, seconds, by=by, now=now)

        result = yield from self._write(edit)
        return result | {"renewed": renewed}

    def release(self, pattern: str, *, by: str) -> Written:
        """Release the paused calls at the matching points, in every process.

        The result also has the number of calls in this process.
        """

        def edit(desired: Desired) -> Desired:
            return desired.release(pattern, by=by, now=moment())

        return (yield from self._write(edit, count="released"))

    def enable(self, *, by: str) -> Written:
        """Turn the master switch on, in every process."""
        return (yield from self._write(lambda desired: desired.enable(by=by, now=moment())))

    def disable(self, *, by: str, reason: str = "") -> Written:
        """Turn the master switch off, in every process, even if the store is damaged.

        In this process it is off before anything else is tried.
        """
        self._registry.disable(by=f"{by}: {reason}" if reason else by)
        if reason:
            LOGGER.warning("chaospoint was disabled by %s: %s", by, reason)
        try:
            reconciler = self._reconciler
            reconciler.reconcile()
            desired = yield from disabled(
                reconciler.store, by=by, wall=moment, reason=reason, at_least=reconciler.generation
            )
            return (yield from self._brought_into_force(desired))
        except StoreError as error:
            raise Problem(
                503,
                "store-unusable",
                f"this process is disabled, but the store does not reach the others: {error}",
                cure="repair the store, or end the processes",
            ) from error

    def _write(self, edit: Edit, *, count: str = "") -> Written:
        """Write ``edit``, and wait for the workers.

        ``count`` is the key under which the result has the number of rules that changed here.
        """
        reconciler = self._reconciler
        reconciler.reconcile()  # else the change could look older than this process
        desired = yield from updated(reconciler.store, edit, at_least=reconciler.generation)
        result = yield from self._brought_into_force(desired)
        return result | {count: reconciler.touched(desired.generation)} if count else result

    def _brought_into_force(self, desired: Desired) -> Written:
        """Apply the new state in this process, and wait for the other workers."""
        reconciler = self._reconciler
        reconciler.reconcile()
        result = (yield from acknowledged(reconciler.store, desired.generation)).as_data()
        if reconciler.store.shared:
            return result
        return result | {"reached": _ALONE.format(os.getpid())}


def _expect(desired: Desired, generation: int | None) -> None:
    """Raise a `Problem` (412) if the store is at another generation."""
    if generation is not None and generation != desired.generation:
        raise Problem(
            412,
            "stale",
            f"the plan is at generation {desired.generation}, and the change is meant for "
            f"{generation}",
            headers={"etag": f'"{desired.generation}"'},
            generation=desired.generation,
            cure="read the plan again, and send its ETag as If-Match",
        )
