"""Apply the document of a store to this process, and report the result to the store.

A round reads the store, applies the document and reports. Rounds never overlap, and no thread
waits for one: a thread that arrives during a round makes the running thread add another. A refusal
never prevents an order to disarm.  A document that cannot be read changes nothing: the rules in
force stay until their deadlines, which this process measures with its own clock.  A change that
cannot be armed is refused as a whole, and the others are armed.  Each problem is logged once.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from secrets import token_hex
from threading import Lock as PlainLock
from time import monotonic, time
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, ref

from chaospoint._kernel.compiled_rule import CompiledRule
from chaospoint._kernel.context import transparently
from chaospoint._kernel.lock import Lock
from chaospoint._kernel.process import after_fork_in_c
from chaospoint._kernel.rounds import Rounds
from chaospoint._registry.housekeeping import NO_THREAD
from chaospoint._registry.registry import Registry
from chaospoint._version import __version__
from chaospoint.arming import disabled_outside
from chaospoint.errors import ChaosError, StoreError
from chaospoint.observers import add_defaults
from chaospoint.plan.compiling import compile_entry
from chaospoint.plan.limits import NO_LIMITS, Limits
from chaospoint.stores.desired import Desired, Entry
from chaospoint.stores.memory import MemoryStore
from chaospoint.stores.moments import moment
from chaospoint.stores.store import Store, Worker

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import Source

__all__ = ["Reconciler", "forget", "reconciler_of", "use"]

_log = logging.getLogger("chaospoint")

BUSY_SECONDS: Final = 0.1
IDLE_SECONDS: Final = 1.0
_RECENT_SECONDS = 10.0
_LEAVE_TIMEOUT_SECONDS = 2.0
_STAYS = "; what is armed stays until its deadline"
_MAX_POINTS = 1000  # names in the report of a worker
_REMEMBERED = 100  # orders

_in_use: WeakKeyDictionary[Registry, Reconciler] = WeakKeyDictionary()


def reconciler_of(
    registry: Registry, *, seed: int | None = None, limits: Limits = NO_LIMITS
) -> Reconciler:
    """Return the reconciler of ``registry``; without one, create one with a store in memory, this
    seed and these limits."""
    if (reconciler := _in_use.get(registry)) is None:
        created = Reconciler(MemoryStore(), registry, seed=seed, limits=limits)
        reconciler = _in_use.setdefault(registry, created)
    return reconciler


def use(registry: Registry, reconciler: Reconciler) -> None:
    """Make ``reconciler`` the one of ``registry``."""
    _in_use[registry] = reconciler


def forget(registry: Registry, reconciler: Reconciler) -> None:
    """Remove ``reconciler`` from ``registry``, unless another one has replaced it."""
    if _in_use.get(registry) is reconciler:
        del _in_use[registry]


def _who_disabled(registry: Registry) -> str:
    reconciler = _in_use.get(registry)
    if reconciler is None or not reconciler.store.shared:
        return ""
    if (coming := reconciler._coming).enabled:
        return ""
    return coming.disabled_by


disabled_outside.append(_who_disabled)


class Reconciler:
    """One process as a worker of a store, for one registry.

    `reconcile` makes a round, from any thread. The thread of ``rounds`` makes one every 100 ms
    while a rule is armed or the document has just changed, otherwise every second, and calls
    ``each_round`` after it. ``file`` is the plan file of this process. ``admin`` returns the
    address of its admin endpoint, or an empty text.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        seed: int | None = None,
        limits: Limits = NO_LIMITS,
        file: Path | None = None,
        each_round: Callable[[], None] = lambda: None,
        admin: Callable[[], str] = lambda: "",
    ) -> None:
        self.store = store
        self.source: Final = "store" if store.shared else "http"
        self._home = ref(registry)  # weak, because the registry is the key of `_in_use`
        self._seed = seed
        self._limits = limits.of_strangers
        self._file = file
        self._each_round = each_round
        self._admin = admin
        self._worker = Worker(token_hex(8), os.getpid(), version=__version__, started_at=time())
        self._generation: int | None = None  # None before the first round
        self._refusal = ""  # why this process differs from the document
        self._refused = ""  # the part of it that concerns the content of the document
        self._seen: Desired | None = None
        self._coming = Desired()  # the document that is being applied, or was applied last
        self._changed_at = monotonic()
        self._owed: str | None = (
            None  # the user who had disabled it when the store ordered to enable
        )
        self._in_force: dict[str, CompiledRule] = {}  # compiled entries, by id
        self._lifetimes: dict[str, tuple[float, float]] = {}  # of the same entries
        self._tried_at = self._changed_at  # time of the latest attempt to arm
        self._touched: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._said = ""  # the latest problem, to log each one once
        self._round = PlainLock()  # a round within a round does nothing
        self._again = self._left = False
        self._reporting = Lock()
        self.rounds = Rounds("chaospoint-store", self._interval, self._run_round)

    @property
    def _registry(self) -> Registry:
        registry = self._home()
        if registry is None:
            raise ReferenceError("the registry is gone")
        return registry

    @property
    def id(self) -> str:
        """The id of this process in the store."""
        return self._worker.id

    @property
    def generation(self) -> int:
        """The latest generation that was applied here; 0 before the first."""
        return self._generation or 0

    @property
    def refusal(self) -> str:
        """The reason why this process differs from the document; empty if it does not."""
        return self._refusal

    @property
    def seen(self) -> Desired:
        """The document of the latest round."""
        return self._seen or Desired()

    def touched(self, generation: int) -> int:
        """Return the number of rules or calls that the order of a generation affected here."""
        return sum(count for at, count in tuple(self._touched) if at == generation)

    # -- one round ------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Make a round, or make the thread of a running round add another; raises nothing."""
        self._again = True
        while self._again and self._turn():
            pass

    def _turn(self) -> bool:
        """Make one round, unless one is running; return whether it was made."""
        mine = False
        try:
            for mine in map(
                self._round.acquire, (False,)
            ):  # in C, so no signal handler runs between the two
                if mine:
                    self._again = False
                    transparently(self._make_round)
        except Exception as error:
            if self._said != (bug := repr(error)):
                _log.exception("the store %s could not be followed", self.store.url)
            self._said = bug
        finally:
            if mine:
                self._round.release()
        return mine

    def apply_master_switch(self) -> None:
        """Disable this process if the store is disabled; call it before arming any rule."""
        try:
            desired = self.store.read()
        except StoreError:
            return  # the first round logs it
        if not desired.enabled:
            self._registry.disable(by=desired.disabled_by)

    def _make_round(self) -> None:
        if self._left:
            return
        if self._generation is None:
            self.report()  # before reading, so that later writers wait for this process
        self._refusal = self._follow()
        unreported = self._report()
        problem = self._refusal or unreported
        if problem and problem != self._said:
            _log.warning("%s", problem)
        self._said = problem

    def _follow(self) -> str:
        """Apply the document; return the reason why this process differs from it."""
        try:
            desired = self.store.read()
        except StoreError as error:
            return f"the store {self.store.url} cannot be read: {error}{_STAYS}"
        if desired is not self._seen and desired != self._seen:
            self._coming = desired  # before disabling, so that a concurrent `enable` sees it
            self._refused = self._bring_into_force(desired)
            self._seen = desired
        elif not self._refused and self._registry.engine.unkept(self.source):
            self._refused = f"generation {desired.generation} was disarmed: {NO_THREAD}"
        elif self._refused and desired.generation and self._tried_at < monotonic() - IDLE_SECONDS:
            # Threads may start by now, and the exceptions that the rules name may be imported.
            self._refused = "; ".join(filter(None, (self._enable(desired), self._arm(desired))))
        return self._refused

    def _bring_into_force(self, desired: Desired) -> str:
        """Apply a new document; return the reason why a part of it is refused."""
        known = self._generation
        self._changed_at = monotonic()
        if known and desired.generation == 0:
            self._restore_disabled()
            return f"the store {self.store.url} has lost its document{_STAYS}"
        problem = ""
        if known is None:
            self._join(desired)
        else:
            # A lower generation means another document, all of which is new.
            problem = self._catch_up(desired, known if desired.generation >= known else 0)
        refusal = "; ".join(filter(None, (problem, self._arm(desired))))
        self._generation = desired.generation
        return refusal

    def _restore_disabled(self) -> None:
        """Disable a store that has lost its document, so that new processes start disabled."""
        last = self.seen
        if last.enabled:
            return
        try:
            self.store.update(
                lambda desired: desired.disable(by=last.by, now=moment(), reason=last.reason)
            )
        except StoreError as error:
            _log.warning("the store %s cannot be told that it is off: %s", self.store.url, error)

    def _join(self, desired: Desired) -> None:
        """Bring a new worker into the state of its service.

        Rules of the environment and the file that were disarmed must not return with a worker that
        starts later. If all processes of the service are new, those rules stay armed.
        """
        registry = self._registry
        if not desired.enabled:
            registry.disable(by=desired.disabled_by)
        since = min((one.started_at for one in self.store.workers()), default=time())
        for order in desired.orders:
            if order.what == "disarm" and order.at >= since:
                again: list[Source] = ["env"]
                if self._file is None or order.at >= _changed_at(self._file):
                    again.append("file")
                registry.engine.disarm(order.pattern, order.by, again)

    def _catch_up(self, desired: Desired, known: int) -> str:
        """Run the orders since generation ``known`` once; return the reason of a refusal."""
        registry = self._registry
        if known < desired.forgotten:
            # The document has dropped older orders, so disarm everything they may have named.
            registry.engine.disarm("*", desired.by, ("code", "test", "env", "file"))
            registry.replace((), source=self.source, by=desired.by)
            self._in_force = {}
        if desired.disabled > known:
            registry.disable(by=desired.disabled_by)
        if desired.switched > known:
            self._owed = registry.engine.off
        problem = self._enable(desired)
        for order in desired.orders:
            if order.generation > known:
                if order.what == "release":
                    count = registry.release(order.pattern)
                else:
                    count = registry.disarm(order.pattern, by=order.by)
                self._touched.append((order.generation, count))
        return problem

    def _enable(self, desired: Desired) -> str:
        """Enable this process if the store ordered that and no user has disabled it since; return
        the reason of a refusal."""
        registry = self._registry
        if desired.enabled and self._owed is not None and self._owed == registry.engine.off:
            try:
                registry.enable(by=desired.by)
            except ChaosError as error:
                return self._why(f"enabling by generation {desired.switched}", error)
        self._owed = None
        return ""

    def _arm(self, desired: Desired) -> str:
        """Arm the entries of the document; return the reasons for refused changes.

        Each change is armed completely or not at all; a refused change does not affect others.
        """
        registry, self._tried_at = self._registry, monotonic()
        add_defaults(registry)
        now = desired.time(moment())
        standing: dict[str, CompiledRule] = {}
        whys: list[str] = []
        for change, entries in groupby(desired.entries, attrgetter("change")):
            try:
                standing |= self._terms(list(entries), now)
            except Exception as error:
                whys.append(self._why(f"generation {change}", error))
        try:
            registry.replace(list(standing.values()), source=self.source, by=desired.by)
            self._in_force = standing
            self._lifetimes = {one.id: one.lifetime for one in desired.entries}
        except Exception as error:  # the points have changed since the dry run
            whys.append(self._why(f"generation {desired.generation}", error))
        if standing and desired.enabled and not registry.enabled:
            whys.append(
                "this process is disabled, and its store is not: call chaospoint.enable() there, "
                "or POST /v1/enable, unless an order to disable is on its way to the store"
            )
        return "; ".join(whys)

    def _why(self, what: str, error: Exception) -> str:
        """Return the reason of a refusal; log a bug once."""
        if isinstance(error, ChaosError):
            return f"{what} is refused: {error}"
        why = f"{what} is refused by a bug in chaospoint: {error!r}"
        if why not in self._refused:
            _log.error("%s", why, exc_info=error)
        return why

    def _terms(self, entries: list[Entry], now: float) -> dict[str, CompiledRule]:
        """Return the compiled rules of one change, by entry id; raises `ChaosError` if one of them
        cannot be armed here."""
        # Keep rules in force: their deadlines are on the clock of this process.
        made = {
            one.id: self._kept(one, now) or self._compile(one, now)
            for one in entries
            if one.id in self._in_force or self._seconds_left(one, now) > 0
        }
        fresh = [terms for key, terms in made.items() if terms is not self._in_force.get(key)]
        if fresh and self._registry.enabled:
            self._registry.engine.dry_run(fresh, self.source)
        return made

    def _kept(self, entry: Entry, now: float) -> CompiledRule | None:
        """Return the rule in force of an entry, or None if it must be compiled.

        The deadline of a renewed entry is moved; an entry that has already expired is armed again.
        """
        terms = self._in_force.get(entry.id)
        if terms is None or entry.lifetime == self._lifetimes.get(entry.id):
            return terms
        seconds = self._seconds_left(entry, now)
        return terms if self._registry.engine.renew(self.source, terms.key, seconds) else None

    def _seconds_left(self, entry: Entry, now: float) -> float:
        most = self._limits.lifetime(entry.expires_after) or entry.expires_after
        return entry.seconds_left(now) - (entry.expires_after - most)

    def _compile(self, entry: Entry, now: float) -> CompiledRule:
        return compile_entry(
            entry.rule,
            seed=entry.seed,
            default_seed=self._seed,
            expires_after=self._seconds_left(entry, now),
            key=f"{entry.id}/{entry.lifetime}",
            excluded=entry.excluded,
            limits=self._limits,
        )

    def report(self) -> None:
        """Report this process to the store; raises nothing."""
        self._report()

    def _report(self) -> str:
        """Report this process to the store; return the problem if that fails."""
        registry = self._registry
        try:
            with self._reporting:  # so that an older report never follows a newer one
                self.store.report(
                    replace(
                        self._worker,
                        generation=self.generation,
                        enabled=registry.enabled,
                        refusal=self._refusal,
                        admin=self._admin(),
                        points=tuple(point.name for point in registry.points()[:_MAX_POINTS]),
                    )
                )
        except StoreError as error:
            return f"the store {self.store.url} cannot be told of this process: {error}{_STAYS}"
        return ""

    # -- coming and going ------------------------------------------------------------------

    def leave(self, by: str = "stop()") -> None:
        """Remove this process from the store for good, and disarm the rules of the store."""
        self._left = True
        if self._round.acquire(timeout=_LEAVE_TIMEOUT_SECONDS):  # wait for a round to end
            self._round.release()
        try:
            self.store.leave(self.id)
        except StoreError as error:
            _log.debug("the store %s could not be left: %s", self.store.url, error)
        self._registry.replace((), source=self.source, by=by)

    def renew(self) -> None:
        """Become a new worker in a forked child, which keeps the rules but has no threads."""
        self.store.renew()
        parent = self._worker
        self._worker = replace(
            parent, id=token_hex(8), pid=os.getpid(), parent=parent.id, started_at=time()
        )
        self._round = PlainLock()  # a round within a round does nothing
        self._reporting = Lock()
        self.rounds.renew()

    def _run_round(self) -> None:
        self.reconcile()
        try:
            self._each_round()
        except Exception:
            _log.exception("the admin endpoint could not be looked after")

    def _interval(self) -> float:
        recent = monotonic() - self._changed_at < _RECENT_SECONDS
        return BUSY_SECONDS if recent or self._registry.rules() else IDLE_SECONDS


def _changed_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _renew() -> None:
    for reconciler in list(_in_use.values()):
        reconciler.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
after_fork_in_c.append(_renew)
