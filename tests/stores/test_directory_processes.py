"""The store in a directory, used by several processes that end in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
from helpers import SOURCE

from chaospoint.stores.desired import Desired
from chaospoint.stores.directory import DirectoryStore

PROGRAM = Path(__file__).parents[1] / "programs" / "store_worker.py"

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(path: Path) -> Iterator[Begin]:
    """Begins a program on the store; all that did not end are ended."""
    begun: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(path), *arguments],
            env={"PYTHONPATH": ":".join([str(SOURCE), *filter(None, sys.path)])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        begun.append(program)
        return program

    yield run
    for program in begun:
        program.kill()
        program.communicate(timeout=30)  # ends when its children have, too


def said(program: subprocess.Popen[str]) -> int:
    """Wait for a line of the program: the number of a process that goes on."""
    assert program.stdout is not None
    return int(program.stdout.readline())


def kill(program: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    program.send_signal(number)
    program.wait(30)


def ids(store: DirectoryStore) -> list[str]:
    return sorted(one.id for one in store.workers())


def until_gone(store: DirectoryStore, worker_id: str) -> None:
    """Wait until a worker is gone whose process is not ours to wait for."""
    until = monotonic() + 30
    while worker_id in ids(store):
        assert monotonic() < until, f"{worker_id} is still there"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_is_gone_at_once(store: DirectoryStore, begin: Begin, number: int) -> None:
    first, second = begin("report", "aa"), begin("report", "bb")
    said(first)
    said(second)
    assert ids(store) == ["aa", "bb"]
    kill(first, number)
    assert ids(store) == ["bb"]
    kill(second, number)
    assert ids(store) == []


def test_the_file_of_a_killed_worker_is_removed(
    store: DirectoryStore, path: Path, begin: Begin
) -> None:
    program = begin("report", "aa")
    said(program)
    file = path / "workers" / "aa.json"
    assert file.exists()
    kill(program)
    store.workers()
    assert not file.exists()


def test_a_worker_of_a_stopped_process_still_counts(store: DirectoryStore, begin: Begin) -> None:
    """It will go on some time, with what it had armed."""
    program = begin("report", "aa")
    said(program)
    program.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, program.pid, os.WSTOPPED | os.WNOWAIT)
    assert ids(store) == ["aa"]
    program.send_signal(signal.SIGCONT)
    kill(program)
    assert ids(store) == []


@pytest.mark.parametrize(("how", "left"), [("fork", ["aa-child"]), ("fork-silently", [])])
def test_a_forked_child_does_not_answer_for_its_killed_parent(
    store: DirectoryStore, begin: Begin, how: str, left: list[str]
) -> None:
    program = begin(how, "aa")
    assert len({said(program), said(program)}) == 2
    assert ids(store) == ["aa", *left]
    kill(program)
    assert ids(store) == left


def test_a_worker_does_not_end_with_its_child(store: DirectoryStore, begin: Begin) -> None:
    program = begin("fork", "aa")
    (child,) = {said(program), said(program)} - {program.pid}
    os.kill(child, signal.SIGKILL)
    until_gone(store, "aa-child")
    assert ids(store) == ["aa"]


def test_a_killed_writer_leaves_no_lock_behind_and_nor_do_its_children(
    store: DirectoryStore, path: Path, begin: Begin
) -> None:
    program = begin("fork-updating")
    said(program)
    said(program)
    kill(program)
    assert store.update(lambda one: one.enable(by="ops", now=1.0)).generation == 1


def test_updates_of_several_processes_lose_nothing(
    store: DirectoryStore, path: Path, begin: Begin
) -> None:
    programs = [begin("count", name, "25") for name in "abc"]
    seen = [Desired()]
    while any(program.poll() is None for program in programs):
        seen.append(store.read())
    assert [program.wait(30) for program in programs] == [0, 0, 0]
    last = store.read()
    assert last.generation == 75
    assert {one.rule.point for one in last.entries} == {
        f"{n}.{i}" for n in "abc" for i in range(25)
    }
    generations = [one.generation for one in seen]
    assert generations == sorted(generations)
    assert {one.name for one in path.iterdir()} == {"desired.json", "reserve"}
