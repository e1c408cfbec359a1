"""What tests of programs that carry chaos points stand on, with pytest or without it.

Importing this loads nothing; what a name needs is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from chaospoint.testing._chaos import Chaos
    from chaospoint.testing._coverage import FaultCoverage, fault_coverage
    from chaospoint.testing._exploration import Exploration
    from chaospoint.testing._explore import explore
    from chaospoint.testing._fake_clock import FakeClock
    from chaospoint.testing._skipping_clock import SkippingClock
    from chaospoint.testing._strategies import plans, rules

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
    "Chaos": "_chaos",
    "Exploration": "_exploration",
    "FakeClock": "_fake_clock",
    "FaultCoverage": "_coverage",
    "SkippingClock": "_skipping_clock",
    "explore": "_explore",
    "fault_coverage": "_coverage",
    "plans": "_strategies",
    "rules": "_strategies",
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
