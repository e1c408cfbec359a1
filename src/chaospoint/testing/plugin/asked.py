"""The options of exploration, and the command that repeats one case."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from chaospoint.faults.exception_spec import ExceptionSpec
from chaospoint.models.durations import parse_duration
from chaospoint.models.point_pattern import point_pattern
from chaospoint.models.refusal import Refusal
from chaospoint.testing.exploring.cases import Faults
from chaospoint.testing.plugin.seeding import seed_options, started_with
from chaospoint.testing.plugin.typed import json_path, took_a_path

__all__ = ["Asked"]

_MAX_CASES = 1000
_LATENCY = "10m"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options, read and checked.

    ``most``: the maximum number of cases of a test. ``limit``: the seconds of real time after which
    a run counts as hung; None to derive it from the run without faults. ``json``: the file for the
    results.
    """

    points: str
    most: int
    exceptions: tuple[str, ...]
    latency: str | None
    limit: float | None
    case: str | None
    json: Path | None
    config: pytest.Config

    @classmethod
    def of(cls, config: pytest.Config) -> Self:
        """Read the options; raises `pytest.UsageError` for invalid values."""
        most = config.getoption("chaos_explore_max")
        latency = config.getoption("chaos_explore_latency")
        latency = _LATENCY if latency is None else latency
        asked = cls(
            str(config.getoption("chaos_explore")),
            _MAX_CASES if most is None else most,
            tuple(config.getoption("chaos_explore_exception") or ()),
            None if latency == "none" else latency,
            _limit(config.getoption("chaos_explore_limit")),
            config.getoption("chaos_explore_case"),
            json_path(config, "--chaos-explore-json", config.getoption("chaos_explore_json")),
            config,
        )
        asked._check_points()
        asked._check_rest()
        return asked

    def _check_points(self) -> None:
        try:
            point_pattern(self.points)
            problem = ""
        except Refusal as refusal:
            problem = f" ({refusal.statement}; {refusal.cure})"
        if problem or took_a_path(self.config, "--chaos-explore", self.points):
            raise pytest.UsageError(
                f"--chaos-explore {self.points}: not a name or glob of points{problem}: write "
                "--chaos-explore=GLOB, and put the paths of tests before it"
            )

    def _check_rest(self) -> None:
        if self.most < 1:
            raise pytest.UsageError(f"--chaos-explore-max={self.most}: write a number from 1")
        if self.latency is not None:
            _duration("--chaos-explore-latency", self.latency, "; or 'none'")
        for name in self.exceptions:
            try:
                ExceptionSpec.parse(name)
            except Refusal as refusal:
                raise _refused(name, refusal) from None

    def faults(self) -> Faults:
        """Return the faults to try; call it after collection, because it imports the exceptions."""
        for name in self.exceptions:
            try:
                spec = ExceptionSpec.parse(name).find("code")
            except Refusal as refusal:
                raise _refused(name, refusal) from None
            if spec is None or not isinstance(spec.build(), Exception):
                raise pytest.UsageError(
                    f"--chaos-explore-exception={name}: not a subclass of Exception, so it would "
                    "end pytest: write one such as TimeoutError"
                )
        return Faults.of(self.exceptions, self.latency)

    def repeat(self, test: str, case: str) -> str:
        """Return the command that runs only this case of this test."""
        config = self.config
        path, colons, name = test.partition("::")
        relative = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
        explore = "--chaos-explore" if self.points == "*" else f"--chaos-explore={self.points}"
        words = [*started_with(config), f"{relative}{colons}{name}", explore]
        words.append(f"--chaos-explore-case={case}")
        words += [f"--chaos-explore-exception={name}" for name in self.exceptions]
        if self.latency != _LATENCY:
            words.append(f"--chaos-explore-latency={self.latency or 'none'}")
        if self.limit is not None:
            words.append(f"--chaos-explore-limit={self.limit:g}s")
        return shlex.join([*words, *seed_options(config)])


def _limit(given: str | None) -> float | None:
    if given is None:
        return None
    limit = _duration("--chaos-explore-limit", given)
    if not limit:
        raise pytest.UsageError(f"--chaos-explore-limit={given}: write a duration above 0")
    return limit


def _duration(option: str, given: str, more: str = "") -> float:
    try:
        return parse_duration(given)
    except Refusal as refusal:
        message = f"{option}={given}: {refusal.problem}; {refusal.cure}{more}"
        raise pytest.UsageError(message) from None


def _refused(exception: str, refusal: Refusal) -> pytest.UsageError:
    return pytest.UsageError(
        f"--chaos-explore-exception={exception}: {refusal.problem}; {refusal.cure}"
    )
