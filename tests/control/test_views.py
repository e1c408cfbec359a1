"""What is answered to those who only look; it is told, and nothing is changed by telling."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from nodes import FAULT, Node, Nodes

from chaospoint._version import __version__
from chaospoint.arming import arm, disable, enable
from chaospoint.errors import NotPermitted, StoreError
from chaospoint.sources.settings import Settings
from chaospoint.stores.store import Worker

CHARGE = "/v1/points/payment.charge"


@pytest.fixture
def node(nodes: Nodes) -> Node:
    made = nodes()
    made.place("payment.charge")
    made.registry.point("db.query", description="every query")
    made.follow()
    return made


def test_the_status_tells_who_answers_and_what_is_in_force(node: Node) -> None:
    told = node.done("GET", "/v1/status")
    assert told["version"] == __version__
    assert (told["pid"], told["worker"]) == (os.getpid(), node.reconciler.id)
    assert told["store"] == node.store.url
    assert (told["generation"], told["by"], told["changed_at"]) == (0, "", None)
    assert (told["enabled"], told["allowed"], told["may_arm"]) == (True, True, True)
    assert (told["points"], told["rules"]) == (2, [])
    assert told["counts"] == "of this process alone"

    node.done("PUT", CHARGE, FAULT)
    told = node.done("GET", "/v1/status")
    assert (told["generation"], told["by"]) == (1, "http 127.0.0.1")
    age = datetime.now(UTC) - datetime.fromisoformat(told["changed_at"])
    assert 0 <= age.total_seconds() < 60
    [rule] = told["rules"]
    assert (rule["source"], rule["by"]) == (node.reconciler.source, "http 127.0.0.1")


def test_the_status_tells_why_nothing_may_arm(nodes: Nodes) -> None:
    node = nodes(Settings(enabled=True, environment="production"))
    told = node.done("GET", "/v1/status")
    assert (told["enabled"], told["allowed"], told["may_arm"]) == (True, False, False)
    assert "production" in told["why"]
    other = nodes()
    other.done("POST", "/v1/disable")
    told = other.done("GET", "/v1/status")
    assert (told["enabled"], told["allowed"], told["may_arm"]) == (False, True, False)
    assert "POST /v1/enable" in told["why"]


def test_the_workers_tell_of_each_process_and_who_answers(nodes: Nodes) -> None:
    first, second = nodes(), nodes()
    second.follow()
    first.done("POST", "/v1/enable")
    told = first.done("GET", "/v1/workers")
    assert (told["generation"], told["store"]) == (1, first.store.url)
    by_id = {one["id"]: one for one in told["workers"]}
    assert set(by_id) == {first.reconciler.id, second.reconciler.id}
    assert {one["answering"] for one in told["workers"]} == {True, False}
    own = by_id[first.reconciler.id]
    assert own["answering"]
    assert own["pid"] == os.getpid()
    assert (own["generation"], own["enabled"], own["refusal"]) == (1, True, "")
    assert own["version"] == __version__
    datetime.fromisoformat(own["started_at"])
    assert own["seconds_silent"] < 60
    assert "points" not in own


def test_who_asks_for_the_workers_finds_the_one_that_answers(nodes: Nodes) -> None:
    fresh = nodes()
    [own] = fresh.done("GET", "/v1/workers")["workers"]
    assert own["answering"]


def test_the_points_tell_what_they_are(node: Node) -> None:
    node.done("PUT", CHARGE, {**FAULT, "times": 1})
    charge, query = (
        next(one for one in node.done("GET", "/v1/points")["points"] if one["name"] == name)
        for name in ("payment.charge", "db.query")
    )
    assert charge["armed"]
    assert not query["armed"]
    assert (query["description"], query["placements"]) == ("every query", [])
    assert len(charge["placements"]) == 1
    with pytest.raises(KeyError):
        node._placed[0]()
    assert not node.done("GET", CHARGE)["armed"], "what is spent can act no more"


def test_a_point_that_nobody_has_is_a_404_with_the_nearest_names_of_all_workers(
    nodes: Nodes, node: Node
) -> None:
    other = nodes()
    other.place("payment.refund")
    other.follow()
    told = node.refused(404, "unknown-point", "GET", "/v1/points/payment.refnd")
    assert told["nearest"][0] == "payment.refund"
    for asked in (
        ("GET", "/v1/points/no.such"),
        ("PUT", "/v1/points/no.such", FAULT),
        ("DELETE", "/v1/points/no.such"),
        ("POST", "/v1/points/no.such/release"),
        ("GET", "/v1/points/no.*"),
        ("PUT", "/v1/points/no.*", FAULT),
    ):
        node.refused(404, "unknown-point", *asked)
    assert node.store.read().generation == 0


def test_what_only_others_have_is_shown_as_a_name_without_points(nodes: Nodes, node: Node) -> None:
    other = nodes()
    other.place("payment.refund")
    other.follow()
    for name in ("payment.refund", "payment.r*"):
        told = node.done("GET", f"/v1/points/{name}")
        assert (told["name"], told["points"], told["rules"]) == (name, [], [])
    node.done("PUT", "/v1/points/payment.refund", FAULT)
    [rule] = node.done("GET", "/v1/points/payment.refund")["rules"]
    assert rule["point"] == "payment.refund"


def test_a_point_shows_the_rules_of_every_source_in_their_order(node: Node) -> None:
    node.done("PUT", "/v1/points/payment.*", {"latency": 0})
    node.done("PUT", CHARGE, FAULT)
    arm("payment.charge", latency=1, registry=node.registry)
    told = node.done("GET", CHARGE)["rules"]
    assert [one["source"] for one in told] == ["code", *[node.reconciler.source] * 2]
    assert [one["point"] for one in told] == ["payment.charge", "payment.charge", "payment.*"]


@pytest.mark.parametrize("glob", ["payment.*", "pay*", "*.charge"])
def test_a_glob_shows_the_rules_that_stand_at_what_it_matches(node: Node, glob: str) -> None:
    """Those put on a name or a glob in it, and those on another glob that cover one of its
    points."""
    node.done("PUT", "/v1/points/payment.*", {"latency": 0})
    node.done("PUT", CHARGE, FAULT)
    arm("*y*", latency=1, registry=node.registry)
    arm("db.*", latency=1, registry=node.registry)
    told = node.done("GET", f"/v1/points/{glob}")
    assert told["points"] == ["payment.charge"]
    assert [one["point"] for one in told["rules"]] == ["*y*", "payment.charge", "payment.*"]


def _read_fails(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> Any:
        raise StoreError("/store: Input/output error: user 0 has to be able to read and write it")

    for name in ("read", "workers", "report"):
        monkeypatch.setattr(node.store, name, fails)


def test_who_only_looks_is_answered_with_the_store_broken_where_that_can_be(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.done("PUT", CHARGE, FAULT)
    _read_fails(node, monkeypatch)
    for path in ("/v1/status", "/v1/points", CHARGE, "/v1/injections", "/metrics"):
        assert node.ask("GET", path).status == 200, path
    for path in ("/v1/workers", "/v1/plan", "/v1/points/no.such"):
        told = node.refused(503, "store-unusable", "GET", path)
        assert "Input/output error" in told["detail"]


def test_looking_writes_nothing(node: Node) -> None:
    node.done("PUT", CHARGE, FAULT)
    before = node.store.read(), node.rules
    for path in ("/v1/status", "/v1/workers", "/v1/plan", "/v1/points", CHARGE, "/v1/injections"):
        for method in ("GET", "HEAD"):
            answer = node.ask(method, path)
            assert answer.status == 200
            assert (answer.body == b"") == (method == "HEAD")
            assert int(answer.headers["content-length"]) > 0
    assert (node.store.read(), node.rules) == before


def test_names_that_workers_tell_are_data(node: Node) -> None:
    """A worker of another version may tell anything; nobody falls over it."""
    node.store.report(Worker("odd", 1, points=("a.b", "\x1b[31m", ""), admin="http://[bad"))
    assert node.done("GET", "/v1/workers")["workers"]
    answer = node.ask("GET", "/v1/points/no.such")
    assert answer.status == 404
    assert json.loads(answer.body)["nearest"] is not None


GARBAGE = ["$", "a b", "~ ~ ~", "0.1", "0.zz", " "]
OF_NAMES, OF_RULES = "payment.charge", f"0.{'8' * 16}.{'8' * 16}.{'8' * 16}"


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("/v1/status", [OF_NAMES, f"~ {OF_RULES}"], [OF_RULES, ""]),
        ("/v1/points", [f"~ {OF_RULES}"], [OF_NAMES, "gone.since", ""]),
        (CHARGE, [OF_NAMES, OF_RULES], [f"~ {OF_RULES}", ""]),
        ("/v1/points/payment.*", [OF_NAMES, OF_RULES], [f"{OF_NAMES} ~", f"~ {OF_RULES}", ""]),
    ],
)
def test_a_mark_of_no_page_of_the_list_is_refused_with_the_cure(
    node: Node, path: str, wrong: list[str], right: list[str]
) -> None:
    """An empty page would say that there is nothing more."""
    for mark in [*GARBAGE[: 3 if path == "/v1/points" else None], *wrong]:
        told = node.refused(400, "bad-query", "GET", f"{path}?{urlencode({'after': mark})}")
        assert (told["field"], told["value"]) == ("after", repr(mark))
        assert "leave `after` out" in told["cure"]
    for mark in right:
        node.done("GET", f"{path}?{urlencode({'after': mark})}")


def test_a_point_that_only_code_may_arm_says_so(nodes: Nodes) -> None:
    node = nodes(Settings(enabled=True, forbidden_points="auth.*"))
    node.place("auth.login")
    node.place("payment.charge")
    told = {one["name"]: one["forbidden"] for one in node.done("GET", "/v1/points")["points"]}
    assert told == {"auth.login": True, "payment.charge": False}
    assert node.done("GET", "/v1/points/auth.login")["forbidden"]


def test_a_change_says_where_it_reaches_one_process_alone(nodes: Nodes) -> None:
    node = nodes()
    for path in ("disable", "enable"):
        told = node.done("POST", f"/v1/{path}")
        assert ("reached" in told) == (not node.store.shared)
        assert "CHAOSPOINT_STORE" in told.get("reached", "CHAOSPOINT_STORE")


def test_a_worker_that_its_code_enabled_says_that_the_others_are_not(nodes: Nodes) -> None:
    node = nodes()
    node.done("POST", "/v1/disable?reason=checkout")
    node.registry.enable()
    told = node.done("GET", "/v1/status")
    assert (told["enabled"], told["may_arm"]) == (True, False)
    assert "stays disabled by http 127.0.0.1: checkout" in told["why"]
    node.done("POST", "/v1/enable")
    node.registry.disable(by="the program")
    told = node.done("GET", "/v1/status")
    assert told["why"].startswith("the master switch is off (the program)")


def test_code_does_not_enable_what_a_store_has_disabled(nodes: Nodes) -> None:
    """One process must not leave the state that an operator has put all of them in."""
    node, other = nodes(), nodes()
    other.follow()
    node.done("POST", "/v1/disable?reason=checkout")
    other.follow()
    with pytest.raises(NotPermitted, match=r"disabled \(by http .*: checkout\)\. To allow"):
        arm("payment.charge", latency=1, registry=other.registry)
    if node.store.shared:
        with pytest.raises(NotPermitted, match=r"by http .*: checkout, .*chaospoint enable"):
            enable(registry=other.registry)
        assert not other.registry.enabled
        node.done("POST", "/v1/enable")
        other.follow()
        disable(registry=other.registry)
    enable(registry=other.registry)
    assert other.registry.enabled
