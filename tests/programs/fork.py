"""Fork while the poller and the admin endpoint run. Arguments: a free port, the plan file."""

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from chaospoint import config
from chaospoint._registry.registry import default_registry

port, plan = int(sys.argv[1]), sys.argv[2]
settings = config.Settings(enabled=True, admin=f"127.0.0.1:{port}")
registry = default_registry()
pause = threading.Event()
plain = 0.0  # seconds that a fork and the end of the child take before anything is started


@registry.point("payment.charge")
def charge() -> str:
    return "charged"


def status() -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=10) as answer:
        return json.load(answer)


def ours() -> list[str]:
    names = {thread.name for thread in threading.enumerate()}
    return sorted(names & {"chaospoint-poller", "chaospoint-admin"})


def listening() -> int:
    """Count the sockets of this process that listen on the port."""
    count = 0
    for fd in range(3, 100):
        try:
            with socket.socket(fileno=os.dup(fd)) as held:
                listens = held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                count += listens and held.getsockname()[1] == port
        except OSError:
            pass
    return count


def write(**keys: object) -> None:
    with open(plan + ".new", "w") as file:
        json.dump([{"point": "payment.charge", **keys}], file)
    os.replace(plan + ".new", plan)


def wait_for(text: str) -> None:
    until = time.monotonic() + 15
    while text not in registry.rules()[0].text:
        assert time.monotonic() < until, f"no reload within 15 s brought {text}"
        pause.wait(0.02)


def child(seed: int, began: float) -> None:
    assert time.monotonic() - began < 0.5 + 5 * plain, "a fork is quick"
    assert ours() == ["chaospoint-poller"], ours()
    assert listening() == 0, "the inherited socket is closed"
    try:
        charge()
    except KeyError:
        pass
    else:
        raise AssertionError("the rules of the file are armed in the child")
    write(exception="OSError", seed=seed)
    wait_for("OSError")
    config.stop()
    assert ours() == []
    assert charge() == "charged"
    write(exception="KeyError")


def fork(run: Any, *args: Any) -> int:
    pid = os.fork()
    if pid == 0:
        signal.alarm(50)  # nobody waits for it if this program fails
        try:
            run(*args)
        except BaseException as error:
            print("child:", repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return pid


def main() -> None:
    global plain
    began = time.monotonic()
    assert os.waitpid(fork(lambda: None), 0)[1] == 0
    plain = time.monotonic() - began
    config.start(settings.model_copy(update={"config": Path(plan)}))
    assert status()["pid"] == os.getpid()
    assert listening() == 1
    for seed in range(2):
        pid = fork(child, seed, time.monotonic())
        assert ours() == ["chaospoint-admin", "chaospoint-poller"], ours()
        assert status()["pid"] == os.getpid(), "the parent goes on answering"
        assert os.waitpid(pid, 0)[1] == 0
        wait_for("KeyError")
    config.stop()
    take_over()


def take_over() -> None:
    """After the parent stops serving, the port is free: the child closed what it inherited."""
    config.start(settings)
    reading, writing = os.pipe()
    waiting, ready = os.pipe()

    def take() -> None:
        os.write(ready, b"x")  # it has found the port taken
        os.read(reading, 1)
        config.stop()
        config.start(settings)
        assert status()["pid"] == os.getpid()

    pid = fork(take)
    os.read(waiting, 1)
    config.stop()
    assert listening() == 0
    config.start(settings)
    assert status()["pid"] == os.getpid(), "no child keeps the port"
    config.stop()
    os.write(writing, b"x")
    assert os.waitpid(pid, 0)[1] == 0


logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
main()
print("fine")
