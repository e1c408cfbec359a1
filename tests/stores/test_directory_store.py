"""The store in a directory: whose files it reads, and what it does when it cannot."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaospoint.errors import ChaosError, LimitExceeded, StoreError
from chaospoint.plan import Rule
from chaospoint.stores import files, open_store, worker_files
from chaospoint.stores.desired import MAX_RULES, Desired
from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.files import Directory, NoRoom
from chaospoint.stores.store import Worker

ONE = Worker("aa11", 1, points=("a",), started_at=5.0)
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


def enable(one: Desired) -> Desired:
    return one.enable(by="ops", now=1.0)


def disable(one: Desired) -> Desired:
    return one.disable(by="ops", now=1.0)


def arm(one: Desired, count: int = 1) -> Desired:
    rules = [(Rule(point=f"point.{nth}", latency="200ms"), 7) for nth in range(count)]
    return one.put(rules, default_seconds=600.0, by="ops", now=1e9)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def names(path: Path) -> set[str]:
    return {str(one.relative_to(path)) for one in path.rglob("*")}


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


# -- what it makes ------------------------------------------------------------------------


def test_reading_makes_nothing(store: DirectoryStore, path: Path) -> None:
    assert store.read() == Desired()
    assert store.workers() == ()
    store.leave("aa11")
    assert not path.exists()


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o277], indirect=True)
@pytest.mark.parametrize("first", ["update", "report"])
def test_all_is_the_owners_alone_whatever_the_umask(
    store: DirectoryStore, path: Path, umask: None, first: str
) -> None:
    store.update(enable) if first == "update" else store.report(ONE)
    store.update(enable)
    store.report(ONE)
    assert names(path) == {"desired.json", "reserve", "workers", "workers/aa11.json"}
    assert {mode(path), mode(path / "workers")} == {0o700}
    assert {mode(one) for one in path.rglob("*") if one.is_file()} == {0o600}


def test_missing_parents_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    DirectoryStore(str(tmp_path / "a" / "b" / "store")).update(enable)
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


def test_a_path_is_the_same_after_going_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = DirectoryStore("store é")
    store.update(enable)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.read().generation == 1
    assert open_store(store.url).read().generation == 1


# -- whose files it reads -----------------------------------------------------------------


def refused(call: Callable[[], Any], *parts: str) -> None:
    """Expect a refusal that says all this, twice: the second time it comes from memory."""
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            call()
        message = str(caught.value)
        assert all(part in message for part in parts), message


def uses(store: DirectoryStore) -> list[Callable[[], Any]]:
    return [
        store.read,
        lambda: store.update(enable),
        lambda: store.update(enable, ignore_unreadable=True),
        lambda: store.report(ONE),
        store.workers,
    ]


@pytest.mark.parametrize("bits", [0o750, 0o701, 0o720, 0o1777])
def test_a_directory_that_others_can_use_is_refused(
    store: DirectoryStore, written: Path, bits: int
) -> None:
    written.chmod(bits)
    for use in uses(store):
        refused(use, str(written), f"{bits:04o}", f"chmod go= {written}")


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path, written: Path) -> None:
    (tmp_path / "link").symlink_to(written)
    for use in uses(DirectoryStore(str(tmp_path / "link"))):
        refused(use, f"{tmp_path}/link", "symbolic link", "name the directory itself")
    (tmp_path / "lost").symlink_to(tmp_path / "nothing")
    for use in uses(DirectoryStore(str(tmp_path / "lost"))):
        refused(use, f"{tmp_path}/lost", "symbolic link")


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for use in uses(DirectoryStore(str(tmp_path / "file"))):
        refused(use, f"{tmp_path}/file", "no directory")
    for use in uses(DirectoryStore(str(tmp_path / "file" / "store"))):
        refused(use, f"{tmp_path}/file", "no directory")


def test_a_path_that_cannot_be_is_refused() -> None:
    with pytest.raises(StoreError, match="null character"):
        DirectoryStore("/tmp/a\0b")
    refused(DirectoryStore("/" + "x" * 5000).read, "too long")


def test_a_system_without_file_locks_is_refused(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    for use in uses(store):
        refused(use, "POSIX")


def _link(document: Path) -> None:
    document.rename(document.with_name("elsewhere"))
    document.symlink_to(document.with_name("elsewhere"))


def _pipe(document: Path) -> None:
    document.unlink()
    os.mkfifo(document, 0o600)


SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda document: document.write_bytes(b""), "line 1 column 1"),
    "half": (
        lambda document: document.write_bytes(document.read_bytes()[:40]),
        "no document of chaospoint",
    ),
    "corrupt": (lambda document: document.write_bytes(b"\xff\0"), "not UTF-8"),
    "newer": (lambda document: document.write_text('{"version": 2}'), "newer chaospoint"),
    "unknown": (lambda document: document.write_text('{"entrees": []}'), "did you mean 'entries'?"),
    "oversize": (lambda document: document.write_bytes(b" " * (2**20 + 1)), "1048576 bytes"),
    "readable": (lambda document: document.chmod(0o640), "chmod go="),
    "writable": (lambda document: document.chmod(0o602), "0602"),
    "link": (_link, "symbolic link"),
    "pipe": (_pipe, "no regular file"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_document_is_refused(store: DirectoryStore, written: Path, how: str) -> None:
    """It is said, and left as it is; only an update that takes whatever is there replaces it."""
    document = written / "desired.json"
    store.report(Worker("aa11", 1, generation=8))
    spoil, part = SPOILT[how]
    spoil(document)
    before = document.lstat()
    refused(store.read, str(document), part)
    refused(DirectoryStore(str(written)).read, str(document), part)
    refused(lambda: store.update(disable), str(document), part)
    assert os.path.samestat(document.lstat(), before)
    assert not [name for name in names(written) if name.endswith(".new")]

    made = store.update(disable, ignore_unreadable=True)
    assert made.generation == 9, "later than what any worker runs"
    assert not made.enabled
    assert store.read() == made
    assert mode(document) == 0o600


def test_a_lost_document_does_not_bring_old_generations_back(
    store: DirectoryStore, written: Path
) -> None:
    """Else a worker that ran generation 8 of the old document would seem to run the new one."""
    store.report(Worker("aa11", 1, generation=8))
    (written / "desired.json").unlink()
    assert store.read() == Desired()
    assert store.update(enable).generation == 9
    assert store.update(enable).generation == 10


def test_an_update_that_takes_whatever_is_there_keeps_what_can_be_read(
    store: DirectoryStore, written: Path
) -> None:
    store.update(arm)
    made = store.update(enable, ignore_unreadable=True)
    assert made.generation == 3
    assert made.entries


def test_what_has_not_changed_is_not_read_again(
    store: DirectoryStore, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.read()
    document = written / "desired.json"
    count = 0
    parse = Desired.parse

    def counted(data: bytes) -> Desired:
        nonlocal count
        count += 1
        return parse(data)

    monkeypatch.setattr(Desired, "parse", counted)
    assert store.read() is first
    document.write_text("{")
    refused(store.read, "no document")
    assert count == 1
    document.write_bytes(b'{"version": 1, "generation": 4}')
    assert store.read().generation == 4
    assert count == 2


def test_no_two_documents_look_the_same(store: DirectoryStore, written: Path) -> None:
    """Even where time goes on by steps, or the document is of the future, or has its size."""
    document = written / "desired.json"
    times = []
    for _ in range(9):
        store.update(enable)
        times.append(document.stat().st_mtime_ns)
    future = times[-1] + 10**12
    os.utime(document, ns=(future, future))
    store.update(enable)
    times += [future, document.stat().st_mtime_ns]
    assert times == sorted(set(times))


def test_what_nobody_could_read_is_not_written(store: DirectoryStore, written: Path) -> None:
    before = (written / "desired.json").read_bytes()
    for edit in (
        lambda one: one.enable(by="x" * 401, now=1.0),
        lambda one: one.enable(by="\ud800", now=1.0),
        lambda one: one.enable(by="ops", now=-1.0),
    ):
        with pytest.raises(StoreError):
            store.update(edit)
    long = Rule(point="a", returns="x" * 1200)
    with pytest.raises(LimitExceeded, match="1048576 at most"):
        store.update(
            lambda one: one.put([(long, 1)] * MAX_RULES, default_seconds=1.0, by="", now=1.0)
        )
    assert (written / "desired.json").read_bytes() == before


# -- another user -------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@as_root
def test_root_writes_what_the_owner_of_the_directory_can_read(public: Path) -> None:
    """The commands of an operator who is root must not lock the service out."""
    path = public / "store"
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY, NOBODY)
    root, service = DirectoryStore(str(path)), DirectoryStore(str(path))
    root.update(enable)
    root.report(ONE)
    owners = {(one.stat().st_uid, one.stat().st_gid) for one in path.rglob("*")}
    assert owners == {(NOBODY, NOBODY)}
    os.seteuid(NOBODY)
    try:
        assert service.read().generation == 1
        assert service.update(enable).generation == 2
        service.report(Worker("bb22", 2, started_at=9.0))
        assert [one.id for one in service.workers()] == ["aa11", "bb22"]
    finally:
        os.seteuid(0)
    assert root.read().generation == 2
    assert [one.id for one in root.workers()] == ["aa11", "bb22"]


@as_root
def test_a_directory_of_another_user_is_refused(public: Path) -> None:
    path = public / "store"
    DirectoryStore(str(path)).update(enable)
    os.seteuid(NOBODY)
    try:
        refused(DirectoryStore(str(path)).read, str(path))
        os.seteuid(0)
        os.chown(path, NOBODY + 1, -1)
        path.chmod(0o700)
        refused(DirectoryStore(str(path)).read, f"{path}/desired.json", f"user {NOBODY + 1}")
        path.chmod(0o777)
        os.seteuid(NOBODY)
        refused(DirectoryStore(str(path)).read, str(path), f"user {NOBODY}", f"{NOBODY + 1}")
        refused(lambda: DirectoryStore(str(public / "other")).update(enable), "other", "Permission")
    finally:
        os.seteuid(0)


@as_root
def test_a_document_of_another_user_is_refused(store: DirectoryStore, written: Path) -> None:
    os.chown(written / "desired.json", NOBODY, NOBODY)
    refused(store.read, f"{written}/desired.json", f"user {NOBODY}")
    assert not store.update(disable, ignore_unreadable=True).enabled
    assert not store.read().enabled


# -- when writing fails -------------------------------------------------------------------


def test_a_leftover_of_a_killed_writer_is_no_obstacle(store: DirectoryStore, written: Path) -> None:
    leftover = written / "desired.json.new"
    for leave in (lambda: leftover.write_text("{"), lambda: leftover.symlink_to("/dev/null")):
        leave()
        store.update(enable)
        assert names(written) == {"desired.json", "reserve"}
    assert store.read().generation == 3


def test_a_directory_that_was_removed_is_made_again(store: DirectoryStore, path: Path) -> None:
    store.update(arm)
    store.report(ONE)
    shutil.rmtree(path)
    assert store.read() == Desired()
    assert store.workers() == ()
    store.report(ONE)
    assert [one.id for one in store.workers()] == ["aa11"]
    assert store.update(enable).generation == 1
    shutil.rmtree(path / "workers")
    store.report(ONE)
    assert [one.id for one in store.workers()] == ["aa11"]


def test_a_directory_that_goes_in_the_middle_is_said(store: DirectoryStore, written: Path) -> None:
    def edit(one: Desired) -> Desired:
        shutil.rmtree(written)
        return enable(one)

    with pytest.raises(StoreError, match="No such file"):
        store.update(edit)
    assert store.update(enable).generation == 1


@pytest.mark.parametrize("name", ["write", "fsync", "replace", "ftruncate"])
def test_a_failing_disk_leaves_the_old_document(
    store: DirectoryStore, written: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = (written / "desired.json").read_bytes()

    def fail(*args: object, **keys: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        with pytest.raises(StoreError, match=f"{written}/desired.json.*Input/output error"):
            store.update(enable)
    assert (written / "desired.json").read_bytes() == before
    assert names(written) == {"desired.json", "reserve"}
    assert store.update(enable).generation == 2


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the disk full: no file takes up more room than it has."""
    write = os.write

    def fill(number: int) -> None:
        def no_more(fd: int, data: Any) -> int:
            at = os.lseek(fd, 0, os.SEEK_CUR)
            room = os.fstat(fd).st_size - at
            if data and room <= 0:
                raise OSError(number, os.strerror(number))
            return write(fd, data[:room])

        monkeypatch.setattr(os, "write", no_more)

    return fill


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_one_can_disable_when_the_disk_is_full(
    store: DirectoryStore,
    path: Path,
    full: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    orders = [f"payment.service-{nth}.charge" for nth in range(100)]
    for order in orders:
        store.update(lambda one, order=order: one.disarm(order, by="ops", now=1e9))
    store.update(lambda one: arm(one, MAX_RULES))
    before = (path / "desired.json").read_bytes()
    full(number)
    with pytest.raises(StoreError, match=f"{os.strerror(number)}: make room"):
        store.update(lambda one: enable(one))
    assert (path / "desired.json").read_bytes() == before

    made = store.update(disable)
    assert not made.enabled
    assert len(made.orders) == 100
    assert store.read() == DirectoryStore(str(path)).read() == made
    assert names(path) == {"desired.json"}
    assert mode(path / "desired.json") == 0o600

    with pytest.raises(StoreError, match="make room"):
        store.update(enable)
    assert store.read() == made
    monkeypatch.undo()
    assert store.update(enable).generation == made.generation + 1
    assert names(path) == {"desired.json", "reserve"}


def test_a_copy_of_the_lock_in_a_forked_child_does_not_keep_it(store: DirectoryStore) -> None:
    """A fork in the middle of an update copies what is open; a child that knows nothing of stores
    keeps it open."""
    copies: list[int] = []

    def edit(one: Desired) -> Desired:
        copies.extend(os.dup(fd) for fd in store._locked)
        return enable(one)

    store.update(edit)
    assert len(copies) == 1
    assert store.update(enable).generation == 2
    os.close(copies[0])


def test_a_reserve_that_is_not_ours_is_not_written(
    store: DirectoryStore, written: Path, tmp_path: Path, full: Callable[[int], None]
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * 10_000)
    (written / "reserve").unlink()
    (written / "reserve").symlink_to(other)
    full(errno.ENOSPC)
    with pytest.raises(StoreError, match="make room"):
        store.update(disable)
    assert other.read_bytes() == b"x" * 10_000


@as_root
def test_one_can_disable_when_a_real_file_system_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "chaospoint-test", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    try:
        store = DirectoryStore(str(disk / "store"))
        store.update(lambda one: arm(one, 300))
        with open(disk / "filler", "wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        with pytest.raises(StoreError, match="make room"):
            store.update(enable)
        assert store.update(disable).generation == 2
        assert store.read().generation == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -- files of workers ---------------------------------------------------------------------


def test_foreign_and_broken_files_of_workers_are_left_out(
    store: DirectoryStore, tmp_path: Path
) -> None:
    store.report(ONE)
    folder = tmp_path / "store" / "workers"
    good = (folder / "aa11.json").read_text()
    locked = []
    for name, text in {
        "b1": "{",
        "b2": "[]",
        "b3": "{}",
        "b4": good.replace("aa11", "zz"),
        "b5": good.replace("aa11", "b5").replace('"pid": 1', '"pid": "1"'),
        "b6": good.replace("aa11", "b6").replace('["a"]', "[1]"),
        "b7": good.replace("aa11", "b7").replace('"generation": 0', '"generation": -1'),
        "b8": good.replace("aa11", "b8").replace('"generation": 0', f'"generation": {10**300}'),
        "b9": good.replace("aa11", "b9").replace('["a"]', "7"),
        "b10": " " * (2**20 + 1),
        "fine": good.replace("aa11", "fine").replace('"pid": 1', '"pid": 1, "of_later": [1]'),
    }.items():
        file = (folder / f"{name}.json").open("w")
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        files.lock(file.fileno(), name)
        locked.append(file)
    (folder / "link.json").symlink_to(folder / "aa11.json")
    os.mkfifo(folder / "pipe.json", 0o600)
    (folder / "directory.json").mkdir()
    (folder / "notes.txt").write_text("x")
    (folder / "open.json").write_text(good)
    (folder / "open.json").chmod(0o644)
    there = names(folder)
    assert {one.id for one in store.workers()} == {"aa11", "fine"}
    assert names(folder) == there
    for file in locked:
        file.close()
    assert {one.id for one in store.workers()} == {"aa11"}
    assert names(folder) == {n for n in there if not n.startswith(("b", "fine"))}


def test_an_incomplete_file_of_a_killed_worker_is_removed_in_time(
    store: DirectoryStore, path: Path
) -> None:
    """Not at once: its worker may be about to lock it."""
    store.report(ONE)
    fresh, old, used = (path / "workers" / f"{name}.json.new" for name in ("b1", "b2", "b3"))
    for one in (fresh, old, used):
        one.touch(0o600)
        one.chmod(0o600)
    used.write_text((path / "workers" / "aa11.json").read_text().replace("aa11", "b3"))
    for one in (old, used):
        os.utime(one, (1e9, 1e9))
    with used.open() as file:
        files.lock(file.fileno(), "used")
        assert [one.id for one in store.workers()] == ["aa11"]
        assert names(path / "workers") == {"aa11.json", "b1.json.new", "b3.json.new"}


@pytest.mark.parametrize("worker_id", ["", "..", "../desired", "a/b", "a.b", "a\0", "x" * 65, "é"])
def test_no_id_leads_out_of_the_directory(
    store: DirectoryStore, written: Path, worker_id: str
) -> None:
    store.report(ONE)
    before = names(written.parent)
    for use in (store.report, lambda one: store.leave(one.id)):
        with pytest.raises(StoreError, match="id of a worker"):
            use(Worker(worker_id, 1))
    assert names(written.parent) == before


def test_a_heartbeat_writes_nothing(store: DirectoryStore, path: Path) -> None:
    """Only the time of the file changes; it is written anew when it says something else."""
    store.report(ONE)
    file = path / "workers" / "aa11.json"
    before = file.stat()
    os.utime(file, (1e9, 1e9))
    assert store.workers()[0].seconds_silent > 1e6
    store.report(ONE)
    assert os.path.samestat(file.stat(), before)
    assert store.workers()[0].seconds_silent < 60
    os.utime(file, (4e9, 4e9))
    assert store.workers()[0].seconds_silent == 0.0


def test_a_worker_that_writes_while_it_is_looked_for_is_found(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old file, which nobody has locked any more, is not that of a dead worker."""
    store.report(ONE)
    changed = replace(ONE, generation=3)
    unlocked = worker_files.unlocked

    def late(fd: int) -> bool:
        store.report(changed)
        return unlocked(fd)

    monkeypatch.setattr(worker_files, "unlocked", late)
    assert [one.generation for one in store.workers()] == [3]
    monkeypatch.undo()
    assert [one.generation for one in store.workers()] == [3]


def test_a_worker_whose_file_was_replaced_reports_anew(store: DirectoryStore, path: Path) -> None:
    store.report(ONE)
    path.rename(path.with_name("moved"))
    store.report(ONE)
    assert [one.id for one in store.workers()] == ["aa11"]


def test_a_worker_whose_files_were_closed_reports_anew(store: DirectoryStore, path: Path) -> None:
    """As a program does that becomes a daemon; what it opens then is not for us to close."""
    before = set(os.listdir("/dev/fd"))
    store.report(ONE)
    (opened,) = (
        int(n) for n in set(os.listdir("/dev/fd")) - before if os.path.exists(f"/dev/fd/{n}")
    )
    with open("/dev/null") as other:
        os.dup2(other.fileno(), opened)
    store.report(ONE)
    assert [one.id for one in store.workers()] == ["aa11"]
    assert os.path.samestat(os.fstat(opened), os.stat("/dev/null"))
    os.close(opened)
    store.leave("aa11")
    assert store.workers() == ()


def test_no_file_is_left_open(store: DirectoryStore, written: Path) -> None:
    def count() -> int:
        return len(os.listdir("/dev/fd"))

    before = count()
    for nth in range(5):
        store.report(Worker("aa11", nth))
        store.workers()
        store.read()
        store.update(enable)
    assert count() == before + 1
    store.leave("aa11")
    assert count() == before
    written.chmod(0o755)
    for use in uses(store):
        with pytest.raises(ChaosError):
            use()
    assert count() == before


def test_on_a_full_disk_a_worker_acknowledges_in_the_room_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = DirectoryStore(f"{tmp_path}/store"), DirectoryStore(f"{tmp_path}/store")
    worker = Worker("a1", 1, refusal="a long story")
    own.report(worker)

    def full(*args: object, **keys: object) -> int:
        raise NoRoom("it is full")

    monkeypatch.setattr(Directory, "replace", full)
    for generation in (2, 3):
        own.report(replace(worker, refusal="", generation=generation))
        (told,) = other.workers()
        assert (told.generation, told.refusal) == (generation, "")
    with pytest.raises(NoRoom):
        own.report(Worker("b2", 1))
