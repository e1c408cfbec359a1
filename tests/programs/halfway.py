"""Start chaospoint with the first point of a module, and wait for its threads during the import.

Environment: the variables of chaospoint, and ``TEXTS``, a JSON list of texts for the plan file.
"""

import json
import os
import sys
import threading
import urllib.error
import urllib.request

import chaospoint
from chaospoint._registry.registry import default_registry

plan, base = os.environ["CHAOSPOINT_CONFIG"], f"http://{os.environ['CHAOSPOINT_ADMIN']}"


@chaospoint.point("payment.charge")
def charge() -> str:
    return "charged"


class Waking:
    def __init__(self) -> None:
        self.reloaded = threading.Event()

    def observe(self, injection: object) -> None:
        pass

    def notice(self, notice: object) -> None:
        if type(notice).__name__ == "Reloaded":
            self.reloaded.set()


def ask(method: str, path: str, body: str | None = None) -> int:
    request = urllib.request.Request(base + path, method=method, data=body and body.encode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


PUT = [
    ('{"exception": "KeyError"}', 200),
    ('{"exception": "halfway.Nothing"}', 422),
    ('{"latnecy": 1}', 422),
    ("{", 400),
]
REST = [
    ("GET", "/v1/status", 200),
    ("GET", "/v1/points", 200),
    ("GET", "/metrics", 200),
    ("GET", "/v1/points/payment.charg", 404),
    ("POST", "/v1/disable", 200),
    ("POST", "/v1/enable", 200),
    ("DELETE", "/v1/points", 200),
    ("GET", "/nowhere", 404),
    ("BREW", "/nowhere", 501),
]

waking = Waking()
default_registry().add_observer(waking)
before = set(sys.modules)
for body, status in PUT:
    assert ask("PUT", "/v1/points/payment.charge", body) == status, body
for method, path, status in REST:
    assert ask(method, path) == status, (method, path)
for text in json.loads(os.environ["TEXTS"]):
    waking.reloaded.clear()
    with open(plan + ".new", "w") as file:
        file.write(text)
    os.replace(plan + ".new", plan)
    assert waking.reloaded.wait(10), text
print("imported late:", sorted(set(sys.modules) - before))
