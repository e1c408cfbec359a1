"""The service of `paying` as Celery tasks; PAYING_BROKER is the address of a Redis."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from celery import Celery
from paying import answer

app = Celery(
    "paying_tasks", broker=os.environ["PAYING_BROKER"], backend=os.environ["PAYING_BROKER"]
)


@app.task  # type: ignore[untyped-decorator]
def pay() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(answer())
    return told


if __name__ == "__main__":
    # Of a process of its own, for Celery's client looks for its Redis as long as it lives.
    waiting = [pay.delay() for _ in range(int(sys.argv[1]))]
    print(json.dumps([one.get(timeout=20) for one in waiting]))
