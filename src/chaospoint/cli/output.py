"""What is printed: results to stdout, as tables or one JSON document; messages to stderr.

What comes from outside is text: neither markup nor the control codes of a terminal act.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

__all__ = ["Output", "plain"]

_WIDE = 1_000_000  # columns, where there is no terminal: nothing is cut off for `grep`


def plain(value: object) -> str:
    """Return ``value`` as one line of text, with what cannot be printed escaped."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(value)
    )


class Output:
    """Prints for one command; ``as_json``: results as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(markup=False, emoji=False, highlight=False)
        if not self.console.is_terminal:
            self.console = Console(markup=False, emoji=False, highlight=False, width=_WIDE)

    def show(self, document: Any, *views: RenderableType) -> None:
        """Print the document, or else what shows it to people."""
        if self.as_json:
            self.line(document)
            return
        for view in views:
            # A line of text is the terminal's to wrap: what is copied from there is one line.
            self.console.print(view, soft_wrap=isinstance(view, Text))

    def line(self, document: Any) -> None:
        """Print the document as one line of JSON."""
        print(json.dumps(document), flush=True)

    def say(self, message: str) -> None:
        """Print a message to stderr; its lines stay lines."""
        first, *others = message.splitlines() or [""]
        print(
            "\n".join([f"chaospoint: {plain(first)}", *map(plain, others)]),
            file=sys.stderr,
            flush=True,
        )
