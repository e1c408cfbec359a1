"""An exception as a plan names it: a class, its path, and the arguments it is built with.

Naming, finding and building are three steps: a name is checked when it is read, the class is found
when the trust of its source allows, and one exception is built then, so that wrong arguments
show before anything is armed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Final, Self, TypeVar, cast

from chaospoint._kernel.context import transparently
from chaospoint._kernel.effects import Raise
from chaospoint._kernel.static import name_of_class
from chaospoint.errors import InjectedFault
from chaospoint.faults.default_message import build_without_arguments, is_static, required
from chaospoint.faults.enum_member import EnumMember
from chaospoint.faults.exception_arguments import Composed, Nested, replaced
from chaospoint.faults.exception_class import (
    CURE,
    KEYS,
    REFUSED,
    describes_exception,
    exception_class,
    not_a_class,
)
from chaospoint.faults.exception_pattern import Pattern
from chaospoint.faults.lookup import Trust, builtin, look_up, path_of
from chaospoint.faults.signatures import awaits, needs_arguments, taken_by, takes_arguments
from chaospoint.models.plain_data import CODE_ONLY, check_plain, check_written, is_plain
from chaospoint.models.refusal import Refusal, check_keys, describe, show

__all__ = ["ExceptionSpec"]

_LEVELS: Final = 8
_Bound = TypeVar("_Bound")
_Arguments = TypeVar("_Arguments", list[object], dict[str, object])


@dataclass(frozen=True, slots=True)
class ExceptionSpec:
    """Which exception to raise.

    ``path``: a builtin's name, a dotted path or ``<code only>``. ``args`` and ``kwargs`` hold
    specs, and members of enumerations, where they say that such are to be built. ``cause``: what
    its ``__cause__`` is to be. ``local``: the class that no path leads to. ``known``: the class,
    where it was given or is a builtin. ``factory``: what makes the exception, in place of all
    these; ``with_arguments``: it is given the arguments of the call.
    """

    path: str
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    cause: ExceptionSpec | None = None
    local: type[BaseException] | None = None
    known: type[BaseException] | None = field(default=None, compare=False, repr=False)
    factory: Callable[..., BaseException] | None = None
    with_arguments: bool = False

    @classmethod
    def parse(cls, value: object, *, levels: int = _LEVELS) -> Self:
        """Read any form of the key ``exception``; raises `Refusal` only.

        ``levels``: how deep exceptions may be nested in it.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, BaseException):
            return cls._like(value)
        if callable(value) and not isinstance(value, type):
            if awaits(value):
                cure = "give a plain function that returns a fresh exception"
                raise Refusal("a coroutine function is not awaited here", cure, value=value)
            return cls(
                CODE_ONLY,
                factory=cast("Callable[..., BaseException]", value),
                with_arguments=takes_arguments(value),
            )
        if not isinstance(value, Mapping):
            return cls._named(value)
        check_keys(value, KEYS)
        if not levels:
            cure = f"nest {_LEVELS} at most, or give a function that makes it, in code"
            raise Refusal("exceptions are nested too deep", cure, value=value)
        return cls._named(
            value.get("type", InjectedFault),
            args=tuple(cls._read("args", _args(value.get("args", ())), levels)),
            kwargs=cls._read("kwargs", _kwargs(value.get("kwargs", {})), levels),
            cause=cls._read_cause(value["cause"], levels) if "cause" in value else None,
        )

    @classmethod
    def _read_cause(cls, value: object, levels: int) -> Self:
        try:
            return cls.parse(value, levels=levels - 1)
        except Refusal as refusal:
            raise refusal.within("cause", value) from None

    @classmethod
    def _read(cls, key: str, arguments: _Arguments, levels: int) -> _Arguments:
        """Return the arguments in which what describes exceptions and members is read."""

        def read(value: object) -> object:
            if type(value) is dict and value is not cast("object", arguments):
                if (member := EnumMember.read(value)) is not None:
                    return member
                if describes_exception(value):
                    return cls.parse(value, levels=levels - 1)
            return value

        try:
            return cast("_Arguments", replaced(arguments, read))
        except Refusal as refusal:
            raise refusal.within(key) from None

    @classmethod
    def _named(cls, named: object, **arguments: Any) -> Self:
        if isinstance(named, str):
            check_written(named)
            path = named.removeprefix("builtins.")
            if not all(part.isidentifier() for part in path.split(".")):
                raise Refusal("not the name of an exception", CURE, value=named)
            if "." in path:
                return cls(path, **arguments)
            return cls._of(exception_class(builtin(path), named=named), **arguments)
        return cls._of(exception_class(named), **arguments)

    @classmethod
    def _like(cls, instance: BaseException) -> Self:
        """Read an instance: built anew each time, with all that it keeps."""
        known = exception_class(type(instance))
        pattern = Pattern.of(instance)
        if pattern.args is not None:
            return cls._of(known, args=pattern.args)
        return cls(CODE_ONLY, factory=pattern)

    @classmethod
    def _of(cls, known: type[BaseException], **arguments: Any) -> Self:
        path = path_of(known)
        if path is None:
            return cls(CODE_ONLY, local=known, known=known, **arguments)
        return cls(path, known=known, **arguments)

    def dump(self) -> object:
        """Return the shortest form that `parse` reads back."""
        dumped = self._dumped()
        if isinstance(dumped, dict) and dumped.keys() == {"type"}:
            return dumped["type"]
        return dumped

    def _dumped(self) -> object:
        if self.factory is not None:
            return CODE_ONLY
        args, kwargs = self._plain()
        cause = None if self.cause is None else self.cause.dump()
        if CODE_ONLY in (self.path, cause) and (args or kwargs or cause):
            return CODE_ONLY
        if not is_plain(args) or not is_plain(kwargs):
            return CODE_ONLY
        parts = {"type": self.path, "args": args, "kwargs": kwargs, "cause": cause}
        return {name: part for name, part in parts.items() if part}

    def _plain(self) -> tuple[list[object], dict[str, object]]:
        """Return the arguments as data."""
        args = [replaced(one, _dumped) for one in self.args]
        return args, {name: replaced(one, _dumped) for name, one in self.kwargs.items()}

    def paths(self) -> Iterator[str]:
        """Return the dotted names that are to be looked up, of nested ones too."""
        if self.known is None and self.factory is None:
            yield self.path
        inner: list[ExceptionSpec | EnumMember] = [] if self.cause is None else [self.cause]

        def note(value: object) -> object:
            if isinstance(value, ExceptionSpec | EnumMember):
                inner.append(value)
            return value

        replaced([*self.args], note)
        replaced({**self.kwargs}, note)
        for one in inner:
            yield from one.paths() if isinstance(one, ExceptionSpec) else (one.path,)

    def check_plain(self) -> None:
        """Refuse arguments that are not plain data."""
        if self.factory is not None:
            raise Refusal("a function comes from code only", "arm it in code", value=self.factory)
        for name, part in zip(("args", "kwargs"), self._plain(), strict=True):
            try:
                check_plain(part)
            except Refusal as refusal:
                raise refusal.within(name) from None
        if self.cause is not None:
            self.cause.check_plain()

    def find(self, trust: Trust, *, reached: bool = False) -> Raise | None:
        """Find the class and build one exception; None if it must wait for the first reach.

        ``reached``: that reach has come. Raises `Refusal` only.
        """
        if self.known is not None and trust == "code" and self._bare:
            return _built(self.known)  # type: ignore[arg-type]  # classes can be hashed
        build = self._bound(trust, reached)
        if build is None:
            return None
        if self.with_arguments:  # it cannot be tried: the calls are still to come
            return Raise(build, CODE_ONLY, True, needs_arguments(build), taken_by(build))
        return Raise(build, type(self._tried(build)).__name__)

    @property
    def _bare(self) -> bool:
        """Whether there is nothing but a class in C, which is built alike each time."""
        said = self.args or self.kwargs or self.cause is not None or self.factory is not None
        return not said and self.known is not None and is_static(self.known)

    def _bound(self, trust: Trust, reached: bool) -> Callable[..., BaseException] | None:
        """Return what builds the exception; None if something that it names has to wait."""
        if self.factory is not None:
            return self.factory
        found: object = self.known
        if found is None:
            found = look_up(self.path, trust, reached=reached)
            if found is None and (reached or trust == "code"):
                raise not_a_class(self.path)  # there is a None
        bind = _Binding(trust, reached)
        args = bind.within("args", [*self.args]) if self.args else []
        kwargs = bind.within("kwargs", {**self.kwargs}) if self.kwargs else {}
        cause = None if self.cause is None else bind.within("cause", self.cause)
        if found is None or bind.waits:
            return None
        known = exception_class(found, named=self.path)
        if trust != "code" and not issubclass(known, Exception):
            raise Refusal(
                f"{name_of_class(known)} may be raised by rules from code only",
                "write a subclass of Exception",
                value=self.path,
            )
        build: Callable[[], BaseException] = known
        if not args and not kwargs:
            build = build_without_arguments(known)
        if isinstance(cause, Nested):
            return Composed(build, args, kwargs, cause.build)
        if bind.nested:
            return Composed(build, args, kwargs, None)
        return partial(known, *args, **kwargs) if args or kwargs else build

    def _tried(self, build: Callable[[], object]) -> BaseException:
        """Build one, and see that the program can show it."""
        return transparently(self._shown, build)

    def _shown(self, build: Callable[[], object]) -> BaseException:
        try:
            made = build()
        except (Exception, SystemExit) as error:
            raise self._unfit(build, f"cannot be built: {describe(error)}") from None
        # A constructor may answer with an object of another class, and a function with any.
        if not isinstance(made, BaseException):
            problem = f"builds something that is not an exception: {show(made)}"
            cure = "let it return a fresh exception each time"
            raise Refusal(problem, cure, value=self.factory or self.dump())
        if issubclass(type(made), REFUSED):
            exception_class(type(made), named=self.factory or self.dump())
        if is_static(type(made)) and not made.args and made.__cause__ is None:
            return made  # nothing of it is foreign
        try:
            for way in (str, repr, _traced):
                way(made)
        except Exception as error:
            problem = f"can be built, but not shown: {describe(error)}"
            raise self._unfit(build, problem) from None
        return made

    def _unfit(self, build: Callable[[], object], problem: str) -> Refusal:
        return Refusal(problem, self._cure(build), value=self.factory or self.dump())

    def _cure(self, build: Callable[[], object]) -> str:
        if self.with_arguments or isinstance(self.factory, Pattern):
            return "give a function that makes another one"
        if self.factory is not None:
            return "mend the function; it is called without arguments"
        cure = "write {type: ..., args: [...], kwargs: {...}} with what its constructor takes"
        known = build.func if isinstance(build, partial) else build
        names = required(known) if isinstance(known, type) else ()
        return f"{cure}: {', '.join(names)}" if names else cure


@cache
def _built(known: type[BaseException]) -> Raise:
    build = build_without_arguments(known)
    return Raise(build, type(ExceptionSpec._of(known)._tried(build)).__name__)


@dataclass(slots=True)
class _Binding:
    """Finds what stands in arguments for exceptions and members, under one trust."""

    trust: Trust
    reached: bool
    waits: bool = False
    nested: bool = False

    def within(self, key: str, value: _Bound) -> _Bound:
        """Return what stands there, with all found in it."""
        try:
            return cast("_Bound", replaced(value, self))
        except Refusal as refusal:
            raise refusal.within(key) from None

    def __call__(self, value: object) -> object:
        if isinstance(value, ExceptionSpec):
            build = value._bound(self.trust, self.reached)
            self.nested = True
            if build is not None:
                return Nested(build)
            self.waits = True
        elif isinstance(value, EnumMember):
            member = value.find(self.trust, reached=self.reached)
            if member is not None:
                return member
            self.waits = True
        return value


def _dumped(value: object) -> object:
    if isinstance(value, ExceptionSpec):
        return value._dumped()
    return value.dump() if isinstance(value, EnumMember) else value


def _traced(made: BaseException) -> str:
    # The traceback of a builtin shows nothing that its class could have spoilt.
    if type(made).__module__ == "builtins" and not isinstance(made, SyntaxError):
        return ""
    import traceback

    return "".join(traceback.format_exception(made))


def _args(value: object) -> list[object]:
    if not isinstance(value, list | tuple):
        raise Refusal("not a list", "write the arguments as a list", field="args", value=value)
    return [*value]


def _kwargs(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        cure = "write the arguments as a mapping with text keys"
        raise Refusal("not a mapping of names", cure, field="kwargs", value=value)
    return dict(value)
