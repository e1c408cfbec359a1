"""Law 10. Off unless allowed: code may arm unless forbidden, other sources only if allowed."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Boom, place

import chaospoint
from chaospoint import Registry, arm, armed, disable, disarm, enable, start, stop
from chaospoint.config import permission, read_settings
from chaospoint.control.http import Request
from chaospoint.control.service import Service
from chaospoint.errors import NotPermitted
from chaospoint.sources.settings import Settings

YES = ("true", "yes", "on", "1", "TRUE", " Yes ")
NO = ("false", "no", "off", "0", "FALSE", " No ")
NEITHER = ("", "maybe", "2", "enabled", "truefalse")


@pytest.fixture(autouse=True)
def _stopped() -> Iterator[None]:
    yield
    stop()


def _set(patch: pytest.MonkeyPatch, **variables: str | None) -> None:
    for name, value in variables.items():
        if value is not None:
            patch.setenv(f"CHAOSPOINT_{name}", value)


@pytest.mark.parametrize("value", [None, *YES, *NEITHER])
def test_law_10_code_may_arm_in_its_own_process(
    value: str | None, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the switch says no, whoever can change the code may arm from it."""
    _set(monkeypatch, ENABLED=value, ENVIRONMENT="production")
    call = place(registry.point("bank.charge"), "function")
    with armed("bank.charge", exception=Boom, registry=registry), pytest.raises(Boom):
        call()


@pytest.mark.parametrize("value", NO)
def test_law_10_an_explicit_no_is_final(
    value: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing arms, and `enable` does not override it; what takes off still works."""
    call = place(registry.point("bank.charge"), "function")
    arm("bank.charge", exception=Boom, registry=registry)
    _set(monkeypatch, ENABLED=value)
    for refused in (
        lambda: arm("bank.charge", latency=1, registry=registry),
        lambda: armed("bank.charge", latency=1, registry=registry).__enter__(),
        lambda: enable(registry=registry),
    ):
        with pytest.raises(NotPermitted, match=r"CHAOSPOINT_ENABLED.*set it to true"):
            refused()
    assert disarm("bank.charge", registry=registry) == 1
    disable(registry=registry)
    assert call() == 7
    with pytest.raises(NotPermitted):
        enable(registry=registry)
    assert not registry.enabled


@pytest.mark.parametrize(
    ("enabled", "environment", "allowed_environments", "allowed"),
    [
        *((yes, None, None, True) for yes in YES),
        *((no, None, None, False) for no in (None, *NO, *NEITHER)),
        *(
            ("true", name, None, True)
            for name in ("local", "dev", "development", "test", "ci", "staging", "Staging")
        ),
        *(("true", name, None, False) for name in ("production", "prod", "live", "locale")),
        ("true", "production", "production", True),
        ("true", "production", "staging, Production", True),
        ("true", "local", "production", False),
        ("true", None, "production", False),
        ("false", "local", "local", False),
        (None, "local", "local", False),
    ],
)
def test_law_10_rules_from_outside_need_permission_and_an_allowed_environment(
    enabled: str | None,
    environment: str | None,
    allowed_environments: str | None,
    allowed: bool,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Environment, file and HTTP arm where that is allowed, and nowhere else."""
    points = json.dumps([{"point": "bank.charge", "returns": 8}])
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps([{"point": "bank.refund", "returns": 8}]))
    _set(
        monkeypatch,
        ENABLED=enabled,
        ENVIRONMENT=environment,
        ALLOWED_ENVIRONMENTS=allowed_environments,
        POINTS=points,
        CONFIG=str(plan),
        ADMIN_TOKEN="a token",
    )
    charge = place(registry.point("bank.charge"), "function")
    refund = place(registry.point("bank.refund"), "function")
    pay = place(registry.point("bank.pay"), "function")
    assert permission(read_settings()).allowed is allowed
    start(registry=registry)
    headers = {"authorization": "Bearer a token", "content-type": "application/json"}
    put = Request("PUT", "/v1/points/bank.pay", headers, b'{"returns": 8}', "192.0.2.7")
    status = Service.of(Settings(), registry).answer(put).status
    assert status == (200 if allowed else 403)
    assert [charge(), refund(), pay()] == ([8, 8, 8] if allowed else [7, 7, 7])
    stop()
    assert [charge(), refund()] == [7, 7]


def test_law_10_start_without_a_yes_is_one_line_and_nothing_else(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No thread, no socket, no rule: a program may always call `start`."""
    _set(monkeypatch, POINTS='[{"point": "bank.*", "latency": 30}]', ADMIN="127.0.0.1:0")
    before = set(threading.enumerate())
    with caplog.at_level(logging.DEBUG, "chaospoint"):
        start(registry=registry)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "CHAOSPOINT_ENABLED is not set" in caplog.text
    assert set(threading.enumerate()) == before
    assert registry.rules() == ()


def test_law_10_the_start_up_line_says_that_the_environment_was_not_set(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Unset counts as local, and whoever reads the log can see that it was a guess."""
    _set(monkeypatch, ENABLED="true")
    with caplog.at_level(logging.INFO, "chaospoint"):
        chaospoint.start(registry=registry)
    assert "environment local (not set)" in caplog.text
