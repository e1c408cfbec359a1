"""A run of everything uses several processes, lets `alone` be alone, and names what CI is left."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = "pytester"

INNER = """
    import os
    import time
    from pathlib import Path

    import pytest

    LOG = Path(__file__).with_name("log")

    def run(name):
        with LOG.open("a") as file:
            file.write(f"{name} begins\\n")
        if name == "gw0 0":  # gives a test of the other process time to be there as well
            for _ in range(200):
                if "alone" in LOG.read_text():
                    break
                time.sleep(0.01)
        with LOG.open("a") as file:
            file.write(f"{name} ends\\n")

    @pytest.mark.alone
    @pytest.mark.parametrize("n", range(4))
    def test_alone(n):
        run(f"alone {n}")

    @pytest.mark.parametrize("n", range(10))
    def test_beside_others(n):
        run(f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')} {n}")

    @pytest.mark.ci
    @pytest.mark.parametrize("n", range(3))
    def test_long(n):
        run(f"long {n}")
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with the spreading of these tests: in a folder, as `tests` is."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "2")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini("[pytest]\naddopts = -m 'not ci'\nmarkers =\n    alone\n    ci\n")
    tests = pytester.mkdir("tests")
    tests.joinpath("parallel.py").write_text(Path(__file__).with_name("parallel.py").read_text())
    tests.joinpath("conftest.py").write_text("pytest_plugins = 'parallel'\n")
    pytester.makepyfile(test_inner=INNER)
    pytester.path.joinpath("test_inner.py").rename(tests / "test_inner.py")
    return pytester


def run(inner: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, list[str]]:
    """Run the tests of the project; return what they logged, too."""
    done = inner.runpytest_subprocess("-p", "no:cacheprovider", *options)
    return done, inner.path.joinpath("tests/log").read_text().splitlines()


def test_a_run_of_everything(inner: pytest.Pytester) -> None:
    done, lines = run(inner, "-p", "xdist")
    done.assert_outcomes(passed=14)
    done.stdout.fnmatch_lines(["3 tests marked `ci` left to CI; *`pytest -m ''`*"])
    assert len(lines) == 28
    assert {line.split()[0] for line in lines} >= {"gw0", "gw1", "alone"}
    inside: set[str] = set()
    for line in lines:
        name, _, what = line.rpartition(" ")
        inside ^= {name}
        assert what == "ends" or inside == {name} or "alone" not in " ".join(inside), lines


@pytest.mark.parametrize(
    "options",
    [("-p", "xdist", "-n", "0"), ("-p", "xdist", "tests/test_inner.py"), ()],
    ids=["-n 0", "a file", "without xdist"],
)
def test_a_run_in_one_process(inner: pytest.Pytester, options: tuple[str, ...]) -> None:
    done, lines = run(inner, "-m", "", *options)
    done.assert_outcomes(passed=17)
    assert {line.split()[0] for line in lines} == {"main", "alone", "long"}
