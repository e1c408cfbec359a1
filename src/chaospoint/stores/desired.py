"""The desired state: one document that every process runs, and the edits of it.

An edit is pure: it takes a document and gives the next, whose generation is one higher.  What a
document holds is checked as a plan from outside is; nothing in it names code to import.
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
    # It is shown in logs and terminals, and anybody who can write the store may have written it.
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
    return tuple(_text(one) for one in value)


class Entry(Model):
    """A rule that stands in the store.

    ``id`` tells it from every other that ever stood there. ``seed``: what its plan's seed makes of
    it, None if each process draws its own. ``excluded``: what was disarmed out of its glob.
    ``armed_at``: when it was armed or renewed, in seconds since 1970; ``expires_after``: seconds
    from then.
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
        """The rule with the seed that its plan gave it, so that it can be put again."""
        if self.seed is None or self.rule.seed is not None:
            return self.rule
        return self.rule.model_copy(update={"seed": self.seed})

    @property
    def change(self) -> str:
        """The generation that put it there."""
        return self.id.partition(".")[0]

    @property
    def lifetime(self) -> tuple[float, float]:
        """When it was armed or renewed, and for how long."""
        return self.armed_at, self.expires_after

    def seconds_left(self, now: float) -> float:
        """Return for how long it is still to act; never more than when it was armed."""
        return min(self.armed_at + self.expires_after - now, self.expires_after)


class Order(Model):
    """What every process does once, on seeing generation ``generation``, to rules of any source."""

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
    """What is to be in force in every process.

    ``generation`` rises with each change; 0 is a store in which nothing was ever written.
    ``forgotten`` is the generation of the latest order that is not kept any more. ``enabled`` is
    the master switch, ``switched`` the generation in which it was turned last, and
    ``disabled`` that in which it was turned off last.
    ``entries`` are in the order in which they are tried. ``orders`` are the latest ones, the
    oldest first. ``by`` and ``at`` tell of the latest change, and ``boot`` and ``uptime`` when
    that was by the clock of the machine. ``reason``: why it was disabled, if somebody said so.
    ``heeded``: the orders to disable, written without the lock, that this document has taken over
    and whose files may still be there.
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
        """Return the document that JSON says; raises `StoreError` only."""
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
        """Return it as JSON, which `parse` reads back."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    def time(self, now: float) -> float:
        """Return the time that entries go by: it never goes back, though the wall clock may."""
        if not isinstance(now, Moment):
            return now
        return now.no_earlier_than(Moment.of(self.at, self.boot, self.uptime))

    # -- edits ----------------------------------------------------------------------------

    def no_older_than(self, generation: int) -> Self:
        """Return this document as of ``generation``, if that is higher than its own."""
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
        """Put rules, each with its seed, in place of those on exactly ``name``, before all others.

        Without a name in place of all; what was disarmed out of a glob that stays stays out of it.
        ``default_seconds``: the lifetime of a rule that has none.
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
        """Return what still acts and a plan of these rules takes away."""
        stay, now = {_unseeded(rule) for rule in rules}, self.time(now)
        return [
            one
            for one in self.entries
            if one.seconds_left(now) > 0 and _unseeded(one.rule) not in stay
        ]

    def disarm(self, pattern: str, *, by: str, now: float) -> Self:
        """Take out what ``pattern`` matches, and order every process to disarm it, whoever armed
        it there."""
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
        """Move the deadlines of the rules that ``pattern`` matches, and nothing else of them.

        They expire ``seconds`` from now; if that is None, each as long as it was armed for.
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
        """Return the entries on what ``pattern`` matches that still act."""
        now = self.time(now)
        named = (one for one in self.entries if matches(pattern, one.rule.point))
        return [one for one in named if one.seconds_left(now) > 0]

    def release(self, pattern: str, *, by: str, now: float) -> Self:
        """Order every process to release the paused calls there."""
        return self._order("release", pattern, by, now)

    def disable(self, *, by: str, now: float, reason: str = "") -> Self:
        """Turn the switch off, and empty the plan.

        If no reason is given, a known reason stays, with the name of the user who gave it.

        Nothing about it is refused: a text that is too long is cut, and "?" replaces what UTF-8
        cannot express.
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
        """The user who disabled, with the reason."""
        by = self.by or "somebody"
        return f"{by}: {self.reason}" if self.reason else by

    def _order(
        self, what: Literal["disarm", "release"], pattern: str, by: str, now: float, **more: Any
    ) -> Self:
        at, after = float(self.time(now)), self.generation + 1
        order = Order(what=what, pattern=pattern, generation=after, at=at, by=by)
        # An order that this one includes need not be given again to processes still to come.
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
