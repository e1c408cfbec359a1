"""The kinds of faults: frozen values that compile to effects on a call.

=========  ==========================  ===========================================
`Latency`  ``latency``                 the call is delayed
`Failure`  ``exception``               the call raises
`Return`   ``returns``,                the call is not made; the caller gets a value, or the
           ``returns_from``            result of a function that you give
`Hang`     ``hang``                    the call never returns, or raises after a time
`Call`     ``call``                    a function that you give runs
=========  ==========================  ===========================================

These have no short key: `Off` does nothing and keeps later rules from acting; `Burn` delays the
call and keeps the processor busy; `Print` logs a line; `Yield` lets other threads or tasks run;
`Pause` holds the call until a test releases it.
"""

from chaospoint.faults.base import FaultModel
from chaospoint.faults.call import Call
from chaospoint.faults.failpoints import Burn, Off, Pause, Print, Yield
from chaospoint.faults.failure import Failure
from chaospoint.faults.hang import Hang
from chaospoint.faults.latency import Latency
from chaospoint.faults.returns import Return
from chaospoint.models.durations import Duration

__all__ = [
    "Burn",
    "Call",
    "Duration",
    "Failure",
    "FaultModel",
    "Hang",
    "Latency",
    "Off",
    "Pause",
    "Print",
    "Return",
    "Yield",
]
