"""How a callable becomes a placement, and how arming patches it.

A Python function is not wrapped: decorating it returns that same function object and only notes
it down here.  *Arming* swaps its code for a trampoline, and the original code moves to a private
clone that the trampoline calls; *disarming* puts the original code back.  So a disarmed function
runs its own bytecode, whoever imported it and when, and armed or not it is the same object with
the same signature, source, pickle and kind.  Linux does the same to its static keys.

One function has one *site*, however many points are stacked on it and whatever registries they
are of.  The site is rebuilt as a whole whenever what is armed on one of its points changes: from
the innermost point outwards, each armed point adds a trampoline that calls the clone below it::

    f.__code__ = trampoline(outer point) -> clone(trampoline(inner point)) -> clone(original)

What somebody else put on the function is not ours to remove.  The original is taken when arming,
as it is then.  When rebuilding finds code that is neither ours nor the original, it leaves all as
it is and says so; our trampolines under it pass calls through once their rules are disarmed.

Everything here is done under the arming lock, but for the callback of a dying function: it can
come at any moment, also in the middle of the sections below, so it only notes the death down.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import cache, partial
from operator import itemgetter
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

from chaospoint._kernel import reporting
from chaospoint._kernel.context import in_chaospoint, transparently
from chaospoint._kernel.lock import arming_lock
from chaospoint._kernel.reporting import log
from chaospoint._kernel.signature import Signature, argument_names, signature_of
from chaospoint._kernel.takes import Shape
from chaospoint._patching.trampoline import (
    KINDS,
    argument_splitter,
    clone_of,
    followed,
    make_clone,
    searched,
    single,
    unsettled,
)
from chaospoint._patching.unwrap import is_awaitable_marked

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.matching import Reads
    from chaospoint._kernel.placement import Kind
    from chaospoint._kernel.point import Point
    from chaospoint._kernel.search import Continuation

__all__ = ["Site", "can_patch", "kind_of", "place", "sweep"]

_FEW_RULES = 8  # for more of them at a point, the search is made when a call comes

_KIND_OF_FLAGS: dict[int, Kind] = {
    0x00: "function",
    0x20: "generator",
    0x80: "coroutine",
    0x120: "coroutine",  # @types.coroutine: a generator that is awaited
    0x200: "async generator",
}


def kind_of(code: CodeType) -> Kind:
    """Return the kind of callable that ``code`` makes."""
    return _KIND_OF_FLAGS[code.co_flags & KINDS]


_ESTRANGED = (
    "%s was patched by something else while armed; chaospoint leaves that alone: what is armed "
    "there from now on acts once the other patch is undone and something is armed or disarmed there"
)


class _Death(ref[FunctionType]):
    """A weak reference to a function, which knows its site's key when the function is gone."""

    __slots__ = ("key",)
    key: int


class Site:
    """What chaospoint keeps for one patched function."""

    __slots__ = (
        "_estranged",
        "_function",
        "_kind",
        "_original",
        "_settled",
        "_trampoline",
        "points",
        "shown",
    )

    unsigned = False

    def __init__(self, function: FunctionType) -> None:
        self.shown: Signature | None = (
            None  # read before the lock is taken, as this may run foreign code
        )
        self._function = _Death(function, _dead.append)
        self._function.key = id(function)
        self._original: CodeType | None = None
        self._trampoline: CodeType | None = None
        self._estranged = False
        self._settled = True  # its kind can be told
        self._kind: Kind = kind_of(function.__code__)
        self.points: list[Point] = []  # the innermost first

    def __str__(self) -> str:
        function = self._function()
        if function is None:
            return "a function that is gone"
        return f"{function.__module__}:{function.__qualname__} ({self.kind})"

    @property
    def kind(self) -> Kind:
        """The kind of callable; a function that is marked as one to be awaited is a coroutine."""
        if self._kind == "function" and is_awaitable_marked(self._function()):
            return "coroutine"
        return self._kind

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """The names of the function's arguments; None if it takes whatever name there is."""
        function = self._function()
        if function is None:
            return ()
        names, has_rest = argument_names(function.__code__)
        shown = self.shown
        if shown is None:
            return None if has_rest else names
        return None if has_rest and shown.has_rest else (*names, *shown.places)

    @property
    def shape(self) -> Shape | None:
        """The arguments of a call, as they are handed to functions of rules."""
        function = self._function()
        if function is None:
            return None
        return Shape.of_code(function.__code__, self.shown)

    @property
    def gone(self) -> bool:
        """Whether the function is gone."""
        return self._function() is None

    def is_of(self, function: FunctionType) -> bool:
        """Whether this is the site of that very function."""
        return self._function() is function

    def died(self, death: ref[FunctionType]) -> bool:
        """Whether this is the site whose function's death was noted."""
        return self._function is death

    def rebuild(self) -> None:
        """Make the function's code say what is armed on its points now."""
        function = self._function()
        if function is None:
            return
        found = function.__code__
        if self._trampoline is not None and found is not self._trampoline:
            if found is not self._original and clone_of(found) is None:
                self._leave_alone()
                return
            self._trampoline = None  # somebody put older code back
        if self._trampoline is None:
            self._original = _innermost(found)
        original = self._original
        assert original is not None
        code = original
        kind = self.kind
        if not self._settled and kind == "function" and self._armed:
            code = unsettled(code, make_clone(function, code), self._settle)
        else:
            self._settled = True
            for point in self.points:
                if point.core.rules:
                    code = self._patched(function, code, point, kind)
        if code is not found:
            function.__code__ = code
        if code is original:
            self._original = self._trampoline = None
        else:
            self._trampoline = code
        self._estranged = False

    @property
    def _armed(self) -> bool:
        return any(point.core.rules for point in self.points)

    def settle_later(self) -> None:
        """Leave the kind of the function, which is being decorated, open until its first call."""
        self._settled = False

    def _settle(self, clone: FunctionType) -> Callable[..., object]:
        """Patch the function, for its kind is known at its first call; return what to call."""
        function = self._function()
        if in_chaospoint.get() or function is None:
            return clone
        transparently(self._settle_now)
        arming_lock.carry_out()
        with arming_lock:
            # Nobody calls a function that leads back here: one that something else patched.
            calls_clone = clone_of(function.__code__) is clone
            return clone if self._estranged or calls_clone else function

    def _settle_now(self) -> None:
        with arming_lock:
            if not self._settled:
                self._settled = True
                self._patch_now()

    def _patch_now(self) -> None:
        from chaospoint._kernel.binding import say_left_out

        try:
            self.rebuild()
            for point in self.points:
                say_left_out(point.core.rules, point.name, self.kind, self.shape)
        except Exception:
            reporting.report_bug(f"patching {self}")

    def _patched(
        self, function: FunctionType, code: CodeType, point: Point, kind: Kind
    ) -> CodeType:
        rules, tools = point.core.rules, _tools()
        search, search_later, drive = tools.search, tools.search_later, tools.drive
        asked = any(rule.terms.where is not None for rule in rules)
        reads: Reads = _reader(point, code, self.shown) if asked else itemgetter
        handed = any(map(tools.asks_arguments, rules))
        hands = argument_splitter(code, self.shown if handed else None)
        shape = self.shape if handed else None
        late = any(rule.terms.after for rule in rules)
        plain = kind == "function" and not (late and tools.share_limits(rules))
        bindings = partial(tools.bind, rules, point, kind, reads=reads, hands=hands, shape=shape)
        if len(rules) > _FEW_RULES:
            clone = make_clone(function, code)
            act = drive if plain else tools.continuation_for(kind, function, rules)
            first = search_later(bindings, hands=handed)
            if late:
                last = search_later(partial(bindings, after=True), hands=handed)
                return followed(code, clone, act, first, last, later=not plain)
            return searched(code, clone, act, first, asks=asked or handed, later=not plain)
        before, after = bindings(), bindings(after=True) if late else ()
        if not before and not after:
            return code
        clone = make_clone(function, code)
        act = drive if plain else tools.continuation_for(kind, function, rules)
        if after:
            return followed(code, clone, act, search(before), search(after), later=not plain)
        asks = any(binding.hands or binding.rule.terms.where is not None for binding in before)
        if asks or len(before) != 1:
            return searched(code, clone, act, search(before), asks=asks, later=not plain)
        (binding,) = before
        fire = MethodType(drive if plain else tools.take, binding)  # cheaper than a partial
        return single(code, clone, binding, fire, act, later=not plain)

    def _leave_alone(self) -> None:
        if not self._armed:
            # Disarmed: ours passes calls through for ever, and the next arming starts afresh.
            self._original = self._trampoline = None
        if not self._estranged:
            self._estranged = True
            log(logging.WARNING, _ESTRANGED, self)


class _Tools:
    """What only arming needs, imported by the first arming."""

    def __init__(self) -> None:
        from chaospoint._kernel import binding
        from chaospoint._kernel import drive as _drive
        from chaospoint._kernel import search as _search
        from chaospoint._patching import calls

        self.bind, self.asks_arguments = binding.bind, binding.asks_arguments
        self.search, self.search_later, self.take = (
            _search.search,
            _search.search_later,
            _search.take,
        )
        self.drive, self.share_limits = _drive.drive, _search.share_limits
        self._continuation_for = calls.continuation_for

    def continuation_for(
        self, kind: Kind, function: FunctionType, rules: Sequence[ArmedRule]
    ) -> Continuation:
        """Return how calls of a kind that acts later go on."""
        bounded = any(rule.terms.max_active is not None for rule in rules)
        return self._continuation_for(
            kind, function, bounded=bounded, shares=self.share_limits(rules)
        )


_tools = cache(_Tools)


def _reader(point: Point, code: CodeType, shown: Signature | None) -> Reads:
    """Return how labels and arguments are read at a function: a label wins over an argument."""
    names, has_rest = argument_names(code)
    rest = itemgetter(len(names) - 1)

    def reads(name: str) -> Callable[[Any], object] | None:
        if name in point.labels:
            label = point.labels[name]
            return lambda _: label
        if name in names:
            return itemgetter(names.index(name))
        if shown is not None and name in shown.places:
            return shown.read(name, code)
        if has_rest and (shown is None or shown.has_rest):
            return lambda values: rest(values)[name]
        return None

    return reads


def _innermost(code: CodeType) -> CodeType:
    while (clone := clone_of(code)) is not None:
        code = clone.__code__
    return code


_sites: dict[int, Site] = {}
_dead: deque[ref[FunctionType]] = deque()


def place(point: Point, function: FunctionType) -> None:
    """Put ``point`` on ``function``; what is armed on it acts there from now on."""
    shown = signature_of(function)
    arming_lock.soon(partial(arming_lock.change, _place, point, function, shown))


def _place(point: Point, function: FunctionType, shown: Signature | None) -> None:
    sweep()
    site = _sites.get(id(function))
    fresh = site is None or not site.is_of(function)
    if site is None or fresh:
        site = _sites[id(function)] = Site(function)
    site.shown = shown
    if all(other.core is not point.core for other in site.points):
        site.points.append(point)
        point.core.sites.append(site)
    if point.core.rules:
        from chaospoint._kernel.binding import say_left_out

        try:
            if fresh:
                site.settle_later()
            site.rebuild()
            if not fresh or site.kind != "function":
                say_left_out(point.core.rules, point.name, site.kind, site.shape)
        except Exception:
            reporting.report_bug(f"patching {site}")


def sweep() -> None:
    """Forget the sites of functions that are gone; call it under the lock."""
    gone: set[Site] = set()
    while _dead:
        death = _dead.popleft()
        assert isinstance(death, _Death)
        site = _sites.get(death.key)
        if site is not None and site.died(death):
            del _sites[death.key]
            gone.add(site)
    for core in {point.core for site in gone for point in site.points}:
        core.sites[:] = [site for site in core.sites if site not in gone]


@cache
def can_patch() -> bool:
    """Whether code can be swapped in this interpreter: tried once, on a function of each kind."""
    if sys.implementation.name != "cpython":
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False  # the counters of a trampoline rely on the GIL
    try:
        return all(_canary(function) for function in _canaries())
    except Exception:
        logging.getLogger("chaospoint").debug("the canary failed", exc_info=True)
        return False


def _canaries() -> tuple[Callable[..., Any], ...]:
    cell = 1

    def function(a: int, *, k: int = 2) -> int:
        return a + k + cell

    async def coroutine(a: int, *, k: int = 2) -> int:
        return a + k + cell

    def generator(a: int, *, k: int = 2) -> Any:
        yield a + k + cell

    async def async_generator(a: int, *, k: int = 2) -> Any:
        yield a + k + cell

    return function, coroutine, generator, async_generator


def _canary(function: Callable[..., Any]) -> bool:
    """Swap, call, restore and call again."""
    assert isinstance(function, FunctionType)
    original, kind = function.__code__, kind_of(function.__code__)
    reached: list[int] = []
    clone = make_clone(function, original)
    never = cast(Any, None)  # nothing fires, so nothing runs
    function.__code__ = searched(original, clone, never, lambda: reached.append(1))
    swapped = _run(kind, function) == 4 and kind_of(function.__code__) == kind
    function.__code__ = original
    return swapped and _run(kind, function) == 4 and reached == [1]


def _run(kind: Kind, function: Callable[..., Any]) -> object:
    made = function(1)
    if kind == "function":
        return made
    if kind == "generator":
        return next(made)
    step: Coroutine[Any, Any, object] = made.asend(None) if kind == "async generator" else made
    try:
        step.send(None)
    except StopIteration as end:
        return end.value
    return None
