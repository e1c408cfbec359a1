"""Read the options as the user typed them: paths, and the settings that repeat a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from argparse import Action
    from pathlib import Path

__all__ = ["json_path", "settings_typed", "took_a_path"]

_SELECTION = (
    "collectonly deselect failedfirst file_or_dir ignore ignore_glob keepduplicates keyword"
    " last_failed_no_failures lf markexpr maxfail newfirst pyargs stepwise stepwise_reset"
    " stepwise_skip"
)
_OUTPUT = (
    "basetemp cacheclear cacheshow code_highlight color debug disable_warnings durations"
    " durations_min fold_skipped force_short_summary fulltrace help junitprefix markers no_header"
    " no_summary pastebin reportchars setuponly setupplan setupshow show_fixtures_per_test"
    " showcapture showfixtures showlocals tbstyle trace traceconfig usepdb usepdb_cls verbose"
    " version xfail_tb xmlpath"
)
_PROCESSES = (
    "dist distload loadscopereorder looponfail maxprocesses maxschedchunk maxworkerrestart"
    " numprocesses px rsyncdir rsyncignore testrunuid tx"
)
_SET_ANEW = "chaospoint_seed randomly_seed"
_LEFT_OUT = frozenset(f"{_SELECTION} {_OUTPUT} {_PROCESSES} {_SET_ANEW}".split())
_LEFT_OUT_FAMILIES = ("chaos_cov", "chaos_explore", "cov")


def json_path(config: pytest.Config, option: str, given: str | None) -> Path | None:
    """Return the path of a file to write; raises `pytest.UsageError` if it cannot be written."""
    if given is None:
        return None
    path = config.invocation_params.dir / given
    if not given or path.is_dir():
        raise pytest.UsageError(f"{option}={given}: write the path of a file, not of a directory")
    if not path.parent.is_dir():
        raise pytest.UsageError(
            f"{option}={given}: there is no directory {path.parent}: create it first"
        )
    return path


def took_a_path(config: pytest.Config, option: str, value: str) -> bool:
    """Whether an option with an optional value took a path of tests as its value."""
    invoked = config.invocation_params
    return option in invoked.args and (invoked.dir / value).exists()


def settings_typed(config: pytest.Config) -> Iterator[str]:
    """Yield the typed options that affect how a test runs.

    Options that select tests, configure output or use several processes are left out, and so are
    those that the command for repeating a test sets itself.
    """
    actions = _actions(config)
    words = deque(map(str, config.invocation_params.args))
    while words and (word := words.popleft()) != "--":
        if word.startswith("--"):
            name, equals, _ = word.partition("=")
            action = actions.get(name)
            value = [] if equals else _value(action, words)
            if _decides(action):
                yield from [word, *value]
        elif word.startswith("-"):
            yield from _short(word[1:], actions, words)


def _short(letters: str, actions: dict[str, Action], words: deque[str]) -> Iterator[str]:
    """Yield the settings among one-letter options, which may share a word: ``-xsW error``."""
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        action = actions.get(name)
        if action is not None and action.nargs == 0:
            if _decides(action):
                yield name
            continue
        if _decides(action):
            yield from [f"{name}{letters}"] if letters else [name, *_value(action, words)]
        elif not letters:
            _value(action, words)
        return


def _value(action: Action | None, words: deque[str]) -> list[str]:
    """Remove and return the value of an option from the words after it, if it has one there."""
    if action is None or action.nargs == 0 or not words:
        return []
    if action.nargs == "?" and words[0].startswith("-"):
        return []
    return [words.popleft()]


def _decides(action: Action | None) -> bool:
    if action is None:
        return True
    return action.dest not in _LEFT_OUT and not action.dest.startswith(_LEFT_OUT_FAMILIES)


def _actions(config: pytest.Config) -> dict[str, Action]:
    """Return the actions of pytest's parser, by the name of the option."""
    parser: Any = config._parser
    known = parser.optparser if hasattr(parser, "optparser") else parser._getparser()
    actions: dict[str, Action] = known._option_string_actions
    return actions
