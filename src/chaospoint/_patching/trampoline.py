"""The code that stands in for a function's own while one of its points is armed.

A trampoline has the argument shape, names, file, first line and kind of the function it stands
for.  It makes one reach and then calls the *clone*, a function made of the original code, with
its own arguments:

.. code-block:: python

    def f(a, *args, k, **kw):
        found = None                            # single: one rule, decided here and now
        if not inside():
            for n in ORDINALS: break            # one ordinal, taken in one bytecode of C
            if n >= TALLY.due:                  # seldom true
                found = FIRE(n)                 # has acted, and has an answer or none
        if found is not None:
            return found[0]
        return CLONE(a, *args, k=k, **kw)

    def f(a, *args, k, **kw):                   # scoped: the same, behind the question whether
        ...                                     # the rule is of this context

    def f(a, *args, k, **kw):                   # searched: several rules, decided by a closure,
        found = SEARCH((a, args, k, kw))        # which is given the arguments if a rule asks
        if found is not None:
            answer = ACT(*found)
            if answer is not None:
                return answer[0]
        return CLONE(a, *args, k=k, **kw)

    def f(a, *args, k, **kw):                   # followed: a rule may fire after the call, too
        ...
        result = CLONE(a, *args, k=k, **kw)
        found = AFTER((a, args, k, kw))
        ...
        return result

    def f(a, *args, k, **kw):                   # unsettled: decorated while armed and not called
        return SETTLE(CLONE)(a, *args, k=k, **kw)        # yet, so it may still be marked

That is a plain function.  The other kinds are reached when they are called and act later, so where
something fires, or may fire after the call, they end in one call that makes one of their kind::

        return ACT(found, PARTIAL(CLONE, a, *args, k=k, **kw), PARTIAL(AFTER, (a, args, k, kw)))

Compiling takes tens of microseconds, so a template is compiled once for each argument shape and
number of free variables; a trampoline is that template with other constants and names.

What bites, and how it is met:

* A code object with ``co_freevars`` but without the instruction that copies them crashes the
  interpreter when anyone reads ``f_locals``.  Templates are compiled nested in a function that
  has as many variables, which they name and never read.
* A coroutine needs no asynchronous trampoline: since 3.11 an opcode makes the coroutine and the
  flags only tell of it.  A plain body with the flags set returns the clone's own coroutine.
* Tracing writes locals back by name, up to 3.12: those of ours are renamed to what no argument can
  be called.
* Constants must be hashable, for tools that keep code objects in dictionaries, and something
  that is called goes through a local, for the compiler warns of calling a constant.
* The line table says the first line for every instruction, and no columns, so that a traceback
  shows the function's head and no misplaced carets.
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
"""The flags of a code object that tell its kind: generator, coroutine, iterable coroutine,
asynchronous generator (their names in `inspect` cost its import)."""

# Strings in angle brackets become the hooks.
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
    """Return a trampoline for ``code`` at which one rule aims that asks for no arguments.

    ``fire`` is given the ordinal of a reach that may fire.  For a plain function it acts, and
    returns an `Answer` or None; for other kinds it returns a `Firing` or None, for ``act``.
    ``later``: what is called acts later, as a coroutine does; unset, its flags tell.
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
    """Return a trampoline for ``code`` on which whatever ``search`` tries is armed.

    ``act``: `drive` for a plain function, else how calls of the kind go on.  ``asks``: the search
    is given the tuple of the arguments, in the order of `argument_names`.  Else as `single`.
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
    """Return a trampoline for ``code`` where there is a search before and one after each call.

    Both are given the tuple of the arguments; else as `searched`.
    """
    plain = _ASKED + _ACTS + _LATE + _ACTS + _RETURNS
    body = _GOES_ON_AFTER if _acts_later(code, later) else plain
    return _make(body, code, clone, {"<act>": act, "<search>": search, "<after>": after})


def unsettled(
    code: CodeType, clone: FunctionType, settle: Callable[[FunctionType], Callable[..., object]]
) -> CodeType:
    """Return a trampoline for ``code`` that asks ``settle`` at each call what is to be called."""
    return _make(_SETTLES, code, clone, {"<settle>": settle})


def _acts_later(code: CodeType, later: bool | None) -> bool:
    return bool(code.co_flags & KINDS) if later is None else later


def argument_splitter(
    code: CodeType, shown: Signature | None = None
) -> Callable[[tuple[Any, ...]], Given]:
    """Return what makes of the tuple of the arguments those by place and those by name.

    ``shown``: the signature that the function shows, where it is not that of its code.
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
    """Return the clone that ``code`` calls if it is a trampoline, armed or not."""
    for constant in code.co_consts:
        if isinstance(constant, FunctionType) and isinstance(constant.__doc__, _Mark):
            return constant
    return None


class _Mark(str):
    """The docstring of a clone, by which it is known, and which nothing pickles by value: the name
    of its function."""

    __slots__ = ()

    def __reduce__(self) -> str:
        raise TypeError(
            f"{self} has a chaos point that is armed, so its code cannot be pickled by "
            "value: disarm it first, or define it in a module that the other process imports"
        )


def make_clone(function: FunctionType, code: CodeType) -> FunctionType:
    """Return a private function that runs ``code`` as ``function`` would.

    It needs no defaults: the trampoline hands it every argument.  Its names are those that the
    function goes by, for coroutines and generators show them.
    """
    clone = FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)
    clone.__qualname__ = function.__qualname__
    clone.__doc__ = _Mark(function.__qualname__)  # another attribute would take a dictionary
    return clone


@lru_cache(maxsize=1024)
def _template(
    body: str, positional_only: int, positional: int, keyword_only: int, rests: int, free: int
) -> tuple[CodeType, tuple[tuple[int, str], ...]]:
    """Return the template for a shape of arguments, and which constant each hook replaces.

    ``positional`` counts the positional-only ones too; ``rests`` are the flags of the two rests.
    """
    names = [f"a{n}" for n in range(positional)]
    keywords = [f"k{n}" for n in range(keyword_only)]
    taken = list(names)
    if positional_only:
        taken.insert(positional_only, "/")
    args, kwargs = bool(rests & _VARARGS), bool(rests & _VARKEYWORDS)
    if args or keywords:
        taken.append("*args" if args else "*")
    handed = names + ["*args"] * args + [f"{name}={name}" for name in keywords]
    rest = ["**kwargs"] * kwargs
    values = names + keywords + ["args"] * args + ["kwargs"] * kwargs
    cells = ", ".join(f"v{n}" for n in range(free)) or "None"
    source = f"""
def outer():
    {cells.replace(",", " =")}{" = None" if free else ""}
    def inner({", ".join(taken + keywords + rest)}):
        if False: {cells}
        _clone = "<clone>"
{body.format(handed=", ".join(handed + rest), values="".join(f"{one}, " for one in values))}
"""
    outer = compile(source, "<chaospoint>", "exec").co_consts[0]
    assert isinstance(outer, CodeType)
    (inner,) = (code for code in outer.co_consts if isinstance(code, CodeType))
    hooks = [(n, one) for n, one in enumerate(inner.co_consts) if str(one).startswith("<")]
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
    """Rename keyword-only arguments, whose names are constants too, alone or in a tuple."""
    names = {f"k{n}": name for n, name in enumerate(keywords)}
    for place, value in enumerate(constants):
        if isinstance(value, str):
            constants[place] = names.get(value, value)
        elif isinstance(value, tuple):
            constants[place] = tuple(names.get(one, one) for one in value)


def _line_table(units: int) -> bytes:
    """Return a location table: every instruction on the first line, without columns.

    An entry covers up to eight code units: ``0x80 | 13 << 3 | units - 1``, where 13 means a line
    and no columns, and a signed line delta, 0 (CPython, Objects/locations.md).
    """
    whole, rest = divmod(units, 8)
    return bytes((0xEF, 0)) * whole + (bytes((0xE8 | rest - 1, 0)) if rest else b"")
