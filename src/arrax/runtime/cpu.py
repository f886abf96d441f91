"""Plans bound to sizes: everything that an evaluation needs but for the addresses of its data.

A bound plan is an array of native tasks (function, arguments, iterations, iterations at a time), cut into segments
where a library's work comes between. All addresses stand in one table that each evaluation fills: a word that says
when all is done, data, results, one arena for all intermediate arrays, and the bits of scalars.

A result may be written over an input that nobody else holds (*donation*); whether somebody does is what Python counts
references for.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import operator
import sys
from array import array
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from arrax.codegen import cpu
from arrax.codegen.llvm import generate
from arrax.compiler.donation import Pair
from arrax.compiler.index import Place
from arrax.compiler.kernel import Kernel, format_kernel
from arrax.compiler.lower import LINE, PARTS, Argument, Ceil, Task
from arrax.compiler.outline import outline
from arrax.compiler.pipeline import Library, Plan, Product, Step
from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node
from arrax.runtime import blas, debug, threads
from arrax.runtime.buffer import Buffer, as_numpy, size_class
from arrax.runtime.run import ALONE, Run, bits, held, references

PIECE = 1 << 18  # machine operations that are worth a piece of their own
PRODUCT = 1 << 21  # multiplications that are worth a thread of their own
ACCUMULATED = 1 << 18  # bytes of a tile that several products are added up in
WIDENED = 1 << 22  # bytes of a tile of an operand that is widened
COUNTED = (1 << 31) - 1  # row lengths that BLAS counts to
KERNELS = 4096
STREAM = 24 << 20  # bytes that a task moves from which on what it writes had better not go through the caches
ROWS = 1 << 15  # elements that are worth a thread in a library's work
FACTORISED = 1 << 27  # multiplications with a matrix that are worth one in LAPACK
_START = operator.itemgetter(0)
Row = tuple[int, int, int, int]  # a native task: function, arguments, iterations, iterations at a time
# A word of a scalar: position in the recorded graph, or -1; type, part; the bits where the compiler made it
Scalar = tuple[int, Dtype, int, int]
NOTHING: Row = (0, 0, 0, 0)
STEADY = 1 << 20  # bytes of an intermediate array up to which its place is a little wider than it is
VARIANTS = 16  # of a bound plan's tasks, without the copies that donations save
Tasks = tuple[int, int, np.ndarray]  # where native tasks are, how many, and the array that holds them
# What one native call does, or a library: with a table, and what owns the memory whose addresses are in it
Segment = Tasks | Callable[[array, object], None]

_functions: OrderedDict[str, tuple[int, Kernel]] = OrderedDict()


def compiled(kernel: Kernel) -> tuple[int, Kernel]:
    """The address of a kernel's machine code, and the first kernel that was equal: others need not be kept."""
    text = format_kernel(kernel)
    found = _functions.get(text)
    if found is None:
        if debug.level > 1:
            print(text, file=sys.stderr)
        found = _functions[text] = cpu.function(text, lambda name: generate(kernel, name)), kernel
        if len(_functions) > KERNELS:
            _functions.popitem(last=False)
    return found


class _Memory(NamedTuple):
    """Where an array is: a slot of the table, and bytes from there."""

    slot: int
    offset: int = 0


class _Launch(NamedTuple):
    """A native task for the steps of a stage, and the arguments that it points to."""

    row: Row
    steps: list[Step]
    arguments: list[array]


class Bound:
    """A plan for certain sizes.

    Attributes:
        inputs: the positions in the recorded graph of the data.
        results: each result: its own memory, that of a leaf, or that of an earlier result.
        donations: (number of an input, number of one of the own results, the pair of them in the plan).
    """

    arena: int  # bytes

    def __init__(self, plan: Plan, recorded: Sequence[Node], like: Bound | None = None) -> None:
        """``like``: the plan for other sizes; what does not depend on those that differ is taken from there."""
        self.plan = plan
        self.workers = threads.count()
        self._numbers = self._letters(plan, recorded)
        self._cache: dict[Argument, int] = {}
        self._sizes = {n: self.number(plan.symbols.size(n)) for n in plan.sizes}
        self._like = like if like and like.workers == self.workers else None
        known = self._like._numbers if self._like else {}
        self._changed = {x for x, n in self._numbers.items() if n != known.get(x)}
        used = {b for touched in plan.touched for b in touched}
        data = [i for i in plan.data if i in used]
        scalars = [i for i in plan.scalars if i in used]
        self.inputs = [plan.data[i] for i in data]
        self.scalars: list[Scalar] = []
        self._place: dict[int | tuple, _Memory] = {i: _Memory(1 + k) for k, i in enumerate(data)}
        self.results: list[tuple[str, int]] = []
        self.sizes: list[int] = []
        taken: dict[int, int] = {}
        for i in plan.outputs:
            root = self.plan.root(i)
            if root in plan.data:
                self.results.append(("leaf", plan.data[root]))
            else:
                if root not in taken:
                    taken[root] = len(self.sizes)
                    self.sizes.append(self._bytes(root))
                    self._place[root] = _Memory(1 + len(data) + taken[root])
                self.results.append(("own", taken[root]))
        self.arena_slot = 1 + len(data) + len(self.sizes)
        for i in scalars:
            self._place[i] = _Memory(self.arena_slot + 1 + len(self.scalars))
            self.scalars += self._scalar(i, recorded)
        self.classes = [size_class(n) for n in self.sizes]
        self._intermediate = [[self._room(b) for b in begins] for begins in plan.begins]
        if self._like and self._like._intermediate == self._intermediate:
            self._place, self.arena = self._like._place, self._like.arena
        else:
            self.arena = self._arrange()
        self._build(recorded)
        self.donations = self._donations(data, taken)
        self._variants: dict[frozenset[Pair], list] = {}
        self._like = None

    def _donations(self, data: list[int], taken: dict[int, int]) -> list[tuple[int, int, Pair]]:
        """Those of the plan. (There are none where a library has a part: were it to fail, the input would be lost.)"""
        if not self._copies:
            return []
        place = {i: k for k, i in enumerate(data)}
        return [(place[i], taken[o], (i, o)) for i, o in self.plan.donations if i in place and o in taken]

    def without_copies(self, donated: Collection[Pair]) -> list[Segment]:
        """The segments without the tasks that donations make needless."""
        needless = frozenset(p for p in donated if p in self._copies)
        if not needless:
            return self.segments
        found = self._variants.get(needless)
        if found is None:
            (tasks,) = self.segments
            assert isinstance(tasks, tuple)
            found = [_tasks([r for r, p in zip(tasks[2], self._copies, strict=True) if p not in needless])]
            if len(self._variants) < VARIANTS:
                self._variants[needless] = found
        return found

    # --- numbers ------------------------------------------------------------------------------------------------------
    def recorded_at(self, place: Place, recorded: Sequence[Node]) -> Node:
        """The node of the recorded graph, or the part of one, from which something in the plan has been made."""
        if isinstance(place, int):
            return recorded[place]
        position, number = place
        return outline(recorded[position]).parts[number]

    def _scalar(self, position: int, recorded: Sequence[Node]) -> list[Scalar]:
        """The words of a scalar: that of a complex128 has two."""
        place, node = self.plan.scalars[position], self.plan.order[position]
        parts = range(-(-node.dtype.size // 8))
        if isinstance(place, int) and place >= 0:
            return [(place, node.dtype, part, 0) for part in parts]
        made = node if place == -1 else self.recorded_at(place, recorded)
        return [(-1, node.dtype, part, bits(made.params[0], node.dtype, part)) for part in parts]

    def _letters(self, plan: Plan, recorded: Sequence[Node]) -> dict[int, int]:
        numbers = {}
        for letter, (kind, place, k) in plan.sources.items():
            node = self.recorded_at(place, recorded)
            numbers[letter] = node.shape[k] if kind == "size" else node.prim.dynamic(node)[k]
        return numbers

    def number(self, p: Argument) -> int:
        found = self._cache.get(p)
        if found is None:
            if isinstance(p, Ceil):
                n = -(-self.number(p.size) // p.divisor)
                found = self.number(p.factor) * (-(-n // p.multiple) * p.multiple)
            else:
                found, numbers = 0, self._numbers
                for letters, k in p.terms.items():
                    for x in letters:
                        k *= numbers[x]
                    found += k
            self._cache[p] = found
        return found

    def shape(self, position: int) -> tuple[int, ...]:
        sizes = self._sizes
        return tuple([sizes[n] for n in self.plan.order[position].shape])

    def _bytes(self, position: int) -> int:
        node, sizes = self.plan.order[position], self._sizes
        found = node.dtype.size
        for n in node.shape:
            found *= sizes[n]
        return found

    # --- memory -------------------------------------------------------------------------------------------------------
    def _room(self, b: int | tuple) -> int:
        """Bytes for an intermediate result. Those of small arrays have three bits: where these grow others stay."""
        size = PARTS * 8 if isinstance(b, tuple) else self._bytes(b)
        unit = 64 if size > STEADY else max(64, 1 << size.bit_length() >> 4)
        return -(-max(size, 1) // unit) * unit

    def _arrange(self) -> int:
        """Places intermediate arrays in the arena: two share memory if they are never needed at once. Its size."""
        live: list[tuple[int, int, int | tuple]] = []
        top = 0
        for begins, sizes, ends in zip(self.plan.begins, self._intermediate, self.plan.ends, strict=True):
            for b, size in zip(begins, sizes, strict=True):
                at = 0
                for start, end, _ in live:  # sorted by start: the first gap that is wide enough
                    if start - at >= size:
                        break
                    at = max(at, end)
                bisect.insort(live, (at, at + size, b), key=_START)
                self._place[b] = _Memory(self.arena_slot, at)
                top = max(top, at + size)
            if ends:
                live = [x for x in live if x[2] not in ends]
        return size_class(top) if top else 0

    # --- tasks --------------------------------------------------------------------------------------------------------
    def _build(self, recorded: Sequence[Node]) -> None:
        self.segments: list[Segment] = []
        self._copies: list[Pair | None] = []  # for each task the donation that makes it needless, where all are native
        self._launched: list[list[list[Step]]] = []
        self._launches: list[_Launch | None] = []
        pending: list[tuple[_Launch, Pair | None]] = []
        for number, stage in enumerate(self.plan.stages):
            first = self.plan.steps[stage[0]]
            if isinstance(first, Library):
                self._close(pending)
                pending = []
                self.segments.append(self._library(first, self.recorded_at(first.recorded, recorded).params))
                self._launched.append([[first]])
                self._launches.append(None)
                continue
            launch = self._launch(number, stage)
            self._launches.append(launch)
            if launch.steps:
                pending.append((launch, self.plan.copies[stage[0]]))
        self._close(pending)
        if len(self.segments) == 1 and pending:
            self._copies = [copy for _, copy in pending]

    def _launch(self, number: int, stage: range) -> _Launch:
        like = self._like
        if like and self.plan.letters[number].isdisjoint(self._changed):
            here, there = self._place, like._place
            if here is there or all(here[b] == there[b] for t in stage for b in self.plan.touched[t]):
                known = like._launches[number]
                assert known is not None
                return known
        self._arguments: list[array] = []
        found = [(row, self.plan.steps[t]) for t in stage for row in [self._row(t)] if row[2] > 0]
        rows = [row for row, _ in found]
        row = self._together(rows) if len(rows) > 1 else rows[0] if rows else NOTHING
        return _Launch(row, [step for _, step in found], self._arguments)

    def _row(self, number: int) -> Row:
        step = self.plan.steps[number]
        if isinstance(step, Task):
            return self._task(step, self.plan.again[number])
        assert isinstance(step, Product)
        return self._product(step)

    def _together(self, rows: list[Row]) -> Row:
        """One task for several that have nothing to do with each other: its iterations are their pieces."""
        words: list[int] = []
        end = 0
        for address, arguments, total, piece in rows:
            end += -(-total // piece)
            words += (address, arguments, total, piece, end)
        little = sum(total / piece for _, _, total, piece in rows) <= 1
        return threads.together(), self._keep(words), end, end if little else 1

    def _close(self, launches: list[tuple[_Launch, Pair | None]]) -> None:
        if launches:
            self._launched.append([launch.steps for launch, _ in launches])
            self.segments.append(_tasks([launch.row for launch, _ in launches]))

    def labels(self) -> list[list[str]]:
        """For each segment what its tasks do, for people."""
        return [[" | ".join(map(self._label, steps)) for steps in segment] for segment in self._launched]

    def _label(self, step: Step) -> str:
        if isinstance(step, Library):
            return self.plan.order[step.node].prim.name
        if isinstance(step, Product):
            sizes = "x".join(str(self.number(d)) for d in step.dims)
            return f"matmul {sizes}"
        names = " ".join(step.names)
        sizes = ", ".join(str(list(self.shape(b))) for b in step.buffers if isinstance(b, int))
        return f"{names}: {sizes}"

    def _keep(self, words: list[int]) -> int:
        block = array("q", words)
        self._arguments.append(block)
        return block.buffer_info()[0]

    def _task(self, task: Task, again: Collection[int | tuple]) -> Row:
        """``again``: the memory that later tasks read."""
        words: list[int] = []
        for b in task.buffers:
            place = self._place[self.plan.root(b) if isinstance(b, int) else b]
            words += (place.slot, place.offset)
        words += [self._place[s].slot for s in task.scalars]
        words += [self.number(a) for a in task.args]
        total = self.number(task.total)
        work = max(1, self.number(task.work) * (8 + task.cost))
        piece = max(-(-PIECE // work), -(-total // (8 * self.workers)))
        streaming = self._streams(task, total, again)
        address = task.addresses.get(streaming)
        if address is None:
            if streaming:
                address, _ = compiled(dataclasses.replace(task.kernel, streaming=True))
            else:
                address, task.kernel = compiled(task.kernel)
            task.addresses[streaming] = address
        return address, self._keep(words), total, piece

    def _streams(self, task: Task, total: int, again: Collection[int | tuple]) -> bool:
        """Whether a task moves more than the caches hold, and writes nothing but whole cache lines.

        What is read again and fits into them had better stay there.
        """
        if task.strides is None:
            return False
        elements = total * self.number(task.work)
        if elements * 8 * len(task.buffers) < STREAM:  # little in any case, though it may be a part of much
            return False
        moved = 0
        for b, buffer in zip(task.buffers, task.kernel.buffers, strict=True):
            if isinstance(b, int):
                # of what is only read perhaps just a part; what is written is written by neighbouring tasks as well
                whole = self._bytes(b)
                if buffer.written and whole < STREAM and self.plan.root(b) in again:
                    return False
                moved += whole if buffer.written else min(whole, elements * buffer.dtype.size)
        return moved >= STREAM and all(self.number(p) * size % LINE == 0 for p, size in task.strides)

    def _product(self, p: Product) -> Row:
        dtype = self.plan.order[p.target].dtype
        types = [self.plan.order[node].dtype for node, _ in p.operands]
        narrow = next((i for i, t in enumerate(types) if t is not dtype), -1)
        loop, function = blas.product(dtype, narrow, types[narrow]) if narrow >= 0 else blas.product(dtype)
        m_letter, n_letter, k_letter = p.variables
        symbols = self.plan.symbols
        size = {symbols.letter("var", i): self.number(d) for i, d in enumerate(p.dims)}
        words = [function]
        rows, flags = [], []
        variables = [*p.batch, *p.summed, *p.variables]
        # What BLAS cannot count from row to row is walked outside of it, one row at a time
        walked = set()
        starts = []
        for (node, address), stored, (row, column) in zip(
            p.operands, types, ((m_letter, k_letter), (k_letter, n_letter)), strict=True
        ):
            place = self._place[self.plan.root(node)]
            start = address
            for x in variables:
                if x >= 0:
                    start = start.without(x)
            starts.append((place.slot, place.offset + self.number(start) * stored.size))
            down, across = self.number(address.coefficient(row)), self.number(address.coefficient(column))
            transposed = across != 1
            flags.append(112 if transposed else 111)
            rows.append(across if transposed else down)
            if rows[-1] > COUNTED:
                walked.add(column if transposed else row)
        m, n, k = (1 if x in walked else size[x] for x in p.variables)
        rows = [min(length, COUNTED) for length in rows]
        for slot, offset in starts:
            words += (slot, offset)
        target = self._place[self.plan.root(p.target)]
        words += (target.slot, target.offset)
        batch = []
        count = 1
        batch_axes = [*p.batch, *sorted(walked - {k_letter})]
        for x in reversed(batch_axes):
            steps = [self.number(q.coefficient(x)) for q in (p.operands[0][1], p.operands[1][1], p.result)]
            batch += [size[x], *steps]
            count *= size[x]
        summed = []
        terms = 1
        summed_axes = [*p.summed, *(walked & {k_letter})]
        for x in reversed(summed_axes):
            summed += [size[x], *[self.number(address.coefficient(x)) for _, address in p.operands]]
            terms *= size[x]
        by_column = n > m if narrow < 0 else narrow == 1
        long, short = (n, m) if by_column else (m, n)
        parts = _shares(count, self.workers, terms * count * m * n * k // PRODUCT)
        tile = -(-long // parts)
        if terms > 1:  # what is added to had better stay in the cache
            tile = min(tile, max(64, ACCUMULATED // (short * dtype.size)))
        if narrow >= 0:
            tile = min(tile, max(64, WIDENED // (k * dtype.size)))
        tile = min(long, -(-tile // 16) * 16)
        tiles = -(-long // tile)
        words += (m, n, k, *rows, size[n_letter], *flags, int(by_column), tile, tiles)
        words += (len(batch_axes), terms, len(summed_axes), *batch, *summed)
        total = count * tiles
        piece = max(
            1, -(-PRODUCT // max(1, terms * m * n * k // tiles)) if tiles == 1 else 1, total // (8 * self.workers)
        )
        return loop, self._keep(words), total, piece

    def _library(self, step: Library, params: tuple) -> Callable[[array, object], None]:
        node = self.plan.order[step.node]
        shape, dtype = self.shape(step.node), node.dtype
        sources = [(self._place[self.plan.root(i)], self.shape(i), self.plan.order[i].dtype) for i in step.inputs]
        target = self._place[self.plan.root(step.node)]
        reference, arena_slot = node.prim.reference, self.arena_slot
        # other kinds are left to the reference for their types
        by_rows = node.prim.lower(params, len(shape)) if node.prim.kind == "opaque" and node.prim.lower else None

        def run(table: array, owner: object) -> None:
            arrays = [
                _scalar(table, place.slot, d) if place.slot > arena_slot else _view(table, place, s, d, owner)
                for place, s, d in sources
            ]
            out = _view(table, target, shape, dtype, owner, writable=True)
            if by_rows is not None:
                rows = math.prod(shape[:-1])
                workers = min(threads.count(), rows, -(-arrays[0].size // ROWS))
                by_rows(arrays[0].reshape(rows, -1), out.reshape(rows, -1), workers)
            else:
                matrices = [a.shape[-2:] for a in arrays if a.ndim > 1]
                work = max([m * n * min(m, n) for m, n in matrices], default=0)
                with blas.restrained(min(threads.count(), 1 + work // FACTORISED)):
                    out[...] = reference(params, shape, dtype, *arrays)

        return run

    def start(self, recorded: Sequence[Node], uses: Mapping[int, int] | None, others: Sequence[Node] = ()) -> Run:
        """What evaluates a graph of this structure and these sizes.

        Inputs give their memory to results if nothing refers to them but the graph's nodes and ``others``: ``uses``
        tells how often, at most, those refer to the nodes of certain ids. Without it all inputs are kept.
        """
        inputs = self.inputs
        scalars = [bits(recorded[i].params[0], d, part) if i >= 0 else known for i, d, part, known in self.scalars]
        given: dict[int, tuple[Buffer, Pair]] = {}
        if uses is not None:
            exactly: Mapping[int, int] | None = None
            for k, j, pair in self.donations:
                i = inputs[k]
                count = sys.getrefcount(recorded[i]) - ALONE
                if count > uses[id(recorded[i])] or j in given or not _is_alone(recorded[i]):
                    continue  # once given, a buffer is in two places
                exactly = exactly or references([*recorded, *others])
                if count == exactly[id(recorded[i])]:
                    given[j] = (recorded[i].buffer, pair)
        run = Run(self, [recorded[i].buffer for i in inputs], scalars, given)
        own = run.results
        run.results = [own[k] if kind == "own" else recorded[k].buffer for kind, k in self.results]
        return run


class BoundCall:
    """A compiled function's plan: its inputs' positions are known, nothing is looked at but addresses."""

    def __init__(
        self,
        bound: Bound,
        order: Sequence[Node],
        inputs: Sequence[Node],
        computed: Sequence[Node],
        results: Sequence[Node],
    ) -> None:
        self.bound = bound
        number = {id(n): k for k, n in enumerate(inputs)}
        # an argument's number, or a node from outside that the function uses
        self.data = [number.get(id(order[i]), order[i]) for i in bound.inputs]
        self.scalars = [bits(order[i].params[0], d, part) if i >= 0 else known for i, d, part, known in bound.scalars]
        # each result: the plan's k-th own one, the k-th argument, or a node from outside
        known: dict[int, tuple[str, int | Node]] = {}
        for node, (kind, k) in zip(computed, bound.results, strict=True):
            known[id(node)] = ("own", k) if kind == "own" else self._outside(order[k], number)
        self.results = [known.get(id(n)) or self._outside(n, number) for n in results]
        passed = {k for kind, k in self.results if kind == "argument"}
        self.donations = [
            (x, j, pair)
            for k, j, pair in bound.donations
            for x in [self.data[k]]
            if isinstance(x, int) and x not in passed
        ]

    @staticmethod
    def _outside(node: Node, number: dict[int, int]) -> tuple[str, int | Node]:
        return ("argument", number[id(node)]) if id(node) in number else ("node", node)

    def start(self, inputs: tuple[Node, ...], *, donate: bool) -> Run:
        """What evaluates a call with these arguments; those that only the call refers to may be overwritten then."""
        given: dict[int, tuple[Buffer, Pair]] = {}
        for x, j, pair in self.donations if donate else ():
            if j not in given and sys.getrefcount(inputs[x]) == ALONE and _is_alone(inputs[x]):
                given[j] = (inputs[x].buffer, pair)
        data = [(inputs[x] if isinstance(x, int) else x).buffer for x in self.data]
        run = Run(self.bound, data, self.scalars, given)
        own = run.results
        run.results = [
            k.buffer if isinstance(k, Node) else own[k] if kind == "own" else inputs[k].buffer
            for kind, k in self.results
        ]
        return run


def _tasks(rows: Sequence[Row]) -> Tasks:
    block = np.array(rows, np.int64).reshape(-1, 4)
    return block.ctypes.data, len(block), block


def _is_alone(node: Node) -> bool:
    """Whether nothing but the node, and what runs in the background, refers to its buffer."""
    return sys.getrefcount(node.buffer) == ALONE + (held[id(node.buffer)] if held else 0)


def _shares(count: int, workers: int, most: int) -> int:
    """Into how many tiles to divide each of ``count`` equal pieces of work, ``most`` in all: no worker shall wait."""
    fewest = max(1, min(-(-workers // count), most // count))
    best, least = fewest, math.inf
    for parts in range(fewest, fewest + 8):
        if parts > fewest and parts * count > most:
            break
        idle = -(-parts * count // workers) * workers / (parts * count)
        if idle < 0.95 * least:
            best, least = parts, idle
        if least < 1.1:
            break
    return best


def _scalar(table: array, slot: int, dtype: Dtype) -> np.ndarray:
    """The scalar that ``bits`` made words of."""
    words = table[slot : slot + max(1, dtype.size // 8)]
    return np.array(words, np.int64).view(dtype.compute.np)[0].astype(dtype.np)


def _view(
    table: array, place: _Memory, shape: tuple, dtype: Dtype, owner: object, *, writable: bool = False
) -> np.ndarray:
    return as_numpy(Buffer(table[place.slot] + place.offset, 0, owner), shape, dtype, writable=writable)
