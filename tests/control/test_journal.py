"""The latest injections of this process: bounded, the newest first, and not a child's parent's."""

from __future__ import annotations

import os

import pytest
from helpers import Threads
from nodes import FAULT, Node, Nodes

from chaospoint import Injection, Registry
from chaospoint.observers.journal import LONGEST, Journal, journal_of

CHARGE = "/v1/points/payment.charge"


@pytest.fixture
def node(nodes: Nodes) -> Node:
    return nodes()


def injection(ordinal: int, point: str = "payment.charge") -> Injection:
    return Injection(point, "latency", "a rule", ordinal, "http", 0.1, None)


def hit(node: Node, name: str, times: int) -> None:
    call = node.place(name)
    for _ in range(times):
        with pytest.raises(KeyError):
            call()


def test_injections_are_told_newest_first_with_all_that_they_are(node: Node) -> None:
    node.place("payment.charge")
    node.done("PUT", CHARGE, FAULT)
    hit(node, "payment.charge", 3)
    told = node.done("GET", "/v1/injections")
    assert (told["pid"], told["counts"]) == (os.getpid(), "of this process alone")
    assert [one["ordinal"] for one in told["injections"]] == [3, 2, 1]
    newest = told["injections"][0]
    assert newest.pop("at") >= told["injections"][1]["at"]
    assert newest == {
        "point": "payment.charge",
        "fault": "exception",
        "rule": "payment.charge=raise(KeyError)",
        "ordinal": 3,
        "source": node.reconciler.source,
        "latency": None,
        "exception": "KeyError",
    }


def test_they_are_chosen_by_name_or_glob_and_by_number(node: Node) -> None:
    for name in ("payment.charge", "payment.refund", "db.query"):
        node.place(name)
    node.done("PUT", "/v1/points/*", FAULT)
    for name in ("payment.charge", "payment.refund", "db.query"):
        hit(node, name, 2)

    def points(query: str) -> list[str]:
        return [one["point"] for one in node.done("GET", f"/v1/injections{query}")["injections"]]

    assert points("?point=payment.refund") == ["payment.refund"] * 2
    assert points("?point=payment.*") == ["payment.refund"] * 2 + ["payment.charge"] * 2
    assert points("?point=payment.%2A&limit=3") == ["payment.refund"] * 2 + ["payment.charge"]
    assert points("?limit=1") == ["db.query"]
    assert points("?point=no.such") == []
    assert len(points("")) == 6


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "points=a", "limit=1&limit=2"]
)
def test_what_means_nothing_is_refused(query: str, node: Node) -> None:
    assert node.ask("GET", f"/v1/injections?{query}").status == 400


def test_so_many_are_remembered_and_no_more(node: Node) -> None:
    journal = journal_of(node.registry)
    for nth in range(LONGEST + 50):
        journal.observe(injection(nth))
    told = node.done("GET", f"/v1/injections?limit={LONGEST}")["injections"]
    assert [one["ordinal"] for one in told] == list(range(LONGEST + 49, 49, -1))
    assert len(node.done("GET", "/v1/injections")["injections"]) == 100


def test_the_time_is_that_of_the_injection() -> None:
    times = iter((5.0, 6.5))
    journal = Journal(now=lambda: next(times))
    journal.observe(injection(1))
    journal.observe(injection(2))
    assert [at for at, _ in journal.latest()] == [6.5, 5.0]


def test_threads_may_inject_while_one_looks(pool: Threads, restless: None) -> None:
    journal = Journal()

    def observe(first: int) -> None:
        for nth in range(2000):
            journal.observe(injection(first + nth))

    def look(_: object) -> None:
        for _ in range(200):
            list(journal.latest())

    pool.map(lambda work: work[0](work[1]), [(observe, 0), (look, 0), (observe, 1), (look, 0)])
    assert len(list(journal.latest())) == LONGEST


def test_a_registry_has_one_journal_which_remembers_from_then_on(pool: Threads) -> None:
    registry = Registry()
    found = pool.map(lambda _: journal_of(registry), range(16))
    assert len({id(one) for one in found}) == 1
    assert registry.observers.count(found[0]) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_had_none(node: Node) -> None:
    node.place("payment.charge")
    node.done("PUT", CHARGE, FAULT)
    hit(node, "payment.charge", 2)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        count = len(list(journal_of(node.registry).latest()))
        os.write(writing, bytes([count]))
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 1) == b"\0"
    os.close(reading)
    os.close(writing)
    assert len(node.done("GET", "/v1/injections")["injections"]) == 2
