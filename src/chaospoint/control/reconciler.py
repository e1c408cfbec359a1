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
from pathlib import Path
from secrets import token_hex
from threading import Lock
from time import monotonic, time
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, ref

from chaospoint._inside import transparent
from chaospoint._registry import Registry
from chaospoint._terms import Terms
from chaospoint._version import __version__
from chaospoint.errors import ChaosError, StoreError
from chaospoint.limits import NO_LIMITS, Limits
from chaospoint.observers import add_defaults
from chaospoint.plan import Plan, compile_plan
from chaospoint.rounds import Rounds
from chaospoint.stores.desired import Desired, Entry
from chaospoint.stores.memory import MemoryStore
from chaospoint.stores.store import Store, Worker

if TYPE_CHECKING:
    from chaospoint._epoch import Source

__all__ = ["Reconciler", "reconciler_of", "use"]

_log = logging.getLogger("chaospoint")

BUSY_SECONDS: Final = 0.1
IDLE_SECONDS: Final = 1.0
_RECENT_SECONDS = 10.0
_MAX_POINTS = 1000  # names that a worker tells the store of
_REMEMBERED = 100  # orders

_in_use: WeakKeyDictionary[Registry, Reconciler] = WeakKeyDictionary()


def reconciler_of(registry: Registry) -> Reconciler:
    """Return the one that is in use for ``registry``; one that keeps to this process if none is."""
    if (found := _in_use.get(registry)) is None:
        found = _in_use.setdefault(registry, Reconciler(MemoryStore(), registry))
    return found


def use(registry: Registry, reconciler: Reconciler | None) -> None:
    """Have ``reconciler`` used for ``registry``, or none."""
    if reconciler is None:
        _in_use.pop(registry, None)
    else:
        _in_use[registry] = reconciler


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
        self._limits = limits
        self._file = file
        self._tend = tend
        self._admin = admin
        self._worker = Worker(token_hex(8), os.getpid(), version=__version__, started_at=time())
        self._generation: int | None = None  # None: nothing was brought into force so far
        self._refusal = ""  # why this process is not as the store says
        self._refused = ""  # as far as that is for what the store says
        self._seen: Desired | None = None
        self._changed_at = monotonic()
        self._in_force: dict[str, Terms] = {}  # which entries are, by their ids
        self._tried_at = self._changed_at  # when that was to be changed last
        self._touched: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._said = ""  # what was said last, to say it once
        self._round = Lock()
        self._again = False
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
        while self._again and self._round.acquire(blocking=False):
            try:
                self._again = False
                with transparent():
                    self._make_round()
            except Exception as error:
                if self._said != (bug := repr(error)):
                    _log.exception("the store %s could not be followed", self.store.url)
                self._said = bug
            finally:
                self._round.release()

    def _make_round(self) -> None:
        self._refusal = self._follow()
        untold = self._untold()
        why = self._refusal or untold
        if why and why != self._said:
            _log.warning("%s; what is armed stays until its deadline", why)
        self._said = why

    def _follow(self) -> str:
        """Do what the store says; return why this process is not as that says."""
        try:
            desired = self.store.read()
        except StoreError as error:
            return f"the store {self.store.url} cannot be read: {error}"
        if desired is not self._seen and desired != self._seen:
            self._refused = self._bring_into_force(desired)
            self._seen = desired
        elif self._refused and desired.generation and self._tried_at < monotonic() - IDLE_SECONDS:
            self._refused = self._arm(desired)  # what it named may have been imported since
        return self._refused

    def _bring_into_force(self, desired: Desired) -> str:
        """Do what the document says; return why not all of it can be done."""
        known = self._generation
        self._changed_at = monotonic()
        if known and desired.generation == 0:
            return f"the store {self.store.url} has lost its document"
        if known is None:
            self._join(desired)
        else:
            # A lower one is that of another document, all of which is new.
            self._catch_up(desired, known if desired.generation >= known else 0)
        refusal = self._arm(desired)
        self._generation = desired.generation
        return refusal

    def _join(self, desired: Desired) -> None:
        """Be as the service is that this process has become a worker of.

        What others disarmed of environment and file must not come back with a worker that starts
        later; but a service all of whose processes are new begins with what it reads.
        """
        registry = self._registry
        if not desired.enabled:
            registry.disable(by=desired.by)
        since = min((one.started_at for one in self.store.workers()), default=time())
        for order in desired.orders:
            if order.what == "disarm" and order.at >= since:
                again: list[Source] = ["env"]
                if self._file is None or order.at >= _changed_at(self._file):
                    again.append("file")
                registry.board.disarm(order.pattern, order.by, again)

    def _catch_up(self, desired: Desired, known: int) -> None:
        """Do once what was ordered since generation ``known``."""
        registry = self._registry
        if desired.disabled > known:
            registry.disable(by=desired.by)
        if desired.enabled and desired.switched > known:
            registry.enable(by=desired.by)
        for order in desired.orders:
            if order.generation > known:
                if order.what == "release":
                    count = registry.release(order.pattern)
                else:
                    count = registry.disarm(order.pattern, by=order.by)
                self._touched.append((order.generation, count))

    def _arm(self, desired: Desired) -> str:
        """Arm what stands in the store; return why that was refused, and then the old ones stay
        that are still to stay."""
        self._tried_at, now = monotonic(), time()
        stays = [one for one in desired.entries if one.id in self._in_force]
        # What is in force has its deadline on the clock of this process.
        entries = [
            one for one in desired.entries if one.id in self._in_force or one.seconds_left(now) > 0
        ]
        why = self._refused = self._installed(desired, entries)
        also = self._installed(desired, stays) if why else ""
        return f"{why}; {also}" if also not in ("", why) else why

    def _installed(self, desired: Desired, entries: list[Entry]) -> str:
        """Make ``entries`` all that is in force; return why not."""
        try:
            add_defaults(self._registry)
            made = {one.id: self._in_force.get(one.id) or self._compile(one) for one in entries}
            self._registry.replace(list(made.values()), source=self.source, by=desired.by)
        except ChaosError as error:
            return f"generation {desired.generation} is refused: {error}"
        except Exception as error:
            why = f"generation {desired.generation} is refused by a bug in chaospoint: {error!r}"
            if why != self._refused:
                _log.exception("%s", why)
            return why
        self._in_force = made
        return ""

    def _compile(self, entry: Entry) -> Terms:
        plan = Plan(rules=[entry.rule])
        (terms,) = compile_plan(plan, trust="loaded", seed=self._seed, limits=self._limits)
        if entry.seed is not None:
            schedule = replace(terms.schedule, seed=entry.seed)
            terms = terms._replace(schedule=schedule, seed_drawn=False)
        return terms._replace(
            expires_after=self._limits.lifetime(entry.seconds_left(time())),
            key=entry.id,
            excluded=(*terms.excluded, *entry.excluded),
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
            return f"the store {self.store.url} cannot be told of this process: {error}"
        return ""

    # -- coming and going ------------------------------------------------------------------

    def leave(self) -> None:
        """Take this process out of the store, and disarm what it had from there."""
        try:
            self.store.leave(self.id)
        except StoreError as error:
            _log.debug("the store %s could not be left: %s", self.store.url, error)
        self._registry.replace((), source=self.source, by="stop()")

    def renew(self) -> None:
        """Become another worker, in a forked child, where rules live on and threads do not."""
        self.store.renew()
        parent = self._worker
        self._worker = replace(
            parent, id=token_hex(8), pid=os.getpid(), parent=parent.id, started_at=time()
        )
        self._round = Lock()
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
