"""Programs in processes of their own, for what may crash, hang or spoil the process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest

from arrax.runtime.buffer import Pool, pool

Run = Callable[..., str]


@pytest.fixture
def run() -> Run:
    """``run(source, *arguments, cache=folder, timeout=seconds)``: what a program prints; fails if the program does."""

    def call(source: str, *arguments: str, cache: object = None, timeout: float = 120) -> str:
        environment = dict(os.environ)
        if cache is not None:
            environment["ARRAX_CACHE"] = str(cache)
        command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(source), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return call


@pytest.fixture
def memory() -> Iterator[Pool]:
    """The pool of memory, its peak set back."""
    pool.peak = pool.active
    yield pool
