"""What the environment says: good, bad and misspelt; and law 10, which it decides."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from chaospoint.plan.limits import NO_LIMITS, Limits
from chaospoint.sources.settings import (
    Permission,
    Settings,
    permission,
    read_settings,
    split_address,
)

GOOD = [
    *(("ENABLED", word, "enabled", True) for word in ("true", "yes", "on", "1", "TRUE", " Yes ")),
    *(("ENABLED", word, "enabled", False) for word in ("false", "no", "off", "0", "Off")),
    ("ENVIRONMENT", " Staging ", "environment", "staging"),
    ("ALLOWED_ENVIRONMENTS", "Local, canary,,", "allowed_environments", ("local", "canary")),
    ("CONFIG", "/etc/plan.yaml", "config", Path("/etc/plan.yaml")),
    ("SEED", "7", "seed", 7),
    ("SEED", "9223372036854775807", "seed", 2**63 - 1),
    ("ADMIN", "true", "admin", "127.0.0.1:8475"),
    ("ADMIN", "1", "admin", "127.0.0.1:8475"),
    ("ADMIN", "off", "admin", None),
    ("ADMIN", "127.0.0.1:9000", "admin", "127.0.0.1:9000"),
    ("ADMIN", "LocalHost:0", "admin", "localhost:0"),
    ("ADMIN", "[::1]:9000", "admin", "[::1]:9000"),
    ("ADMIN", "0.0.0.0:80", "admin", "0.0.0.0:80"),
    ("POINTS", "[]", "points", "[]"),
    ("STORE", "file:///var/lib/chaos", "store", "file:///var/lib/chaos"),
    ("STORE", " FILE://localhost//var/x/../lib/./chaos/ ", "store", "file:///var/lib/chaos"),
    ("STORE", "file:///var/my chaos%20%C3%A9", "store", "file:///var/my%20chaos%20%C3%A9"),
    ("AUDIT_LOG", "/var/log/chaos.jsonl", "audit_log", Path("/var/log/chaos.jsonl")),
    ("MAX_LATENCY", "500ms", "max_latency", 0.5),
    ("MAX_HANG", "30", "max_hang", 30.0),
    ("MAX_EXPIRES_AFTER", " 10m ", "max_expires_after", 600.0),
    (
        "FORBIDDEN_POINTS",
        "payment.refund, auth.*,",
        "forbidden_points",
        ("payment.refund", "auth.*"),
    ),
    ("FORBIDDEN_KINDS", "hang, pause", "forbidden_kinds", ("hang", "pause")),
    (
        "FORBIDDEN_KINDS",
        "latency,exception,return,hang,delay,print,yield,pause,off,call",
        "forbidden_kinds",
        (
            "latency",
            "exception",
            "return",
            "hang",
            "delay",
            "print",
            "yield",
            "pause",
            "off",
            "call",
        ),
    ),
]


@pytest.mark.parametrize(("variable", "value", "field", "expected"), GOOD)
def test_a_good_variable_is_read_without_a_word(
    variable: str,
    value: str,
    field: str,
    expected: object,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(f"CHAOSPOINT_{variable}", value)
    settings = read_settings()
    assert getattr(settings, field) == expected
    assert settings.model_fields_set == {field}
    assert not caplog.records


BAD = [
    *(("ENABLED", word, "enabled") for word in ("", " ", "maybe", "2", "tru", "enabled")),
    *(("ENVIRONMENT", word, "environment") for word in ("", "  ")),
    *(("ALLOWED_ENVIRONMENTS", word, "allowed_environments") for word in ("", " , ")),
    *(("CONFIG", word, "config") for word in ("", "  ")),
    *(
        ("SEED", word, "seed")
        for word in ("", "seven", "1.5", "true", "nan", "-3", "9223372036854775808", "9" * 5000)
    ),
    *(
        ("ADMIN", word, "admin")
        for word in ("", ":8475", "8475", "localhost", "a b:1", "h:65536", "h:-1", "h:x", "::1:80")
    ),
    *(("ADMIN", word, "admin") for word in ("[::1]", "[nope]:80", "http://h:80", "h:1²")),
    *(("POINTS", word, "points") for word in ("", " ")),
    *(("AUDIT_LOG", word, "audit_log") for word in ("", "  ")),
    *(
        ("STORE", word, "store")
        for word in (
            "",
            "/var/lib/chaos",
            "var/lib/chaos",
            "file:var/lib",
            "file://var/lib",
            "file://~/chaos",
            "file:///~/chaos",
            "file:///",
            "file://",
            "file:///var/..",
            "file:///var/lib?x=1",
            "file:///var/lib#x",
            "file:///var/%00",
            "file:///var/%0A",
            "file://[::1/var",
            "redis://localhost/0",
            "memory:",
        )
    ),
]


@pytest.mark.parametrize(("variable", "value", "field"), BAD)
def test_a_bad_variable_counts_as_unset_and_is_one_warning_with_the_cure(
    variable: str,
    value: str,
    field: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(f"CHAOSPOINT_{variable}", value)
    monkeypatch.setenv("CHAOSPOINT_ADMIN_TOKEN", "kept")
    settings = read_settings()
    assert getattr(settings, field) == Settings.model_fields[field].default
    assert settings.model_fields_set == {"admin_token"}, "a bad one takes no other with it"
    [record] = caplog.records
    said = record.getMessage()
    assert record.levelno == logging.WARNING
    assert said.startswith(f"CHAOSPOINT_{variable}={value[:70]!r}"[:60])
    assert f"is ignored: {Settings.model_fields[field].description}" in said
    assert len(said) < 300


BAD_LIMITS = [
    *(
        (f"MAX_{name}", word)
        for name in ("LATENCY", "HANG", "EXPIRES_AFTER")
        for word in ("", "0", "0s", "-1", "2 minutes", "nan", "true", "11y", "99999d")
    ),
    *(("FORBIDDEN_POINTS", word) for word in ("", " , ", "Payment", "a b", "a..b", "pay;auth")),
    *(("FORBIDDEN_KINDS", word) for word in ("", ",", "latnecy", "raise", "hang,returns", "Hang")),
]


@pytest.mark.parametrize(("variable", "value"), BAD_LIMITS)
def test_while_a_limit_means_nothing_nothing_from_outside_may_arm(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is ignored, and must not fail open."""
    monkeypatch.setenv("CHAOSPOINT_ENABLED", "true")
    monkeypatch.setenv(f"CHAOSPOINT_{variable}", value)
    field = variable.lower()
    settings = read_settings()
    cure = Settings.model_fields[field].description or "no cure"
    assert not getattr(settings, field)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"CHAOSPOINT_{variable}={value!r} is ignored, so only code can arm rules: " + cure
    )
    assert permission(settings) == Permission(
        False,
        f"CHAOSPOINT_{variable}={value!r} is not a valid limit, so only code can arm rules; {cure}",
        cure,
    )
    assert settings != Settings(enabled=True, **{field: Settings.model_fields[field].default})
    monkeypatch.delenv(f"CHAOSPOINT_{variable}")
    assert permission(read_settings()).allowed


def test_a_keyword_mends_a_bad_limit_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSPOINT_MAX_HANG", "long")
    monkeypatch.setenv("CHAOSPOINT_MAX_LATENCY", "1s")
    settings = Settings(enabled=True, max_hang="1m")  # type: ignore[arg-type]
    assert permission(settings).allowed
    assert (settings.max_hang, settings.max_latency) == (60.0, 1.0)
    assert permission(Settings(enabled=True, max_hang=None)).allowed


def test_a_bad_limit_in_code_is_an_error() -> None:
    for keys in ({"max_latency": "x"}, {"forbidden_points": "A"}, {"forbidden_kinds": ["x"]}):
        with pytest.raises(ValueError, match="or unset it"):
            Settings(**keys)  # type: ignore[arg-type]


def test_the_limits_are_those_of_the_variables() -> None:
    settings = Settings(
        max_latency="1s",  # type: ignore[arg-type]
        max_hang="2s",  # type: ignore[arg-type]
        max_expires_after="3s",  # type: ignore[arg-type]
        forbidden_points=["a", "b.*"],  # type: ignore[arg-type]
        forbidden_kinds=["hang"],  # type: ignore[arg-type]
    )
    assert settings.limits == Limits(1.0, 2.0, 3.0, ("a", "b.*"), ("hang",))
    assert Settings().limits == NO_LIMITS


def test_a_read_token_that_is_the_token_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or who may only read could control."""
    monkeypatch.setenv("CHAOSPOINT_ADMIN_TOKEN", "s3cret")
    monkeypatch.setenv("CHAOSPOINT_ADMIN_READ_TOKEN", " s3cret ")
    settings = read_settings()
    assert settings.admin_read_token is None
    assert settings.admin_token is not None
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "CHAOSPOINT_ADMIN_READ_TOKEN (not shown) is ignored" in record.getMessage()
    monkeypatch.setenv("CHAOSPOINT_ADMIN_READ_TOKEN", "another")
    caplog.clear()
    settings = read_settings()
    assert settings.admin_read_token is not None
    assert settings.admin_read_token.get_secret_value() == "another"
    assert "s3cret" not in caplog.text + repr(settings)
    assert "another" not in caplog.text + repr(settings)
    assert Settings(admin_token="a", admin_read_token="a").admin_read_token is None  # type: ignore[arg-type]


def test_a_token_is_stripped_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CHAOSPOINT_ADMIN_TOKEN", " s3cret\n")
    settings = read_settings()
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings) + str(settings) + caplog.text


@pytest.mark.parametrize("value", ["", " \n"])
@pytest.mark.parametrize("name", ["ADMIN_TOKEN", "ADMIN_READ_TOKEN"])
def test_an_empty_token_lets_nobody_in_and_says_so(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(f"CHAOSPOINT_{name}", value)
    assert getattr(read_settings(), name.lower()) is None
    [record] = caplog.records
    assert record.getMessage() == (
        f"CHAOSPOINT_{name} (not shown) does not contain a token; without another token the "
        f"admin endpoint refuses all clients: {Settings.model_fields[name.lower()].description}"
    )


def test_a_relative_config_is_made_absolute_before_the_program_moves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAOSPOINT_CONFIG", "plan.yaml")
    assert read_settings().config == tmp_path / "plan.yaml"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CHAOSPOINT_CONFIG", "~/plan.yaml")
    assert read_settings().config == tmp_path / "plan.yaml"


@pytest.mark.parametrize(
    ("variable", "cure"),
    [
        ("CHAOSPOINT_ENVIROMENT", "did you mean CHAOSPOINT_ENVIRONMENT?"),
        ("CHAOSPOINT_ENABLE", "did you mean CHAOSPOINT_ENABLED?"),
        ("CHAOSPOINT_X", "known: ENABLED, "),
    ],
)
def test_a_misspelt_variable_is_said_with_the_nearest_name(
    variable: str, cure: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, "production")
    read_settings()
    [record] = caplog.records
    assert f"{variable} is not a variable of chaospoint: {cure}" in record.getMessage()


def test_keywords_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSPOINT_SEED", "7")
    monkeypatch.setenv("CHAOSPOINT_ENVIRONMENT", "ci")
    settings = Settings(seed=8, admin="true")
    assert (settings.seed, settings.environment) == (8, "ci")
    assert settings.admin == "127.0.0.1:8475"


YES = "CHAOSPOINT_ENABLED is true, and "
LAW_10 = [
    # enabled, environment, allowed -> allowed?, why
    (None, "local", None, False, "CHAOSPOINT_ENABLED is not set"),
    (False, "local", None, False, "CHAOSPOINT_ENABLED is false"),
    (False, "production", None, False, "CHAOSPOINT_ENABLED is false"),
    *((True, name, None, True, f"is true, and {name!r}") for name in ("local", "dev", "ci")),
    *((True, name, None, True, YES) for name in ("development", "test", "staging")),
    *((True, name, None, False, f"is {name!r}") for name in ("production", "prod", "live", "x")),
    (True, "production", "production", True, YES),
    (True, "local", "production", False, "CHAOSPOINT_ALLOWED_ENVIRONMENTS (production)"),
]


@pytest.mark.parametrize(("enabled", "environment", "allowed", "expected", "why"), LAW_10)
def test_law_10_off_unless_allowed(
    enabled: bool | None, environment: str, allowed: str | None, expected: bool, why: str
) -> None:
    settings = Settings(
        enabled=enabled,
        environment=environment,
        **({} if allowed is None else {"allowed_environments": allowed}),  # type: ignore[arg-type]
    )
    decided = permission(settings)
    assert isinstance(decided, Permission)
    assert decided.allowed is expected
    assert why in decided.why


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:8475", ("127.0.0.1", 8475)), ("[::1]:0", ("::1", 0)), ("host:1", ("host", 1))],
)
def test_an_address_is_split(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    ("keys", "kind", "cure"),
    [
        ({"admin": "x"}, ValueError, "admin='x': write true .*127.0.0.1:9000"),
        ({"admin_token": ""}, ValueError, r"admin_token\(not shown\): write a secret"),
        ({"seed": -1}, ValueError, "seed='-1': write a whole number"),
        ({"enabld": True}, TypeError, "Settings has no 'enabld': did you mean 'enabled'?"),
        ({"qqq": True}, TypeError, "known are enabled, environment"),
    ],
)
def test_bad_keywords_are_refused_with_a_cure(
    keys: dict[str, Any], kind: type[Exception], cure: str
) -> None:
    with pytest.raises(kind, match=cure):
        Settings(**keys)
