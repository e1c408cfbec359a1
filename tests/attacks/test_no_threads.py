"""If no thread can be started, no rule from outside is armed, because it could not be ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any

import pytest
from helpers import PATIENCE, python

import chaospoint
from chaospoint import Registry, Rule
from chaospoint._registry.housekeeping import NO_THREAD, Housekeeper
from chaospoint.arming import Origin, install_plan
from chaospoint.errors import NotPermitted
from chaospoint.plan import parse_plan
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import Settings
from chaospoint.stores.memory import MemoryStore
from chaospoint.stores.reconciler import Reconciler

BEGIN = """
import _thread, sys, threading
NAMES = ((_thread, "start_new_thread"), (_thread, "start_joinable_thread"),
         (threading, "_start_new_thread"), (threading, "_start_joinable_thread"))
left = [LEFT]

def limited(start):
    def starting(*args, **keys):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("can't start new thread")
        return start(*args, **keys)
    return starting

for module, name in NAMES:
    if hasattr(module, name):
        setattr(module, name, limited(getattr(module, name)))

import chaospoint
from chaospoint.config import Settings

@chaospoint.point("bank.charge")
def charge():
    return "paid"

"""
CURE = "allow the process more threads (ulimit -u, pids.max, TasksMax)"
START = """
chaospoint.start(Settings(enabled=True, points="bank.charge=return(2)", config="{folder}/plan.yaml",
                          store="file://{folder}/store", admin="127.0.0.1:0"))
print(charge(), len(chaospoint.Registry.default().rules()))
"""


@pytest.mark.parametrize("left", range(0, 12, 3))
def test_nothing_is_armed_and_one_line_says_the_cure(left: int, tmp_path: Path) -> None:
    """And the program ends without a traceback."""
    (tmp_path / "plan.yaml").write_text("rules: [{point: bank.charge, returns: 3}]\n")
    begin = BEGIN.replace("LEFT", str(left))
    said = python(begin + START.format(folder=tmp_path))
    assert said.stdout.split() == ["paid", "0"]
    [line] = said.stderr.splitlines()
    assert "no thread can be started" in line
    assert CURE in line
    assert not (tmp_path / "store").exists()


@pytest.mark.ci
@pytest.mark.parametrize("left", range(12, 24))
def test_rules_are_disarmed_if_the_last_thread_cannot_be_started(left: int, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("rules: [{point: bank.charge, returns: 3}]\n")
    begin = BEGIN.replace("LEFT", str(left))
    said = python(begin + START.format(folder=tmp_path) + "print(left[0] < 0)")
    assert said.stdout.split() in (["paid", "0", "True"], ["2", "2", "False"])
    assert "Traceback" not in said.stderr


def test_what_comes_later_is_refused_with_the_cure(tmp_path: Path) -> None:
    """And is armed as soon as threads can be started."""
    plan = tmp_path / "plan.yaml"
    plan.write_text("rules: []\n")
    said = python(
        BEGIN.replace("LEFT", "1000")
        + f"""
chaospoint.start(Settings(enabled=True, config="{plan}"))
housekeeper = chaospoint.Registry.default().engine.housekeeper
if housekeeper._thread is not None:
    housekeeper._thread.join(30)
before, left[0] = left[0], 0
open("{plan}", "w").write("rules: [{{point: bank.charge, returns: 3}}]")
poller = chaospoint.config._running._sources.poller
poller.poll()
print(charge(), poller.refusal, flush=True)
left[0] = before
poller.poll()
print(charge(), poller.refusal, flush=True)
"""
    )
    assert said.stdout.startswith("paid no thread can be started")
    assert CURE in said.stdout
    assert said.stdout.endswith("3 None\n")


def test_no_deadline_comes_from_outside_where_only_the_other_thread_runs() -> None:
    """Rules of code need the one thread of chaospoint's; to end rules in time is for the other."""
    said = python(
        BEGIN.replace("LEFT", "1000")
        + """
from chaospoint.arming import Origin, install_plan
from chaospoint.errors import NotPermitted
from chaospoint.plan import parse_plan
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import Settings
registry = chaospoint.Registry.default()
chaospoint.point("bank.pay")
chaospoint.arm("bank.pay", latency=0)
left[0] = 0
for expires in ({"expires_after": 60}, {}):
    plan = parse_plan([{"point": "bank.charge", "returns": 3, **expires}])
    try:
        install_plan(plan, origin=Origin("file"), registry=registry, replace=True)
    except NotPermitted as error:
        print(error)
    print(charge())
"""
    )
    refusal, *answers = said.stdout.splitlines()
    assert refusal.startswith("no thread can be started")
    assert refusal.endswith(f"{CURE}, and arm it again")
    assert answers == ["paid", "3"]
    assert "no thread could be started" not in said.stderr


def _from_file(registry: Registry, expires: float | None) -> None:
    keys = {} if expires is None else {"expires_after": expires}
    plan = parse_plan([{"point": "bank.charge", "returns": 3, **keys}])
    install_plan(plan, origin=Origin("file"), registry=registry, replace=True)


def _end_threads(housekeeper: Housekeeper) -> None:
    for one in (housekeeper._expiry, housekeeper):
        if (thread := one._thread) is not None:
            one._look.set()
            thread.join(PATIENCE)
            assert not thread.is_alive()


def _no_more(self: object) -> None:
    raise RuntimeError("can't start new thread")


def _charge(registry: Registry) -> Callable[[], object]:
    @registry.point("bank.charge")
    def charge() -> str:
        return "paid"

    return charge


@pytest.mark.parametrize("expires", [None, 60])
def test_enabling_puts_nothing_back_that_no_thread_could_end(
    expires: float | None, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused, changes nothing, and works as soon as threads can be started."""
    charge = _charge(registry)
    _from_file(registry, expires)
    chaospoint.disable(registry=registry)
    _end_threads(registry.engine.housekeeper)
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", _no_more)
        with pytest.raises(NotPermitted, match="no thread can be started") as refused:
            chaospoint.enable(registry=registry)
        assert str(refused.value).endswith(f"{CURE}, and enable it again")
        assert not registry.enabled
        assert charge() == "paid"
    chaospoint.enable(registry=registry)
    assert charge() == 3


def test_enabling_needs_no_thread_where_nothing_comes_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threading.Thread.start", _no_more)
    chaospoint.disable(registry=registry)
    chaospoint.enable(registry=registry)
    assert registry.enabled


def test_a_process_without_threads_does_the_other_orders_of_a_store_that_enables_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays disabled and says why."""
    charge, store = _charge(registry), MemoryStore()
    reconciler = Reconciler(store, registry)
    reconciler.reconcile()
    _from_file(registry, None)
    store.update(lambda desired: desired.disable(by="ops", now=1.0))
    reconciler.reconcile()
    _end_threads(registry.engine.housekeeper)
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", _no_more)
        store.update(lambda desired: desired.enable(by="ops", now=2.0))
        store.update(lambda desired: desired.disarm("bank.*", by="ops", now=3.0))
        reconciler.reconcile()
        assert not registry.enabled
        assert reconciler.refusal.startswith("enabling by generation 2 is refused: no thread can")
        assert reconciler.touched(3) == 1
    chaospoint.enable(registry=registry)
    assert charge() == "paid"


@pytest.mark.parametrize("disabled_again", [False, True])
def test_a_process_enables_when_threads_can_be_started_what_its_store_enabled_before(
    disabled_again: bool, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later change of the store does not end that; a later call of ``disable`` does."""
    charge, store = _charge(registry), MemoryStore()
    reconciler = Reconciler(store, registry)
    reconciler.reconcile()
    _from_file(registry, None)
    store.update(lambda desired: desired.disable(by="ops", now=1.0))
    reconciler.reconcile()
    _end_threads(registry.engine.housekeeper)
    monkeypatch.setattr("chaospoint.stores.reconciler.IDLE_SECONDS", -1.0)
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", _no_more)
        store.update(lambda desired: desired.enable(by="ops", now=2.0))
        reconciler.reconcile()
        store.update(lambda desired: desired.release("bank.*", by="ops", now=3.0))
        for _ in range(3):
            reconciler.reconcile()
            assert not registry.enabled
            assert reconciler.refusal.startswith("enabling by generation 2 is refused: no thread")
    if disabled_again:
        chaospoint.disable(registry=registry)
    reconciler.reconcile()
    assert reconciler.refusal == ""
    assert charge() == ("paid" if disabled_again else 3)


def test_a_rule_that_no_thread_can_end_is_not_renewed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store hears why, and the rule is armed when threads can be started."""
    charge, store = _charge(registry), MemoryStore()
    reconciler = Reconciler(store, registry)
    rule = Rule(point="bank.charge", returns=3)
    store.update(lambda one: one.put([(rule, 1)], by="ops", now=time(), default_seconds=60.0))
    reconciler.reconcile()
    assert charge() == 3
    monkeypatch.setattr("chaospoint.stores.reconciler.IDLE_SECONDS", -1.0)
    with monkeypatch.context() as patch:
        patch.setattr(registry.engine.housekeeper, "start", lambda *at: False)
        store.update(lambda one: one.renew("bank.charge", 600.0, by="ops", now=time()))
        reconciler.reconcile()
        assert charge() == "paid"
        assert "no thread can be started" in reconciler.refusal
    reconciler.reconcile()
    assert reconciler.refusal == ""
    assert charge() == 3


@pytest.mark.parametrize("source", ["store", "file"])
def test_what_a_fork_disarmed_is_armed_as_it_was_when_threads_can_be_started(
    source: str, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a change of its source; counts and deadline go on."""
    charge, engine = _charge(registry), registry.engine
    if source == "store":
        monkeypatch.setattr("chaospoint.stores.reconciler.IDLE_SECONDS", -1.0)
        reconciler = Reconciler(store := MemoryStore(), registry)
        rule = Rule(point="bank.charge", returns=3, times=2)
        store.update(lambda one: one.put([(rule, 1)], by="ops", now=time(), default_seconds=60.0))
        look: Callable[[], object] = reconciler.reconcile
    else:
        (plan := tmp_path / "plan.yaml").write_text(
            "rules: [{point: bank.charge, returns: 3, times: 2, expires_after: 60}]"
        )
        poller = Sources(Settings(enabled=True, config=plan), registry).poller
        assert poller is not None
        look = poller._round
    look()
    assert charge() == 3
    [before] = registry.rules()
    engine.housekeeper.stop()
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", _no_more)
        assert not engine.housekeeper.resume()
        for _ in range(3):
            look()
            assert charge() == "paid"
        if source == "store":
            assert "no thread can be started" in reconciler.refusal
    look()
    [after] = registry.rules()
    assert (after.deadline, after.injections) == (before.deadline, 1)
    assert [charge(), charge()] == [3, "paid"]
    if source == "store":
        assert reconciler.refusal == ""


@pytest.mark.parametrize("expires", [None, 60])
def test_rules_whose_thread_ends_while_they_are_armed_are_disarmed(
    expires: float | None,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The thread that the change began may have ended before the rules were in their places."""
    charge, engine = _charge(registry), registry.engine
    differences = engine.points.differences

    def without_threads(*args: Any, **keys: Any) -> Any:
        monkeypatch.setattr(engine.points, "differences", differences)
        _end_threads(engine.housekeeper)
        monkeypatch.setattr("threading.Thread.start", _no_more)
        return differences(*args, **keys)

    monkeypatch.setattr(engine.points, "differences", without_threads)
    _from_file(registry, expires)
    assert charge() == "paid"
    [rule] = engine.ended()
    assert (rule.why, rule.reason.partition(":")[0]) == ("failed", NO_THREAD.partition(":")[0])
    assert "rules from outside are disarmed, 1 in all: no thread can be started" in caplog.text


def test_only_rules_with_a_deadline_are_disarmed_where_the_other_thread_runs(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("bank.charge", "bank.pay"):
        registry.point(name)
    rules = [{"point": "bank.charge", "expires_after": 60}, {"point": "bank.pay"}]
    plan = parse_plan([{**rule, "latency": 0} for rule in rules])
    install_plan(plan, origin=Origin("file"), registry=registry, replace=True)
    housekeeper = registry.engine.housekeeper
    housekeeper._expiry.stop()
    monkeypatch.setattr("threading.Thread.start", _no_more)
    assert not housekeeper.resume()
    assert [rule.pattern for rule in registry.rules()] == ["bank.pay"]
    [rule] = registry.engine.ended()
    assert (rule.pattern, rule.why) == ("bank.charge", "failed")
    assert "rules from outside are disarmed, 1 in all: no thread can be started" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_keeps_no_rules_from_outside_that_no_thread_could_end() -> None:
    """Neither the child nor the parent does; rules of code stay armed in both."""
    said = python(
        BEGIN.replace("LEFT", "1000")
        + """
import os, warnings
from chaospoint.arming import Origin, install_plan
from chaospoint.plan import parse_plan
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import Settings
registry = chaospoint.Registry.default()
chaospoint.point("bank.pay")
chaospoint.arm("bank.pay", latency=0)

def from_file(expires):
    rule = {"point": "bank.charge", "returns": 3, **expires}
    install_plan(parse_plan([rule]), origin=Origin("file"), registry=registry, replace=True)

for expires in ({}, {"expires_after": 60}):
    from_file(expires)
    assert charge() == 3
    left[0] = 0
    pid = os.fork()
    print("parent" if pid else "child", charge(), *(r.source for r in registry.rules()), flush=True)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    left[0] = 1000
""",
        "-W",
        "ignore",
    )
    assert sorted(said.stdout.splitlines()) == ["child paid code"] * 2 + ["parent paid code"] * 2
    assert said.stderr.count("rules from outside are disarmed, 1 in all: no thread can be") == 4


def test_start_may_be_called_again_when_threads_can_be_started(tmp_path: Path) -> None:
    """And the log names no call of `stop` that nobody made."""
    (tmp_path / "plan.yaml").write_text("rules: [{point: bank.charge, returns: 3}]\n")
    start = START.format(folder=tmp_path)
    said = python(
        "import logging; logging.basicConfig(level='INFO')\n"
        + BEGIN.replace("LEFT", "16")
        + start
        + "left[0] = 1000"
        + start
        + "chaospoint.stop(); print(charge())"
    )
    assert said.stdout.split() == ["paid", "0", "2", "2", "paid"]
    failed, _, went_on = said.stderr.partition("call start() again\n")
    assert CURE in failed
    assert "stop()" not in failed
    given_up, _, _ = went_on.partition("chaospoint stopped")
    assert "disarmed" in given_up
    assert "by a start that failed" in given_up


def test_code_may_arm_and_its_rules_end_at_their_deadlines() -> None:
    """A call that comes after the deadline is not hit, and has the rule ended where it is."""
    said = python(
        BEGIN.replace("LEFT", "0")
        + """
armed = chaospoint.arm("bank.charge", returns=2, expires_after=60)
print(charge())
armed.rules[0].deadline = 0.0
print(charge(), armed.rules[0].why, len(chaospoint.Registry.default().rules()))
"""
    )
    assert said.stdout.split() == ["2", "paid", "expired", "0"]
    assert "no thread could be started for the armed rules" in said.stderr
