"""A service with one point, controlled from outside.

It prints ``ready``, and then the result of a call for each line it reads.
"""

from __future__ import annotations

import sys

import chaospoint


@chaospoint.point("payment.charge")
def charge() -> str:
    return "charged"


def main() -> None:
    chaospoint.start()
    print("ready", flush=True)
    for _ in sys.stdin:
        try:
            print(charge(), flush=True)
        except TimeoutError:
            print("timed out", flush=True)


if __name__ == "__main__":
    main()
