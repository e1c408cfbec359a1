"""Print results to stdout, as tables or one JSON document, and messages to stderr.

Text from outside is printed literally: markup and terminal control codes have no effect.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

__all__ = ["Output", "plain"]

_WIDE = 1_000_000  # columns without a terminal: `grep` needs whole lines


def plain(value: object) -> str:
    """Return ``value`` as one line of text, with unprintable characters escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(value)
    )


class Output:
    """The output of one command; ``as_json`` selects JSON for results."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(markup=False, emoji=False, highlight=False)
        if not self.console.is_terminal:
            self.console = Console(markup=False, emoji=False, highlight=False, width=_WIDE)

    def show(self, document: Any, *views: RenderableType) -> None:
        """Print the document as JSON, or its ``views`` for people."""
        if self.as_json:
            self.line(document)
            return
        for view in views:
            # The terminal wraps lines of text, so that a copied line stays one line.
            self.console.print(view, soft_wrap=isinstance(view, Text))

    def line(self, document: Any) -> None:
        """Print the document as one line of JSON."""
        print(json.dumps(document), flush=True)

    def say(self, message: str) -> None:
        """Print a message to stderr; it may have several lines."""
        first, *others = message.splitlines() or [""]
        print(
            "\n".join([f"chaospoint: {plain(first)}", *map(plain, others)]),
            file=sys.stderr,
            flush=True,
        )
