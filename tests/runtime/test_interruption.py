"""Ctrl-C, fork and the interpreter's end."""

from __future__ import annotations

import pytest
from tests.runtime.conftest import Run

INTERRUPT = """
    import os, signal, sys, threading, time
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins by ignoring it
    import numpy as np
    import arrax.core as mx

    x = mx.random.normal((1000, 1000))
    mx.eval(x)
    interrupted = 0
    for delay in [0.001, 0.004, 0.01, 0.02, 0.04, 0.08] * 3:
        y = x
        for i in range(40):
            y = mx.sin(y) * (1.0 + i)
        z = mx.sort(y, axis=0).sum()
        w = mx.tanh(z * 1e-6)
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            mx.eval(w, z, y)
            time.sleep(60)
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        again = mx.sort(y, axis=0).sum()
        assert np.isfinite(np.array(y)).all()
        assert z.item() == again.item()
        # alone it is so small that NumPy computes it: within the stated 3 ulp of the kernel's
        assert abs(w.item() - mx.tanh(z * 1e-6).item()) <= 4 * 2**-24
    print(interrupted)
"""


def test_an_interrupted_evaluation_leaves_arrays_evaluable(run: Run) -> None:
    assert run(INTERRUPT) == "18\n"


def test_an_interrupted_program_ends(run: Run) -> None:
    source = """
        import os, signal, threading
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import arrax.core as mx
        x = mx.random.normal((1000, 1000))
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            while True:
                mx.eval(mx.sin(x) @ x)
        except KeyboardInterrupt:
            print("interrupted")
    """
    assert run(source, timeout=30) == "interrupted\n"


FORK = """
    import os, signal, sys, threading
    import numpy as np
    import arrax.core as mx

    x = mx.random.normal((500, 500))
    mx.eval(x)
    total = (x * 2).sum().item()
    pending = mx.exp(x * 0.1).sum()
    running = len(sys.argv) > 1

    def busy():
        k = 0
        while running:
            k += 1
            mx.eval(mx.sin(x[: 100 + k % 400] * float(k)).sum())

    worker = threading.Thread(target=busy, daemon=True)
    if running:
        worker.start()
    for i in range(20):
        child = os.fork()
        if not child:
            signal.alarm(20)
            good = (x * 2).sum().item() == total  # a plan from before the fork
            good &= bool(np.isfinite(mx.cos(x[i:] + pending).sum().item()))  # one made after it
            os._exit(0 if good else 1)
        assert os.waitpid(child, 0)[1] == 0, i
    running = False
    assert (x * 2).sum().item() == total
    print("parent too")
"""


def test_fork_after_use(run: Run) -> None:
    """The child has threads of its own; the parent keeps its."""
    assert run(FORK) == "parent too\n"


def test_fork_while_another_thread_evaluates(run: Run) -> None:
    """The child must not wait for a lock whose holder exists in the parent only."""
    assert run(FORK, "busy") == "parent too\n"


def test_a_pool_of_processes(run: Run) -> None:
    source = """
        import multiprocessing
        import arrax.core as mx

        def work(i):
            return (mx.arange(1000) * i).sum().item()

        mx.eval(mx.arange(1000) * 3)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(work, range(8)) == [499500 * i for i in range(8)]
        print("done")
    """
    assert run(source, timeout=60) == "done\n"


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "mx.eval(mx.sin(x) @ x)", "os.kill(os.getpid(), 0)"])
def test_the_interpreter_ends_while_a_thread_evaluates(run: Run, end: str) -> None:
    source = f"""
        import os, sys, threading, time
        import arrax.core as mx

        x = mx.random.normal((700, 700))
        mx.eval(x)

        def busy():
            while True:
                mx.eval(mx.sin(x) @ x, mx.sort(x), x.sum())

        threading.Thread(target=busy, daemon=True).start()
        time.sleep(0.2)
        print("end", flush=True)
        {end}
    """
    assert run(source, timeout=30) == "end\n"


def test_evaluation_while_the_interpreter_ends(run: Run) -> None:
    """What runs after the pool has stopped runs on its caller."""
    source = """
        import atexit
        atexit.register(lambda: print(mx.sin(x * 2).sum().item() < 1e9))
        import arrax.core as mx

        x = mx.random.normal((1000, 1000))
        mx.eval(x)
    """
    assert run(source, timeout=30) == "True\n"
