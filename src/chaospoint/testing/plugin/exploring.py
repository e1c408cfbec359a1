"""Exploration under pytest: the options, and who takes part when they are given."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from chaospoint._registry.registry import default_registry

__all__ = ["add_options", "configure"]

_OTHERS = ("max", "exception", "latency", "limit", "case", "json")


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add the options."""
    del parser
    group.addoption(
        "--chaos-explore",
        nargs="?",
        const="*",
        metavar="GLOB",
        help="run each test once for each call that reaches a point (of those that GLOB matches), "
        "with that call failing, and report what was not handled; write GLOB after '='",
    )
    group.addoption(
        "--chaos-explore-max",
        type=int,
        metavar="N",
        help="explore at most N cases of each test (1000)",
    )
    group.addoption(
        "--chaos-explore-exception",
        action="append",
        metavar="TYPE",
        help="an exception to fail calls with whose placement declares none, by its dotted path; "
        "may be repeated (InjectedFault)",
    )
    group.addoption(
        "--chaos-explore-latency",
        metavar="DURATION",
        help="how late an answer comes, on a clock that skips it; 'none' leaves late answers out "
        "(10m)",
    )
    group.addoption(
        "--chaos-explore-limit",
        metavar="DURATION",
        help="the real time after which a run with a fault hung (20 times what the test takes "
        "without one, 5s at least)",
    )
    group.addoption(
        "--chaos-explore-case", metavar="ID", help="run only this case, as a finding names it"
    )
    group.addoption(
        "--chaos-explore-json", metavar="PATH", help="write what was found to this file, as JSON"
    )


def configure(config: pytest.Config) -> None:
    """Take part in this run, if its options ask for it."""
    given = [name for name in _OTHERS if config.getoption(f"chaos_explore_{name}") is not None]
    if config.getoption("chaos_explore") is None:
        if given:
            raise pytest.UsageError(
                f"--chaos-explore-{given[0]} says nothing without --chaos-explore: add that"
            )
        return
    if find_spec("rich") is None:
        raise pytest.UsageError(
            "--chaos-explore draws its report with rich, which is not installed: "
            "pip install 'chaospoint[testing]'"
        )
    from chaospoint.testing.plugin.asked import Asked
    from chaospoint.testing.plugin.explored import POINTS, Explored
    from chaospoint.testing.plugin.exploring_tests import Exploring

    asked = Asked.of(config)
    config.pluginmanager.register(Exploring(config, asked), "chaospoint-exploring")
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(_Names(config, POINTS), "chaospoint-explored-points")
    else:
        config.pluginmanager.register(Explored(config, asked), "chaospoint-explored")


class _Names:
    """Hands the names of the points to the controller, which imports no code under test."""

    def __init__(self, config: pytest.Config, key: str) -> None:
        self._config = config
        self._key = key

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        names = [point.name for point in default_registry().points()]
        getattr(self._config, "workeroutput")[self._key] = names  # noqa: B009
