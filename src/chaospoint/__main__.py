"""Run the command line with ``python -m chaospoint``."""

from __future__ import annotations

from chaospoint.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
