"""Start chaospoint before the program runs, and import the next ``sitecustomize`` on the path.

Every Python interpreter that has this directory on its path runs this module, whatever its version
and environment.  So the code is plain Python and never fails: if chaospoint is not installed, it
prints one line to stderr.

Python imports only the first ``sitecustomize`` on the path.  OpenTelemetry's puts its own directory
first for the processes that it starts, and does not import another one.  So this module puts its
directory back in front, first when OpenTelemetry's has run, and again before a launcher such as
``opentelemetry-instrument`` replaces itself with the program.
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


def _import_next() -> None:
    """Import the ``sitecustomize`` that Python would have imported without this directory."""
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
    """Put this directory first on the path of later processes, if the path contains it."""
    entries = environ.get("PYTHONPATH", "").split(os.pathsep)
    others = [entry for entry in entries if not entry or not _is_here(entry)]
    if len(others) < len(entries) and not _is_here(entries[0] or "."):
        environ["PYTHONPATH"] = os.pathsep.join([_HERE, *others])


def _stay_first_in_programs() -> None:
    """Make programs that replace this process run this module, too."""
    execv, execve = os.execv, os.execve

    def execv_with_chaos(path: Any, argv: Any, /) -> NoReturn:
        _stay_first(os.environ)
        execv(path, argv)

    def execve_with_chaos(path: Any, argv: Any, env: Any) -> NoReturn:
        if hasattr(env, "keys"):  # otherwise Python's own function raises its own error
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


def _is_helper() -> bool:
    """Whether this process is a helper of multiprocessing, which runs no code of the program."""
    helper = "from multiprocessing.resource_tracker "
    return any(word.startswith(helper) for word in getattr(sys, "orig_argv", ()))


try:
    _import_next()  # first, because modules that patch Python have to run before their users
finally:
    _stay_first(os.environ)
    _stay_first_in_programs()
    if not _is_helper():
        _start()
