"""A point on a function. While nothing is armed the function is just what it was.

python examples/decorate.py
"""

import chaospoint


@chaospoint.point("payment.charge")
def charge(cents: int) -> str:
    return f"charged {cents}"


class Inventory:
    @chaospoint.point("inventory.check")
    def left(self, item: str) -> int:
        return len(item)

    @classmethod
    @chaospoint.point("inventory.open")  # next to the function, inside @classmethod
    def open(cls) -> "Inventory":
        return cls()


print(charge(42))

with chaospoint.armed("payment.charge", exception=TimeoutError, times=1) as armed:
    try:
        charge(42)
    except TimeoutError as error:
        injection = chaospoint.injection_of(error)  # None, had it just happened
        print(f"failed: {type(error).__name__}, injected at {injection and injection.point}")
    print(charge(42))  # times=1: the second call goes through
print(f"injections: {armed.injections} of {armed.reaches} reaches")

with chaospoint.armed("inventory.*", returns=0):  # a glob; Inventory.open() would give 0 as well
    print(f"left: {Inventory().left('lamp')}")
print(f"left: {Inventory.open().left('lamp')}")
