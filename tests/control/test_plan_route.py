"""The plan over HTTP: read whole, written whole, and never over what somebody else wrote."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from nodes import FAULT, Node, Nodes, finished, request

from chaospoint.arming import arm

CHARGE = "/v1/points/payment.charge"
PLAN = "/v1/plan"
RULES = [
    {"point": "payment.charge", "latency": "200ms", "exception": "TimeoutError", "times": 3},
    {"point": "payment.*", "rule": "30%latency(1s)->raise(OSError)"},
    {"point": "db.query", "faults": [{"kind": "pause"}], "expires_after": "1m"},
    {"point": "db.query", "returns": {"rows": [1, None]}, "where": {"tenant": ["a", "b"]}},
]


@pytest.fixture
def node(nodes: Nodes) -> Node:
    made = nodes()
    made.place("payment.charge")
    made.place("db.query")
    return made


def tag(node: Node) -> str:
    return node.ask("GET", PLAN).headers["etag"]


def test_the_plan_of_a_store_that_was_never_written_is_empty(node: Node) -> None:
    answer = node.ask("GET", PLAN)
    assert json.loads(answer.body) == {"rules": []}
    assert answer.headers["etag"] == '"0"'


def test_a_plan_is_put_in_its_order_in_place_of_all(node: Node) -> None:
    node.done("PUT", "/v1/points/payment.*", FAULT)
    answer = node.ask("PUT", PLAN, {"rules": RULES})
    assert answer.status == 200
    assert answer.headers["etag"] == f'"{json.loads(answer.body)["generation"]}"' == tag(node)
    assert node.rules == [
        "payment.charge=3*latency(200ms)+raise(TimeoutError)",
        "payment.*=30%latency(1s)",
        "payment.*=raise(OSError)",
        *node.rules[3:],
    ]
    assert ["pause" in one for one in node.rules] == [False, False, False, True, False]
    deadlines = [rule["seconds_left"] for rule in node.done("GET", "/v1/status")["rules"]]
    assert [round(one, -1) for one in deadlines] == [600, 600, 600, 60, 600]


def test_what_a_get_gives_may_be_put_and_means_the_same(node: Node) -> None:
    node.done("PUT", PLAN, {"rules": RULES})
    was, texts = node.done("GET", PLAN), node.rules
    done = node.done("PUT", PLAN, was, if_match=tag(node))
    assert done["generation"] == 2
    assert node.done("GET", PLAN) == was
    assert node.rules == texts


def test_a_seed_reproduces_the_plan(node: Node, nodes: Nodes) -> None:
    other = nodes()
    other.place("payment.charge")
    other.place("db.query")
    other.follow()

    def seeds(plan: dict[str, Any]) -> list[object]:
        assert node.done("PUT", PLAN, plan)["acknowledged"] == 2
        found = [[rule.seed for rule in one.registry.rules()] for one in (node, other)]
        assert found[0] == found[1] or "seed" not in plan, "in every worker"
        return found[0]

    first = seeds({"seed": 7, "rules": RULES})
    assert first == seeds({"seed": 7, "rules": RULES})
    assert first != seeds({"seed": 8, "rules": RULES})
    assert len(set(first)) == len(first)
    assert seeds({"rules": RULES}) != seeds({"rules": RULES})


def test_an_empty_plan_takes_all_that_was_put_and_nothing_else(node: Node) -> None:
    arm("payment.charge", latency=0, registry=node.registry)
    node.done("PUT", PLAN, {"rules": RULES})
    node.done("PUT", PLAN, {"rules": []})
    assert node.rules == ["payment.charge=latency(0ms)"]
    node.registry.disarm()


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"rules": [*RULES, {"point": "payment.charge"}]}, 422, "invalid-plan"),
        ({"rules": [*RULES, {"point": "payment.charge", "latency": -1}]}, 422, "invalid-plan"),
        ({"rules": RULES, "sed": 7}, 422, "invalid-plan"),
        ({"rules": RULES, "seed": "x"}, 422, "invalid-plan"),
        ({"rules": {}}, 422, "invalid-plan"),
        ({}, 422, "invalid-plan"),
        ([], 422, "not-an-object"),
        (None, 400, "empty-plan"),
        (
            {"rules": [], "placements": {"os:getcwd": "os.getcwd"}},
            422,
            "invalid-plan",
        ),
        ({"rules": [{"point": "p.q", "latency": 1}] * 1001}, 422, "invalid-plan"),
        ({"rules": [{"point": "p.q", "latency": 1, "where": {"a": "b" * 999}}] * 99}, 413, "large"),
        (
            {"rules": [{"point": "payment.charge", "exception": "no_such.Thing"}]},
            422,
            "invalid-plan",
        ),
    ],
)
def test_a_plan_that_means_nothing_is_refused_whole(
    body: Any, status: int, kind: str, node: Node
) -> None:
    node.done("PUT", CHARGE, FAULT)
    was = tag(node)
    for path in (PLAN, f"{PLAN}?dry_run=true"):
        answer = node.ask("PUT", path, body)
        assert answer.status == status, answer.body
        assert json.loads(answer.body)["type"].endswith(kind)
    assert node.rules == ["payment.charge=raise(KeyError)"]
    assert tag(node) == was


# ETag and If-Match


def test_a_stale_tag_changes_nothing_and_tells_the_new_one(node: Node) -> None:
    node.done("PUT", CHARGE, FAULT)
    for asked in (
        ("PUT", PLAN, {"rules": []}),
        ("PUT", CHARGE, {"latency": 1}),
        ("DELETE", CHARGE),
        ("DELETE", "/v1/points"),
    ):
        answer = node.ask(*asked, if_match='"0"')
        assert answer.status == 412, asked
        assert answer.headers["etag"] == '"1"'
        told = json.loads(answer.body)
        assert told["type"] == "urn:chaospoint:problem:stale"
        assert told["generation"] == 1
    assert (node.rules, tag(node)) == (["payment.charge=raise(KeyError)"], '"1"')


def test_the_tag_that_is_current_and_a_star_let_a_write_through(node: Node) -> None:
    assert node.done("PUT", PLAN, {"rules": RULES}, if_match='"0"')["generation"] == 1
    assert node.done("PUT", PLAN, {"rules": RULES}, if_match="*")["generation"] == 2
    assert node.done("PUT", PLAN, {"rules": RULES})["generation"] == 3
    assert node.done("DELETE", CHARGE, if_match='"3"')["generation"] == 4
    assert node.done("PUT", CHARGE, FAULT, if_match='"4"')["generation"] == 5


@pytest.mark.parametrize(
    "value",
    [
        'W/"1"',
        '"1", "2"',
        "1",
        '"',
        '""',
        '"x"',
        '"-1"',
        '"1',
        '1"',
        '"٣"',
        '"1e3"',
        f'"{"9" * 30}"',
        "",
    ],
)
def test_what_is_no_tag_of_a_plan_is_refused(value: str, node: Node) -> None:
    node.done("PUT", CHARGE, FAULT)
    told = node.refused(400, "bad-if-match", "PUT", PLAN, {"rules": []}, if_match=value)
    assert told["value"] == value
    assert "GET /v1/plan" in told["cure"]
    assert tag(node) == '"1"'


def test_of_two_who_write_on_the_same_tag_one_loses(nodes: Nodes) -> None:
    """The tag is compared where the store is locked, and not before."""
    first, second = nodes(), nodes()
    for one in (first, second):
        one.place("payment.charge")
        one.follow()
    losing = second.service.steps(request("PUT", PLAN, {"rules": []}, {"if-match": '"0"'}))
    update = second.store.update

    def late(*args: Any, **kwargs: Any) -> Any:
        second.store.update = update  # type: ignore[method-assign]
        made = finished(
            first.service.steps(request("PUT", CHARGE, FAULT, {"if-match": '"0"'})),
            lambda _: second.follow(),
        )
        assert made.status == 200
        return update(*args, **kwargs)

    second.store.update = late  # type: ignore[method-assign]
    answer = finished(losing)
    assert answer.status == 412
    assert first.store.read().generation == 1


def test_a_dry_run_is_refused_on_a_stale_tag_as_the_real_one_is(node: Node) -> None:
    node.done("PUT", CHARGE, FAULT)
    asked = ("PUT", f"{PLAN}?dry_run=true", {"rules": []})
    node.refused(412, "stale", *asked, if_match='"0"')
    assert node.done(*asked, if_match='"1"')["generation"] == 1


def test_what_did_not_change_is_not_sent_again(node: Node) -> None:
    node.done("PUT", CHARGE, FAULT)
    for method in ("GET", "HEAD"):
        answer = node.ask(method, PLAN, if_none_match='"1"')
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", '"1"')
    assert node.ask("GET", PLAN, if_none_match='"0"').status == 200
    node.done("DELETE", CHARGE)
    assert node.ask("GET", PLAN, if_none_match='"1"').status == 200


def test_an_expired_rule_is_no_part_of_the_plan(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.done("PUT", CHARGE, {**FAULT, "expires_after": 30})
    node.done("PUT", "/v1/points/payment.*", {"latency": 0})
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + 31.0)
    [rule] = node.done("GET", PLAN)["rules"]
    assert rule["point"] == "payment.*"
