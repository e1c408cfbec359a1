"""How the tests are spread over processes, and what a run leaves to CI.

A run of everything uses all cores, if pytest-xdist is there; a run of a file, a folder or a single
test stays in one process. ``-n 0`` keeps a run of everything in one process, too.

Many tests start Python processes. Each would compile all modules anew where the environment forbids
to write bytecode next to the source, so a run keeps its bytecode in pytest's cache there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

try:
    import fcntl
except ImportError:  # not on Windows, where a run stays in one process
    fcntl = None  # type: ignore[assignment]

MOST = 8
"""The most processes that a run starts by itself; ``-n`` may ask for more."""

TESTS = Path(__file__).parent
LEFT = pytest.StashKey[int]()
TURNS = pytest.StashKey["Turns"]()


# -- spreading ----------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Have pytest-xdist use all cores, unless the command line says how to run, or what."""
    option = config.option
    if fcntl is None or hasattr(config, "workerinput"):
        return
    if getattr(option, "numprocesses", 0) is not None or option.tx:
        return  # pytest-xdist is absent or switched off, or the command line says how many
    if not option.usepdb and option.dist == "no" and _names_everything(config):
        # One more than there are cores: many tests wait for processes that they have started.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        option.numprocesses = min((cores or 1) + 1, option.maxprocesses or MOST)
        option.dist = "worksteal"  # neighbours stay together: they share fixtures


def _names_everything(config: pytest.Config) -> bool:
    return any(TESTS.is_relative_to(config.invocation_params.dir / one) for one in config.args)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have this process and its children read and write bytecode, but not next to the source."""
    if sys.dont_write_bytecode:
        sys.dont_write_bytecode = False
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        if sys.pycache_prefix is None:
            sys.pycache_prefix = str(config.rootpath / ".pytest_cache" / "bytecode")
            os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that run alone at the end, where they interrupt least."""
    items.sort(key=_runs_alone)


def _runs_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


class Turns:
    """Lets the processes of one run take turns: many tests side by side, or one by itself."""

    def __init__(self, folder: Path) -> None:
        self._policy = folder.joinpath("door").open("w")
        self._room = folder.joinpath("room").open("w")

    def enter(self, alone: bool) -> None:
        """Wait for the turn of a test; while one waits to be alone, no other test begins."""
        fcntl.flock(self._policy, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._policy, fcntl.LOCK_UN)

    def leave(self) -> None:
        """End the turn, for children that the test forked and that still run as well."""
        fcntl.flock(self._room, fcntl.LOCK_UN)


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if fcntl is not None and hasattr(config, "workerinput"):
        config.stash[TURNS] = Turns(Path(config.option.basetemp).parent)  # that of the whole run


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test when it is its turn."""
    turns = item.config.stash.get(TURNS, None)
    if turns is None:
        return (yield)
    turns.enter(_runs_alone(item))
    try:
        return (yield)
    finally:
        turns.leave()


# -- what is left to CI -------------------------------------------------------------------------


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count the tests that are left to CI."""
    for item in items:
        if item.get_closest_marker("ci") is not None:
            item.config.stash[LEFT] = item.config.stash.get(LEFT, 0) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["left to CI"] = config.stash.get(LEFT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist counted; each has collected all the tests."""
    if hasattr(node, "workeroutput"):  # it did not crash
        node.config.stash[LEFT] = node.workeroutput["left to CI"]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what this run left to CI."""
    if left := config.stash.get(LEFT, 0):
        terminalreporter.write_line(
            f"{left} test{'s' if left > 1 else ''} marked `ci` left to CI;"
            " `pytest -m ci` runs them, `pytest -m ''` runs everything"
        )
