"""Where a command goes, and what it says when nobody is there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_kit import Cli, Spy, complaint, said, told

from chaospoint.cli import http_target, selection
from chaospoint.control.http import Response, reply
from chaospoint.stores.store import Store


def test_the_target_is_the_nearest_that_was_said(
    cli: Cli, url: str, nobody: str, store: Store
) -> None:
    both = {"CHAOSPOINT_URL": nobody, "CHAOSPOINT_STORE": store.url}
    assert told(cli("status", "--json", "--url", url, **both))["store"] == "memory:"
    assert told(cli("status", "--json", "--store", store.url, **both))["store"] == store.url
    assert told(cli("status", "--json", CHAOSPOINT_STORE=store.url))["store"] == store.url
    both["CHAOSPOINT_URL"] = url
    assert told(cli("status", "--json", **both))["store"] == "memory:"


def test_without_a_word_it_is_this_machine(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert selection.DEFAULT_URL == "http://127.0.0.1:8475"
    monkeypatch.setattr(selection, "DEFAULT_URL", "http://127.0.0.1:1")
    empty = {"CHAOSPOINT_URL": " ", "CHAOSPOINT_STORE": ""}
    assert "at http://127.0.0.1:1 (" in complaint(cli("points", **empty), 3)


def test_two_places_are_wrong_usage(cli: Cli, url: str, store: Store) -> None:
    for command in (
        ["points", "--url", url, "--store", store.url],
        ["--url", url, "points", "--store", store.url],
    ):
        done = cli(*command)
        assert done.exit_code == 2
        assert "--url and --store exclude each other" in done.stderr


@pytest.mark.parametrize(
    ("option", "address"),
    [
        ("--url", "127.0.0.1:8475"),
        ("--url", "ftp://127.0.0.1"),
        ("--url", "http://"),
        ("--url", "http://[::1"),
        ("--store", "/run/chaospoint"),
        ("--store", "redis://a"),
    ],
)
def test_what_is_no_address_is_wrong_usage(cli: Cli, option: str, address: str) -> None:
    done = cli("points", option, address)
    assert (done.exit_code, done.stdout) == (2, "")
    assert option in done.stderr
    assert repr(address) in done.stderr


def test_a_bad_variable_is_named(cli: Cli) -> None:
    assert "CHAOSPOINT_URL" in cli("points", CHAOSPOINT_URL="nonsense").stderr
    assert "CHAOSPOINT_STORE" in cli("points", CHAOSPOINT_STORE="nonsense").stderr


def test_nobody_there_says_what_was_tried_and_the_cure(cli: Cli, nobody: str) -> None:
    message = complaint(cli("points", "--url", nobody), 3)
    assert message.count("\n") == 1
    assert f"no chaospoint admin endpoint at {nobody} (" in message
    assert "CHAOSPOINT_ENABLED=true and CHAOSPOINT_ADMIN=true, correct --url, or" in message
    assert "or use --store" in message
    document = told(cli("points", "--url", nobody, "--json"), 3)
    assert document["type"] == "urn:chaospoint:problem:nobody-there"
    assert document["cure"]


def test_a_store_that_is_not_there_is_nobody(cli: Cli, tmp_path: Path) -> None:
    missing = (tmp_path / "missing").as_uri()
    for command in (["points"], ["disable"], ["arm", "a", "off"]):
        message = complaint(cli(*command, "--store", missing), 3)
        assert f"no chaospoint store at {missing}: the directory does not exist" in message
    assert not (tmp_path / "missing").exists()


def test_a_service_that_does_not_answer_is_not_waited_for(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert http_target.TIMEOUT_SECONDS == 10
    monkeypatch.setattr(http_target, "TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(http_target, "CHANGE_SECONDS", 0.06)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        message = complaint(cli("points", "--url", url), 3)
        assert f"no answer from {url} within 0.05 s" in message
        assert "became of the change" not in message
        message = complaint(cli("disarm", "--url", url), 3)
        assert f"no answer from {url} within 0.06 s; the change may or may not" in message


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"<html>", media="text/html"),
        reply(200, b"[1]"),
        reply(200, b"{"),
        reply(200, b"{}", media="text/html"),
        reply(200, b"[" * 100_000),
        reply(404, {"detail": "Not Found"}),
        reply(302, b"", headers={"location": "http://127.0.0.1:1/"}),
        reply(500, b"oops", media="text/plain"),
    ],
    ids=["html", "list", "broken", "mislabelled", "deep", "framework", "elsewhere", "error"],
)
def test_a_stranger_is_not_an_admin_endpoint(
    cli: Cli, url: str, spy: Spy, answer: Response
) -> None:
    spy.instead.append(answer)
    message = complaint(cli("points", "--url", url), 3)
    assert f"the server at {url} is not a chaospoint admin endpoint: it answered" in message


def test_the_token_is_read_from_the_environment(
    cli: Cli, serve: Callable[..., tuple[str, Spy]]
) -> None:
    url, spy = serve(admin_token="sësame")
    message = complaint(cli("points", "--url", url), 1)
    assert "set CHAOSPOINT_ADMIN_TOKEN in this shell to the token of the service" in message
    assert "authorization" not in spy.asked[-1].headers
    said(cli("points", "--url", url, CHAOSPOINT_ADMIN_TOKEN=" sësame "))
    complaint(cli("points", "--url", url, CHAOSPOINT_ADMIN_TOKEN="other"), 1)
    assert "token" not in cli("points", "--help").stdout


def test_a_token_that_no_header_can_carry_is_told(cli: Cli, url: str) -> None:
    message = complaint(cli("points", "--url", url, CHAOSPOINT_ADMIN_TOKEN="a\nb"), 3)
    assert "a\nb" not in message


def test_proxies_and_passwords_of_the_environment_are_not_used(
    cli: Cli, url: str, spy: Spy, tmp_path: Path
) -> None:
    """The fixtures set proxies at which nobody listens."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    said(cli("points", "--url", url, NETRC=str(netrc)))
    assert "authorization" not in spy.asked[-1].headers


def test_an_endpoint_may_be_mounted_at_a_path(cli: Cli, url: str, spy: Spy) -> None:
    spy.instead.append(reply(200, {"points": []}))
    assert said(cli("points", "--url", f"{url}/internal/chaos/")) == "no points\n"
    assert spy.asked[-1].path == "/internal/chaos/v1/points"


def test_a_bug_is_one_line_and_no_traceback(
    cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: Any, **_options: Any) -> Any:
        raise RuntimeError("[red]\x1b[31m oops")

    monkeypatch.setattr(httpx.Client, "request", broken)
    message = complaint(cli("points", "--url", url), 1)
    assert message == (
        "chaospoint: this is a bug in chaospoint: RuntimeError: [red]\\x1b[31m oops; "
        "report it, with the command\n"
    )


def test_ctrl_c_is_130(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: Any, **_options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(httpx.Client, "request", interrupted)
    assert cli("points", "--url", url).exit_code == 130
