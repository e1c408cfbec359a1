"""What tests of programs that carry chaos points stand on.

The pytest plugin, with its fixtures, joins here.
"""

from __future__ import annotations

from chaospoint.testing._fake_clock import FakeClock

__all__ = ["FakeClock"]
