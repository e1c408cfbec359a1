"""Ends while a reply is under way, and prints first where the endpoint is."""

import atexit
import sys
import threading

from chaospoint import config
from chaospoint._kernel.injection import Injection
from chaospoint._registry.notices import Notice, Switched
from chaospoint._registry.registry import default_registry

under_way, ending = threading.Event(), threading.Event()


class Slow:
    """Keeps the reply to ``POST /v1/disable`` until the interpreter is ending."""

    def observe(self, injection: Injection) -> None:
        pass

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, Switched):
            under_way.set()
            ending.wait(10)
            threading.Event().wait(0.2)  # what ends the process is not to overtake it


default_registry().add_observer(Slow())
config.start(config.Settings(enabled=True, admin="127.0.0.1:0"))
atexit.register(ending.set)  # called first, for it was registered last
assert config._running is not None
assert config._running._server is not None
print(config._running._server.url, flush=True)
under_way.wait(10)
sys.exit()
