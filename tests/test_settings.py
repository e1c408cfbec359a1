"""What the environment says: good, bad and misspelt; and law 10, which it decides."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from chaospoint.settings import Permission, Settings, permission, read_settings, split_address

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
    assert f"counts as unset: {Settings.model_fields[field].description}" in said
    assert len(said) < 300


def test_a_token_is_stripped_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CHAOSPOINT_ADMIN_TOKEN", " s3cret\n")
    settings = read_settings()
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings) + str(settings) + caplog.text


@pytest.mark.parametrize("value", ["", " \n"])
def test_an_empty_token_counts_as_unset_and_says_so(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CHAOSPOINT_ADMIN_TOKEN", value)
    assert read_settings().admin_token is None
    [record] = caplog.records
    assert record.getMessage().startswith("CHAOSPOINT_ADMIN_TOKEN (not shown) counts as unset")


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
    assert f"{variable} means nothing to chaospoint: {cure}" in record.getMessage()


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
