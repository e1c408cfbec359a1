"""Find the part of a YAML plan that needs quotes, because YAML gives its characters a meaning."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["quoting_cure"]

_BLOCK: Final = re.compile(
    r"\s*(?:-\s+)?(?P<key>rule:\s+|point:\s+(?=\*)|(?<=-\s)(?=[\"']?[\w.*-]+\s*=))(?P<text>\S.*?)\s*$"
)
_FLOW: Final = re.compile(
    r"[{,]\s*rule:\s*[^\s\"'{,][^,}]*[(\[]|[\[,]\s*[a-z0-9_.*-]+\s*=[^,\]]*[(\[]|[{,]\s*point:\s*\*"
)
_SPECIAL: Final = re.compile(r"[*&!%@`|>\"']|.*(?::(?:\s|$)|\s#)")
_EXAMPLE: Final = "put the rule in quotes, such as rule: 'raise(TimeoutError, \"slow: bank\")'"
_MOST: Final = 100
_WIDTH: Final = 200


def quoting_cure(text: str, first: int, last: int) -> str | None:
    """Return how to quote the unquoted rule in the lines from ``first`` to ``last``, from 1.

    None if these lines contain no rule in which a character has a meaning in YAML.
    """
    for line in text.splitlines()[first - 1 : min(last, first + _MOST)]:
        match = _BLOCK.match(line[: _WIDTH + 1])
        if match and _SPECIAL.match(match["text"]) and len(line) <= _WIDTH:
            part = "name" if match["key"].startswith("point") else "rule"
            return f"put the {part} in quotes: {match['key'] or '- '}{_quoted(match['text'])}"
        if _FLOW.search(line) or (match and _is_open(match["text"])):
            return _EXAMPLE
    return None


def _is_open(text: str) -> bool:
    return text.count("(") > text.count(")") or text.count("[") > text.count("]")


def _quoted(text: str) -> str:
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        text = text[1:-1]
    return "'" + text.replace("'", "''") + "'"
