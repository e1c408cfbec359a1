"""The kinds of faults, and the reader of a list of faults.

Installed packages add kinds with entry points of the group ``chaospoint.faults``: the name is the
kind, and the object a subclass of `FaultModel`. A kind is loaded when a rule first names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from chaospoint.faults.base import FaultModel
from chaospoint.faults.call import Call
from chaospoint.faults.failpoints import Burn, Off, Pause, Print, Yield
from chaospoint.faults.failure import Failure
from chaospoint.faults.hang import Hang
from chaospoint.faults.latency import Latency
from chaospoint.faults.returns import Return
from chaospoint.models.durations import milliseconds
from chaospoint.models.refusal import Refusal, close_to, describe

if TYPE_CHECKING:
    from chaospoint.models.cursor import Arguments

__all__ = ["VERB", "is_kind", "kind_named", "kinds", "read_faults", "verb_named", "verbs"]

VERB: Final = re.compile(r"[A-Za-z_]\w*(?:-\w+)*")
"""The form of a verb in text, and so of the name of a kind."""

_EXCEPTION: Final = re.compile(r"[A-Z]\w*(?:Error|Exception|Timeout|Interrupt|Exit)")

_KINDS: Final[Mapping[str, type[FaultModel]]] = {
    "latency": Latency,
    "exception": Failure,
    "return": Return,
    "hang": Hang,
    "call": Call,
    "off": Off,
    "delay": Burn,
    "print": Print,
    "yield": Yield,
    "pause": Pause,
}
# The verbs of the text form that are not names of kinds.
_VERBS: Final[Mapping[str, Callable[[Arguments], FaultModel]]] = {
    "raise": Failure.from_text,
    "panic": lambda arguments: Failure.from_key({"args": _words(arguments)}),
    "sleep": lambda arguments: Latency(seconds=arguments.only("sleep(100)").read(milliseconds)),
}
_NO_VERBS: Final = {"exception": "write raise(Type)", "call": "only code can give functions"}
_ENTRY_POINTS: Final = "chaospoint.faults"


def _words(arguments: Arguments) -> list[str]:
    words = arguments.words()
    return [] if words is None else [words]


@cache
def _added() -> Mapping[str, EntryPoint]:
    """Return the entry points of installed packages, without loading them."""
    return {entry.name: entry for entry in entry_points(group=_ENTRY_POINTS)}


@cache
def _loaded(entry: EntryPoint) -> type[FaultModel]:
    """Load a kind at its first use; `Refusal` with the reason if that fails."""
    try:
        kind = entry.load()
    except (Exception, SystemExit) as error:  # a foreign module may raise anything
        problem = f"its package cannot be loaded: {describe(error)}"
        raise Refusal(
            problem, f"correct or remove {entry.value}", field="kind", value=entry.name
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, FaultModel)):
        problem = f"{entry.value} is not a subclass of chaospoint.faults.FaultModel"
    elif entry.name in _VERBS or not VERB.fullmatch(entry.name):
        problem = "the text form cannot contain its name"
    elif kind.model_fields["kind"].default != entry.name:
        problem = f"{entry.value} has the kind {kind.model_fields['kind'].default!r}"
    else:
        return kind
    raise Refusal(
        problem, "correct or remove the package that adds it", field="kind", value=entry.name
    )


def kinds() -> dict[str, type[FaultModel] | None]:
    """Return all kinds of faults by name; those of other packages are None and not loaded."""
    return {**dict.fromkeys([*_KINDS, *_added()]), **_KINDS}


def verbs() -> list[str]:
    """Return the verbs of the text form."""
    return [*_VERBS, *(kind for kind in kinds() if kind not in _NO_VERBS)]


def is_kind(name: object) -> bool:
    """Return whether a kind of fault has this name, without loading it."""
    return isinstance(name, str) and name in kinds()


def kind_named(name: object) -> type[FaultModel]:
    """Return the kind of this name; `Refusal` with similar names if there is none."""
    if isinstance(name, str):
        if name in _KINDS:
            return _KINDS[name]
        if name in _added():
            return _loaded(_added()[name])
    known = list(kinds())
    cure = close_to(name, known) or f"known are {', '.join(known)}"
    raise Refusal("not a kind of fault", cure, field="kind", value=name)


def verb_named(word: str) -> Callable[[Arguments], FaultModel]:
    """Return the reader of this verb; `Refusal` with similar verbs if there is none."""
    if word in _VERBS:
        return _VERBS[word]
    if word in _NO_VERBS:
        raise Refusal("not a known action", _NO_VERBS[word], value=word)
    known = verbs()
    if word not in known:
        cure = close_to(word, known) or f"write one of: {', '.join(known)}"
        if _EXCEPTION.fullmatch(word):
            cure = f"write raise({word}), or one of: {', '.join(known)}"
        raise Refusal("not a known action", cure, value=word)
    return kind_named(word).from_text


def read_faults(value: object) -> list[FaultModel]:
    """Read the key ``faults``; raises `Refusal` only."""
    if not isinstance(value, list | tuple):
        raise Refusal("not a list", "write a list of {kind: ..., ...}", field="faults", value=value)
    faults = []
    for nth, item in enumerate(value):
        try:
            faults.append(_read_fault(item))
        except Refusal as refusal:
            raise refusal.within(f"faults[{nth}]", item) from None
    return faults


def _read_fault(item: object) -> FaultModel:
    if isinstance(item, FaultModel):
        return item
    if not isinstance(item, Mapping):
        cure = f"write {{kind: {item}}}" if is_kind(item) else "write {kind: ..., ...}"
        raise Refusal("not a fault", cure, value=item)
    return kind_named(item.get("kind")).checked(item)
