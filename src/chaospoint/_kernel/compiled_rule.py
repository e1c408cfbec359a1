"""A compiled rule: the form in which plans give their rules to the kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from chaospoint._kernel.chance import Schedule
from chaospoint._kernel.effects import Fault

__all__ = ["CompiledRule"]


class CompiledRule(NamedTuple):
    """One compiled rule."""

    pattern: str  # the name of a point, or a glob
    # The canonical text without the seed, or a function that writes it, because writing it takes
    # longer than the rest of compiling.
    written: str | Callable[[], str]
    faults: tuple[Fault, ...]
    schedule: Schedule
    seed_drawn: bool = False  # the rule sets no seed, so a forked child draws its own
    expires_after: float | None = None  # seconds from arming
    # Set if the rule names an exception that is looked up at the first reach: returns the final
    # faults, or raises `ChaosError`.
    resolve: Callable[[], tuple[Fault, ...]] | None = None
    after: bool = False  # acts after the call, if that succeeded
    max_active: int | None = None  # the limit of simultaneous injections
    where: Mapping[str, object] | None = None  # conditions on labels and arguments
    scoped: bool = False  # acts only in the context that armed it, and in copies of that context
    shown: str = ""  # the text for logs and spans, without values of `where`; empty if the same
    key: str = ""  # distinguishes rules with the same text that were armed at different times
    excluded: tuple[str, ...] = ()  # names and globs at which it does not act
    # The seconds for which one firing may delay a call, and those for which it may hold it.
    bounds: tuple[float | None, float | None] | None = None

    @property
    def text(self) -> str:
        """The canonical text; with the source, seed and key it identifies the rule."""
        return self.written if isinstance(self.written, str) else self.written()
