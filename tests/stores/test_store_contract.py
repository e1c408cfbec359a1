"""What every store has to do, whatever carries it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers import Threads
from store_kinds import KINDS, SHARED, Open

from chaospoint.errors import NotPermitted, StoreBusy
from chaospoint.plan import Rule
from chaospoint.stores.desired import Desired
from chaospoint.stores.store import Store, Worker

each = pytest.mark.parametrize("open_one", KINDS, indirect=True)
each_shared = pytest.mark.parametrize("open_one", SHARED, indirect=True)

ONE = Worker("zz11", 1, points=("a", "b.c"), admin="127.0.0.1:9", version="1", started_at=5.0)
TWO = Worker("bb22", 2, parent="zz11", refusal="no such class: é", enabled=False, started_at=6.5)


def enable(one: Desired) -> Desired:
    return one.enable(by="ops", now=1.0)


def arm(one: Desired) -> Desired:
    rule = Rule(point="payment.charge", latency="200ms")
    return one.put([(rule, 7)], default_seconds=600.0, by="ops", now=1e9)


def known(store: Store) -> list[Worker]:
    """Return the workers, but for how long they have been silent."""
    return [replace(one, seconds_silent=0.0) for one in store.workers()]


@each
def test_a_new_store_is_empty(open_one: Open) -> None:
    store = open_one()
    assert store.read() == Desired()
    assert store.read().generation == 0
    assert store.read().enabled
    assert store.workers() == ()
    assert isinstance(store.url, str)


@each
def test_what_was_written_is_read(open_one: Open) -> None:
    store = open_one()
    made = store.update(arm)
    assert made.generation == 1
    assert made.entries[0].rule.point == "payment.charge"
    assert store.read() == made
    assert store.update(enable).generation == 2
    assert store.read().entries == made.entries


@each
@pytest.mark.parametrize("error", [NotPermitted("disabled"), OSError("a bug"), KeyError("a bug")])
def test_an_edit_that_raises_changes_nothing(open_one: Open, error: Exception) -> None:
    """What it raises comes out as it is, and the store can be written again."""

    def refuse(one: Desired) -> Desired:
        raise error

    store = open_one()
    before = store.update(arm)
    with pytest.raises(type(error)) as caught:
        store.update(refuse)
    assert caught.value is error
    assert store.read() == before
    assert store.update(enable).generation == 2


@each
def test_a_generation_is_higher_than_it_has_to_be(open_one: Open) -> None:
    store = open_one()
    assert store.update(enable, at_least=41).generation == 42
    assert store.update(enable, at_least=7).generation == 43
    assert store.read().generation == 43


@each
def test_two_updates_never_overlap(open_one: Open, pool: Threads, restless: None) -> None:
    """Each is counted, and those that were busy can be tried again."""
    store = open_one()

    def write(by: str) -> None:
        for _ in range(25):
            while True:
                try:
                    store.update(lambda one: one.enable(by=by, now=1.0))
                    break
                except StoreBusy:
                    pass

    pool.map(write, "abcd")
    assert store.read().generation == 100


@each
def test_an_update_is_never_read_by_half(open_one: Open, pool: Threads, restless: None) -> None:
    store = open_one()
    store.update(arm)

    def write() -> None:
        for _ in range(50):
            store.update(lambda one: enable(arm(one)))

    writing = pool.submit(write)
    seen = [store.read()]
    while not writing.done():
        seen.append(store.read())
    writing.result()
    generations = [one.generation for one in seen]
    assert generations == sorted(generations)
    assert all(one.generation % 2 == 1 for one in seen)
    assert all(one.entries for one in seen)


@each
def test_workers_are_known_in_the_order_of_their_start(open_one: Open) -> None:
    store = open_one()
    store.report(TWO)
    store.report(ONE)
    assert known(store) == [ONE, TWO]
    assert all(0 <= one.seconds_silent < 60 for one in store.workers())


@each
def test_a_worker_tells_of_a_change(open_one: Open) -> None:
    store = open_one()
    store.report(ONE)
    changed = replace(ONE, generation=3, refusal="one rule", points=("a",))
    store.report(changed)
    assert known(store) == [changed]
    store.report(ONE)
    assert known(store) == [ONE]


@each
def test_a_worker_that_leaves_is_forgotten(open_one: Open) -> None:
    store = open_one()
    store.report(ONE)
    store.report(TWO)
    store.leave(ONE.id)
    assert known(store) == [TWO]
    store.leave(ONE.id)
    store.leave("never1")
    assert known(store) == [TWO]
    store.report(ONE)
    assert known(store) == [ONE, TWO]


@each
def test_a_heartbeat_ends_the_silence(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a worker is silent is known, and 0 at least, whatever the clock does."""
    import chaospoint.stores.memory as memory
    import chaospoint.stores.worker_files as worker_files

    store = open_one()
    store.report(ONE)
    for module, name in ((memory, "monotonic"), (worker_files, "time")):
        clock: Any = getattr(module, name)
        monkeypatch.setattr(module, name, lambda clock=clock: clock() + 30.0)
    (late,) = store.workers()
    assert 29.0 < late.seconds_silent < 60.0


@each
def test_a_forked_child_begins_without_workers_of_its_own(open_one: Open) -> None:
    """It reports itself, and all else goes on."""
    store = open_one()
    before = store.update(arm)
    store.report(ONE)
    store.renew()
    assert store.read() == before
    store.report(TWO)
    assert known(store) == [TWO]
    assert store.update(enable).generation == 2


@each_shared
def test_what_one_writes_the_others_read(open_one: Open) -> None:
    here, there = open_one(), open_one()
    assert here.shared
    assert here.url == there.url
    assert there.read() == Desired()
    for _ in range(3):
        made = here.update(arm)
        assert there.read() == made
        made = there.update(enable)
        assert here.read() == made


@each_shared
def test_workers_of_one_are_known_to_the_others(open_one: Open) -> None:
    here, there = open_one(), open_one()
    here.report(ONE)
    there.report(TWO)
    assert known(here) == known(there) == [ONE, TWO]
    here.leave(TWO.id)
    assert known(there) == [ONE, TWO], "nobody forgets another's worker"
    there.leave(TWO.id)
    assert known(here) == known(there) == [ONE]


@each_shared
def test_an_update_does_not_wait_for_another(open_one: Open) -> None:
    here, there = open_one(), open_one()

    def edit(one: Desired) -> Desired:
        with pytest.raises(StoreBusy, match="try again"):
            there.update(enable)
        assert there.read() == Desired(), "reading needs no lock"
        there.report(ONE)
        return enable(one)

    assert here.update(edit).generation == 1
    assert there.update(enable).generation == 2


@each
@pytest.mark.parametrize("order", ["update", "halt"])
def test_an_order_to_disable_keeps_what_was_said_and_is_never_too_long(
    open_one: Open, order: str
) -> None:
    """A reason stays, with the name of the user who gave it, until somebody gives another or
    enables; a long text is cut."""
    store = open_one()

    def disabled(by: str, reason: str = "") -> Desired:
        if order == "halt":
            store.halt(by=by, now=1.0, reason=reason)
        else:
            store.update(lambda one: one.disable(by=by, now=1.0, reason=reason))
        return store.read()

    assert disabled("ann", "checkout").reason == "checkout"
    assert disabled("bob").disabled_by == "ann: checkout"
    store.update(lambda one: one.disarm("*", by="eve", now=1.0))
    assert store.read().disabled_by == "ann: checkout"
    assert disabled("bob", "it is late").disabled_by == "bob: it is late"
    assert store.update(enable).reason == ""
    assert disabled("bob").reason == ""
    long = disabled("𝄞" * 500, "鬼" * 500)
    assert (long.by, long.reason) == ("𝄞" * 399 + "…", "鬼" * 399 + "…")
    assert not long.enabled
    odd = disabled("cli \udcff", "\udcff fire")  # as a name is read that is no UTF-8
    assert (odd.by, odd.reason) == ("cli ?", "? fire")
    assert store.update(enable).enabled
    assert disabled("").disabled_by == "somebody"
    assert disabled("", "fire").disabled_by == "somebody: fire"
