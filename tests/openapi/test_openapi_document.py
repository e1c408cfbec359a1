"""What the API says of itself: valid OpenAPI, of all routes and no others, true of the bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import documented
import pytest
import schemathesis
from helpers import python

from chaospoint import Registry, Rule
from chaospoint._kernel.explanation import RuleState, State
from chaospoint._version import __version__
from chaospoint.control.http import Request
from chaospoint.control.openapi.describe import document
from chaospoint.control.problem import problem_of
from chaospoint.control.service import Service
from chaospoint.errors import ChaosError
from chaospoint.faults import kinds
from chaospoint.plan import parse_plan, parse_rules
from chaospoint.plan.compiling import compile_plan, refuse_placements
from chaospoint.sources.settings import Settings

PACKAGES = Path(__file__).parents[1] / "packages"


@pytest.fixture
def service() -> Service:
    return Service.of(Settings(enabled=True), Registry())


def told(*, control: bool = False, read: bool = False) -> dict[str, Any]:
    return document(control=control, read=read)


def ask(service: Service, **headers: str) -> Any:
    sent = {"host": "localhost", **headers}
    answer = service.answer(Request("GET", "/v1/openapi.json", sent, client="127.0.0.1"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    return json.loads(answer.body)


def test_it_is_valid_openapi_and_of_this_version(service: Service) -> None:
    served = ask(service)
    assert served["openapi"] == "3.1.0"
    assert served["info"]["version"] == __version__
    schemathesis.openapi.from_dict(served).validate()


def test_every_route_is_told_of_and_no_other(service: Service) -> None:
    routes = {
        (path, method.lower()): route.parameters
        for path, methods in service._routes.items()
        for method, route in methods.items()
    }
    operations = {
        (path, method): {
            one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"
        }
        for path, methods in told()["paths"].items()
        for method, operation in methods.items()
    }
    assert operations == routes


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does() -> None:
    operations = [one for methods in told()["paths"].values() for one in methods.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for one in operations:
        assert one["summary"].endswith(".")
        assert {"200", "400", "403"} <= one["responses"].keys()
    for schema in told()["components"]["schemas"].values():
        assert "title" not in schema


def test_nothing_in_it_points_nowhere_and_nothing_stands_in_it_in_vain() -> None:
    whole = told()

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"].removeprefix("#/components/")
            part = list(part.values())
        if isinstance(part, list):
            for one in part:
                yield from references(one)

    there = {
        f"{kind}/{name}" for kind in ("schemas", "responses") for name in whole["components"][kind]
    }
    assert set(references(whole)) == there - {"responses/Refused401"}
    assert set(references(told(control=True))) == there


def test_the_states_of_a_rule_are_listed() -> None:
    state = told()["components"]["schemas"]["RuleState"]["properties"]["state"]
    listed = {name for form in state["anyOf"] for name in form["enum"]}
    assert listed == {name for form in get_args(State) for name in get_args(form)}
    assert {"armed", "shadowed", "expired"} <= listed


def test_a_rule_is_told_of_with_all_that_its_state_has() -> None:
    schema = told()["components"]["schemas"]["RuleState"]
    assert set(schema["properties"]) == {one.name for one in fields(RuleState)}
    assert schema["required"] == list(schema["properties"])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("variables", "reads", "writes"),
    [
        ({}, None, None),
        ({"admin_token": "a"}, [{"control": []}], [{"control": []}]),
        ({"admin_read_token": "b"}, [{"read": []}], [{"read": []}]),
        (
            {"admin_token": "a", "admin_read_token": "b"},
            [{"control": []}, {"read": []}],
            [{"control": []}],
        ),
    ],
    ids=["none", "control", "read", "both"],
)
def test_it_tells_which_tokens_open_what(
    variables: dict[str, str], reads: object, writes: object
) -> None:
    service = Service.of(Settings(enabled=True, **variables), Registry())
    token = next(iter(variables.values()), "")
    served = ask(service, authorization=f"Bearer {token}")
    assert served["paths"]["/v1/status"]["get"].get("security") == reads
    assert served["paths"]["/v1/plan"]["put"].get("security") == writes
    assert ("401" in served["paths"]["/v1/status"]["get"]["responses"]) == bool(variables)
    schemes = served["components"].get("securitySchemes", {})
    assert all(one["scheme"] == "bearer" for one in schemes.values())
    assert {name for one in reads or [] for name in one} == set(schemes)  # type: ignore[attr-defined]
    schemathesis.openapi.from_dict(served).validate()


def test_it_is_made_without_importing_anything() -> None:
    """The server may be asked while the program is in the middle of an import."""
    python(
        """
        import sys
        from chaospoint.control.openapi.describe import document
        before = set(sys.modules)
        document(control=True, read=True)
        assert set(sys.modules) == before, set(sys.modules) - before
        """
    )


# The bodies

POINT = "/components/schemas/PointRule"
PLAN = "/components/schemas/Plan"

TAKEN: list[dict[str, Any]] = [
    {"latency": 0},
    {"latency": " 200 ms\n"},
    {"latency": "1.5s\x1c"},
    {"latency": ".5m"},
    {"latency": "1."},
    {"latency": {"seconds": 1, "jitter": "10ms", "distribution": "normal"}},
    {"latency": {"kind": "latency", "seconds": "1s"}, "times": None},
    {"exception": "TimeoutError"},
    {"exception": "builtins.KeyError"},
    {"exception": "chaospoint.errors.InjectedFault", "when": "after"},
    {"exception": {}},
    {"exception": {"type": "OSError", "args": [5, "no"], "kwargs": {}}},
    {"exception": ["KeyError", {"type": "OSError", "weight": 3}, {"weight": 0}]},
    {"exception": "KeyError", "failure_rate": 0.5, "returns": None},
    {"failure_rate": 1},
    {"failure_rate": 0.5, "faults": [{"kind": "return", "value": 1}]},
    {"returns": None},
    {"returns": [1], "faults": [{"kind": "exception", "rate": 0.5}]},
    {"hang": True},
    {"hang": "1d", "latency": 1, "max_active": 1, "skip": 0, "every": 2**62},
    {"faults": [{"kind": "hang", "seconds": None}], "expires_after": None},
    {"faults": [{"kind": "exception", "exception": "KeyError", "rate": None}]},
    {"faults": [{"kind": "latency", "seconds": 1}, {"kind": "delay", "seconds": 1}]},
    {"faults": [{"kind": "print", "message": "here"}, {"kind": "yield"}, {"kind": "pause"}]},
    {"faults": [{"kind": "off"}], "scope": "process", "where": {"tenant": None}},
    {"latency": 1, "faults": []},
    {"latency": 1, "seed": 2**63 - 1, "probability": 0, "expires_after": "10m"},
    {"rule": "30%latency(200ms)"},
    {"rule": " 2 * raise ( TimeoutError ) -> 5%panic(no) + print"},
    {"rule": "off", "times": 1, "where": {"a": 1}, "seed": 1},
    {"rule": "sleep(100)+pause", "probability": 0.5},
    {"rule": "off [every=3, tenant=(acme, b*)] -> raise[expires_after=5m]", "seed": 1},
]

FORBIDDEN: list[Any] = [
    {},
    [],
    None,
    "latency(1s)",
    {"faults": []},
    {"latency": -1},
    {"latency": True},
    {"latency": None},
    {"latency": "1 week"},
    {"latency": "1e3"},
    {"latency": 10**10},
    {"latency": {"jitter": 1}},
    {"latency": {"seconds": 1, "distribution": "gauss"}},
    {"latency": {"seconds": 1, "kind": "hang"}},
    {"exception": "NoSuchError"},
    {"exception": "KeyboardInterrupt"},
    {"exception": "StopIteration"},
    {"exception": "a..b"},
    {"exception": "<code only>"},
    {"exception": []},
    {"exception": None},
    {"exception": [["KeyError"]]},
    {"exception": {"type": None}},
    {"exception": {"args": {}}},
    {"exception": {"weight": 1}},
    {"exception": [{"weight": 10**7}]},
    {"failure_rate": 1.1},
    {"failure_rate": True},
    {"hang": False},
    {"hang": {"seconds": 1}},
    {"hang": True, "returns": 1},
    {"exception": "KeyError", "returns": 1},
    {"exception": "KeyError", "hang": True},
    {"failure_rate": 0.5, "hang": True},
    {"hang": True, "faults": [{"kind": "return"}]},
    {"exception": "KeyError", "faults": [{"kind": "return"}]},
    {"call": "print"},
    {"faults": [{"kind": "call", "call": 1}]},
    {"faults": [{"kind": "no-such"}]},
    {"faults": [{"seconds": 1}]},
    {"faults": [{"kind": "off", "seconds": 1}]},
    {"faults": {"kind": "off"}},
    {"faults": ["off"]},
    {"latency": 1, "where": {}},
    {"latency": 1, "where": None},
    {"latency": 1, "where": {"": 1}},
    {"latency": 1, "when": "later"},
    {"latency": 1, "scope": "context"},
    {"latency": 1, "times": 0},
    {"latency": 1, "every": 0},
    {"latency": 1, "skip": -1},
    {"latency": 1, "skip": None},
    {"latency": 1, "max_active": 2**62 + 1},
    {"latency": 1, "seed": 2**63},
    {"latency": 1, "expires_after": 0},
    {"latency": 1, "probability": "1"},
    {"latency": 1, "typo": 1},
    {"latency": 1, "point": "A"},
    {"rule": "no-such(1)"},
    {"rule": "1s"},
    {"rule": ""},
    {"rule": None},
    {"rule": "off", "latency": 1},
    {"rule": "off", "faults": []},
    {"rule": "off", "seed": -1},
]

PLANS: list[tuple[Any, bool]] = [
    ({"rules": []}, True),
    ({"rules": [], "seed": None, "placements": {}}, True),
    (
        {
            "rules": [
                "a.b=5%latency(1s); c.*=2*off->raise(OSError)",
                '{"point": "a", "rule": "off"}',
            ]
        },
        True,
    ),
    ({"rules": [{"point": "a", "rule": "off"}, {"point": "*", "latency": 1}]}, True),
    ({}, False),
    ({"seed": 1}, False),
    ({"rules": None}, False),
    ({"rules": {}}, False),
    ({"rules": [], "seed": 1.5}, False),
    ({"rules": [], "placements": {"a:b": "c"}}, False),
    ({"rules": [], "placements": None}, False),
    ({"rules": [], "more": 1}, False),
    ({"rules": [{"rule": "off"}]}, False),
    ({"rules": [{"latency": 1}]}, False),
    ({"rules": [{"point": "a..b", "latency": 1}]}, False),
    ({"rules": ["latency(1s)"]}, False),
    ({"rules": [1]}, False),
]


def refusal(body: Any) -> str:
    """Return why this may not be put on a name, or nothing."""
    try:
        if not isinstance(body, dict):
            return "no object"
        rules = parse_rules(body, point=body.get("point", "a.b"))
        compile_plan(parse_plan([*rules]), trust="loaded")
    except ChaosError as error:
        return problem_of(error).detail
    return ""


@pytest.mark.parametrize("body", TAKEN, ids=json.dumps)
def test_what_is_taken_is_allowed(body: dict[str, Any]) -> None:
    assert refusal(body) == ""
    documented.validator(POINT).validate(body)
    documented.validator(PLAN).validate({"rules": [{**body, "point": "a.b"}]})


@pytest.mark.parametrize("body", FORBIDDEN, ids=json.dumps)
def test_what_is_forbidden_is_refused(body: Any) -> None:
    assert refusal(body) != ""
    try:
        allowed = documented.validator(POINT).is_valid(body)
    except ValueError as error:
        pytest.skip(f"this release of jsonschema-rs takes no such number: {error}")
    assert not allowed


@pytest.mark.parametrize(("plan", "taken"), PLANS, ids=lambda one: json.dumps(one))
def test_a_plan_is_allowed_where_it_is_taken(plan: Any, taken: bool) -> None:
    def put() -> None:
        read = parse_plan(plan)
        refuse_placements(read)
        compile_plan(read, trust="loaded")

    if taken:
        put()
    else:
        with pytest.raises(ChaosError):
            put()
    assert documented.validator(PLAN).is_valid(plan) == taken


@pytest.mark.parametrize("body", TAKEN, ids=json.dumps)
def test_what_is_kept_of_a_rule_is_as_told_and_can_be_put_again(body: dict[str, Any]) -> None:
    for rule in parse_rules(body, point="a.b"):
        kept = Rule.model_dump(rule, mode="json")
        documented.validator("/components/schemas/Rule").validate(kept)
        documented.validator(POINT).validate(kept)


def test_the_examples_in_it_are_taken() -> None:
    def examples(part: Any) -> Iterator[tuple[Any, Any]]:
        if isinstance(part, dict):
            for one in part.get("examples", ()) if isinstance(part.get("examples"), list) else ():
                yield part, one
            part = list(part.values())
        if isinstance(part, list):
            for one in part:
                yield from examples(one)

    seen = list(examples(told()["components"]["schemas"]))
    assert seen
    for schema, example in seen:
        assert documented.validator_of(schema).is_valid(example)


def test_kinds_that_packages_add_are_allowed_for_and_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(PACKAGES / "brownout")
    kinds._added.cache_clear()
    kinds._loaded.cache_clear()
    document.cache_clear()
    documented.validator.cache_clear()
    try:
        body = {"faults": [{"kind": "brownout", "seconds": 0.001, "share": 1.0}]}
        documented.validator(POINT).validate(body)
        # Whether it decides how the call ends nobody knows before it is loaded.
        documented.validator(POINT).validate({"hang": True, **body})
        documented.validator(POINT).validate({"rule": 'brownout({"seconds": 1, "share": 1.0})'})
        assert kinds._loaded.cache_info().currsize == 0
    finally:
        monkeypatch.undo()
        kinds._added.cache_clear()
        document.cache_clear()
        documented.validator.cache_clear()
    assert not documented.validator(POINT).is_valid(body)
