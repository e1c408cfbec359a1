"""Every change leaves a line, whoever wrote it and whatever the file system says."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import Threads, python

from chaospoint import Registry, Rule
from chaospoint.control.audit import MAX_LINE, Audit
from chaospoint.control.http import Request
from chaospoint.control.service import Service
from chaospoint.sources.settings import Settings

RULE = Rule(point="payment.charge", latency="200ms", where={"tenant": "acme"})


def put(audit: Audit, **keys: Any) -> None:
    given: dict[str, Any] = {"who": "control token", "client": "192.0.2.7"}
    audit.record("PUT /v1/points/payment.charge", 200, **{**given, **keys})


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture(autouse=True)
def _hear_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "chaospoint")


def test_a_change_is_a_line_of_json(path: Path) -> None:
    audit = Audit(path)
    put(audit, generation=12, rules=[RULE])
    audit.record(
        "DELETE /v1/points", 403, who="read token", client="", detail="the read token only reads"
    )
    first, second = entries(path)
    at = datetime.fromisoformat(first.pop("at"))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert first == {
        "who": "control token",
        "from": "192.0.2.7",
        "what": "PUT /v1/points/payment.charge",
        "status": 200,
        "generation": 12,
        "pid": os.getpid(),
        "rules": [first["rules"][0]],
    }
    assert "payment.charge" in first["rules"][0]
    assert (second["status"], second["generation"]) == (403, None)
    assert second["detail"] == "the read token only reads"
    assert "rules" not in second


def test_values_of_where_are_shown_neither_in_the_file_nor_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(Audit(path), rules=[RULE])
    assert "acme" not in path.read_text() + caplog.text
    assert "tenant" in path.read_text()


def test_each_entry_is_an_info_line_with_or_without_a_file(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for audit in (Audit(), Audit(path)):
        caplog.clear()
        put(audit)
        [record] = caplog.records
        assert (record.name, record.levelno) == ("chaospoint.audit", logging.INFO)
        assert json.loads(record.getMessage())["what"] == "PUT /v1/points/payment.charge"
    assert path.read_text() == record.getMessage() + "\n"


def test_a_handler_that_fails_loses_no_entry(path: Path) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the disk of the log is full")

    handler = Broken()
    logger = logging.getLogger("chaospoint.audit")
    logger.addHandler(handler)
    try:
        put(Audit(path))
    finally:
        logger.removeHandler(handler)
    assert len(entries(path)) == 1


def test_only_the_owner_reads_the_file_and_a_directory_made_for_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "audit.jsonl"
    put(Audit(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_file_may_be_rotated(path: Path) -> None:
    audit = Audit(path)
    put(audit, generation=1)
    path.rename(path.with_suffix(".1"))
    put(audit, generation=2)
    assert [entry["generation"] for entry in entries(path)] == [2]
    assert [entry["generation"] for entry in entries(path.with_suffix(".1"))] == [1]


def test_a_line_is_never_longer_than_8_kib(path: Path) -> None:
    """Of rules there are as many as fit, and then how many more there were."""
    rules = [Rule(point=f"p{nth}.{'x' * 100}", latency="1s") for nth in range(1000)]
    long = "\N{PILE OF POO}" * 9000
    audit = Audit(path)
    put(audit, rules=rules)
    put(audit, rules=[Rule(point="ppppp", returns="p" * 30_000)] * 20)
    audit.record(long, 400, who=long, client=long, detail=long, rules=rules)
    for line in path.read_bytes().splitlines(keepends=True):
        assert len(line) <= MAX_LINE
    first, second, third = entries(path)
    *kept, more = first["rules"]
    assert len(kept) > 40
    assert kept == [str(rule) for rule in rules[: len(kept)]]
    assert more == f"and {1000 - len(kept)} more"
    assert second["rules"][-1].endswith(" more")
    assert second["rules"][0].startswith("pppp")
    assert third["detail"].startswith("\N{PILE OF POO}")
    assert third["detail"].endswith("…")


def test_no_name_can_break_a_line_or_move_a_cursor(path: Path) -> None:
    what = "PUT /v1/points/a\n\x1b[2J\x9b\N{LINE SEPARATOR}\udc80"
    Audit(path).record(what, 404, who="no token", client="127.0.0.1")
    [entry] = entries(path)
    assert entry["what"] == what
    line = path.read_bytes().removesuffix(b"\n")
    assert line.isascii()
    assert line.decode().isprintable()


def as_link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.write_text("")
    path.symlink_to(target)


def as_directory(path: Path) -> None:
    path.mkdir()


def as_pipe(path: Path) -> None:
    os.mkfifo(path)


def under_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize("make", [as_link, as_directory, as_pipe, under_a_file])
def test_what_cannot_be_written_is_an_error_with_the_entry_once_for_each_reason(
    tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "audit.jsonl"
    make(path)
    audit = Audit(path)
    for generation in (1, 2):
        put(audit, generation=generation)
    first, second = (record for record in caplog.records if record.name == "chaospoint")
    assert (first.levelno, second.levelno) == (logging.ERROR, logging.DEBUG)
    assert f"the audit log {path} cannot be written (" in first.getMessage()
    assert '"generation": 1' in first.getMessage()
    assert "CHAOSPOINT_AUDIT_LOG" in first.getMessage()
    if make is as_link:
        assert path.with_name("elsewhere").read_text() == ""


def test_a_pipe_that_somebody_reads_is_no_audit_log_either(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is written there need not stay."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        put(Audit(path))
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
    assert "(not a regular file)" in caplog.text


def test_when_it_can_be_written_again_it_is_said_what_is_missing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()
    audit = Audit(path)
    put(audit)
    put(audit)
    path.rmdir()
    put(audit)
    put(audit)
    said = [record for record in caplog.records if record.name == "chaospoint"][2:]
    [record] = said
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("is written again; it lacks 2 entries")
    path.unlink()
    path.mkdir()
    put(audit)
    assert caplog.records[-1].levelno == logging.ERROR, "the same reason, but of another time"


def test_a_disk_that_is_full_is_said(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda file, line: 10)
    put(Audit(path))
    assert "(only 10 of " in caplog.text


def test_several_processes_and_threads_write_whole_lines(path: Path, pool: Threads) -> None:
    program = f"""
        from pathlib import Path
        from chaospoint.control.audit import Audit
        audit = Audit(Path({str(path)!r}))
        for nth in range(100):
            audit.record("POST /v1/enable", 200, who="control token", client="x" * 500)
    """
    others = [pool.submit(python, program) for _ in range(2)]
    audit = Audit(path)
    pool.map(lambda _: [put(audit) for _ in range(50)], range(4))
    for other in others:
        other.result()
    found = entries(path)
    assert len(found) == 400
    assert len({entry["pid"] for entry in found}) == 3


def test_a_file_that_has_another_name_is_not_written(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be somebody else's file under a name of ours."""
    other = tmp_path / "other"
    other.touch()
    os.link(other, path)
    put(Audit(path))
    assert other.read_bytes() == b""
    assert "further names" in caplog.text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("token=hunter2", "token=(not shown)"),
        ("dry_run=true&%74oken=hunter2", "dry_run=true&%74oken=(not shown)"),
        ("hunter2", "(not shown)"),
        ("reason=tea&limit=2", "reason=tea&limit=2"),
    ],
)
def test_a_value_that_no_route_asks_for_is_not_written(
    query: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody may send the token there."""
    service = Service.of(Settings(enabled=True), Registry())
    for path in ("/v1/disable", "/v1/enable"):
        caplog.clear()
        sent = {"host": "127.0.0.1:8475"}
        service.answer(Request("POST", path, sent, b"", "127.0.0.1", query))
        assert f"POST {path}?{shown}" in caplog.text
        assert "hunter2" not in caplog.text
