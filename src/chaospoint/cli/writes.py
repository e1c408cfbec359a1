"""The commands that change what is in force: each exits with 4 if a worker does not run it yet."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from chaospoint.cli import tables
from chaospoint.cli.output import plain
from chaospoint.cli.rule_keys import read_pattern, read_rule
from chaospoint.cli.session import JsonOption, StoreOption, UrlOption, session

__all__ = ["arm", "disable", "disarm", "enable", "release", "renew"]

PatternArgument = Annotated[
    str, typer.Argument(metavar="PATTERN", help="The name of a point, or a glob: db.*")
]


def arm(
    context: typer.Context,
    point: Annotated[
        str, typer.Argument(metavar="POINT", help="A name or glob; or the whole rule as text.")
    ],
    keys: Annotated[
        str | None,
        typer.Argument(metavar="KEYS", help="The rule: 'latency(200ms)', or its keys in JSON."),
    ] = None,
    latency: Annotated[str | None, typer.Option(help="200ms, 1.5s")] = None,
    exception: Annotated[str | None, typer.Option(help="TimeoutError, httpx.ReadTimeout")] = None,
    failure_rate: Annotated[str | None, typer.Option(help="0.3 or 30%")] = None,
    returns: Annotated[str | None, typer.Option(metavar="JSON", help="Instead of calling")] = None,
    hang: Annotated[str | None, typer.Option(help="true, or 30s")] = None,
    probability: Annotated[str | None, typer.Option(help="0.3 or 30%")] = None,
    skip: Annotated[int | None, typer.Option(help="Let the first n pass.")] = None,
    every: Annotated[int | None, typer.Option(help="Then only each n-th.")] = None,
    times: Annotated[int | None, typer.Option(help="At most n firings.")] = None,
    max_active: Annotated[int | None, typer.Option(help="At most n at once.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Only such calls; may be given again."),
    ] = None,
    when: Annotated[str | None, typer.Option(help="before or after the call")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the firing reproducible.")] = None,
    expires_after: Annotated[str | None, typer.Option(help="10m if not given")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do; needs a service.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write to the store even if no worker has the point.")
    ] = False,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Put a rule on a point.

    It replaces earlier HTTP or store rules of the same name.

    chaospoint arm payment.charge 'latency(200ms)'

    chaospoint arm 'payment.charge=30%raise(TimeoutError) [tenant=acme, expires_after=5m]'

    chaospoint arm payment.charge --latency 200ms --times 3 --expires-after 5m
    """
    options = {
        "latency": latency,
        "exception": exception,
        "failure_rate": failure_rate,
        "returns": returns,
        "hang": hang,
        "probability": probability,
        "skip": skip,
        "every": every,
        "times": times,
        "max_active": max_active,
        "where": where,
        "when": when,
        "seed": seed,
        "expires_after": expires_after,
    }
    with session(context, url, store, json) as here:
        name, wanted = read_rule(point, keys, options)
        if force and not here.has_store:
            raise typer.BadParameter("a service knows its points: --force is for --store")
        if dry_run:
            would = here.target.dry_run(name, wanted)
            here.output.show(would, *tables.preview(would))
            for remark in would.get("remarks") or ():
                here.output.say(str(remark))
            return
        answer = here.target.put(name, wanted, force=force)
        what = Text(f"{name}: armed, {tables.acknowledged(answer)}")
        here.written(answer, what, tables.rules(answer.get("rules") or ()))


def disarm(
    context: typer.Context,
    pattern: PatternArgument = "*",
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Disarm a point, a glob, or everything.

    It does not matter who armed it, and where.
    """
    with session(context, url, store, json) as here:
        answer = here.target.disarm(read_pattern(pattern))
        count = answer.get("disarmed")
        what = f"{pattern}: {count} disarmed, {tables.acknowledged(answer)}"
        here.written(answer, Text(plain(what)))


def release(
    context: typer.Context,
    pattern: PatternArgument,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Release paused calls."""
    with session(context, url, store, json) as here:
        answer = here.target.release(read_pattern(pattern))
        count = answer.get("released")
        released = "released" if count is None else f"{count} released"
        here.written(answer, Text(plain(f"{pattern}: {released}, {tables.acknowledged(answer)}")))


def renew(
    context: typer.Context,
    pattern: PatternArgument,
    expires_after: Annotated[
        str | None, typer.Option(help="Counted from now; default: the rule's original lifetime.")
    ] = None,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Move the deadline of a rule; its counts stay.

    chaospoint renew payment.charge --expires-after 30m
    """
    with session(context, url, store, json) as here:
        answer = here.target.renew(read_pattern(pattern), expires_after)
        what = f"{pattern}: {answer.get('renewed')} renewed, {tables.acknowledged(answer)}"
        here.written(answer, Text(plain(what)), tables.rules(answer.get("rules") or ()))


def enable(
    context: typer.Context,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Turn the master switch on."""
    with session(context, url, store, json) as here:
        answer = here.target.enable()
        here.written(answer, Text(f"enabled, {tables.acknowledged(answer)}"))


def disable(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="Why; it is kept and shown until `enable`.")] = "",
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Turn the master switch off.

    It stops every effect and disarms everything; nothing can be armed until `enable`.
    """
    with session(context, url, store, json) as here:
        answer = here.target.disable(reason)
        if reached := answer.get("reached"):
            here.output.say(str(reached))
        here.written(answer, Text(f"disabled, {tables.acknowledged(answer)}"))
