"""The work was done and the answer lost: a rule that acts after the call finds the double charge.

python examples/lost_answer.py
"""

import chaospoint

charged: list[str] = []
seen: set[str] = set()


@chaospoint.point("bank.transfer")
def transfer(order: str, key: str) -> str:
    if key not in seen:
        charged.append(order)
        seen.add(key)
    return f"charged {order}"


def pay(order: str, *, one_key: bool) -> str:
    for attempt in range(3):
        try:
            return transfer(order, order if one_key else f"{order}/{attempt}")
        except TimeoutError:
            continue
    return "given up"


for one_key in (False, True):
    charged.clear()
    with chaospoint.armed("bank.transfer", exception=TimeoutError, when="after", times=1):
        pay("A-1", one_key=one_key)
    print(f"a key for each {'order' if one_key else 'attempt'}: charged {len(charged)} times")
