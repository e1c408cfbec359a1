"""Stage a race without sleeping: a pause holds one thread while another comes in between.

python examples/race.py
"""

from threading import Lock, Thread

import chaospoint

BETWEEN = chaospoint.point("stock.take", labels={"step": "read"})
stock = {"apples": 1}
lock = Lock()


def take(*, locked: bool) -> bool:
    if locked:
        with lock:
            return take(locked=False)
    if stock["apples"] == 0:
        return False
    BETWEEN.hit()
    stock["apples"] -= 1
    return True


for locked in (False, True):
    stock["apples"] = 1
    rule = chaospoint.Rule.parse("stock.take=1*pause")
    with chaospoint.armed(rule) as armed:
        first = Thread(target=take, kwargs={"locked": locked})
        second = Thread(target=take, kwargs={"locked": locked})
        first.start()
        armed.wait_until_paused()
        second.start()
        if not locked:
            second.join()
        armed.release()
        first.join()
        second.join()
    print(f"{'with' if locked else 'without'} a lock: {stock['apples']} apples")
