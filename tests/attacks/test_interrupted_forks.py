"""A signal handler raises in the middle of a fork, which Python swallows: the next fork returns."""

from __future__ import annotations

import os
import sys

import pytest
from helpers import python

needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "win32", reason="this system does not fork"
)


@needs_fork
def test_forks_return_after_handlers_that_raised_in_them() -> None:
    python(
        """
        import os, signal, sys, threading
        import chaospoint

        point = chaospoint.point("a.b")
        handle = chaospoint.arm("a.b", exception=TimeoutError)
        swallowed = []
        sys.unraisablehook = swallowed.append

        def alarm(*_):
            raise TimeoutError("too slow")

        signal.signal(signal.SIGALRM, alarm)

        def fork():
            if (pid := os.fork()) == 0:
                try:
                    point.hit()
                except TimeoutError:
                    os._exit(0)  # its rules act
                os._exit(1)
            _, status = os.waitpid(pid, 0)
            return status

        before, me = 0, os.getpid()
        for n in range(10_000):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.00002 * (n % 20 + 1))
                    fork()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except (TimeoutError, ChildProcessError):
                pass
            if os.getpid() != me:
                os._exit(0)  # the handler raised where the child began
            if len(swallowed) > before:
                before = len(swallowed)
                assert fork() == 0
                other = threading.Thread(target=chaospoint.disarm, args=("c.d",), daemon=True)
                other.start()
                other.join(30)
                assert not other.is_alive(), "another thread cannot disarm"
            if before == 20:
                break
        assert before == 20, before
        handle.disarm()
        point.hit()
        os._exit(0)
        """,
        "-W",
        "ignore::DeprecationWarning",
    )


@needs_fork
def test_a_child_forked_in_c_is_renewed_whatever_its_parent_held() -> None:
    """There Python calls no hooks, and the thread that holds a lock does not exist."""
    python(
        """
        import ctypes, os, signal, threading
        import chaospoint
        from chaospoint._kernel import fork
        from chaospoint._kernel.lock import arming_lock

        registry = chaospoint.Registry.default()
        function = chaospoint.point("a.b")(lambda: "plain")
        handle = chaospoint.arm("a.b", returns="chaos", probability=0.5, max_active=3)
        while handle.injections < 5:
            function()
        seed = handle.rules[0].seed
        held, may_end = threading.Event(), threading.Event()

        def hold():
            with arming_lock, registry.engine.housekeeper._lock, handle.rules[0].tally._lock:
                held.set()
                may_end.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(60)
        pid = ctypes.PyDLL(None).fork()  # keeps the interpreter, and calls no hook
        if pid == 0:
            code = 1
            try:
                signal.alarm(30)
                fork.begin_anew()
                rule, = registry.rules()
                assert (rule.reaches, rule.injections) == (0, 0)
                assert rule.seed != seed
                while rule.injections < 3:
                    function()
                chaospoint.disarm()
                assert function() == "plain"
                with chaospoint.armed("a.b", returns="again", expires_after="1h"):
                    assert function() == "again"
                chaospoint.disable()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        may_end.set()
        thread.join(60)
        assert status == 0, status
        assert registry.enabled
        os._exit(0)
        """,
        "-W",
        "ignore::DeprecationWarning",
    )
