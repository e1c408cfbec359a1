"""A call right behind the import of a module, whatever import hook loads it.

wrapt's finder sees an import only while no other finder takes it first.  pytest, typeguard and
others put theirs in front, at any time.  So `sys.meta_path` becomes a list that is always walked
from wrapt's finder on; the finder asks the others in turn, so each loads what it would have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from wrapt import register_post_import_hook
from wrapt.importer import ImportHookFinder  # type: ignore[import-untyped]

__all__ = ["after_import"]


class _MetaPath(list[Any]):
    """`sys.meta_path`, walked from one finder on, wherever that stands in the list."""

    def __init__(self, finders: list[Any], first: ImportHookFinder) -> None:
        super().__init__(finders)
        self._first = first

    def __iter__(self) -> Iterator[Any]:
        yield self._first
        for finder in super().__iter__():
            if finder is not self._first:
                yield finder


def after_import(name: str, call: Callable[[object], object]) -> None:
    """Call ``call`` with the module of this name when it is imported, or now if it was."""
    register_post_import_hook(call, name)
    if type(sys.meta_path) is not _MetaPath:  # the first time, or somebody replaced the list
        finders = [one for one in sys.meta_path if type(one) is ImportHookFinder]
        first = finders[0] if finders else ImportHookFinder()
        sys.meta_path = _MetaPath(sys.meta_path, first)
