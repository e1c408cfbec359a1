"""Thousands of requests that the document allows or forbids, over a socket: it says the truth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from openapi_run import ACCEPTED, REFUSED, functions, run, serving

from chaospoint._registry.registry import Registry
from chaospoint.control import service as service_module
from chaospoint.control.access import AccessPolicy
from chaospoint.control.http import Request, Response
from chaospoint.control.pages import Page
from chaospoint.control.problem import Problem
from chaospoint.control.service import Service
from chaospoint.control.views import Views

pytestmark = pytest.mark.once


SWITCHES = ("enable", "disable")

BEYOND_A_SCHEMA = (
    r"not a whole number",  # 1.0 is an integer in JSON schema, and JSON has one kind of number
    r"longer than ten years|the rule would expire at once",  # durations as text
    r"a rule can have only one outcome",  # of several faults
    r"all weights are 0",
    r"needs a mean above 0",  # a distribution, by another key
    r"not the name of an exception",  # which letters begin a word, in every language
    r"not found in the modules|cannot be built|has no '",  # what is imported, and takes what
    r"the text of the rule has this key already",
    r"(rule|message)[=:].*column \d+: |: column \d+: ",  # the grammar of the text form
    r"names a point|is a key, not part of the text",
    r"nested 50 deep|not written down",
    r"can be raised only by rules that code arms|controls generators and iteration",
    r"CHAOSPOINT_MAX_EXPIRES_AFTER",  # a setting of the service
    r"looks secret|SECRET_ARGUMENTS",  # names of arguments, and a setting adds more
)
"""Why what the document allows may be refused all the same."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    kept = functions(made)
    yield made
    made.disarm()
    del kept


def unexplained(details: list[str]) -> list[str]:
    return [one for one in details if not any(re.search(why, one) for why in BEYOND_A_SCHEMA)]


@pytest.mark.ci
def test_the_document_says_the_truth(registry: Registry) -> None:
    """At least 2000 cases, and the two that matter most are neither all refused nor all taken."""
    more = {"putRule": 120, "putPlan": 80}
    with serving(registry) as url:
        done = run(url, registry, without=SWITCHES, more=more)
    print(done.cases, done.phases, sorted(done.statuses.items()))
    assert done.errors == []
    assert done.failures == []
    assert done.cases >= 2000
    assert done.phases["fuzzing"] >= 300
    for label in more:
        assert done.valid[label, 200] >= 300
        assert done.statuses[label, 422] - done.valid[label, 422] >= 300, "forbidden and refused"
        assert done.valid[label, 200] > done.valid[label, 422]
        assert done.statuses[label, 409] == 0
    assert unexplained([one["detail"] for one in done.refusals]) == []
    assert not registry.rules()


def test_the_switches_do_as_the_document_says(registry: Registry) -> None:
    with serving(registry) as url:
        done = run(url, registry, only=SWITCHES)
    assert done.errors == []
    assert done.failures == []
    for label in SWITCHES:
        assert done.statuses[label, 200] >= 2


@pytest.mark.parametrize(
    ("token", "accepted"),
    [
        pytest.param("control-token", ACCEPTED, marks=pytest.mark.ci),
        ("reading-token", (*ACCEPTED, "403")),
    ],
    ids=["control", "read"],
)
def test_no_operation_is_open_without_a_token(
    registry: Registry, token: str, accepted: tuple[str, ...]
) -> None:
    tokens = {"admin_token": "control-token", "admin_read_token": "reading-token"}
    with serving(registry, **tokens) as url:
        # The body is of no matter here, and takes most of the time.
        done = run(
            url,
            registry,
            without=("putRule", "putPlan"),
            examples=5,
            token=token,
            accepted=accepted,
            refused=(*REFUSED, "403"),
        )
    assert done.errors == []
    assert done.failures == []
    done_well = {label for label, status in done.statuses if status == 200}
    assert "status" in done_well
    assert ("disarm" in done_well) == (token == "control-token")


# What is planted on purpose is found.


def raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def injections(self: Views, pattern: str, limit: int) -> dict[str, object]:
        return {"of": 1 / (1000 - limit)}

    monkeypatch.setattr(Views, "injections", injections)


def leaves_a_member_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _change(monkeypatch, lambda told: told.pop("armed", None))


def adds_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    _change(monkeypatch, lambda told: told.update(more=1))


def changes_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    _change(monkeypatch, lambda told: told.update(name=1))


def _change(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], Any]) -> None:
    point = Views.point

    def changed(self: Views, name: str, **more: Any) -> dict[str, object]:
        told = point(self, name, **more)
        change(told)
        return told

    monkeypatch.setattr(Views, "point", changed)


def answers_another_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(self: Views, page: Page) -> dict[str, object]:
        raise Problem(418, "teapot", "short and stout")

    monkeypatch.setattr(Views, "points", points)


def answers_another_type(monkeypatch: pytest.MonkeyPatch) -> None:
    _reply(monkeypatch, lambda answer: {**answer.headers, "content-type": "text/html"})


def forgets_the_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    def untagged(answer: Response) -> dict[str, str]:
        return {name: value for name, value in answer.headers.items() if name != "etag"}

    _reply(monkeypatch, untagged)


def _reply(monkeypatch: pytest.MonkeyPatch, headers: Callable[[Response], dict[str, str]]) -> None:
    reply = service_module.reply

    def changed(*args: Any, **more: Any) -> Response:
        answer = reply(*args, **more)
        return replace(answer, headers=headers(answer))

    monkeypatch.setattr(service_module, "reply", changed)


def takes_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "number", lambda query, name, default, most: default)


def refuses_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "LONGEST", 10)


def takes_every_method(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Service.steps

    def changed(self: Service, request: Request) -> Any:
        method = "GET" if request.method in ("TRACE", "PATCH") else request.method
        return steps(self, replace(request, method=method))

    monkeypatch.setattr(Service, "steps", changed)


@pytest.mark.parametrize(
    ("plant", "operation", "check"),
    [
        (raises, "injections", "not_a_server_error"),
        (leaves_a_member_out, "point", "response_schema_conformance"),
        (adds_a_member, "point", "response_schema_conformance"),
        (changes_a_type, "point", "response_schema_conformance"),
        (answers_another_status, "points", "status_code_conformance"),
        (answers_another_type, "status", "content_type_conformance"),
        (forgets_the_tag, "plan", "response_headers_conformance"),
        (takes_any_number, "injections", "negative_data_rejection"),
        (refuses_a_parameter, "injections", "positive_data_acceptance"),
        (takes_every_method, "status", "unsupported_method"),
    ],
    ids=lambda one: one.__name__ if callable(one) else one,
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch,
    registry: Registry,
    plant: Callable[[pytest.MonkeyPatch], None],
    operation: str,
    check: str,
) -> None:
    plant(monkeypatch)
    with serving(registry) as url:
        done = run(url, registry, only=[operation, "points"], examples=10)
    assert check in done.failed


def test_a_planted_open_door_is_found(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.setattr(AccessPolicy, "check", AccessPolicy.caller)
    with serving(registry, admin_token="control-token") as url:
        done = run(url, registry, only=["status"], examples=1, token="control-token")
    assert "ignored_auth" in done.failed
