"""`start` puts everything from outside in force, and `stop` undoes it; neither raises.

The threads of chaospoint end before a fork and start again in parent and child.  A forked child
becomes a worker of the store and arms its rules before the fork returns there.  Of the processes
that share a store, one holds the admin port: the first that finds it free takes it, and a parent
leaves it to its children.  This module holds no lock while it arms rules, notifies observers or
waits.  It imports everything that the threads need before they start, because the program that
starts them may be in the middle of an import.
"""

from __future__ import annotations

import atexit
import difflib  # noqa: F401 - see below
import encodings.utf_8_sig  # noqa: F401 - see below
import logging
import os
from threading import get_ident
from time import monotonic, time

from chaospoint import _environ

# Other modules import these late, and no thread of chaospoint may be the first to import them.
from chaospoint._kernel import drive, reporting  # noqa: F401
from chaospoint._kernel.bell import Bell
from chaospoint._kernel.context import transparently
from chaospoint._kernel.lock import Lock
from chaospoint._kernel.logger import LOGGER
from chaospoint._kernel.process import after_fork_in_c, made_anew
from chaospoint._kernel.threads import OwnThread
from chaospoint._kernel.threads import start as start_thread
from chaospoint._patching import calls, decorate  # noqa: F401
from chaospoint._registry import engine, handle  # noqa: F401
from chaospoint._registry.housekeeping import NO_THREAD
from chaospoint._registry.registry import Registry, default_registry
from chaospoint._version import __version__
from chaospoint.control.access import AccessPolicy
from chaospoint.control.audit import Audit, AuditedExpiry
from chaospoint.control.server.admin import AdminServer
from chaospoint.control.service import Service
from chaospoint.errors import StoreError
from chaospoint.observers import add_defaults
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import (
    Permission,
    Settings,
    explicitly_off,
    permission,
    read_settings,
    split_address,
)
from chaospoint.stores import open_store
from chaospoint.stores.reconciler import Reconciler, forget, reconciler_of, use
from chaospoint.stores.store import Store
from chaospoint.workers.reloaders import in_child, in_parent, may_be_parent
from chaospoint.workers.uwsgi import call_in_workers, has_no_threads, in_master

__all__ = ["Permission", "Settings", "permission", "read_settings", "start", "stop"]

_WAIT_SECONDS = 10.0
_SETTLED_SECONDS = 1.0  # younger children do not get the port,
_SILENT_SECONDS = 3.0  # and neither do children that have been silent for longer
_THREADS = 6  # two of the kernel, file, store, accepting, and one request
_BROKEN = "chaospoint could not start; the program continues without faults"
_THREADLESS = f"{NO_THREAD}, then call start() again"


def start(settings: Settings | None = None, *, registry: Registry | None = None) -> None:
    """Arm the rules of environment and file, watch the file, follow the store, and serve the admin
    endpoint, as the settings say.

    ``settings`` default to those of the environment, ``registry`` to the default registry.  The
    rules are armed when this returns.

    If the environment does not allow chaospoint, this logs one line and does nothing.  To start it
    from code anyway, pass ``Settings(enabled=True)``; if ``CHAOSPOINT_ENABLED`` is false, pass
    ``despite_environment=True`` as well, which also allows arming from code until `stop`.

    A second call does nothing.  Safe from any thread; errors are logged and never raised.
    """
    transparently(_start_safely, settings, registry)


def _start_safely(settings: Settings | None, registry: Registry | None) -> None:
    try:
        _start(settings, registry)
    except Exception:
        LOGGER.exception(_BROKEN)


def _start(settings: Settings | None, registry: Registry | None) -> None:
    global _running
    if _running is not None and settings is None:
        _join(_running, None, registry)
        return
    wanted = read_settings() if settings is None else settings
    allowed = permission(wanted)
    if not allowed.allowed:
        level = logging.WARNING if wanted.enabled else logging.INFO
        LOGGER.log(level, "chaospoint is not started: %s", allowed.why)
        return
    if not in_master() and not _can_have_threads():
        LOGGER.error("chaospoint is not started: %s", _THREADLESS)
        return
    new = _Running(wanted, default_registry() if registry is None else registry)
    with _guard:
        running = _running = _running or new
        if running is new:
            new.take_over()
        _have_hooks()
    if running is new:
        if wanted.despite_environment and explicitly_off():
            LOGGER.warning("chaospoint starts although %s", allowed.why)
        new.start()
    else:
        _join(running, settings, registry)


def _join(running: _Running, settings: Settings | None, registry: Registry | None) -> None:
    running.wait_until_started()
    if registry is not None and registry is not running.registry:
        LOGGER.warning("chaospoint runs already, for another registry: call stop() before start()")
    elif settings is not None and settings != running.settings:
        LOGGER.warning("chaospoint runs already, with other settings: call stop() before start()")


def stop() -> None:
    """Undo `start`: end the threads, close the endpoint, and disarm the rules from outside.

    Rules that arrived over HTTP are disarmed, too, because no endpoint is left to disarm them.
    Without a `start` before it, this does nothing.  It waits some seconds at most for each thread.
    Safe from any thread.
    """
    global _running, _stopping
    with _guard:
        running, _running = _running, None
        _stopping = running
    if running is not None:
        transparently(running.stop)
        with _guard:
            if _stopping is running:
                _stopping = None


class _Running:
    """The parts that one `start` started."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings = settings
        self.registry = registry
        self._sources = Sources(settings, registry)
        self._reconciler = Reconciler(
            _store(settings, registry),
            registry,
            seed=settings.seed,
            limits=settings.limits,
            file=settings.config,
            each_round=self._tend_port,
            admin=lambda: (self._server and self._server.url) or "",
        )
        self._server = _server(settings, registry, shared=self._reconciler.store.shared)
        self._expiry = AuditedExpiry(Audit.of(settings))
        self._forked = False
        self._without_port_since: float | None = None
        self._warned = False  # a process of another store has the port, and a warning was logged
        self._whole, self._started = False, Bell()
        self._starter = get_ident()

    def take_over(self) -> None:
        """Make the registry follow this reconciler; forks from now on restart it."""
        if self.settings.despite_environment:
            _environ.overrides.add(self)
        before = reconciler_of(self.registry)
        if self._reconciler.store is before.store:
            before.store.leave(before.id)
        use(self.registry, self._reconciler)

    def start(self) -> None:
        try:
            add_defaults(self.registry)  # before anything may be refused
            self.registry.remove_observer(self._expiry)  # a restarted child has it already
            self.registry.add_observer(self._expiry)
            self._reconciler.apply_master_switch()
            file = self._sources.read_file()  # first, because it may place points
            read = [self._sources.read_env(), file]
            self._reconciler.reconcile()
            if in_master():
                self._leave_to_workers()
            else:
                if self._server is not None:
                    # The parent of a reloader holds the port for a moment, and then releases it.
                    self._server.open(taken=logging.INFO if in_child() else logging.WARNING)
                self._start_threads()
            if has_no_threads():
                LOGGER.warning("%s", _NO_THREADS)
            self._log_start([text for text in read if text is not None])
        except Exception as error:
            self._give_up(error)
        finally:
            self._whole = True
            self._started.set()

    def _give_up(self, error: Exception) -> None:
        """Log why nothing from outside can be followed, and undo the start."""
        global _running
        threadless = isinstance(error, RuntimeError) and not _can_have_threads()
        LOGGER.error("%s", _THREADLESS if threadless else _BROKEN, exc_info=not threadless)
        try:
            self._end(by="a start that failed")
        finally:
            with _guard:
                if _running is self:
                    _running = None

    def _leave_to_workers(self) -> None:
        """End the threads and leave the store, because a fork in C must not interrupt anything."""
        self._reconciler.store.leave(self._reconciler.id)
        self.registry.engine.housekeeper.stop()

    def wait_until_started(self) -> None:
        """Wait some seconds for the thread that runs `start`, unless it is this one."""
        if not self._whole and get_ident() != self._starter:
            self._started.wait(_WAIT_SECONDS)

    def stop(self) -> None:
        self.wait_until_started()
        self._end()
        LOGGER.info("chaospoint stopped: pid %d", os.getpid())

    def _end(self, by: str = "stop()") -> None:
        _environ.overrides.discard(self)
        self.stop_threads()
        if self._server is not None:
            self._server.close()
        if self._server is not None or self._reconciler.store.shared:
            forget(self.registry, self._reconciler)
            self._reconciler.leave(by)
        self._sources.clear(by)
        self.registry.remove_observer(self._expiry)

    def disown(self) -> None:
        """Undo, in a forked child, the rest of what its stopping parent undoes."""
        _environ.overrides.discard(self)
        if self._server is not None:
            self._server.renew()
        for source in ("env", "file", self._reconciler.source):
            self.registry.replace((), source=source, by="stop()")

    def pause(self) -> None:
        """End the threads, but keep the socket."""
        self.stop_threads()
        if self._server is not None:
            self._server.pause()

    def stop_threads(self) -> None:
        """End the threads that follow file and store."""
        self._reconciler.rounds.stop()
        if self._sources.poller is not None:
            self._sources.poller.rounds.stop()

    def resume(self) -> None:
        """Start the threads again, in the parent of a fork."""
        self._forked = True
        if self._whole:
            try:
                if self._server is not None:
                    self._server.resume()
                self._start_threads()
            except RuntimeError as error:
                self._give_up(error)

    def restart(self) -> None:
        """Start again in a forked child, which inherits the rules but not the threads."""
        whole = self._whole
        self._forked = False
        self._whole, self._started = False, Bell()
        self._starter = get_ident()
        if self._server is not None:
            self._server.renew()
        if self._sources.poller is not None:
            self._sources.poller.rounds.renew()
        if not whole:  # `start` ran in another thread of the parent, which does not exist here
            self.start()
            return
        self._reconciler.reconcile()
        try:
            if self._server is not None:
                self._server.open(taken=logging.INFO)
            self._start_threads()
        except RuntimeError as error:
            self._give_up(error)
        self._whole = True
        self._started.set()

    def _start_threads(self) -> None:
        if self._sources.poller is not None:
            self._sources.poller.rounds.start()
        server = self._server
        restarters = server is not None and (server.url is None or may_be_parent())
        if self._reconciler.store.shared or restarters:
            self._reconciler.rounds.start()

    def _tend_port(self) -> None:
        """Take the admin port if it is free; leave it to the children that serve."""
        if self._server is None:
            return
        try:
            leaves = in_parent() or (self._forked and self._has_children())
        except StoreError:
            leaves = False  # unknown; the reconciler has already logged the error
        if leaves:
            self._server.leave()
        elif self._server.url is not None:
            self._without_port_since = None
        elif self._server.open(taken=None):
            LOGGER.info("the admin endpoint is served here now: %s", self._server.url)
            self._reconciler.report()
        else:
            self._warn_of_another_store()

    def _warn_of_another_store(self) -> None:
        """Warn once if a process of another store holds the port."""
        store, since = self._reconciler.store, self._without_port_since
        if since is None:
            self._without_port_since = monotonic()
        elif store.shared and not self._warned and monotonic() - since > _SILENT_SECONDS:
            self._warned = not any(worker.admin for worker in store.workers())
            if self._warned:
                LOGGER.warning(
                    "the port %s belongs to a process of another store, or of none: requests to it "
                    "do not reach this service; give each service a CHAOSPOINT_ADMIN of its own, "
                    "or use chaospoint --store %s",
                    self.settings.admin,
                    store.url,
                )

    def _has_children(self) -> bool:
        store, own = self._reconciler.store, self._reconciler.id
        settled = time() - _SETTLED_SECONDS
        return any(
            worker.parent == own
            and worker.started_at < settled
            and worker.seconds_silent < _SILENT_SECONDS
            for worker in store.workers()
        )

    def _log_start(self, read: list[str]) -> None:
        settings, url = self.settings, self._server and self._server.url
        unset = "" if "environment" in settings.model_fields_set else " (not set)"
        seed = "" if settings.seed is None else f"; seed {settings.seed}"
        LOGGER.info(
            "chaospoint %s started%s: pid %d; environment %s%s; %s; %s%s%s",
            __version__,
            "" if self.registry.enabled else ", disabled until it is enabled again",
            os.getpid(),
            settings.environment,
            unset,
            "; ".join(read) or "no rules from env or file",
            f"admin endpoint {url}{_read_only(settings)}" if url else "no admin endpoint",
            f"; store {store.url}" if (store := self._reconciler.store).shared else "",
            seed,
        )


def _can_have_threads() -> bool:
    """Whether the process can start as many threads as chaospoint may need."""
    stay, threads = Bell(), list[OwnThread]()
    try:
        for _ in range(_THREADS):
            trial = OwnThread("chaospoint-trial", stay.wait)
            start_thread(trial)
            threads.append(trial)
    except RuntimeError:
        return False
    finally:
        stay.set()
        for thread in threads:
            thread.join()
    return True


def _read_only(settings: Settings) -> str:
    if not AccessPolicy.of(settings).read_only:
        return ""
    return f" (read only: {settings.environment!r} needs CHAOSPOINT_ADMIN_TOKEN for changes)"


def _server(settings: Settings, registry: Registry, *, shared: bool) -> AdminServer | None:
    if settings.admin is None:
        return None
    host, port = split_address(settings.admin)
    token = settings.admin_token is not None or settings.admin_read_token is not None
    return AdminServer(Service.of(settings, registry), host, port, token=token, shared=shared)


def _store(settings: Settings, registry: Registry) -> Store:
    """Return the store of the settings, or else the one that the registry follows already."""
    if settings.store is not None:
        try:
            return open_store(settings.store)
        except StoreError as error:
            LOGGER.warning("this process follows no store: %s", error)
    return reconciler_of(registry).store


_guard = Lock()
_running: _Running | None = None
_stopping: _Running | None = None  # a forked child drops it, too


def _before_fork() -> None:
    if _running is not None:
        _running.pause()
    if _stopping is not None:
        _stopping.stop_threads()


def _after_fork_in_parent() -> None:
    with _guard:  # a concurrent stop() must not be undone
        if _running is not None:
            _running.resume()


def _after_fork_in_child() -> None:
    global _guard, _stopping
    _guard = Lock()
    if _stopping is not None:
        transparently(_stopping.disown)
        _stopping = None
    if _running is not None:
        transparently(_running.restart)


_registered = False
_NO_THREADS = (
    "uWSGI runs without Python threads: rules expire, follow file and store, and are disabled "
    "only while a request is served; start uWSGI with --enable-threads"
)


def _have_hooks() -> None:
    """Register the hooks of forks and of the end of the process; call it under `_guard`."""
    global _registered
    if _registered:
        return
    _registered = True
    atexit.register(stop)
    after_fork_in_c.append(_after_fork_in_child)
    call_in_workers(made_anew)
    # The kernel has registered its hooks before, when it was imported.  Hooks before a fork run in
    # reverse order, so these end the threads before the kernel takes the lock that they may need.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork,
            after_in_parent=_after_fork_in_parent,
            after_in_child=_after_fork_in_child,
        )
