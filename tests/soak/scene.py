"""The participants of a storm: registries, placements and callers, and the checks in a child.

A forked child has no threads of the parent. Its rules count from 0 and keep their deadlines, and it
can do everything that a process can.
"""

from __future__ import annotations

import threading
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from helpers import PATIENCE, Boom, Threads, code_of, finish, place

from chaospoint import Armed, Registry, arm
from chaospoint._kernel import reporting
from chaospoint.arming import Origin, install_plan
from chaospoint.control.changes import Changes
from chaospoint.errors import NotPermitted
from chaospoint.plan import parse_plan
from soak.callers import Caller, Storm
from soak.forking import forked
from soak.placements import placements
from soak.storm import Stormer

__all__ = ["Scene"]


class Scene:
    """All participants of a storm."""

    def __init__(self, seed: str) -> None:
        self.storm, self.calm, self.kin = Storm(Registry()), Registry(), Registry()
        self.storm.registry.add_observer(self.storm)
        self.placements = placements(self.storm.registry, self.calm)
        self.functions = {name: place(self.kin.point(f"kin.{name}"), "function") for name in "ab"}
        self._own = {name: code_of(function) for name, function in self.functions.items()}
        self.callers = [self._caller(f"{seed}/{n}") for n in range(8)]
        self.tasks = [self._caller(f"{seed}/t{n}") for n in range(8)]
        self.stormers = [Stormer(self.storm, self.placements, f"{seed}/s{n}") for n in range(4)]
        self.children: list[Any] = []  # what each found

    def _caller(self, seed: str) -> Caller:
        return Caller(self.storm, self.placements, seed)

    def registries(self) -> tuple[Registry, ...]:
        return self.storm.registry, self.calm, self.kin

    def all_callers(self) -> list[Caller]:
        return [*self.callers, *self.tasks, *(stormer.caller for stormer in self.stormers)]

    def seen(self) -> Counter[str]:
        return sum((caller.seen for caller in self.all_callers()), Counter())

    def wrong(self) -> list[str]:
        everyone = (*self.all_callers(), *self.stormers)
        return [wrong for one in everyone for wrong in one.wrong] + list(
            map(str, self.storm.strays)
        )

    def changed(self) -> list[str]:
        """Return the placements that do not run their own code."""
        changed = [name for name, own in self._own.items() if code_of(self.functions[name]) != own]
        return changed + [one.name for one in self.placements if one.changed()]

    def end_keepers(self) -> None:
        """Wait until the threads of the registries have ended, as they do when nothing is armed."""
        for registry in self.registries():
            for housekeeper in (registry.engine.housekeeper, registry.engine.housekeeper._expiry):
                if (thread := housekeeper._thread) is not None:
                    thread.join(PATIENCE)
                assert housekeeper._thread is None

    def forget(self) -> None:
        """Clear the records, and the sources that remember ended rules."""
        for _ in Changes(self.storm.registry).put(parse_plan([]), by="nobody"):
            pytest.fail("there is nobody to wait for")
        for source in ("env", "file"):
            nothing = parse_plan([])
            install_plan(nothing, Origin(source), self.storm.registry, replace=True)
        for caller in self.all_callers():
            caller.fired.clear()
        self.storm.notices.clear()
        self.storm.asked.clear()

    def fork_and_go_on(self, forks: list[float], until: float) -> None:
        """Run the storm, and fork at these times."""
        stormer = self.stormers[0]
        while forks and forks[0] < until:
            stormer.go_on(forks.pop(0), calm_down=False)
            try:
                self.children.append(self._fork())
            except BaseException:
                stormer.wrong.append(f"forking: {traceback.format_exc()}")
        stormer.go_on(until)

    def _fork(self) -> Any:
        kept = arm("kin.a", exception=Boom, skip=1, times=3, expires_after=600, registry=self.kin)
        brief = arm("kin.b", hang=True, expires_after=0.5, registry=self.kin)
        try:
            assert _booms(self.functions["a"], 3) == [False, True, True]
            child = _Child(self, kept, brief)
            found = forked(child.live)
            assert (kept.reaches, kept.injections) == (3, 2)
            assert _booms(self.functions["a"], 2) == [True, False]
        finally:
            self.kin.disarm()
        return found


def _booms(call: Callable[[], Any], calls: int) -> list[bool]:
    """Return the numbers of the injected calls among so many."""

    def boomed() -> bool:
        try:
            assert finish(call()) == 7
        except Boom:
            return True
        return False

    return [boomed() for _ in range(calls)]


class _Child:
    """The checks in a forked child."""

    def __init__(self, scene: Scene, kept: Armed, brief: Armed) -> None:
        self._scene = scene
        self._storm = scene.storm.registry
        self._kept = kept
        self._brief = brief
        self._deadline = kept.rules[0].deadline
        self._threads = Threads()

    def live(self) -> dict[str, int]:
        tracemalloc.stop()
        inherited = [rule for one in self._scene.registries() for rule in one.rules()]
        for rule in inherited:
            assert (rule.reaches, rule.injections, rule.interrupted) == (0, 0, 0), rule.text
            assert rule.sleepers == rule.watchers == rule.paused == set()
        self._goes_on()
        calls = self._inherits()
        self._counts()
        self._holds()
        self._leaves_nothing()
        return {"inherited": len(inherited), "calls": calls}

    def _goes_on(self) -> None:
        """Check that deadlines stay and are kept, and that counts start from 0."""
        kept, brief, functions = self._kept, self._brief, self._scene.functions
        assert kept.rules[0].deadline == self._deadline
        assert functions["b"]() == 7  # it hangs until it expires, or has expired meanwhile
        assert brief.rules[0].state == "expired"
        assert brief.interrupted == brief.injections
        assert _booms(functions["a"], 6) == [False, *[True] * 3, *[False] * 2]
        assert (kept.reaches, kept.injections, kept.rules[0].state) == (6, 3, "spent")

    def _inherits(self) -> int:
        """Call under the rules of the parent, and disarm them."""
        scene = self._scene
        callers = [Caller(scene.storm, scene.placements, f"child {n}") for n in range(2)]

        def call(caller: Caller) -> None:
            for placement in scene.placements:
                caller.call(placement)

        calling = [self._threads.submit(call, caller) for caller in callers]
        if not self._storm.enabled:
            with pytest.raises(NotPermitted):
                arm("race.*", latency=0, registry=self._storm)
            self._storm.enable()
        self._storm.disarm()
        for one in calling:
            one.result(PATIENCE)
        assert [wrong for caller in callers for wrong in caller.wrong] == []
        assert self._storm.rules() == ()
        newest = scene.calm.rules()[0]
        assert newest.reaches == sum(caller.seen["calm"] for caller in callers)
        return sum(caller.seen["calls"] for caller in callers)

    def _counts(self) -> None:
        """Check that rules fire exactly as often as set, in any order of threads."""
        handle = arm("*", exception=Boom, times=50, registry=self._storm)

        def call(_: int) -> int:
            return sum(any(_booms(one.call, 1)) for one in self._scene.placements)

        assert sum(self._threads.map(call, range(4))) == handle.injections == 50
        assert handle.rules[0].state == "spent"
        handle.disarm()

    def _holds(self) -> None:
        """Hang calls, and wake them in every possible way."""
        for placement in self._scene.placements[:16:5]:
            for end in (Armed.disarm, lambda _: self._storm.disable()):
                self._storm.enable()
                handle = arm("*", hang=True, registry=self._storm)
                hung = self._threads.submit(lambda one=placement: finish(one.call()))
                handle.wait_for()
                end(handle)
                assert hung.result(PATIENCE) == 7
                assert handle.interrupted == handle.injections >= 1
        self._storm.enable()
        handle = arm("*", hang=True, expires_after=0.05, registry=self._storm)
        assert {finish(one.call()) for one in self._scene.placements} == {7}
        assert handle.rules[0].state == "expired"

    def _leaves_nothing(self) -> None:
        for registry in self._scene.registries():
            registry.disarm()
        self._threads.join()
        assert self._scene.changed() == []
        assert {finish(one.call()) for one in self._scene.placements} == {7}
        self._scene.end_keepers()
        # Registries that other tests left armed have housekeepers in the child as well.
        names = {thread.name for thread in threading.enumerate()} - {
            "chaospoint-keeper",
            "chaospoint-expiry",
        }
        assert names == {threading.current_thread().name}
        assert not reporting.bugs, list(reporting.bugs)
