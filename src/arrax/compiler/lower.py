"""From groups of nodes to kernels.

A group with reductions runs in phases, each one loop over the columns: first the reductions that depend on no other,
then those that depend on them, and so on; what is left to store comes with the phase where all that it needs is known.
Where there are no rows to spread over threads, the columns are cut into a fixed number of chunks (the result does not
depend on the number of threads), and a second kernel combines their results.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from arrax.compiler.analysis import NARROW, Analysis, Block, Key
from arrax.compiler.group import Coords, Group, Root
from arrax.compiler.index import ONE, Poly, constant
from arrax.compiler.kernel import (
    INDEX,
    Buffer,
    Kernel,
    Loop,
    Register,
    Reset,
    Statement,
    Store,
    Update,
    Value,
    cast,
    const,
    ge,
    load,
    lt,
    narrow,
    op,
    quotient,
    read,
    remainder,
    select,
    store,
    var,
    walk,
)
from arrax.compiler.scalar import combine, emit, meet
from arrax.compiler.schedule import Scheduler
from arrax.graph.dtypes import Dtype, accumulator, uint32, uint64
from arrax.graph.node import Node
from arrax.prims.leaf import threefry2x32
from arrax.prims.reduce import initial

LINE = 64  # bytes of a cache line
CHUNK = 2048  # elements of a one-dimensional loop that are one iteration of its parallel loop
PARTS = 64  # pieces that a reduction without rows is cut into
RUN = 64  # values that a lane adds up in the type of a product, before it goes on in double precision
TILE = 16  # rows that a transposing kernel does together: a cache line of float32


@dataclass(frozen=True, slots=True)
class Ceil:
    """factor · (size / divisor, rounded up, and that up to a multiple of ``multiple``)."""

    size: Poly
    divisor: int
    multiple: int = 1
    factor: Poly = ONE


Argument = Poly | Ceil


@dataclass(eq=False, slots=True)
class Task:
    """A kernel and what it is called with: nodes whose buffers it uses, constants, polynomials, iterations."""

    kernel: Kernel
    buffers: list[int | tuple]  # node, or (group, reduction, part) for intermediate results of a cut reduction
    scalars: list[int]
    args: list[Argument]
    total: Argument
    work: Argument  # elements per iteration of the parallel loop
    cost: int
    names: list[str]  # the operations, for people
    # The steps (in elements) between rows of what is written, and the elements' size, if whole vectors are: where all
    # steps are multiples of a cache line, so are the vectors' addresses
    strides: list[tuple[Poly, int]] | None = None
    addresses: dict[bool, int] = field(default_factory=dict)  # of the machine code, streaming or not, once it is made


class Lowering:
    """Lowers one group."""

    def __init__(self, scheduler: Scheduler, group: Group, stored: dict[int, list[int]]) -> None:
        self.scheduler = scheduler
        self.symbols = scheduler.symbols
        self.nodes = scheduler.order
        self.group = group
        self.analysis = Analysis(scheduler, group, stored)
        self.cost, self.names = self.analysis.cost, self.analysis.names

    def run(self) -> list[Task]:
        """The group's kernels, in the order in which they run."""
        blocks = self.analysis.blocks()
        # a loop that has become part of another -> those inside it by which an address may go instead
        self.absorbed = {
            x: {level.letter for level in b.levels if level.letter in b.letters[i + 1 :]}
            for b in blocks
            for i, x in enumerate(b.letters[:-1])
        }
        self.vector = vector = self.analysis.vector_block(blocks)
        rows = [b for b in blocks if not b.column]
        if self.group.cols and not rows and self.group.kind == "loop":
            return self._cut(blocks, vector)
        return [self._kernel(rows, [b for b in blocks if b.column], vector)]

    def _begin(self, name: str) -> None:
        self.name = name
        self.buffers: dict[Any, Buffer] = {}
        self.scalars: dict[int, Value] = {}
        self.args: dict[Argument, Value] = {}
        self.env: dict[int, Value] = {}
        self.depth: dict[int, int] = {}
        self.row_values: dict[Key, Value] = {}
        self.registers: dict[int, Register] = {}
        self.runs: dict[int, Register] = {}  # of reductions that add up runs first

    def _end(self, body: list[Statement], total: Argument, work: Argument) -> Task:
        kernel = Kernel(
            self.name, list(self.buffers.values()), list(self.scalars.values()), list(self.args.values()), body
        )
        return Task(
            kernel,
            list(self.buffers),
            list(self.scalars),
            list(self.args),
            total,
            work,
            self.cost,
            self.names,
            self._strides(),
        )

    def _strides(self) -> list[tuple[Poly, int]] | None:
        """The steps between rows of all that is written in whole vectors; None where something is not."""
        vector, result = self.vector, []
        for root in self.group.roots:
            size = self.nodes[root.target].dtype.size
            if vector is None or root.combine is not None or self.lanes * size % LINE:
                return None
            if root.address.coefficient(vector.primary) != ONE:
                if vector.column and not self.analysis.is_column(root.coords):
                    continue  # one element per row
                return None
            rest = root.address
            for x in root.address.letters():
                kind = self.symbols.kinds[x][0]
                if kind not in ("var", "size", "arg"):
                    return None
                if kind == "var":
                    if x not in vector.letters:
                        result.append((rest.coefficient(x), size))
                    rest = rest.without(x)
            result.append((rest, size))
        return result

    def _buffer(self, key: Any, dtype: Dtype, *, written: bool = False) -> Buffer:
        found = self.buffers.get(key)
        if found is None:
            found = self.buffers[key] = Buffer(f"b{len(self.buffers)}", dtype)
        found.written = found.written or written
        return found

    def argument(self, p: Argument, *, literal: bool = True) -> Value:
        """A number that is known when the kernel is called."""
        if isinstance(p, Poly) and p.value is not None and (literal or p.value == 0):
            return const(p.value, INDEX)
        found = self.args.get(p)
        if found is None:
            found = self.args[p] = Value("arg", (), INDEX, f"n{len(self.args)}")
        return found

    def _letter(self, x: int, values: dict[Key, Value]) -> Value:
        kind = self.symbols.kinds[x]
        if kind[0] == "var":
            return self.env[x]
        if kind[0] in ("data", "raw"):
            n = self.number(kind[3], values)
            at = self.value((kind[1], kind[2]), values)
            if at.dtype is uint64:  # what INDEX cannot hold lies outside all the same
                at = op("min", at, const(2**63 - 1, uint64))
            at = cast(at, INDEX)
            if self.nodes[kind[1]].dtype.is_signed:
                at = select(lt(at, 0), at + n, at)
            return op("min", op("max", at, const(0, INDEX)), n - 1) if kind[0] == "data" else at
        a, n = self.number(kind[1], values), kind[2]
        b = const(n.value, INDEX) if n.value else self.number(n, values)
        return quotient(a, b) if kind[0] == "div" else remainder(a, b)

    def number(self, p: Poly, values: dict[Key, Value]) -> Value:
        """A polynomial's value, summed from the outermost loop's share to the innermost's."""
        shares: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}
        present = p.letters()
        for letters, k in p.terms.items():
            if any(x in self.absorbed and not self.absorbed[x].isdisjoint(present) for x in letters):
                continue
            late = tuple(x for x in letters if self.symbols.kinds[x][0] not in ("size", "arg"))
            early = tuple(x for x in letters if self.symbols.kinds[x][0] in ("size", "arg"))
            shares.setdefault(late, {})[early] = k
        total: Value | None = None
        for late in sorted(shares, key=lambda t: max((self.depth.get(x, 0) for x in t), default=-1)):
            # where a part begins is no literal: many parts of one size are one kernel
            factor = self.argument(Poly(shares[late]), literal=bool(late))
            term: Value | None = None
            for x in late:
                v = self._letter(x, values)
                term = v if term is None else term * v
            if term is None:
                term = factor
            elif not (factor.op == "const" and factor.attr == 1):
                term = term * factor
            total = term if total is None else total + term
        return const(0, INDEX) if total is None else total

    def value(self, key: Key, values: dict[Key, Value]) -> Value:
        """The value of a node at coordinates; its operands have been made before."""
        known = values if self.analysis.is_column(key[1]) else self.row_values
        found = known.get(key)
        if found is None:
            found = known[key] = self._compute(key, values)
        return found

    def _compute(self, key: Key, values: dict[Key, Value]) -> Value:
        position, coords = key
        node, kind = self.nodes[position], self.scheduler.kinds[position]
        if position in self.group.reductions:
            r = self.registers[position]
            return cast(read(r.index), uint32) if r.index is not None else self._rounded(node, read(r))
        if kind == "leaf" and node.prim.name == "const":
            found = self.scalars.get(position)
            if found is None:
                number = Value("scalar", (), node.dtype.compute, f"s{len(self.scalars)}")
                found = self.scalars[position] = number
            return cast(found, node.dtype)
        if self.analysis.is_loaded(position):
            address = self.number(self.symbols.address(coords, node.shape), values)
            return load(self._buffer(position, node.dtype), address)
        if node.prim.name == "iota":
            at = coords[node.params[0]]
            return cast(self.number(at, values) if at.value is None else const(at.value, INDEX), node.dtype)
        inputs = self.analysis.needs[key]
        if node.prim.name == "random_bits":
            return self._random_bits(node, coords, [self.value(k, values) for k in inputs], values)
        if kind in ("view", "gather", "barrier"):
            return self.value(inputs[0], values)
        operands = [self.value(k, values) for k in inputs]
        if position in self.scheduler.unrolled:
            dtype = node.dtype.compute if node.prim.in_runs else self._accumulator(node)
            wide = [cast(v, dtype) for v in operands]
            if node.prim.lower == "add" and dtype.is_float:  # begins with 0, as a loop does, if all of them are -0
                wide.insert(0, const(0.0, dtype))
            return self._rounded(node, functools.reduce(functools.partial(combine, node.prim.lower), wide))
        return emit(node.prim.lower, operands, node.dtype)

    def _accumulator(self, node: Node) -> Dtype:
        """The type in which a reduction or a running one is accumulated."""
        return accumulator(node.prim.lower, node.inputs[0].dtype)

    def _rounded(self, node: Node, total: Value) -> Value:
        """What a reduction has accumulated, in the type of its result."""
        return narrow(total, node.dtype) if total.dtype is node.dtype.compute else cast(total, node.dtype)

    def _random_bits(self, node: Node, coords: Coords, keys: list[Value], values: dict[Key, Value]) -> Value:
        """Word i is the first half of hash(i, i + h) for i < h = ceil(n / 2), else the second of hash(i - h, i)."""
        i = cast(self.number(coords[-1], values), uint32)
        half = cast(self.argument(Ceil(self.symbols.size(node.shape[-1]), 2)), uint32)
        odd = cast(self.number(self.symbols.size(node.shape[-1]), values), uint32) & 1
        low = lt(i, half)
        first = select(low, i, i - half)
        last = lt(const(0, uint32), odd) & ge(first, half - 1)
        x0, x1 = threefry2x32(keys[0], keys[1], first, select(last, const(0, uint32), first + half))
        return select(low, x0, x1)

    def _needed(self, targets: Sequence[Key]) -> list[Key]:
        """What the targets are computed from, up to reductions, operands first."""
        seen = self.analysis.behind(targets)
        return [k for k in self.analysis.order if k in seen]

    def _store(self, root: Root, values: dict[Key, Value]) -> Store:
        target = self.nodes[root.target]
        buffer = self._buffer(root.target, target.dtype, written=True)
        value = self.value((root.node, root.coords), values)
        address = self.number(root.address, values)
        inside = None
        if root.inside is not None:
            at, n = (self.number(p, values) for p in root.inside)
            inside = ge(at, 0) & lt(at, n)
        if root.combine not in (None, "set"):
            value = meet(root.combine, load(buffer, address).wide, value.wide)
        return store(buffer, address, cast(value, target.dtype), inside)

    def _wanted(self, roots: Sequence[Root]) -> list[Key]:
        """What storing the roots takes."""
        return [key for root in roots for key in self.analysis.wanted[root]]

    def _make(self, targets: Sequence[Key], values: dict[Key, Value]) -> None:
        for key in self._needed(targets):
            self.value(key, values)

    def _register(self, position: int) -> Register:
        node = self.nodes[position]
        dtype = self._accumulator(node)
        how = node.prim.lower
        index = None
        if how in ("argmax", "argmin"):
            index = Register(f"i{len(self.registers)}", INDEX, "index", 2**62)
        if node.prim.in_runs and node.dtype.is_float:
            self.runs[position] = Register(f"s{len(self.runs)}", node.dtype.compute, how, 0)
        return Register(f"r{len(self.registers)}", dtype, how, initial(how, dtype), index)

    def _resets(self, register: Register) -> list[Statement]:
        parts = [register] if register.index is None else [register, register.index]
        return [Reset(r) for r in parts]

    def _update(self, position: int, values: dict[Key, Value]) -> Update:
        key = (position, self.group.reductions[position])
        source = self.analysis.needs[key][0]
        register = self.runs.get(position, self.registers[position])
        value = cast(self.value(source, values), register.dtype)
        where = None
        if register.index is not None:
            where = self.number(source[1][self.nodes[position].params[0][0]], values)
        return Update(register, value, where)

    def _in_runs(self, nest: list[Statement], updates: Iterable[int]) -> None:
        """Cuts the vector loop of a nest, or the inmost one that may be long, into runs for reductions with runs."""
        runs = [(self.runs[r], self.registers[r]) for r in updates if r in self.runs]
        if not runs:
            return
        loops = [s for s, _ in walk(nest) if isinstance(s, Loop)]
        long = [s for s in loops if s.kind == "vector"] or [s for s in loops if s.end.op != "const"] or loops
        loop = long[-1]
        body = next(b for b in (nest, *(s.body for s in loops)) if loop in b)
        self.counter += 1
        number, length = var(f"v{self.counter}"), RUN * loop.step
        rest = op("max", loop.end - loop.begin, const(0, INDEX))
        count = quotient(rest + (length - 1), const(length, INDEX))
        first = loop.begin + number * length
        cut = Loop(loop.var, first, op("min", first + length, loop.end), loop.kind, loop.body, loop.step)
        resets: list[Statement] = [Reset(run) for run, _ in runs]
        totals: list[Statement] = [Update(total, cast(read(run), total.dtype)) for run, total in runs]
        body[body.index(loop)] = Loop(number, const(0, INDEX), count, "serial", [*resets, cut, *totals])

    def _loops(
        self, blocks: list[Block], vector: Block | None, values_depth: int, inside: Sequence[Block] = ()
    ) -> tuple[list[Statement], list[Statement]]:
        """A nest of loops over blocks: the outermost statement, and the inmost body.

        The vector loop is innermost but for ``inside``: what does not change there is computed before.
        """
        ordered = [b for b in blocks if b is not vector and b not in inside]
        ordered += [*(b for b in blocks if b is vector), *inside]
        outermost: list[Statement] = []
        body = outermost
        for block in ordered:
            v = self._fresh(block, values_depth)
            loop = Loop(v, const(0, INDEX), self.argument(block.size), "vector" if block is vector else "serial")
            if block is vector:
                loop.step = self.lanes
            body.append(loop)
            body = loop.body
        return outermost, body

    def _fresh(self, block: Block, depth: int) -> Value:
        self.counter += 1
        v = var(f"v{self.counter}")
        self._count(block, v, depth + self.counter)
        return v

    def _count(self, block: Block, v: Value, depth: int) -> None:
        """``v`` counts a block's iterations."""
        for level in block.levels:
            self.env[level.letter] = v if level.times == 1 else quotient(v, const(level.times, INDEX))
            self.depth[level.letter] = depth

    def _outer(self, blocks: list[Block], p: Value) -> None:
        """Takes the parallel loop's counter apart into the row variables."""
        rest = p
        for number, block in enumerate(reversed(blocks)):
            if number == len(blocks) - 1:
                self._count(block, rest, 0)
            else:
                n = self.argument(block.size)
                above = quotient(rest, n)
                self._count(block, rest - above * n, 0)
                rest = above

    def _phases(self, cols: list[Block], vector: Block | None, body: list[Statement]) -> None:
        """Everything that happens in one row."""
        group, phase = self.group, self.analysis.phase
        for position in group.reductions:
            self.registers[position] = self._register(position)
        column_roots = [r for r in group.roots if self.analysis.is_column(r.coords)]
        row_roots = [r for r in group.roots if not self.analysis.is_column(r.coords)]
        keys = {r: (r, c) for r, c in group.reductions.items()}
        last = max([phase[k] for k in keys.values()], default=0)
        handful = [b for b in cols if b is not vector and b.size.value is not None] if vector in cols else []
        for number in range(last + 1):
            updates = [r for r, k in keys.items() if phase[k] == number + 1]
            stores = [r for r in column_roots if phase[(r.node, r.coords)] == number]
            if not updates and not stores:
                continue
            for r in updates:
                body.extend(self._resets(self.registers[r]))
            values: dict[Key, Value] = {}
            nest, inner = self._loops(cols, vector, 1, handful)
            self._make([self.analysis.needs[keys[r]][0] for r in updates] + self._wanted(stores), values)
            inner.extend(self._update(r, values) for r in updates)
            inner.extend(self._store(r, values) for r in stores)
            self._in_runs(nest, updates)
            body.extend(nest)
        if row_roots:
            self._make(self._wanted(row_roots), self.row_values)
            body.extend(self._store(r, self.row_values) for r in row_roots)

    def _kernel(self, rows: list[Block], cols: list[Block], vector: Block | None) -> Task:
        self._begin("k")
        self.counter = 0
        self.lanes = self.analysis.lanes(vector)
        p = var("p")
        body: list[Statement] = []
        outer = [b for b in rows if b is not vector and not b.serial]
        serial = [b for b in rows if b.serial]
        total: Argument
        if vector is None or vector.column:
            self._outer(outer, p)
            total, work = self._product(outer), self._product(cols + serial)
            if self.group.kind == "scan":
                self._scan(cols, body)
            elif cols:
                self._phases(cols, vector, body)
            else:
                self._plain(serial, body)
        elif cols or serial:
            # the vector loop runs over a tile of the result's columns; what is reduced is walked inside it
            number, total = self._tiles(outer, vector, p, self.lanes)
            begin = number * self.lanes
            end = op("min", begin + self.lanes, self.argument(vector.size))
            nest, inner = self._loops(serial, None, 1)
            loop = Loop(self._fresh(vector, 1), begin, end, "vector", step=self.lanes)
            inner.append(loop)
            body.extend(nest)
            if self.group.kind == "scan":
                self._scan(cols, loop.body)
            elif cols:
                self._phases(cols, None, loop.body)
            else:
                self._plain([], loop.body)
            work = self._product(cols + serial) * self.lanes
        elif (tile := self.analysis.tile_block(outer, vector)) is not None:
            others = [b for b in outer if b is not tile]
            number, total = self._tiles(others, tile, p, TILE)
            begin = number * TILE
            end = op("min", begin + TILE, self.argument(tile.size))
            loop = Loop(self._fresh(vector, 1), const(0, INDEX), self.argument(vector.size), "vector", step=TILE)
            body.append(loop)
            across = Loop(self._fresh(tile, 1), begin, end, "tile", step=TILE)
            loop.body.append(across)
            self._plain([], across.body)
            work = vector.size * TILE
        elif outer:
            # a handful of rows in a loop of its own saves divisions to find out which row it is
            few = len(outer) - 1 if len(outer) > 1 and outer[-1].size.value is not None else len(outer)
            self._outer(outer[:few], p)
            nest, inner = self._loops([*outer[few:], vector], vector, 1)
            body.extend(nest)
            self._plain([], inner)
            total, work = self._product(outer[:few]), self._product([*outer[few:], vector])
        else:
            begin = p * CHUNK
            end = op("min", begin + CHUNK, self.argument(vector.size))
            loop = Loop(self._fresh(vector, 1), begin, end, "vector", step=self.lanes)
            body.append(loop)
            self._plain([], loop.body)
            total, work = Ceil(vector.size, CHUNK), constant(CHUNK)
        top = Loop(p, const(0, INDEX), self.argument(total), "parallel", body)
        return self._end([top], total, work)

    def _tiles(self, outer: list[Block], block: Block, p: Value, length: int) -> tuple[Value, Argument]:
        """The parallel loop counts rows and, within each, tiles of a loop."""
        if not outer:
            return p, Ceil(block.size, length)
        count = self.argument(Ceil(block.size, length))
        row = quotient(p, count)
        self._outer(outer, row)
        return p - row * count, Ceil(block.size, length, 1, self._product(outer))

    def _plain(self, serial: list[Block], body: list[Statement]) -> None:
        """Stores that need no reduction."""
        nest, inner = self._loops(serial, None, 1)
        values: dict[Key, Value] = {}
        self._make(self._wanted(self.group.roots), values)
        inner.extend(self._store(r, values) for r in self.group.roots)
        body.extend(nest)

    def _product(self, blocks: list[Block]) -> Poly:
        total = ONE
        for b in blocks:
            total = total * b.size
        return total

    def _scan(self, cols: list[Block], body: list[Statement]) -> None:
        """A register runs along the column; each of its states is stored."""
        (root,) = self.group.roots
        node = self.nodes[root.node]
        how, dtype = node.prim.lower, self._accumulator(node)
        inclusive = node.params[2]
        start = initial("max" if how == "logaddexp" else how, dtype)
        if inclusive and dtype.is_float and start == 0:
            start = -0.0  # which leaves the first element as it is, also if that is -0
        register = Register("r0", dtype, "set", start)
        body.append(Reset(register))
        nest, inner = self._loops(cols, None, 1)
        values: dict[Key, Value] = {}
        source = self.scheduler.inputs_at(root.node, self.group, root.coords)[0]
        self._make([source], values)
        update = Update(register, combine(how, read(register), cast(self.value(source, values), dtype)))
        buffer = self._buffer(root.target, node.dtype, written=True)
        state = store(buffer, self.number(root.address, values), self._rounded(node, read(register)))
        inner.extend([update, state] if inclusive else [state, update])
        body.extend(nest)

    def _cut(self, blocks: list[Block], vector: Block | None) -> list[Task]:
        """A reduction to one value: the first loop is cut into parts, whose results a second kernel combines."""
        self._begin("k")
        self.counter = 0
        self.lanes = self.analysis.lanes(vector)
        p = var("p")
        body: list[Statement] = []
        first = next((b for b in blocks if b is not vector), vector)
        assert first is not None
        piece = self.argument(Ceil(first.size, PARTS, self.lanes if first is vector else 1))
        begin = p * piece
        end = op("min", begin + piece, self.argument(first.size))
        for position in self.group.reductions:
            self.registers[position] = self._register(position)
            body.extend(self._resets(self.registers[position]))
        values: dict[Key, Value] = {}
        nest, inner = self._loops(blocks, vector, 1)
        outermost = nest[0]
        assert isinstance(outermost, Loop)
        outermost.begin, outermost.end = begin, end
        keys = {r: (r, c) for r, c in self.group.reductions.items()}
        stores = [r for r in self.group.roots if self.analysis.is_column(r.coords)]
        self._make([self.analysis.needs[k][0] for k in keys.values()] + self._wanted(stores), values)
        inner.extend(self._update(r, values) for r in keys)
        inner.extend(self._store(r, values) for r in stores)
        self._in_runs(nest, keys)
        body.extend(nest)
        for position, register in self.registers.items():
            partial = self._buffer((self.group.number, position, 0), register.dtype, written=True)
            body.append(store(partial, p, read(register)))
            if register.index is not None:
                where = self._buffer((self.group.number, position, 1), INDEX, written=True)
                body.append(store(where, p, read(register.index)))
        top = Loop(p, const(0, INDEX), const(PARTS, INDEX), "parallel", body)
        first_task = self._end([top], constant(PARTS), Ceil(self._product(blocks), PARTS))
        return [first_task, self._finish_cut()]

    def _finish_cut(self) -> Task:
        self._begin("k")
        cost, self.cost = self.cost, PARTS
        p, j = var("p"), var("j")
        body: list[Statement] = []
        loop = Loop(j, const(0, INDEX), const(PARTS, INDEX), "vector", step=NARROW)
        for position in self.group.reductions:
            self.registers[position] = register = self._register(position)
            body.extend(self._resets(register))
            value = load(self._buffer((self.group.number, position, 0), register.dtype), j)
            where = None
            if register.index is not None:
                where = load(self._buffer((self.group.number, position, 1), INDEX), j)
            loop.body.append(Update(register, value, where))
        body.append(loop)
        stores = [r for r in self.group.roots if not self.analysis.is_column(r.coords)]
        self._make(self._wanted(stores), self.row_values)
        body.extend(self._store(r, self.row_values) for r in stores)
        task = self._end([Loop(p, const(0, INDEX), const(1, INDEX), "parallel", body)], ONE, ONE)
        self.cost = cost
        return task
