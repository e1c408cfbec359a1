"""Run ``run`` and ``disable`` where the extra ``cli`` is not installed.

The other commands need packages of the extra.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from chaospoint.cli.acknowledgement import is_acknowledgement
from chaospoint.cli.failures import (
    ExitCode,
    Failure,
    answered,
    foreign,
    no_endpoint,
    problem,
    refused,
)
from chaospoint.cli.quick_disable import Options, post, read_options, say, show
from chaospoint.errors import ChaosError, StoreError
from chaospoint.sources.launching import launch

__all__ = ["run_command"]


def run_command(arguments: Sequence[str]) -> int | None:
    """Run ``run`` or ``disable`` and return the exit code; a launched program does not return.

    Return None, and do nothing, for a command line that only the extra can read.
    """
    as_json = False
    try:
        if (command := _command_to_run(arguments)) is not None:
            words, plan = command
            if plan is not None:
                from chaospoint.plan.plan import load_plan

                load_plan(plan)  # refuse a bad plan here: the program would run without faults
            launch(words, plan=plan)
        if (options := read_options(arguments)) is None:
            return None
        as_json = options.as_json
        return show(_disable(options), options)
    except (Failure, ChaosError) as error:
        failure = error if isinstance(error, Failure) else refused(error)
        if as_json:
            print(json.dumps(failure.document), flush=True)
        else:
            say(failure.message)
        return failure.code


def _command_to_run(arguments: Sequence[str]) -> tuple[list[str], Path | None] | None:
    """Return the program that ``run`` starts and its plan; None for another command."""
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


def _disable(options: Options) -> Mapping[str, Any]:
    """Return the answer of the service or store; raises `Failure`."""
    if not options.url:
        from chaospoint.cli.store_target import store_target

        try:
            return store_target(options.store, "--store").disable(options.reason)
        except StoreError as error:
            raise refused(error) from None
    try:
        answer = post(options)
    except (OSError, HTTPException, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
        raise no_endpoint(options.url, reason or str(error) or type(error).__name__) from None
    if answer is None:
        detail = f"{options.url!r} is not an address"
        raise problem(ExitCode.USAGE, "usage", detail, cure="write it as http://127.0.0.1:8475")
    if isinstance(answer.document, dict):
        if answer.status == 200 and is_acknowledgement(answer.document):
            return answer.document
        if answer.media == "application/problem+json":
            raise answered(answer.status, answer.document)
    raise foreign(options.url, f"{answer.status} {answer.reason} with {answer.media}")
