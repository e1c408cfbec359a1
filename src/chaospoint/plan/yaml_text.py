"""Read YAML as JSON in another syntax: without tags, without dates, without repeated keys.

Nesting, aliases and the number of values are limited before anything recurses into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import yaml

from chaospoint.models.nesting import MAX_DEPTH, MAX_VALUES, TOO_DEEP, TOO_MANY
from chaospoint.models.refusal import Refusal
from chaospoint.models.strict_json import repeated
from chaospoint.plan.yaml_quotes import quoting_cure

__all__ = ["rule_lines", "twice", "yaml_data"]

if TYPE_CHECKING:
    from yaml import SafeLoader as _Base
else:
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MOST: Final = 1_000_000
_BEFORE: Final = 3  # lines before a mistake in which its rule may begin
_CURE: Final = "correct the text"
_FLOW: Final = re.compile(r"[\[{]")
_TAG: Final = "tag:yaml.org,2002:"


class _Mark(Protocol):
    line: int


class _Loader(_Base):
    """The safe loader, without the types of values that JSON does not have."""

    yaml_constructors: ClassVar = {
        tag: construct
        for tag, construct in _Base.yaml_constructors.items()
        if tag is None or tag.removeprefix(_TAG) in {"null", "bool", "str", "seq", "map"}
    }


def _number(loader: _Loader, node: yaml.ScalarNode) -> object:
    # YAML 1.1 reads 12:30 as 750, in base 60, which is never intended.
    if ":" in node.value:
        return node.value
    try:
        if node.tag == f"{_TAG}int":
            return loader.construct_yaml_int(node)
        return loader.construct_yaml_float(node)
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


# YAML 1.1 reads off, no, on and yes as booleans; YAML 1.2 does not, and `rule: off` must be text.
_Loader.yaml_implicit_resolvers = {
    first: [
        resolver for resolver in resolvers if resolver[0] not in (f"{_TAG}timestamp", f"{_TAG}bool")
    ]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    f"{_TAG}bool", re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_constructor(f"{_TAG}int", _number)
_Loader.add_constructor(f"{_TAG}float", _number)


def yaml_data(text: str) -> Any:
    """Return the data in the text; raises `Refusal` only, with the line where it is known."""
    try:
        root = _compose(text)
        if root is None:
            return None
        loader = _Loader("")
        try:
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except Refusal:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "cannot be understood"
        line = mark.line + 1 if mark else None
        refusal = Refusal(f"not YAML: {problem}", _CURE, line=line)
        raise (
            refusal.quoting(cure, "put the rule in quotes")
            if (cure := _cure(text, error))
            else refusal
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Refusal("not YAML: a character that is not allowed", _CURE, line=line) from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise Refusal(f"not YAML: {error}", _CURE) from None


def _cure(text: str, error: yaml.MarkedYAMLError) -> str | None:
    marks = [mark.line + 1 for mark in (error.context_mark, error.problem_mark) if mark]
    if not marks:
        return None
    first, last = marks[0], marks[-1]
    places = ((last, last), (first, last), (max(1, last - _BEFORE), last))
    return next(filter(None, (quoting_cure(text, *place) for place in places)), None)


def rule_lines(text: str) -> list[int]:
    """Return the lines, from 1, on which the rules of the plan begin; empty if they are unknown."""
    try:
        root = _compose(text)
    except (Refusal, yaml.YAMLError):
        return []
    if isinstance(root, yaml.MappingNode):
        root = next((node for key, node in root.value if key.value == "rules"), None)
    if not isinstance(root, yaml.SequenceNode):
        return []
    return [node.start_mark.line + 1 for node in root.value]


def _compose(text: str) -> yaml.Node | None:
    """Return the checked tree of the text; raises `Refusal` or a YAML error."""
    depth = read = values = 0
    try:
        # The C composer recurses without a limit and would crash the process on deep nesting.
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise _too_deep(event.start_mark)
            values += isinstance(event, yaml.NodeEvent)
            if values > MAX_VALUES:
                raise _excess(TOO_MANY, "split the plan, or use globs", event.start_mark)
            read = event.end_mark.index if event.end_mark else read
    except yaml.MarkedYAMLError as error:
        # The scanner reads ahead of the events, and some versions have a limit of nesting too.
        mark = error.problem_mark
        if mark and depth + len(_FLOW.findall(text, read, mark.index + 1)) > MAX_DEPTH:
            raise _too_deep(mark) from None
        raise
    root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    if root is not None and _measure(root, 0, {})[0] > _MOST:
        raise Refusal("its aliases expand to more than a million values", "write fewer aliases")
    return root


def _measure(node: yaml.Node, depth: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values the node expands to, and how deep; refuse repeated keys."""
    size, height = known.get(id(node), (0, 0))
    if depth + height > MAX_DEPTH:
        raise _too_deep(node.start_mark)
    if size or isinstance(node, yaml.ScalarNode):
        return size or 1, height
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
    inner = [_measure(child, depth + 1, known) for child in _children(node)]
    size = 1 + sum(size for size, _ in inner)
    height = 1 + max((height for _, height in inner), default=0)
    known[id(node)] = size, height
    return size, height


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    for child in node.value:
        if isinstance(child, tuple):
            yield from child
        else:
            yield child


def _check_keys(node: yaml.MappingNode) -> None:
    keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if (again := repeated((key.tag, key.value) for key in keys)) is not None:
        second = [key for key in keys if (key.tag, key.value) == again][1]
        raise twice(again[1], second.start_mark.line + 1)


def twice(key: str | None, line: int | None = None) -> Refusal:
    """Return the refusal of a key that is given twice in one mapping."""
    return Refusal("the key is given twice", "keep one of them", field=key, line=line)


def _too_deep(mark: _Mark | None) -> Refusal:
    return _excess(TOO_DEEP, "write it flatter", mark)


def _excess(problem: str, cure: str, mark: _Mark | None) -> Refusal:
    return Refusal(problem, cure, line=mark.line + 1 if mark else None)
