"""Print the URL of the endpoint, and exit while a response is still being sent."""

import atexit
import sys
import threading

from chaospoint import config
from chaospoint._kernel.injection import Injection
from chaospoint._registry.notices import Notice, Switched
from chaospoint._registry.registry import default_registry

under_way, ending = threading.Event(), threading.Event()


class Slow:
    """Delays the response to ``POST /v1/disable`` until the interpreter exits."""

    def observe(self, injection: Injection) -> None:
        pass

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, Switched):
            under_way.set()
            ending.wait(10)
            threading.Event().wait(0.2)  # so that the interpreter exits first


default_registry().add_observer(Slow())
config.start(config.Settings(enabled=True, admin="127.0.0.1:0"))
atexit.register(ending.set)  # called first, because it was registered last
assert config._running is not None
assert config._running._server is not None
print(config._running._server.url, flush=True)
under_way.wait(10)
sys.exit()
