"""What a plan file may cost before it is refused: little memory, little time, and no waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import Threads, python

from chaospoint import Registry
from chaospoint.errors import InvalidPlan
from chaospoint.models.nesting import MAX_DEPTH, MAX_VALUES, toml_excess
from chaospoint.plan import load_plan
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import Settings

MOST = 2**20 - 64

COSTLY = {
    "a dotted key": (".toml", "rules = []\n" + "a." * 50_000 + "a = 1", "nested more than"),
    "a dotted header": (".toml", "[" + "a." * 50_000 + "a]", "nested more than"),
    "a quoted dotted key": (".toml", "\"a\" . 'b' ." * 20_000 + "a = 1", "nested more than"),
    "a dotted key in a table": (".toml", "x = {" + "a." * 50_000 + "a = 1}", "nested more than"),
    "many dotted keys": (
        ".toml",
        "\n".join(f"k{n}{'.a' * 60} = 1" for n in range(8_000)),
        "holds more than",
    ),
    "many values of TOML": (".toml", "x = [" + "1," * 300_000 + "]", "holds more than"),
    "many tables of TOML": (".toml", "[[x]]\n" * 150_000, "holds more than"),
    "many values of JSON": (".json", "[" + "1," * 300_000 + "1]", "holds more than"),
    "many objects of JSON": (".json", "[" + "{}," * 300_000 + "1]", "holds more than"),
    "many values of YAML": (".yaml", "- 1\n" * 260_000, "holds more than"),
    "many aliases of YAML": (".yaml", "[&a x," + "*a," * 300_000 + "]", "holds more than"),
    "many bad rules of TOML": (".toml", "[[rules]]\n" * 100_000, "more than 10000 rules"),
}


@pytest.mark.parametrize("what", COSTLY)
def test_a_costly_file_is_refused_with_a_cure(tmp_path: Path, what: str) -> None:
    suffix, text, said = COSTLY[what]
    path = tmp_path / f"plan{suffix}"
    path.write_text(text[:MOST])
    with pytest.raises(InvalidPlan, match=said) as caught:
        load_plan(path)
    assert ";" in str(caught.value)


LOADING = """
import os

from chaospoint.plan import load_plan
from resource import RUSAGE_SELF, getrusage
before = getrusage(RUSAGE_SELF)
try:
    load_plan(os.environ["PLAN"])
except Exception:
    pass
after = getrusage(RUSAGE_SELF)
print(after.ru_maxrss - before.ru_maxrss, after.ru_utime - before.ru_utime)
"""


@pytest.mark.parametrize("what", COSTLY)
def test_refusing_it_takes_little_memory_and_time(tmp_path: Path, what: str) -> None:
    suffix, text, _ = COSTLY[what]
    path = tmp_path / f"plan{suffix}"
    path.write_text(text[:MOST])
    kilobytes, seconds = map(float, python(LOADING, PLAN=str(path)).stdout.split())
    assert kilobytes < 100_000
    assert seconds < 10


def test_dots_in_texts_remarks_and_numbers_are_no_keys(tmp_path: Path) -> None:
    dots = "a." * 100
    path = tmp_path / "plan.toml"
    path.write_text(
        f"# {dots}\n[placements]\n'{dots}' = \"{dots}\"\n[[rules]]\npoint = 'a.b'\n"
        f'returns = ["""\n{dots}"{dots}""{dots}"""""'
        f", '''{dots}'{dots}''''', 1.5, 2.5, \"\\\"{dots}\"]\n"
    )
    assert toml_excess(path.read_text()) is None
    path.write_text(path.read_text().replace("[placements]", "[seeds]"))
    with pytest.raises(InvalidPlan, match="seeds"):  # the parser has read it
        load_plan(path)


def test_keys_may_have_as_many_parts_as_data_may_be_deep() -> None:
    assert toml_excess(".".join("a" * MAX_DEPTH) + " = 1") is None
    assert toml_excess("\n\n" + ".".join("a" * (MAX_DEPTH + 1)) + " = 1") is not None
    assert toml_excess("a = 1\n" * MAX_VALUES) is None


@pytest.mark.parametrize(
    "text", ['x="""' + '""a' * 300_000, '"\\"' * 300_000, "'''a" * 250_000, '"""' + '\\"' * 500_000]
)
def test_texts_that_are_not_closed_are_read_once(text: str) -> None:
    """Each of them takes hours where every quote is looked for to the end."""
    assert toml_excess(text) is None


# Special files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in files")
def test_a_file_that_becomes_a_pipe_between_two_looks_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Threads
) -> None:
    path = tmp_path / "plan.json"
    path.write_text('["a.b=off"]')
    real = os.stat

    def swapped(which: object, *args: object, **keys: object) -> os.stat_result:
        found = real(which, *args, **keys)  # type: ignore[arg-type]
        if which == path:
            path.unlink()
            os.mkfifo(path)
        return found

    monkeypatch.setattr(os, "stat", swapped)
    call = pool.submit(load_plan, path)
    with pytest.raises(InvalidPlan, match="not a regular file"):
        call.result(timeout=10)


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/full", "/dev/tty", "/"])
def test_a_device_or_a_directory_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "plan.yaml").symlink_to(target)
    with pytest.raises(InvalidPlan, match=r"plan\.yaml: (not a regular file|no such file)"):
        load_plan(tmp_path / "plan.yaml")


def test_a_refused_file_is_read_once_until_it_changes(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.json"
    path.write_text('["a.b=off", "a.b=oops"]')
    sources = Sources(Settings(enabled=True, config=path), registry)
    assert sources.poller is not None
    reads = 0

    def opened(*args: object, **keys: object) -> int:
        nonlocal reads
        reads += args[0] == path
        return real(*args, **keys)  # type: ignore[arg-type]

    real = os.open
    monkeypatch.setattr(os, "open", opened)
    for _ in range(5):
        assert not sources.poller.poll()
    assert reads == 1
    path.write_text('["a.b=off"]')
    assert [sources.poller.poll() for _ in range(3)] == [True, False, False]
    assert reads == 2
    assert len(registry.rules()) == 1
    sources.clear()
