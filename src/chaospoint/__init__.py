"""Named chaos points: free when disarmed; exact, reproducible and seen when armed.

Importing this does nothing: it starts no thread and loads neither pydantic, Prometheus,
OpenTelemetry, wrapt nor asyncio.  What needs them is loaded when something is armed or started.

PYTEST_DONT_REWRITE: it may be imported before pytest, which would warn of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from chaospoint import _environ
from chaospoint._kernel.point import Point
from chaospoint._registry.registry import Registry, before_first_point, default_registry
from chaospoint.errors import ChaosError, InjectedFault

TYPE_CHECKING = False  # importing typing for it would cost more than all the rest
if TYPE_CHECKING:
    from chaospoint._kernel.injection import Injection, injection_of
    from chaospoint._registry.handle import Armed
    from chaospoint._version import __version__ as __version__
    from chaospoint.arming import arm, armed, disable, disarm, enable
    from chaospoint.config import start, stop
    from chaospoint.plan.plan import Plan
    from chaospoint.plan.rule import Rule

__all__ = [
    "Armed",
    "ChaosError",
    "InjectedFault",
    "Injection",
    "Plan",
    "Point",
    "Registry",
    "Rule",
    "arm",
    "armed",
    "disable",
    "disarm",
    "enable",
    "injection_of",
    "point",
    "start",
    "stop",
]

_LAZY = {
    "Armed": "_registry.handle",
    "Injection": "_kernel.injection",
    "Plan": "plan",
    "Rule": "plan",
    "__version__": "_version",
    "arm": "arming",
    "armed": "arming",
    "disable": "arming",
    "disarm": "arming",
    "enable": "arming",
    "injection_of": "_kernel.injection",
    "start": "config",
    "stop": "config",
}


def point(
    name: str,
    *,
    description: str = "",
    labels: Mapping[str, object] | None = None,
    raises: type[BaseException] | Sequence[type[BaseException]] = (),
    registry: Registry | None = None,
) -> Point:
    """Return the chaos point of this name, made if need be; always the same object.

    Decorate a function with it, enter it with ``with`` or ``async with``, or call its ``hit()``.
    This is a look-up: in hot code keep the Point in a module variable. ``description`` says in
    words what the point stands for. ``labels`` and ``raises`` (what this place really raises)
    belong to one placement: with them a light Point is returned that carries them and shares all
    else, and which equals every other of the same name, labels and ``raises``. Raises
    `InvalidPoint` for a name that is not made of parts like ``payment.charge``, for ``labels`` that
    are not a mapping of names, and for ``raises`` that are not classes of exceptions.

    Where ``CHAOSPOINT_ENABLED`` is true the first call starts chaospoint, and what environment
    and file say is armed when it returns. Safe from any thread.
    """
    if registry is None:
        registry = default_registry()
    return registry.point(name, description=description, labels=labels, raises=raises)


def _start_if_asked() -> None:
    if _environ.is_set():
        from chaospoint.config import start

        start()
    else:
        from chaospoint._environ import remind

        remind()


before_first_point(_start_if_asked)


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
