"""``ARRAX_DEBUG``: what runs, and for how long.

1 prints a line for each kernel of each evaluation; 2 prints each kernel's IR as well, when it is made.
"""

from __future__ import annotations

import os
import sys
import time
from array import array
from typing import TYPE_CHECKING

from arrax.runtime import threads

if TYPE_CHECKING:
    from arrax.runtime.cpu import Bound

_chosen = os.environ.get("ARRAX_DEBUG", "0")
level = int(_chosen) if _chosen.isdigit() else 1

ROW = 32  # bytes of a task


def run(bound: Bound, table: array, owner: object) -> None:
    """Runs a plan task by task, on memory that the owner keeps."""
    address = table.buffer_info()[0]
    workers = threads.pool()
    every = bound.labels()
    for segment, labels in zip(bound.segments, every, strict=True):
        for i, label in enumerate(labels):
            start = time.perf_counter()
            if isinstance(segment, tuple):
                workers.run(workers.address, segment[0] + i * ROW, 1, address, 0)
            else:
                segment(table, owner)
            print(f"{(time.perf_counter() - start) * 1e6:10.1f} us  {label}", file=sys.stderr)
    print(f"{'':10}     {sum(map(len, every))} tasks, {bound.arena} bytes between them", file=sys.stderr)
