"""Fault injection at named points of a program.

Importing the package starts no thread and loads neither pydantic, Prometheus, OpenTelemetry, wrapt
nor asyncio.  The modules that need them are loaded when a rule is armed or chaospoint starts.

PYTEST_DONT_REWRITE: without this word pytest warns if the package is imported before its plugin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaospoint import _environ
from chaospoint._kernel.point import Point
from chaospoint._lazy import lazy_names
from chaospoint._registry.registry import Registry, before_first_point, default_registry
from chaospoint.errors import ChaosError, InjectedFault

TYPE_CHECKING = False  # importing typing would take longer than the rest of this module
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
    """Return the chaos point with this name; create it if it does not exist.

    Decorate a function with it, enter it with ``with`` or ``async with``, or call its ``hit()``.
    The same name gives the same object. The call is a look-up: in hot code keep the Point in a
    module variable.

    ``description``: what the point stands for. ``labels`` and ``raises`` (the exceptions that the
    code there really raises) belong to one placement. If either is given, the result is a separate
    Point that carries them and shares everything else; it equals every other Point with the same
    name, labels and ``raises``.

    Raises `InvalidPoint` if the name does not consist of parts like ``payment.charge``, if
    ``labels`` is not a mapping with names as keys, or if ``raises`` holds anything but exception
    classes.

    If ``CHAOSPOINT_ENABLED`` is true, the first call starts chaospoint: when it returns, the rules
    of the environment and the plan file are armed. Thread-safe.
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


__getattr__, __dir__ = lazy_names(__name__, _LAZY)
