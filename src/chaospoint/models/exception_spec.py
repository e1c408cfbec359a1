"""An exception as a plan names it: a class, its path, and the arguments it is built with.

Naming, finding and building are three steps: a name is checked when it is read, the class is found
when the trust of its source allows, and one exception is built then, so that wrong arguments
show before anything is armed.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, Self

from chaospoint._effects import Raise
from chaospoint.errors import InjectedFault
from chaospoint.models.lookup import Trust, builtin, can_exist, fetch, is_exception, path_of, peek
from chaospoint.models.plain_data import CODE_ONLY, check_plain, check_written, is_plain
from chaospoint.models.refusal import Refusal, check_keys, show

__all__ = ["EXCEPTION_SCHEMA", "NAME_SCHEMA", "ExceptionSpec"]

_REFUSED = (StopIteration, StopAsyncIteration, GeneratorExit)
_MESSAGE = "injected by chaospoint"
_CURE = (
    "write an exception class, a builtin's name, a dotted path such as httpx.ConnectTimeout, or"
    " {type: ..., args: [...], kwargs: {...}}"
)
_WORD = r"[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*"  # of what is not ASCII, anything
_BUILTINS = sorted(
    name
    for name, one in [*vars(builtins).items(), ("InjectedFault", InjectedFault)]
    if is_exception(one) and issubclass(one, Exception) and not issubclass(one, _REFUSED)
)
NAME_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "description": "a builtin, or the dotted path of a class in a module that is imported",
    "pattern": rf"^({'|'.join(_BUILTINS)}|{_WORD}(\.{_WORD})+)$",
    "examples": ["TimeoutError"],
}
"""How data names an exception, as JSON schema."""

EXCEPTION_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        NAME_SCHEMA,
        {
            "type": "object",
            "properties": {
                "type": NAME_SCHEMA,
                "args": {"type": "array"},
                "kwargs": {"type": "object"},
            },
            "additionalProperties": False,
        },
    ]
}
"""What data may say of one exception, as JSON schema."""


@dataclass(frozen=True, slots=True)
class ExceptionSpec:
    """Which exception to raise.

    ``path``: a builtin's name, a dotted path or ``<code only>``. ``local``: the class that no path
    leads to. ``known``: the class, where it was given or is a builtin. ``factory``: what makes the
    exception, in place of all these.
    """

    path: str
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    local: type[BaseException] | None = None
    known: type[BaseException] | None = field(default=None, compare=False, repr=False)
    factory: Callable[[], BaseException] | None = None

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read any form of the key ``exception``; raises `Refusal` only."""
        if isinstance(value, cls):
            return value
        if isinstance(value, BaseException):
            return cls._like(value)
        if callable(value) and not isinstance(value, type):
            if iscoroutinefunction(value):
                cure = "give a plain function that returns a fresh exception"
                raise Refusal("a coroutine function is not awaited here", cure, value=value)
            return cls(CODE_ONLY, factory=value)
        if isinstance(value, Mapping):
            check_keys(value, ("type", "args", "kwargs"))
            return cls._named(
                value.get("type", InjectedFault),
                args=_args(value.get("args", ())),
                kwargs=_kwargs(value.get("kwargs", {})),
            )
        return cls._named(value)

    @classmethod
    def _named(cls, named: object, **arguments: Any) -> Self:
        if isinstance(named, str):
            check_written(named)
            path = named.removeprefix("builtins.")
            if not all(part.isidentifier() for part in path.split(".")):
                raise Refusal("not the name of an exception", _CURE, value=named)
            if "." in path:
                return cls(path, **arguments)
            return cls._of(_exception_class(builtin(path), named=named), **arguments)
        return cls._of(_exception_class(named), **arguments)

    @classmethod
    def _like(cls, pattern: BaseException) -> Self:
        """Read an instance: rebuilt each time, with what its arguments do not set as well."""
        known = _exception_class(type(pattern))
        try:
            reduced: Any = pattern.__reduce__()
            kind, args = reduced[:2]
            complete = kind is known and _state(known(*args)) == _state(pattern)
        except (Exception, SystemExit) as error:
            raise Refusal(
                f"cannot be built again from its arguments: {type(error).__name__}: {error}",
                f"give a function that makes it: lambda: {known.__name__}(...)",
                value=pattern,
            ) from None
        if complete:
            return cls._of(known, args=args)
        return cls(CODE_ONLY, factory=partial(_again, kind, args, _state(pattern)))

    @classmethod
    def _of(cls, known: type[BaseException], **arguments: Any) -> Self:
        path = path_of(known)
        if path is None:
            return cls(CODE_ONLY, local=known, known=known, **arguments)
        return cls(path, known=known, **arguments)

    def dump(self) -> object:
        """Return the shortest form that `parse` reads back."""
        if self.factory is not None:
            return CODE_ONLY
        if not self.args and not self.kwargs:
            return self.path
        if not is_plain([*self.args]) or not is_plain({**self.kwargs}):
            return CODE_ONLY
        parts = {"type": self.path, "args": [*self.args], "kwargs": {**self.kwargs}}
        return {name: part for name, part in parts.items() if part}

    def check_plain(self) -> None:
        """Refuse arguments that are not plain data."""
        if self.factory is not None:
            raise Refusal("a function comes from code only", "arm it in code", value=self.factory)
        for name, part in (("args", [*self.args]), ("kwargs", {**self.kwargs})):
            try:
                check_plain(part)
            except Refusal as refusal:
                raise refusal.within(name) from None

    def find(self, trust: Trust, *, reached: bool = False) -> Raise | None:
        """Find the class and build one exception; None if it must wait for the first reach.

        ``reached``: that reach has come. Raises `Refusal` only.
        """
        if self.factory is not None:
            return Raise(self.factory, type(self._built_by(self.factory)).__name__)
        found: object = self.known
        if found is None:
            found = self._look_up(trust, reached)
        if found is None:
            return None
        known = _exception_class(found, named=self.path)
        if trust != "code" and not issubclass(known, Exception):
            raise Refusal(
                f"{known.__name__} may be raised by rules from code only",
                "write a subclass of Exception",
                value=self.path,
            )
        build = partial(known, *self.args, **self.kwargs) if self.args or self.kwargs else known
        if build is known and (known is InjectedFault or not _takes_nothing(known)):
            build = partial(known, _MESSAGE)  # as httpx's need one
        self._built_by(build)
        return Raise(build, known.__name__)

    def _look_up(self, trust: Trust, reached: bool) -> object | None:
        if trust == "code" or (trust == "deferred" and reached):
            return _exception_class(fetch(self.path), named=self.path)
        found = peek(self.path)
        if trust == "loaded" and found is None:
            raise Refusal(
                "not found in the modules that this process has imported",
                "name a builtin, or a class of a module that the program itself imports",
                value=self.path,
            )
        if found is None and not can_exist(self.path):
            top = self.path.partition(".")[0]
            raise Refusal(f"no module is named {top!r}", "correct or install it", value=self.path)
        return found

    def _built_by(self, build: Callable[[], object]) -> BaseException:
        value = self.factory or self.dump()
        try:
            made = build()
        except (Exception, SystemExit) as error:
            cure = "write {type: ..., args: [...], kwargs: {...}} with what its constructor takes"
            if self.factory:
                cure = "mend the function; it is called without arguments"
            problem = f"cannot be built: {type(error).__name__}: {error}"
            raise Refusal(problem, cure, value=value) from None
        # A constructor may answer with an object of another class, and a function with anything.
        if not isinstance(made, BaseException):
            problem = f"builds something that is no exception: {show(made)}"
            raise Refusal(problem, "let it return a fresh exception each time", value=value)
        _exception_class(type(made), named=value)
        return made


def _state(made: BaseException) -> dict[str, object]:
    """Return the attributes of an exception, without what tracebacks and notes left there."""
    return {name: value for name, value in vars(made).items() if not name.startswith("__")}


def _again(
    kind: Callable[..., BaseException], args: tuple[object, ...], state: Mapping[str, object]
) -> BaseException:
    made = kind(*args)
    vars(made).update(state)
    return made


def _takes_nothing(known: type[BaseException]) -> bool:
    try:
        known()
    except TypeError:
        return False
    except (Exception, SystemExit):
        return True  # what else is wrong shows when it is tried in earnest
    return True


def _exception_class(found: object, named: object = None) -> type[BaseException]:
    value = named or found
    if not is_exception(found):
        raise Refusal("not an exception class", _CURE, value=value)
    if issubclass(found, _REFUSED):
        problem = f"{found.__name__} means something else to generators and cannot be injected"
        raise Refusal(problem, "write another exception", value=value)
    return found


def _args(value: object) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise Refusal("not a list", "write the arguments as a list", field="args", value=value)
    return tuple(value)


def _kwargs(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        cure = "write the arguments as a mapping with text keys"
        raise Refusal("not a mapping of names", cure, field="kwargs", value=value)
    return dict(value)
