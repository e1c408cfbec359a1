"""Log rules at INFO, and the switch and the first injection of each rule at WARNING.

Further injections are logged at DEBUG, so that a hot point does not flood the log. The logger is
``chaospoint``.
"""

from __future__ import annotations

import logging

from chaospoint._kernel.injection import Injection
from chaospoint._kernel.logger import LOGGER
from chaospoint._kernel.quantity import quantity
from chaospoint._registry.notices import (
    Notice,
    Overflowed,
    Reached,
    Reloaded,
    RuleArmed,
    RuleDisarmed,
    StateChanged,
    Switched,
)

__all__ = ["Log"]


class Log:
    """An observer that logs injections and changes of rules."""

    def observe_first(self, injection: Injection) -> None:
        """Log the first injection of an armed rule."""
        _write(logging.WARNING, injection, "; further injections of this rule are logged at DEBUG")

    def observe(self, injection: Injection) -> None:
        """Log one injection."""
        if LOGGER.isEnabledFor(logging.DEBUG):
            _write(logging.DEBUG, injection)

    def notice(self, notice: Notice) -> None:
        """Log a change of a rule or of the switch."""
        always = isinstance(notice, RuleDisarmed | Switched)
        if not (always or LOGGER.isEnabledFor(logging.INFO)):
            return
        match notice:
            case RuleArmed(rule):
                LOGGER.info(
                    "armed %s (source %s%s, seed %d%s)",
                    rule.shown,
                    rule.source,
                    f", by {rule.by}" if rule.by else "",
                    rule.seed,
                    "" if rule.seconds_left is None else f", for {rule.seconds_left:g} s",
                )
            case RuleDisarmed(rule, "failed", _, reason):
                LOGGER.error("disarmed %s (source %s): %s", rule.shown, rule.source, reason)
            case RuleDisarmed(rule, why):
                never = rule.reaches == 0 and why in ("disarmed", "expired")
                # A rule of a store is armed in every process, but may be reached in only some.
                level = logging.WARNING if never and rule.source != "store" else logging.INFO
                if LOGGER.isEnabledFor(level):
                    _write_end(level, notice)
            case Switched(enabled, by):
                LOGGER.warning("chaospoint %s by %s", "enabled" if enabled else "disabled", by)
            case Reloaded(source, True):
                LOGGER.info("read the plan of source %s", source)
            case Reloaded() | Reached() | Overflowed() | StateChanged():
                pass  # the code that refuses a plan logs it, with the cure


def _write_end(level: int, ended: RuleDisarmed) -> None:
    rule = ended.rule
    LOGGER.log(
        level,
        "%s %s (source %s%s): %s in %s%s%s",
        ended.why,
        rule.shown,
        rule.source,
        f", by {ended.by}" if ended.by else "",
        quantity(rule.injections, "injection"),
        quantity(rule.reaches, "reach", "reaches"),
        f", {rule.overflow} passed at max_active" if rule.overflow else "",
        f"; {ended.reason}" if ended.reason else "",
    )


def _write(level: int, injection: Injection, more: str = "") -> None:
    LOGGER.log(
        level,
        "injected %s at %s: reach %d of %s (%s)%s",
        injection.fault,
        injection.point,
        injection.ordinal,
        injection.rule,
        injection.source,
        more,
    )
