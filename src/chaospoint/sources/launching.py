"""A program is started with chaospoint in it: its environment is changed, and it takes our place.

So signals, exit code, pid and streams are the program's own.  Every Python process that it starts
in turn inherits the environment, and starts chaospoint before anything else.
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
_LAUNCHED = "_CHAOSPOINT_LAUNCHED"  # the plan that was given, empty if none was
_NONE: Mapping[str, str] = MappingProxyType({})


def launch(
    command: Sequence[str], *, plan: Path | None = None, variables: Mapping[str, str] = _NONE
) -> NoReturn:
    """Become the program that ``command`` starts, with chaospoint in it; does not return.

    ``plan``: the plan file. ``variables`` are set besides. Where ``CHAOSPOINT_ENABLED`` is false
    the program runs without chaos, and that is said. What cannot be run is one line on stderr and
    `SystemExit`, as in a shell: 127 if it is not found, 126 if it cannot be executed. To be called
    in the main thread.
    """
    if not command:
        raise ValueError("nothing to launch: give a command, such as ['python', 'app.py']")
    environ: Mapping[str, str] = os.environ
    if environ.get(VARIABLE, "").strip().lower() in FALSE:
        _say(f"{VARIABLE} is {environ[VARIABLE].strip()}, so {command[0]} runs without chaos")
    else:
        environ = environment(environ, plan=plan, variables=variables)
    try:
        _become(list(command), environ)
    except FileNotFoundError:
        _say(f"{command[0]} is not found: correct the name, or PATH")
        raise SystemExit(127) from None
    except OSError as error:
        _say(f"{command[0]} cannot be run: {error.strerror}")
        raise SystemExit(126) from None


def environment(
    environ: Mapping[str, str], *, plan: Path | None = None, variables: Mapping[str, str] = _NONE
) -> dict[str, str]:
    """Return the environment in which every Python process starts chaospoint."""
    made = {**environ, **variables}
    if not made.get(VARIABLE, "").strip():
        made[VARIABLE] = "true"
    if plan is not None:
        # Made absolute now: the program may start others in another directory.
        made[f"{PREFIX}CONFIG"] = os.path.abspath(plan)
    made[_LAUNCHED] = "" if plan is None else os.path.abspath(plan)
    # An empty entry means the current directory, so an empty variable is no list of one.
    given = made.get("PYTHONPATH") or None
    entries = [] if given is None else given.split(os.pathsep)
    made["PYTHONPATH"] = os.pathsep.join(
        [_STARTUP, *(entry for entry in entries if entry != _STARTUP)]
    )
    return made


def launched_with(environ: Mapping[str, str]) -> str | None:
    """Return the plan file with which a process was launched, empty if none was given.

    None: it was not launched.
    """
    return environ.get(_LAUNCHED)


def _become(command: list[str], environ: Mapping[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # there execution goes on in another process, and the shell would not wait
        raise SystemExit(subprocess.run(command, env=environ, check=False).returncode)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and that would be inherited
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_DFL)
    os.execvpe(command[0], command, environ)


def _say(words: str) -> None:
    print(f"chaospoint: {words}", file=sys.stderr)
