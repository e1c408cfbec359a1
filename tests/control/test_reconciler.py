"""Workers of one store, which follow what it says, whatever becomes of it."""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, Threads
from nodes import FAULT, Node, Nodes, finished, request

from chaospoint import Registry
from chaospoint._kernel.armed_rule import Source
from chaospoint._registry.engine import Engine
from chaospoint._registry.notices import Switched
from chaospoint.arming import Origin, arm, enable, install_plan
from chaospoint.control.service import Service
from chaospoint.errors import NotPermitted, StoreError
from chaospoint.plan import parse_plan
from chaospoint.sources.settings import Settings
from chaospoint.stores import acknowledging
from chaospoint.stores import reconciler as module
from chaospoint.stores.desired import Desired
from chaospoint.stores.memory import MemoryStore
from chaospoint.stores.reconciler import Reconciler, reconciler_of
from chaospoint.testing import FakeClock

CHARGE = "/v1/points/payment.charge"
DECLINED = {"exception": "shop_errors.Declined"}


@pytest.fixture
def two(nodes: Nodes) -> tuple[Node, Node]:
    """Two workers with the point ``payment.charge``, which have found each other."""
    pair = nodes(), nodes()
    for node in pair:
        node.place("payment.charge")
        node.follow()
    return pair


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said and has to be read, but for the injections themselves."""
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    return [words for words in said if not words.startswith("injected ")]


def from_file(node: Node, *rules: dict[str, object]) -> None:
    _install(node, "file", *rules)


def _install(node: Node, source: Source, *rules: dict[str, object]) -> None:
    plan = parse_plan(list(rules))
    install_plan(plan, origin=Origin(source), registry=node.registry, replace=True)


# What is written is in force everywhere


def test_what_one_writes_is_in_force_in_the_other_after_its_round(two: tuple[Node, Node]) -> None:
    first, second = two
    charge = second.place("payment.charge")
    done = first.done("PUT", CHARGE, FAULT)
    assert (done["workers"], done["acknowledged"]) == (2, 2)
    assert "missing" not in done
    with pytest.raises(KeyError):
        charge()
    assert first.rules == second.rules == ["payment.charge=raise(KeyError)"]
    assert second.done("DELETE", CHARGE)["disarmed"] == 1
    assert first.rules == second.rules == []


def test_the_tally_and_the_deadline_are_kept_until_a_rule_is_put_anew(nodes: Nodes) -> None:
    clock = FakeClock()
    node = nodes(clock=clock)
    charge = node.place("payment.charge")
    node.done("PUT", CHARGE, {**FAULT, "expires_after": 100})
    (rule,) = node.registry.rules()
    with pytest.raises(KeyError):
        charge()
    clock.advance(40.0)
    node.done("PUT", "/v1/points/payment.*", {"latency": 0})
    node.follow()
    assert rule in node.registry.rules()
    assert (rule.injections, rule.deadline) == (1, pytest.approx(100.0, abs=1.0))

    node.done("PUT", CHARGE, {**FAULT, "expires_after": 100})
    (anew,) = [one for one in node.registry.rules() if one.pattern == "payment.charge"]
    assert anew is not rule
    assert (anew.injections, anew.deadline) == (0, pytest.approx(140.0, abs=1.0))


def test_a_round_without_a_change_touches_nothing(
    two: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    first.done("PUT", CHARGE, FAULT)
    for name in ("replace", "disarm", "disable", "enable", "release"):
        monkeypatch.setattr(Registry, name, lambda *args, **kwargs: pytest.fail("touched"))
    first.follow()
    second.follow()
    monkeypatch.undo()


# Orders


def test_a_disarm_reaches_rules_of_every_source_in_live_workers(two: tuple[Node, Node]) -> None:
    first, second = two
    arm("payment.charge", latency=0, registry=second.registry)
    from_file(second, {"point": "payment.charge", "latency": 0})
    _install(second, "env", {"point": "payment.*", "latency": 0})
    assert first.done("DELETE", "/v1/points/payment.*")["acknowledged"] == 2
    assert second.rules == []
    arm("payment.charge", latency=0, registry=second.registry)
    second.follow()
    first.done("PUT", "/v1/points/payment.*", {"latency": 0})
    sources = {rule.source for rule in second.registry.rules()}
    assert sources == {"code", second.reconciler.source}, "an order is obeyed once"


def test_earlier_disarms_reach_env_and_file_of_a_worker_that_starts_later_but_not_its_code(
    nodes: Nodes,
) -> None:
    first = nodes()
    first.place("payment.charge")
    first.done("DELETE", CHARGE)
    late = nodes()
    late.place("payment.charge")
    arm("payment.charge", latency=0, registry=late.registry)
    from_file(late, {"point": "payment.charge", "latency": 0}, {"point": "payment.*", "latency": 0})
    late.follow()
    assert [(rule.source, rule.pattern) for rule in late.registry.rules("payment.charge")] == [
        ("code", "payment.charge")
    ]
    assert len(late.rules) == 2, "the glob stands for other points"
    from_file(late, {"point": "payment.charge", "latency": 0})
    assert len(late.rules) == 1, "what is read again stays disarmed"


def test_a_release_is_obeyed_once_and_not_by_who_starts_later(
    two: tuple[Node, Node], nodes: Nodes, pool: Threads
) -> None:
    first, second = two
    charge = second.place("payment.charge")
    first.done("PUT", CHARGE, {"faults": [{"kind": "pause"}]})
    held = pool.submit(charge)
    (rule,) = second.registry.rules()
    _until(lambda: rule.paused)
    assert first.done("POST", f"{CHARGE}/release")["acknowledged"] == 2
    assert held.result(PATIENCE) == "done"

    late = nodes()
    later = late.place("payment.charge")
    late.follow()
    again, held = pool.submit(charge), pool.submit(later)
    (its,) = late.registry.rules()
    _until(lambda: rule.paused and its.paused)
    late.follow()
    second.follow()
    first.done("PUT", "/v1/points/payment.*", {"latency": 0})
    assert not again.done()
    assert not held.done()
    first.done("DELETE", "/v1/points")
    assert again.result(PATIENCE) == held.result(PATIENCE) == "done"


def _until(what: Callable[[], object]) -> None:
    done = threading.Event()
    for _ in range(1000):
        if what():
            return
        done.wait(0.01)
    pytest.fail("it never came to that")


def test_a_glob_that_was_put_before_a_disarm_leaves_that_point_out_in_late_workers(
    nodes: Nodes,
) -> None:
    first = nodes()
    first.place("payment.charge")
    first.place("payment.refund")
    first.done("PUT", "/v1/points/payment.*", FAULT)
    first.done("DELETE", CHARGE)
    settings = Settings(enabled=True, forbidden_points=("payment.refund",))  # type: ignore[arg-type]
    late = nodes(settings)
    charge, refund, other = map(late.place, ("payment.charge", "payment.refund", "payment.other"))
    late.follow()
    assert charge() == "done", "what was disarmed"
    assert refund() == "done", "and what nobody may touch there"
    with pytest.raises(KeyError):
        other()


# The master switch


def test_disable_wakes_sleepers_everywhere_and_empties_the_store(
    two: tuple[Node, Node], pool: Threads
) -> None:
    first, second = two
    charge = second.place("payment.charge")
    first.done("PUT", CHARGE, {"hang": True})
    (rule,) = second.registry.rules()
    held = pool.submit(charge)
    _until(lambda: rule.sleepers)
    off = first.done("POST", "/v1/disable")
    assert (off["enabled"], off["acknowledged"]) == (False, 2)
    assert held.result(PATIENCE) == "done"
    assert not second.registry.enabled
    assert first.done("GET", "/v1/plan")["rules"] == []
    with pytest.raises(NotPermitted):
        arm("payment.charge", latency=0, registry=second.registry)
    second.refused(409, "not-permitted", "PUT", CHARGE, FAULT)
    on = second.done("POST", "/v1/enable")
    assert (on["enabled"], on["acknowledged"]) == (True, 2)
    assert first.registry.enabled
    assert first.rules == []


def test_who_missed_both_disable_and_enable_has_lost_what_code_armed(
    two: tuple[Node, Node],
) -> None:
    first, second = two
    arm("payment.charge", latency=0, registry=second.registry)
    from_file(second, {"point": "payment.charge", "exception": "OSError"})
    first.others.clear()
    store = first.store
    store.update(lambda one: one.disable(by="ops", now=1e9))
    store.update(lambda one: one.enable(by="ops", now=1e9))
    second.follow()
    assert second.registry.enabled
    assert [rule.source for rule in second.registry.rules()] == ["file"]


def test_an_enable_undoes_what_code_disabled_in_any_worker(two: tuple[Node, Node]) -> None:
    first, second = two
    from_file(second, {"point": "payment.charge", "latency": 0})
    second.registry.disable()
    assert second.rules == []
    second.follow()
    assert not second.registry.enabled, "a round alone does not"
    first.done("PUT", CHARGE, FAULT)
    assert (second.rules, second.registry.enabled) == ([], False), "nor what others put"
    first.done("POST", "/v1/enable")
    assert second.rules == ["payment.charge=raise(KeyError)", "payment.charge=latency(0ms)"]


def test_a_worker_that_starts_while_disabled_is_disabled(nodes: Nodes) -> None:
    first = nodes()
    first.done("POST", "/v1/disable")
    late = nodes()
    late.place("payment.charge")
    arm("payment.charge", latency=0, registry=late.registry)
    from_file(late, {"point": "payment.charge", "latency": 0})
    late.follow()
    assert not late.registry.enabled
    assert late.rules == []
    first.done("POST", "/v1/enable")
    assert [rule.source for rule in late.registry.rules()] == ["file"]


# A document that cannot be read


def _corrupt(nodes: Nodes) -> None:
    (nodes.path / "desired.json").write_bytes(b'{"version": 1, "gener')


def _newer(nodes: Nodes) -> None:
    (nodes.path / "desired.json").write_text('{"version": 2, "generation": 99}')


def _readable_by_others(nodes: Nodes) -> None:
    (nodes.path / "desired.json").chmod(0o644)


def _open_to_others(nodes: Nodes) -> None:
    nodes.path.chmod(0o755)


def _a_file_instead(nodes: Nodes) -> None:
    nodes.path.rename(nodes.path.with_name("aside"))
    nodes.path.write_text("")


def _mended(nodes: Nodes, document: bytes) -> None:
    if not nodes.path.is_dir():
        nodes.path.unlink()
        nodes.path.with_name("aside").rename(nodes.path)
    nodes.path.chmod(0o700)
    file = nodes.path / "desired.json"
    file.unlink(missing_ok=True)
    file.touch(0o600)
    file.write_bytes(document)


HARMS = {
    "corrupt": (_corrupt, "is no document of chaospoint"),
    "newer": (_newer, "newer chaospoint"),
    "readable by others": (_readable_by_others, "mode 0644"),
    "a directory open to others": (_open_to_others, "mode 0755"),
    "a file in its place": (_a_file_instead, "is no directory"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_cannot_be_read_is_said_once_and_what_was_armed_stays_until_it_is_mended(
    harm: str, on_disk: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    first = on_disk()
    charge = first.place("payment.charge")
    first.done("PUT", CHARGE, FAULT)
    document = (on_disk.path / "desired.json").read_bytes()
    break_it, words = HARMS[harm]
    break_it(on_disk)
    for _ in range(5):
        first.follow()
    with pytest.raises(KeyError):
        charge()
    (said,) = warnings(caplog)
    assert words in said
    assert "stays until its deadline" in said
    status = first.refused(503, "store-unusable", "PUT", CHARGE, {"latency": 1})
    assert words in status["detail"]
    assert first.rules == ["payment.charge=raise(KeyError)"]

    _mended(on_disk, document)
    caplog.clear()
    second = on_disk()
    second.place("payment.charge")
    second.follow()
    for _ in range(3):
        first.follow()
    assert first.refusal == ""
    assert second.done("PUT", CHARGE, {"latency": 0})["acknowledged"] == 2
    assert first.rules == ["payment.charge=latency(0ms)"]
    assert warnings(caplog) == []


@pytest.mark.parametrize("harm", ["corrupt", "newer", "readable by others"])
def test_a_refusal_is_told_to_the_store(harm: str, on_disk: Nodes) -> None:
    first, second = on_disk(), on_disk()
    first.place("payment.charge")
    first.done("PUT", CHARGE, FAULT)
    break_it, words = HARMS[harm]
    break_it(on_disk)
    first.follow()
    assert words in first.refusal
    (told,) = [
        one
        for one in second.done("GET", "/v1/workers")["workers"]
        if one["id"] == first.reconciler.id
    ]
    assert words in told["refusal"]


def test_disable_over_a_document_that_cannot_be_read_starts_anew(on_disk: Nodes) -> None:
    first, second = on_disk(), on_disk()
    for node in (first, second):
        node.place("payment.charge")
        node.follow()
    was = first.done("PUT", CHARGE, FAULT)["generation"]
    _corrupt(on_disk)
    second.follow()
    off = first.done("POST", "/v1/disable")
    assert off["generation"] > was
    assert off["acknowledged"] == off["workers"] == 2
    assert (second.rules, second.registry.enabled) == ([], False)


def test_a_document_that_vanished_leaves_what_is_armed_and_is_said_once(
    on_disk: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = on_disk(), on_disk()
    for node in (first, second):
        node.place("payment.charge")
        node.follow()
    first.done("PUT", CHARGE, FAULT)
    (on_disk.path / "desired.json").unlink()
    for _ in range(3):
        first.follow()
    (said,) = warnings(caplog)
    assert "has lost its document" in said
    assert first.rules == ["payment.charge=raise(KeyError)"]
    assert "has lost its document" in first.refusal

    # The one has seen it, the other has not yet: none may take the next document for an old one.
    done = first.done("PUT", CHARGE, {"latency": 0})
    assert done["acknowledged"] == 2
    assert first.rules == second.rules == ["payment.charge=latency(0ms)"]
    assert first.refusal == second.refusal == ""


def test_a_document_that_comes_back_does_not_give_its_old_orders_again(on_disk: Nodes) -> None:
    node = on_disk()
    node.place("payment.charge")
    node.done("POST", "/v1/disable")
    node.done("POST", "/v1/enable")
    node.done("DELETE", CHARGE)
    file = on_disk.path / "desired.json"
    arm("payment.charge", latency=0, registry=node.registry)
    file.rename(file.with_name("aside"))
    node.follow()
    file.with_name("aside").rename(file)
    node.follow()
    assert [rule.source for rule in node.registry.rules()] == ["code"]


def test_the_whole_directory_may_go_and_is_made_again(
    on_disk: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = on_disk(), on_disk()
    for node in (first, second):
        node.place("payment.charge")
        node.follow()
    first.done("PUT", CHARGE, FAULT)
    on_disk.path.rename(on_disk.path.with_name("gone"))
    for _ in range(3):
        second.follow()
    assert second.rules == ["payment.charge=raise(KeyError)"]
    assert len(warnings(caplog)) == 1
    first.follow()
    done = second.done("PUT", CHARGE, {"latency": 0})
    assert done["acknowledged"] == done["workers"] == 2
    assert first.rules == second.rules == ["payment.charge=latency(0ms)"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_a_document_of_another_user_is_refused(
    on_disk: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    node = on_disk()
    node.place("payment.charge")
    node.done("PUT", CHARGE, FAULT)
    os.chown(on_disk.path / "desired.json", 4711, -1)
    for _ in range(3):
        node.follow()
    (said,) = warnings(caplog)
    assert "belongs to user 4711" in said
    assert node.rules == ["payment.charge=raise(KeyError)"]


class Broken(MemoryStore):
    """A store that fails where a test says."""

    fails: frozenset[str] = frozenset()

    def read(self) -> Desired:
        self._check("read")
        return super().read()

    def report(self, worker: Any) -> None:
        self._check("report")
        super().report(worker)

    def _check(self, what: str) -> None:
        if what in self.fails:
            raise StoreError(f"no {what}")


@pytest.mark.parametrize("fails", [{"read"}, {"report"}, {"read", "report"}])
def test_each_trouble_of_a_store_is_said_once_until_it_has_passed(
    fails: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    store, registry = Broken(), Registry()
    follower = Reconciler(store, registry)
    follower.reconcile()
    for _ in range(2):
        store.fails = frozenset(fails)
        for _ in range(4):
            follower.reconcile()
        said = warnings(caplog)
        assert len(said) == len(set(said)) == 1, said
        caplog.clear()
        store.fails = frozenset()
        follower.reconcile()
        assert warnings(caplog) == []


# What one worker cannot arm


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Import, or forget, the module ``shop_errors``."""
    import sys
    from types import ModuleType

    module = ModuleType("shop_errors")
    module.Declined = type("Declined", (Exception,), {"__module__": "shop_errors"})  # type: ignore[attr-defined]

    def loaded(there: bool) -> None:
        sys.modules.pop("shop_errors", None)
        if there:
            sys.modules["shop_errors"] = module

    yield loaded
    loaded(False)


def test_what_a_worker_cannot_arm_it_refuses_whole_and_says_why(
    two: tuple[Node, Node],
    shop: Callable[[bool], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = two
    for node in two:
        node.place("db.query")
        node.place("db.commit")
    first.done("PUT", "/v1/points/db.query", {"latency": 0})
    first.done("PUT", "/v1/points/db.commit", {"latency": 0})
    arm("payment.charge", latency=0, registry=second.registry)
    caplog.clear()

    def asked(*what: Any) -> Any:
        """Ask the first, which has the module, while the second has not."""

        def meanwhile(_: float) -> None:
            shop(False)
            second.follow()

        shop(True)
        return json.loads(finished(first.service.steps(request(*what)), meanwhile).body)

    done = asked("PUT", CHARGE, DECLINED)
    assert (done["workers"], done["acknowledged"]) == (2, 1)
    (missing,) = done["missing"]
    assert missing["id"] == second.reconciler.id
    assert f"generation {done['generation']} is refused" in missing["why"]
    assert "shop_errors.Declined" in missing["why"]
    kept = ["payment.charge=latency(0ms)", "db.commit=latency(0ms)"]
    assert second.rules == [*kept, "db.query=latency(0ms)"]
    for _ in range(3):
        second.follow()
    assert len(warnings(caplog)) == 1

    # Disarms and removals of a document are done, whatever else in it is refused.
    done = asked("DELETE", "/v1/points/db.query")
    assert [one["id"] for one in done["missing"]] == [second.reconciler.id]
    assert second.rules == kept
    asked("PUT", "/v1/plan", {"rules": [{"point": "payment.charge", **DECLINED}]})
    assert second.rules == kept[:1]

    # A worker that is still importing when it starts must not go without for ever.
    shop(True)
    monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)
    second.follow()
    assert second.rules == [
        "payment.charge=latency(0ms)",
        "payment.charge=raise(shop_errors.Declined)",
    ]
    assert second.refusal == ""


def test_a_rule_that_no_placement_of_a_worker_can_express_is_refused_there(
    two: tuple[Node, Node],
) -> None:
    first, second = two
    first.place("db.stream")

    @second.registry.point("db.stream")
    def stream() -> Iterator[int]:
        yield 1

    done = first.done("PUT", "/v1/points/db.stream", {"returns": [2], "when": "after"})
    (missing,) = done["missing"]
    assert missing["id"] == second.reconciler.id
    assert "is refused" in missing["why"]
    assert second.rules == []
    assert first.done("PUT", "/v1/points/db.stream", {"latency": 0})["acknowledged"] == 2


def test_a_worker_with_narrower_limits_refuses_for_itself(nodes: Nodes) -> None:
    first = nodes()
    narrow = nodes(Settings(enabled=True, max_latency="1s", max_expires_after="20s"))  # type: ignore[arg-type]
    for node in (first, narrow):
        node.place("payment.charge")
        node.follow()
    done = first.done("PUT", CHARGE, {"latency": 5})
    (missing,) = done["missing"]
    assert "CHAOSPOINT_MAX_LATENCY" in missing["why"]
    assert narrow.rules == []
    assert first.done("PUT", CHARGE, {"latency": 0.5})["acknowledged"] == 2
    (rule,) = narrow.registry.rules()
    assert rule.terms.expires_after is not None
    assert rule.terms.expires_after <= 20, "a rule that says nothing is cut to what may be"


# Deadlines


def test_deadlines_are_kept_with_the_store_gone(on_disk: Nodes) -> None:
    clock = FakeClock()
    node = on_disk(clock=clock)
    charge = node.place("payment.charge")
    node.done("PUT", CHARGE, {**FAULT, "expires_after": 30})
    _a_file_instead(on_disk)
    node.follow()
    clock.advance(29.0)
    node.registry.engine.expire()
    with pytest.raises(KeyError):
        charge()
    clock.advance(2.0)
    node.registry.engine.expire()
    assert charge() == "done"


@pytest.mark.parametrize("jump", [-86400.0, 20.0, 86400.0])
def test_a_wall_clock_that_jumps_moves_no_deadline(
    jump: float, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    node = nodes(clock=clock)
    charge = node.place("payment.charge")
    node.done("PUT", CHARGE, {**FAULT, "expires_after": 30})
    (rule,) = node.registry.rules()
    deadline = rule.deadline
    wall = module.time
    monkeypatch.setattr(module, "moment", lambda: wall() + jump)
    node.follow()
    node.store.update(lambda one: one.release("x.y", by="ops", now=wall()))
    node.follow()
    assert node.registry.rules() == (rule,), "what is in force stays until its own deadline"
    assert rule.deadline == deadline
    clock.advance(31.0)
    node.registry.engine.expire()
    node.store.update(lambda one: one.release("x.y", by="ops", now=wall()))
    node.follow()
    assert charge() == "done", "what expired stays so"


def test_a_clock_that_went_back_gives_a_late_worker_no_longer_a_lifetime(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = nodes()
    first.place("payment.charge")
    first.done("PUT", CHARGE, {**FAULT, "expires_after": 30})
    wall = module.time
    monkeypatch.setattr(module, "moment", lambda: wall() - 86400.0)
    clock = FakeClock()
    late = nodes(clock=clock)
    late.place("payment.charge")
    late.follow()
    (rule,) = late.registry.rules()
    assert rule.deadline == 30.0


def test_what_expired_in_the_store_is_not_armed_by_who_comes_late(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = nodes()
    first.place("payment.charge")
    first.done("PUT", CHARGE, {**FAULT, "expires_after": 30})
    wall = module.time
    monkeypatch.setattr(module, "moment", lambda: wall() + 31.0)
    late = nodes()
    late.place("payment.charge")
    late.follow()
    assert late.rules == []
    assert late.refusal == ""


# Threads


class Gate(MemoryStore):
    """A store whose reads wait at a gate, and are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.reading = self.most = self.reads = 0

    def read(self) -> Desired:
        self.reading += 1
        self.reads += 1
        self.most = max(self.most, self.reading)
        self.inside.release()
        assert self.go_on.acquire(timeout=PATIENCE)
        self.reading -= 1
        return super().read()


def test_rounds_never_overlap_and_who_comes_meanwhile_does_not_wait(pool: Threads) -> None:
    store, registry = Gate(), Registry()
    follower = Reconciler(store, registry)
    first = pool.submit(follower.reconcile)
    assert store.inside.acquire(timeout=PATIENCE)
    for _ in range(3):
        follower.reconcile()  # comes back at once, or this test would stand still
    assert store.reads == 1
    for _ in range(2):
        store.go_on.release()
    first.result(PATIENCE)
    assert (store.reads, store.most) == (2, 1), "one round more for all who came"
    store.go_on.release()
    follower.reconcile()
    assert store.reads == 3


def test_many_threads_at_once_bring_the_latest_into_force(
    nodes: Nodes, pool: Threads, restless: None
) -> None:
    node = nodes()
    node.place("payment.charge")

    def put(nth: int) -> int:
        return int(node.done("PUT", CHARGE, {"latency": nth})["generation"])

    generations = pool.map(put, range(8))
    assert len(set(generations)) == 8
    node.follow()
    latest = node.store.read()
    assert node.reconciler.generation == latest.generation == max(generations)
    assert node.rules == [str(one.rule) for one in latest.entries]
    assert len(node.rules) == 1


def test_a_disarm_does_not_take_what_was_put_after_it(nodes: Nodes) -> None:
    """Another thread puts a rule after the order was written, and before this one goes on."""
    node = nodes()
    node.place("payment.charge")
    node.done("PUT", CHARGE, FAULT)
    update = node.store.update

    def interrupted(*args: Any, **kwargs: Any) -> Desired:
        made = update(*args, **kwargs)
        node.store.update = update  # type: ignore[method-assign]
        node.done("PUT", CHARGE, {"latency": 0})
        return made

    node.store.update = interrupted  # type: ignore[method-assign]
    node.done("DELETE", CHARGE)
    assert [str(one.rule) for one in node.store.read().entries] == ["payment.charge=latency(0ms)"]
    assert node.rules == ["payment.charge=latency(0ms)"]


def test_what_is_reported_never_goes_back(pool: Threads) -> None:
    """Who looks at the workers reports, too, and may be overtaken by a round."""

    class Slow(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.slow, self.go_on = threading.Event(), threading.Event()
            self.hold: int | None = None

        def report(self, worker: Any) -> None:
            if threading.get_ident() == self.hold:
                self.slow.set()
                self.go_on.wait(0.2)
            super().report(worker)

    store, registry = Slow(), Registry()
    follower = Reconciler(store, registry)
    follower.reconcile()

    def look() -> None:
        store.hold = threading.get_ident()
        follower.report()

    looking = pool.submit(look)
    assert store.slow.wait(PATIENCE)
    store.update(lambda one: one.enable(by="ops", now=1e9))
    follower.reconcile()
    store.go_on.set()
    looking.result(PATIENCE)
    (told,) = store.workers()
    assert told.generation == 1


def test_an_observer_may_call_the_admin_service_from_its_notice(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits in vain for the round that it is called from, but not for ever."""
    monkeypatch.setattr(acknowledging, "ACK_TIMEOUT_SECONDS", 0.05)
    node = nodes()
    node.place("payment.charge")
    seen: list[int] = []

    class Caller:
        def observe(self, injection: Any) -> None:
            pass

        def notice(self, notice: Any) -> None:
            if type(notice).__name__ == "RuleArmed" and not seen:
                seen.append(node.ask("GET", "/v1/status").status)
                seen.append(node.ask("DELETE", "/v1/points/db.*").status)

    node.registry.point("db.query")
    node.registry.add_observer(Caller())
    node.done("PUT", CHARGE, FAULT)
    assert seen == [200, 200]
    assert node.reconciler.generation == 2, "what it wrote is in force, too"


# Bugs, and the end


def test_a_bug_in_arming_is_logged_once_and_what_is_armed_stays(
    two: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = two
    first.done("PUT", CHARGE, FAULT)
    broken, whole = second.registry.engine, Engine.reload

    def reload(self: Engine, *args: Any, **kwargs: Any) -> Any:
        if self is broken:
            raise RuntimeError("a bug")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Engine, "reload", reload)
    caplog.clear()
    done = first.done("PUT", "/v1/points/payment.*", {"latency": 0})
    for _ in range(5):
        second.follow()
    (missing,) = done["missing"]
    assert "a bug" in missing["why"]
    errors = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(errors) == 1, [one.getMessage() for one in errors]
    assert second.rules == ["payment.charge=raise(KeyError)"]
    monkeypatch.undo()


def test_the_thread_follows_by_itself_and_ends(nodes: Nodes) -> None:
    first, second = nodes(), nodes()
    second.place("payment.charge")
    first.place("payment.charge")
    second.reconciler.rounds.start()
    second.reconciler.rounds.start()
    threads = [one for one in threading.enumerate() if one.name == "chaospoint-store"]
    assert len(threads) == 1
    first.others.clear()
    first.service.answer(request("PUT", CHARGE, FAULT))
    _until(lambda: second.rules)
    second.reconciler.rounds.stop()
    assert not threads[0].is_alive()
    second.reconciler.leave()
    assert second.rules == []
    assert second.reconciler.id not in {one.id for one in first.store.workers()}


def test_a_registry_that_nobody_has_any_more_takes_its_reconciler_along() -> None:
    registry = Registry()
    registry.point("payment.charge")
    gone = weakref.ref(reconciler_of(registry))
    node_of = gone()
    assert node_of is not None
    node_of.reconcile()
    del registry, node_of
    gc.collect()
    gc.collect()  # of what the first took out of the table
    assert gone() is None


def test_there_is_one_reconciler_for_a_registry_whoever_asks(pool: Threads) -> None:
    registry = Registry()
    found = pool.map(lambda _: reconciler_of(registry), range(16))
    assert len({id(one) for one in found}) == 1


# What the others need not suffer for


def test_a_refused_change_keeps_no_other_out(nodes: Nodes) -> None:
    first, second = nodes(), nodes(Settings(enabled=True, forbidden_kinds=("hang",)))
    for node in (first, second):
        node.place("payment.charge")
        node.place("payment.refund")
        node.follow()
    (missing,) = first.done("PUT", "/v1/points/payment.refund", {"hang": True})["missing"]
    assert "FORBIDDEN_KINDS" in missing["why"]
    done = first.done("PUT", CHARGE, FAULT)
    assert second.rules == ["payment.charge=raise(KeyError)"]
    assert "generation 1 is refused" in done["missing"][0]["why"], "it does still not run all of it"
    first.done("DELETE", "/v1/points/payment.refund")
    assert second.refusal == ""


def test_a_worker_that_its_own_code_disabled_does_not_acknowledge_rules(
    two: tuple[Node, Node],
) -> None:
    first, second = two
    second.registry.disable()
    (missing,) = first.done("PUT", CHARGE, FAULT)["missing"]
    assert missing["id"] == second.reconciler.id
    assert "this process is disabled, and its store is not" in missing["why"]
    assert "missing" not in first.done("DELETE", CHARGE), "there is nothing left to run"


def test_enable_does_not_override_a_store_that_is_disabled_while_threads_start(
    on_disk: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = on_disk()
    node.follow()
    node.registry.disable()
    engine = node.registry.engine
    start = engine._start_threads

    def start_late(*args: Any) -> None:
        monkeypatch.setattr(engine, "_start_threads", start)
        start(*args)
        node.store.update(lambda desired: desired.disable(by="ops", now=1.0))
        node.follow()

    monkeypatch.setattr(engine, "_start_threads", start_late)
    with pytest.raises(NotPermitted, match="disabled in all processes by ops"):
        enable(registry=node.registry)
    assert engine.off == "ops"


def test_enable_does_not_override_a_store_whose_order_to_disable_is_being_brought_into_force(
    on_disk: Nodes,
) -> None:
    """An observer of the registry hears of it in the middle of the round."""
    node, refused = on_disk(), []
    node.follow()

    class Observer:
        def observe(self, injection: object) -> None: ...

        def notice(self, notice: object) -> None:
            if isinstance(notice, Switched) and not notice.enabled:
                with pytest.raises(NotPermitted, match="disabled in all processes by ops"):
                    enable(registry=node.registry)
                refused.append(notice)

    node.registry.add_observer(Observer())
    node.store.update(lambda desired: desired.disable(by="ops", now=1.0))
    node.follow()
    assert len(refused) == 1
    assert not node.registry.enabled


def test_who_begins_is_known_before_it_looks_so_that_writes_wait_for_it() -> None:
    known: list[int] = []

    class Watched(MemoryStore):
        def read(self) -> Desired:
            known.append(len(self.workers()))
            return super().read()

    registry = Registry()
    Reconciler(Watched(), registry).reconcile()
    assert known == [1]


def test_orders_that_the_store_has_forgotten_are_taken_for_the_worst(
    two: tuple[Node, Node],
) -> None:
    first, second = two
    arm("payment.charge", exception=OSError, registry=second.registry)
    first.others = []  # the second is stopped for a while
    for nth in range(102):
        first.store.update(lambda d, nth=nth: d.disarm(f"point-{nth}", by="me", now=1e9))
    put = parse_plan([{"point": "payment.charge", "exception": "KeyError"}]).rules[0]
    first.store.update(lambda d: d.put([(put, None)], default_seconds=60, by="me", now=time.time()))
    assert second.rules == ["payment.charge=raise(OSError)"]
    second.follow()
    assert second.rules == ["payment.charge=raise(KeyError)"], "what stands is armed all the same"


def test_a_limit_on_lifetimes_counts_from_when_a_rule_was_armed(nodes: Nodes) -> None:
    node = nodes()
    put = parse_plan([{"point": "payment.charge", "latency": 1}]).rules[0]
    for ago in (100.0, 40.0):
        armed_at = time.time() - ago
        node.store.update(
            lambda d, at=armed_at: d.put([(put, None)], default_seconds=600, by="me", now=at)
        )
        late = nodes(Settings(enabled=True, max_expires_after=60))  # type: ignore[arg-type]
        late.place("payment.charge")
        late.follow()
        left = [rule.seconds_left for rule in late.registry.rules()]
        assert left == ([] if ago > 60 else [pytest.approx(20, abs=5)])


def test_a_round_after_the_end_does_not_bring_the_worker_back(two: tuple[Node, Node]) -> None:
    first, second = two
    first.done("PUT", CHARGE, FAULT)
    second.reconciler.leave()
    second.follow()
    assert second.rules == []
    assert second.reconciler.id not in {one.id for one in first.store.workers()}


def test_the_limits_of_a_service_hold_where_nothing_was_started() -> None:
    registry = Registry()
    registry.point("auth.login")
    settings = Settings(enabled=True, forbidden_points=("auth.*",), seed=7)
    service = Service.of(settings, registry)
    body = {"latency": 0}
    assert finished(service.steps(request("PUT", "/v1/points/*", body))).status == 200
    (rule,) = registry.rules()
    assert not rule.covers("auth.login")
    assert not rule.terms.seed_drawn
    registry.disarm()


def test_a_store_that_lost_that_it_is_off_is_told_again(on_disk: Nodes) -> None:
    first = on_disk()
    first.place("payment.charge")
    first.follow()
    first.done("POST", "/v1/disable")
    (on_disk.path / "desired.json").unlink()
    first.follow()
    assert not first.store.read().enabled
    late = on_disk()
    late.follow()
    assert not late.registry.enabled
    first.follow()
    assert first.refusal == ""


def test_the_status_says_why_a_worker_is_not_as_the_store_says(on_disk: Nodes) -> None:
    node = on_disk()
    node.follow()
    assert node.done("GET", "/v1/status")["refusal"] == ""
    node.store.update(lambda desired: desired.enable(by="me", now=1e9))
    (on_disk.path / "desired.json").write_text("garbage")
    node.follow()
    assert "desired.json" in node.done("GET", "/v1/status")["refusal"]


def test_a_service_that_is_started_anew_begins_with_what_it_reads(nodes: Nodes) -> None:
    """Orders are for who joins those that were there when they were given."""
    node = nodes()
    node.place("payment.charge")
    node.store.update(lambda desired: desired.disarm("*", by="me", now=1e9))
    from_file(node, {"point": "payment.charge", "latency": 0})
    node.follow()
    assert node.rules == ["payment.charge=latency(0ms)"]


def test_a_file_that_changed_after_a_disarm_is_not_disarmed_in_who_joins(
    two: tuple[Node, Node], nodes: Nodes, tmp_path: Path
) -> None:
    two[0].done("DELETE", "/v1/points")
    late, path = nodes(), tmp_path / "plan.json"
    late.place("payment.charge")
    path.touch()
    os.utime(path, (time.time() + 60,) * 2)
    late.reconciler._file = path
    from_file(late, {"point": "payment.charge", "latency": 0})
    _install(late, "env", {"point": "payment.charge", "latency": 1})
    late.follow()
    assert late.rules == ["payment.charge=latency(0ms)"]


def test_a_rule_of_a_store_need_not_be_reached_in_every_process(
    on_disk: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    node = on_disk()
    node.place("payment.charge")
    node.done("PUT", CHARGE, FAULT)
    node.done("DELETE", CHARGE)
    assert warnings(caplog) == []
