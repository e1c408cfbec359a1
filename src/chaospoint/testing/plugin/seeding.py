"""The seed of a run: drawn once, or given; it stands in the header and repeats what failed."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import pytest

from chaospoint._draw import derive, draw_seed

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["add_options", "configure", "repeat_command", "seed_of"]

_VARIABLE = "CHAOSPOINT_SEED"


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add ``--chaospoint-seed``; another plugin of this field has the shorter name."""
    del parser
    group.addoption(
        "--chaospoint-seed",
        type=_seed,
        metavar="N",
        help="seed of all rules without one; drawn, and shown in the header, if not given",
    )


def _seed(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 2**63:
        return int(text)
    raise pytest.UsageError(f"--chaospoint-seed={text} is no seed: give a whole number below 2**63")


def configure(config: pytest.Config) -> None:
    """Settle the seed; processes of pytest-xdist are given the one of their controller."""
    if config.option.chaospoint_seed is None:
        given = os.environ.get(_VARIABLE, "").strip()
        config.option.chaospoint_seed = _seed(given) if given else draw_seed()
    config.pluginmanager.register(_Seeding(config.option.chaospoint_seed), "chaospoint-seeding")


class _Seeding:
    """Shows the seed, and gives it to what code arms, in this process and in those it starts."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def pytest_report_header(self) -> str:
        """Say the seed, and the option that gives it."""
        return f"chaospoint: --chaospoint-seed={self._seed}"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Have rules that the code under test arms without a seed use this one."""
        if _VARIABLE in os.environ:
            return (yield)
        os.environ[_VARIABLE] = str(self._seed)
        try:
            return (yield)
        finally:
            os.environ.pop(_VARIABLE, None)


def seed_of(item: pytest.Item) -> int:
    """Return the seed of one test: of the run's and its name, so it fires the same when alone."""
    return derive(item.config.option.chaospoint_seed, item.nodeid, 1) >> 10


def repeat_command(item: pytest.Item) -> str:
    """Return the command that runs one test again as it ran."""
    config = item.config
    path, *names = item.nodeid.split("::")
    here = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    words = [
        "pytest",
        "::".join([here, *names]),
        f"--chaospoint-seed={config.option.chaospoint_seed}",
    ]
    if (shuffled := getattr(config.option, "randomly_seed", None)) is not None:
        words.append(f"--randomly-seed={shuffled}")  # pytest-randomly seeds the program's own draws
    return shlex.join(words)
