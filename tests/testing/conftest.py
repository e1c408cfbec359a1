"""What pytester needs: it forgets the modules that are first imported while it runs.

numpy, which hypothesis and the pictures of the benchmarks import, can be loaded once only.
"""

from __future__ import annotations

import numpy  # noqa: F401
