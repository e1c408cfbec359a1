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
                found = FIRE(n)
        if found is not None:                   # a plain function has acted, and has an answer;
            return found[0]                     # the other kinds end as below
        return CLONE(a, *args, k=k, **kw)

    def f(a, *args, k, **kw):                   # scoped: the same, behind the question whether
        ...                                     # the rule is of this context

    def f(a, *args, k, **kw):                   # searched: several rules, decided by a closure,
        found = SEARCH((a, args, k, kw))        # which is given the arguments if a rule asks
        if found is not None:
            return GO_ON(found, PARTIAL(CLONE, a, *args, k=k, **kw))
        return CLONE(a, *args, k=k, **kw)

    def f(a, *args, k, **kw):                   # followed: a rule may fire after the call
        values = (a, args, k, kw)
        call = PARTIAL(CLONE, a, *args, k=k, **kw)
        return GO_ON(SEARCH(values), call, PARTIAL(AFTER, values))

Compiling takes tens of microseconds, so a template is compiled once for each argument shape and
number of free variables; a trampoline is that template with other constants and names.

What bites, and how it is met:

* A code object with ``co_freevars`` but without the instruction that copies them crashes the
  interpreter when anyone reads ``f_locals``.  Templates are compiled nested in a function that
  has as many variables, which they name and never read.
* A coroutine needs no asynchronous trampoline: since 3.11 an opcode makes the coroutine and the
  flags only tell of it.  A plain body with the flags set returns the clone's own coroutine.
* Constants must be hashable, for tools that keep code objects in dictionaries, and something
  that is called goes through a local, for the compiler warns of calling a constant.
* The line table says the first line for every instruction, and no columns, so that a traceback
  shows the function's head and no misplaced carets.
"""

from __future__ import annotations

from functools import lru_cache, partial
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from chaospoint._inside import inside
from chaospoint._scope import here

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaospoint._aim import GoOn
    from chaospoint._epoch import ArmedRule

__all__ = [
    "KINDS",
    "argument_names",
    "clone_of",
    "followed",
    "make_clone",
    "searched",
    "single",
]

KINDS = 0x20 | 0x80 | 0x100 | 0x200
"""The flags of a code object that tell its kind: generator, coroutine, iterable coroutine,
asynchronous generator (their names in `inspect` cost its import)."""

_VARARGS, _VARKEYWORDS = 0x04, 0x08

# Strings in angle brackets become the hooks; the names of locals show in debuggers only.
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
_GOES_ON = """
        if _found is not None:
            _go_on = "<go on>"
            _partial = "<partial>"
            return _go_on(_found, _partial({call}))
"""
_FOLLOWED = """
        _values = ({values})
        _search = "<search>"
        _go_on = "<go on>"
        _partial = "<partial>"
        _after = "<after>"
        return _go_on(_search(_values), _partial({call}), _partial(_after, _values))
"""


def single(
    code: CodeType,
    clone: FunctionType,
    rule: ArmedRule,
    fire: Callable[[int], object],
    go_on: GoOn | None = None,
) -> CodeType:
    """Return a trampoline for ``code`` on which one rule is armed that asks for no arguments.

    ``fire`` is given the ordinal of a reach that may fire.  It acts, and returns an `Answer` or
    None; with ``go_on`` it only returns a `Firing` or None, and the call goes on from there.
    """
    tally = rule.tally
    hooks = {"<inside>": inside.get, "<ordinals>": tally.ordinals, "<tally>": tally, "<fire>": fire}
    if rule.terms.scoped:
        hooks |= {"<here>": here.get, "<rule>": rule, "<misses>": rule.misses}
    body = _SCOPED if rule.terms.scoped else _SINGLE
    return _make(body + (_GOES_ON if go_on else _ANSWERED), code, clone, go_on, hooks)


def searched(
    code: CodeType,
    clone: FunctionType,
    go_on: GoOn,
    search: Callable[..., object],
    *,
    asks: bool = False,
) -> CodeType:
    """Return a trampoline for ``code`` on which whatever ``search`` tries is armed.

    ``asks``: it is given the tuple of the arguments, in the order of `argument_names`.
    """
    body = (_ASKED if asks else _SEARCHED) + _GOES_ON
    return _make(body, code, clone, go_on, {"<search>": search})


def followed(
    code: CodeType,
    clone: FunctionType,
    go_on: GoOn,
    search: Callable[..., object],
    after: Callable[..., object],
) -> CodeType:
    """Return a trampoline for ``code`` where there is a search before and one after each call.

    Both are given the tuple of the arguments.
    """
    return _make(_FOLLOWED, code, clone, go_on, {"<search>": search, "<after>": after})


def argument_names(code: CodeType) -> tuple[tuple[str, ...], bool]:
    """Return the names of the arguments, and whether the last of them takes the keyword rest."""
    shape = _Shape.of(code)
    count = shape.positional + shape.keyword_only + shape.varargs + shape.varkw
    return code.co_varnames[:count], shape.varkw


def clone_of(code: CodeType) -> FunctionType | None:
    """Return the clone that ``code`` calls if it is a trampoline of ours, armed or not."""
    for constant in code.co_consts:
        if isinstance(constant, FunctionType) and hasattr(constant, _IS_CLONE):
            return constant
    return None


_IS_CLONE = "__chaospoint_clone__"


def make_clone(function: FunctionType, code: CodeType) -> FunctionType:
    """Return a private function that runs ``code`` as ``function`` would.

    It needs no defaults: the trampoline hands it every argument.
    """
    clone = FunctionType(code, function.__globals__, code.co_name, None, function.__closure__)
    setattr(clone, _IS_CLONE, True)
    return clone


class _Shape(NamedTuple):
    """The shape of a function's arguments, from which templates are made."""

    positional_only: int
    positional: int  # the positional-only ones included, as in co_argcount
    keyword_only: int
    varargs: bool
    varkw: bool

    @classmethod
    def of(cls, code: CodeType) -> _Shape:
        flags = code.co_flags
        return cls(
            code.co_posonlyargcount,
            code.co_argcount,
            code.co_kwonlyargcount,
            bool(flags & _VARARGS),
            bool(flags & _VARKEYWORDS),
        )


@lru_cache(maxsize=1024)
def _template(body: str, shape: _Shape, free: int) -> CodeType:
    positional = [f"a{n}" for n in range(shape.positional)]
    keywords = [f"k{n}" for n in range(shape.keyword_only)]
    taken = list(positional)
    if shape.positional_only:
        taken.insert(shape.positional_only, "/")
    if shape.varargs or keywords:
        taken.append("*args" if shape.varargs else "*")
    handed = positional + ["*args"] * shape.varargs + [f"{name}={name}" for name in keywords]
    rest = ["**kwargs"] * shape.varkw
    values = positional + keywords + ["args"] * shape.varargs + ["kwargs"] * shape.varkw
    cells = ", ".join(f"v{n}" for n in range(free)) or "None"
    source = f"""
def outer():
    {cells.replace(",", " =")}{" = None" if free else ""}
    def inner({", ".join(taken + keywords + rest)}):
        if False: {cells}
        _clone = "<clone>"
{body.format(call=", ".join(["_clone", *handed, *rest]), values="".join(f"{v}, " for v in values))}
        return _clone({", ".join(handed + rest)})
"""
    outer = compile(source, "<chaospoint>", "exec").co_consts[0]
    assert isinstance(outer, CodeType)
    (inner,) = (code for code in outer.co_consts if isinstance(code, CodeType))
    return inner.replace(co_linetable=_line_table(len(inner.co_code) // 2))


def _make(
    body: str, code: CodeType, clone: FunctionType, go_on: GoOn | None, hooks: dict[str, object]
) -> CodeType:
    shape = _Shape.of(code)
    template = _template(body, shape, len(code.co_freevars))
    first = code.co_argcount
    after = first + code.co_kwonlyargcount
    arguments = after + shape.varargs + shape.varkw
    # The names of keyword-only arguments are constants too, alone or in a tuple.
    names: dict[Any, object] = {
        **{f"k{n}": name for n, name in enumerate(code.co_varnames[first:after])},
        **hooks,
        "<clone>": clone,
        "<go on>": go_on,
        "<partial>": partial,
    }
    return template.replace(
        co_consts=tuple(
            tuple(names.get(one, one) for one in value)
            if isinstance(value, tuple)
            else names.get(value, value)
            for value in template.co_consts
        ),
        co_varnames=code.co_varnames[:arguments] + template.co_varnames[arguments:],
        co_freevars=code.co_freevars,
        co_flags=template.co_flags | code.co_flags & KINDS,
        co_filename=code.co_filename,
        co_firstlineno=code.co_firstlineno,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
    )


def _line_table(units: int) -> bytes:
    """Return a location table: every instruction on the first line, without columns.

    An entry covers up to eight code units: ``0x80 | 13 << 3 | units - 1``, where 13 means a line
    and no columns, and a signed line delta, 0 (CPython, Objects/locations.md).
    """
    whole, rest = divmod(units, 8)
    return bytes((0xEF, 0)) * whole + (bytes((0xE8 | rest - 1, 0)) if rest else b"")
