"""Measure what chaospoint costs.  Each figure is measured beside its base, in the same run.

``python -m benchmarks`` prints one table; ``--check`` fails if a figure misses its budget.  No
figure is compared with one from another time or another machine.
"""
