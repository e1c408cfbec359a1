"""Sites: patch a Python function when a rule is armed, and restore it when none is.

Decorating a Python function returns the same function object and only records it here.  *Arming*
replaces the code object of the function by a *trampoline*, and moves the original code to a private
*clone* that the trampoline calls (`chaospoint._patching.trampoline` explains both).  *Disarming*
puts the original code back.  So:

* A disarmed function runs its own bytecode and costs nothing extra.
* Callers that imported the function before it was armed reach the trampoline too, because they hold
  the same function object.
* Signature, source, pickle and kind are those of the original, armed or not.

The Linux kernel patches its static keys in the same way.

Each function has one *site*, however many points are stacked on it, even points of several
registries.  Each change of the rules at one of its points rebuilds the whole site.  Starting with
the innermost point, each armed point adds a trampoline that calls a clone of the code below it::

    f.__code__ = trampoline(outer point) -> clone(trampoline(inner point)) -> clone(original)

A site is rebuilt as a whole, because a point in the middle cannot be removed: the trampoline above
it has its clone among its constants.  The swap of ``__code__`` is one assignment, so a thread that
calls the function runs either the old code or the new, and a call under way finishes with the code
with which it began.  Such a call may therefore reach a rule that has just ended; `search.take` and
the driver check for that.

Other libraries patch functions, too.  The original is read each time the site is armed, because it
may have changed.  If ``__code__`` is neither our trampoline nor the original, the site leaves it
alone and logs that.  Our trampoline is then somewhere inside the other patch, and passes calls
through after its rules are disarmed.

All of this happens under the arming lock, except for the callback of a weak reference to a function
that is deleted.  It may run at any moment, even while this thread holds the lock, so it only
appends to a queue.
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

_FEW_RULES = 8  # if a point has more rules, its search is built at the first call

_KIND_OF_FLAGS: dict[int, Kind] = {
    0x00: "function",
    0x20: "generator",
    0x80: "coroutine",
    0x120: "coroutine",  # @types.coroutine: a generator that can be awaited
    0x200: "async generator",
}


def kind_of(code: CodeType) -> Kind:
    """Return the kind of a function with this code."""
    return _KIND_OF_FLAGS[code.co_flags & KINDS]


_PATCHED_BY_OTHERS = (
    "%s was patched by another library while armed; chaospoint leaves that alone: rules that are "
    "armed there from now on act after the other patch is undone and a rule is armed or disarmed "
    "there"
)


class _FunctionRef(ref[FunctionType]):
    """A weak reference that knows the key of its site after the function is deleted."""

    __slots__ = ("key",)
    key: int


class Site:
    """One patched function and its points.

    ``_original`` and ``_trampoline`` are both None while the function runs its own code, and both
    set while it is armed: the code to restore, and the code that must still be in place for that.

    A function that is decorated while a rule is armed may still be marked as awaitable by the next
    decorator, which changes its kind.  Until its first call it is *unsettled*, and has a trampoline
    that decides the kind then.
    """

    __slots__ = (
        "_function",
        "_kind",
        "_original",
        "_patched_by_others",
        "_settled",
        "_trampoline",
        "points",
        "shown",
    )

    unsigned = False

    def __init__(self, function: FunctionType) -> None:
        # Set by `place`, which reads it before it takes the lock: it may run code of the program.
        self.shown: Signature | None = None
        self._function = _FunctionRef(function, _dead.append)
        self._function.key = id(function)
        self._original: CodeType | None = None
        self._trampoline: CodeType | None = None
        self._patched_by_others = False
        self._settled = True
        self._kind: Kind = kind_of(function.__code__)
        self.points: list[Point] = []  # the innermost first

    def __str__(self) -> str:
        function = self._function()
        if function is None:
            return "a deleted function"
        return f"{function.__module__}:{function.__qualname__} ({self.kind})"

    @property
    def kind(self) -> Kind:
        """The kind of callable; a function that is marked as awaitable counts as a coroutine."""
        if self._kind == "function" and is_awaitable_marked(self._function()):
            return "coroutine"
        return self._kind

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """The names of the function's arguments; None if it takes any name."""
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
        """The arguments of a call, as they are passed to functions of rules."""
        function = self._function()
        if function is None:
            return None
        return Shape.of_code(function.__code__, self.shown)

    @property
    def gone(self) -> bool:
        """Whether the function is deleted."""
        return self._function() is None

    def is_of(self, function: FunctionType) -> bool:
        """Whether this is the site of that function object."""
        return self._function() is function

    def refers_by(self, reference: ref[FunctionType]) -> bool:
        """Whether this site has that weak reference."""
        return self._function is reference

    def rebuild(self) -> None:
        """Give the function the code for the rules that are now armed on its points."""
        function = self._function()
        if function is None:
            return
        current = function.__code__
        if self._trampoline is not None and current is not self._trampoline:
            if current is not self._original and clone_of(current) is None:
                self._leave_alone()
                return
            self._trampoline = None  # another library restored older code
        if self._trampoline is None:
            self._original = _innermost(current)
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
        if code is not current:
            function.__code__ = code
        if code is original:
            self._original = self._trampoline = None
        else:
            self._trampoline = code
        self._patched_by_others = False

    @property
    def _armed(self) -> bool:
        return any(point.core.rules for point in self.points)

    def settle_later(self) -> None:
        """Decide the kind at the first call, because other decorators may still mark it."""
        self._settled = False

    def _settle(self, clone: FunctionType) -> Callable[..., object]:
        """Patch the function at its first call; return the function to call now."""
        function = self._function()
        if in_chaospoint.get() or function is None:
            return clone
        transparently(self._settle_now)
        arming_lock.carry_out()
        with arming_lock:
            # If the function still leads here, because another library patched it, calling it
            # again would not end.
            leads_here = clone_of(function.__code__) is clone
            return clone if self._patched_by_others or leads_here else function

    def _settle_now(self) -> None:
        with arming_lock:
            if not self._settled:
                self._settled = True
                self._patch_now()

    def _patch_now(self) -> None:
        from chaospoint._kernel.binding import log_left_out

        try:
            self.rebuild()
            for point in self.points:
                log_left_out(point.core.rules, point.name, self.kind, self.shape)
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
        fire = MethodType(drive if plain else tools.take, binding)  # faster than a partial
        return single(code, clone, binding, fire, act, later=not plain)

    def _leave_alone(self) -> None:
        if not self._armed:
            # Our trampoline inside the other patch passes all calls through from now on.
            self._original = self._trampoline = None
        if not self._patched_by_others:
            self._patched_by_others = True
            log(logging.WARNING, _PATCHED_BY_OTHERS, self)


class _Tools:
    """The modules that only armed functions need, imported when the first rule is armed."""

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
        """Return the continuation of a function for its armed rules."""
        bounded = any(rule.terms.max_active is not None for rule in rules)
        return self._continuation_for(
            kind, function, bounded=bounded, shares=self.share_limits(rules)
        )


_tools = cache(_Tools)


def _reader(point: Point, code: CodeType, shown: Signature | None) -> Reads:
    """Return how to read labels and arguments; a label takes precedence over an argument."""
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
    """Put ``point`` on ``function``; the rules armed on the point act there from now on."""
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
        from chaospoint._kernel.binding import log_left_out

        try:
            if fresh:
                site.settle_later()
            site.rebuild()
            if not fresh or site.kind != "function":
                log_left_out(point.core.rules, point.name, site.kind, site.shape)
        except Exception:
            reporting.report_bug(f"patching {site}")


def sweep() -> None:
    """Remove the sites of deleted functions; call it under the lock."""
    gone: set[Site] = set()
    while _dead:
        reference = _dead.popleft()
        assert isinstance(reference, _FunctionRef)
        site = _sites.get(reference.key)
        if site is not None and site.refers_by(reference):
            del _sites[reference.key]
            gone.add(site)
    for core in {point.core for site in gone for point in site.points}:
        core.sites[:] = [site for site in core.sites if site not in gone]


@cache
def can_patch() -> bool:
    """Whether this interpreter can swap code; tried once, with a function of each kind."""
    if sys.implementation.name != "cpython":
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False  # the counters of a trampoline rely on the GIL
    try:
        return all(_canary(function) for function in _canaries())
    except Exception:
        logging.getLogger("chaospoint").debug("patching a test function failed", exc_info=True)
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
    """Whether a function can be patched, called, restored and called again."""
    assert isinstance(function, FunctionType)
    original, kind = function.__code__, kind_of(function.__code__)
    reached: list[int] = []
    clone = make_clone(function, original)
    unused = cast(Any, None)  # the search finds no firing, so no driver is called
    function.__code__ = searched(original, clone, unused, lambda: reached.append(1))
    swapped = _run(kind, function) == 4 and kind_of(function.__code__) == kind
    function.__code__ = original
    return swapped and _run(kind, function) == 4 and reached == [1]


def _run(kind: Kind, function: Callable[..., Any]) -> object:
    result = function(1)
    if kind == "function":
        return result
    if kind == "generator":
        return next(result)
    step: Coroutine[Any, Any, object] = result.asend(None) if kind == "async generator" else result
    try:
        step.send(None)
    except StopIteration as end:
        return end.value
    return None
