"""The kinds of faults: what a caller suffers, as frozen values that compile to effects.

=========  ==========================  ===========================================
`Latency`  ``latency``                 the call is delayed
`Failure`  ``exception``               the call raises
`Return`   ``returns``,                the call is not made, the caller gets a value, or what a
           ``returns_from``            function of your own makes for it
`Hang`     ``hang``                    the call does not come back, or too late
`Call`     ``call``                    a function of your own runs
=========  ==========================  ===========================================

Without a short key: `Off` ends the search and does nothing; `Burn` delays by keeping the
processor busy; `Print` logs; `Yield` gives up the turn; `Pause` holds until released.
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
