"""Kinds of faults that are wrong, each in its own way."""

from __future__ import annotations

from typing import Any, Literal

from chaospoint.faults import FaultModel


class Plain:
    """No model at all."""


class Misnamed(FaultModel):
    """Calls itself something else than its entry point does."""

    kind: Literal["other"] = "other"


class Bursting(FaultModel):
    """Cannot say what it does."""

    kind: Literal["bursting"] = "bursting"

    def effects(self, draws: Any) -> Any:
        raise ZeroDivisionError("a bug of its own")


class Talking(FaultModel):
    """Gives something that is no effect."""

    kind: Literal["talking"] = "talking"

    def effects(self, draws: Any) -> Any:
        return ("boom",)
