"""Starts chaospoint before the program runs, and makes way for any other ``sitecustomize``.

Every Python with this directory on its path runs it, of whatever version and environment, so it
is plain Python and breaks nothing: where chaospoint is not installed that is one line on stderr.
"""

import importlib
import os
import sys

__all__ = ()


def _make_way() -> None:
    """Import the ``sitecustomize`` that would have been, on the path that would have been."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


def _start() -> None:
    try:
        from chaospoint._environ import is_set

        if not is_set():
            return
        from chaospoint.config import start
    except Exception as error:
        words = "chaospoint: cannot be imported in {} ({}: {}), so the program runs without chaos; "
        words += "install it there"
        print(words.format(sys.executable, type(error).__name__, error), file=sys.stderr)
    else:
        start()


def _serves_python_only() -> bool:
    """Whether this process is multiprocessing's own helper, which runs nothing of the program."""
    helper = "from multiprocessing.resource_tracker "
    return any(word.startswith(helper) for word in getattr(sys, "orig_argv", ()))


try:
    _make_way()  # first, for what patches all of Python has to come before whoever uses it
finally:
    if not _serves_python_only():
        _start()
