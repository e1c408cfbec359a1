"""What is asked and what is answered, without a socket; every refusal is a problem document."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from helpers import Threads

from chaospoint import Armed
from chaospoint._kernel.context import in_chaospoint
from chaospoint._registry.registry import Registry
from chaospoint._version import __version__
from chaospoint.arming import Origin, arm, armed, install_plan
from chaospoint.control.http import MAX_BODY, Request, Response
from chaospoint.control.service import Service
from chaospoint.errors import ChaosWarning
from chaospoint.plan import parse_plan
from chaospoint.sources.settings import Settings
from chaospoint.testing import FakeClock

LOCAL = {"host": "127.0.0.1:8475"}


def ask(
    service: Service,
    method: str,
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> Response:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = dict(LOCAL)
    if raw:
        sent |= {"content-type": "application/json", "content-length": str(len(raw))}
    return service.answer(Request(method, path, sent | (headers or {}), raw, "127.0.0.1"))


def content(response: Response) -> Any:
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(response.body))
    return json.loads(response.body)


def problem(response: Response, status: int, kind: str) -> Any:
    """Return the members beside those that every problem has, which are checked here."""
    assert response.headers["content-type"] == "application/problem+json"
    document = json.loads(response.body)
    assert document.pop("type") == f"urn:chaospoint:problem:{kind}"
    assert document.pop("status") == response.status == status
    assert document.pop("title") == kind.replace("-", " ").capitalize()
    assert document["detail"]
    return document


# What it does


def test_a_put_is_in_force_when_answered_and_expires_in_ten_minutes(
    service: Service, charge: Callable[[], str]
) -> None:
    state = content(ask(service, "PUT", "/v1/points/payment.charge", {"exception": "KeyError"}))
    with pytest.raises(KeyError):
        charge()
    assert state["name"] == "payment.charge"
    assert state["armed"] is True
    assert state["placements"] == [
        f"{__name__.replace('test_service', 'conftest')}:" + p
        for p in ("charge.<locals>.charge (function)",)
    ]
    [rule] = state["rules"]
    assert rule["source"] == "http"
    assert rule["by"] == "http 127.0.0.1"
    assert rule["state"] == "armed"
    assert 590 < rule["seconds_left"] <= 600
    [rule] = content(ask(service, "GET", "/v1/points/payment.charge"))["rules"]
    assert (rule["reaches"], rule["injections"]) == (1, 1)
    assert (rule["interrupted"], rule["shadowed"]) == (0, 0)
    assert isinstance(rule["seed"], int)
    assert rule["text"] == "payment.charge=raise(KeyError)"


def test_expires_after_in_the_body_wins(service: Service) -> None:
    body = {"latency": 1, "expires_after": "5s"}
    [rule] = content(ask(service, "PUT", "/v1/points/db.query", body))["rules"]
    assert 4 < rule["seconds_left"] <= 5
    body = {"latency": 1, "expires_after": None}
    [rule] = content(ask(service, "PUT", "/v1/points/db.query", body))["rules"]
    assert 590 < rule["seconds_left"] <= 600, "nothing from outside stays for ever"


def test_a_put_replaces_what_was_put_on_that_very_name(service: Service) -> None:
    ask(service, "PUT", "/v1/points/db.*", {"latency": 1})
    ask(service, "PUT", "/v1/points/db.query", {"latency": 2})
    state = content(ask(service, "PUT", "/v1/points/db.query", {"latency": 3}))
    assert [rule["text"] for rule in state["rules"]] == ["db.query=latency(3s)", "db.*=latency(1s)"]


def test_a_glob_is_put_and_shown_with_the_points_it_reaches(service: Service) -> None:
    state = content(ask(service, "PUT", "/v1/points/db.*", {"latency": 1, "point": "db.*"}))
    assert state["name"] == "db.*"
    assert state["points"] == ["db.commit", "db.query"]
    assert [rule["point"] for rule in state["rules"]] == ["db.*"]
    again = content(ask(service, "GET", "/v1/points/db.*"))
    assert (again["name"], again["points"]) == (state["name"], state["points"])


def test_a_delete_concerns_every_source_and_nothing_there_is_no_error(
    service: Service, registry: Registry, charge: Callable[[], str]
) -> None:
    arm("payment.charge", exception=KeyError, registry=registry)
    ask(service, "PUT", "/v1/points/payment.charge", {"latency": 1})
    assert content(ask(service, "DELETE", "/v1/points/payment.charge"))["disarmed"] == 2
    assert charge() == "charged"
    assert content(ask(service, "DELETE", "/v1/points/payment.charge"))["disarmed"] == 0
    assert content(ask(service, "DELETE", "/v1/points/db.*"))["disarmed"] == 0


def test_what_names_neither_a_point_nor_a_rule_cannot_be_deleted(
    service: Service, registry: Registry
) -> None:
    for name in ("payment.chrage", "payment.chrage*"):
        told = problem(ask(service, "DELETE", f"/v1/points/{name}"), 404, "unknown-point")
        assert told["nearest"] == ["payment.charge"]
    with pytest.warns(ChaosWarning):
        arm("not.yet", latency=1, registry=registry)
    assert content(ask(service, "DELETE", "/v1/points/not.*"))["disarmed"] == 1
    problem(ask(service, "DELETE", "/v1/points/not.yet"), 404, "unknown-point")
    assert content(ask(service, "DELETE", "/v1/points"))["disarmed"] == 0


def test_deleting_the_points_disarms_everything(service: Service, registry: Registry) -> None:
    ask(service, "PUT", "/v1/points/db.*", {"latency": 1})
    ask(service, "PUT", "/v1/points/payment.charge", {"latency": 1})
    assert content(ask(service, "DELETE", "/v1/points"))["disarmed"] == 2
    assert registry.rules() == ()


def test_the_points_are_listed_by_name(service: Service) -> None:
    ask(service, "PUT", "/v1/points/db.query", {"latency": 1})
    points = content(ask(service, "GET", "/v1/points"))["points"]
    assert [(point["name"], point["armed"]) for point in points] == [
        ("db.commit", False),
        ("db.query", True),
        ("payment.charge", False),
    ]
    assert points[1]["description"] == "every query"


def test_a_point_with_nothing_left_is_not_armed(
    service: Service, registry: Registry, charge: Callable[[], str]
) -> None:
    body = {"exception": "KeyError", "times": 1}
    ask(service, "PUT", "/v1/points/payment.charge", body)
    with pytest.raises(KeyError):
        charge()
    state = content(ask(service, "GET", "/v1/points/payment.charge"))
    assert (state["armed"], state["rules"][0]["state"]) == (False, "spent")
    install_plan(
        parse_plan([{"point": "payment.charge", "exception": "tabnanny.NannyNag"}]),
        origin=Origin("env"),
        registry=registry,
    )
    state = content(ask(service, "GET", "/v1/points/payment.charge"))
    assert state["armed"] is True
    assert state["rules"][1]["state"] == "waiting for an import"


def test_the_status_says_who_answers_and_what_is_allowed(service: Service) -> None:
    ask(service, "PUT", "/v1/points/db.query", {"latency": 1})
    status = content(ask(service, "GET", "/v1/status"))
    assert status["version"] == __version__
    assert status["pid"] > 0
    assert status["enabled"] is True
    assert status["environment"] == "local"
    assert status["allowed"] is status["may_arm"] is True
    assert status["why"].startswith("CHAOSPOINT_ENABLED is true, and 'local' is among")
    assert status["sources"] == []
    assert status["points"] == 3
    assert [rule["point"] for rule in status["rules"]] == ["db.query"]


def test_the_switch_disables_refuses_and_enables(
    service: Service, charge: Callable[[], str]
) -> None:
    body = {"exception": "KeyError"}
    ask(service, "PUT", "/v1/points/payment.charge", body)
    status = content(ask(service, "POST", "/v1/disable"))
    assert status["enabled"] is status["may_arm"] is False
    assert status["why"].startswith("the master switch is off; POST /v1/enable ends that")
    assert charge() == "charged"
    told = problem(ask(service, "PUT", "/v1/points/payment.charge", body), 409, "not-permitted")
    assert "enable" in told["cure"]
    status = content(ask(service, "POST", "/v1/enable", {}))
    assert status["enabled"] is status["may_arm"] is True
    ask(service, "PUT", "/v1/points/payment.charge", body)
    with pytest.raises(KeyError):
        charge()


def test_metrics_are_flushed_before_they_are_given(service: Service, registry: Registry) -> None:
    point = registry.point("metrics.flushed")  # metrics live as long as the process
    ask(service, "PUT", "/v1/points/metrics.flushed", {"latency": 0.0, "skip": 10**6})
    for reaches in (1, 2, 3):
        point.hit()
        response = ask(service, "GET", "/metrics")
        assert response.headers["content-type"].startswith("text/plain")
        line = f'chaospoint_reaches_total{{point="metrics.flushed"}} {reaches}.0'
        assert line in response.body.decode().splitlines()


def test_head_has_the_headers_of_get_and_no_body(service: Service) -> None:
    got, head = (ask(service, method, "/v1/points") for method in ("GET", "HEAD"))
    assert head.status == 200
    assert head.headers == got.headers
    assert head.body == b""
    assert ask(service, "HEAD", "/nowhere").body == b""


def test_no_answer_may_be_kept(service: Service) -> None:
    for path in ("/v1/status", "/metrics", "/nowhere"):
        assert ask(service, "GET", path).headers["cache-control"] == "no-store"


def test_law_9_every_point_is_transparent_inside_the_service(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(
        "chaospoint.control.service.scrape",
        lambda: (seen.append(in_chaospoint.get()), ("text/plain", b""))[1],
    )
    ask(service, "GET", "/metrics")
    assert seen == [True]
    assert in_chaospoint.get() is False


def test_a_bug_is_a_problem_and_is_logged(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("chaospoint.control.service.scrape", lambda: 1 / 0)
    assert "ZeroDivision" not in problem(ask(service, "GET", "/metrics"), 500, "bug")["detail"]
    assert caplog.records[-1].levelno == logging.ERROR


# What it refuses


def test_an_unknown_point_is_404_with_the_nearest_names(service: Service) -> None:
    for method, body in (("GET", None), ("PUT", {"latency": 1}), ("PUT", {"nonsense": 1})):
        told = problem(
            ask(service, method, "/v1/points/payment.chrage", body), 404, "unknown-point"
        )
        assert told["name"] == "payment.chrage"
        assert told["nearest"] == ["payment.charge"]
    problem(ask(service, "PUT", "/v1/points/shop.*", {"latency": 1}), 404, "unknown-point")
    problem(ask(service, "GET", "/v1/points/shop.*"), 404, "unknown-point")


@pytest.mark.parametrize(
    "path", ["/", "", "/v1", "/v1/points/", "/v1/points/a/b", "/v2/status", "/v1/status/", "//v1"]
)
def test_an_unknown_route_is_404_with_those_there_are(path: str, service: Service) -> None:
    for method in ("GET", "DELETE", "PUT"):
        told = problem(ask(service, method, path), 404, "unknown-route")
        assert "GET /v1/status" in told["routes"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/points", "GET, DELETE, HEAD"),
        ("POST", "/v1/points/db.query", "GET, PUT, DELETE, HEAD"),
        ("GET", "/v1/enable", "POST"),
        ("HEAD", "/v1/disable", "POST"),
        ("DELETE", "/v1/status", "GET, HEAD"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
    ],
)
def test_a_method_that_means_nothing_is_405_with_those_that_do(
    method: str, path: str, allow: str, service: Service
) -> None:
    response = ask(service, method, path)
    assert response.status == 405
    assert response.headers["allow"] == allow
    if method != "HEAD":
        problem(response, 405, "method-not-allowed")


MALFORMED = [
    b"{",
    b"nonsense",
    b'{"latency": NaN}',
    b'{"latency": Infinity}',
    b'{"latency": -Infinity}',
    b'{"latency": 1e999}',
    b'{"latency": 1, "latency": 2}',
    b'{"returns": {"a": 1, "a": 2}}',
    b'{"returns": "\xff"}',
    b'{"returns": "\\ud800"}',
    b'{"\\udfff": 1}',
    b'{"returns": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b'{"returns": ' + b"[" * 80 + b"]" * 80 + b"}",
    b'{"seed": ' + b"9" * 5000 + b"}",
    b'{"latency": 1} trailing',
    b"\x00",
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: repr(body[:24]))
def test_malformed_json_is_400_and_says_where_or_why(body: bytes, service: Service) -> None:
    for method, path in (("PUT", "/v1/points/db.query"), ("POST", "/v1/enable")):
        told = problem(ask(service, method, path, body), 400, "malformed")
        assert told["detail"].startswith("the body is not JSON: ")
        assert len(told["detail"]) < 200


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"latency"', b"[{}]"])
def test_a_body_that_is_no_object_is_422(body: bytes, service: Service) -> None:
    told = problem(ask(service, "PUT", "/v1/points/db.query", body), 422, "not-an-object")
    assert "latency" in told["cure"]


BAD_RULES = [
    ({"latnecy": 1}, "latnecy", 1),
    ({"latency": -1}, "latency", -1),
    ({"latency": "soon"}, "latency", "soon"),
    ({"latency": True}, "latency", True),
    ({"exception": "no.such.Error"}, "exception", "no.such.Error"),
    ({"exception": "SystemExit"}, "exception", "SystemExit"),
    ({"exception": "KeyboardInterrupt"}, "exception", "KeyboardInterrupt"),
    ({"latency": 1, "probability": 1.5}, "probability", 1.5),
    ({"latency": 1, "times": 0}, "times", 0),
    ({"latency": 1, "expires_after": "never"}, "expires_after", "never"),
]


@pytest.mark.parametrize(("body", "field", "value"), BAD_RULES, ids=str)
def test_a_bad_rule_is_422_with_rule_field_value_and_cure(
    body: object, field: str, value: object, service: Service, registry: Registry
) -> None:
    ask(service, "PUT", "/v1/points/db.query", {"latency": 7})
    told = problem(ask(service, "PUT", "/v1/points/db.query", body), 422, "invalid-plan")
    assert "db.query" in told["rule"]
    assert told["field"] == field
    assert told["value"] == value
    assert told["cure"]
    [rule] = registry.rules()
    assert rule.text == "db.query=latency(7s)", "what was armed before stays armed"


def test_a_rule_without_a_fault_is_refused(service: Service) -> None:
    problem(ask(service, "PUT", "/v1/points/db.query", {"times": 1}), 422, "invalid-plan")
    problem(ask(service, "PUT", "/v1/points/db.query", {}), 422, "empty-rule")
    problem(ask(service, "PUT", "/v1/points/db.query"), 400, "empty-rule")


def test_another_point_in_the_body_is_refused(service: Service) -> None:
    for other in ("db.commit", None, 7):
        body = {"point": other, "latency": 1}
        told = problem(ask(service, "PUT", "/v1/points/db.query", body), 422, "other-point")
        assert told["field"] == "point"


def test_a_fault_that_the_point_cannot_express_is_422(service: Service) -> None:
    told = problem(
        ask(service, "PUT", "/v1/points/db.query", {"returns": 1}), 422, "unsupported-fault"
    )
    assert "db.query" in told["detail"]


def test_keys_where_none_mean_anything_are_422(service: Service, registry: Registry) -> None:
    for method, path in (
        ("POST", "/v1/enable"),
        ("DELETE", "/v1/points"),
        ("DELETE", "/v1/points/db.query"),
    ):
        told = problem(ask(service, method, path, {"who": "me"}), 422, "unknown-key")
        assert told["field"] == "who"
    assert registry.enabled


@pytest.mark.parametrize("media", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_of_another_type_is_415(media: str, service: Service) -> None:
    for method, path in (
        ("PUT", "/v1/points/db.query"),
        ("POST", "/v1/enable"),
        ("DELETE", "/v1/points"),
    ):
        response = ask(service, method, path, b"{}", {"content-type": media})
        assert problem(response, 415, "not-json")["cure"] == "send Content-Type: application/json"


def test_a_charset_beside_the_type_is_fine(service: Service) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert ask(service, "PUT", "/v1/points/db.query", {"latency": 1}, headers).status == 200


@pytest.mark.parametrize(
    ("length", "status", "kind"),
    [
        ("nonsense", 400, "bad-length"),
        ("-1", 400, "bad-length"),
        ("2, 2", 400, "bad-length"),
        ("²", 400, "bad-length"),
        ("", 400, "bad-length"),
        ("3", 400, "cut-short"),
        (str(MAX_BODY + 1), 413, "too-large"),
        ("9" * 5000, 413, "too-large"),
    ],
)
def test_a_length_that_is_wrong_is_refused(
    length: str, status: int, kind: str, service: Service
) -> None:
    response = ask(service, "PUT", "/v1/points/db.query", b"{}", {"content-length": length})
    problem(response, status, kind)


def test_a_body_longer_than_64_kib_is_413_and_one_of_64_kib_is_not(service: Service) -> None:
    body = b'{"returns": "' + b"a" * (MAX_BODY - 15) + b'"}'
    assert len(body) == MAX_BODY
    assert ask(service, "PUT", "/v1/points/payment.charge", body).status == 200
    told = problem(ask(service, "PUT", "/v1/points/payment.charge", body + b" "), 413, "too-large")
    assert told["limit"] == 65_536


def test_a_body_without_a_length_is_411(service: Service) -> None:
    response = ask(service, "PUT", "/v1/points/db.query", None, {"transfer-encoding": "chunked"})
    problem(response, 411, "length-needed")


def test_the_seed_of_the_settings_is_that_of_the_rules(
    registry: Registry, charge: Callable[[], str]
) -> None:
    seeds = set()
    for _ in range(2):
        service = Service.of(Settings(enabled=True, seed=7), registry)
        state = content(ask(service, "PUT", "/v1/points/payment.charge", {"latency": 1}))
        seeds.add(state["rules"][0]["seed"])
    assert len(seeds) == 1


# Paused calls


@pytest.fixture
def paused(service: Service, registry: Registry, pool: Threads) -> Callable[[str], Future[object]]:
    """Arm a pause on what matches, and have a call of each of these points held."""

    def begin(name: str) -> Future[object]:
        job = pool.submit(registry.point(name).hit)
        calls.append(job)
        Armed(registry.engine, registry.rules()).wait_until_paused(len(calls))
        return job

    calls: list[Future[object]] = []
    ask(service, "PUT", "/v1/points/db.*", {"rule": "pause"})
    return begin


def test_paused_calls_are_seen_and_released_by_name_and_by_glob(
    service: Service, paused: Callable[[str], Future[object]]
) -> None:
    first, second = paused("db.query"), paused("db.commit")
    [rule] = content(ask(service, "GET", "/v1/points/db.query"))["rules"]
    assert (rule["state"], rule["paused"], rule["injections"]) == ("armed", 2, 2)
    assert content(ask(service, "POST", "/v1/points/db.query/release"))["released"] == 1
    first.result(10)
    assert not second.done()
    assert content(ask(service, "POST", "/v1/points/db.query/release", {}))["released"] == 0
    assert content(ask(service, "POST", "/v1/points/db.*/release"))["released"] == 1
    second.result(10)
    [rule] = content(ask(service, "GET", "/v1/points/db.*"))["rules"]
    assert (rule["state"], rule["paused"], rule["interrupted"]) == ("armed", 0, 0)


def test_deleting_a_pause_lets_the_call_through_as_interrupted(
    service: Service, registry: Registry, paused: Callable[[str], Future[object]]
) -> None:
    job = paused("db.query")
    [rule] = registry.rules()
    assert content(ask(service, "DELETE", "/v1/points/db.*"))["disarmed"] == 1
    job.result(10)
    assert rule.interrupted == 1
    assert content(ask(service, "POST", "/v1/points/db.query/release"))["released"] == 0


def test_what_cannot_be_released(service: Service) -> None:
    told = problem(ask(service, "POST", "/v1/points/db.qurey/release"), 404, "unknown-point")
    assert told["nearest"] == ["db.query"]
    told = problem(
        ask(service, "POST", "/v1/points/db.query/release", {"a": 1}), 422, "unknown-key"
    )
    assert told["field"] == "a"
    for method in ("GET", "PUT", "DELETE"):
        response = ask(service, method, "/v1/points/db.query/release")
        problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == "POST"
    for path in ("/v1/points//release", "/v1/points/release/", "/v1/points/db.query/release/x"):
        problem(ask(service, "POST", path), 404, "unknown-route")


def test_a_rule_of_a_point_that_is_still_to_come_can_be_released(
    service: Service, registry: Registry
) -> None:
    with pytest.warns(ChaosWarning):
        arm("not.yet", faults=[{"kind": "pause"}], registry=registry)
    assert content(ask(service, "POST", "/v1/points/not.yet/release"))["released"] == 0


# How rules stand


def stands(service: Service, name: str) -> list[tuple[str, str]]:
    """Return the states of the rules of a point, and that of the same rules in the status."""
    rules = content(ask(service, "GET", f"/v1/points/{name}"))["rules"]
    status = content(ask(service, "GET", "/v1/status"))["rules"]
    there = {rule["text"]: rule["state"] for rule in status}
    return [(rule["state"], there[rule["text"]]) for rule in rules]


def test_masked_shadowed_and_spent(
    service: Service, registry: Registry, charge: Callable[[], str]
) -> None:
    name = "payment.charge"
    ask(service, "PUT", f"/v1/points/{name}", {"exception": "KeyError", "times": 1})
    with pytest.raises(KeyError):
        charge()
    assert stands(service, name) == [("spent", "spent")]
    ask(service, "PUT", f"/v1/points/{name}", {"exception": "KeyError"})
    with armed(name, latency=0, registry=registry):
        assert stands(service, name) == [("armed",) * 2, ("shadowed",) * 2]
        with armed("payment.*", faults=[{"kind": "off"}], registry=registry):
            assert stands(service, name) == [("armed",) * 2, ("masked",) * 2, ("masked",) * 2]
            assert charge() == "charged"
            rules = content(ask(service, "GET", f"/v1/points/{name}"))["rules"]
            assert rules[1]["why"].startswith("payment.*=off, armed by code, fires at every reach")
            assert [rule["shadowed"] for rule in rules] == [0, 1, 1]
    assert stands(service, name) == [("armed",) * 2]


def test_masked_at_one_point_is_not_masked_everywhere(service: Service, registry: Registry) -> None:
    ask(service, "PUT", "/v1/points/db.*", {"exception": "KeyError"})
    with armed("db.query", faults=[{"kind": "off"}], registry=registry):
        assert stands(service, "db.query") == [("armed", "armed"), ("masked", "armed")]
        assert stands(service, "db.commit") == [("armed", "armed")]
        assert stands(service, "db.*") == [("armed", "armed"), ("armed", "armed")]


def test_expired_waiting_and_failed() -> None:
    clock = FakeClock()
    registry = Registry(clock=clock)
    charge = registry.point("payment.charge")(lambda: "charged")
    service = Service.of(Settings(enabled=True), registry)
    path = "/v1/points/payment.charge"
    ask(service, "PUT", path, {"latency": 1, "times": 9, "expires_after": "5s"})
    clock.advance(5)
    registry.engine.expire()
    assert stands(service, "payment.charge") == [("expired", "expired")]
    [rule] = content(ask(service, "GET", path))["rules"]
    assert (rule["next_ordinal"], rule["seconds_left"]) == (None, 0.0)
    install_plan(
        parse_plan([{"point": "payment.charge", "exception": "tabnanny.NoSuchError"}]),
        origin=Origin("env"),
        registry=registry,
        replace=True,
    )
    state = content(ask(service, "GET", path))
    assert state["armed"] is True
    assert state["rules"][0]["state"] == "waiting for an import"
    assert charge() == "charged"
    state = content(ask(service, "GET", path))
    assert state["armed"] is False
    assert {rule["state"] for rule in state["rules"]} == {"failed", "expired"}
    [failed] = [rule for rule in state["rules"] if rule["state"] == "failed"]
    assert "NoSuchError" in failed["why"]
    registry.engine.housekeeper.stop()


# Rules as text


def test_a_body_may_hold_the_text_of_rules(
    service: Service, registry: Registry, charge: Callable[[], str]
) -> None:
    body = {"rule": '1*return("a")->1*raise(KeyError)->off'}
    state = content(ask(service, "PUT", "/v1/points/payment.charge", body))
    assert [rule["text"] for rule in state["rules"]] == [
        'payment.charge=1*return("a")',
        "payment.charge=1*raise(KeyError)",
        "payment.charge=off",
    ]
    assert all(590 < rule["seconds_left"] <= 600 for rule in state["rules"])
    assert charge() == "a"
    with pytest.raises(KeyError):
        charge()
    assert charge() == "charged"
    state = content(ask(service, "PUT", "/v1/points/payment.charge", {"rule": "off"}))
    assert [rule["text"] for rule in state["rules"]] == ["payment.charge=off"], "replaced, all"


def test_beside_the_text_stands_what_it_does_not_say(service: Service) -> None:
    body = {"rule": "5%latency(1)", "expires_after": "5s", "seed": 7, "where": {"tenant": "acme"}}
    [rule] = content(ask(service, "PUT", "/v1/points/db.query", body))["rules"]
    assert (rule["seed"], rule["seconds_left"] <= 5) == (7, True)
    for field, value in (("latency", 1), ("probability", 0.5)):
        body = {"rule": "5%latency(1)", field: value}
        told = problem(ask(service, "PUT", "/v1/points/db.query", body), 422, "invalid-plan")
        assert told["field"] == field


@pytest.mark.parametrize(
    "text",
    ["", "5%", "latency(1", "nonsense", "db.commit=off", "off;off", 5, None, ["off"]],
    ids=str,
)
def test_a_text_that_says_no_rule_is_422_and_arms_nothing(
    service: Service, registry: Registry, text: object
) -> None:
    told = problem(ask(service, "PUT", "/v1/points/db.query", {"rule": text}), 422, "invalid-plan")
    assert told["field"] == "rule"
    assert told["cure"]
    assert registry.rules() == ()


def test_what_only_code_may_say_is_422(service: Service, registry: Registry) -> None:
    body = {"latency": 1, "scope": "context"}
    told = problem(ask(service, "PUT", "/v1/points/db.query", body), 422, "invalid-plan")
    assert told["field"] == "scope"
    assert registry.rules() == ()


def test_an_after_rule_and_a_bound_from_outside(
    service: Service, charge: Callable[[], str]
) -> None:
    body = {"returns": "late", "when": "after", "max_active": 1, "times": 1}
    ask(service, "PUT", "/v1/points/payment.charge", body)
    assert [charge(), charge()] == ["late", "charged"]
    [rule] = content(ask(service, "GET", "/v1/points/payment.charge"))["rules"]
    assert (rule["state"], rule["reaches"], rule["overflow"]) == ("spent", 2, 0)


def test_more_rules_than_one_request_may_bring_are_refused(service: Service) -> None:
    body = {"rule": "->".join(["1*off"] * 101)}
    told = problem(ask(service, "PUT", "/v1/points/db.query", body), 422, "limit-exceeded")
    assert "101 rules" in told["detail"]
    assert ask(service, "PUT", "/v1/points/db.query", {"rule": "1*off"}).status == 200


def test_a_slash_at_the_end_does_not_keep_anybody_from_disabling(
    service: Service, registry: Registry
) -> None:
    try:
        stops = Request("POST", "/v1/disable/", LOCAL, b"", "127.0.0.1")
        assert service.stop_first(stops)
        assert not registry.enabled
        assert content(ask(service, "POST", "/v1/disable/"))["enabled"] is False
    finally:
        registry.enable()
    told = problem(ask(service, "GET", "/v1/status/"), 404, "unknown-route")
    assert told["cure"] == "leave out the slash: /v1/status"
    assert "cure" not in problem(ask(service, "DELETE", "/v1/points//"), 404, "unknown-route")
    problem(ask(service, "DELETE", "/v1/points/"), 404, "unknown-route")
