"""Exploration under pytest: the options, and the plugins that they activate."""

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
        help="run each test once for each call that reaches a point (matching GLOB), with a fault "
        "in that call, and report the faults that the test did not handle; write GLOB after '='",
    )
    group.addoption(
        "--chaos-explore-max",
        type=int,
        metavar="N",
        help="explore at most N cases of each test (default: 1000)",
    )
    group.addoption(
        "--chaos-explore-exception",
        action="append",
        metavar="TYPE",
        help="the dotted path of an exception to raise at placements that declare none; may be "
        "repeated (default: InjectedFault)",
    )
    group.addoption(
        "--chaos-explore-latency",
        metavar="DURATION",
        help="delay answers by this much, in skipped time, not real time; 'none' tries no delays "
        "(default: 10m)",
    )
    group.addoption(
        "--chaos-explore-limit",
        metavar="DURATION",
        help="the real time after which a run with a fault counts as hung (default: 20 times the "
        "duration without a fault, at least 5s)",
    )
    group.addoption(
        "--chaos-explore-case",
        metavar="ID",
        help="run only the case with this ID, as printed with each finding",
    )
    group.addoption(
        "--chaos-explore-json", metavar="PATH", help="write the results to this file as JSON"
    )


def configure(config: pytest.Config) -> None:
    """Activate exploration if the options ask for it."""
    given = [name for name in _OTHERS if config.getoption(f"chaos_explore_{name}") is not None]
    if config.getoption("chaos_explore") is None:
        if given:
            raise pytest.UsageError(
                f"--chaos-explore-{given[0]} has no effect without --chaos-explore: add it"
            )
        return
    if find_spec("rich") is None:
        raise pytest.UsageError(
            "--chaos-explore needs rich, which is not installed: pip install 'chaospoint[testing]'"
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
    """Sends the names of the points to the controller, which does not import the tests."""

    def __init__(self, config: pytest.Config, key: str) -> None:
        self._config = config
        self._key = key

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        names = [point.name for point in default_registry().points()]
        getattr(self._config, "workeroutput")[self._key] = names  # noqa: B009
