"""The exception of a rule: its class, the path of the class, and the arguments.

There are three steps. The name is checked when the rule is read. The class is looked up when the
trust of the rule's source allows it. Then one exception is built, so that wrong arguments are
reported before anything is armed.
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
    """The exception to raise.

    ``path``: a builtin's name, a dotted path or ``<code only>``. ``args`` and ``kwargs`` may
    contain specs and members of enumerations, which are built first. ``cause``: the ``__cause__``.
    ``local``: the class, if no path leads to it. ``known``: the class, if it was given or is a
    builtin. ``factory``: a function that makes the exception and replaces all of these;
    ``with_arguments``: the function takes the arguments of the call.
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

        ``levels``: how deep exceptions may be nested in arguments and causes.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, BaseException):
            return cls._of_instance(value)
        if callable(value) and not isinstance(value, type):
            if awaits(value):
                cure = "give a function without async that returns a new exception"
                raise Refusal("a coroutine function cannot make exceptions", cure, value=value)
            return cls(
                CODE_ONLY,
                factory=cast("Callable[..., BaseException]", value),
                with_arguments=takes_arguments(value),
            )
        if not isinstance(value, Mapping):
            return cls._named(value)
        check_keys(value, KEYS)
        if not levels:
            cure = f"nest at most {_LEVELS} exceptions, or give a function that makes it, in code"
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
        """Return the arguments with the mappings that describe exceptions or members replaced."""

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
    def _of_instance(cls, instance: BaseException) -> Self:
        """Return the spec of an instance: each injection builds an equal exception."""
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
        args = [replaced(value, _dumped) for value in self.args]
        return args, {name: replaced(value, _dumped) for name, value in self.kwargs.items()}

    def paths(self) -> Iterator[str]:
        """Return the dotted names that have to be looked up, also those of nested exceptions."""
        if self.known is None and self.factory is None:
            yield self.path
        inner: list[ExceptionSpec | EnumMember] = [] if self.cause is None else [self.cause]

        def collect(value: object) -> object:
            if isinstance(value, ExceptionSpec | EnumMember):
                inner.append(value)
            return value

        replaced([*self.args], collect)
        replaced({**self.kwargs}, collect)
        for part in inner:
            yield from part.paths() if isinstance(part, ExceptionSpec) else (part.path,)

    def check_plain(self) -> None:
        """Refuse arguments that are not plain data."""
        if self.factory is not None:
            raise Refusal(
                "only code can give a function", "arm the rule in code", value=self.factory
            )
        for name, part in zip(("args", "kwargs"), self._plain(), strict=True):
            try:
                check_plain(part)
            except Refusal as refusal:
                raise refusal.within(name) from None
        if self.cause is not None:
            self.cause.check_plain()

    def find(self, trust: Trust, *, reached: bool = False) -> Raise | None:
        """Look up the class and build one exception to check it; return the effect that raises it.

        Returns None if the look-up has to wait for the rule's first reach. ``reached``: this is the
        first reach. Raises `Refusal` only.
        """
        if self.known is not None and trust == "code" and self._bare:
            return _built(self.known)  # type: ignore[arg-type]  # classes can be hashed
        build = self._builder(trust, reached)
        if build is None:
            return None
        if self.with_arguments:  # it needs the arguments of a call, so it cannot be tried now
            return Raise(build, CODE_ONLY, True, needs_arguments(build), taken_by(build))
        return Raise(build, type(self._try(build)).__name__)

    @property
    def _bare(self) -> bool:
        """Whether this is a class in C without arguments, whose exceptions are all alike."""
        has_parts = self.args or self.kwargs or self.cause is not None or self.factory is not None
        return not has_parts and self.known is not None and is_static(self.known)

    def _builder(self, trust: Trust, reached: bool) -> Callable[..., BaseException] | None:
        """Return a function that builds the exception; None if a look-up has to wait."""
        if self.factory is not None:
            return self.factory
        looked_up: object = self.known
        if looked_up is None:
            looked_up = look_up(self.path, trust, reached=reached)
            if looked_up is None and (reached or trust == "code"):
                raise not_a_class(self.path)  # the name exists, and its value is None
        look_up_in = _LookUp(trust, reached)
        args = look_up_in.within("args", [*self.args]) if self.args else []
        kwargs = look_up_in.within("kwargs", {**self.kwargs}) if self.kwargs else {}
        cause = None if self.cause is None else look_up_in.within("cause", self.cause)
        if looked_up is None or look_up_in.waits:
            return None
        known = exception_class(looked_up, named=self.path)
        if trust != "code" and not issubclass(known, Exception):
            raise Refusal(
                f"{name_of_class(known)} can be raised only by rules that code arms",
                "name a subclass of Exception",
                value=self.path,
            )
        build: Callable[[], BaseException] = known
        if not args and not kwargs:
            build = build_without_arguments(known)
        if isinstance(cause, Nested):
            return Composed(build, args, kwargs, cause.build)
        if look_up_in.nested:
            return Composed(build, args, kwargs, None)
        return partial(known, *args, **kwargs) if args or kwargs else build

    def _try(self, build: Callable[[], object]) -> BaseException:
        """Build an exception, and check that the program can show it."""
        return transparently(self._shown, build)

    def _shown(self, build: Callable[[], object]) -> BaseException:
        try:
            error = build()
        except (Exception, SystemExit) as failure:
            raise self._unfit(build, f"cannot be built: {describe(failure)}") from None
        # A constructor may return an object of another class, and a function any object.
        if not isinstance(error, BaseException):
            problem = f"builds something that is not an exception: {show(error)}"
            cure = "return a new exception from it each time"
            raise Refusal(problem, cure, value=self.factory or self.dump())
        if issubclass(type(error), REFUSED):
            exception_class(type(error), named=self.factory or self.dump())
        if is_static(type(error)) and not error.args and error.__cause__ is None:
            return error  # showing it runs no foreign code
        try:
            for way in (str, repr, _traced):
                way(error)
        except Exception as failure:
            problem = f"can be built, but not shown: {describe(failure)}"
            raise self._unfit(build, problem) from None
        return error

    def _unfit(self, build: Callable[[], object], problem: str) -> Refusal:
        return Refusal(problem, self._cure(build), value=self.factory or self.dump())

    def _cure(self, build: Callable[[], object]) -> str:
        if self.with_arguments or isinstance(self.factory, Pattern):
            return "give a function that returns another exception"
        if self.factory is not None:
            return "correct the function; it is called without arguments"
        cure = "write {type: ..., args: [...], kwargs: {...}} with the arguments of its constructor"
        known = build.func if isinstance(build, partial) else build
        names = required(known) if isinstance(known, type) else ()
        return f"{cure}: {', '.join(names)}" if names else cure


@cache
def _built(known: type[BaseException]) -> Raise:
    build = build_without_arguments(known)
    return Raise(build, type(ExceptionSpec._of(known)._try(build)).__name__)


@dataclass(slots=True)
class _LookUp:
    """Looks up the exceptions and members in arguments, with one level of trust."""

    trust: Trust
    reached: bool
    waits: bool = False
    nested: bool = False

    def within(self, key: str, value: _Bound) -> _Bound:
        """Return the value with everything in it looked up."""
        try:
            return cast("_Bound", replaced(value, self))
        except Refusal as refusal:
            raise refusal.within(key) from None

    def __call__(self, value: object) -> object:
        if isinstance(value, ExceptionSpec):
            build = value._builder(self.trust, self.reached)
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


def _traced(error: BaseException) -> str:
    # The traceback of a builtin runs no code that could fail.
    if type(error).__module__ == "builtins" and not isinstance(error, SyntaxError):
        return ""
    import traceback

    return "".join(traceback.format_exception(error))


def _args(value: object) -> list[object]:
    if not isinstance(value, list | tuple):
        raise Refusal("not a list", "write the arguments as a list", field="args", value=value)
    return [*value]


def _kwargs(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        cure = "write the arguments as a mapping with text keys"
        raise Refusal("not a mapping of names", cure, field="kwargs", value=value)
    return dict(value)
