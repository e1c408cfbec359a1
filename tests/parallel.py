"""Run the tests in several processes, and leave the tests marked `ci` to CI.

A run of all tests uses all cores if pytest-xdist is installed; a run of a file, a folder or a
single test uses one process. ``-n 0`` keeps a run of all tests in one process.

Many tests start Python processes. If the environment forbids writing bytecode next to the source,
each of them would compile all modules again, so the run keeps bytecode in pytest's cache.
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
"""The maximum number of processes, unless ``-n`` sets another number."""

TESTS = Path(__file__).parent
LEFT = pytest.StashKey[int]()
TURNS = pytest.StashKey["Turns"]()


# -- spreading ----------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let pytest-xdist use all cores, unless the command line sets processes or selects tests."""
    option = config.option
    if fcntl is None or hasattr(config, "workerinput"):
        return
    if getattr(option, "numprocesses", 0) is not None or option.tx:
        return  # pytest-xdist is absent or disabled, or the command line sets the number
    if not option.usepdb and option.dist == "no" and _names_everything(config):
        # One more than the cores, because many tests wait for processes that they have started.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        option.numprocesses = min((cores or 1) + 1, option.maxprocesses or MOST)
        option.dist = "worksteal"  # keeps neighbours together, because they share fixtures


def _names_everything(config: pytest.Config) -> bool:
    return any(TESTS.is_relative_to(config.invocation_params.dir / path) for path in config.args)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let this process and its children use bytecode, but keep it away from the source."""
    if sys.dont_write_bytecode:
        sys.dont_write_bytecode = False
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        if sys.pycache_prefix is None:
            sys.pycache_prefix = str(config.rootpath / ".pytest_cache" / "bytecode")
            os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests that run alone to the end, where they interrupt least."""
    items.sort(key=_runs_alone)


def _runs_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


class Turns:
    """Locks for the processes of one run: many tests run together, or one runs alone."""

    def __init__(self, folder: Path) -> None:
        self._queue = folder.joinpath("queue").open("w")
        self._room = folder.joinpath("room").open("w")

    def enter(self, alone: bool) -> None:
        """Wait until a test may run; while one waits to run alone, no other test starts."""
        fcntl.flock(self._queue, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._queue, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Release the lock, also for children that the test forked and that still run."""
        fcntl.flock(self._room, fcntl.LOCK_UN)


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if fcntl is not None and hasattr(config, "workerinput"):
        config.stash[TURNS] = Turns(
            Path(config.option.basetemp).parent
        )  # the folder of the whole run


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test once it holds the lock."""
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
    """Take the count of a pytest-xdist worker; each worker has collected all tests."""
    if hasattr(node, "workeroutput"):  # absent if it crashed
        node.config.stash[LEFT] = node.workeroutput["left to CI"]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print how many tests this run left to CI."""
    if left := config.stash.get(LEFT, 0):
        terminalreporter.write_line(
            f"{left} test{'s' if left > 1 else ''} marked `ci` left to CI;"
            " `pytest -m ci` runs them, `pytest -m ''` runs everything"
        )
