"""What env and file say is armed whole or not at all, and a refusal is logged, never raised.

Nothing is imported for their rules (trust ``deferred``), because the program may be in the middle
of its own imports.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from chaospoint._notice import Reloaded
from chaospoint._registry import Registry
from chaospoint.arming import install_plan
from chaospoint.control import strict_json
from chaospoint.errors import ChaosError, InvalidPlan
from chaospoint.plan import Plan, load_plan, parse_plan
from chaospoint.poller import Poller
from chaospoint.settings import Settings

__all__ = ["Sources"]

_log = logging.getLogger("chaospoint")


class Sources:
    """The sources of one registry that ``settings`` name, and the poller of the file.

    ``poller`` is None without ``CHAOSPOINT_CONFIG``; `read_file` calls its first round.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        path = settings.config
        self.poller = None if path is None else Poller(path, self._load, self._told)

    def read_env(self) -> str | None:
        """Arm what ``CHAOSPOINT_POINTS`` says; return what came of it in words, None if unset."""
        if self._settings.points is None:
            return None
        try:
            return f"env: {self._install(_parse(self._settings.points), 'env')}"
        except ChaosError as error:
            _log.warning("CHAOSPOINT_POINTS is refused whole: %s", error)
        except Exception:
            _log.exception("CHAOSPOINT_POINTS is refused whole, by a bug in chaospoint")
        return "env: refused"

    def read_file(self) -> str | None:
        """Arm what the plan file says; return what came of it in words, None if there is none."""
        if self.poller is None:
            return None
        ok = self.poller.poll()
        count = _rules(sum(rule.source == "file" for rule in self._registry.rules()))
        return f"file {self._settings.config}: {count if ok else 'refused'}"

    def clear(self) -> None:
        """Disarm everything that came from env and file."""
        self._registry.replace((), source="env")
        self._registry.replace((), source="file")

    def _load(self, path: Path) -> None:
        self._install(load_plan(path), "file")

    def _told(self, ok: bool, reason: str) -> None:
        self._registry.say(Reloaded("file", ok, reason))

    def _install(self, wanted: Plan, source: Literal["env", "file"]) -> str:
        install_plan(
            wanted,
            source=source,
            trust="deferred",
            registry=self._registry,
            seed=self._settings.seed,
            by="CHAOSPOINT_POINTS" if source == "env" else str(self._settings.config),
            replace=True,
        )
        return _rules(len(wanted.rules))


def _parse(text: str) -> Plan:
    try:
        data = strict_json.loads(text)
    except ValueError as error:
        raise InvalidPlan(
            f'it is no JSON: {error}; write a plan such as [{{"point": "a.b", "latency": "1s"}}]'
        ) from None
    return parse_plan(data)


def _rules(count: int) -> str:
    return f"{count} rule" if count == 1 else f"{count} rules"
