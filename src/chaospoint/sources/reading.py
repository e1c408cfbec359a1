"""Arm the rules of ``CHAOSPOINT_POINTS`` and of the plan file.

Each source is armed as a whole or not at all; a refusal is logged and never raised. Nothing is
imported for these rules before their first reach, because the program may still be importing its
own modules. A launched process reads the rules before the program adds its directories to
`sys.path`, so there a missing module is refused only at the first reach.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chaospoint._kernel.quantity import quantity
from chaospoint._registry.notices import Reloaded
from chaospoint._registry.registry import Registry
from chaospoint.arming import Origin, install_plan
from chaospoint.errors import ChaosError, NotPermitted
from chaospoint.models.refusal import unquoted
from chaospoint.plan.plan import Plan, load_plan
from chaospoint.sources.launching import launched_with
from chaospoint.sources.poller import Poller
from chaospoint.sources.settings import Settings

if TYPE_CHECKING:
    from chaospoint.placements.placing import Placements

__all__ = ["Sources", "reports"]

_log = logging.getLogger("chaospoint")
_in_use: dict[Registry, Sources] = {}


def reports(registry: Registry) -> list[dict[str, object]]:
    """Return the result of reading each source of the registry, as plain data."""
    sources = _in_use.get(registry)
    return [] if sources is None else sources.reports()


class Sources:
    """The sources of one registry in ``settings``, and the poller of the plan file.

    ``poller`` is None without ``CHAOSPOINT_CONFIG``; `read_file` runs its first round.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._placements: Placements | None = None
        self.poller: Poller[Plan] | None = None
        if (path := settings.config) is not None:
            from chaospoint.placements.placing import Placements  # imports wrapt, which is slow

            self._placements = Placements(registry)
            after = self._after_round
            self.poller = Poller(path, self._read, self._load, self._notify, after_round=after)
        self._env_refused: str | None = None
        self._read_at: datetime | None = None

    def read_env(self) -> str | None:
        """Arm ``CHAOSPOINT_POINTS``; return a summary of the result, or None if it is not set."""
        _in_use[self._registry] = self
        if self._settings.points is None:
            return None
        try:
            return f"env: {self._install(Plan.parse(self._settings.points), 'env')}"
        except ChaosError as error:
            self._env_refused = unquoted(error)
            _log.warning(
                "CHAOSPOINT_POINTS is refused, and none of its rules is armed: %s",
                self._env_refused,
            )
        except Exception as error:
            self._env_refused = f"{type(error).__name__}: {error}"
            _log.exception("CHAOSPOINT_POINTS is not armed because of a bug in chaospoint")
        return "env: refused"

    def read_file(self) -> str | None:
        """Arm the plan file; return a summary of the result, or None if there is no file."""
        if self.poller is None:
            return None
        ok = self.poller.poll()
        count = quantity(sum(rule.source == "file" for rule in self._registry.rules()), "rule")
        return f"file {self._settings.config}: {count if ok else 'refused'}"

    def clear(self, by: str = "stop()") -> None:
        """Disarm all rules from env and file."""
        if _in_use.get(self._registry) is self:  # another start may have replaced it already
            del _in_use[self._registry]
        rules = [rule for rule in self._registry.rules() if rule.source in ("env", "file")]
        self._registry.engine.remove(rules, "disarmed", by=by)  # reports unreached rules
        self._registry.replace((), source="env")
        self._registry.replace((), source="file")
        if self._placements is not None:
            self._placements.end()

    def reports(self) -> list[dict[str, object]]:
        """Return the result of reading; ``read_at`` is when the file was last read, or tried."""
        results: list[dict[str, object]] = []
        if self._settings.points is not None:
            results.append(_report("env", self._env_refused))
        if self.poller is not None:
            at = self._read_at
            results.append(
                _report("file", self.poller.refusal)
                | {
                    "path": str(self._settings.config),
                    "read_at": None if at is None else at.isoformat(timespec="seconds"),
                }
            )
        return results

    def _read(self, path: Path) -> Plan:
        self._read_at = datetime.now(UTC)
        return load_plan(path)

    def _load(self, plan: Plan) -> None:
        self._install(plan, "file")

    def _after_round(self) -> None:
        if self._placements is not None:
            self._placements.look()
        with suppress(NotPermitted):  # still no thread can be started
            self._registry.engine.arm_unkept("env")
            self._registry.engine.arm_unkept("file")

    def _notify(self, ok: bool, reason: str) -> None:
        self._registry.say(Reloaded("file", ok, reason))

    def _install(self, plan: Plan, source: Literal["env", "file"]) -> str:
        by = "CHAOSPOINT_POINTS" if source == "env" else str(self._settings.config)
        install_plan(
            plan,
            Origin(source, by, early=launched_with(os.environ) is not None),
            self._registry,
            seed=self._settings.seed,
            replace=True,
            place=self._placements.put if source == "file" and self._placements else None,
            limits=self._settings.limits,
        )
        return quantity(len(plan.rules), "rule")


def _report(source: str, refusal: str | None) -> dict[str, object]:
    return {"source": source, "ok": refusal is None, "reason": refusal}
