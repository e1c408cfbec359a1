"""Trampolines: the code that a function has while one of its points is armed.

**The idea.**  The body of a Python function is a code object, and ``f.__code__`` can be assigned at
any time.  To arm a function, we assign code of our own, the *trampoline*.  It has the argument
names, file, first line and kind of the original.  The original code moves to a *clone*, a private
function with the same globals and closure.  The trampoline makes one reach, and then calls the
clone with its own arguments.  To disarm the function, we assign the original code again.  A wrapper
would cost each call a Python frame, armed or not, and would miss callers that hold the function
itself; this costs nothing while disarmed.

**The five shapes.**  A trampoline contains only what its rules need.  The placeholders in capitals
are constants of the code object:

.. code-block:: python

    def f(a, *args, k, **kw):                   # single: one rule that needs no arguments
        found = None
        if not inside():                        # not in chaospoint's own code
            for n in ORDINALS: break            # take an ordinal, in one bytecode that runs C code
            if n >= TALLY.due:                  # seldom true
                found = FIRE(n)                 # act; returns an answer or None
        if found is not None:
            return found[0]
        return CLONE(a, *args, k=k, **kw)

    def f(a, *args, k, **kw):                   # scoped: like single, but first asks whether the
        ...                                     # rule acts in this context

    def f(a, *args, k, **kw):                   # searched: several rules, tried by a function,
        found = SEARCH((a, args, k, kw))        # which gets the arguments if a rule needs them
        if found is not None:
            answer = ACT(*found)
            if answer is not None:
                return answer[0]
        return CLONE(a, *args, k=k, **kw)

    def f(a, *args, k, **kw):                   # followed: a rule may also fire after the call
        ...
        result = CLONE(a, *args, k=k, **kw)
        found = AFTER((a, args, k, kw))
        ...
        return result

    def f(a, *args, k, **kw):                   # unsettled: decorated while armed, and not yet
        return SETTLE(CLONE)(a, *args, k=k, **kw)        # called, so its kind may still change

This is the form for plain functions.  Coroutines and generators are reached when they are called,
and act later.  If a rule fires, or may fire after the call, their trampoline returns a
continuation, which is a coroutine or generator of the same kind (see `chaospoint._patching.calls`):

.. code-block:: python

        return ACT(found, PARTIAL(CLONE, a, *args, k=k, **kw), PARTIAL(AFTER, (a, args, k, kw)))

Otherwise it returns the clone's own coroutine or generator.  So the trampoline itself is always a
plain body, with the flags of the kind set on it: since CPython 3.11, an opcode creates the
coroutine, and the flags only describe it.

**Templates.**  Compiling takes tens of microseconds.  So one *template* is compiled and cached for
each combination of shape, argument counts and number of free variables.  A trampoline is a copy of
the template with other constants (the hooks) and names.

**Traps.**  A change of the templates has to respect these:

* If a code object has ``co_freevars`` but not the instruction that copies them, reading
  ``f_locals`` crashes the interpreter.  So templates are compiled inside an outer function with the
  same number of variables; they name these variables and never read them.
* Up to CPython 3.12, tracing writes local variables back by name.  So the locals of a template get
  names that no argument can have (``_found`` becomes ``.found``).
* Constants must be hashable, because debuggers and profilers keep code objects in dictionaries.
* A hook that is called is first assigned to a local, because the compiler warns if a constant is
  called.
* The line table gives the first line for every instruction, without columns.  So a traceback shows
  the head of the function and no misplaced carets.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache, partial
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from chaospoint._kernel.context import in_chaospoint, scoped_rules
from chaospoint._kernel.signature import _VARARGS, _VARKEYWORDS, _count
from chaospoint._kernel.takes import Given

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaospoint._kernel.binding import Binding
    from chaospoint._kernel.signature import Signature

__all__ = [
    "KINDS",
    "argument_splitter",
    "clone_of",
    "followed",
    "make_clone",
    "searched",
    "single",
    "unsettled",
]


KINDS = 0x20 | 0x80 | 0x100 | 0x200
"""The flags of a code object that determine its kind: generator, coroutine, iterable coroutine,
async generator. `inspect` has names for them, but takes long to import."""

# `_make` replaces the strings in angle brackets by the hooks.
_SINGLE = """
        _found = None
        _inside = "<inside>"
        if not _inside():
            for _n in "<ordinals>":
                break
            _tally = "<tally>"
            if _n >= _tally.due:
                _fire = "<fire>"
                _found = _fire(_n)
"""
_SCOPED = """
        _found = None
        _inside = "<inside>"
        if not _inside():
            _here = "<here>"
            _rule = "<rule>"
            if _rule in _here():
                for _n in "<ordinals>":
                    break
                _tally = "<tally>"
                if _n >= _tally.due:
                    _fire = "<fire>"
                    _found = _fire(_n)
            else:
                for _n in "<misses>":
                    break
"""
_SEARCHED = """
        _search = "<search>"
        _found = _search()
"""
_ASKED = """
        _search = "<search>"
        _found = _search(({values}))
"""
_ANSWERED = """
        if _found is not None:
            return _found[0]
"""
_ACTS = """
        if _found is not None:
            _act = "<act>"
            _found = _act(*_found)
            if _found is not None:
                return _found[0]
"""
_GOES_ON = """
        if _found is not None:
            _act = "<act>"
            _partial = "<partial>"
            return _act(_found, _partial(_clone, {handed}))
"""
_CALLS = """
        return _clone({handed})
"""
_LATE = """
        _result = _clone({handed})
        _after = "<after>"
        _found = _after(({values}))
"""
_RETURNS = """
        return _result
"""
_SETTLES = """
        _settle = "<settle>"
        return _settle(_clone)({handed})
"""
_GOES_ON_AFTER = """
        _values = ({values})
        _search = "<search>"
        _act = "<act>"
        _partial = "<partial>"
        _after = "<after>"
        return _act(_search(_values), _partial(_clone, {handed}), _partial(_after, _values))
"""


def single(
    code: CodeType,
    clone: FunctionType,
    binding: Binding,
    fire: Callable[[int], object],
    act: Callable[..., object],
    *,
    later: bool | None = None,
) -> CodeType:
    """Return a trampoline for one rule that needs no arguments.

    ``fire`` takes the ordinal of a reach that may fire.  For a plain function it acts, and returns
    an `Answer` or None.  For other kinds it returns a `Firing` for ``act``, or None.  ``later``:
    whether the function acts later than its call, as coroutines do; by default its flags decide.
    """
    rule, tally = binding.rule, binding.tally
    hooks = {
        "<inside>": in_chaospoint.get,
        "<ordinals>": tally.ordinals,
        "<tally>": tally,
        "<fire>": fire,
    }
    if rule.terms.scoped:
        hooks |= {"<here>": scoped_rules.get, "<rule>": rule, "<misses>": rule.misses}
    body = _SCOPED if rule.terms.scoped else _SINGLE
    end = _GOES_ON if _acts_later(code, later) else _ANSWERED
    return _make(body + end + _CALLS, code, clone, {**hooks, "<act>": act})


def searched(
    code: CodeType,
    clone: FunctionType,
    act: Callable[..., object],
    search: Callable[..., object],
    *,
    asks: bool = False,
    later: bool | None = None,
) -> CodeType:
    """Return a trampoline for the rules of ``search``.

    ``act``: `drive` for a plain function, otherwise the continuation.  ``asks``: pass the search
    the tuple of the arguments, in the order of `argument_names`.  ``later``: as in `single`.
    """
    body = _ASKED if asks else _SEARCHED
    end = _GOES_ON if _acts_later(code, later) else _ACTS
    return _make(body + end + _CALLS, code, clone, {"<act>": act, "<search>": search})


def followed(
    code: CodeType,
    clone: FunctionType,
    act: Callable[..., object],
    search: Callable[..., object],
    after: Callable[..., object],
    *,
    later: bool | None = None,
) -> CodeType:
    """Return a trampoline with a search before and a search after each call.

    Both take the tuple of the arguments; otherwise it is like `searched`.
    """
    plain = _ASKED + _ACTS + _LATE + _ACTS + _RETURNS
    body = _GOES_ON_AFTER if _acts_later(code, later) else plain
    return _make(body, code, clone, {"<act>": act, "<search>": search, "<after>": after})


def unsettled(
    code: CodeType, clone: FunctionType, settle: Callable[[FunctionType], Callable[..., object]]
) -> CodeType:
    """Return a trampoline that calls the result of ``settle``, until another code replaces it."""
    return _make(_SETTLES, code, clone, {"<settle>": settle})


def _acts_later(code: CodeType, later: bool | None) -> bool:
    return bool(code.co_flags & KINDS) if later is None else later


def argument_splitter(
    code: CodeType, shown: Signature | None = None
) -> Callable[[tuple[Any, ...]], Given]:
    """Return a function that turns the tuple of the arguments into a `Given`.

    ``shown``: the signature of the function, if it differs from that of its code.
    """
    by_place, by_name = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames[by_place : by_place + by_name]
    args, kwargs = bool(code.co_flags & _VARARGS), bool(code.co_flags & _VARKEYWORDS)
    readers = {} if shown is None else {name: shown.read(name, code) for name in shown.places}

    def hand(values: tuple[Any, ...]) -> Given:
        placed, named = values[:by_place], dict(zip(names, values[by_place:], strict=False))
        if args:
            placed += values[by_place + by_name]
        if kwargs:
            named |= values[-1]
        known = {**dict(zip(code.co_varnames[:by_place], values, strict=False)), **named}
        for name, read in readers.items():
            with suppress(LookupError):
                known[name] = read(values)
        return Given(placed, named, known)

    return hand


def clone_of(code: CodeType) -> FunctionType | None:
    """Return the clone that ``code`` calls if it is a trampoline, otherwise None."""
    for constant in code.co_consts:
        if isinstance(constant, FunctionType) and isinstance(constant.__doc__, _Mark):
            return constant
    return None


class _Mark(str):
    """The docstring of a clone: the name of its function.

    It identifies clones among the constants of a code object.  It cannot be pickled, so libraries
    that pickle functions by value fail with a clear error while the function is armed.
    """

    __slots__ = ()

    def __reduce__(self) -> str:
        raise TypeError(
            f"{self} has a chaos point that is armed, so its code cannot be pickled by "
            "value: disarm it first, or define it in a module that the other process imports"
        )


def make_clone(function: FunctionType, code: CodeType) -> FunctionType:
    """Return a private function that runs ``code`` as ``function`` would.

    It needs no defaults, because the trampoline passes every argument.  It has the names of the
    function, because coroutines and generators show them.
    """
    clone = FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)
    clone.__qualname__ = function.__qualname__
    clone.__doc__ = _Mark(function.__qualname__)  # any other attribute would need a dictionary
    return clone


@lru_cache(maxsize=1024)
def _template(
    body: str, positional_only: int, positional: int, keyword_only: int, rests: int, free: int
) -> tuple[CodeType, tuple[tuple[int, str], ...]]:
    """Return the template for these argument counts, and the index and name of each hook.

    ``positional`` includes the positional-only arguments.  ``rests``: the flags for ``*args`` and
    ``**kwargs``.  ``free``: the number of free variables.
    """
    names = [f"a{n}" for n in range(positional)]
    keywords = [f"k{n}" for n in range(keyword_only)]
    parameters = list(names)
    if positional_only:
        parameters.insert(positional_only, "/")
    args, kwargs = bool(rests & _VARARGS), bool(rests & _VARKEYWORDS)
    if args or keywords:
        parameters.append("*args" if args else "*")
    handed = names + ["*args"] * args + [f"{name}={name}" for name in keywords]
    rest = ["**kwargs"] * kwargs
    values = names + keywords + ["args"] * args + ["kwargs"] * kwargs
    cells = ", ".join(f"v{n}" for n in range(free)) or "None"
    source = f"""
def outer():
    {cells.replace(",", " =")}{" = None" if free else ""}
    def inner({", ".join(parameters + keywords + rest)}):
        if False: {cells}
        _clone = "<clone>"
{body.format(handed=", ".join(handed + rest), values="".join(f"{name}, " for name in values))}
"""
    outer = compile(source, "<chaospoint>", "exec").co_consts[0]
    assert isinstance(outer, CodeType)
    (inner,) = (code for code in outer.co_consts if isinstance(code, CodeType))
    hooks = [(n, value) for n, value in enumerate(inner.co_consts) if str(value).startswith("<")]
    template = inner.replace(
        co_varnames=tuple(name.replace("_", ".", 1) for name in inner.co_varnames),
        co_linetable=_line_table(len(inner.co_code) // 2),
    )
    return template, tuple(hooks)


def _make(body: str, code: CodeType, clone: FunctionType, hooks: dict[str, object]) -> CodeType:
    keyword_only, rests = code.co_kwonlyargcount, code.co_flags & (_VARARGS | _VARKEYWORDS)
    template, places = _template(
        body,
        code.co_posonlyargcount,
        code.co_argcount,
        keyword_only,
        rests,
        len(code.co_freevars),
    )
    hooks |= {"<clone>": clone, "<partial>": partial}
    constants = list(template.co_consts)
    for place, hook in places:
        constants[place] = hooks[hook]
    if keyword_only:
        _rename(constants, code.co_varnames[code.co_argcount :][:keyword_only])
    return template.replace(
        co_consts=tuple(constants),
        co_varnames=code.co_varnames[: _count(code)] + template.co_varnames[_count(code) :],
        co_freevars=code.co_freevars,
        co_flags=template.co_flags | code.co_flags & KINDS,
        co_filename=code.co_filename,
        co_firstlineno=code.co_firstlineno,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
    )


def _rename(constants: list[Any], keywords: Sequence[str]) -> None:
    """Rename keyword-only arguments, whose names are also constants, alone or in a tuple."""
    names = {f"k{n}": name for n, name in enumerate(keywords)}
    for place, value in enumerate(constants):
        if isinstance(value, str):
            constants[place] = names.get(value, value)
        elif isinstance(value, tuple):
            constants[place] = tuple(names.get(name, name) for name in value)


def _line_table(units: int) -> bytes:
    """Return a location table that puts every instruction on the first line, without columns.

    An entry covers up to eight code units.  It consists of ``0x80 | 13 << 3 | units - 1``, where 13
    means a line without columns, and of the line delta 0 (CPython, Objects/locations.md).
    """
    whole, rest = divmod(units, 8)
    return bytes((0xEF, 0)) * whole + (bytes((0xE8 | rest - 1, 0)) if rest else b"")
