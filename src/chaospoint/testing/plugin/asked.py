"""What the options of a run ask to be explored, and the command that repeats one case of it."""

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

_MOST = 1000
_LATENCY = "10m"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options, read and checked.

    ``most``: how many cases of a test. ``limit``: after how many seconds of real time a run hung;
    None: by how long the test takes without a fault. ``json``: where to write what was found.
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
        """Read the options; `pytest.UsageError` for what makes no sense."""
        most = config.getoption("chaos_explore_max")
        latency = config.getoption("chaos_explore_latency")
        latency = _LATENCY if latency is None else latency
        asked = cls(
            str(config.getoption("chaos_explore")),
            _MOST if most is None else most,
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
            said = ""
        except Refusal as refusal:
            said = f" ({refusal.statement}; {refusal.cure})"
        if said or took_a_path(self.config, "--chaos-explore", self.points):
            raise pytest.UsageError(
                f"--chaos-explore {self.points}: that is no name or glob of points{said}; write "
                "--chaos-explore=GLOB, and the paths of tests before it"
            )

    def _check_rest(self) -> None:
        if self.most < 1:
            raise pytest.UsageError(f"--chaos-explore-max={self.most}: write a number from 1")
        if self.latency is not None:
            _duration("--chaos-explore-latency", self.latency, "; or 'none'")
        for one in self.exceptions:
            try:
                ExceptionSpec.parse(one)
            except Refusal as refusal:
                raise _refused(one, refusal) from None

    def faults(self) -> Faults:
        """Return the faults to try; imports the exceptions, so ask when tests are collected."""
        for one in self.exceptions:
            try:
                found = ExceptionSpec.parse(one).find("code")
            except Refusal as refusal:
                raise _refused(one, refusal) from None
            if found is None or not isinstance(found.build(), Exception):
                raise pytest.UsageError(
                    f"--chaos-explore-exception={one}: that is no Exception, and it would end the "
                    "run of pytest: write one that code handles, such as TimeoutError"
                )
        return Faults.of(self.exceptions, self.latency)

    def repeat(self, test: str, case: str) -> str:
        """Return the command that runs this case of this test, and no other."""
        config = self.config
        path, colons, name = test.partition("::")
        relative = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
        explore = "--chaos-explore" if self.points == "*" else f"--chaos-explore={self.points}"
        words = [*started_with(config), f"{relative}{colons}{name}", explore]
        words.append(f"--chaos-explore-case={case}")
        words += [f"--chaos-explore-exception={one}" for one in self.exceptions]
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
        said = f"{option}={given}: {refusal.problem}; {refusal.cure}{more}"
        raise pytest.UsageError(said) from None


def _refused(exception: str, refusal: Refusal) -> pytest.UsageError:
    return pytest.UsageError(
        f"--chaos-explore-exception={exception}: {refusal.problem}; {refusal.cure}"
    )
