"""A program that is launched with chaospoint in it: real processes, whose code knows nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import venv
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
from helpers import SOURCE

from chaospoint.sources.launching import environment

STARTUP = str(SOURCE / "chaospoint" / "startup")

PAYMENTS = """
def charge():
    return "charged"
"""
CALLS = """
import payments
def attempt():
    try:
        return payments.charge()
    except LookupError as error:
        return type(error).__name__
"""
PLAN = {
    "placements": {"payments:charge": "payment.charge"},
    "rules": ["payment.charge=raise(LookupError)"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the program lives."""
    (tmp_path / "payments.py").write_text(PAYMENTS)
    (tmp_path / "calls.py").write_text(CALLS)
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    return tmp_path


def environ(folder: Path, **variables: str) -> dict[str, str]:
    path = os.pathsep.join([str(folder), str(SOURCE), *filter(None, sys.path)])
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path, **variables}


def command(*words: str, plan: bool = True) -> list[str]:
    """Return what launches ``words``, which is what ``chaospoint run`` does."""
    made = "Path('plan.json')" if plan else "None"
    launch = (
        "import sys; from pathlib import Path; from chaospoint.sources.launching import launch; "
    )
    return [sys.executable, "-c", f"{launch}launch(sys.argv[1:], plan={made})", *words]


def run(
    folder: Path, *words: str, plan: bool = True, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words, plan=plan),
        cwd=folder,
        env=environ(folder, **(variables or {})),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def python(folder: Path, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(folder, sys.executable, "-c", dedent(program), variables=variables)


# The environment


def test_the_environment_says_all_that_is_needed_and_keeps_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = environment({"A": "b", "PYTHONPATH": "x"}, plan=Path("p.yaml"), variables={"C": "d"})
    assert made == {
        "A": "b",
        "C": "d",
        "PYTHONPATH": f"{STARTUP}{os.pathsep}x",
        "CHAOSPOINT_ENABLED": "true",
        "CHAOSPOINT_CONFIG": str(tmp_path / "p.yaml"),
        "_CHAOSPOINT_LAUNCHED": str(tmp_path / "p.yaml"),
    }


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, [STARTUP]),
        ("", [STARTUP]),  # an empty entry would be the current directory
        (f"x{os.pathsep}{STARTUP}{os.pathsep}y", [STARTUP, "x", "y"]),
        (f"{os.pathsep}x", [STARTUP, "", "x"]),
    ],
)
def test_the_path_is_kept_and_ours_stands_first_and_once(
    given: str | None, wanted: list[str]
) -> None:
    before = {} if given is None else {"PYTHONPATH": given}
    assert environment(before)["PYTHONPATH"].split(os.pathsep) == wanted
    assert environment(environment(before)) == environment(before)


@pytest.mark.parametrize(
    ("given", "wanted"), [("", "true"), (" ", "true"), ("maybe", "maybe"), ("on", "on")]
)
def test_what_the_environment_says_of_enabling_stands(given: str, wanted: str) -> None:
    assert environment({"CHAOSPOINT_ENABLED": given})["CHAOSPOINT_ENABLED"] == wanted


def test_the_plan_of_the_environment_stands_where_none_is_given() -> None:
    assert environment({"CHAOSPOINT_CONFIG": "x.yaml"})["CHAOSPOINT_CONFIG"] == "x.yaml"


# Programs


def test_a_program_that_knows_nothing_meets_the_plan_and_so_do_its_children(folder: Path) -> None:
    """Of a script, and of what multiprocessing spawns and subprocess starts from it."""
    (folder / "app.py").write_text(
        dedent("""
        import multiprocessing, subprocess, sys
        import calls
        if __name__ == "__main__":
            print(calls.attempt())
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.apply(calls.attempt))
            child = "import calls; print(calls.attempt())"
            sys.stdout.flush()
            subprocess.run([sys.executable, "-c", child], cwd="/", check=True)
            print([entry for entry in sys.path if "startup" in entry])
        """)
    )
    done = run(folder, sys.executable, "app.py")
    assert done.stdout.splitlines() == ["LookupError"] * 3 + ["[]"], done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_that_is_run_meets_the_plan_and_exits_with_its_own_code(folder: Path) -> None:
    (folder / "app.py").write_text("import calls, sys; print(calls.attempt()); sys.exit(3)")
    done = run(folder, sys.executable, "-m", "app")
    assert (done.stdout, done.returncode) == ("LookupError\n", 3)


def test_the_program_takes_our_place(folder: Path) -> None:
    """So it has our pid, and the signals are its own."""
    program = (
        "import os, signal; print(os.getpid(), flush=True); os.kill(os.getpid(), signal.SIGTERM)"
    )
    launched = subprocess.Popen(
        command(sys.executable, "-c", program),
        cwd=folder,
        env=environ(folder),
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = launched.communicate(timeout=60)
    assert int(said) == launched.pid
    assert launched.returncode == -signal.SIGTERM


def test_what_is_no_python_gets_the_signals_as_a_shell_gives_them(folder: Path) -> None:
    done = run(folder, "sh", "-c", "kill -PIPE $$; echo ignored")
    assert (done.stdout, done.returncode) == ("", -signal.SIGPIPE)


def test_an_explicit_false_is_respected_and_said(folder: Path) -> None:
    program = "import calls, sys; print(calls.attempt(), 'chaospoint' in sys.modules)"
    done = python(folder, program, CHAOSPOINT_ENABLED=" No ")
    assert done.stdout == "charged False\n"
    assert "CHAOSPOINT_ENABLED is No" in done.stderr
    assert "runs without chaos" in done.stderr


def test_a_child_that_turns_it_off_does_not_load_it(folder: Path) -> None:
    program = """
        import os, subprocess, sys
        child = "import sys; print('chaospoint.config' in sys.modules)"
        off = {**os.environ, "CHAOSPOINT_ENABLED": "off"}
        subprocess.run([sys.executable, "-c", child], env=off, stderr=subprocess.STDOUT, check=True)
    """
    assert python(folder, program).stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("no-such-program", 127, "was not found"), ("./payments.py", 126, "cannot be run")],
)
def test_what_cannot_be_run_is_one_line_and_the_code_of_a_shell(
    name: str, code: int, words: str, folder: Path
) -> None:
    done = run(folder, name)
    assert done.returncode == code
    [line] = done.stderr.splitlines()
    assert line.startswith(f"chaospoint: {name} {words}")


def test_another_sitecustomize_runs_as_it_would(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import sys; sys.theirs = 'ran'")
    program = """
        import calls, sitecustomize, sys
        print(sys.theirs, sitecustomize.__file__, calls.attempt())
    """
    done = python(folder, program)
    assert done.stdout == f"ran {folder / 'sitecustomize.py'} LookupError\n"


def test_another_sitecustomize_that_fails_keeps_nothing_from_starting(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("1 / 0")
    done = python(folder, "import calls; print(calls.attempt())")
    assert done.stdout == "LookupError\n"
    assert "ZeroDivisionError" in done.stderr  # as Python says it without us


def test_where_chaospoint_is_not_installed_the_program_goes_on(tmp_path: Path) -> None:
    """As in a Python of another environment that inherits the path."""
    other = tmp_path / "other"
    venv.create(other, with_pip=False)
    done = subprocess.run(
        [str(other / "bin" / "python"), "-c", "print('fine')"],
        env=environment({"PATH": os.environ["PATH"]}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("fine\n", 0)
    [line] = done.stderr.splitlines()
    assert re.search(r"chaospoint: cannot be imported in .*No module named 'chaospoint'", line)


def test_python_that_takes_no_environment_runs_without_chaos(folder: Path) -> None:
    done = run(folder, sys.executable, "-I", "-c", "import sys; print('chaospoint' in sys.modules)")
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_process_that_serves_multiprocessing_only_is_left_alone(folder: Path) -> None:
    program = """
        import subprocess, sys
        child = "from multiprocessing.resource_tracker import main; import sys"
        child += "; print('chaospoint' in sys.modules)"
        subprocess.run([sys.executable, "-c", child], check=True)
    """
    done = python(folder, program)
    assert done.stdout == "False\n"


def test_a_function_of_the_script_that_ends_at_once_is_not_missed_in_silence(
    folder: Path,
) -> None:
    plan = {"placements": {"__main__:charge": "payment.charge"}, "rules": []}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "app.py").write_text("def charge(): return 'charged'\nprint(charge())")
    done = run(folder, sys.executable, "app.py")
    assert done.stdout == "charged\n"
    assert "placement '__main__:charge' of point 'payment.charge' was not placed" in done.stderr


def test_a_server_that_knows_nothing_answers_with_the_fault(folder: Path) -> None:
    """Under uvicorn, on a socket of the file system.

    Variable and file name exceptions of a module that is on the path only once uvicorn has begun.
    """
    plan = {**PLAN, "rules": ["payment.charge=raise(shop.Declined)"]}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "service").mkdir()
    (folder / "service" / "shop.py").write_text(
        dedent("""
        import calls
        class Declined(LookupError): pass
        class Lost(LookupError): pass
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": calls.attempt().encode()})
        """)
    )
    socket = folder / "s"
    words = [sys.executable, "-m", "uvicorn", "shop:app", "--uds", str(socket)]
    words += ["--app-dir", "service"]
    server = subprocess.Popen(
        command(*words, "--lifespan", "off"),
        cwd=folder,
        env=environ(folder, CHAOSPOINT_POINTS="payment.charge=raise(shop.Lost) [times=1]"),
        stderr=subprocess.PIPE,
        text=True,
    )
    too_late = threading.Timer(60, server.kill)
    too_late.start()
    said: list[str] = []
    try:
        with server, httpx.Client(transport=httpx.HTTPTransport(uds=str(socket))) as client:
            assert server.stderr is not None
            for line in server.stderr:
                said.append(line)
                if "running on" in line:
                    break
            answers = [client.get("http://shop/").text for _ in range(2)]
            server.terminate()
        assert answers == ["Lost", "Declined"], "".join(said)
        assert "refused" not in "".join(said)
        assert server.returncode in (0, -signal.SIGTERM)
    finally:
        server.kill()
        too_late.cancel()
