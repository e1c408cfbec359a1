"""Texts from outside forge no line of a log, act on no terminal and make no header."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest
from rich.console import Console, RenderableType

from chaospoint import Registry
from chaospoint.arming import Origin, install_plan
from chaospoint.cli import tables
from chaospoint.cli.output import Output
from chaospoint.control.http import OPERATOR, Request, Response
from chaospoint.control.service import Service
from chaospoint.errors import ChaosError
from chaospoint.plan import Rule, parse_plan
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import Settings
from chaospoint.stores import open_store
from chaospoint.stores.desired import Desired
from chaospoint.stores.reconciler import Reconciler, reconciler_of, use

EVIL = "x\nCRITICAL:root:forged\r\x1b[31m\x07\x9b\u2028\u202e\x85\x00"
RULES: list[Any] = [
    {"rule": "off", "where": {EVIL: "a"}},
    {"rule": "off", "where": {"user": EVIL}},
    {"rule": "off", "where": {"user": [EVIL, EVIL + "*"]}},
    {"faults": [{"kind": "print", "message": EVIL}]},
    {"faults": [{"kind": EVIL}]},
    {"exception": EVIL},
    {"exception": {"type": "TimeoutError", "args": [EVIL]}},
    {"exception": {"type": "OSError", "args": [1, EVIL], "notes": [EVIL]}},
    {"exception": [{"type": "TimeoutError", "args": [EVIL], "weight": 1}]},
    {"returns": EVIL},
    {"returns": {EVIL: [EVIL]}},
    {"latency": EVIL},
    {"latency": 0, EVIL: 1},
    {"latency": 0, "when": EVIL},
    {"latency": 0, "scope": EVIL},
    {"latency": 0, "expires_after": EVIL},
    {"latency": 0, "point": EVIL},
    {"rule": EVIL},
    {"rule": f'raise(TimeoutError,"{EVIL}")'},
    {"rule": f"raise({EVIL})"},
    {"rule": f"off [user={EVIL}]"},
    {"rule": f'print("{EVIL}")'},
    {"fault": EVIL},
    EVIL,
]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a program with the usual handler has in its log."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
    loggers = [logging.getLogger(name) for name in ("chaospoint", "chaospoint.audit")]
    levels = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield text
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def check_lines(text: str) -> None:
    lines = text.split("\n")
    assert all(line.isprintable() for line in lines), [
        line for line in lines if not line.isprintable()
    ]
    assert not any(line.startswith("CRITICAL") for line in lines)


def check_answer(answer: Response) -> None:
    for name, value in answer.headers.items():
        assert (name + value).isprintable()
    assert answer.body.decode().replace("\n", "").isprintable()
    json.loads(answer.body)


def hit(registry: Registry) -> None:
    with suppress(TimeoutError, OSError):
        registry.point("a.b").hit(user="u")


@pytest.fixture
def service(registry: Registry, tmp_path: Path) -> Service:
    @registry.point("a.b", description="what it does")
    def function(user: str = "u") -> str:
        return user

    registry.keep = function  # type: ignore[attr-defined]
    return Service.of(Settings(enabled=True, audit_log=tmp_path / "audit"), registry)


def asked(method: str, path: str, body: object = None, **headers: str) -> Request:
    sent = b"" if body is None else json.dumps(body).encode()
    given = {"host": "127.0.0.1", "content-type": "application/json", **headers}
    return Request(method, path, headers=given, body=sent, client="127.0.0.1")


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
@pytest.mark.parametrize("query", ["", "dry_run=true"])
def test_a_rule_over_http(
    registry: Registry, service: Service, log: io.StringIO, tmp_path: Path, rule: Any, query: str
) -> None:
    body = rule if isinstance(rule, dict) else {"rule": rule}
    request = asked("PUT", "/v1/points/a.b", body)
    check_answer(service.answer(Request(**{**_fields(request), "query": query})))
    hit(registry)
    for path in ("/v1/status", "/v1/points/a.b", "/v1/plan", "/v1/injections"):
        check_answer(service.answer(asked("GET", path)))
    registry.flush()
    registry.disarm()
    check_lines(log.getvalue())
    check_lines((tmp_path / "audit").read_text())
    assert EVIL not in generate_latest(REGISTRY).decode()


def _fields(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__slots__}


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
@pytest.mark.parametrize("source", ["env", "file"])
def test_a_rule_of_environment_or_file(
    registry: Registry, service: Service, log: io.StringIO, tmp_path: Path, rule: Any, source: str
) -> None:
    data = {"point": "a.b", **rule} if isinstance(rule, dict) else rule
    path = tmp_path / "plan.json"
    path.write_text(json.dumps([data]))
    points = json.dumps([data])
    keys: Any = {"points": points} if source == "env" else {"config": path}
    sources = Sources(Settings(enabled=True, **keys), registry)
    sources.read_env()
    sources.read_file()
    hit(registry)
    check_answer(service.answer(asked("GET", "/v1/status")))
    sources.clear()
    check_lines(log.getvalue())


@pytest.mark.parametrize(
    "request_",
    [
        asked("GET", f"/v1/points/{EVIL}"),
        asked("PUT", f"/v1/points/{EVIL}", {"latency": 1}),
        asked("GET", f"/v1/{EVIL}"),
        asked(EVIL, "/v1/status"),
        asked("POST", "/v1/disable", {"reason": EVIL}),
        asked("POST", "/v1/enable", {EVIL: EVIL}),
        asked("DELETE", "/v1/points", **{"if-match": EVIL}),
        asked("DELETE", "/v1/points", **{OPERATOR: EVIL}),
        asked("GET", "/v1/status", host=EVIL),
        asked("GET", "/v1/status", origin=EVIL),
        asked("PUT", "/v1/points/a.b", {"latency": 1}, **{"content-type": EVIL}),
        asked("PUT", "/v1/points/a.b", {"latency": 1}, **{"content-length": EVIL}),
        asked("PUT", "/v1/points/a.b", {"latency": 1}, **{"x-forwarded-for": EVIL}),
        Request("GET", "/v1/points", {"host": "127.0.0.1"}, b"", "127.0.0.1", f"after={EVIL}"),
        Request("GET", "/v1/points", {"host": "127.0.0.1"}, b"", "127.0.0.1", f"{EVIL}=1"),
        Request("GET", "/v1/injections", {"host": "127.0.0.1"}, b"", "127.0.0.1", f"limit={EVIL}"),
        Request("GET", "/v1/status", {"host": "127.0.0.1"}, b"", EVIL),
    ],
    ids=range(17),
)
def test_a_request(
    registry: Registry, service: Service, log: io.StringIO, tmp_path: Path, request_: Request
) -> None:
    check_answer(service.answer(request_))
    check_answer(service.answer(asked("GET", "/v1/status")))
    registry.enable()
    check_lines(log.getvalue())
    if (tmp_path / "audit").exists():
        check_lines((tmp_path / "audit").read_text())


def test_a_request_that_meets_a_bug(
    service: Service, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaospoint.control.views.Views.point", None)
    monkeypatch.setattr("chaospoint.control.service.MAX_NAME", 1000)
    assert service.answer(asked("GET", f"/v1/points/{EVIL}")).status == 500
    check_lines(log.getvalue().partition("Traceback")[0])


VIEWS: dict[str, Callable[[Any], Iterable[RenderableType]]] = {
    "rules": lambda one: [tables.rules([one])],
    "points": lambda one: [tables.points([one])],
    "workers": lambda one: [tables.workers({"generation": 1, "workers": [one]})],
    "injections": lambda one: [tables.injections([one])],
    "preview": lambda one: tables.preview({"generation": 1, "rules": [one], "replaces": [EVIL]}),
    "facts": lambda _: [tables.facts([("name", EVIL)])],
}


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("name", VIEWS)
def test_tables_of_the_command_line(name: str, terminal: bool) -> None:
    text = io.StringIO()
    output = Output(as_json=False)
    output.console = Console(
        file=text,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=terminal,
        width=300,
        no_color=True,
    )
    output.show({}, *VIEWS[name](_Everywhere()))
    plain = text.getvalue().replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[1;31m", "")
    assert "forged" in plain
    for line in plain.split("\n"):
        assert line.isprintable()
        assert not line.startswith("CRITICAL")


class _Everywhere(dict[str, object]):
    """An answer in which each text is evil."""

    def get(self, key: str, default: object = None) -> Any:  # type: ignore[override]
        if key in ("points", "does", "left_out", "placements"):
            return [EVIL] if key != "points" else []
        return EVIL


def test_what_somebody_wrote_into_a_store(
    registry: Registry, log: io.StringIO, tmp_path: Path
) -> None:
    service = Service.of(Settings(enabled=True, store=f"file://{tmp_path}/store"), registry)
    registry.point("a.b")
    store = open_store(f"file://{tmp_path}/store")
    use(registry, Reconciler(store, registry))
    rules = [(Rule.parse("a.b=off"), None), (Rule.parse("a.b=latency(0ms)"), None)]
    for edit in (
        lambda one: one.put(rules, default_seconds=60, by=EVIL, now=time.time()),
        lambda one: one.disable(by=EVIL, now=time.time(), reason=EVIL),
    ):
        store.update(edit)
        reconciler_of(registry).reconcile()
        hit(registry)
        check_answer(service.answer(asked("GET", "/v1/status")))
        if edit(Desired()).enabled:
            assert registry.rules()
    check_lines(log.getvalue())
    registry.enable()


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_a_rule_of_a_store(registry: Registry, log: io.StringIO, rule: Any) -> None:
    registry.point("a.b")
    data = {"point": "a.b", **rule} if isinstance(rule, dict) else rule
    try:
        install_plan(parse_plan([data]), origin=Origin("store"), registry=registry)
    except ChaosError as error:
        check_lines(str(error))
    hit(registry)
    registry.flush()
    registry.disarm()
    check_lines(log.getvalue())
