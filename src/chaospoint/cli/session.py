"""One command from its options to its exit code: whatever happens is one message, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from chaospoint.cli.acknowledgement import unfollowed
from chaospoint.cli.choose import select_target
from chaospoint.cli.failures import ExitCode, Failure, refused
from chaospoint.cli.output import Output
from chaospoint.cli.store_target import StoreTarget
from chaospoint.cli.target import Json, Target
from chaospoint.errors import ChaosError

__all__ = ["Common", "JsonOption", "Session", "StoreOption", "UrlOption", "session"]

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The service to talk to. [env: CHAOSPOINT_URL]",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The store to talk to, without a server: file:///path. [env: CHAOSPOINT_STORE]",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document: what the API answers.")
]


@dataclass(frozen=True, slots=True)
class Common:
    """The options that stand before the command, or behind it."""

    url: str | None = None
    store: str | None = None
    as_json: bool = False


class Session:
    """What a command works with."""

    def __init__(self, common: Common) -> None:
        self._common = common
        self._target: Target | None = None
        self.output = Output(as_json=common.as_json)

    @property
    def target(self) -> Target:
        """What is talked to; chosen at the first look."""
        if self._target is None:
            self._target = select_target(self._common.url, self._common.store)
        return self._target

    @property
    def has_store(self) -> bool:
        """Whether a store is talked to, and no service."""
        return isinstance(self.target, StoreTarget)

    def written(self, answer: Json, *views: RenderableType) -> None:
        """Show the answer to a write; exit with 4 if it is not in force everywhere."""
        self.output.show(answer, *views)
        for remark in answer.get("remarks") or ():
            self.output.say(str(remark))
        for remark in unfollowed(answer, self.target.where):
            self.output.say(remark)
        if answer.get("missing"):
            raise typer.Exit(ExitCode.UNACKNOWLEDGED)

    def fail(self, failure: Failure) -> typer.Exit:
        """Tell of the failure, and return what ends the command."""
        if self.output.as_json:
            self.output.line(failure.document)
        self.output.say(failure.message)
        return typer.Exit(failure.code)

    def close(self) -> None:
        """Close the target."""
        if self._target is not None:
            self._target.close()


@contextmanager
def session(
    context: typer.Context,
    url: str | None = None,
    store: str | None = None,
    json: bool = False,
) -> Iterator[Session]:
    """Give a command what it works with, and turn what goes wrong into its exit code."""
    said = context.obj if isinstance(context.obj, Common) else Common()
    made = Session(
        replace(
            said,
            url=said.url if url is None else url,
            store=said.store if store is None else store,
            as_json=said.as_json or json,
        )
    )
    try:
        yield made
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise
    except Failure as failure:
        raise made.fail(failure) from None
    except ChaosError as error:
        raise made.fail(refused(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except OSError as error:  # of stdout: files and sockets have errors of their own
        made.output.say(f"the result cannot be written: {error.strerror or error}")
        raise typer.Exit(ExitCode.REFUSED) from None
    except Exception as error:
        raise made.fail(_bug(error)) from None
    finally:
        made.close()


def _bug(error: Exception) -> Failure:
    document: dict[str, Any] = {
        "type": "urn:chaospoint:problem:bug",
        "title": "Bug",
        "detail": f"this is a bug in chaospoint: {type(error).__name__}: {error}",
        "cure": "report it, with the command",
    }
    return Failure(ExitCode.REFUSED, document)
