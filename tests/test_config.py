"""``start`` and ``stop``: sources, the file's life, the admin endpoint, threads, forks, imports."""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import urlsplit

import httpx
import pytest
from helpers import Witness

from chaospoint import config
from chaospoint._kernel.context import in_chaospoint
from chaospoint._kernel.injection import Injection
from chaospoint._registry.notices import Notice, Reloaded, RuleArmed
from chaospoint._registry.registry import Registry
from chaospoint.arming import arm
from chaospoint.sources.reading import reports
from chaospoint.sources.settings import Settings
from chaospoint.stores import open_store
from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.reconciler import reconciler_of
from chaospoint.stores.store import Worker
from chaospoint.testing import FakeClock


@pytest.fixture(autouse=True)
def _stopped() -> Iterator[None]:
    before = threads()
    yield
    config.stop()
    assert threads() <= before


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "chaospoint-" in thread.name} - {
        "chaospoint-keeper",  # the kernel's own, which end by themselves
        "chaospoint-expiry",
        "chaospoint-request_0",  # that of mounted apps, which other tests have
    }


class Listening:
    """Hears of reloads."""

    def __init__(self) -> None:
        self.reloads: list[Reloaded] = []

    def observe(self, injection: Injection) -> None:
        pass

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, Reloaded):
            self.reloads.append(notice)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def charge(registry: Registry) -> Callable[[], str]:
    @registry.point("payment.charge")
    def charge() -> str:
        return "charged"

    return charge


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    write(path, exception="KeyError")
    return path


def write(path: Path, **keys: object) -> None:
    """Replace the file as careful editors do."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps([{"point": "payment.charge", **keys}]))
    new.replace(path)


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what was logged at ``level``, but for rules that wait for a point to be made."""
    texts = [record.getMessage() for record in caplog.records if record.levelno == level]
    return [text for text in texts if "the rule waits for one" not in text]


def poll() -> bool:
    """Do by hand what the poller's thread does every second."""
    running = config._running
    assert running is not None
    assert running._sources.poller is not None
    running._sources.poller.rounds.stop()
    return running._sources.poller.poll()


def admin_url() -> str:
    running = config._running
    assert running is not None
    assert running._server is not None
    return running._server.url or ""


ENV = '[{"point": "payment.charge", "exception": "LookupError", "times": 1}]'


# Starting and stopping


def test_start_arms_env_before_file_and_stop_undoes_all_of_it(
    registry: Registry,
    charge: Callable[[], str],
    plan_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Other tests import servers with reloaders, for which there would be one thread more.
    monkeypatch.setattr(config, "may_be_parent", lambda: False)
    config.start(
        Settings(enabled=True, points=ENV, config=plan_file, admin="127.0.0.1:0"),
        registry=registry,
    )
    assert [rule.source for rule in registry.rules()] == ["env", "file"]
    with pytest.raises(LookupError):
        charge()
    with pytest.raises(KeyError):
        charge()
    assert threads() == {"chaospoint-poller", "chaospoint-admin"}
    url = admin_url()
    assert httpx.put(f"{url}/v1/points/payment.charge", json={"latency": 0.001}).status_code == 200
    config.stop()
    assert registry.rules() == ()
    assert charge() == "charged"
    assert threads() == set()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    config.stop()


def test_stop_lets_out_an_answer_that_waits_for_other_workers(registry: Registry) -> None:
    registry.point("payment.charge")
    config.start(Settings(enabled=True, admin="127.0.0.1:0"), registry=registry)
    reconciler_of(registry).store.report(Worker("silent", 1))  # it acknowledges nothing
    assert config._running
    server = config._running._server
    assert server
    assert server._listener
    answers = []
    url = f"{server.url}/v1/points/payment.charge"
    put = threading.Thread(
        target=lambda: answers.append(httpx.put(url, json={"latency": 0}, timeout=30))
    )
    put.start()
    while not server._listener.answers.count:
        assert put.is_alive()
    config.stop()
    put.join(30)
    assert [one["id"] for one in answers[0].json()["missing"]] == ["silent"]


def test_stop_leaves_what_code_armed(registry: Registry, charge: Callable[[], str]) -> None:
    from chaospoint.arming import arm

    config.start(Settings(enabled=True, points=ENV), registry=registry)
    armed = arm("payment.charge", exception=OSError, registry=registry)
    config.stop()
    with pytest.raises(OSError):  # noqa: PT011 - its message is empty
        charge()
    armed.disarm()


def test_starting_twice_starts_once(
    registry: Registry, plan_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(enabled=True, points=ENV, config=plan_file, admin="127.0.0.1:0")
    for _ in range(2):
        config.start(settings, registry=registry)
        config.start()
    assert len(registry.rules()) == 2
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("chaospoint-poller") == names.count("chaospoint-admin") == 1
    assert said(caplog, logging.WARNING) == []
    config.start(Settings(enabled=True), registry=registry)
    config.start(settings, registry=Registry())
    config.start(registry=Registry())
    settings_differ, *registry_differs = said(caplog, logging.WARNING)
    assert "with other settings: call stop() before start()" in settings_differ
    assert len(registry_differs) == 2
    assert all("for another registry: call stop()" in text for text in registry_differs)


def test_many_threads_start_and_stop_at_once(registry: Registry, plan_file: Path) -> None:
    settings = Settings(enabled=True, points=ENV, config=plan_file, admin="127.0.0.1:0")
    barrier = threading.Barrier(8)
    wrong: list[object] = []

    def work() -> None:
        barrier.wait()
        for _ in range(5):
            config.start(settings, registry=registry)
            config.stop()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        wrong += [worker] if worker.is_alive() else []
    assert not wrong
    config.stop()
    assert registry.rules() == ()
    assert threads() == set()


def test_every_start_returns_with_the_rules_armed(
    registry: Registry, plan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two that start at once waits for the first."""
    entered, go, armed = threading.Event(), threading.Event(), []
    original = config.Sources.read_env

    def slow(self: config.Sources) -> str | None:
        entered.set()
        assert go.wait(10)
        return original(self)

    monkeypatch.setattr(config.Sources, "read_env", slow)
    settings = Settings(enabled=True, points=ENV, config=plan_file)

    def second() -> None:
        config.start(settings, registry=registry)
        armed.append(len(registry.rules()))

    one = threading.Thread(target=config.start, args=(settings,), kwargs={"registry": registry})
    one.start()
    assert entered.wait(10)
    two = threading.Thread(target=second)
    two.start()
    go.set()
    one.join(10)
    two.join(10)
    assert armed == [2]


def test_an_observer_may_start_and_stop(registry: Registry) -> None:
    """No lock is held while observers are told."""

    settings = Settings(enabled=True, points=ENV)
    told: list[Notice] = []

    class Meddling(Listening):
        def notice(self, notice: Notice) -> None:
            told.append(notice)
            if len(told) == 1:
                config.start(settings, registry=registry)
                config.stop()

    registry.add_observer(Meddling())
    config.start(settings, registry=registry)
    config.stop()
    assert len(told) > 1
    assert registry.rules() == ()


NOT_ALLOWED = [
    (Settings(enabled=None), logging.INFO, "CHAOSPOINT_ENABLED is not set"),
    (Settings(enabled=False), logging.INFO, "CHAOSPOINT_ENABLED is false"),
    (Settings(enabled=True, environment="production"), logging.WARNING, "'production'"),
]


@pytest.mark.parametrize(("settings", "level", "why"), NOT_ALLOWED)
def test_law_10_start_where_it_is_not_allowed_is_one_line_and_nothing_else(
    settings: Settings,
    level: int,
    why: str,
    registry: Registry,
    plan_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "chaospoint")
    whole = settings.model_copy(update={"points": ENV, "config": plan_file, "admin": "127.0.0.1:0"})
    config.start(whole, registry=registry)
    [record] = caplog.records
    assert record.levelno == level
    assert "not started" in record.getMessage()
    assert why in record.getMessage()
    assert registry.rules() == ()
    assert threads() == set()
    assert config._running is None


def test_law_10_the_start_up_line_says_that_the_environment_is_not_set(
    registry: Registry, plan_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chaospoint")
    settings = Settings(enabled=True, points=ENV, config=plan_file, admin="127.0.0.1:0", seed=7)
    config.start(settings, registry=registry)
    [line] = [text for text in said(caplog, logging.INFO) if " started: " in text]
    assert f"pid {os.getpid()}" in line
    assert "environment local (not set)" in line
    assert "env: 1 rule;" in line
    assert f"file {plan_file}: 1 rule;" in line
    assert f"admin endpoint {admin_url()}" in line
    assert "seed 7" in line
    config.stop()
    caplog.clear()
    config.start(Settings(enabled=True, environment="ci"), registry=registry)
    [line] = said(caplog, logging.INFO)
    assert "environment ci; no rules from env or file; no admin endpoint" in line


@pytest.mark.parametrize(("token", "read_only"), [(None, True), ("secret", False)])
def test_the_start_up_line_says_that_the_endpoint_takes_no_changes(
    token: str | None, read_only: bool, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chaospoint")
    settings = Settings(
        enabled=True,
        environment="staging",
        admin="127.0.0.1:0",
        admin_token=token,  # type: ignore[arg-type]
    )
    config.start(settings, registry=registry)
    [line] = said(caplog, logging.INFO)
    words = "(read only: 'staging' needs CHAOSPOINT_ADMIN_TOKEN for changes)"
    assert (f"{admin_url()} {words}" in line) is read_only


def test_the_status_tells_how_reading_the_sources_went(registry: Registry, plan_file: Path) -> None:
    def sources() -> list[dict[str, object]]:
        found: list[dict[str, object]] = httpx.get(f"{admin_url()}/v1/status").json()["sources"]
        return found

    settings = Settings(enabled=True, points="{", config=plan_file, admin="127.0.0.1:0")
    config.start(settings, registry=registry)
    env, file = sources()
    assert (env["source"], env["ok"]) == ("env", False)
    assert "JSON" in str(env["reason"])
    assert (file["source"], file["ok"], file["reason"]) == ("file", True, None)
    assert file["path"] == str(plan_file)
    read_at = datetime.fromisoformat(str(file["read_at"]))
    assert read_at.tzinfo is not None
    plan_file.write_text("{")
    assert not poll()
    _, file = sources()
    assert file["ok"] is False
    assert plan_file.name in str(file["reason"])
    assert datetime.fromisoformat(str(file["read_at"])) >= read_at
    config.stop()
    assert reports(registry) == []
    config.start(Settings(enabled=True, points=ENV), registry=registry)
    assert reports(registry) == [{"source": "env", "ok": True, "reason": None}]


def test_start_reads_the_environment(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSPOINT_ENABLED", "yes")
    monkeypatch.setenv("CHAOSPOINT_POINTS", ENV)
    config.start(registry=registry)
    assert len(registry.rules()) == 1


def test_nothing_is_imported_for_a_rule_before_its_first_reach(
    registry: Registry,
    charge: Callable[[], str],
    plan_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "bank_of_tests.py").write_text("class Closed(LookupError): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    write(plan_file, exception="bank_of_tests.Closed")
    points = '[{"point": "payment.charge", "exception": "bank_of_tests.Closed", "times": 1}]'
    config.start(Settings(enabled=True, points=points, config=plan_file), registry=registry)
    assert len(registry.rules()) == 2
    assert "bank_of_tests" not in sys.modules
    for _ in ("env", "file"):
        with pytest.raises(LookupError) as raised:
            charge()
        assert type(raised.value).__name__ == "Closed"


# Bad sources


BAD_POINTS = [
    ("{", "JSON"),
    ("nonsense", "'='"),
    ('[{"point": "a", "latency": NaN}]', "NaN"),
    ('{"rules": [], "rules": []}', "given twice"),
    ("[" * 100_000, "nested"),
    ("7", "'='"),
    ("{}", "rules"),
    ('[{"point": "a.b"}]', "a.b"),
    ('[{"point": "a.b", "latnecy": 1}]', "latnecy"),
    ('[{"point": "a.b", "latency": 1}, {"point": "a.b", "latency": -1}]', "negative"),
    ('[{"point": "a.b", "exception": "no_such_package.Error"}]', "no_such_package"),
]


@pytest.mark.parametrize(("points", "reason"), BAD_POINTS, ids=lambda value: value[:30])
def test_a_bad_env_plan_is_refused_whole_and_the_rest_starts(
    points: str,
    reason: str,
    registry: Registry,
    plan_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings(enabled=True, points=points, config=plan_file, admin="127.0.0.1:0")
    config.start(settings, registry=registry)
    refusals = [text for text in said(caplog, logging.WARNING) if "CHAOSPOINT_POINTS" in text]
    assert len(refusals) == 1
    assert refusals[0].startswith("CHAOSPOINT_POINTS is refused, and ")
    assert reason in refusals[0]
    assert [rule.source for rule in registry.rules()] == ["file"]
    assert httpx.get(f"{admin_url()}/v1/status").status_code == 200


BAD_FILES = [
    ("plan.json", b"", "empty"),
    ("plan.json", b"{", "plan.json"),
    ("plan.json", b'[{"point": "payment.charge", "exception": "Key', "plan.json"),
    ("plan.yaml", b"rules:\n  - point: a.b\n    latency: -1\n", "negative"),
    ("plan.yaml", b"rules: [", "plan.yaml"),
    ("plan.toml", b"rules = ", "plan.toml"),
    ("plan.txt", b"[]", "plan.txt"),
    ("plan.json", b"\xff\xfe", "UTF-8"),
    ("plan.json", None, "no such file"),
]


@pytest.mark.parametrize(("name", "content", "reason"), BAD_FILES)
def test_a_bad_file_at_the_start_is_one_warning_and_a_good_one_is_taken_later(
    name: str,
    content: bytes | None,
    reason: str,
    registry: Registry,
    charge: Callable[[], str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    listening = Listening()
    registry.add_observer(listening)
    config.start(Settings(enabled=True, config=path), registry=registry)
    assert [poll(), poll()] == [False, False]
    [warning] = said(caplog, logging.WARNING)
    assert str(path) in warning
    assert reason in warning
    assert [(notice.source, notice.ok) for notice in listening.reloads] == [("file", False)]
    assert listening.reloads[0].reason in warning
    if name == "plan.json":
        write(path, exception="KeyError")
        assert poll()
        with pytest.raises(KeyError):
            charge()


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_file_is_refused_and_not_waited_for(
    kind: str, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "plan.json"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    config.start(Settings(enabled=True, config=path), registry=registry)
    assert "not a regular file" in said(caplog, logging.WARNING)[0]


def test_a_bug_while_starting_never_reaches_the_program(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(config.Sources, "read_file", lambda self: 1 / 0)
    config.start(Settings(enabled=True), registry=registry)
    assert "could not start" in said(caplog, logging.ERROR)[0]
    config.stop()


@pytest.mark.parametrize("broken", ["read_settings", "permission", "Sources", "_server"])
def test_a_bug_before_anything_is_started_does_not_reach_it_either(
    broken: str,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CHAOSPOINT_ENABLED", "true")
    monkeypatch.setattr(config, broken, lambda *_: 1 / 0)
    config.start(registry=registry)
    assert "could not start" in said(caplog, logging.ERROR)[0]
    assert config._running is None


def test_hooks_are_registered_once_however_many_start(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(config, "_registered", False)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: made.append("fork"), raising=False)
    monkeypatch.setattr(atexit, "register", lambda call: made.append(call.__name__))
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        config.start(Settings(enabled=True), registry=registry)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(10)
    assert made == ["stop", "fork"]


# The file while it is watched


def test_a_changed_file_is_reloaded_and_what_did_not_change_keeps_its_tally(
    registry: Registry, charge: Callable[[], str], plan_file: Path
) -> None:
    listening = Listening()
    registry.add_observer(listening)
    first = {"point": "payment.charge", "exception": "KeyError", "times": 2, "seed": 1}
    plan_file.write_text(json.dumps([first]))
    config.start(Settings(enabled=True, config=plan_file), registry=registry)
    with pytest.raises(KeyError):
        charge()
    plan_file.write_text(json.dumps([first, {"point": "other.*", "latency": 1}]))
    assert poll()
    assert [rule.injections for rule in registry.rules()] == [1, 0]
    with pytest.raises(KeyError):
        charge()
    assert charge() == "charged"
    assert [notice.ok for notice in listening.reloads] == [True, True]


@pytest.mark.parametrize("content", [b"", b'[{"point": "payment.ch', None])
def test_the_last_good_plan_stays_when_the_file_goes_bad(
    content: bytes | None,
    registry: Registry,
    charge: Callable[[], str],
    plan_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config.start(Settings(enabled=True, config=plan_file), registry=registry)
    plan_file.unlink() if content is None else plan_file.write_bytes(content)
    assert [poll(), poll()] == [False, False]
    with pytest.raises(KeyError):
        charge()
    refusals = [text for text in said(caplog, logging.WARNING) if "refused" in text]
    assert len(refusals) == 1
    plan_file.write_text('{"rules": []}')
    assert poll()
    assert charge() == "charged", "only an empty list arms nothing"


def test_a_reload_while_disabled_is_kept_for_enable(
    registry: Registry, charge: Callable[[], str], plan_file: Path
) -> None:
    config.start(Settings(enabled=True, config=plan_file), registry=registry)
    registry.disable()
    write(plan_file, exception="OSError")
    assert poll()
    assert charge() == "charged"
    registry.enable()
    with pytest.raises(OSError):  # noqa: PT011 - its message is empty
        charge()


def test_the_thread_reloads_by_itself_and_is_transparent(
    registry: Registry, plan_file: Path
) -> None:
    reloaded, seen = threading.Event(), []

    class Waking(Listening):
        def notice(self, notice: Notice) -> None:
            if isinstance(notice, Reloaded):
                seen.append((threading.current_thread().name, in_chaospoint.get()))
                if len(seen) == 2:
                    reloaded.set()

    registry.add_observer(Waking())
    config.start(Settings(enabled=True, config=plan_file), registry=registry)
    write(plan_file, exception="OSError")
    assert reloaded.wait(10)
    assert seen == [("MainThread", True), ("chaospoint-keeper", True)]
    assert "OSError" in registry.rules()[0].text


# The admin endpoint


def test_a_taken_port_is_one_warning_and_the_rest_starts(
    registry: Registry, charge: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(enabled=True, points=ENV, admin=f"127.0.0.1:{port}")
        config.start(settings, registry=registry)
    warnings = said(caplog, logging.WARNING)
    assert len([text for text in warnings if f"port {port} is in use" in text]) == 1
    with pytest.raises(LookupError):
        charge()


def test_the_token_is_asked_for(registry: Registry) -> None:
    settings = Settings(
        enabled=True,
        environment="staging",
        admin="0.0.0.0:0",
        admin_token="secret",  # type: ignore[arg-type]
    )
    config.start(settings, registry=registry)
    url = f"http://127.0.0.1:{urlsplit(admin_url()).port}"
    assert httpx.post(f"{url}/v1/disable").status_code == 401
    bearer = {"authorization": "Bearer secret"}
    assert httpx.post(f"{url}/v1/disable", headers=bearer).status_code == 200
    assert not registry.enabled


def test_a_second_start_leaves_the_worker_of_the_first_in_its_store(registry: Registry) -> None:
    settings = Settings(enabled=True, admin="127.0.0.1:0")
    config.start(settings, registry=registry)
    config.start(Settings(enabled=True), registry=registry)
    assert len(reconciler_of(registry).store.workers()) == 1


def test_an_old_end_does_not_undo_what_a_new_start_uses(registry: Registry) -> None:
    """As a thread that is still in `stop` while another is in `start`."""
    config.start(Settings(enabled=True, admin="127.0.0.1:0"), registry=registry)
    old = config._running
    assert old is not None
    config._running = None
    config.start(Settings(enabled=True, admin="127.0.0.1:0"), registry=registry)
    assert config._running is not None
    old.stop()
    assert reconciler_of(registry) is config._running._reconciler


def test_a_disabled_store_disables_before_environment_and_file_are_armed(
    registry: Registry, plan_file: Path, tmp_path: Path
) -> None:
    store = open_store(f"file://{tmp_path}/store")
    store.update(lambda desired: desired.disable(by="me", now=1e9))
    witness = Witness()
    registry.add_observer(witness)
    config.start(
        Settings(enabled=True, points=ENV, config=plan_file, store=store.url), registry=registry
    )
    assert not registry.enabled
    assert not [notice for notice in witness.notices if isinstance(notice, RuleArmed)]


@pytest.mark.parametrize("whose", ["a stranger", "a worker of the same store"])
def test_a_port_that_a_stranger_holds_is_said_once(
    whose: str,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = open_store(f"file://{tmp_path}/store")
    if whose != "a stranger":
        store.report(Worker("other", 1, admin="http://127.0.0.1:1"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin = f"127.0.0.1:{taken.getsockname()[1]}"
        config.start(Settings(enabled=True, admin=admin, store=store.url), registry=registry)
        running = config._running
        assert running is not None
        running._reconciler.rounds.stop()
        for now in (0.0, 1.0, 60.0, 120.0):
            monkeypatch.setattr(config, "monotonic", lambda now=now: now)
            running._tend_port()
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    said = [words for words in said if "another store, or of none" in words]
    assert len(said) == (1 if whose == "a stranger" else 0)
    store.leave("other")


def test_only_children_that_are_heard_of_are_left_the_port(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"file://{tmp_path}/store"
    config.start(Settings(enabled=True, admin="127.0.0.1:0", store=store), registry=registry)
    running = config._running
    assert running is not None
    for silent, leaves in ((0.0, True), (10.0, False)):
        child = Worker("child", 1, parent=running._reconciler.id, seconds_silent=silent)
        monkeypatch.setattr(DirectoryStore, "workers", lambda _, child=child: (child,))
        assert running._has_children() is leaves


def test_a_child_closes_what_a_parent_that_is_stopping_has_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopping = Mock()
    monkeypatch.setattr(config, "_stopping", stopping)
    monkeypatch.setattr(config, "_guard", config._guard)
    config._after_fork_in_child()
    stopping.disown.assert_called_once_with()
    assert config._stopping is None


@pytest.mark.parametrize("where", ["audit_log", "store"])
def test_a_rule_from_outside_that_expires_is_in_the_audit_log_with_its_counts(
    where: str, tmp_path: Path
) -> None:
    clock = FakeClock()
    registry = Registry(clock=clock)
    log = tmp_path / "audit.jsonl"
    place = {"audit_log": log} if where == "audit_log" else {"store": tmp_path.as_uri()}
    tmp_path.chmod(0o700)

    @registry.point("db.query")
    def query() -> int:
        return 1

    config.start(
        Settings(
            enabled=True,
            environment="ci",
            config=_plan(tmp_path, "rules: [{point: db.query, returns: 2, expires_after: 60}]"),
            **place,  # type: ignore[arg-type]
        ),
        registry=registry,
    )
    arm("db.query", returns=3, skip=9, expires_after=30, registry=registry)
    assert [query(), query()] == [2, 2]
    clock.advance(61.0)
    registry.engine.expire()
    (line,) = map(json.loads, log.read_text().splitlines())
    assert line | {"at": "", "pid": 0} == {
        "at": "",
        "who": "chaospoint",
        "from": "",
        "what": "expired",
        "status": None,
        "generation": None,
        "pid": 0,
        "rules": [line["rules"][0]],
        "source": "file",
        "reaches": 2,
        "injections": 2,
    }
    assert "db.query" in line["rules"][0]


def _plan(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text)
    return path
