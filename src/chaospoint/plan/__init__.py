"""The language of plans: rules and plans, and how they are read and written."""

from chaospoint.plan.plan import Plan, load_plan, parse_plan, parse_rules
from chaospoint.plan.rule import Keys, Rule, RuleKeys

__all__ = [
    "Keys",
    "Plan",
    "Rule",
    "RuleKeys",
    "load_plan",
    "parse_plan",
    "parse_rules",
]
