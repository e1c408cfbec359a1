"""The audit log: one line for each requested change, and for each rule from outside that expires.

Each line is one write, so several processes may share a file.  The file is opened for each line, so
it may be rotated.  A failure here never prevents a change.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from chaospoint._kernel.injection import Injection
from chaospoint._kernel.logger import AUDIT, LOGGER
from chaospoint._registry.notices import Notice, RuleDisarmed
from chaospoint.errors import StoreError
from chaospoint.stores.files import opened

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint.plan.rule import Rule
    from chaospoint.sources.settings import Settings

__all__ = ["MAX_LINE", "Audit", "AuditedExpiry"]

MAX_LINE = 8 * 1024
"""The longest line, in bytes."""

_MAX_TEXT = 1024
_FLAGS = (
    os.O_WRONLY
    | os.O_APPEND
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # does not block on a pipe without a reader
)


class Audit:
    """The audit log at ``path``; without one each entry is a line of the logger alone.

    An entry is an INFO line of the logger ``chaospoint.audit`` and a line of JSON in the file:
    ``at`` (UTC), ``who``, ``from``, ``what``, ``status``, ``generation``, ``pid``, and
    ``rules``, ``detail`` and ``reason`` if they apply. ``in_store``: the file is one of a store's
    directory, and written only where the store would write. Safe from any thread and process;
    raises nothing.
    """

    def __init__(self, path: Path | None = None, *, in_store: bool = False) -> None:
        self._path = path
        self._in_store = in_store
        self._logged: set[str] = set()
        self._missing = 0

    @classmethod
    def of(cls, settings: Settings) -> Audit:
        """Return the audit log of ``settings``, by default in the directory of their store."""
        if settings.audit_log is None and settings.store is not None:
            return cls.of_store(unquote(urlsplit(settings.store).path))
        return cls(settings.audit_log)

    @classmethod
    def of_store(cls, path: str) -> Audit:
        """Return the audit log in the directory of a store."""
        return cls(Path(path) / "audit.jsonl", in_store=True)

    def record(
        self,
        what: str,
        status: int | None,
        *,
        who: str,
        client: str,
        generation: int | None = None,
        rules: Sequence[Rule] = (),
        detail: str = "",
        reason: str = "",
        strange: bool = False,
    ) -> None:
        """Record that ``who`` requested ``what`` from the address ``client``, and the response.

        ``status``: of the response; None if the client disconnected before it. ``what``: method and
        path. ``rules``: the rules of the request; the values of ``where`` are not recorded.
        ``detail``: why the request was refused. ``reason``: why chaospoint was disabled.
        ``strange``: the request had no valid token, so it goes to the logger only; otherwise any
        client could fill the disk.
        """
        entry = _entry(who=who, client=client, what=what, status=status, generation=generation)
        if detail:
            entry["detail"] = _short(detail)
        if reason:
            entry["reason"] = _short(reason)
        if rules:
            from chaospoint.plan.compiling import shown  # an entry without rules needs no pydantic

            entry["rules"] = _fitting(map(shown, rules), len(rules), MAX_LINE - len(_line(entry)))
        self._write(entry, strange=strange)

    def expired(self, rule: ArmedRule) -> None:
        """Record that a rule expired in this process, with its counts here."""
        self._write(
            {
                **_entry(who="chaospoint", client="", what="expired"),
                "rules": [_short(rule.shown)],
                "source": rule.source,
                "reaches": rule.reaches,
                "injections": rule.injections,
            }
        )

    def _write(self, entry: dict[str, object], *, strange: bool = False) -> None:
        line = _line(entry)
        with suppress(Exception):  # a log handler of the program may raise anything
            AUDIT.info("%s", line)
        if self._path is not None and not strange:
            self._append(self._path, line)

    def _append(self, path: Path, line: str) -> None:
        try:
            append = _append_in_store if self._in_store else _append
            append(path, f"{line}\n".encode())
        except (OSError, ValueError, StoreError) as error:
            self._missing += 1
            # The logger has the entry already, so each reason is logged as an error only once.
            reason = getattr(error, "strerror", None) or str(error)
            level = logging.DEBUG if reason in self._logged else logging.ERROR
            self._logged.add(reason)
            with suppress(Exception):
                LOGGER.log(
                    level,
                    "the audit log %s cannot be written (%s): correct that, or unset "
                    "CHAOSPOINT_AUDIT_LOG; the entry is %s",
                    path,
                    reason,
                    line,
                )
            return
        if self._missing:
            missing, self._missing = self._missing, 0
            self._logged.clear()
            with suppress(Exception):
                LOGGER.warning(
                    "the audit log %s is written again; it lacks %d entries", path, missing
                )


class AuditedExpiry:
    """An observer that records which rules from outside expire in this process.

    Each worker of a store writes its own line, because each has its own counts.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def observe(self, injection: Injection) -> None:
        """Do nothing: an injection is not a change."""

    def notice(self, notice: Notice) -> None:
        """Record an expiry."""
        if not isinstance(notice, RuleDisarmed) or notice.why != "expired":
            return
        if notice.rule.source not in ("code", "test"):
            self._audit.expired(notice.rule)


def _entry(
    *,
    who: str,
    client: str,
    what: str,
    status: int | None = None,
    generation: int | None = None,
) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "who": _short(who),
        "from": _short(client),
        "what": _short(what),
        "status": status,
        "generation": generation,
        "pid": os.getpid(),
    }


def _append(path: Path, line: bytes) -> None:
    file = _opened(path)
    try:
        _write(file, line)
    finally:
        os.close(file)


def _append_in_store(path: Path, line: bytes) -> None:
    """Append by the rules for files of a store.

    Only its owner may write the directory and the file, and neither may be a symbolic link.
    """
    name = path.name
    with opened(str(path.parent), make=True) as directory:
        if directory.find(name) is None:
            with suppress(FileExistsError):
                file = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory.fd)
                try:
                    directory.own(file, 0o600)
                finally:
                    os.close(file)
        with directory.file(name, os.O_WRONLY | os.O_APPEND) as file:
            _write(file, line)


def _write(file: int, line: bytes) -> None:
    state = os.fstat(file)
    if not stat.S_ISREG(state.st_mode):
        raise OSError(None, "not a regular file")
    if state.st_nlink != 1:
        raise OSError(None, "a file with further names (hard links)")
    if (written := os.write(file, line)) < len(line):
        raise OSError(None, f"only {written} of {len(line)} bytes could be written")


def _opened(path: Path) -> int:
    with suppress(FileNotFoundError):
        return os.open(path, _FLAGS)
    os.makedirs(path.parent, 0o700, exist_ok=True)
    try:
        file = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, _FLAGS)
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # a file of root must not lock out the service
        owner = os.stat(path.parent)
        os.fchown(file, owner.st_uid, owner.st_gid)
    return file


def _line(entry: dict[str, object]) -> str:
    return json.dumps(entry)  # ASCII, so that no name can send control sequences to a terminal


def _short(text: str) -> str:
    """Return the text, cut to the limit that it may have as JSON."""
    cut = text[:_MAX_TEXT]
    while len(json.dumps(cut)) > _MAX_TEXT:
        cut = cut[: len(cut) * 3 // 4]
    return text if cut == text else f"{cut}…"


def _fitting(texts: Iterable[str], count: int, room: int) -> list[str]:
    """Return as many texts as fit into ``room`` bytes, and a note on the number of others."""
    room -= 100  # the key, and the note
    fitting: list[str] = []
    for text in map(_short, texts):
        room -= len(json.dumps(text)) + 2
        if room < 0:
            return [*fitting, f"and {count - len(fitting)} more"]
        fitting.append(text)
    return fitting
