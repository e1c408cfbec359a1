"""Names and globs from outside are short, and matchers of long ones are not cached."""

from __future__ import annotations

from typing import Any

import pytest

from chaospoint._kernel import names
from chaospoint._kernel.names import MAX_NAME, matcher, matches
from chaospoint._registry.registry import Registry
from chaospoint.control.http import Request
from chaospoint.control.service import Service
from chaospoint.errors import InvalidPlan
from chaospoint.plan import Plan, Rule, parse_plan
from chaospoint.sources.settings import Settings

LONG = ["*a" * 128, "a" * (MAX_NAME + 1), "*" * 20_000]


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("form", ["keys", "text", "code"])
def test_no_rule_has_a_long_name(name: str, form: str) -> None:
    keys: Any = {"point": name, "latency": 1}
    made = {
        "code": lambda: Rule(**keys),
        "text": lambda: Plan.parse(f"{name}=off"),
        "keys": lambda: parse_plan([keys]),
    }
    with pytest.raises(InvalidPlan, match="longer than 255 characters; write a shorter"):
        made[form]()


def test_the_longest_name_is_one() -> None:
    assert parse_plan([{"point": "*" + "a" * (MAX_NAME - 1), "latency": 1}]).rules


@pytest.mark.parametrize("wanted", ["*a" * 128, ["b", "*a" * 128], [["*a" * 128]]])
def test_no_rule_from_outside_asks_for_a_long_glob(wanted: Any) -> None:
    with pytest.raises(InvalidPlan, match="a glob of more than 255 characters"):
        parse_plan([{"point": "a", "latency": 1, "where": {"user": wanted}}])
    assert parse_plan([{"point": "a", "latency": 1, "where": {"user": "a" * 1000}}])


def test_what_matches_a_long_glob_works_and_is_not_kept() -> None:
    for n in range(20):
        long = f"{n}" + "*a" * 5000
        assert matches(long, f"{n}" + "ba" * 5000)
        assert not matches(long, f"{n}" + "ba" * 4999)
    assert matcher("x*y") is matcher("x*y")
    kept = names._matcher.cache_info()
    assert kept.maxsize == 1024
    assert matcher("*a" * 200) is not matcher("*a" * 200)


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/v1/points/{}", ""),
        ("PUT", "/v1/points/{}", ""),
        ("DELETE", "/v1/points/{}", ""),
        ("POST", "/v1/points/{}/renew", ""),
        ("POST", "/v1/points/{}/release", ""),
        ("GET", "/v1/injections", "point={}"),
    ],
)
def test_a_long_name_is_looked_up_nowhere(
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    method: str,
    path: str,
    query: str,
) -> None:
    def looked(*args: object) -> None:
        raise AssertionError("it was looked up")

    service = Service.of(Settings(enabled=True), registry)
    for place in ("matches", "nearest"):
        monkeypatch.setattr(f"chaospoint.control.views.{place}", looked)
    asked = Request(
        method,
        path.format(name),
        headers={"host": "127.0.0.1", "content-type": "application/json"},
        body=b'{"latency": 1}' if method == "PUT" else b"",
        client="127.0.0.1",
        query=query.format(name),
    )
    with pytest.raises(StopIteration) as ended:
        next(service.steps(asked))
    answer = ended.value.value
    assert answer.status == (400 if query else 404)
    assert len(answer.body) < 1000
