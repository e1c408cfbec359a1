"""A dry run tells what a plan would do, and does nothing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from nodes import FAULT, Node, Nodes

from chaospoint import Registry
from chaospoint.sources.settings import Settings
from chaospoint.stores.desired import Desired

CHARGE = "/v1/points/payment.charge?dry_run=true"
PLAN = "/v1/plan?dry_run=true"


@pytest.fixture
def node(nodes: Nodes) -> Node:
    made = nodes()
    made.place("payment.charge")
    made.place("payment.refund")
    made.registry.point("db.query")
    made.follow()
    return made


def test_it_tells_the_faults_the_points_and_the_placements(node: Node) -> None:
    told = node.done("PUT", CHARGE, {"latency": "200ms", "exception": "KeyError", "when": "after"})
    assert (told["dry_run"], told["generation"], told["replaces"]) == (True, 0, [])
    [rule] = told["rules"]
    assert rule["does"] == ["latency(200ms)", "raise(KeyError)"]
    assert (rule["when"], rule["expires_after"]) == ("after", 600.0)
    [point] = rule["points"]
    assert point["name"] == "payment.charge"
    assert len(point["placements"]) == 1
    assert point["placements"][0].endswith("function (function)")
    assert point["left_out"] == []


def test_a_glob_tells_every_point_that_it_reaches_in_order(node: Node) -> None:
    told = node.done("PUT", "/v1/points/payment.*?dry_run=true", {"latency": 1})
    [rule] = told["rules"]
    assert [point["name"] for point in rule["points"]] == ["payment.charge", "payment.refund"]


def test_what_no_one_may_touch_is_no_point_of_it(nodes: Nodes) -> None:
    node = nodes(Settings(enabled=True, forbidden_points=("payment.refund",)))
    node.place("payment.charge")
    node.place("payment.refund")
    [rule] = node.done("PUT", "/v1/points/payment.*?dry_run=true", {"latency": 1})["rules"]
    assert [point["name"] for point in rule["points"]] == ["payment.charge"]


def test_what_a_placement_cannot_express_is_told_where_it_is(node: Node) -> None:
    def stream() -> Iterator[int]:
        yield 1

    node.registry.point("payment.charge")(stream)
    body = {"rules": [{"point": "payment.*", "latency": 0, "returns": [1], "when": "after"}]}
    told = node.done("PUT", PLAN, body)
    left = {point["name"]: point["left_out"] for point in told["rules"][0]["points"]}
    assert left == {"payment.charge": ["return"], "payment.refund": []}
    assert told["remarks"], "and said"


def test_what_would_be_replaced_is_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.done("PUT", "/v1/points/payment.charge", {**FAULT, "expires_after": 30})
    node.done("PUT", "/v1/points/payment.*", {"latency": 0})
    put = "payment.charge=raise(KeyError) [expires_after=30s]"
    assert node.done("PUT", CHARGE, FAULT)["replaces"] == [put]
    both = node.done("PUT", PLAN, {"rules": []})["replaces"]
    assert both == ["payment.*=latency(0ms)", put]
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + 31.0)
    assert node.done("PUT", CHARGE, FAULT)["replaces"] == [], "what has expired is gone already"


def test_what_is_odd_about_it_is_remarked(node: Node) -> None:
    told = node.done("PUT", PLAN, {"rules": [{"point": "payment.chrage", "latency": 0}]})
    assert any("payment.charge" in words for words in told["remarks"]), told["remarks"]
    rules = [
        {"point": "payment.charge", **FAULT, "expires_after": "2m"},
        {"point": "payment.charge", "latency": 1, "expires_after": "1m"},
    ]
    assert node.done("PUT", PLAN, {"rules": rules})["remarks"]
    assert node.done("PUT", CHARGE, {"latency": 0})["remarks"] == []


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        (CHARGE, {"latency": -1}, 422, "invalid-plan"),
        (CHARGE, {}, 422, "empty-rule"),
        ("/v1/points/payment.chrage?dry_run=true", FAULT, 404, "unknown-point"),
        (CHARGE, {"latency": 10}, 422, "limit-exceeded"),
        (PLAN, {"rules": [{"point": "payment.charge", "hang": True}]}, 422, "limit-exceeded"),
        ("/v1/points/payment.charge?dry_run=1", FAULT, 400, "bad-query"),
        ("/v1/points/payment.charge?dry_run", FAULT, 400, "bad-query"),
        ("/v1/points/payment.charge?dryrun=true", FAULT, 400, "unknown-parameter"),
        ("/v1/points/payment.charge?dry_run=true&dry_run=true", FAULT, 400, "bad-query"),
    ],
)
def test_it_refuses_what_the_real_one_would(
    path: str, body: Any, status: int, kind: str, nodes: Nodes
) -> None:
    limited = Settings(enabled=True, max_latency="1s", max_hang="1s")  # type: ignore[arg-type]
    node = nodes(limited)
    node.place("payment.charge")
    node.refused(status, kind, "PUT", path, body)


def test_it_is_refused_while_disabled_as_the_real_one_is(node: Node) -> None:
    node.done("POST", "/v1/disable")
    node.refused(409, "not-permitted", "PUT", CHARGE, FAULT)
    node.refused(409, "not-permitted", "PUT", PLAN, {"rules": []})


def test_it_changes_nothing_at_all(
    node: Node,
    nodes: Nodes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither rules nor tallies nor files; there is a line in the audit log, and no other."""
    caplog.set_level(logging.DEBUG)
    node.done("PUT", "/v1/points/payment.charge", FAULT)
    (rule,) = node.registry.rules()
    before = node.store.read(), node.registry.points(), rule.deadline, rule.reaches
    files = sorted((one, one.stat().st_mtime_ns) for one in nodes.path.glob("*"))
    caplog.clear()

    def touched(*args: Any, **kwargs: Any) -> Any:
        pytest.fail("a dry run touched something")

    for owner, name in ((node.store, "update"), (Registry, "replace"), (Registry, "disarm")):
        monkeypatch.setattr(owner, name, touched)
    node.done("PUT", CHARGE, {"latency": 1})
    node.done("PUT", PLAN, {"rules": [{"point": "db.query", "latency": 1}] * 3})
    monkeypatch.undo()
    assert node.registry.rules() == (rule,)
    assert (node.store.read(), node.registry.points(), rule.deadline, rule.reaches) == before
    assert sorted((one, one.stat().st_mtime_ns) for one in nodes.path.glob("*")) == files
    lines = [one for one in caplog.records if one.name.startswith("chaospoint")]
    assert [one.name for one in lines] == ["chaospoint.audit"] * 2
    assert "dry_run=true" in json.loads(lines[0].getMessage())["what"]
    assert json.loads(lines[0].getMessage())["generation"] is None
    assert node.store.read() != Desired()
