"""The desired state: the document that every process applies, and the edits of it.

An edit is pure: it takes a document and returns the next one, whose generation is one higher. A
document is validated like a plan from outside, and it cannot name code to import.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator

from chaospoint._kernel.names import is_glob, matches
from chaospoint.errors import ChaosError, LimitExceeded, NotPermitted, StoreError
from chaospoint.models import strict_json
from chaospoint.models.durations import MAX_SECONDS
from chaospoint.models.model import Model
from chaospoint.models.nesting import MAX_RULES
from chaospoint.models.point_pattern import PointPattern, point_pattern
from chaospoint.models.quantities import Seed, Skip
from chaospoint.models.refusal import Refusal, show
from chaospoint.plan.rule import Rule
from chaospoint.stores.bounds import MOST_TEXT, kept
from chaospoint.stores.moments import Moment

__all__ = ["MAX_RULES", "Desired", "Entry", "Order"]

VERSION: Final = 1
_MAX_ORDERS = 100
_MAX_HALTS = 10_000


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Refusal("neither true nor false", "write true or false", value=value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise Refusal("not a short text", f"write up to {MOST_TEXT} characters", value=value)
    # Logs and terminals show this text, and any process that can write the store may have set it.
    return value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)


def _instant(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 2**53:
        raise Refusal("not a time", "write seconds since 1970", value=value)
    return float(value)


def _span(value: object) -> float:
    length = _instant(value)
    if not 0 < length <= MAX_SECONDS:
        raise Refusal("not a lifetime", "write seconds, more than 0", value=value)
    return length


def _patterns(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise Refusal("not a list", "write a list of names or globs", value=value)
    return tuple(map(point_pattern, value))


def _rule(value: object) -> Rule:
    if isinstance(value, Rule):
        return value
    if not isinstance(value, Mapping):
        raise Refusal("not a rule", "write {point: ..., latency: ...}", value=value)
    return Rule.from_data(value)


Flag = Annotated[bool, BeforeValidator(_flag)]
Text = Annotated[str, BeforeValidator(_text)]
Instant = Annotated[float, BeforeValidator(_instant)]


def _ids(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > _MAX_HALTS:
        raise Refusal("not a list of ids", "write a list", value=value)
    return tuple(_text(item) for item in value)


class Entry(Model):
    """A rule in the store.

    ``id`` is unique over the life of the store. ``seed`` is derived from the seed of the plan;
    None if each process draws its own. ``excluded`` lists the names and globs that were disarmed
    out of its glob. ``armed_at`` is when it was armed or renewed, in seconds since 1970;
    ``expires_after`` is its lifetime from then, in seconds.
    """

    id: Text
    rule: Annotated[Rule, BeforeValidator(_rule)]
    armed_at: Instant
    expires_after: Annotated[float, BeforeValidator(_span)]
    by: Text = ""
    seed: Seed = None
    excluded: Annotated[tuple[str, ...], BeforeValidator(_patterns)] = ()

    @property
    def seeded(self) -> Rule:
        """The rule with the seed from its plan, so that it can be put again."""
        if self.seed is None or self.rule.seed is not None:
            return self.rule
        return self.rule.model_copy(update={"seed": self.seed})

    @property
    def change(self) -> str:
        """The generation that added the entry."""
        return self.id.partition(".")[0]

    @property
    def lifetime(self) -> tuple[float, float]:
        """The time at which it was armed or renewed, and its lifetime in seconds."""
        return self.armed_at, self.expires_after

    def seconds_left(self, now: float) -> float:
        """Return the seconds until it expires; never more than its lifetime."""
        return min(self.armed_at + self.expires_after - now, self.expires_after)


class Order(Model):
    """A command that every process runs once, on rules of any source, at its generation."""

    what: Literal["disarm", "release"]
    pattern: PointPattern
    generation: Skip
    at: Instant
    by: Text = ""


def _models(model: type[Model]) -> BeforeValidator:
    def read(value: object) -> tuple[Model, ...]:
        if not isinstance(value, list | tuple):
            raise Refusal("not a list", "write a list", value=value)
        if len(value) > MAX_RULES:
            raise Refusal(f"more than {MAX_RULES} items", "write fewer")
        return tuple(_one(model, item) for item in value)

    return BeforeValidator(read)


def _one(model: type[Model], item: object) -> Model:
    if isinstance(item, model):
        return item
    if not isinstance(item, Mapping):
        raise Refusal("not an object", "write an object of keys", value=item)
    return model.checked(item)


class Desired(Model):
    """The state that every process applies.

    ``generation`` rises with each change; an empty store has generation 0. ``forgotten`` is the
    generation of the latest order that the document no longer keeps. ``enabled`` is the master
    switch, ``switched`` the generation of its latest change, and ``disabled`` the generation in
    which it was last turned off.
    ``entries`` are in the order in which they are tried. ``orders`` are the latest orders, oldest
    first. ``by`` and ``at`` are the user and the time of the latest change; ``boot`` and
    ``uptime`` are the same time on the clock of the machine. ``reason`` is the reason for
    disabling, or empty. ``heeded`` lists the ids of the halts (orders to disable, written without
    the lock) that this document includes and whose files may still exist.
    """

    version: Literal[1] = VERSION
    generation: Skip = 0
    enabled: Flag = True
    switched: Skip = 0
    disabled: Skip = 0
    forgotten: Skip = 0
    entries: Annotated[tuple[Entry, ...], _models(Entry)] = ()
    orders: Annotated[tuple[Order, ...], _models(Order)] = ()
    by: Text = ""
    at: Instant = 0.0
    boot: Text = ""
    uptime: Instant = 0.0
    reason: Text = ""
    heeded: Annotated[tuple[str, ...], BeforeValidator(_ids)] = ()

    def _is_set(self, name: str) -> bool:
        return name == "version" or super()._is_set(name)

    # -- as text --------------------------------------------------------------------------

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Return the document that the JSON text contains; raises only `StoreError`."""
        try:
            data = strict_json.loads(text)
            if not isinstance(data, Mapping):
                raise Refusal("not an object", "write an object of keys", value=data)
            version = data.get("version")
            if isinstance(version, int) and version > VERSION:
                raise StoreError(
                    f"it was written by a newer chaospoint (version {show(version)}, and this one "
                    f"reads {VERSION}): bring all processes to the same version"
                )
            return cls.checked(data)
        except StoreError:
            raise
        except Refusal as refusal:
            error = refusal.invalid_plan()
            raise StoreError(f"it is no document of chaospoint: {error.unquoted}") from None
        except (ChaosError, ValueError) as error:
            raise StoreError(f"it is no document of chaospoint: {error}") from None

    def text(self) -> str:
        """Return the document as JSON, which `parse` reads back."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    def time(self, now: float) -> float:
        """Return the time for lifetimes, which never goes back even if the wall clock does."""
        if not isinstance(now, Moment):
            return now
        return now.no_earlier_than(Moment.of(self.at, self.boot, self.uptime))

    # -- edits ----------------------------------------------------------------------------

    def no_older_than(self, generation: int) -> Self:
        """Return this document with at least the given generation."""
        if self.generation >= generation:
            return self
        return self.model_copy(update={"generation": generation})

    def put(
        self,
        rules: Iterable[tuple[Rule, int | None]],
        *,
        name: str | None = None,
        default_seconds: float,
        by: str,
        now: float,
    ) -> Self:
        """Replace the rules on exactly ``name`` by these, each with its seed, before all others.

        Without a name, replace all rules; a glob that is in the plan again keeps its excluded
        names. ``default_seconds`` is the lifetime of a rule that has none.
        Raises `NotPermitted` while disabled and `LimitExceeded` beyond `MAX_RULES`.
        """
        if not self.enabled:
            raise NotPermitted(
                f"chaospoint is disabled (by {self.disabled_by}). To allow arming: "
                "`chaospoint enable` or POST /v1/enable"
            )
        after, now = self.generation + 1, self.time(now)
        taken = {str(one.rule): one.excluded for one in self.entries} if name is None else {}
        fresh = [
            Entry(
                id=f"{after}.{place}@{now:.3f}",
                rule=rule,
                seed=seed,
                by=by,
                armed_at=float(now),
                expires_after=rule.expires_after or default_seconds,
                excluded=taken.get(str(rule), ()),
            )
            for place, (rule, seed) in enumerate(rules, 1)
        ]
        kept = [] if name is None else [one for one in self.entries if one.rule.point != name]
        return self._next(by, now, entries=(*fresh, *kept))

    def taken_away(self, rules: Iterable[Rule], *, now: float) -> list[Entry]:
        """Return the live entries that a plan of these rules would remove."""
        stay, now = {_unseeded(rule) for rule in rules}, self.time(now)
        return [
            one
            for one in self.entries
            if one.seconds_left(now) > 0 and _unseeded(one.rule) not in stay
        ]

    def disarm(self, pattern: str, *, by: str, now: float) -> Self:
        """Remove the entries that ``pattern`` matches, and order every process to disarm matching
        rules of any source."""
        kept: list[Entry] = []
        for one in self.entries:
            own = one.rule.point
            if matches(pattern, own):
                continue
            if is_glob(own) and (is_glob(pattern) or matches(own, pattern)):
                wider = [taken for taken in one.excluded if not matches(pattern, taken)]
                one = one.model_copy(update={"excluded": (*wider, pattern)})
            kept.append(one)
        return self._order("disarm", pattern, by, now, entries=tuple(kept))

    def renew(self, pattern: str, seconds: float | None, *, by: str, now: float) -> Self:
        """Move only the deadlines of the rules that ``pattern`` matches.

        They expire ``seconds`` from now; if that is None, each gets its full lifetime again.
        """
        now = self.time(now)
        renewed = {one.id for one in self.live(pattern, now)}
        entries = []
        for one in self.entries:
            if one.id in renewed:
                lasts = seconds or one.expires_after
                one = one.model_copy(update={"armed_at": float(now), "expires_after": lasts})
            entries.append(one)
        return self._next(by, now, entries=tuple(entries))

    def live(self, pattern: str, now: float) -> list[Entry]:
        """Return the entries that ``pattern`` matches and that have not expired."""
        now = self.time(now)
        named = (one for one in self.entries if matches(pattern, one.rule.point))
        return [one for one in named if one.seconds_left(now) > 0]

    def release(self, pattern: str, *, by: str, now: float) -> Self:
        """Order every process to release the paused calls at matching points."""
        return self._order("release", pattern, by, now)

    def disable(self, *, by: str, now: float, reason: str = "") -> Self:
        """Turn the switch off, and empty the plan.

        If no reason is given, a known reason stays, with the name of the user who gave it.

        It accepts any text: it cuts a text that is too long, and puts "?" for characters that
        UTF-8 cannot encode.
        """
        after = self.generation + 1
        off = {"enabled": False, "switched": after, "disabled": after}
        if not reason and self.reason and not self.enabled:
            by, reason = self.by, self.reason
        return self._next(kept(by), now, entries=(), reason=kept(reason), **off)

    def enable(self, *, by: str, now: float) -> Self:
        """Turn the switch on."""
        return self._next(by, now, enabled=True, switched=self.generation + 1, reason="")

    @property
    def disabled_by(self) -> str:
        """The name of the user who disabled chaospoint, with the reason."""
        by = self.by or "somebody"
        return f"{by}: {self.reason}" if self.reason else by

    def _order(
        self, what: Literal["disarm", "release"], pattern: str, by: str, now: float, **more: Any
    ) -> Self:
        at, after = float(self.time(now)), self.generation + 1
        order = Order(what=what, pattern=pattern, generation=after, at=at, by=by)
        # Drop orders that this one includes: a process that starts later needs only this one.
        kept = [o for o in self.orders if o.what != what or not matches(pattern, o.pattern)]
        lost = kept[: len(kept) + 1 - _MAX_ORDERS] if len(kept) >= _MAX_ORDERS else []
        forgotten = max((one.generation for one in lost), default=self.forgotten)
        orders = (*kept[len(lost) :], order)
        # While it is disabled, the name stays that of the user who disabled it.
        by = by if self.enabled else self.by
        return self._next(by, now, orders=orders, forgotten=forgotten, **more)

    def _next(self, by: str, now: float, **changes: Any) -> Self:
        now = self.time(now)
        changes["boot"], changes["uptime"] = getattr(now, "boot", ""), getattr(now, "uptime", 0.0)
        entries = changes.pop("entries", self.entries)
        entries = tuple(one for one in entries if one.seconds_left(now) > 0)
        if len(entries) > MAX_RULES:
            raise LimitExceeded(
                f"{len(entries)} rules, and a store holds {MAX_RULES} at most: disarm some, or use "
                "globs"
            )
        return self.model_copy(
            update={
                "generation": self.generation + 1,
                "entries": entries,
                "by": by,
                "at": float(now),
                **changes,
            }
        )


def _unseeded(rule: Rule) -> str:
    return str(rule.model_copy(update={"seed": None}))
