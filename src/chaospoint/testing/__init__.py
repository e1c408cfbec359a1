"""Tools for testing programs that have chaos points, with or without pytest.

Importing this package is cheap: each name loads its module on first use.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from chaospoint.testing.clocks.fake import FakeClock
    from chaospoint.testing.clocks.skipping import SkippingClock
    from chaospoint.testing.coverage import FaultCoverage, fault_coverage
    from chaospoint.testing.exploring.exploration import Exploration
    from chaospoint.testing.exploring.explore import explore
    from chaospoint.testing.kit.chaos import Chaos
    from chaospoint.testing.strategies import plans, rules

__all__ = [
    "Chaos",
    "Exploration",
    "FakeClock",
    "FaultCoverage",
    "SkippingClock",
    "explore",
    "fault_coverage",
    "plans",
    "rules",
]

_LAZY = {
    "Chaos": "kit.chaos",
    "Exploration": "exploring.exploration",
    "FakeClock": "clocks.fake",
    "FaultCoverage": "coverage",
    "SkippingClock": "clocks.skipping",
    "explore": "exploring.explore",
    "fault_coverage": "coverage",
    "plans": "strategies",
    "rules": "strategies",
}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
