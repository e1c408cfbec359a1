"""Fork repeatedly while three clients query the admin endpoint. Argument: a free port."""

import os
import sys
import threading
import urllib.request
import warnings

from prometheus_client import generate_latest

from chaospoint import config
from chaospoint._registry.registry import default_registry

# The clients are threads of this program; newer Pythons warn about threads at a fork.
warnings.filterwarnings("ignore", ".*multi-threaded")
sys.setswitchinterval(1e-5)
default_registry().point("db.query")
port = int(sys.argv[1])
stop = threading.Event()
answers: list[int] = []


def ask() -> None:
    while not stop.is_set():
        for path in ("/metrics", "/v1/status"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                answer.read()
                answers.append(answer.status)


config.start(config.Settings(enabled=True, admin=f"127.0.0.1:{port}"))
askers = [threading.Thread(target=ask) for _ in range(3)]
for asker in askers:
    asker.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        generate_latest()  # needs the lock that a thread of the parent might hold
        config.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for asker in askers:
    asker.join()
assert len(answers) > 20, len(answers)
assert set(answers) == {200}, set(answers)
config.stop()
print("fine")
