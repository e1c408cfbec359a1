"""Count injections of two processes in one directory; a scrape returns the sum."""

import os

import chaospoint
from chaospoint.control.http import Request
from chaospoint.control.service import Service
from chaospoint.sources.settings import Settings


@chaospoint.point("payment.charge")
def charge() -> str:
    return "charged"


service = Service.of(Settings(enabled=True))
chaospoint.arm("payment.charge", returns="free")
pid = os.fork()
charge()
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
answer = service.answer(Request("GET", "/metrics", {"host": "localhost"}, client="127.0.0.1"))
print(answer.body.decode())
