"""One evaluation of a bound plan: a table with the addresses of its data and the bits of its scalars."""

from __future__ import annotations

import struct
import sys
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.compiler.donation import Pair
from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node
from arrax.runtime import debug, threads
from arrax.runtime.buffer import Buffer, pool

if TYPE_CHECKING:
    from arrax.runtime.cpu import Bound

_FORMATS = {
    dtypes.float32: "f4x", dtypes.float64: "d", dtypes.float16: "f4x", dtypes.bfloat16: "f4x", dtypes.bool_: "?7x",
}  # fmt: skip


def bits(value: Any, dtype: Dtype, part: int = 0) -> int:
    """A scalar as the 64 bits that a kernel reads its (computing) type from; of a complex128, those of a part."""
    form = _FORMATS.get(dtype)
    if dtype.is_complex:
        if dtype is dtypes.complex64:
            with np.errstate(over="ignore"):
                return int(np.array([value], np.complex128).astype(np.complex64).view(np.int64)[0])
        form, value = "d", complex(value).imag if part else complex(value).real
    if form is None:
        size = dtype.size * 8
        n = int(value) & ((1 << size) - 1)
        return n - (1 << 64) if n >> 63 else n
    try:
        return struct.unpack("q", struct.pack(form, value))[0]
    except OverflowError:  # beyond float32: infinity
        return struct.unpack("q", struct.pack(form, float("inf") if value > 0 else float("-inf")))[0]


_probe = [object()]
ALONE = sys.getrefcount(_probe[0])  # references that Python counts of what is in one place only, when it is asked there


_NOTHING: Counter[int] = Counter()
held: Counter[int] = Counter()  # how often runs in the background refer to buffers, by the ids of those


class Run:
    """One evaluation with all that it needs: it looks at no node any more, so that it may run without a lock.

    Attributes:
        inputs: the data that it reads.
        overwritten: those of them that it writes over.
        results: the plan's own results; whoever makes the run may replace them by what they stand for.
        in_background: whether Python goes on meanwhile: a core is left to it.
    """

    __slots__ = (
        "_arena",
        "_bound",
        "_holds",
        "_segments",
        "_table",
        "in_background",
        "inputs",
        "overwritten",
        "results",
    )

    def __init__(
        self, bound: Bound, inputs: list[Buffer], scalars: list[int], given: dict[int, tuple[Buffer, Pair]] | None
    ) -> None:
        """On data and scalars' bits; the buffers of some results are given."""
        take, classes = pool.take, bound.classes
        self._bound = bound
        self._segments = bound.segments
        self._holds = _NOTHING
        self.in_background = False
        self.inputs: Sequence[Buffer] = inputs
        self.overwritten: Sequence[Buffer] = ()
        if given and not debug.level:
            given = {j: (b, pair) for j, (b, pair) in given.items() if b.capacity == classes[j]}
            self.results = own = [given[j][0] if j in given else take(n) for j, n in enumerate(classes)]
            self._segments = bound.without_copies([pair for _, pair in given.values()])
            self.overwritten = [b for b, _ in given.values()]
        else:
            self.results = own = [take(n) for n in classes]
        self._arena = take(bound.arena) if bound.arena else None
        arena = self._arena.ptr if self._arena else 0
        self._table = array("q", [0, *[b.ptr for b in inputs], *[b.ptr for b in own], arena, *scalars])

    @property
    def is_native(self) -> bool:
        """Whether no library has a part in it: nothing can fail."""
        return all(isinstance(segment, tuple) for segment in self._segments)

    @property
    def finished(self) -> bool:
        """Whether all has been computed. (For plans without library calls, the only ones that donate.)"""
        return self._table[0] != 0

    def hold(self) -> frozenset[int]:
        """Tells that the run refers to its buffers until ``release``; their ids."""
        self._holds = Counter(map(id, [*self.inputs, *self.overwritten, *self.results]))
        held.update(self._holds)
        return frozenset(self._holds)

    def release(self) -> None:
        """Lets go of the data; for a run that has ended, whoever still holds it."""
        for i, n in self._holds.items():
            held[i] -= n
            if not held[i]:
                del held[i]
        self._holds = _NOTHING
        self.inputs = self.overwritten = ()
        self.results = []
        self._arena = None

    def __call__(self) -> list[Buffer]:
        table = self._table
        workers = threads.pool()
        if debug.level:
            debug.run(self._bound, table, self)
            return self.results
        address = table.buffer_info()[0]
        spared = workers.spare if self.in_background else 0
        for segment in self._segments:
            if isinstance(segment, tuple):
                workers.run(workers.address, segment[0], segment[1], address, spared)
            else:
                segment(table, self)
        return self.results


def references(nodes: Sequence[Node]) -> Mapping[int, int]:
    """How often nodes that are still to be computed refer to each node. Several may have one tuple of inputs."""
    tuples = {id(n.inputs): n.inputs for n in nodes if n.buffer is None}
    return Counter([id(x) for inputs in tuples.values() for x in inputs])
