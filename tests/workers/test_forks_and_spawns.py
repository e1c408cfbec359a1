"""Child processes of every kind are workers from their first line until they end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from conftest import Service

Serve = Callable[..., "Service"]
CHARGE = "/v1/points/payment.charge"
FAULT = {"exception": "TimeoutError"}


class Family:
    """The processes of `tests/programs/family.py`, and their output."""

    def __init__(self, serve: Serve, how: str, children: int) -> None:
        self.service = serve("family", how, str(children))
        self.parent = self.service.process.pid
        self.service.until(lambda: len(self.workers()) == len(self.told()) == children + 1)

    def told(self) -> dict[int, dict[str, Any]]:
        """Return the last output of each process."""
        return {one["pid"]: one for one in self.lines()}

    def lines(self) -> list[dict[str, Any]]:
        text = self.service.log.read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith('{"pid"')]

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.service.ask("GET", "/v1/workers")["workers"]
        return found

    @property
    def children(self) -> list[int]:
        return sorted(self.told().keys() - {self.parent})

    def tell(self, number: int, *pids: int) -> None:
        for pid in pids:
            os.kill(pid, number)

    def say(self, *pids: int) -> set[str]:
        """Let these processes call their point now, and return the results."""
        before = len(self.lines())
        self.tell(signal.SIGUSR1, *pids)
        self.service.until(lambda: len(self.lines()) == before + len(pids))
        return {one["said"] for one in self.lines()[before:]}

    def status_pid(self) -> int:
        return int(self.service.ask("GET", "/v1/status")["pid"])

    def slack(self) -> float:
        """Return seconds to add to a limit: many times the duration of plain reads here."""
        began = time.monotonic()
        for _ in range(5):
            self.workers()
        return 5 * (time.monotonic() - began)


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_children_are_workers_and_one_write_reaches_all(how: str, serve: Serve) -> None:
    family = Family(serve, how, 2)
    everyone = [family.parent, *family.children]
    assert {one["pid"] for one in family.workers()} == set(everyone)

    done = family.service.ask("PUT", CHARGE, FAULT)
    assert done["acknowledged"] == done["workers"] == 3
    assert family.say(*everyone) == {"timed out"}

    # A later child follows the plan before its own first line.
    family.tell(signal.SIGUSR2, family.parent)
    family.service.until(lambda: len(family.told()) == 4)
    (youngest,) = family.told().keys() - set(everyone)
    assert family.told()[youngest]["said"] == "timed out"

    off = family.service.ask("POST", "/v1/disable")
    assert off["acknowledged"] == off["workers"] == 4
    assert family.say(*everyone, youngest) == {"paid"}
    family.tell(signal.SIGUSR2, youngest)
    family.service.until(lambda: len(family.told()) == 5)
    assert family.lines()[-1]["said"] == "paid", "a grandchild is disabled, too"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="files can not be listed here")
def test_a_forked_child_has_no_thread_socket_or_lock_of_its_parent(serve: Serve) -> None:
    family = Family(serve, "fork", 2)
    told = family.told()

    def ours(pid: int) -> set[str]:
        """Return the sockets, and the files in the store, that a process has open."""
        files = told[pid]["files"].values()
        return {one for one in files if one.startswith("socket:") or "/store" in one}

    family.say(*told)
    told = family.told()
    for child in family.children:
        assert not ours(child) & ours(family.parent), "what the parent has is not open there"
        assert sum("/workers/" in one for one in ours(child)) == 1, "its own is"
        assert told[child]["threads"].count("chaospoint-store") == 1


def test_the_parent_leaves_the_port_to_its_children_and_takes_it_back(serve: Serve) -> None:
    family = Family(serve, "fork", 2)
    family.service.until(lambda: family.status_pid() in family.children)
    family.service.ask("PUT", CHARGE, FAULT)

    holder = family.status_pid()
    (other,) = set(family.children) - {holder}
    slack = family.slack()
    family.tell(signal.SIGTERM, holder)
    family.service.until(lambda: family.status_pid() == other, 4.0 + slack)

    family.tell(signal.SIGKILL, other)
    ended = time.monotonic()
    family.service.until(lambda: family.status_pid() == family.parent)
    assert time.monotonic() - ended < 3.0 + slack
    assert [one["pid"] for one in family.workers()] == [family.parent]
    assert family.say(family.parent) == {"timed out"}


def test_a_killed_child_is_gone_at_once(serve: Serve) -> None:
    family = Family(serve, "fork", 2)
    holder = family.service.until(lambda: family.status_pid() in family.children) and (
        family.status_pid()
    )
    (victim,) = set(family.children) - {holder}
    slack = family.slack()
    family.tell(signal.SIGKILL, victim)
    family.service.until(
        lambda: victim not in {one["pid"] for one in family.workers()}, 2.0 + slack
    )
    began = time.monotonic()
    done = family.service.ask("PUT", CHARGE, FAULT)
    assert time.monotonic() - began < 1.5 + slack, "nobody waits for the dead"
    assert (done["workers"], done["acknowledged"]) == (2, 2)


def test_a_stopped_child_is_named_and_catches_up(serve: Serve) -> None:
    family = Family(serve, "fork", 2)
    holder = family.service.until(lambda: family.status_pid() in family.children) and (
        family.status_pid()
    )
    (stopped,) = set(family.children) - {holder}
    family.tell(signal.SIGSTOP, stopped)
    done = family.service.ask("PUT", CHARGE, FAULT)
    assert [one["pid"] for one in done["missing"]] == [stopped]
    assert "last report" in done["missing"][0]["why"]
    family.tell(signal.SIGCONT, stopped)
    family.service.until(
        lambda: {one["generation"] for one in family.workers()} == {done["generation"]}
    )
    assert family.say(stopped) == {"timed out"}


def test_a_child_that_calls_stop_leaves_the_store_and_its_rules(serve: Serve) -> None:
    family = Family(serve, "fork", 2)
    family.service.ask("PUT", CHARGE, FAULT)
    leaves = family.children[0]
    before = len(family.lines())
    family.tell(signal.SIGHUP, leaves)
    family.service.until(lambda: len(family.lines()) > before)
    assert family.lines()[-1]["said"] == "paid"
    assert "chaospoint-store" not in family.lines()[-1]["threads"]
    assert "chaospoint-admin" not in family.lines()[-1]["threads"]
    family.service.until(
        lambda: leaves not in {one["pid"] for one in family.workers()}, 2.0 + family.slack()
    )
    done = family.service.ask("PUT", CHARGE, {"latency": 0})
    assert done["acknowledged"] == done["workers"] == 2
    store = Path(family.service.store.removeprefix("file://"))
    assert len(list((store / "workers").glob("*.json"))) == 2


@pytest.mark.parametrize("how", ["daemon", "late-daemon"])
def test_a_daemon_that_closed_all_its_files_goes_on_as_a_worker(how: str, serve: Serve) -> None:
    service = serve("family", how, "1")
    service.process.wait(60)
    service.process.poll = lambda: None  # type: ignore[method-assign] - it has left its parent
    log = service.log

    def told() -> list[dict[str, Any]]:
        lines = log.read_text().splitlines()
        return [json.loads(one) for one in lines if one.startswith('{"pid"')]

    (own,) = service.until(told)
    pid = own["pid"]
    try:
        service.until(lambda: service.ask("GET", "/v1/status")["pid"] == pid)
        done = service.until(lambda: service.ask("PUT", CHARGE, FAULT))
        assert done["acknowledged"] == done["workers"] == 1
        os.kill(pid, signal.SIGUSR1)
        service.until(lambda: len(told()) == 2)
        assert told()[-1]["said"] == "timed out"
        text = log.read_text()
        assert "Traceback" not in text, text
    finally:
        os.kill(pid, signal.SIGTERM)


def test_forks_while_plans_are_put_neither_deadlock_nor_lose_a_request(serve: Serve) -> None:
    family = Family(serve, "fork", 0)

    def put(fault: dict[str, Any]) -> dict[str, Any] | None:
        """Put a plan; None if no process has the port, which the parent leaves to its children."""
        try:
            return family.service.ask("PUT", CHARGE, fault)
        except httpx.ConnectError:
            return None
        except httpx.TransportError as error:
            pytest.fail(f"a request was lost: {error!r}")

    for nth in range(12):
        family.tell(signal.SIGUSR2, family.parent)
        done = family.service.until(lambda nth=nth: put({**FAULT, "seed": nth}))
        assert "missing" not in done, done
    family.service.until(lambda: len(family.told()) == 13)
    done = family.service.until(lambda: put({"latency": 0}))
    assert done["acknowledged"] == done["workers"] == 13
    assert family.say(*family.told()) == {"paid"}
