"""The real command, in a process of its own, beside real services."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from time import monotonic

import pytest
from helpers import PATIENCE, SOURCE, python, rest_in_ci

from chaospoint.stores import open_store
from chaospoint.stores.store import Worker

pytestmark = pytest.mark.once

PROGRAM = Path(__file__).parents[1] / "programs" / "controlled.py"
CLI = (sys.executable, "-m", "chaospoint")


def _environment(**variables: str) -> dict[str, str]:
    path = ":".join([str(SOURCE), *filter(None, sys.path)])
    return {"PYTHONPATH": path, "PATH": os.environ["PATH"], **variables}


def chaospoint(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, *arguments],
        env=_environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Service:
    """A process that runs the program."""

    def __init__(self, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            env=_environment(
                CHAOSPOINT_ENABLED="true", CHAOSPOINT_ADMIN="127.0.0.1:0", **variables
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def charge(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("charge\n")
        self.process.stdin.flush()
        return self.line()


@pytest.fixture
def start() -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def start(**variables: str) -> Service:
        started.append(Service(**variables))
        assert started[-1].line() == "ready"
        return started[-1]

    yield start
    for service in started:
        service.process.communicate(timeout=PATIENCE)


def _admins(store: str, count: int) -> list[str]:
    """Return where the workers serve, once so many have told."""
    until = monotonic() + PATIENCE
    while monotonic() < until:
        told = [worker.admin for worker in open_store(store).workers() if worker.admin]
        if len(told) == count:
            return told
    raise AssertionError("they never told")


def test_two_services_of_one_store_are_reached_with_and_without_a_server(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    store = directory.as_uri()
    services = [start(CHAOSPOINT_STORE=store) for _ in range(2)]
    urls = _admins(store, 2)

    done = chaospoint("arm", "payment.charge=raise(TimeoutError)", "--url", urls[0])
    assert "in force in 2 of 2 workers" in done.stdout, done.stderr
    assert [service.charge() for service in services] == ["timed out", "timed out"]

    done = chaospoint("disable", CHAOSPOINT_STORE=store)
    assert "disabled, in force in 2 of 2 workers" in done.stdout, done.stderr
    assert [service.charge() for service in services] == ["charged", "charged"]
    status = json.loads(chaospoint("status", "--json", "--url", urls[1]).stdout)
    assert status["enabled"] is False


def test_what_no_process_can_arm_is_exit_code_4_with_each_pid(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    service = start(CHAOSPOINT_STORE=directory.as_uri())
    done = chaospoint("arm", "payment.charge=raise(no.such.Error)", "--store", directory.as_uri())
    assert done.returncode == 4
    assert f"pid {service.process.pid} has not applied the change: " in done.stderr
    assert "no.such.Error" in done.stderr


def test_ctrl_c_ends_watching(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    watching = subprocess.Popen(
        [*CLI, "watch", "--json", "--store", directory.as_uri()],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["status"]["enabled"] is True
    watching.send_signal(signal.SIGINT)
    _, stderr = watching.communicate(timeout=PATIENCE)
    assert (watching.returncode, stderr) == (0, "")


def _status_into(stdout: int, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    return subprocess.run(
        [*CLI, "status", "--store", directory.as_uri(), *options],
        env=_environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path, options: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = _status_into(writing, tmp_path, *options)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_full_disk_is_no_traceback(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = _status_into(full, tmp_path)
    os.close(full)
    assert done.returncode != 0
    assert done.stderr.startswith("chaospoint: cannot write the result: No space left")
    assert "Traceback" not in done.stderr


def test_a_program_is_run_with_chaospoint_in_it(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("rules: [{point: a.b, rule: raise(KeyError)}]")
    program = "import chaospoint, sys; print(sys.argv[1:]); chaospoint.point('a.b').hit()"
    command = ("run", "--plan", str(plan), sys.executable, "-c", program, "--plan", "x")
    done = chaospoint(*command)
    assert done.stdout == "['--plan', 'x']\n", "the options behind the command are its own"
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("(armed by file)")
    plan.write_text("rules: 3")
    done = chaospoint("run", "--plan", str(plan), "--", sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == (1, "")
    assert "rules" in done.stderr


@pytest.mark.parametrize("missing", ["typer", "rich", "httpx"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    program = f"""
        import sys
        sys.modules[{missing!r}] = None
        from chaospoint.cli import main
        try:
            main()
        except SystemExit as end:
            print(end.code)
    """
    program = f"import sys; sys.argv = ['chaospoint', 'status']\n{dedent(program)}"
    done = python(program)
    assert done.stdout == "2\n"
    assert done.stderr == (
        f"chaospoint: this command needs {missing}, which is not installed: "
        "pip install 'chaospoint[cli]'\n"
    )


_BARE = """
    import sys
    sys.modules.update(dict.fromkeys(("typer", "rich", "httpx", "click")))
    sys.argv = ["chaospoint", *{arguments!r}]
    from chaospoint.cli import main
    main()
"""


def bare(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call the command line where the extra is not installed."""
    return subprocess.run(
        [sys.executable, "-c", dedent(_BARE.format(arguments=arguments))],
        env=_environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_extra_a_program_is_run_all_the_same(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("rules: [{point: a.b, rule: raise(KeyError)}]")
    program = "import chaospoint, sys; print(sys.argv[1:]); chaospoint.point('a.b').hit()"
    for options in (["--plan", str(plan)], [f"--plan={plan}", "--"]):
        done = bare("run", *options, sys.executable, "-c", program, "--plan", "x")
        assert (done.returncode, done.stdout) == (1, "['--plan', 'x']\n")
        assert done.stderr.rstrip().endswith("(armed by file)")
    plan.write_text("rules: 3")
    done = bare("run", "--plan", str(plan), "--", sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("chaospoint: ")
    assert "rules" in done.stderr
    for odd in (["run"], ["run", "--plan"], ["run", "--oops", "x"]):
        done = bare(*odd)
        assert (done.returncode, done.stdout) == (2, "")
        assert "pip install 'chaospoint[cli]'" in done.stderr


def test_without_the_extra_disable_works_and_says_why_it_does_not(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    store = directory.as_uri()
    start(CHAOSPOINT_STORE=store, CHAOSPOINT_ADMIN_TOKEN="s3cret")
    (url,) = _admins(store, 1)

    done = bare("disable", "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "set CHAOSPOINT_ADMIN_TOKEN in this shell to the token of the service" in done.stderr
    done = bare("disable", "--url", url, "--json")
    assert (done.returncode, json.loads(done.stdout)["status"]) == (1, 401)
    done = bare("disable", "--url", url, CHAOSPOINT_ADMIN_TOKEN="s3cret")
    assert (done.returncode, done.stdout[:8]) == (0, "disabled"), done.stderr
    done = bare("disable", "--store", store, "--json", "--reason", "it burns")
    assert (done.returncode, json.loads(done.stdout)["reason"]) == (0, "it burns"), done.stderr
    (directory / "desired.json").write_text("{")  # which nobody can read
    done = bare("disable", "--store", store)
    assert (done.returncode, done.stdout[:8]) == (0, "disabled"), done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["--url", "http://127.0.0.1:1"],
            3,
            "no chaospoint admin endpoint at http://127.0.0.1:1 (",
        ),
        (["--url", "ftp://x"], 2, "'ftp://x' is not an address; write it as http://127.0.0.1:8475"),
        (["--url", "http://x:y"], 3, "no chaospoint admin endpoint at http://x:y ("),
        (["--store", "file:///not/there"], 3, "the directory does not exist"),
        (["--store", "what://x"], 1, "what"),
        (["--stroe", "x"], 2, "pip install 'chaospoint[cli]'"),
    ],
)
def test_without_the_extra_disable_says_what_is_wrong(
    arguments: list[str], code: int, said: str
) -> None:
    done = bare("disable", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_library_loads_nothing_of_the_command_line() -> None:
    program = """
        import sys, chaospoint
        from chaospoint.sources.settings import Settings
        chaospoint.start(Settings(enabled=True, points="a.b=off", admin="127.0.0.1:0"))
        extra = {"typer", "rich", "httpx", "chaospoint.cli"}
        print(sorted(extra.intersection(sys.modules)))
    """
    assert python(program).stdout == "[]\n"


def test_text_that_the_terminal_cannot_write_is_escaped(tmp_path: Path) -> None:
    plan = tmp_path / "plan-\u20ac.yaml"
    plan.write_text("rules: []")
    done = chaospoint("validate", str(plan), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "plan-\\u20ac.yaml: 0 rules, valid" in done.stdout


# The panic button


_DISABLE = """
    import sys
    sys.argv = ["chaospoint", *{arguments!r}]
    from chaospoint.cli import main
    try:
        main()
    except SystemExit as end:
        code = end.code
    slow = {{"pydantic", "typer", "rich", "httpx", "prometheus_client", "asyncio"}}
    print(code, sorted(slow & {{*sys.modules}}))
"""


def disable(*arguments: str, **variables: str) -> list[str]:
    """Return the lines that the command prints, then its code and which slow modules it loaded."""
    program = _DISABLE.format(arguments=["disable", *arguments])
    return python(program, **variables).stdout.splitlines()


@pytest.mark.parametrize(
    "how",
    rest_in_ci(
        ["--store", "--url", "CHAOSPOINT_STORE", "CHAOSPOINT_URL"], "--url", "CHAOSPOINT_STORE"
    ),
)
def test_disable_takes_the_standard_library_alone(
    how: str, start: Callable[..., Service], tmp_path: Path
) -> None:
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    service = start(CHAOSPOINT_STORE=directory.as_uri())
    (url,) = _admins(directory.as_uri(), 1)
    chaospoint("arm", "payment.charge=raise(TimeoutError)", "--url", url)
    assert service.charge() == "timed out"

    place = directory.as_uri() if "STORE" in how.upper() else url
    asked = [how, place] if how.startswith("--") else []
    variables = {} if asked else {how: place}
    lines = disable(*asked, "--reason", "it burns", **variables)
    assert lines[0].startswith("disabled, in force in 1 of 1 workers, generation ")
    assert lines[1:] == ["0 []"]
    assert service.charge() == "charged"
    status = json.loads(chaospoint("status", "--json", "--url", url).stdout)
    assert (status["enabled"], status["reason"]) == (False, "it burns")
    audit = [json.loads(line) for line in (directory / "audit.jsonl").read_text().splitlines()]
    assert audit[-1]["reason"] == "it burns"
    assert audit[-1]["what"] in ("disable", "POST /v1/disable")


def test_what_is_out_of_the_ordinary_is_disabled_the_usual_way(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    (store / "desired.json").touch(0o600)  # which nobody can read
    (said, ended) = disable("--store", store.as_uri())
    assert said.startswith("disabled, in force in 0 of 0 workers")
    assert ended.startswith("0 ['asyncio', 'httpx', 'pydantic'")
    assert open_store(store.as_uri()).read().enabled is False
    (ended,) = disable("--url", "http://127.0.0.1:1")
    assert ended.startswith("3 [")
    (ended,) = disable("--stroe", "x")
    assert ended.startswith("2 [")


def test_disable_says_which_worker_does_not_run_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    opened = open_store(store.as_uri())
    opened.report(Worker("a", 7, generation=1000, refusal="it is \x1b[31mstuck"))
    done = chaospoint("disable", "--store", store.as_uri())
    opened.leave("a")
    assert (done.returncode, done.stdout) == (
        4,
        "disabled, in force in 0 of 1 workers, generation 1001\n",
    )
    assert done.stderr == "chaospoint: pid 7 has not applied the change: it is \\x1b[31mstuck\n"


def test_disable_takes_a_fraction_of_the_processor_time_of_another_command(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o700)

    def cost(*command: str) -> float:
        """Return the least of a few runs, in seconds of processor time."""
        spent = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert chaospoint(*command, "--store", store.as_uri()).returncode == 0
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(spent)

    assert cost("disable") < cost("enable") / 2
