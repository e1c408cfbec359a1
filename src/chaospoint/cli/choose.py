"""Which target a command has: what was said on the command line, then in the environment."""

from __future__ import annotations

import os

import httpx
import typer

from chaospoint.cli.http_target import HttpTarget
from chaospoint.cli.store_target import store_target
from chaospoint.cli.target import Target
from chaospoint.errors import StoreError

__all__ = ["DEFAULT_URL", "select_target"]

DEFAULT_URL = "http://127.0.0.1:8475"

_URL, _STORE = "CHAOSPOINT_URL", "CHAOSPOINT_STORE"
_TOKENS = ("CHAOSPOINT_ADMIN_TOKEN", "CHAOSPOINT_ADMIN_READ_TOKEN")  # the latter to look only


def select_target(url: str | None, store: str | None) -> Target:
    """Return the target; raises `Failure` where no such store is, `BadParameter` for no address."""
    if url is not None and store is not None:
        raise typer.BadParameter("--url and --store are two places: give one of them")
    if url is not None:
        return _service(url, "--url")
    if store is not None:
        return _store(store, "--store")
    if found := os.environ.get(_URL, "").strip():
        return _service(found, _URL)
    if found := os.environ.get(_STORE, "").strip():
        return _store(found, _STORE)
    return _service(DEFAULT_URL, "--url")


def _service(url: str, named: str) -> Target:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise typer.BadParameter(f"{url!r}: {error}", param_hint=named) from None
    if parts.scheme not in ("http", "https") or not parts.host:
        cure = f"write it as {DEFAULT_URL}"
        raise typer.BadParameter(f"{url!r} is no address: {cure}", param_hint=named)
    tokens = (os.environ.get(name, "").strip() for name in _TOKENS)
    return HttpTarget(url, next(filter(None, tokens), None))


def _store(url: str, named: str) -> Target:
    try:
        return store_target(url, named)
    except StoreError as error:
        raise typer.BadParameter(str(error), param_hint=named) from None
