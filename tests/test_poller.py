"""The file poller, one round at a time and by hand; the thread only repeats the rounds."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from chaospoint.errors import InvalidPlan
from chaospoint.sources.poller import Poller, look
from chaospoint.testing import FakeClock


class Loads:
    """Stands where plans are read: remembers texts, refuses those that begin with ``bad``."""

    def __init__(self, path: Path) -> None:
        self.texts: list[str] = []
        self.told: list[tuple[bool, str]] = []
        self.reads = 0
        self.poller = Poller(
            path, self.read, self.texts.append, lambda *told: self.told.append(told)
        )

    def read(self, path: Path) -> str:
        self.reads += 1
        if not path.exists():
            raise InvalidPlan(f"{path.name}: no such file")
        text = path.read_text()
        if text.startswith("bad"):
            raise InvalidPlan(f"{path.name}: {text}")
        return text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plan.yaml"


@pytest.fixture
def loads(path: Path) -> Loads:
    return Loads(path)


def test_a_file_is_loaded_once_for_each_change(path: Path, loads: Loads) -> None:
    path.write_text("one")
    assert [loads.poller.poll() for _ in range(3)] == [True, False, False]
    path.write_text("three")
    assert [loads.poller.poll() for _ in range(2)] == [True, False]
    assert loads.texts == ["one", "three"]
    assert loads.told == [(True, ""), (True, "")]


def test_a_file_written_in_place_is_seen_though_its_size_and_time_are_as_before(
    path: Path, loads: Loads
) -> None:
    """As `rsync --inplace -t` writes it."""
    path.write_text("one")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    loads.poller.poll()
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of the file system ticks
        path.write_text("two")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, 3)
    assert [loads.poller.poll() for _ in range(2)] == [True, False]
    assert loads.texts == ["one", "two"]


def test_a_replaced_file_of_the_same_size_and_time_is_seen(path: Path, loads: Loads) -> None:
    path.write_text("one")
    loads.poller.poll()
    other = path.with_name("new")
    other.write_text("two")
    stat = path.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert loads.poller.poll()
    assert loads.texts == ["one", "two"]


def test_a_file_whose_time_goes_backwards_is_seen(path: Path, loads: Loads) -> None:
    path.write_text("one")
    loads.poller.poll()
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert loads.poller.poll()


def test_a_symlink_that_moves_is_seen_each_time(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: ``plan`` → ``..data/plan``, and ``..data`` moves."""
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan").write_text(name)
    data = tmp_path / "..data"
    data.symlink_to("first")
    (tmp_path / "plan").symlink_to("..data/plan")
    loads = Loads(tmp_path / "plan")
    for name in ("first", "second", "third"):
        new = tmp_path / "..new"
        new.symlink_to(name)
        new.replace(data)
        assert loads.poller.poll()
    assert loads.texts == ["first", "second", "third"]


def test_a_bad_file_is_said_once_and_the_next_good_one_loaded(
    path: Path, loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("one")
    loads.poller.poll()
    path.write_text("bad: half writ")
    assert [loads.poller.poll() for _ in range(3)] == [False] * 3
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    said = record.getMessage()
    assert str(path) in said
    assert "bad: half writ" in said
    assert "is refused; its previous rules stay armed: " in said
    path.write_text("two")
    assert loads.poller.poll()
    assert loads.texts == ["one", "two"]
    assert loads.told == [(True, ""), (False, "plan.yaml: bad: half writ"), (True, "")]


def test_the_same_failure_of_another_version_is_said_again_and_of_the_same_one_is_not(
    path: Path, loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    for inode in ("a", "b"):
        new = path.with_name(inode)
        new.write_text("bad")
        new.replace(path)
        for _ in range(3):
            loads.poller.poll()
            assert loads.poller.refusal == "plan.yaml: bad"
    assert len(loads.told) == 2
    first, second = (record.getMessage() for record in caplog.records)
    assert "is refused: " in first, "there are no previous rules"
    assert "has changed and is still refused: plan.yaml: bad" in second
    path.write_text("good")
    loads.poller.poll()
    assert loads.poller.refusal is None


def test_a_missing_file_is_a_bad_file_and_may_appear(
    path: Path, loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    assert [loads.poller.poll() for _ in range(3)] == [False] * 3
    assert len(caplog.records) == 1
    path.write_text("one")
    assert loads.poller.poll()
    path.unlink()
    assert [loads.poller.poll() for _ in range(3)] == [False] * 3
    assert len(caplog.records) == 2
    assert loads.texts == ["one"]


def test_a_file_that_went_and_came_back_untouched_is_read_again(
    path: Path, loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    """So that its next disappearance is news once more."""
    path.write_text("one")
    away = path.with_name("away")
    assert loads.poller.poll()
    for gone in (1, 2):
        path.rename(away)
        assert not loads.poller.poll()
        away.rename(path)
        assert loads.poller.poll()
        assert len(caplog.records) == gone


def test_what_cannot_be_put_in_force_is_tried_again_and_not_read_again(path: Path) -> None:
    """What was wrong may have been a package that was not there yet."""
    path.write_text("one")
    refusing, reads = True, []

    def load(content: str) -> None:
        if refusing:
            raise InvalidPlan("not yet")

    def read(path: Path) -> str:
        reads.append(path.read_text())
        return reads[-1]

    poller = Poller(path, read, load, lambda *told: None)
    assert [poller.poll() for _ in range(3)] == [False] * 3
    assert reads == ["one"]
    path.write_text("second")
    assert not poller.poll()
    assert reads == ["one", "second"]
    refusing = False
    assert [poller.poll() for _ in range(2)] == [True, False]
    assert reads == ["one", "second"]


def test_what_a_file_says_wrong_is_not_read_again_until_the_file_changes(
    path: Path, loads: Loads
) -> None:
    path.write_text("bad")
    for _ in range(5):
        assert not loads.poller.poll()
        assert loads.poller.refusal == "plan.yaml: bad"
    assert loads.reads == 1
    path.write_text("bad again")
    assert [loads.poller.poll() for _ in range(2)] == [False] * 2
    assert loads.reads == 2
    path.write_text("one")
    assert loads.poller.poll()
    path.write_text("bad")
    assert not loads.poller.poll()
    assert loads.reads == 4


def test_a_file_that_could_not_be_read_is_read_again(path: Path) -> None:
    """The cure may lie in the system, as of a disk that did not answer."""
    path.write_text("one")
    broken = True

    def read(path: Path) -> str:
        if broken:
            raise InvalidPlan("cannot be read") from OSError("no answer")
        return path.read_text()

    poller = Poller(path, read, lambda content: None, lambda *told: None)
    assert not poller.poll()
    broken = False
    assert poller.poll()


def test_a_load_that_takes_long_and_fails_is_made_rarely(path: Path) -> None:
    path.write_text("one")
    clock, loads = FakeClock(), 0

    def load(path: Path) -> None:
        nonlocal loads
        loads += 1
        clock.advance(2)
        raise InvalidPlan("not yet")

    def poll(rounds: int) -> None:
        for _ in range(rounds):
            poller.poll()
            clock.advance(1)

    poller = Poller(path, lambda path: path, load, lambda *told: None, now=clock.monotonic)
    poll(35)
    assert loads == 1
    poll(35)
    assert loads == 2
    path.write_text("changed")
    poll(1)
    assert loads == 3


def test_a_bug_while_loading_is_logged_with_its_traceback_and_ends_there(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("one")
    told: list[tuple[bool, str]] = []
    poller = Poller(
        path, lambda path: 1 / 0, lambda content: None, lambda *words: told.append(words)
    )
    assert not poller.poll()
    assert told == [(False, "ZeroDivisionError: division by zero")]
    assert caplog.records[0].exc_info is not None


def test_looking_at_nothing_or_at_nonsense_gives_none(tmp_path: Path) -> None:
    assert look(tmp_path / "missing") is None
    assert look(Path("a\0b")) is None
    (tmp_path / "loop").symlink_to("loop")
    assert look(tmp_path / "loop") is None


def test_the_thread_polls_and_ends_at_once_when_told(path: Path) -> None:
    path.write_text("one")
    loaded = threading.Event()
    poller = Poller(
        path, str, lambda content: loaded.set(), lambda *told: None, interval_seconds=0.001
    )
    poller.rounds.start()
    poller.rounds.start()
    assert loaded.wait(10)
    threads = [t for t in threading.enumerate() if t.name == "chaospoint-poller"]
    assert len(threads) == 1
    assert threads[0].daemon
    poller.rounds.stop()
    poller.rounds.stop()
    assert not threads[0].is_alive()


def test_stopping_wakes_a_thread_that_would_wait_for_an_hour(path: Path) -> None:
    poller = Poller(path, str, str, lambda *told: None, interval_seconds=3600)
    poller.rounds.start()
    [thread] = [t for t in threading.enumerate() if t.name == "chaospoint-poller"]
    poller.rounds.stop(timeout_seconds=10)
    assert not thread.is_alive()


def test_the_thread_may_be_stopped_from_within(path: Path) -> None:
    path.write_text("one")
    stopped = threading.Event()

    def load(content: str) -> None:
        poller.rounds.stop()
        stopped.set()

    poller = Poller(path, str, load, lambda *told: None, interval_seconds=0.001)
    poller.rounds.start()
    assert stopped.wait(10)
