"""Start a program with chaospoint in it: change the environment and replace this process.

Signals, exit code, pid and streams are therefore the program's own. Every Python process that the
program starts inherits the environment, and starts chaospoint before anything else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from chaospoint._environ import FALSE, PREFIX, VARIABLE

__all__ = ["environment", "launch", "launched_with"]

_STARTUP = str(Path(__file__).parents[1] / "startup")
_LAUNCHED = "_CHAOSPOINT_LAUNCHED"  # the path of the plan, or empty
_NONE: Mapping[str, str] = MappingProxyType({})


def launch(
    command: Sequence[str], *, plan: Path | None = None, variables: Mapping[str, str] = _NONE
) -> NoReturn:
    """Replace this process with the program of ``command``, with chaospoint in it.

    ``plan``: the plan file. ``variables``: further variables to set. If ``CHAOSPOINT_ENABLED`` is
    false, the program runs without chaos, and a line on stderr reports it. A program that cannot be
    run is one line on stderr and `SystemExit`, as in a shell: 127 if it is not found, 126 if it
    cannot be executed. Does not return. Call it in the main thread.
    """
    if not command:
        raise ValueError("nothing to launch: give a command, such as ['python', 'app.py']")
    environ: Mapping[str, str] = os.environ
    if environ.get(VARIABLE, "").strip().lower() in FALSE:
        _print(f"{VARIABLE} is {environ[VARIABLE].strip()}, so {command[0]} runs without chaos")
    else:
        environ = environment(environ, plan=plan, variables=variables)
    try:
        _become(list(command), environ)
    except FileNotFoundError:
        _print(f"{command[0]} was not found: correct the name, or PATH")
        raise SystemExit(127) from None
    except OSError as error:
        _print(f"{command[0]} cannot be run: {error.strerror}")
        raise SystemExit(126) from None


def environment(
    environ: Mapping[str, str], *, plan: Path | None = None, variables: Mapping[str, str] = _NONE
) -> dict[str, str]:
    """Return the environment in which every Python process starts chaospoint."""
    result = {**environ, **variables}
    if not result.get(VARIABLE, "").strip():
        result[VARIABLE] = "true"
    if plan is not None:
        # Made absolute now: the program may start others in another directory.
        result[f"{PREFIX}CONFIG"] = os.path.abspath(plan)
    result[_LAUNCHED] = "" if plan is None else os.path.abspath(plan)
    # An empty entry means the current directory, so an empty variable must not become an entry.
    given = result.get("PYTHONPATH") or None
    entries = [] if given is None else given.split(os.pathsep)
    result["PYTHONPATH"] = os.pathsep.join(
        [_STARTUP, *(entry for entry in entries if entry != _STARTUP)]
    )
    return result


def launched_with(environ: Mapping[str, str]) -> str | None:
    """Return the path of the plan with which this process was launched, empty if without a plan.

    None if this process was not launched by `launch`.
    """
    return environ.get(_LAUNCHED)


def _become(command: list[str], environ: Mapping[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # exec starts another process there, and shells do not wait for it
        raise SystemExit(subprocess.run(command, env=environ, check=False).returncode)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and the program would inherit that
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_DFL)
    os.execvpe(command[0], command, environ)


def _print(message: str) -> None:
    print(f"chaospoint: {message}", file=sys.stderr)
