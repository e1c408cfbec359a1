"""Select the target of a command: from its options, then from the environment."""

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
_TOKENS = ("CHAOSPOINT_ADMIN_TOKEN", "CHAOSPOINT_ADMIN_READ_TOKEN")  # the second only reads


def select_target(url: str | None, store: str | None) -> Target:
    """Return the service or store.

    Raises `Failure` if the store does not exist, and `typer.BadParameter` for an invalid address.
    """
    if url is not None and store is not None:
        raise typer.BadParameter("--url and --store exclude each other: give only one")
    if url is not None:
        return _service(url, "--url")
    if store is not None:
        return _store(store, "--store")
    if url := os.environ.get(_URL, "").strip():
        return _service(url, _URL)
    if store := os.environ.get(_STORE, "").strip():
        return _store(store, _STORE)
    return _service(DEFAULT_URL, "--url")


def _service(url: str, option: str) -> Target:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise typer.BadParameter(f"{url!r}: {error}", param_hint=option) from None
    if parts.scheme not in ("http", "https") or not parts.host:
        cure = f"write it as {DEFAULT_URL}"
        raise typer.BadParameter(f"{url!r} is not an address: {cure}", param_hint=option)
    tokens = (os.environ.get(name, "").strip() for name in _TOKENS)
    return HttpTarget(url, next(filter(None, tokens), None))


def _store(url: str, option: str) -> Target:
    try:
        return store_target(url, option)
    except StoreError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
