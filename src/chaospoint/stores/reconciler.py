"""What the store says is brought into force in this process, and the store is told so.

A round reads, acts and reports; no two overlap, and nobody waits for one: who comes while another
thread is at it leaves that to make one more.  Orders to disarm go before everything that may be
refused.  What cannot be read or armed changes nothing and is said once; the rules in force stay
until their deadlines, which this process keeps on its own clock.
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
_PATIENCE_SECONDS = 2.0
_STAYS = "; what is armed stays until its deadline"
_MAX_POINTS = 1000  # names that a worker tells the store of
_REMEMBERED = 100  # orders

_in_use: WeakKeyDictionary[Registry, Reconciler] = WeakKeyDictionary()


def reconciler_of(
    registry: Registry, *, seed: int | None = None, limits: Limits = NO_LIMITS
) -> Reconciler:
    """Return the one that is in use for ``registry``; if none is one that keeps to this process,
    with this seed and these limits."""
    if (found := _in_use.get(registry)) is None:
        made = Reconciler(MemoryStore(), registry, seed=seed, limits=limits)
        found = _in_use.setdefault(registry, made)
    return found


def use(registry: Registry, reconciler: Reconciler) -> None:
    """Have ``reconciler`` used for ``registry``."""
    _in_use[registry] = reconciler


def forget(registry: Registry, reconciler: Reconciler) -> None:
    """Have ``reconciler`` not used any more, unless another one is by now."""
    if _in_use.get(registry) is reconciler:
        del _in_use[registry]


def _who_disabled(registry: Registry) -> str:
    found = _in_use.get(registry)
    if found is None or not found.store.shared or (coming := found._coming).enabled:
        return ""
    return coming.disabled_by


disabled_outside.append(_who_disabled)


class Reconciler:
    """One process as a worker of a store, for one registry.

    `reconcile` makes a round, from any thread; ``rounds`` has a thread make them: every 100 ms
    while anything is armed or has just changed, else every second. ``tend`` is called in each of
    these. ``file``: the plan file that this process reads. ``admin`` says where this process serves
    the admin endpoint, or is empty.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        seed: int | None = None,
        limits: Limits = NO_LIMITS,
        file: Path | None = None,
        tend: Callable[[], None] = lambda: None,
        admin: Callable[[], str] = lambda: "",
    ) -> None:
        self.store = store
        self.source: Final = "store" if store.shared else "http"
        self._home = ref(registry)  # weakly, for it is what this is found by
        self._seed = seed
        self._limits = limits.of_strangers
        self._file = file
        self._tend = tend
        self._admin = admin
        self._worker = Worker(token_hex(8), os.getpid(), version=__version__, started_at=time())
        self._generation: int | None = None  # None: nothing was brought into force so far
        self._refusal = ""  # why this process is not as the store says
        self._refused = ""  # as far as that is for what the store says
        self._seen: Desired | None = None
        self._coming = Desired()  # the document that is being brought into force, or that was last
        self._changed_at = monotonic()
        self._owed: str | None = None  # who had disabled when the store ordered to enable
        self._in_force: dict[str, CompiledRule] = {}  # which entries are, by their ids
        self._lifetimes: dict[str, tuple[float, float]] = {}  # theirs
        self._tried_at = self._changed_at  # when that was to be changed last
        self._touched: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._said = ""  # what was said last, to say it once
        self._round = PlainLock()  # a round within a round does nothing
        self._again = self._left = False
        self._reporting = Lock()
        self.rounds = Rounds("chaospoint-store", self._interval, self._tended)

    @property
    def _registry(self) -> Registry:
        registry = self._home()
        if registry is None:
            raise ReferenceError("the registry is gone")
        return registry

    @property
    def id(self) -> str:
        """What the store knows this process by."""
        return self._worker.id

    @property
    def generation(self) -> int:
        """The latest generation that was brought into force here; 0 before the first."""
        return self._generation or 0

    @property
    def refusal(self) -> str:
        """Why this process is not as the store says; empty if it is."""
        return self._refusal

    @property
    def seen(self) -> Desired:
        """The document as this process saw it last."""
        return self._seen or Desired()

    def touched(self, generation: int) -> int:
        """Return how many rules or calls of this process the order of a generation concerned."""
        return sum(count for at, count in tuple(self._touched) if at == generation)

    # -- one round ------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Make a round, or have the thread that is at it make another; raises nothing."""
        self._again = True
        while self._again and self._turn():
            pass

    def _turn(self) -> bool:
        """Make one round, unless another is going on; return whether it was made."""
        mine = False
        try:
            for mine in map(self._round.acquire, (False,)):  # nothing comes between the two
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
        """Disable this process if the store says so, before anything else is armed in it."""
        try:
            desired = self.store.read()
        except StoreError:
            return  # the first round says it
        if not desired.enabled:
            self._registry.disable(by=desired.disabled_by)

    def _make_round(self) -> None:
        if self._left:
            return
        if self._generation is None:
            self.report()  # before it looks: who writes from now on waits for this process
        self._refusal = self._follow()
        untold = self._untold()
        why = self._refusal or untold
        if why and why != self._said:
            _log.warning("%s", why)
        self._said = why

    def _follow(self) -> str:
        """Do what the store says; return why this process is not as that says."""
        try:
            desired = self.store.read()
        except StoreError as error:
            return f"the store {self.store.url} cannot be read: {error}{_STAYS}"
        if desired is not self._seen and desired != self._seen:
            self._coming = desired  # before it disables: `enable` must not come between
            self._refused = self._bring_into_force(desired)
            self._seen = desired
        elif not self._refused and self._registry.engine.unkept(self.source):
            self._refused = f"generation {desired.generation} was disarmed: {NO_THREAD}"
        elif self._refused and desired.generation and self._tried_at < monotonic() - IDLE_SECONDS:
            # Threads may be there by now, and what it names may have been imported.
            self._refused = "; ".join(filter(None, (self._enable(desired), self._arm(desired))))
        return self._refused

    def _bring_into_force(self, desired: Desired) -> str:
        """Do what the document says; return why not all of it can be done."""
        known = self._generation
        self._changed_at = monotonic()
        if known and desired.generation == 0:
            self._restore_disabled()
            return f"the store {self.store.url} has lost its document{_STAYS}"
        why = ""
        if known is None:
            self._join(desired)
        else:
            # A lower one is that of another document, all of which is new.
            why = self._catch_up(desired, known if desired.generation >= known else 0)
        refusal = "; ".join(filter(None, (why, self._arm(desired))))
        self._generation = desired.generation
        return refusal

    def _restore_disabled(self) -> None:
        """Write the switch into a store that has lost it, for those that start from now on."""
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
        """Be as the service is that this process has become a worker of.

        What others disarmed of environment and file must not come back with a worker that starts
        later; but a service all of whose processes are new begins with what it reads.
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
        """Do once what was ordered since generation ``known``; return why some of it cannot be."""
        registry = self._registry
        if known < desired.forgotten:
            # Orders that nobody remembers may have been any: better too much than too little.
            registry.engine.disarm("*", desired.by, ("code", "test", "env", "file"))
            registry.replace((), source=self.source, by=desired.by)
            self._in_force = {}
        if desired.disabled > known:
            registry.disable(by=desired.disabled_by)
        if desired.switched > known:
            self._owed = registry.engine.off
        why = self._enable(desired)
        for order in desired.orders:
            if order.generation > known:
                if order.what == "release":
                    count = registry.release(order.pattern)
                else:
                    count = registry.disarm(order.pattern, by=order.by)
                self._touched.append((order.generation, count))
        return why

    def _enable(self, desired: Desired) -> str:
        """Enable this process if the store ordered so and nobody has disabled it since; return why
        that cannot be."""
        registry = self._registry
        if desired.enabled and self._owed is not None and self._owed == registry.engine.off:
            try:
                registry.enable(by=desired.by)
            except ChaosError as error:
                return self._why(f"enabling by generation {desired.switched}", error)
        self._owed = None
        return ""

    def _arm(self, desired: Desired) -> str:
        """Arm what stands in the store; return what of it cannot be armed, and why.

        A change is armed whole or not at all, and one that is refused keeps no other out.
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
        except Exception as error:  # the points have changed meanwhile
            whys.append(self._why(f"generation {desired.generation}", error))
        if standing and desired.enabled and not registry.enabled:
            whys.append(
                "this process is disabled, and its store is not: call chaospoint.enable() there, "
                "or POST /v1/enable, unless an order to disable is on its way to the store"
            )
        return "; ".join(whys)

    def _why(self, what: str, error: Exception) -> str:
        """Return why something is refused; a bug is logged once."""
        if isinstance(error, ChaosError):
            return f"{what} is refused: {error}"
        why = f"{what} is refused by a bug in chaospoint: {error!r}"
        if why not in self._refused:
            _log.error("%s", why, exc_info=error)
        return why

    def _terms(self, entries: list[Entry], now: float) -> dict[str, CompiledRule]:
        """Return what the entries of one change are to the kernel; raises `ChaosError` if one of
        them cannot be armed here."""
        # What is in force has its deadline on the clock of this process.
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
        """Return what the entry is in force as; None if it is not, or no longer.

        A renewed entry has its deadline moved. Where the old deadline came first, it is armed anew.
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
        """Tell the store of this process; raises nothing."""
        self._untold()

    def _untold(self) -> str:
        """Tell the store of this process; return why that cannot be."""
        registry = self._registry
        try:
            with self._reporting:  # so that what is told never goes back
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
        """Take this process out of the store, and disarm what it had from there; for good."""
        self._left = True
        if self._round.acquire(timeout=_PATIENCE_SECONDS):  # that no round brings it back
            self._round.release()
        try:
            self.store.leave(self.id)
        except StoreError as error:
            _log.debug("the store %s could not be left: %s", self.store.url, error)
        self._registry.replace((), source=self.source, by=by)

    def renew(self) -> None:
        """Become another worker, in a forked child, where rules live on and threads do not."""
        self.store.renew()
        parent = self._worker
        self._worker = replace(
            parent, id=token_hex(8), pid=os.getpid(), parent=parent.id, started_at=time()
        )
        self._round = PlainLock()  # a round within a round does nothing
        self._reporting = Lock()
        self.rounds.renew()

    def _tended(self) -> None:
        self.reconcile()
        try:
            self._tend()
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
