"""The bytes of a file, mapped into memory: only what is used is ever read.

An array whose elements lie in the file as they must lie in memory is a view into the mapping; any other is *deferred*:
its elements are read, and converted, when somebody asks for their address.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from arrax.core.files.streams import CHUNK, nbytes, quoted, read_into
from arrax.graph.dtypes import Dtype, bool_, uint8
from arrax.graph.node import Node, Shape
from arrax.runtime import executor
from arrax.runtime.buffer import SLACK, Buffer, as_numpy, pool, size_class

Fill = Callable[[np.ndarray], None]
FILES = 256  # that are held open at a time; more are read at once


class Deferred(Buffer):
    """A buffer whose content is made when its address is first asked for."""

    __slots__ = ("_blocks", "_fill", "_nbytes")

    def __init__(self, nbytes: int, fill: Fill) -> None:
        self.capacity = size_class(nbytes)  # a result may be written over it
        self.owner = None
        self._nbytes = nbytes
        self._fill: Fill | None = fill
        self._blocks: list[Buffer] = []

    @property
    def ptr(self) -> int:  # type: ignore[override]
        # without a lock: two threads may both make the content, and the block that came first stays
        fill = self._fill
        if fill is not None:
            block = pool.allocate(self._nbytes)
            fill(as_numpy(block, (self._nbytes,), uint8, writable=True))
            self._blocks.append(block)
            self._fill = None
        return self._blocks[0].ptr

    def __del__(self) -> None:
        """The block goes back by itself."""


class _Descriptor:
    """An open file, closed when nobody wants to read from it any more."""

    alive = 0

    def __init__(self, fd: int) -> None:
        self.fd = fd
        _Descriptor.alive += 1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.fd)
        type(self).alive -= 1


class Content:
    """A file's bytes.

    Attributes:
        name: for messages.
        size: the number of bytes.
        view: all of them.
    """

    def __init__(self, stream: Any, size: int, name: str) -> None:
        """All that the stream has from where it stands."""
        self.name, self.size = name, size
        self._descriptor: _Descriptor | None = None
        self._start = 0
        self._owner: Any = None
        data = self._mapped(stream)
        if data is None:
            buffer = pool.allocate(size)
            data = as_numpy(buffer, (size,), uint8, writable=True)
            read_into(stream, data.data, name)
            self._slack, self._owner = SLACK, buffer
        self._data = data
        self.view = data.data

    def _mapped(self, stream: Any) -> np.ndarray | None:
        """The bytes of a real file; None where they cannot be mapped."""
        if type(stream) not in (io.BufferedReader, io.FileIO) or not self.size or _Descriptor.alive >= FILES:
            return None
        try:
            fd, start = stream.fileno(), stream.tell()
            end = start + self.size
            # what other libraries write into our arrays must not reach the file: pages of our own, taken when written
            flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)
            mapping = mmap.mmap(fd, end, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            self._descriptor = _Descriptor(os.dup(fd))
        except (OSError, ValueError):
            return None
        self._start, self._slack = start, -end % mmap.PAGESIZE
        self._owner = np.frombuffer(mapping, np.uint8)
        return self._owner[start:]

    def read(self, start: int, target: np.ndarray) -> None:
        """Fills the target with the bytes from ``start`` on. Raises RuntimeError where there are no longer so many."""
        if self._descriptor is None:
            target[:] = self._data[start : start + len(target)]
            return
        at = 0
        while at < len(target):  # not out of the mapping, whose pages would then take memory too
            n = os.preadv(self._descriptor.fd, [target[at : at + CHUNK].data], self._start + start + at)
            if not n:
                raise RuntimeError(
                    f"[load] expected {len(target)} bytes at {start} in {self.name}, got {at}: "
                    "the file has been shortened since it was loaded"
                )
            at += n

    @property
    def is_mapped(self) -> bool:
        """Whether the bytes are still those of a file, which are read when they are used."""
        return self._descriptor is not None

    def array(self, start: int, shape: Shape, dtype: Dtype) -> Node:
        """The array whose elements begin at ``start``. The caller has checked that they lie within."""
        n = nbytes(shape, dtype)
        ptr = self._data.__array_interface__["data"][0] + start
        if n and dtype is not bool_ and ptr % dtype.size == 0 and start + n + SLACK <= self.size + self._slack:
            return executor.data(Buffer(ptr, 0, self._owner), shape, dtype)

        def fill(target: np.ndarray) -> None:
            self.read(start, target)
            if dtype is bool_:
                np.not_equal(target, 0, out=target.view(np.bool_))

        return deferred(shape, dtype, fill)


def deferred(shape: Shape, dtype: Dtype, fill: Fill) -> Node:
    """An array whose bytes ``fill`` writes when they are wanted."""
    n = nbytes(shape, dtype)
    return executor.data(Deferred(n, fill) if n else pool.allocate(0), shape, dtype)


def check_apart(ranges: list[tuple[int, int, str]], name: str) -> None:
    """Raises RuntimeError where two of the (start, end, key) overlap: few bytes must not become many arrays."""
    at, before = 0, ""
    for start, end, key in sorted(ranges):
        if start < at:
            raise RuntimeError(
                f"[load] expected {quoted(key)} behind {quoted(before)} in {name}, got an overlap: the file is damaged"
            )
        at, before = end, key
