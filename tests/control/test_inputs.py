"""What stands behind the question mark is known, and given once, or refused."""

from __future__ import annotations

import json

import pytest
from nodes import Node, Nodes, request

from chaospoint.control.inputs import flag, number, parameters
from chaospoint.control.problem import Problem

KNOWN = frozenset({"point", "limit", "dry_run"})


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {}),
        ("point=payment.*&limit=5", {"point": "payment.*", "limit": "5"}),
        ("point=payment.%2A", {"point": "payment.*"}),
        ("point=", {"point": ""}),
        ("point=a+b", {"point": "a b"}),
        ("point=%E2%82%AC", {"point": "\u20ac"}),
        ("point=a=b", {"point": "a=b"}),
    ],
)
def test_parameters_are_read_as_forms_are(query: str, found: dict[str, str]) -> None:
    assert parameters(request("GET", f"/x?{query}"), KNOWN) == found


@pytest.mark.parametrize(
    ("query", "kind", "field"),
    [
        ("pont=a", "unknown-parameter", "pont"),
        ("Point=a", "unknown-parameter", "Point"),
        ("point=a&point=a", "bad-query", "point"),
        ("point=a&point=b", "bad-query", "point"),
        ("point", "bad-query", None),
        ("&", "bad-query", None),
        ("point=a&&limit=1", "bad-query", None),
        ("&".join(f"p{n}=1" for n in range(21)), "bad-query", None),
    ],
)
def test_what_is_unknown_twice_or_malformed_is_refused(
    query: str, kind: str, field: str | None
) -> None:
    with pytest.raises(Problem) as refused:
        parameters(request("GET", f"/x?{query}"), KNOWN)
    assert (refused.value.status, refused.value.kind) == (400, kind)
    assert refused.value.members.get("field") == field


def test_a_refusal_names_what_there_is() -> None:
    with pytest.raises(Problem) as refused:
        parameters(request("GET", "/x?limits=1"), KNOWN)
    assert refused.value.members["cure"] == "there are: dry_run, limit, point"
    with pytest.raises(Problem) as refused:
        parameters(request("GET", "/x?limits=1"), frozenset())
    assert refused.value.members["cure"] == "leave it out"


@pytest.mark.parametrize("word", ["True", "1", "yes", "", " true", "false "])
def test_a_flag_is_true_or_false(word: str) -> None:
    assert flag({"dry_run": "true"}, "dry_run") is True
    assert flag({"dry_run": "false"}, "dry_run") is flag({}, "dry_run") is False
    with pytest.raises(Problem) as refused:
        flag({"dry_run": word}, "dry_run")
    assert refused.value.members["value"] == word


@pytest.mark.parametrize(
    "word", ["0", "-1", "1001", "1e2", "", " 5", "5.0", "\u0663", "0x5", "1_0", "9" * 5000]
)
def test_a_number_is_whole_and_within_bounds(word: str) -> None:
    assert number({}, "limit", 100, 1000) == 100
    assert number({"limit": "1"}, "limit", 100, 1000) == 1
    assert number({"limit": "1000"}, "limit", 100, 1000) == 1000
    with pytest.raises(Problem) as refused:
        number({"limit": word}, "limit", 100, 1000)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/status"),
        ("GET", "/v1/workers"),
        ("GET", "/v1/plan"),
        ("GET", "/v1/points"),
        ("GET", "/v1/points/payment.charge"),
        ("GET", "/v1/injections"),
        ("GET", "/metrics"),
        ("PUT", "/v1/plan"),
        ("PUT", "/v1/points/payment.charge"),
        ("DELETE", "/v1/points/payment.charge"),
        ("DELETE", "/v1/points"),
        ("POST", "/v1/points/payment.charge/release"),
        ("POST", "/v1/enable"),
    ],
)
def test_no_route_takes_a_parameter_that_it_does_not_know(
    method: str, path: str, nodes: Nodes
) -> None:
    node: Node = nodes()
    node.place("payment.charge")
    body = {"rules": []} if method == "PUT" else None
    told = node.refused(400, "unknown-parameter", method, f"{path}?dryrun=true", body)
    assert told["field"] == "dryrun"
    assert node.store.read().generation == 0
    assert node.registry.enabled
    if method != "PUT":
        answer = node.ask(method, f"{path}?dry_run=true", body)
        assert answer.status == 400, json.loads(answer.body)
