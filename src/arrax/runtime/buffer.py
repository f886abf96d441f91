"""Memory: a bounded pool of aligned blocks.

Fresh pages are dear (each costs a page fault and a zeroing), so freed blocks are kept for the next array of their size
class. Classes are powers of two in eight steps each, so that at most an eighth of a block is unused.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Any

import numpy as np

from arrax.graph.dtypes import Dtype, bfloat16, from_numpy, uint8
from arrax.graph.node import Exposed, Node, Shape

ALIGNMENT = 64
SLACK = 2 * ALIGNMENT  # behind each block: strided reads may load (and drop) a few elements past an array's end
_SMALLEST = 64


class Buffer:
    """A block of memory. Freed blocks go back to the pool.

    Attributes:
        ptr: the address.
        capacity: usable bytes; 0 where the memory is somebody else's.
        owner: what keeps the memory alive.
    """

    __slots__ = ("__weakref__", "capacity", "owner", "ptr")

    def __init__(self, ptr: int, capacity: int, owner: Any) -> None:
        self.ptr = ptr
        self.capacity = capacity
        self.owner = owner

    def __del__(self) -> None:
        if self.capacity and pool is not None:  # None: the interpreter is ending
            pool.give_back(self.ptr, self.capacity, self.owner)


def size_class(nbytes: int) -> int:
    """The size of the blocks that hold so many bytes."""
    if nbytes <= _SMALLEST:
        return _SMALLEST
    step = 1 << max((nbytes - 1).bit_length() - 4, 6)
    return (nbytes + step - 1) // step * step


class Pool:
    """Free blocks by size, bounded by ``limit`` bytes altogether; the oldest sizes go first when it is exceeded.

    Attributes:
        limit: bytes of free blocks that are kept at most.
        total: bytes of all blocks above which free ones are given up for new ones.
        active, cached, peak: bytes of blocks in use, of free ones, and the most that were in use at once.
    """

    def __init__(self, limit: int, total: int = 1 << 62) -> None:
        self.limit = limit
        self.total = total
        self.cached = 0
        self.active = 0
        self.peak = 0
        self._free: dict[int, list[tuple[int, Any]]] = {}
        self.lock = threading.RLock()

    def allocate(self, nbytes: int) -> Buffer:
        """A block of at least that many bytes, its content undefined. Raises MemoryError where there is none."""
        return self.take(size_class(nbytes))

    def take(self, size: int) -> Buffer:
        """Likewise for a size that is a class."""
        with self.lock:
            free = self._free.get(size)
            if free:
                self.cached -= size
                self.active = active = self.active + size
                if active > self.peak:
                    self.peak = active
                ptr, owner = free.pop()
                return Buffer(ptr, size, owner)
        if self.active + self.cached + size > self.total:
            self.trim(max(self.total - self.active - size, 0))
        try:
            owner = np.empty(size + SLACK, np.uint8)
        except (MemoryError, ValueError, OverflowError):  # also for sizes that no computer has
            self.clear()
            try:
                owner = np.empty(size + SLACK, np.uint8)
            except (MemoryError, ValueError, OverflowError):
                raise MemoryError(
                    f"[eval] expected {size} bytes of free memory, the system has none, free some"
                ) from None
        base = owner.__array_interface__["data"][0]
        with self.lock:
            self.active += size
            self.peak = max(self.peak, self.active)
        return Buffer(-(-base // ALIGNMENT) * ALIGNMENT, size, owner)

    def give_back(self, ptr: int, size: int, owner: Any) -> None:
        with self.lock:
            self.active -= size
            if size > self.limit:
                return
            free = self._free.get(size)
            if free is None:
                free = self._free[size] = []
            free.append((ptr, owner))
            self.cached += size
            if self.cached > self.limit:
                self.trim(self.limit)

    def trim(self, most: int) -> None:
        """Gives free blocks back to the system until there are at most so many bytes of them."""
        with self.lock:
            while self.cached > most:
                oldest = next(s for s, blocks in self._free.items() if blocks)
                self._free[oldest].pop(0)
                self.cached -= oldest
                if not self._free[oldest]:
                    del self._free[oldest]

    def clear(self) -> None:
        """Gives all free blocks back to the system."""
        with self.lock:
            self._free.clear()
            self.cached = 0


def _physical() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 36


pool = Pool(1 << 31, _physical() * 4 // 5)


class _Interface:
    """NumPy's way to memory that it does not own; keeps the buffer alive for as long as a view of it lives."""

    __slots__ = ("__array_interface__", "buffer")

    def __init__(
        self, buffer: Buffer, shape: Shape, typestr: str, writable: bool, offset: int, strides: tuple[int, ...] | None
    ) -> None:
        self.buffer = buffer
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": typestr,
            "data": (buffer.ptr + offset, not writable),
            "strides": strides,
        }


# How many views others have of a buffer that they may write to, by its id; no other node gets such a buffer.
views: Counter[int] = Counter()


class _View(_Interface):
    """One of them, which keeps its owner alive too."""

    __slots__ = ("owner",)

    def __init__(self, owner: Any, node: Exposed, typestr: str) -> None:
        super().__init__(node.memory, node.shape, typestr, True, node.offset, node.strides)
        self.owner = owner
        views[id(self.buffer)] += 1

    def __del__(self) -> None:
        views[id(self.buffer)] -= 1
        if not views[id(self.buffer)]:
            del views[id(self.buffer)]


def is_exposed(node: Node) -> bool:
    """Whether others may write to a node's memory."""
    return type(node) is Exposed and id(node.memory) in views


def is_window(node: Node) -> bool:
    """Whether a node is a view of data that others may write to: it has to show what they do, so it stays a view."""
    return node.buffer is None and is_exposed(node)


def apart(buffer: Buffer, nbytes: int) -> Buffer:
    """The buffer; a copy of it where others may write to it."""
    return from_array(as_numpy(buffer, (nbytes,), uint8)) if id(buffer) in views else buffer


def _typestr(dtype: Dtype) -> str:
    return "<u2" if dtype is bfloat16 else dtype.np.str


def as_numpy(
    buffer: Buffer,
    shape: Shape,
    dtype: Dtype,
    *,
    writable: bool = False,
    offset: int = 0,
    strides: tuple[int, ...] | None = None,
) -> np.ndarray:
    """A NumPy array on the buffer's memory, without a copy; offset and strides in bytes."""
    if 0 in shape:
        return np.empty(shape, dtype.np)
    array = np.asarray(_Interface(buffer, shape, _typestr(dtype), writable, offset, strides))
    return array.view(dtype.np) if dtype is bfloat16 else array


def of_node(node: Node) -> np.ndarray:
    """A read-only NumPy array on a node's data."""
    if type(node) is Exposed and node.buffer is None:
        return as_numpy(node.source, node.shape, node.dtype, offset=node.offset, strides=node.strides)
    return as_numpy(node.buffer, node.shape, node.dtype)


def view(owner: Any, node: Exposed) -> np.ndarray:
    """A NumPy array on a node's memory that others may write to; it keeps the owner alive."""
    if 0 in node.shape:
        return np.empty(node.shape, node.dtype.np)
    array = np.asarray(_View(owner, node, _typestr(node.dtype)))
    return array.view(node.dtype.np) if node.dtype is bfloat16 else array


def from_array(array: np.ndarray) -> Buffer:
    """A buffer with a row-contiguous copy of the array's elements."""
    buffer = pool.allocate(array.nbytes)
    if array.size:
        dtype = from_numpy(array.dtype)
        assert dtype is not None
        as_numpy(buffer, array.shape, dtype, writable=True)[...] = array
    return buffer
