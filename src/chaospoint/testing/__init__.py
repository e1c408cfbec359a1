"""Tools for testing programs that have chaos points, with or without pytest.

Importing this package is cheap: each name loads its module on first use.
"""

from __future__ import annotations

from chaospoint._lazy import lazy_names

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


__getattr__, __dir__ = lazy_names(__name__, _LAZY)
