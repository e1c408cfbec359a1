"""Looking up a name of a rule from outside runs no code of the program."""

from __future__ import annotations

import enum
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any, NoReturn

import pytest

from chaospoint._kernel.static import dictionary, held
from chaospoint.errors import InvalidPlan
from chaospoint.faults.enum_member import EnumMember
from chaospoint.faults.lookup import Trust
from chaospoint.models.refusal import Refusal
from chaospoint.placements.targets import Found, find
from chaospoint.plan import parse_plan
from chaospoint.plan.compiling import compile_plan

ran: list[str] = []


class Sly(type):
    """A metaclass that hears of every attribute that is read."""

    def __getattribute__(cls, name: str) -> object:
        ran.append(f"metaclass {name}")
        return type.__getattribute__(cls, name)


class Holder(metaclass=Sly):
    class Error(Exception):
        pass

    class NoError:
        pass

    class Stop(BaseException, metaclass=Sly):
        pass


class Strange:
    """Stands in `sys.modules`, or in a module, and hears of everything that is read."""

    def __getattr__(self, name: str) -> NoReturn:
        ran.append(f"__getattr__ {name}")
        raise AttributeError(name)

    def __getattribute__(self, name: str) -> object:
        ran.append(f"__getattribute__ {name}")
        return object.__getattribute__(self, name)

    @property
    def __class__(self) -> type:
        ran.append("__class__")
        return types.ModuleType

    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]
        ran.append("__dict__")
        return {"Error": ValueError}

    @property
    def __spec__(self) -> object:
        ran.append("__spec__")
        return None

    @property
    def Error(self) -> type[Exception]:  # noqa: N802
        ran.append("Error")
        return ValueError

    class Inner(Exception):
        pass


class StrangeModule(types.ModuleType):
    def __getattribute__(self, name: str) -> object:
        ran.append(f"module {name}")
        return super().__getattribute__(name)


class StrangeSpec:
    @property
    def _initializing(self) -> bool:
        ran.append("_initializing")
        return True


class SlyEnum(enum.EnumType):
    def __getattribute__(cls, name: str) -> object:
        ran.append(f"enumeration {name}")
        return super().__getattribute__(name)


class Color(enum.Enum, metaclass=SlyEnum):
    RED = 1


@pytest.fixture(autouse=True)
def sly_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    module = StrangeModule("sly_module")
    module.Error = KeyError  # type: ignore[attr-defined]
    plain = types.ModuleType("sly_plain")
    plain.__spec__ = StrangeSpec()  # type: ignore[assignment]
    vars(plain).update(Holder=Holder, strange=Strange(), Error=KeyError, Color=Color)
    for name, found in {"sly": Strange(), "sly_module": module, "sly_plain": plain}.items():
        monkeypatch.setitem(sys.modules, name, found)
    ran.clear()


def compiled(exception: object, trust: Trust) -> Any:
    return compile_plan(parse_plan([{"point": "a", "exception": exception}]), trust=trust)


@pytest.mark.parametrize("trust", ["loaded", "deferred"])
@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("sly.Error", False),
        ("sly.Nothing", False),
        ("sly.Inner", True),
        ("sly.Error.Inner", False),
        ("sly_module.Error", True),
        ("sly_module.Nothing", False),
        ("sly_plain.Error", True),
        ("sly_plain.Nothing", False),
        ("sly_plain.strange.Error", False),
        ("sly_plain.strange", False),
        ("sly_plain.Holder", False),
        ("sly_plain.Holder.Error", True),
        ("sly_plain.Holder.Nothing", False),
        ("sly_plain.Holder.NoError", False),
        ("sly_plain.Holder.Stop", False),
    ],
)
def test_no_hook_of_the_program_runs(path: str, found: bool, trust: Trust) -> None:
    try:
        (terms,) = compiled(path, trust)
        bound = terms.resolve is None
    except InvalidPlan:
        bound = False
    assert ran == []
    assert bound is found


@pytest.mark.parametrize("name", ["Color.GREEN", "strange.RED", "Holder.RED"])
def test_no_enumeration_is_asked_for_its_member(name: str) -> None:
    found = EnumMember("sly_plain.Color.RED").find("loaded")
    assert ran == []
    assert found is enum.EnumType.__getattribute__(Color, "RED")
    with pytest.raises(Refusal):
        EnumMember(f"sly_plain.{name}").find("loaded")
    assert ran == []


@pytest.fixture
def lazily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that its first use loads, as the documentation of importlib makes one."""
    marks = tmp_path / "executed"
    (tmp_path / "lazy_shop.py").write_text(
        f"open({str(marks)!r}, 'w').close()\nclass Error(Exception): pass\ndef pay(): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.util.find_spec("lazy_shop")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazy_shop", module)
    spec.loader.exec_module(module)
    return marks


@pytest.mark.parametrize("name", ["Error", "Nothing", "Error.Inner"])
def test_a_module_that_is_loaded_lazily_is_left_alone(lazily: Path, name: str) -> None:
    with pytest.raises(InvalidPlan, match="not found in the modules that this process"):
        compiled(f"lazy_shop.{name}", "loaded")
    assert not lazily.exists()


def test_a_file_may_name_what_is_loaded_lazily_and_waits_for_it(lazily: Path) -> None:
    (terms,) = compiled("lazy_shop.Error", "deferred")
    assert not lazily.exists()
    assert terms.resolve is not None
    terms.resolve()
    assert lazily.exists()


def test_a_placement_does_not_load_a_lazy_module_either(lazily: Path) -> None:
    assert not isinstance(find(sys.modules["lazy_shop"], "lazy_shop", "pay"), Found)
    assert not lazily.exists()


@pytest.mark.skipif(sys.version_info < (3, 15), reason="`lazy import` is new in 3.15")
def test_a_name_that_is_imported_lazily_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lazy_inner.py").write_text("class Error(Exception): pass\n")
    (tmp_path / "lazy_outer.py").write_text("lazy from lazy_inner import Error\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "lazy_inner", raising=False)
    monkeypatch.setitem(sys.modules, "lazy_outer", __import__("lazy_outer"))
    with pytest.raises(InvalidPlan, match="not found in the modules that this process"):
        compiled("lazy_outer.Error", "loaded")
    assert "lazy_inner" not in sys.modules


def test_a_dictionary_of_the_program_is_not_asked() -> None:
    class Watching(dict[str, object]):
        def __getitem__(self, key: str) -> NoReturn:
            raise AssertionError(key)

        get = __getitem__  # type: ignore[assignment]

    thing = types.SimpleNamespace()
    thing.name = 1
    assert held(thing, "name") == 1

    class Thing:
        pass

    one = Thing()
    one.__dict__ = Watching(name=1)
    assert dictionary(one) == {}
