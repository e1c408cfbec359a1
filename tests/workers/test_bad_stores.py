"""If a store fails, the program continues, logs the error once, and can be stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers import rest_in_ci

from chaospoint import Registry
from chaospoint.control.http import Request, Response
from chaospoint.control.service import Service as Admin
from chaospoint.sources.settings import Settings
from chaospoint.stores import open_store
from chaospoint.stores.reconciler import Reconciler, use

if TYPE_CHECKING:
    from conftest import Service

pytestmark = pytest.mark.once

CHARGE = "/v1/points/payment.charge"
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do that")


class Program:
    """A process that follows a store, with its output and its log."""

    def __init__(self, serve: Callable[..., Service], children: int = 0) -> None:
        self.service = serve("family", "fork", str(children))
        self.pid = self.service.process.pid
        self.path = Path(self.service.store.removeprefix("file://"))
        self.service.until(lambda: self.service.ask("GET", "/v1/status"))
        self.service.until(lambda: len(self.told()) == children + 1)

    def told(self) -> list[str]:
        """Return the printed results of the calls of its point."""
        text = self.service.log.read_text()
        lines = [line for line in text.splitlines() if line.startswith('{"pid"')]
        return [json.loads(line)["said"] for line in lines]

    def said(self) -> list[str]:
        """Return the log, without injections and the master switch."""
        lines = self.service.log.read_text().splitlines()
        switched = ("chaospoint disabled ", "chaospoint enabled ")
        left_out = ('{"pid"', "chaospoint: injected ", *switched)
        return [line for line in lines if not line.startswith(left_out)]

    def only_line(self) -> str:
        """Return the log, which has one line."""
        lines = self.said()
        assert len(lines) == 1, lines
        return lines[0]

    def call(self) -> str:
        """Let it call its point, and return the result."""
        before = len(self.told())
        os.kill(self.pid, signal.SIGUSR1)
        self.service.until(lambda: len(self.told()) > before)
        return self.told()[-1]

    def rounds(self) -> None:
        """Request its status during several rounds, one every 100 ms."""
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            self.service.ask("GET", "/v1/status")


def elsewhere(program: Program, method: str, path: str) -> Response:
    """Send a request to the admin endpoint of this process, which uses the same store."""
    registry = Registry()
    reconciler = Reconciler(open_store(program.service.store), registry)
    use(registry, reconciler)
    try:
        admin = Admin.of(Settings(enabled=True), registry)
        headers = {"host": "localhost"}
        return admin.answer(Request(method, path, headers, b"", "127.0.0.1"))
    finally:
        reconciler.leave()
        use(registry, None)


def _put(path: Path, content: bytes) -> None:
    """Replace the document at once, so that no round reads a part of it."""
    new = path / "new.json"
    new.touch(0o600)
    new.write_bytes(content)
    new.replace(path / "desired.json")


def _corrupt(path: Path) -> None:
    _put(path, os.urandom(200))


def _half_written(path: Path) -> None:
    _put(path, (path / "desired.json").read_bytes()[:-30])


def _empty(path: Path) -> None:
    _put(path, b"")


def _newer(path: Path) -> None:
    _put(path, b'{"version": 2, "generation": 99, "waves": []}')


def _foreign(path: Path) -> None:
    os.chown(path / "desired.json", 4711, 4711)


def _mode_of_the_document(path: Path) -> None:
    (path / "desired.json").chmod(0o666)


def _a_link(path: Path) -> None:
    (path / "desired.json").rename(path / "other.json")
    (path / "desired.json").symlink_to("other.json")


def _a_pipe(path: Path) -> None:
    (path / "desired.json").unlink()
    os.mkfifo(path / "desired.json", 0o600)


def _removed(path: Path) -> None:
    shutil.rmtree(path)


def _document_removed(path: Path) -> None:
    (path / "desired.json").unlink()


MENDED_BY_DISABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "corrupt": (_corrupt, "is no document of chaospoint"),
    "half-written": (_half_written, "is no document of chaospoint"),
    "empty": (_empty, "is no document of chaospoint"),
    "newer": (_newer, "newer chaospoint"),
    "of a mode that lets others write": (_mode_of_the_document, "mode 0666"),
    "a symbolic link": (_a_link, "symbolic link"),
    "a pipe": (_a_pipe, "no regular file"),
    "removed": (_document_removed, "lost its document"),
    "removed with its directory": (_removed, "lost its document"),
}


@pytest.mark.parametrize(
    "harm", rest_in_ci(MENDED_BY_DISABLE, "corrupt", "a pipe", "removed with its directory")
)
def test_a_document_that_is_no_use_is_said_once_and_disable_puts_another_in_its_place(
    harm: str, serve: Callable[..., Service]
) -> None:
    _said_once_and_disabled(Program(serve), *MENDED_BY_DISABLE[harm])


@root
def test_a_document_of_another_user_is_said_once_and_disable_puts_another_in_its_place(
    serve: Callable[..., Service],
) -> None:
    _said_once_and_disabled(Program(serve), _foreign, "belongs to user 4711")


def _said_once_and_disabled(program: Program, harm: Callable[[Path], None], words: str) -> None:
    written = program.service.ask("PUT", CHARGE, {"exception": "TimeoutError"})
    harm(program.path)
    program.service.until(program.said)
    program.rounds()
    line = program.only_line()
    assert words in line
    assert program.call() == "timed out", "what was armed stays"

    answer = elsewhere(program, "POST", "/v1/disable")
    done = json.loads(answer.body)
    assert answer.status == 200, done
    assert done["generation"] > written["generation"], "nobody takes it for an old one"
    assert done["acknowledged"] == done["workers"] == 2
    assert program.call() == "paid"
    assert program.said() == [line]
    assert program.service.ask("POST", "/v1/enable")["enabled"] is True
    assert program.service.ask("PUT", CHARGE, {"exception": "TimeoutError"})["acknowledged"] == 1
    assert program.call() == "timed out"


def _mode_of_the_directory(path: Path) -> None:
    path.chmod(0o777)


def _a_file_in_its_place(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.write_text("")


def _a_link_in_its_place(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a directory that others can write": (_mode_of_the_directory, "mode 0777"),
    "a file in its place": (_a_file_in_its_place, "is no directory"),
    "a symbolic link in its place": (_a_link_in_its_place, "is a symbolic link"),
}


@pytest.mark.parametrize("harm", UNUSABLE)
def test_a_directory_that_cannot_be_used_is_said_once_and_so_is_why_disable_reaches_nobody(
    harm: str, serve: Callable[..., Service]
) -> None:
    program = Program(serve)
    program.service.ask("PUT", CHARGE, {"exception": "TimeoutError"})
    break_it, words = UNUSABLE[harm]
    break_it(program.path)
    program.service.until(program.said)
    program.rounds()
    line = program.only_line()
    assert words in line
    assert program.call() == "timed out"

    told = elsewhere(program, "POST", "/v1/disable")
    assert told.status == 503
    assert words in json.loads(told.body)["detail"]
    assert program.call() == "timed out"

    # A request to the process itself still stops it.
    answer = program.service._admin.post("/v1/disable")
    assert answer.status_code == 503
    assert "this process is disabled" in answer.json()["detail"]
    assert program.call() == "paid"
    assert [one for one in program.said() if "the audit log" not in one] == [line]

    if program.path.is_symlink() or program.path.is_file():
        program.path.unlink()
        program.path.with_name("aside").rename(program.path)
    program.path.chmod(0o700)
    done = program.service.until(lambda: program.service.ask("POST", "/v1/enable"))
    assert done["acknowledged"] == done["workers"] == 1
    assert program.call() == "timed out"


def test_a_parent_of_workers_says_once_that_the_store_cannot_be_used(
    serve: Callable[..., Service],
) -> None:
    """The process also asks the store whether it has children."""
    program = Program(serve, children=1)
    program.service.until(lambda: program.service.ask("GET", "/v1/status")["pid"] != program.pid)
    program.path.chmod(0o777)
    program.service.until(lambda: len(program.said()) >= 2)
    program.rounds()
    first, second = program.said()
    assert first == second, "one line of each process"
    assert "mode 0777" in first


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A small disk for the store, which the test may fill."""
    path = tmp_path / "store"
    path.mkdir(0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "none", str(path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")

    def fill() -> None:
        with (path / "filling").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    yield fill
    subprocess.run(["umount", "-l", str(path)], check=True)


@root
def test_on_a_full_disk_writes_are_refused_and_disable_works(
    full: Callable[[], None], serve: Callable[..., Service]
) -> None:
    program = Program(serve)
    program.service.ask("PUT", CHARGE, {"exception": "TimeoutError"})
    full()
    refused = program.service._admin.put(CHARGE, json={"latency": "1ms"})
    assert refused.status_code == 503, refused.text
    assert "No space left" in refused.json()["detail"]
    full()
    program.rounds()
    assert program.call() == "timed out"
    off = program.service._admin.post("/v1/disable")
    assert off.status_code == 200, off.text
    assert off.json()["acknowledged"] == 1
    assert program.call() == "paid"
    program.rounds()
    said = program.said()
    assert len(said) == len(set(said)), said
