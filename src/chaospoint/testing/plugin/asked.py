"""What the options of a run ask to be explored, and the command that repeats one case of it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from chaospoint.errors import ChaosError
from chaospoint.faults import Failure
from chaospoint.plan import Rule
from chaospoint.testing._cases import Faults
from chaospoint.testing.plugin.seeding import seed_options

__all__ = ["Asked"]

_MOST = 1000
_LATENCY = "10m"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options, read and checked.

    ``most``: how many cases of a test. ``json``: where to write what was found.
    """

    points: str
    most: int
    exceptions: tuple[str, ...]
    latency: str | None
    case: str | None
    json: Path | None
    config: pytest.Config

    @classmethod
    def of(cls, config: pytest.Config) -> Self:
        """Read the options; `pytest.UsageError` for what makes no sense."""
        points = str(config.getoption("chaos_explore"))
        most = config.getoption("chaos_explore_max")
        latency = config.getoption("chaos_explore_latency") or _LATENCY
        json = config.getoption("chaos_explore_json")
        asked = cls(
            points,
            _MOST if most is None else most,
            tuple(config.getoption("chaos_explore_exception") or ()),
            None if latency == "none" else latency,
            config.getoption("chaos_explore_case"),
            None if json is None else config.invocation_params.dir / json,
            config,
        )
        asked._check_points()
        asked._check_rest()
        return asked

    def _check_points(self) -> None:
        invoked = self.config.invocation_params
        bare = "--chaos-explore" in invoked.args
        try:
            Rule(point=self.points, latency=0)
            taken = bare and (invoked.dir / self.points).exists()
        except ChaosError:
            taken = True
        if taken:
            raise pytest.UsageError(
                f"--chaos-explore {self.points}: that is no name or glob of points; write "
                "--chaos-explore=GLOB, and the paths of tests before it"
            )

    def _check_rest(self) -> None:
        if self.most < 1:
            raise pytest.UsageError(f"--chaos-explore-max={self.most}: write a number from 1")
        try:
            Faults.of((), self.latency)
            for one in self.exceptions:
                Failure(exception=one)
        except ChaosError as error:
            raise pytest.UsageError(f"--chaos-explore: {error}") from None
        if self.json is not None and not self.json.parent.is_dir():
            raise pytest.UsageError(
                f"--chaos-explore-json={self.json}: there is no directory {self.json.parent}"
            )

    def faults(self) -> Faults:
        """Return the faults to try; imports the exceptions, so ask when tests are collected."""
        try:
            return Faults.of(self.exceptions, self.latency)
        except ChaosError as error:
            raise pytest.UsageError(f"--chaos-explore-exception: {error}") from None

    def repeat(self, test: str, case: str) -> str:
        """Return the command that runs this case of this test, and no other."""
        config = self.config
        path, colons, name = test.partition("::")
        relative = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
        explore = "--chaos-explore" if self.points == "*" else f"--chaos-explore={self.points}"
        words = ["pytest", f"{relative}{colons}{name}", explore, f"--chaos-explore-case={case}"]
        words += [f"--chaos-explore-exception={one}" for one in self.exceptions]
        if self.latency != _LATENCY:
            words.append(f"--chaos-explore-latency={self.latency or 'none'}")
        return shlex.join([*words, *seed_options(config)])
