"""Development servers that reload: the parent loads the program, and only its child serves."""

from __future__ import annotations

import os
import sys
from threading import main_thread

__all__ = ["in_child", "in_parent", "may_be_parent"]

_MODULES = ("werkzeug", "django", "uvicorn", "watchfiles")
_PARENTS = frozenset(
    {
        ("werkzeug._reloader", "restart_with_reloader"),  # and so Flask's
        ("django.utils.autoreload", "restart_with_reloader"),
        ("uvicorn.supervisors.basereload", "run"),
        ("watchfiles.run", "run_process"),
    }
)
"""The functions in which a parent waits for its child, with their modules."""

_VARIABLES = ("WERKZEUG_RUN_MAIN", "RUN_MAIN")


def may_be_parent() -> bool:
    """Whether a reloading server is loaded in this process, started or not."""
    return not in_child() and any(name in sys.modules for name in _MODULES)


def in_parent() -> bool:
    """Whether this process does not serve, because its main thread waits for the child."""
    frame = sys._current_frames().get(main_thread().ident or 0)
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) in _PARENTS:
            return True
        frame = frame.f_back
    return False


def in_child() -> bool:
    """Whether this process is the serving child, according to the variables of the server."""
    return any(os.environ.get(name) == "true" for name in _VARIABLES)
