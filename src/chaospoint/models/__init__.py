"""What faults, rules and plans are made of; pydantic lives here, and the kernel never looks in.

The way in is `chaospoint.plan` and `chaospoint.faults`.
"""
