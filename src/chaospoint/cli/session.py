"""Run one command: read the common options, select the target, turn errors into exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from inspect import signature
from typing import Annotated, Any, Concatenate, ParamSpec

import typer
from rich.console import RenderableType

from chaospoint.cli.acknowledgement import warnings_of
from chaospoint.cli.failures import ExitCode, Failure, problem, refused
from chaospoint.cli.output import Output
from chaospoint.cli.selection import select_target
from chaospoint.cli.store_target import StoreTarget
from chaospoint.cli.target import Json, Target
from chaospoint.errors import ChaosError

__all__ = [
    "CommonOptions",
    "JsonOption",
    "Session",
    "StoreOption",
    "UrlOption",
    "in_session",
    "open_session",
]

P = ParamSpec("P")

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The address of the service. [env: CHAOSPOINT_URL]"),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Use this store directly, without a server: file:///path. [env: CHAOSPOINT_STORE]",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document, as the HTTP API returns it.")
]


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """The options that may stand before or after the command."""

    url: str | None = None
    store: str | None = None
    as_json: bool = False


class Session:
    """The target and the output of one command."""

    def __init__(self, options: CommonOptions) -> None:
        self._options = options
        self._target: Target | None = None
        self.output = Output(as_json=options.as_json)

    @property
    def target(self) -> Target:
        """The service or store, selected at the first use."""
        if self._target is None:
            self._target = select_target(self._options.url, self._options.store)
        return self._target

    @property
    def has_store(self) -> bool:
        """Whether the target is a store rather than a service."""
        return isinstance(self.target, StoreTarget)

    def show_write(self, answer: Json, *views: RenderableType) -> None:
        """Show the answer to a write; exit with 4 if a worker has not acknowledged it."""
        self.output.show(answer, *views)
        for remark in answer.get("remarks") or ():
            self.output.say(str(remark))
        for warning in warnings_of(answer, self.target.where):
            self.output.say(warning)
        if answer.get("missing"):
            raise typer.Exit(ExitCode.UNACKNOWLEDGED)

    def fail(self, failure: Failure) -> typer.Exit:
        """Print the failure and return the exception that ends the command."""
        if self.output.as_json:
            self.output.line(failure.document)
        self.output.say(failure.message)
        return typer.Exit(failure.code)

    def close(self) -> None:
        """Close the target."""
        if self._target is not None:
            self._target.close()


@contextmanager
def open_session(
    context: typer.Context,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> Iterator[Session]:
    """Yield the session of a command, and turn an exception into a message and an exit code.

    An option after the command takes precedence over the same option before it.
    """
    common = context.obj if isinstance(context.obj, CommonOptions) else CommonOptions()
    session = Session(
        replace(
            common,
            url=common.url if url is None else url,
            store=common.store if store is None else store,
            as_json=common.as_json or json,
        )
    )
    try:
        yield session
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise
    except Failure as failure:
        raise session.fail(failure) from None
    except ChaosError as error:
        raise session.fail(refused(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except OSError as error:  # from stdout: files and sockets raise errors of chaospoint
        session.output.say(f"cannot write the result: {error.strerror or error}")
        raise typer.Exit(ExitCode.REFUSED) from None
    except Exception as error:
        raise session.fail(_bug(error)) from None
    finally:
        session.close()


def in_session(command: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Return a typer command that opens a session and passes it to ``command``.

    Typer reads the options from the signature: those of ``command``, then --url, --store and
    --json, which are the parameters of `open_session`.
    """
    context, *common = signature(open_session, eval_str=True).parameters.values()
    _, *own = (shape := signature(command, eval_str=True)).parameters.values()
    parameters = [context, *own, *common]
    call: Callable[..., None] = command  # typer checks the arguments, mypy cannot

    @wraps(command)
    def run(context: typer.Context, **arguments: Any) -> None:
        options = {parameter.name: arguments.pop(parameter.name) for parameter in common}
        with open_session(context, **options) as session:
            call(session, **arguments)

    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = shape.replace(parameters=parameters)
    return run


def _bug(error: Exception) -> Failure:
    return problem(
        ExitCode.REFUSED,
        "bug",
        f"this is a bug in chaospoint: {type(error).__name__}: {error}",
        cure="report it, with the command",
    )
