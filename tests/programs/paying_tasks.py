"""The service of `paying` as Celery tasks; broker and results are files below PAYING_FILES."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery
from paying import answer

files = Path(os.environ["PAYING_FILES"])
for folder in ("queue", "control", "results"):
    (files / folder).mkdir(parents=True, exist_ok=True)

app = Celery("paying_tasks", broker="filesystem://", backend=f"file://{files / 'results'}")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(files / "queue"),
        "data_folder_out": str(files / "queue"),
        "control_folder": str(files / "control"),
        "polling_interval": 0.01,
    },
    worker_prefetch_multiplier=1,
)


@app.task  # type: ignore[untyped-decorator]
def pay() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(answer())
    return told
