"""Where no thread can be started, nothing from outside is armed: nobody could end it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import python

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
def test_what_was_armed_is_disarmed_where_the_last_thread_cannot_be_started(
    left: int, tmp_path: Path
) -> None:
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
keeper = chaospoint.Registry.default().board.keeper
if keeper._thread is not None:
    keeper._thread.join(30)
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
from chaospoint.arming import install_plan
from chaospoint.errors import NotPermitted
from chaospoint.plan import parse_plan
registry = chaospoint.Registry.default()
chaospoint.point("bank.pay")
chaospoint.arm("bank.pay", latency=0)
left[0] = 0
for expires in ({"expires_after": 60}, {}):
    plan = parse_plan([{"point": "bank.charge", "returns": 3, **expires}])
    try:
        install_plan(plan, source="file", trust="loaded", registry=registry, replace=True)
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


def test_start_may_be_called_again_when_threads_can_be_started(tmp_path: Path) -> None:
    """And the log names no call of `stop` that nobody made."""
    (tmp_path / "plan.yaml").write_text("rules: [{point: bank.charge, returns: 3}]\n")
    start = START.format(folder=tmp_path)
    said = python(
        "import logging; logging.basicConfig(level='INFO')\n"
        + BEGIN.replace("LEFT", "14")
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
import time
armed = chaospoint.arm("bank.charge", returns=2, expires_after=2.0)
print(charge())
while armed.rules[0].seconds_left:
    time.sleep(0.01)
print(charge(), armed.rules[0].why, len(chaospoint.Registry.default().rules()))
"""
    )
    assert said.stdout.split() == ["2", "paid", "expired", "0"]
    assert "no thread could be started to look after rules" in said.stderr
