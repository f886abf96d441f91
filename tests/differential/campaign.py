"""Random programs without end: ``python -m tests.differential.campaign --seed 0 --count 1000 --minutes 10``.

Each program is evaluated in all the ways of ``ways.py``; they are compared with each other and with the oracles. The
programs run in a process of their own, so that one that crashes or hangs is a failure like others. Failures are
minimised and printed as tests.
"""

from __future__ import annotations

import argparse
import os
import random
import selectors
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from tests.differential import checks, minimise
from tests.differential.operations import grow
from tests.differential.programs import Program
from tests.differential.ways import everything_compiled

SECONDS = 60  # that a program may take


def _setting(seed: int) -> AbstractContextManager[None]:
    """Small graphs are compiled like others, or as usual in every fourth program."""
    return everything_compiled() if seed % 4 else nullcontext()


def check(seed: int, *, mlx: bool = True, thorough: bool = True) -> tuple[Program | None, str]:
    """The program of a number and what is wrong with it."""
    try:
        program = grow(seed)
    except Exception:
        return None, f"growth: {traceback.format_exc(limit=-3)}"
    with _setting(seed):
        return program, checks.failure(program, checks.some_ways(seed, thorough=thorough), mlx=mlx)


def report(seed: int, *, mlx: bool = True, isolated: bool = False) -> str:
    """What is wrong with a program, and a test of it; empty if nothing is. A crash is looked for in a child."""
    program, problem = (grow(seed), "crash") if isolated else check(seed, mlx=mlx)
    if not problem or program is None:
        return problem

    ways = checks.some_ways(seed, thorough=True)

    def fails(candidate: Program) -> str:
        with _setting(seed):
            if isolated:
                return _in_child(candidate, ways)
            return checks.failure(candidate, ways, mlx=mlx)

    program, problem = minimise.reduced(program, fails, evaluating=not isolated)
    return minimise.as_test(program, problem, f"program_{seed}") if problem else ""


def _in_child(program: Program, ways: Sequence[str]) -> str:
    """Whether a program ends its process, or does not end."""
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        checks.failure(program, ways, mlx=False)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return f"crash: status {status}" if status else ""


def work(first: int, count: int, *, mlx: bool) -> None:
    """Reports on programs, on the standard output: which one begins, and what is wrong with it."""
    for seed in range(first, first + count):
        print(f"@ {seed}", flush=True)
        text = report(seed, mlx=mlx)
        if text:
            print(f"# program {seed}\n{text}\n", flush=True)


def drive(first: int, count: int, minutes: float, *, mlx: bool) -> int:
    """Runs programs in child processes; the number of failures."""
    failures, seed, end = 0, first, time.monotonic() + 60 * minutes
    while seed < first + count and time.monotonic() < end:
        options = ["--seed", str(seed), "--count", str(min(500, first + count - seed)), "--worker"]
        command = [sys.executable, "-m", "tests.differential.campaign", *options, *([] if mlx else ["--without-mlx"])]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        found, last, ended = _follow(child, end)
        failures += found
        if ended and last is not None and child.returncode:
            problem = report(last, mlx=False, isolated=True)
            failures += bool(problem)
            print(f"# program {last}: crashes or hangs ({child.returncode})\n{problem or 'MLX does'}", flush=True)
        seed = (last if last is not None else seed) + 1
    print(f"programs {first} to {seed - 1}: {failures} failures")
    return failures


def _follow(child: subprocess.Popen, end: float) -> tuple[int, int | None, bool]:
    """Prints what a child reports: its failures, the last program that it began, whether it ended by itself."""
    failures, last, buffer, began = 0, None, b"", time.monotonic()
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            ready = selector.select(5)
            part = os.read(child.stdout.fileno(), 1 << 16) if ready else b""
            if ready and not part:
                child.wait()
                return failures, last, True
            *lines, buffer = (buffer + part).split(b"\n")
            for line in lines:
                if line.startswith(b"@ "):
                    last, began = int(line[2:]), time.monotonic()
                else:
                    failures += line.startswith(b"# program")
                    print(line.decode(), flush=True)
            if time.monotonic() - began > 4 * SECONDS or time.monotonic() > end:
                hangs = time.monotonic() <= end
                child.kill()
                child.wait()
                return failures, last, hangs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30), help="the first program")
    parser.add_argument("--count", type=int, default=1000, help="how many programs")
    parser.add_argument("--minutes", type=float, default=60, help="how long at most")
    parser.add_argument("--without-mlx", action="store_true", help="compare the ways with each other and NumPy only")
    parser.add_argument("--show", action="store_true", help="print the first program")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    mlx = not options.without_mlx
    if options.show:
        print(grow(options.seed).source())
        return 0
    if options.worker:
        work(options.seed, options.count, mlx=mlx)
        return 0
    return 1 if drive(options.seed, options.count, options.minutes, mlx=mlx) else 0


if __name__ == "__main__":
    sys.exit(main())
