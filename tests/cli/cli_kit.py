"""What the tests of the command line share: what it is called with, and who it talks to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chaospoint.control.http import Request, Response
from chaospoint.control.service import Service, Steps

Cli = Callable[..., Any]
"""Call the command line with arguments; variables as keywords. Has exit_code, stdout, stderr."""


class Spy(Service):
    """The service, with a list of what it was asked, and of what to answer in its place."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.asked: list[Request] = []
        self.instead: list[Response] = []

    def steps(self, request: Request) -> Steps:
        self.asked.append(request)
        return self.instead.pop(0) if self.instead else (yield from super().steps(request))


def told(done: Any, code: int = 0) -> Any:
    """Return the one JSON document that a command printed."""
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def said(done: Any, code: int = 0) -> str:
    """Return what a command printed for people."""
    assert done.exit_code == code, done.output
    text: str = done.stdout
    return text


def complaint(done: Any, code: int) -> str:
    """Return the message of a command that printed nothing else."""
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    text: str = done.stderr
    assert text.startswith("chaospoint: ")
    return text
