"""Starts chaospoint before the program runs, and makes way for any other ``sitecustomize``.

Every Python with this directory on its path runs it, of whatever version and environment, so it
is plain Python and breaks nothing: where chaospoint is not installed that is one line on stderr.

Python imports the first ``sitecustomize`` on the path and no other.  OpenTelemetry's puts itself
first for the processes that it starts, and imports no other, so this directory is put back before
it: once it has run, and before a launcher such as ``opentelemetry-instrument`` becomes the program.
"""

from __future__ import annotations

import importlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any, NoReturn

__all__ = ()

_HERE = os.path.dirname(os.path.abspath(__file__))


def _make_way() -> None:
    """Import the ``sitecustomize`` that would have been, on the path that would have been."""
    sys.path[:] = [entry for entry in sys.path if not _is_here(entry)]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


def _is_here(entry: str) -> bool:
    return os.path.abspath(entry or ".") == _HERE


def _stay_first(environ: MutableMapping[str, str]) -> None:
    """Put this directory first on the path of processes to come, if it stands there at all."""
    entries = environ.get("PYTHONPATH", "").split(os.pathsep)
    others = [entry for entry in entries if not entry or not _is_here(entry)]
    if len(others) < len(entries) and not _is_here(entries[0] or "."):
        environ["PYTHONPATH"] = os.pathsep.join([_HERE, *others])


def _stay_first_in_programs() -> None:
    """Have what replaces this process run this file, too."""
    execv, execve = os.execv, os.execve

    def execv_with_chaos(path: Any, argv: Any, /) -> NoReturn:
        _stay_first(os.environ)
        execv(path, argv)

    def execve_with_chaos(path: Any, argv: Any, env: Any) -> NoReturn:
        if hasattr(env, "keys"):  # else it is wrong, which is said in the words of Python
            env = dict(env)
            _stay_first(env)
        execve(path, argv, env)

    os.execv, os.execve = execv_with_chaos, execve_with_chaos
    if execve in os.supports_fd:
        os.supports_fd.add(execve_with_chaos)


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
    _make_way()  # first, because what patches all of Python has to come before its users
finally:
    _stay_first(os.environ)
    _stay_first_in_programs()
    if not _serves_python_only():
        _start()
