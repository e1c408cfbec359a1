"""`watch` looks each second; a service that is away for a moment is no end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cli_kit import Cli, Spy, complaint, said

from chaospoint.cli import watching
from chaospoint.control.http import reply
from chaospoint.stores.store import Store


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long it would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(watching, "sleep", slept.append)
    return slept


def test_it_shows_all_there_is(
    cli: Cli, url: str, charge: Callable[[], str], pauses: list[float]
) -> None:
    cli("arm", "payment.charge", "raise(KeyError)", "--url", url)
    with pytest.raises(KeyError):
        charge()
    text = said(cli("watch", "--count", "2", "--url", url))
    assert pauses == [1.0]
    assert text.count("  enabled  generation 1  counts of pid ") == 2
    for head in ("RULE ", "PID ", "AT ", "POINT "):
        assert sum(line.startswith(head) for line in text.splitlines()) == 2, head
    points = [line.split()[0] for line in text.splitlines()[-3:]]
    assert points == ["payment.charge", "db.commit", "db.query"], "the armed ones are first"


def test_json_is_a_line_each(cli: Cli, url: str, pauses: list[float]) -> None:
    lines = said(cli("watch", "--count", "3", "--json", "--url", url)).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert list(json.loads(line)) == ["at", "status", "workers", "points", "injections"]
    assert pauses == [1.0, 1.0]


def test_a_store_is_watched_without_injections(cli: Cli, store: Store, pauses: list[float]) -> None:
    done = cli("watch", "--count", "1", "--json", "--store", store.url)
    assert list(json.loads(said(done))) == ["at", "status", "workers", "points"]
    assert "no workers" in said(cli("watch", "--count", "1", "--store", store.url))


def test_the_first_look_has_to_succeed(cli: Cli, nobody: str) -> None:
    assert "no chaospoint admin endpoint" in complaint(cli("watch", "--url", nobody), 3)


def test_a_service_that_is_away_for_a_moment_is_no_end(
    cli: Cli, url: str, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_seconds: float) -> None:
        if len(spy.asked) == 4:  # after the first look
            spy.instead.append(reply(502, b"", media="text/html"))

    monkeypatch.setattr(watching, "sleep", away)
    lines = said(cli("watch", "--count", "3", "--json", "--url", url)).splitlines()
    first, second, third = map(json.loads, lines)
    assert "502 Bad Gateway" in second["problem"]["detail"]
    assert "status" in first
    assert "status" in third


def test_a_store_that_breaks_meanwhile_is_said(
    cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    cli("disable", "--store", store.url)

    def breaks(_seconds: float) -> None:
        for document in (tmp_path / "store").glob("*.json"):
            document.write_text("{")

    monkeypatch.setattr(watching, "sleep", breaks)
    first, second = said(cli("watch", "--count", "2", "--store", store.url)).split("no points\n")
    assert "DISABLED  generation 1" in first
    assert "it is no document of chaospoint" in second


def test_ctrl_c_is_how_it_ends(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "sleep", interrupted)
    done = cli("watch", "--url", url)
    assert (done.exit_code, done.stderr) == (0, "")
