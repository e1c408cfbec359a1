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
    result: dict[str, Any] = json.loads(answer())
    return result


if __name__ == "__main__":
    # In a separate process, because Celery's client keeps looking for its Redis until it ends.
    waiting = [pay.delay() for _ in range(int(sys.argv[1]))]
    print(json.dumps([task.get(timeout=20) for task in waiting]))
