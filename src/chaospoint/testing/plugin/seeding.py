"""The seed of a run: given or random, shown in the header, and used to repeat failures."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaospoint._kernel.chance import derive, draw_seed
from chaospoint.sources.launching import launched_with
from chaospoint.testing.plugin.shares import plain
from chaospoint.testing.plugin.typed import settings_typed

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "add_options",
    "configure",
    "repeat_command",
    "seed_of",
    "seed_options",
    "started_with",
]

_VARIABLE = "CHAOSPOINT_SEED"
_WORKER_KEY = "chaospoint_seed"  # in the input of pytest-xdist workers


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add ``--chaospoint-seed``; another plugin has an option with the shorter name."""
    del parser
    group.addoption(
        "--chaospoint-seed",
        type=_seed,
        metavar="N",
        help="the seed of all rules that have none (default: random; the header shows it)",
    )


def _seed(text: str, option: str = "--chaospoint-seed") -> int:
    if text.isascii() and text.isdigit() and int(text) < 2**63:
        return int(text)
    raise pytest.UsageError(
        f"{option}={text} is not a seed: write a whole number from 0 to 2**63 - 1"
    )


def configure(config: pytest.Config) -> None:
    """Choose the seed; pytest-xdist workers use the seed of their controller."""
    if config.option.chaospoint_seed is None:
        config.option.chaospoint_seed = _settled(config)
    config.pluginmanager.register(_Seeding(config.option.chaospoint_seed), "chaospoint-seeding")


def _settled(config: pytest.Config) -> int:
    if (seed := getattr(config, "workerinput", {}).get(_WORKER_KEY)) is not None:
        return int(seed)
    given = os.environ.get(_VARIABLE, "").strip()
    return _seed(given, _VARIABLE) if given else draw_seed()


class _Seeding:
    """Shows the seed, and gives it to what code arms, in this process and in those it starts."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def pytest_report_header(self) -> str:
        """Say the seed, and the option that gives it."""
        return f"chaospoint: --chaospoint-seed={self._seed}"

    @pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which hands on what was typed alone
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a process of pytest-xdist the seed."""
        node.workerinput[_WORKER_KEY] = self._seed

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Have rules that the code under test arms without a seed use this one."""
        before = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = str(self._seed)
        try:
            return (yield)
        finally:
            os.environ.pop(_VARIABLE, None)
            if before is not None:
                os.environ[_VARIABLE] = before


def seed_of(item: pytest.Item) -> int:
    """Return the seed of one test: of the run's and its name, so it fires the same when alone.

    Of its file the name alone, for the folders before it depend on what pytest was started with.
    """
    name = plain(item.nodeid).partition("::")[2]  # the same in each share of it
    return derive(item.config.option.chaospoint_seed, item.path.name, name, 1) >> 10


def repeat_command(item: pytest.Item) -> str:
    """Return the command that runs one test again as it ran."""
    config = item.config
    path, *names = item.nodeid.split("::")
    here = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    return shlex.join([*started_with(config), "::".join([here, *names]), *seed_options(config)])


def started_with(config: pytest.Config) -> list[str]:
    """Return the words that start pytest as this run was started: the program and its settings.

    ``python -m pytest`` differs from ``pytest``: it adds the working directory to ``sys.path``.
    """
    typed = getattr(config, "workerinput", {}).get("mainargv", sys.argv)
    program = Path(typed[0] if typed else "")
    as_module = program.name == "-m" or program.parts[-2:] == ("pytest", "__main__.py")
    python = ["python", "-m"] if as_module else []
    return [*_launched(config), *python, "pytest", *settings_typed(config)]


def _launched(config: pytest.Config) -> list[str]:
    """Return the words of ``chaospoint run``, if that started this process."""
    plan = launched_with(os.environ)
    if plan is None:
        return []
    here = config.invocation_params.dir
    named = ["--plan", os.path.relpath(plan, here)] if plan else []
    return ["chaospoint", "run", *named, "--"]


def seed_options(config: pytest.Config) -> tuple[str, ...]:
    """Return the options that repeat the seeds of this run."""
    options = (f"--chaospoint-seed={config.option.chaospoint_seed}",)
    if (shuffled := getattr(config.option, "randomly_seed", None)) is not None:
        # pytest-randomly seeds the random module for the program.
        return (*options, f"--randomly-seed={shuffled}")
    return options
