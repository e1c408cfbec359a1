"""The pydantic types of which faults, rules and plans are built; the kernel never imports them.

Other packages use them through `chaospoint.plan` and `chaospoint.faults`.
"""
