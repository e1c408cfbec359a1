"""The threads that follow the store and the plan file survive failures of observers and handlers.

An observer or a log handler may raise any exception in them, or never return.  A thread that ends
nevertheless is replaced.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from helpers import python

from chaospoint._kernel.rounds import Rounds, _restart_dead

BEGIN = """
import asyncio, logging, os, sys, threading, time
import chaospoint
from chaospoint.config import Settings
from chaospoint import config
from chaospoint.plan import Rule
from chaospoint.stores import open_store
from chaospoint.stores.moments import moment

@chaospoint.point("bank.charge")
def charge():
    return "paid"

def fails():
    try:
        return charge() and False
    except TimeoutError:
        return True

def once(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)

def threads(name):
    return [one for one in threading.enumerate() if one.name == "chaospoint-" + name]

def in_a_thread():
    return threading.current_thread() is not threading.main_thread()

class Observer:
    def observe(self, injection):
        pass
    def notice(self, notice):
        if in_a_thread():
            obstruct()

class Handler(logging.Handler):
    def emit(self, record):
        if in_a_thread():
            obstruct()

def cancel():
    raise asyncio.CancelledError

def interrupt():
    raise KeyboardInterrupt

def nothing():
    pass

obstruct = nothing
# Before the observers that are there by default, which are told all the same.
chaospoint.Registry.default().add_observer(Observer())
logging.getLogger("chaospoint").addHandler(Handler())
"""

ANYTHING = {
    "exits": "sys.exit",
    "is cancelled": "cancel",
    "is interrupted": "interrupt",
    "never comes back": "threading.Event().wait",
}


@pytest.mark.parametrize("what", ANYTHING)
def test_the_store_is_followed(what: str, tmp_path: Path) -> None:
    said = python(
        BEGIN
        + f"""
url = "file://{tmp_path}/store"
chaospoint.start(Settings(enabled=True, store=url))
store, rules = open_store(url), [(Rule.parse("bank.charge=raise(TimeoutError)"), None)]
before = threads("store")
obstruct = {ANYTHING[what]}
for _ in range(2):
    store.update(lambda one: one.put(rules, default_seconds=600, by="ops", now=moment()))
    once(fails)
    store.update(lambda one: one.disarm("*", by="ops", now=moment()))
    once(lambda: not fails())
store.update(lambda one: one.disable(by="ops", now=moment()))
once(lambda: not chaospoint.Registry.default().enabled)
print(threads("store") == before, flush=True)
os._exit(0)
"""
    )
    assert said.stdout.split() == ["True"]


@pytest.mark.parametrize(
    "what", [pytest.param(one, marks=[pytest.mark.ci] * (one != "exits")) for one in ANYTHING]
)
def test_the_plan_file_is_followed(what: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("rules: []\n")
    said = python(
        BEGIN
        + f"""
from pathlib import Path
plan = Path("{plan}")
chaospoint.start(Settings(enabled=True, config=plan))
before = threads("poller")
obstruct = {ANYTHING[what]}
for n in range(2):
    plan.write_text("rules: [{{point: bank.charge, exception: TimeoutError}}]" + " " * n)
    once(fails)
    plan.write_text("rules: []" + " " * n)
    once(lambda: not fails())
print(threads("poller") == before, flush=True)
os._exit(0)
"""
    )
    assert said.stdout.split() == ["True"]


def test_every_observer_is_informed_of_every_end() -> None:
    """What the first one raises keeps nothing from the second."""
    said = python(
        BEGIN
        + """
told, ended = [], threading.Event()
class Second(Observer):
    def notice(self, notice):
        told.append(type(notice).__name__)
        if told[-1] == "RuleDisarmed":
            ended.set()
chaospoint.Registry.default().add_observer(Second())
obstruct = sys.exit
chaospoint.arm("bank.charge", latency=0, expires_after=0.05)
assert ended.wait(30)
print(told.count("RuleDisarmed"), len(threads("keeper")) <= 1, flush=True)
os._exit(0)
"""
    )
    assert said.stdout.split() == ["1", "True"]


def test_threads_that_start_meanwhile_disturb_no_look_at_the_others() -> None:
    """Each call that the look makes is a moment at which another thread may start its own."""
    made: list[Rounds] = []

    def start_another(*_: object) -> None:
        sys.setprofile(None)
        made.append(Rounds("chaospoint-another", lambda: 60.0, lambda: None))
        made[-1].start()
        sys.setprofile(start_another)

    start_another()
    try:
        _restart_dead()
    finally:
        sys.setprofile(None)
        for one in made:
            one.stop()
    assert len(made) > 2


@pytest.mark.parametrize("name", ["store", "poller", "keeper", "expiry"])
def test_a_thread_that_has_ended_is_replaced(name: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("rules: [{point: bank.pay, latency: 1, expires_after: 1h}]\n")
    said = python(
        BEGIN
        + f"""
replaced = threading.Event()
line = "the thread chaospoint-{name} died; another one was started in its place"
Handler.emit = lambda _, record: record.getMessage() == line and replaced.set()
url = "file://{tmp_path}/store"
chaospoint.start(Settings(enabled=True, store=url, config="{plan}"))
running, housekeeper = config._running, chaospoint.Registry.default().engine.housekeeper
owner = {{
    "store": running._reconciler.rounds,
    "poller": running._sources.poller.rounds,
    "keeper": housekeeper,
    "expiry": housekeeper._expiry,
}}["{name}"]
once(lambda: threads("{name}"))
(thread,) = threads("{name}")
owner._round = lambda *_: False  # it ends without taking leave
thread.join(30)
del owner._round
assert replaced.wait(30)
once(lambda: threads("{name}"))
print(threads("{name}") != [thread], flush=True)
chaospoint.config.stop()
print(threads("{name}") == [] or "{name}" in ("keeper", "expiry"))
"""
    )
    assert said.stdout.split() == ["True", "True"]
