"""Read and parse plan files, within limits; errors state the line."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from itertools import islice
from pathlib import Path
from typing import Any, Final

from chaospoint.models.nesting import TOO_DEEP, is_deep, json_excess, toml_excess
from chaospoint.models.refusal import Refusal
from chaospoint.models.strict_json import repeated
from chaospoint.plan.yaml_quotes import quoting_cure
from chaospoint.plan.yaml_text import rule_lines, twice, yaml_data

__all__ = ["MAX_BYTES", "parse_text", "read_text", "rule_cure", "rule_line"]

MAX_BYTES: Final = 2**20
_EMPTY = "write a plan; `rules: []` arms nothing"
_KEY = re.compile(r"[\w.\[\]]*")
_UNCLOSED = re.compile(r"""expected (?:'[)\]}]'|a second '"')""")
_TOML_LINE = re.compile(r"\(at line (\d+)")


def read_text(path: Path) -> str:
    """Return the text of a plan file; raises `Refusal` only."""
    try:
        raw = _read(path)
    except FileNotFoundError:
        raise Refusal("no such file", "correct the path") from None
    except Refusal:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = f"cannot be read: {reason}"
        raise Refusal(problem, "correct the path or its permissions") from error
    if len(raw) > MAX_BYTES:
        raise Refusal("larger than 1 MiB", "split the plan, or use globs")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Refusal("not UTF-8 text", "save it as UTF-8", line=line) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise Refusal("not text: it holds a zero byte", "save it as UTF-8 text", line=line)
    if not text.strip():
        raise Refusal("empty", _EMPTY)
    return text


_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # so that opening a pipe without a writer does not block
)


def _read(path: Path) -> bytes:
    """Return the bytes of a regular file, at most one more than the limit."""
    _check_regular(os.stat(path))  # opening a device may already have an effect
    with open(os.open(path, _FLAGS), "rb") as file:
        _check_regular(os.fstat(file.fileno()))  # it may have been replaced since
        return file.read(MAX_BYTES + 1)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refusal("not a regular file", "name a .yaml, .toml or .json file")


def parse_text(text: str, suffix: str) -> object:
    """Return the data in the text of a ``.yaml``, ``.yml``, ``.toml`` or ``.json`` file.

    Raises `Refusal` only.
    """
    match suffix.lower():
        case ".yaml" | ".yml":
            data = yaml_data(text)
        case ".toml":
            data = _toml(text)
        case ".json":
            data = _json(text)
        case _:
            raise Refusal(f"not a known kind of file: {suffix!r}", "use .yaml, .toml or .json")
    if data is None:
        raise Refusal("contains no data", _EMPTY)
    return data


def rule_cure(text: str, suffix: str, refusal: Refusal) -> str | None:
    """Return how to quote the refused rule, if YAML gave a part of it another meaning."""
    if suffix.lower() not in (".yaml", ".yml") or refusal.nth is None:
        return None
    cut_off = refusal.field == "rule" and _UNCLOSED.search(refusal.problem)
    if not cut_off and (refusal.field is None or _KEY.fullmatch(refusal.field)):
        return None
    first, following = [*rule_lines(text), None, None][refusal.nth - 1 :][:2]
    if first is None:
        return None
    last = first + text.count("\n") if following is None else max(first, following - 1)
    return quoting_cure(text, first, last)


def rule_line(text: str, suffix: str, nth: int) -> int | None:
    """Return the line of the ``nth`` rule, both from 1, or None if it is unknown."""
    if suffix.lower() == ".toml":
        heads = re.finditer(r"^[ \t]*\[\[\s*rules\s*\]\]", text, re.MULTILINE)
        head = next(islice(heads, nth - 1, None), None)
        return None if head is None else text.count("\n", 0, head.start()) + 1
    lines = rule_lines(_as_yaml(text) if suffix.lower() == ".json" else text)
    return lines[nth - 1] if nth <= len(lines) else None


def _toml(text: str) -> object:
    _check(text, toml_excess(text))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _TOML_LINE.search(str(error))
        line = int(match[1]) if match else None
        raise Refusal(f"not TOML: {error}", "correct the text", line=line) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise Refusal(f"not TOML: {error}", "correct the text") from None
    if is_deep(data):
        raise _too_deep()
    return data


def _json(text: str) -> object:
    _check(text, json_excess(text))
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise Refusal(f"not JSON: {error.msg}", "correct the text", line=error.lineno) from None
    except Refusal as refusal:
        # The JSON parser does not state the line; the YAML reader refuses the same and states it.
        yaml_data(_as_yaml(text))
        raise refusal from None
    except ValueError as error:
        raise Refusal(f"not JSON: {error}", "correct the text") from None


def _check(text: str, excess: tuple[str, int] | None) -> None:
    if excess is not None:
        problem, place = excess
        cure = "write it flatter" if problem is TOO_DEEP else "split the plan, or use globs"
        raise Refusal(problem, cure, line=text.count("\n", 0, place) + 1)


def _too_deep() -> Refusal:
    return Refusal(TOO_DEEP, "write it flatter")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise twice(repeated(key for key, _ in pairs))
    return members


def _as_yaml(text: str) -> str:
    # Every JSON text without tabs is YAML; JSON allows tabs only between its tokens.
    return text.replace("\t", " ")
