"""``run`` and ``disable`` where the extra ``cli`` is not installed: the library is enough for them.

The other commands need what the extra brings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from chaospoint.cli.acknowledgement import is_acknowledgement
from chaospoint.cli.failures import ExitCode, Failure, answered, foreign, no_endpoint, refused
from chaospoint.cli.stopping import Asked, asked_by, post, say, shown
from chaospoint.errors import ChaosError, StoreError
from chaospoint.sources.launching import launch

__all__ = ["carried_out"]


def carried_out(arguments: Sequence[str]) -> int | None:
    """Carry out ``run`` or ``disable`` and return the exit code; a program that runs takes over.

    Return None, and have done nothing, for what only the extra can read.
    """
    as_json = False
    try:
        if (launched := _launch_of(arguments)) is not None:
            command, plan = launched
            if plan is not None:
                from chaospoint.plan.plan import load_plan

                load_plan(plan)  # a program that runs without chaos by mistake says nothing
            launch(command, plan=plan)
        if (asked := asked_by(arguments)) is None:
            return None
        as_json = asked.as_json
        return shown(_disabled(asked), asked)
    except (Failure, ChaosError) as error:
        failure = error if isinstance(error, Failure) else refused(error)
        if as_json:
            print(json.dumps(failure.document), flush=True)
        else:
            say(failure.message)
        return failure.code


def _launch_of(arguments: Sequence[str]) -> tuple[list[str], Path | None] | None:
    """Return the command that ``run`` is given and its plan; None for another command."""
    if arguments[:1] != ["run"]:
        return None
    rest, plan = list(arguments[1:]), None
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option == "--":
            break
        if option != "--plan" or not (equals or rest):
            return None
        plan = Path(value if equals else rest.pop(0))
    return (rest, plan) if rest else None


def _disabled(asked: Asked) -> Mapping[str, Any]:
    """Return what the service or the store answers."""
    if not asked.url:
        from chaospoint.cli.store_target import store_target

        try:
            return store_target(asked.store, "--store").disable(asked.reason)
        except StoreError as error:
            raise refused(error) from None
    try:
        answer = post(asked)
    except (OSError, HTTPException, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
        raise no_endpoint(asked.url, reason or str(error) or type(error).__name__) from None
    if answer is None:
        detail = f"{asked.url!r} is not an address"
        document = {"title": "Usage", "detail": detail, "cure": "write it as http://127.0.0.1:8475"}
        raise Failure(ExitCode.USAGE, document)
    if isinstance(answer.document, dict):
        if answer.status == 200 and is_acknowledgement(answer.document):
            return answer.document
        if answer.media == "application/problem+json":
            raise answered(answer.status, answer.document)
    raise foreign(asked.url, f"{answer.status} {answer.reason} with {answer.media}")
