"""A store that is held, damaged or crowded still takes an order to disable, and every writer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path

import httpx
import pytest
from promptness import PROMISED_SECONDS, at_best, most_seconds, seconds

from chaospoint._registry.registry import Registry
from chaospoint.cli.http_target import CHANGE_SECONDS, TIMEOUT_SECONDS
from chaospoint.control.audit import Audit
from chaospoint.control.http import STOP_SECONDS
from chaospoint.control.server.admin import AdminServer
from chaospoint.control.service import Service
from chaospoint.errors import StoreBusy
from chaospoint.plan import Rule
from chaospoint.sources.settings import Settings
from chaospoint.stores.acknowledging import (
    ACK_TIMEOUT_SECONDS,
    LANE_SECONDS,
    QUEUE_SECONDS,
    STEP_SECONDS,
    disabled,
    run_blocking,
    updated,
)
from chaospoint.stores.desired import Desired
from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.files import Directory, lock, opened, unlock
from chaospoint.stores.halts import Halt, halts, remove, write_halt
from chaospoint.stores.reconciler import Reconciler, forget, use
from chaospoint.stores.store import Edit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stores need POSIX")

# A writer that holds the lock, with the new document not in place yet.
STOPPED = """
import os, signal, sys, time
from chaospoint.plan import Rule
from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.files import Directory
settle = Directory._settle
def held(self, fd, temporary, name, data, **more):
    if name == "desired.json":
        print("writing", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    settle(self, fd, temporary, name, data, **more)
Directory._settle = held
DirectoryStore(sys.argv[1]).update(
    lambda desired: desired.put([(Rule.parse("a.b=off"), None)], default_seconds=600, by="w",
                                now=time.time())
    if sys.argv[2] == "put" else desired.enable(by="w", now=time.time())
)
print("written", flush=True)
"""

WRITER = """
import sys, time
from chaospoint.control.http import STOP_SECONDS
from chaospoint.errors import StoreBusy
from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.acknowledging import updated, run_blocking
store, refused, written = DirectoryStore(sys.argv[1]), 0, 0
print("ready", flush=True)
sys.stdin.readline()
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    try:
        run_blocking(updated(store, lambda one: one.disarm("a.b", by="w", now=time.time())))
        written += 1
    except StoreBusy:
        refused += 1
print(written, refused)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def service(path: Path) -> Iterator[Callable[[str], httpx.Response]]:
    """A worker of the store with an admin endpoint; ask it."""
    registry = Registry()
    registry.point("a.b")
    reconciler = Reconciler(DirectoryStore(str(path)), registry)
    use(registry, reconciler)
    reconciler.reconcile()
    made = Service.of(Settings(enabled=True, store=f"file://{path}"), registry)
    server = AdminServer(made, "127.0.0.1", 0, token=False)
    assert server.open()

    def ask(what: str) -> httpx.Response:
        return httpx.post(f"{server.url}/v1/{what}", timeout=30, trust_env=False)

    yield ask
    server.close()
    reconciler.leave()
    forget(registry, reconciler)


@pytest.fixture
def begin(path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with ExitStack() as ended:

        def began(program: str, *arguments: str) -> subprocess.Popen[str]:
            process = ended.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", program, str(path), *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            ended.callback(process.kill)
            return process

        yield began


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def stopped(begin: Callable[..., subprocess.Popen[str]], what: str) -> subprocess.Popen[str]:
    writer = begin(STOPPED, what)
    assert line(writer) == "writing"
    _, status = os.waitpid(writer.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    return writer


@pytest.mark.alone
@pytest.mark.parametrize("what", ["put", "enable"])
def test_disable_does_not_wait_for_a_writer_that_is_stopped(
    what: str,
    path: Path,
    service: Callable[[str], httpx.Response],
    begin: Callable[..., subprocess.Popen[str]],
) -> None:
    most = most_seconds(lambda: service("disable"))
    assert service("enable").status_code == 200
    store, other = DirectoryStore(str(path)), DirectoryStore(str(path))
    writer = stopped(begin, what)

    answer = service("disable")
    assert answer.status_code == 200, answer.text
    assert "missing" not in answer.json()
    for reader in (store, other):
        assert not reader.read().enabled
    assert other.read().generation == answer.json()["generation"]
    assert at_best(lambda: service("disable")) < most
    generation = other.read().generation

    # What it was writing changes nothing, when it comes.
    writer.send_signal(signal.SIGCONT)
    assert line(writer) == "written"
    assert writer.wait(30) == 0
    for reader in (store, other, DirectoryStore(str(path))):
        assert not reader.read().enabled
        assert reader.read().generation == generation

    # The next update takes the order over, and then it is gone.
    made = run_blocking(updated(store, lambda one: one.enable(by="me", now=time.time())))
    assert made.generation > generation
    for reader in (store, other, DirectoryStore(str(path))):
        assert reader.read() == made
        assert reader.read().enabled
    assert not list(path.glob("halt-*"))
    run_blocking(updated(store, lambda one: one.disarm("*", by="me", now=time.time())))
    assert "heeded" not in json.loads((path / "desired.json").read_text())


@pytest.mark.alone
def test_disable_from_the_shell_does_not_wait_for_a_writer_that_is_stopped(
    path: Path, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    command = [sys.executable, "-m", "chaospoint", "disable", "--store", f"file://{path}"]

    def run() -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    plain = max(seconds(run) for _ in range(3))  # most of it is the start of a process
    DirectoryStore(str(path)).update(lambda one: one.enable(by="me", now=time.time()))
    stopped(begin, "put")
    assert at_best(run) < plain + max(PROMISED_SECONDS, plain)
    assert not DirectoryStore(str(path)).read().enabled


def test_an_order_between_taking_over_and_removing_counts_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed before it removes the file leaves an order that counts no more."""
    store = DirectoryStore(str(path))
    store.halt(by="me", now=time.time(), reason="now")
    monkeypatch.setattr("chaospoint.stores.directory.remove", lambda *_: None)
    made = store.update(lambda one: one.enable(by="me", now=time.time()))
    assert list(path.glob("halt-*"))
    assert made.enabled
    assert DirectoryStore(str(path)).read() == made
    second = store.halt(by="me", now=time.time())
    assert not second.enabled
    assert second.generation > made.generation


def overtaken(reader: DirectoryStore, monkeypatch: pytest.MonkeyPatch, *changes: Edit) -> None:
    """Have others make changes after ``reader`` has listed the orders, before the document."""
    store, halted = DirectoryStore(reader._path), DirectoryStore._halted
    left = iter(changes)

    def late(self: DirectoryStore, directory: Directory, orders: tuple[Halt, ...]) -> Desired:
        if self is reader and orders:
            for change in left:
                store.update(change)
        return halted(self, directory, orders)

    monkeypatch.setattr(DirectoryStore, "_halted", late)


ENABLED_AND_CHANGED: tuple[Edit, ...] = (
    lambda one: one.enable(by="me", now=time.time()),
    lambda one: one.disarm("*", by="me", now=time.time()),
)


def test_an_order_that_others_take_over_meanwhile_counts_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, reader = DirectoryStore(str(path)), DirectoryStore(str(path))
    store.halt(by="me", now=time.time())
    overtaken(reader, monkeypatch, *ENABLED_AND_CHANGED)
    seen = reader.read()
    assert seen.enabled
    assert seen == store.read()


def test_an_order_is_answered_as_it_counts_where_others_take_it_over_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, reader = DirectoryStore(str(path)), DirectoryStore(str(path))
    overtaken(reader, monkeypatch, *ENABLED_AND_CHANGED)
    assert reader.halt(by="me", now=time.time()) == store.read()


def test_a_reader_that_is_overtaken_each_time_gives_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, reader = DirectoryStore(str(path)), DirectoryStore(str(path))
    store.halt(by="me", now=time.time())

    def again(directory: Directory) -> tuple[Halt, ...]:
        write_halt(directory, generation=1, by="me", now=time.time())
        listed = halts(directory)
        for one in listed:
            remove(directory, one)
        return listed

    monkeypatch.setattr("chaospoint.stores.directory.halts", again)
    with pytest.raises(StoreBusy, match="try again"):
        reader.read()


def test_an_order_that_cannot_be_read_is_an_order(path: Path) -> None:
    store = DirectoryStore(str(path))
    store.update(lambda one: one.enable(by="me", now=time.time()))
    order = path / "halt-0123456789abcdef.json"
    order.touch(0o600)
    order.write_text("{")
    assert not store.read().enabled
    assert store.update(lambda one: one.enable(by="me", now=time.time())).enabled
    assert not order.exists()


def directory(path: Path) -> None:
    path.mkdir()
    (path / "file").touch()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def nonsense(path: Path) -> None:
    path.touch(0o600)
    path.write_text('{"version": 1, "generation": ')


def link(path: Path) -> None:
    path.symlink_to("/nowhere")


def readable(path: Path) -> None:
    path.touch()
    path.chmod(0o644)


DAMAGES = [directory, pipe, nonsense, link, readable]
NAMES = ["desired.json", "desired.json.new", "reserve", "reserve.new"]


def disable_in_a_damaged_store(
    path: Path, damaged: Path, damage: Callable[[Path], None], ask: Callable[[str], httpx.Response]
) -> None:
    if damaged.is_dir():
        shutil.rmtree(damaged)
    damaged.unlink(missing_ok=True)
    damage(damaged)
    answer = ask("disable")
    assert answer.status_code == 200, answer.text
    assert not DirectoryStore(str(path)).read().enabled


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_disable_works_whatever_stands_in_the_store(
    damage: Callable[[Path], None],
    name: str,
    path: Path,
    service: Callable[[str], httpx.Response],
) -> None:
    for _ in range(2):
        disable_in_a_damaged_store(path, path / name, damage, service)


@pytest.mark.ci
@pytest.mark.alone
def test_disable_is_prompt_whatever_stands_in_the_store(
    path: Path, service: Callable[[str], httpx.Response]
) -> None:
    most = most_seconds(lambda: service("disable"))
    for name, damage in product(NAMES, DAMAGES):
        disable = partial(disable_in_a_damaged_store, path, path / name, damage, service)
        assert at_best(disable) < most, (name, damage)


@pytest.mark.alone
def test_disable_works_in_a_store_that_is_empty(
    path: Path, service: Callable[[str], httpx.Response]
) -> None:
    most = most_seconds(lambda: service("disable"))

    def disable() -> None:
        shutil.rmtree(path)
        path.mkdir(mode=0o700)
        assert service("disable").status_code == 200
        assert not DirectoryStore(str(path)).read().enabled

    assert at_best(disable) < most


@pytest.mark.alone
def test_disable_works_while_a_plan_is_refused(
    path: Path, service: Callable[[str], httpx.Response]
) -> None:
    most = most_seconds(lambda: service("disable"))
    refused = [(Rule.parse("a.b=raise(no.such.Error)"), None)]

    def disable() -> None:
        assert service("enable").status_code == 200
        DirectoryStore(str(path)).update(
            lambda one: one.put(refused, default_seconds=60, by="me", now=time.time())
        )
        assert service("disable").status_code == 200
        assert not DirectoryStore(str(path)).read().enabled

    assert at_best(disable) < most


@pytest.mark.ci
@pytest.mark.alone
def test_writers_queue(path: Path, begin: Callable[..., subprocess.Popen[str]]) -> None:
    writers = [begin(WRITER, "5") for _ in range(32)]
    assert {line(writer) for writer in writers} == {"ready"}
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("\n")
        writer.stdin.flush()
    counts = [tuple(map(int, line(writer).split())) for writer in writers]
    written, refused = map(sum, zip(*counts, strict=True))
    assert written > 32
    assert refused <= written / 100, "a writer is refused only if no other gets on"


class Held:
    """A store that others write until the time ``free``, one a second until ``moves``."""

    def __init__(self, free: float, moves: float) -> None:
        self.now = 0.0
        self._free = free
        self._moves = moves

    def update(self, edit: Edit, **_: object) -> Desired:
        if self.now < self._free:
            raise StoreBusy("busy")
        return Desired()

    def read(self) -> Desired:
        return Desired(generation=int(min(self.now, self._moves)) + 1)

    def waits(self) -> float:
        """Return for how long a writer waits; raises `StoreBusy` if it is refused."""
        steps = updated(self, lambda one: one, now=lambda: self.now)  # type: ignore[arg-type]
        try:
            while True:
                self.now += next(steps)
        except StopIteration:
            return self.now


def test_a_writer_waits_while_others_get_on() -> None:
    free = QUEUE_SECONDS - 0.1
    assert Held(free, moves=free).waits() == pytest.approx(free, abs=2 * STEP_SECONDS)


@pytest.mark.parametrize(
    ("moves", "until"),
    [
        (0.0, ACK_TIMEOUT_SECONDS),
        (ACK_TIMEOUT_SECONDS - 0.5, 2 * ACK_TIMEOUT_SECONDS),
        (1e9, QUEUE_SECONDS),
    ],
)
def test_a_writer_is_refused_where_nobody_gets_on_and_after_all_its_time(
    moves: float, until: float
) -> None:
    store = Held(1e9, moves)
    with pytest.raises(StoreBusy):
        store.waits()
    assert store.now == pytest.approx(until, abs=2 * STEP_SECONDS)


def test_the_command_line_waits_longer_than_any_writer() -> None:
    assert QUEUE_SECONDS + 2 * ACK_TIMEOUT_SECONDS < CHANGE_SECONDS
    assert LANE_SECONDS + STOP_SECONDS + 2 * ACK_TIMEOUT_SECONDS < TIMEOUT_SECONDS


def test_disable_takes_the_lane_only_after_it_has_waited(path: Path) -> None:
    store = DirectoryStore(str(path))
    steps = disabled(store, by="me", wall=time.time)
    with opened(str(path)) as held:
        lock(held.fd, str(path))
        next(steps)
        unlock(held.fd)
    assert not run_blocking(steps).enabled
    assert not list(path.glob("halt-*"))


def test_the_audit_log_of_a_store_is_written_where_the_store_would_write(
    tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def write(store: Path) -> None:
        audit = Audit.of(Settings(enabled=True, store=f"file://{store}"))
        audit.record("PUT /v1/points/a.b", 200, who="me", client="")

    write(path)
    log = path / "audit.jsonl"
    assert log.stat().st_mode & 0o777 == 0o600
    assert len(log.read_text().splitlines()) == 1

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "linked").symlink_to(elsewhere)
    write(tmp_path / "linked")
    assert not list(elsewhere.iterdir())
    assert "symbolic link" in caplog.text

    caplog.clear()
    path.chmod(0o755)
    write(path)
    assert len(log.read_text().splitlines()) == 1
    assert "mode 0755" in caplog.text

    caplog.clear()
    path.chmod(0o700)
    log.chmod(0o644)
    write(path)
    assert len(log.read_text().splitlines()) == 1
    assert "mode 0644" in caplog.text
