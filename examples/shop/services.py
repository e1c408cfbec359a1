"""The bank and the shop as two processes on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

HERE = Path(__file__).parent
START_SECONDS = 30.0  # the first start on a fresh machine compiles every library
STOP_SECONDS = 5.0


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Services:
    """Where the two processes answer and where they leave what they did."""

    directory: Path
    bank_url: str
    shop_url: str
    admin_url: str

    @property
    def plan(self) -> Path:
        return self.directory / "plan.yaml"


@contextmanager
def running(directory: Path) -> Iterator[Services]:
    """Start both services, wait until they answer, and end them however the block is left."""
    ports = free_ports(3)
    services = Services(directory, *(f"http://127.0.0.1:{port}" for port in ports))
    services.plan.write_text("rules: []\n", encoding="utf-8")
    settings = {
        "BANK_URL": services.bank_url,
        "DATABASE_URL": f"sqlite:///{directory / 'shop.db'}",
        "SPANS_FILE": str(directory / "spans.jsonl"),
        "CHAOSPOINT_ENABLED": "true",
        "CHAOSPOINT_ENVIRONMENT": "local",
        "CHAOSPOINT_ADMIN": f"127.0.0.1:{ports[2]}",
        "CHAOSPOINT_CONFIG": str(services.plan),
    }
    with (
        # The bank is a stranger's: it gets no setting of ours, so nothing can be armed in it.
        _process(directory, "bank", ports[0], {}, "bank:app") as bank,
        _process(directory, "shop", ports[1], settings, "--factory", "shop:create_app") as shop,
    ):
        _wait_until_it_answers("bank", bank, f"{services.bank_url}/health", directory)
        _wait_until_it_answers("shop", shop, f"{services.shop_url}/health", directory)
        _wait_until_it_answers("shop", shop, f"{services.admin_url}/v1/status", directory)
        yield services


@contextmanager
def _process(
    directory: Path, name: str, port: int, settings: dict[str, str], *app: str
) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CHAOSPOINT_")}
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), *app]
    command += ["--port", str(port), "--no-access-log", "--timeout-keep-alive", "60"]
    with (
        open(directory / f"{name}.jsonl", "wb") as lines,
        open(directory / f"{name}.log", "wb") as log,
        subprocess.Popen(
            command,
            env=inherited | settings,
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=log,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_it_answers(
    name: str, process: subprocess.Popen[bytes], url: str, directory: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(url, timeout=1).is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None:
            raise DemoError(f"the {name} ended at once:\n{_last_lines(directory / f'{name}.log')}")
        if time.monotonic() > deadline:
            raise DemoError(
                f"{url} did not answer within {START_SECONDS:g} s:\n"
                f"{_last_lines(directory / f'{name}.log')}"
            )
        time.sleep(0.05)


def _last_lines(log: Path, count: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody has."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def end_on_sigterm() -> list[int]:
    """Make SIGTERM end the program as Ctrl-C does; return the list in which it leaves its number.

    Ctrl-C is what asyncio knows how to unwind; an exit from within a handler may strike anywhere.
    """
    received: list[int] = []

    def end(number: int, _: object) -> None:
        received.append(number)
        signal.raise_signal(signal.SIGINT)

    # A shell that starts this in the background has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, end)
    return received
