"""uWSGI loads the program in a master, which does not serve, and forks the workers in C."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

__all__ = ["call_in_workers", "has_no_threads", "in_master"]


def _uwsgi() -> ModuleType | None:
    """Return the module that uWSGI adds to the programs that it runs, or None."""
    return sys.modules.get("uwsgi")


def in_master() -> bool:
    """Whether this process is a master that is about to fork its workers."""
    uwsgi = _uwsgi()
    if uwsgi is None or not hasattr(uwsgi, "worker_id"):
        return False
    return bool(uwsgi.masterpid() == os.getpid() and uwsgi.worker_id() == 0)


def has_no_threads() -> bool:
    """Whether uWSGI runs no Python threads except those that serve."""
    return not getattr(_uwsgi(), "has_threads", 1)


def call_in_workers(call: Callable[[], object]) -> None:
    """Call ``call`` in each process that uWSGI forks from this one."""
    uwsgi = _uwsgi()
    if uwsgi is None or not hasattr(uwsgi, "worker_id"):
        return
    try:
        # A later import would replace the hook of chaospoint with its own.
        import_module("uwsgidecorators").postfork_chain.append(call)
    except Exception:  # the module is missing, or there is no master
        before = getattr(uwsgi, "post_fork_hook", None)

        def hook() -> None:
            call()
            if before is not None:
                before()

        uwsgi.post_fork_hook = hook  # type: ignore[attr-defined]
