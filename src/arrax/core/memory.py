"""How much memory is used, and bounds on it; all in bytes.

What counts are the blocks that Arrax has from the system: those of evaluated arrays (copies of NumPy's included), of
results on the way, and those that are kept for later. Blocks have one of a number of sizes, so that an array of a
million float32 counts as 4194304 bytes. What is not counted: memory of others (files mapped into memory, arrays taken
over without a copy), NumPy's own temporaries, OpenBLAS' buffers, compiled code and plans.
"""

from __future__ import annotations

import operator
from typing import Any

from arrax.graph.errors import bounded
from arrax.graph.handle import shown
from arrax.prims.leaf import const
from arrax.runtime.buffer import pool
from arrax.transforms.trees import arrays


def _limit(op: str, limit: Any) -> int:
    try:
        value = operator.index(limit)
    except TypeError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise TypeError(f"[{op}] expected a number of bytes as a limit, got {shown(limit)}: pass an int of at least 0")
    return value


def get_active_memory() -> int:
    """Bytes in use now: what arrays hold, and what plans keep for their next evaluation."""
    return pool.active


def get_peak_memory() -> int:
    """The most bytes that were in use at once since the start or ``reset_peak_memory``."""
    return pool.peak


def reset_peak_memory() -> None:
    """Lets the peak start again from 0."""
    pool.peak = 0


def get_cache_memory() -> int:
    """Bytes that are free and kept for arrays to come."""
    return pool.cached


def set_cache_limit(limit: int) -> int:
    """Bounds the bytes kept for arrays to come; what is above goes back to the system at once. 0 keeps nothing.

    Returns:
        The former bound.

    Raises:
        TypeError: if ``limit`` is no integer from 0 to 2^64 - 1.
    """
    former, pool.limit = pool.limit, _limit("set_cache_limit", limit)
    pool.trim(pool.limit)
    return former


def clear_cache() -> None:
    """Gives the bytes kept for arrays to come back to the system."""
    pool.clear()


def get_memory_limit() -> int:
    """The bound on all memory."""
    return pool.total


def set_memory_limit(limit: int) -> int:
    """Sets the bound on the bytes in use and kept together, four fifths of the machine's memory unless it is set.

    It is a guideline: above it free blocks go back to the system instead of being kept, but arrays that need more are
    still evaluated, as long as the system has memory.

    Returns:
        The former bound.

    Raises:
        TypeError: if ``limit`` is no integer from 0 to 2^64 - 1.
    """
    former, pool.total = pool.total, _limit("set_memory_limit", limit)
    pool.trim(max(pool.total - pool.active, 0))
    return former


def set_wired_limit(limit: int) -> int:
    """Bounds memory that stays resident, which only a GPU has: nothing changes.

    Returns:
        0.

    Raises:
        TypeError: if ``limit`` is no integer from 0 to 2^64 - 1.
    """
    _limit("set_wired_limit", limit)
    return 0


def get_array_buffer_size(*args: Any) -> int:
    """The bytes that arrays, or trees of them, hold in memory; memory that several of them share counts once.

    Blocks count as a whole, also where an array fills only part of one. What is no array is ignored.

    Raises:
        ValueError: if an array has not been evaluated.

    >>> import arrax.core as mx
    >>> x = mx.zeros((1024,))
    >>> mx.eval(x)
    >>> mx.get_array_buffer_size(x, [x])
    4096
    """
    sizes: dict[int, int] = {}
    for x in bounded("get_array_buffer_size", arrays, list(args)):
        node = x._node
        if node.buffer is not None:
            sizes[node.buffer.ptr] = max(node.buffer.capacity, node.size * node.dtype.size)
        elif node.prim is const:
            sizes[id(node)] = node.dtype.size
        else:
            raise ValueError("[get_array_buffer_size] expected evaluated arrays, got one that is not: call eval first")
    return sum(sizes.values())
