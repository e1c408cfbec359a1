"""What can never match at a placement is not told as reached there, and is said when arming."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from nodes import Node, Nodes

from chaospoint._registry.registry import Registry
from chaospoint.arming import arm
from chaospoint.errors import ChaosWarning

RULE = {"exception": "TimeoutError", "where": {"to": "db"}}


@pytest.fixture
def node(nodes: Nodes) -> Node:
    """A worker with a call to a database and one to a cache, told apart by a label."""
    made: Node = nodes()
    labelled(made.registry, "call.db", to="db")
    labelled(made.registry, "call.cache", to="cache")
    labelled(made.registry, "call.both", to="db")
    labelled(made.registry, "call.both", to="cache")
    made.place("call.plain")
    made.registry.point("call.block")
    return made


KEPT: list[Callable[..., Any]] = []


def labelled(registry: Registry, name: str, **labels: object) -> Callable[..., str]:
    def function(size: int = 0) -> str:
        return "done"

    function.__qualname__ = f"{labels.get('to', 'plain')}"
    KEPT.append(registry.point(name, labels=labels)(function))
    return KEPT[-1]


def test_a_dry_run_lists_the_points_and_placements_that_can_match(node: Node) -> None:
    told = node.done("PUT", "/v1/points/*?dry_run=true", RULE)
    (rule,) = told["rules"]
    found = {
        one["name"]: [place.split()[0] for place in one["placements"]] for one in rule["points"]
    }
    assert found.keys() == {"call.db", "call.both", "call.block"}
    assert len(found["call.both"]) == 1
    assert found["call.both"][0].endswith(":db")


def test_a_put_and_the_list_of_points_tell_where_it_can_match(node: Node) -> None:
    told = node.done("PUT", "/v1/points/call.*", RULE)
    assert told["points"] == ["call.block", "call.both", "call.db"]
    armed = {one["name"]: one["armed"] for one in node.done("GET", "/v1/points")["points"]}
    assert armed == {
        "call.block": True,
        "call.both": True,
        "call.cache": False,
        "call.db": True,
        "call.plain": False,
    }
    (at_cache,) = node.done("GET", "/v1/points/call.cache")["rules"]
    assert at_cache["why"] == ("the label 'to' never has the value that `where` requires")
    (at_db,) = node.done("GET", "/v1/points/call.db")["rules"]
    assert (at_db["state"], at_db["why"]) == ("armed", "")


@pytest.mark.parametrize("wanted", ["nosuch", ["no", "such"], "no*", 7])
def test_a_value_that_a_label_never_has_is_said_when_arming(node: Node, wanted: object) -> None:
    rule = {"exception": "TimeoutError", "where": {"to": wanted}}
    told = node.done("PUT", "/v1/points/call.db", rule)
    (remark,) = told["remarks"]
    assert "the label 'to' never has the value" in remark
    assert "the label 'to' never has" in told["rules"][0]["why"]


@pytest.mark.parametrize("wanted", ["db", ["x", "db"], "d*"])
def test_a_value_that_a_label_has_somewhere_is_not_remarked_on(node: Node, wanted: object) -> None:
    rule = {"exception": "TimeoutError", "where": {"to": wanted}}
    for name in ("call.db", "call.both"):
        assert node.done("PUT", f"/v1/points/{name}", rule)["remarks"] == []


def test_code_that_arms_is_warned(registry: Registry) -> None:
    labelled(registry, "call.db", to="db")
    with pytest.warns(ChaosWarning, match="never has the value") as warned:
        arm("call.db", exception=TimeoutError, where={"to": "s3cret"}, registry=registry)
    assert len(warned) == 1
    assert "s3cret" not in str(warned[0].message)


def test_an_argument_may_have_any_value(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    call = labelled(registry, "call.db", to="db")
    arm("call.db", exception=TimeoutError, where={"to": "db", "size": 7}, registry=registry)
    assert call(6) == "done"
    with pytest.raises(TimeoutError):
        call(7)
