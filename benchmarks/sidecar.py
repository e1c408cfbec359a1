"""A stub of the sidecar that failureflags asks at every call.  It always gives the same answer.

Like the real one, it is a separate process, so that it does not share our interpreter.  It listens
on loopback at a free port, which it prints, and ends when its input ends.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ["sidecar"]


@contextmanager
def sidecar(answer: str) -> Iterator[str]:
    """Serve ``answer``, a JSON text, and yield the URL."""
    process = subprocess.Popen(
        [sys.executable, __file__, answer],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield f"http://127.0.0.1:{port}/experiment"
        finally:
            process.terminate()


def _serve(answer: str) -> None:
    body = answer.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1])
