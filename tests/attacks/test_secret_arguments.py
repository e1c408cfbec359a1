"""Rules from outside cannot ask for an argument that looks secret, or it could be guessed."""

from __future__ import annotations

import pytest

from chaospoint import Registry
from chaospoint.errors import LimitExceeded
from chaospoint.faults.lookup import Trust
from chaospoint.plan import parse_plan
from chaospoint.plan.compiling import compile_plan
from chaospoint.plan.limits import Limits
from chaospoint.plan.secret_names import looks_secret
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import permission, read_settings

SECRET = [
    "password",
    "PASSWORD",
    "new_password",
    "newPassword",
    "passwd",
    "pwd",
    "db_pass",
    "passphrase",
    "token",
    "accessToken",
    "access_token",
    "X-Auth-Token",
    "csrf_token",
    "tokens",
    "jwt",
    "bearer",
    "secret",
    "client_secret",
    "clientSecrets",
    "credentials",
    "authorization",
    "auth",
    "cookie",
    "set_cookie",
    "cookies",
    "key",
    "api_key",
    "apiKey",
    "APIKey",
    "apikey",
    "private_key",
    "pin",
    "headers",
    "environ",
    "otp",
    "cvv",
    "ssn",
    "session_id",
    "sessionid",
    "encryptionKey2",
]
PLAIN = [
    "tenant",
    "user",
    "user_id",
    "amount",
    "monkey",
    "keyboard",
    "passenger",
    "author",
    "spin",
    "compass",
    "query",
    "method",
    "path",
    "order",
    "host",
    "keyword",
    "opinion",
    "turkey",
    "id",
]


@pytest.mark.parametrize("name", SECRET)
def test_a_name_of_a_secret_looks_like_one(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", PLAIN)
def test_other_names_do_not(name: str) -> None:
    assert not looks_secret(name)


@pytest.mark.parametrize("name", ["iban", "IBAN", "their_iban", "card_number", "Card_Number"])
def test_a_setting_adds_names(name: str) -> None:
    assert looks_secret(name, ("iban", "card_number"))
    assert not looks_secret(name)


@pytest.mark.parametrize("trust", ["loaded", "deferred"])
@pytest.mark.parametrize("wanted", ["a*", ["a*", "b*"], "hunter2", 1])
def test_only_code_asks_for_a_secret(trust: Trust, wanted: object) -> None:
    plan = parse_plan([{"point": "a", "rule": "off", "where": {"user": "u", "password": wanted}}])
    with pytest.raises(LimitExceeded, match=r"where uses 'password'.*; use another") as said:
        compile_plan(plan, trust=trust)
    assert "hunter2" not in str(said.value)
    assert compile_plan(plan, trust="code")


def test_the_text_of_a_rule_asks_for_none_either() -> None:
    plan = parse_plan(["a=off [api_key=a*]"])
    with pytest.raises(LimitExceeded, match="api_key"):
        compile_plan(plan, trust="loaded")


def test_env_and_file_obey_the_names_of_the_settings(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSPOINT_ENABLED", "true")
    monkeypatch.setenv("CHAOSPOINT_SECRET_ARGUMENTS", "iban, tenant")
    monkeypatch.setenv("CHAOSPOINT_POINTS", "a=off [tenant=acme]")
    settings = read_settings()
    assert settings.limits == Limits(secret_arguments=("iban", "tenant"))
    assert Sources(settings, registry).read_env() == "env: refused"
    monkeypatch.setenv("CHAOSPOINT_SECRET_ARGUMENTS", "not-a-name")
    assert not permission(read_settings()).allowed
