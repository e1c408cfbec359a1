"""Turning the switch off without pydantic writes what the model of the document writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaospoint.errors import StoreBusy, StoreError
from chaospoint.plan import Rule
from chaospoint.stores.acknowledging import run_blocking
from chaospoint.stores.desired import Desired
from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.files import lock, opened
from chaospoint.stores.store import Worker
from chaospoint.stores.switching_off import Unusual, switched_off

RULE = Rule(point="db.query", latency=1)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "store").mkdir(mode=0o700)
    return DirectoryStore(str(tmp_path / "store"))


def off(tmp_path: Path, reason: str = "") -> int:
    return run_blocking(switched_off(str(tmp_path / "store"), by="cli me", now=9.5, reason=reason))


def put(one: Desired) -> Desired:
    return one.put([(RULE, 7)], default_seconds=60.0, by="you", now=1.0)


DOCUMENTS = {
    "empty": Desired(),
    "rules": put(Desired()),
    "orders": put(Desired()).disarm("db.*", by="you", now=2.0).release("a.b", by="", now=3.0),
    "forgotten": Desired(forgotten=3, generation=8),
    "off": put(Desired()).disable(by="you", now=4.0, reason="before"),
}


@pytest.mark.parametrize("reason", ["", "checkout is down: \u20ac", "x" * 401, "\udcff"])
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_it_writes_what_the_model_makes_of_the_document(
    kind: str, reason: str, store: DirectoryStore, tmp_path: Path
) -> None:
    before = DOCUMENTS[kind]
    store.update(lambda _: before)
    generation = off(tmp_path, reason)
    after = before.disable(by="cli me", now=9.5, reason=reason)
    assert store.read() == after
    assert generation == after.generation
    written = json.loads((tmp_path / "store" / "desired.json").read_text())
    assert written == json.loads(after.text())
    assert (tmp_path / "store" / "reserve").stat().st_size == 2**16


def test_a_store_without_a_document_goes_on_from_where_its_workers_are(
    store: DirectoryStore, tmp_path: Path
) -> None:
    store.report(Worker("a", 1, generation=41))
    assert off(tmp_path) == 42
    assert not store.read().enabled
    store.leave("a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1, "generation": -1}',
        '{"version": 1, "generation": true}',
        '{"version": 1, "orders": {}}',
        '{"version": 1, "orders": [{"what": "burn", "pattern": "a", "generation": 1, "at": 1}]}',
        '{"version": 1, "orders": [{"what": "disarm", "pattern": "A", "generation": 1, "at": 1}]}',
        '{"version": 1, "orders": [{"what": "disarm", "pattern": "a", "generation": 1}]}',
    ],
)
def test_a_document_that_was_not_written_so_is_left_to_the_model(
    text: str, store: DirectoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "store" / "desired.json"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(Unusual):
        off(tmp_path)
    assert path.read_text() == text


def test_it_is_refused_where_the_store_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        off(tmp_path)
    (tmp_path / "store").mkdir(mode=0o755)
    (tmp_path / "store").chmod(0o755)
    with pytest.raises(StoreError):
        off(tmp_path)


def test_it_waits_while_somebody_writes(store: DirectoryStore, tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    steps = switched_off(path, by="", now=1.0)
    with opened(path) as directory:
        lock(directory.fd, path)
        assert next(steps) > 0
    with pytest.raises(StopIteration):
        next(steps)
    assert not store.read().enabled
    assert issubclass(StoreBusy, StoreError)
