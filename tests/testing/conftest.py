"""Import numpy before pytester runs, because pytester unloads modules that it sees first.

numpy can be loaded only once; hypothesis and the charts of the benchmarks import it.
"""

from __future__ import annotations

import numpy  # noqa: F401
