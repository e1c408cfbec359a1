"""Who may come in: a table of requests, and which refusal each gets."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from typing import Any

import pytest

from chaospoint._registry.registry import Registry
from chaospoint.control.access import AccessPolicy, Caller, is_loopback
from chaospoint.control.http import Request
from chaospoint.control.problem import Problem
from chaospoint.control.service import Service
from chaospoint.control.throttle import Guesses
from chaospoint.sources.settings import Permission, Settings

TOKEN = "pässword 🔑"
SENT = TOKEN.encode().decode("latin-1")  # as adapters hand header text on


def kept_out(settings: Settings, method: str, client: str, headers: dict[str, str]) -> str | None:
    """Return the kind of the refusal, or None if the door lets the request pass."""
    request = Request(method, "/v1/points", headers, client=client)
    try:
        AccessPolicy.of(settings).check(request)
    except Problem as problem:
        document = json.loads(problem.response().body)
        assert document["status"] in (401, 403)
        assert document["detail"]
        return problem.kind
    return None


HERE = "127.0.0.1"
AWAY = "192.0.2.7"
HOST = {"host": "127.0.0.1:8475"}

WITHOUT_A_TOKEN = [
    # client, headers, what the door says to a read
    (HERE, HOST, None),
    ("127.8.9.10", HOST, None),
    ("::1", {"host": "[::1]:8475"}, None),
    ("::ffff:127.0.0.1", HOST, None),
    (HERE, {"host": "localhost:8475"}, None),
    (HERE, {"host": "LOCALHOST"}, None),
    (HERE, {"host": "127.1.2.3"}, None),
    # clients that are not of this machine, or not known
    (AWAY, HOST, "not-this-machine"),
    ("::ffff:192.0.2.7", HOST, "not-this-machine"),
    ("10.0.0.1", HOST, "not-this-machine"),
    ("", HOST, "not-this-machine"),
    ("testclient", HOST, "not-this-machine"),
    ("127.0.0.1.example.com", HOST, "not-this-machine"),
    # through a proxy
    (HERE, {**HOST, "x-forwarded-for": HERE}, "forwarded"),
    (HERE, {**HOST, "x-forwarded-host": "localhost"}, "forwarded"),
    (HERE, {**HOST, "x-forwarded-proto": "https"}, "forwarded"),
    (HERE, {**HOST, "x-real-ip": HERE}, "forwarded"),
    (HERE, {**HOST, "forwarded": "for=127.0.0.1"}, "forwarded"),
    (HERE, {**HOST, "via": "1.1 proxy"}, "forwarded"),
    # names that are not of this machine: DNS rebinding
    (HERE, {"host": "evil.example"}, "unknown-host"),
    (HERE, {"host": "evil.example:8475"}, "unknown-host"),
    (HERE, {"host": "127.0.0.1.evil.example"}, "unknown-host"),
    (HERE, {"host": "localhost.evil.example"}, "unknown-host"),
    (HERE, {"host": "127.0.0.1@evil.example"}, "unknown-host"),
    (HERE, {"host": "evil.example@127.0.0.1"}, "unknown-host"),
    (HERE, {"host": "127.0.0.1/evil"}, "unknown-host"),
    (HERE, {"host": "127.0.0.1, evil.example"}, "unknown-host"),
    (HERE, {"host": "127.0.0.1:port"}, "unknown-host"),
    (HERE, {"host": "[::1"}, "unknown-host"),
    (HERE, {"host": "0.0.0.0:8475"}, "unknown-host"),
    (HERE, {"host": "10.0.0.1"}, "unknown-host"),
    (HERE, {"host": ""}, "unknown-host"),
    (HERE, {}, "unknown-host"),
    # pages of other sites
    (HERE, {**HOST, "origin": "http://evil.example"}, "cross-site"),
    (HERE, {**HOST, "origin": "http://127.0.0.1:3000"}, "cross-site"),
    (HERE, {**HOST, "origin": "null"}, "cross-site"),
    (HERE, {**HOST, "origin": ""}, "cross-site"),
    (HERE, {**HOST, "origin": "http://[::1"}, "cross-site"),
    (HERE, {"origin": "file://"}, "cross-site"),
    (HERE, {**HOST, "sec-fetch-site": "cross-site"}, "cross-site"),
    (HERE, {**HOST, "sec-fetch-site": "same-site"}, "cross-site"),
    (HERE, {**HOST, "sec-fetch-site": "nonsense"}, "cross-site"),
    (HERE, {**HOST, "origin": "http://127.0.0.1:8475"}, None),
    (HERE, {**HOST, "sec-fetch-site": "same-origin"}, None),
    (HERE, {**HOST, "sec-fetch-site": "none"}, None),
]


@pytest.mark.parametrize(("client", "headers", "refusal"), WITHOUT_A_TOKEN)
def test_without_a_token(client: str, headers: dict[str, str], refusal: str | None) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "POST"):
        assert kept_out(Settings(enabled=True), method, client, headers) == refusal


WITH_A_TOKEN = [
    (AWAY, {"authorization": f"Bearer {SENT}"}, None),
    (AWAY, {"authorization": f"bearer  {SENT} ", "host": "any.example"}, None),
    (AWAY, {"authorization": f"Bearer {SENT}", "x-forwarded-for": "1.2.3.4"}, None),
    ("", {"authorization": f"Bearer {SENT}"}, None),
    (HERE, HOST, "token-needed"),
    (HERE, {**HOST, "authorization": ""}, "token-needed"),
    (HERE, {**HOST, "authorization": "Bearer"}, "token-needed"),
    (HERE, {**HOST, "authorization": "Bearer wrong"}, "token-needed"),
    (HERE, {**HOST, "authorization": f"Bearer {SENT}x"}, "token-needed"),
    (HERE, {**HOST, "authorization": f"Bearer {SENT[:-1]}"}, "token-needed"),
    (HERE, {**HOST, "authorization": f"Bearer {TOKEN}"}, "token-needed"),
    (HERE, {**HOST, "authorization": f"Basic {SENT}"}, "token-needed"),
    (HERE, {**HOST, "authorization": SENT}, "token-needed"),
    (HERE, {**HOST, "authorization": f"Bearer {SENT}, Bearer {SENT}"}, "token-needed"),
    # a browser of somebody who has the token is still no tool of a stranger's page
    (HERE, {"authorization": f"Bearer {SENT}", "origin": "http://evil"}, "cross-site"),
    (HERE, {"authorization": f"Bearer {SENT}", "sec-fetch-site": "cross-site"}, "cross-site"),
]


@pytest.mark.parametrize(("client", "headers", "refusal"), WITH_A_TOKEN)
def test_with_a_token(client: str, headers: dict[str, str], refusal: str | None) -> None:
    settings = Settings(enabled=True, admin_token=TOKEN)  # type: ignore[arg-type]
    for method in ("GET", "HEAD", "PUT", "DELETE", "POST"):
        assert kept_out(settings, method, client, headers) == refusal


READ = "to look at"
BOTH = {"enabled": True, "admin_token": TOKEN, "admin_read_token": READ}
READ_ONLY = {"enabled": True, "admin_read_token": READ}
TWO_TOKENS = [
    # settings, what is sent, the door to a read, to a write, who it is
    (BOTH, SENT, None, None, "control token"),
    (BOTH, READ, None, "read-token", "read token"),
    (BOTH, READ + "x", "token-needed", "token-needed", "wrong token"),
    (BOTH, None, "token-needed", "token-needed", "no token"),
    (READ_ONLY, READ, None, "read-token", "read token"),
    (READ_ONLY, SENT, "token-needed", "token-needed", "wrong token"),
    (READ_ONLY, None, "token-needed", "token-needed", "no token"),
    ({"enabled": True}, None, None, None, "no token"),
    ({"enabled": True}, "whatever", None, None, "no token"),
    ({**BOTH, "environment": "live"}, SENT, None, "not-allowed", "control token"),
    ({**BOTH, "environment": "live"}, READ, None, "read-token", "read token"),
]


@pytest.mark.parametrize(("settings", "sent", "reading", "writing", "name"), TWO_TOKENS)
def test_the_read_token_reads_and_the_other_controls(
    settings: dict[str, object],
    sent: str | None,
    reading: str | None,
    writing: str | None,
    name: str,
) -> None:
    headers = HOST if sent is None else {**HOST, "authorization": f"Bearer {sent}"}
    made = Settings(**settings)  # type: ignore[arg-type]
    for method in ("GET", "HEAD"):
        assert kept_out(made, method, HERE, headers) == reading
    for method in ("PUT", "POST", "DELETE", "PATCH", "OPTIONS", "get"):
        assert kept_out(made, method, HERE, headers) == writing
    request = Request("GET", "/v1/points", headers, client=HERE)
    caller = Caller(name, HERE)  # type: ignore[arg-type]
    assert AccessPolicy.of(made).caller(request) == caller
    if reading is None:
        assert AccessPolicy.of(made).check(request) == caller


def problem(settings: dict[str, object], method: str, sent: str | None) -> Problem:
    headers = {} if sent is None else {"authorization": f"Bearer {sent}"}
    with pytest.raises(Problem) as caught:
        AccessPolicy.of(Settings(**settings)).check(Request(method, "/", headers, client=AWAY))  # type: ignore[arg-type]
    return caught.value


def test_who_may_only_read_is_told_what_it_takes_to_write() -> None:
    cure = problem(BOTH, "PUT", READ).members["cure"]
    assert cure == "send 'Authorization: Bearer ...' with the value of CHAOSPOINT_ADMIN_TOKEN"
    cure = problem(READ_ONLY, "PUT", READ).members["cure"]
    assert str(cure).startswith("set CHAOSPOINT_ADMIN_TOKEN in the service, start it again")


def test_a_door_without_a_token_that_controls_is_read_only() -> None:
    for settings, expected in ((BOTH, False), (READ_ONLY, True), ({}, False)):
        assert AccessPolicy.of(Settings(**settings)).read_only is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (BOTH, "CHAOSPOINT_ADMIN_TOKEN or CHAOSPOINT_ADMIN_READ_TOKEN, which only reads"),
        (READ_ONLY, "the value of CHAOSPOINT_ADMIN_READ_TOKEN"),
    ],
)
def test_the_cure_names_the_tokens_that_there_are(settings: dict[str, object], named: str) -> None:
    assert named in str(problem(settings, "GET", None).members["cure"])


def test_both_tokens_are_compared_whichever_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(given: bytes, token: bytes) -> bool:
        compared.append(token)
        return given == token

    monkeypatch.setattr(hmac, "compare_digest", compare)
    policy = AccessPolicy.of(Settings(**BOTH))  # type: ignore[arg-type]
    for sent in (SENT, READ, "x"):
        compared.clear()
        policy.caller(Request("GET", "/", {"authorization": f"Bearer {sent}"}))
        assert compared == [TOKEN.encode(), READ.encode()]


def test_only_the_refusal_of_a_wrong_token_is_held_back() -> None:
    now = [0.0]
    policy = replace(AccessPolicy.of(Settings(**BOTH)), guesses=Guesses(lambda: now[0]))  # type: ignore[arg-type]

    def delay(method: str = "GET", **headers: str) -> float:
        with pytest.raises(Problem) as refused:
            policy.check(Request(method, "/", headers, client=AWAY))
        assert "delay" not in refused.value.response().body.decode()
        return refused.value.delay_seconds

    assert [delay(authorization="Bearer x") for _ in range(3)] == [0.1, 0.2, 0.4]
    policy.check(Request("PUT", "/", {"authorization": f"Bearer {SENT}"}))
    assert delay("PUT", authorization=f"Bearer {READ}") == 0.0, "a valid one, though refused"
    assert delay() == delay(authorization="Bearer") == 0.0, "who sends none guesses nothing"
    assert delay(authorization=f"Bearer {SENT}", origin="http://evil") == 0.0
    assert delay(authorization=f"Basic {SENT}") == 0.8
    assert delay(authorization=f"Basic {READ}") == 1.6


WRITES = [
    # enabled, environment, without a token, with one
    *((True, name, None, None) for name in ("local", "dev", "development", "test", "ci")),
    (True, "staging", "token-needed-to-write", None),
    (True, "production", "not-allowed", "not-allowed"),
    (None, "local", "not-allowed", "not-allowed"),
    (False, "local", "not-allowed", "not-allowed"),
]


@pytest.mark.parametrize(("enabled", "environment", "without", "with_one"), WRITES)
def test_law_10_where_writing_is_allowed(
    enabled: bool | None, environment: str, without: str | None, with_one: str | None
) -> None:
    said = {"enabled": enabled, "environment": environment}
    bearer = {"authorization": f"Bearer {SENT}"}
    for method in ("PUT", "DELETE", "POST", "PATCH", "NONSENSE"):
        assert kept_out(Settings(**said), method, HERE, HOST) == without  # type: ignore[arg-type]
        settings = Settings(**said, admin_token=TOKEN)  # type: ignore[arg-type]
        assert kept_out(settings, method, AWAY, bearer) == with_one
    for method in ("GET", "HEAD"):
        assert kept_out(Settings(**said), method, HERE, HOST) is None  # type: ignore[arg-type]
        assert kept_out(settings, method, AWAY, bearer) is None


def test_another_allowed_environment_needs_a_token_to_write() -> None:
    said = {"enabled": True, "environment": "live", "allowed_environments": ("live",)}
    assert kept_out(Settings(**said), "PUT", HERE, HOST) == "token-needed-to-write"  # type: ignore[arg-type]
    settings = Settings(**said, admin_token="t")  # type: ignore[arg-type]
    assert kept_out(settings, "PUT", AWAY, {"authorization": "Bearer t"}) is None


def test_the_name_that_the_server_is_bound_to_is_a_name_of_this_machine() -> None:
    settings = Settings(enabled=True, admin="shop.internal:8475")
    assert kept_out(settings, "GET", HERE, {"host": "shop.internal:8475"}) is None
    for everywhere in ("0.0.0.0:8475", "[::]:8475"):
        settings = Settings(enabled=True, admin=everywhere)
        assert kept_out(settings, "GET", HERE, {"host": everywhere}) == "unknown-host"


def test_a_missing_token_is_401_for_everything_and_says_the_scheme() -> None:
    settings = Settings(enabled=True, admin_token=TOKEN)  # type: ignore[arg-type]
    service = Service.of(settings, Registry())
    for path in ("/metrics", "/v1/status", "/nowhere"):
        response = service.answer(Request("GET", path, HOST, client=HERE))
        document = json.loads(response.body)
        assert response.status == document["status"] == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert document["type"] == "urn:chaospoint:problem:token-needed"
        assert "CHAOSPOINT_ADMIN_TOKEN" in document["cure"]
        assert TOKEN not in response.body.decode()


def test_where_chaos_is_not_allowed_the_status_says_why_and_writes_are_403() -> None:
    service = Service.of(Settings(enabled=None), Registry())
    status = json.loads(service.answer(Request("GET", "/v1/status", HOST, client=HERE)).body)
    assert status["allowed"] is False
    assert "CHAOSPOINT_ENABLED is not set" in status["why"]
    response = service.answer(Request("POST", "/v1/enable", HOST, client=HERE))
    document = json.loads(response.body)
    assert response.status == 403
    assert document["type"] == "urn:chaospoint:problem:not-allowed"
    assert document["detail"] == status["why"]
    assert document["environment"] == "local"


def test_a_bad_limit_is_why_nothing_may_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSPOINT_MAX_HANG", "long")
    refused = problem({"enabled": True, "admin_token": "t"}, "PUT", "t")
    assert (refused.status, refused.kind) == (403, "not-allowed")
    assert "CHAOSPOINT_MAX_HANG='long'" in refused.detail
    assert "such as 30s" in str(refused.members["cure"])


def test_a_door_never_shows_its_tokens() -> None:
    policy = AccessPolicy("local", Permission(True, ""), b"s3cret", read_token=b"to look at")
    assert "s3cret" not in repr(policy)
    assert "look" not in repr(policy)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"])
def test_an_address_of_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["", "localhost", "128.0.0.1", "::", "0.0.0.0", "fe80::1%lo"])
def test_an_address_that_may_be_another_machine_s(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    "said",
    [{}, {"enabled": False}, {"enabled": True, "environment": "production"}],
    ids=["unset", "false", "production"],
)
@pytest.mark.parametrize("path", ["/v1/disable", "/v1/disable/"])
def test_disabling_is_allowed_also_where_nothing_may_arm(said: dict[str, Any], path: str) -> None:
    """For the control token from anywhere, and without tokens for this machine."""
    sent, away = {"authorization": f"Bearer {SENT}"}, "10.0.0.1"
    with_token = AccessPolicy.of(Settings(**said, admin_token=TOKEN))
    assert with_token.check(Request("POST", path, sent, client=away)).name == "control token"
    with_both = AccessPolicy.of(Settings(**said, admin_token=TOKEN, admin_read_token=READ))
    reads = {"authorization": f"Bearer {READ}"}
    for policy, headers, kind in (
        (with_token, {}, "token-needed"),
        (with_both, reads, "read-token"),
        (AccessPolicy.of(Settings(**said)), {**HOST, "via": "1.1 edge"}, "forwarded"),
    ):
        with pytest.raises(Problem) as refused:
            policy.check(Request("POST", path, headers, client=HERE))
        assert refused.value.kind == kind
    open_here = AccessPolicy.of(Settings(**said))
    assert open_here.check(Request("POST", path, HOST, client=HERE)).name == "no token"
    with pytest.raises(Problem) as refused:
        open_here.check(Request("POST", path, HOST, client=away))
    assert refused.value.kind == "not-this-machine"
    for policy, headers, client in ((with_token, sent, away), (open_here, HOST, HERE)):
        with pytest.raises(Problem, match="CHAOSPOINT_EN") as refused:
            policy.check(Request("POST", "/v1/enable", headers, client=client))
        assert refused.value.kind == "not-allowed"
