"""What chaospoint costs, each figure measured beside its base in the same run.

``python -m benchmarks`` prints one table; ``--check`` fails where a budget is missed.  Nothing here
compares a figure with one that was taken at another time or on another machine.
"""
