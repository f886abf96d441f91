"""From groups of nodes to kernels.

Neighbouring loops that every address treats as one become one; the loop along which most addresses have unit stride is
made the vector loop. A group with reductions runs in phases, each one loop over the columns: first the reductions that
depend on no other, then those that depend on them, and so on; what is left to store comes with the phase where all that
it needs is known. Where there are no rows to spread over threads, the columns are cut into a fixed number of chunks (the
result does not depend on the number of threads), and a second kernel combines their results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
    op,
    quotient,
    read,
    remainder,
    select,
    var,
)
from arrax.compiler.scalar import combine, emit
from arrax.compiler.schedule import Coords, Group, Root, Scheduler, effective_kind
from arrax.graph.dtypes import Dtype, uint32
from arrax.graph.node import Node
from arrax.prims.leaf import threefry2x32
from arrax.prims.reduce import initial

CHUNK = 2048  # elements of a one-dimensional loop that are one iteration of its parallel loop
PARTS = 64  # pieces that a reduction without rows is cut into
WIDE = 64  # lanes of loops with little arithmetic
NARROW = 16
TILE = 16  # rows that a transposing kernel does together: a cache line of float32
STRIDED = 4  # constant strides up to which memory is read and written in whole vectors
COLUMN = 100  # how much more an access in every column weighs than one in every row
HEAVY = 40  # operations per element from which on lanes are narrow

Key = tuple[int, Coords]


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
    address: int = 0  # of the machine code, once there is some


@dataclass(eq=False, slots=True)
class _Block:
    """Loops that have become one: they are counted by the last one's variable, over the product of their sizes."""

    letters: list[int]
    size: Poly
    column: bool
    serial: bool

    @property
    def primary(self) -> int:
        return self.letters[-1]


@dataclass(eq=False, slots=True)
class _Analysis:
    """All that a group computes: values by node and coordinates, in an order where operands come first."""

    order: list[Key] = field(default_factory=list)
    needs: dict[Key, list[Key]] = field(default_factory=dict)
    polys: list[tuple[Poly, int]] = field(default_factory=list)  # every polynomial, and its weight as an address
    phase: dict[Key, int] = field(default_factory=dict)


class Lowering:
    """Lowers one group."""

    def __init__(self, scheduler: Scheduler, group: Group, stored: dict[int, list[int]]) -> None:
        self.scheduler = scheduler
        self.symbols = scheduler.symbols
        self.nodes = scheduler.order
        self.group = group
        self.stored = stored
        self.own = {r.node for r in group.roots if r.node == r.target}
        self.columns = {self.symbols.letter("var", v) for v in group.cols or ()}
        scheduler._bind_bounds(group)

    # --- analysis -----------------------------------------------------------------------------------------------------
    def _atoms(self, p: Poly) -> list[Key]:
        """The data that a polynomial's letters are read from."""
        result: list[Key] = []
        stack, seen = [p], {p}
        while stack:
            for x in stack.pop().letters():
                kind = self.symbols.kinds[x]
                if kind[0] in ("data", "raw"):
                    result.append((kind[1], kind[2]))
                elif kind[0] in ("div", "mod"):
                    stack.extend(q for q in kind[1:] if q not in seen)
                    seen.update(kind[1:])
        return result

    def _inner_polys(self, p: Poly) -> list[Poly]:
        return [q for x in p.letters() if self.symbols.kinds[x][0] in ("div", "mod") for q in self.symbols.kinds[x][1:]]

    def _is_loaded(self, position: int) -> bool:
        node = self.nodes[position]
        if effective_kind(node) == "leaf":
            return node.prim.name != "const"
        return position in self.stored and position not in self.own

    def _analyse(self) -> _Analysis:
        result = _Analysis()

        def note(p: Poly, weight: int) -> list[Key]:
            pending = [(p, weight)]
            seen = {p}
            while pending:
                q, w = pending.pop()
                result.polys.append((q, w))
                new = [r for r in self._inner_polys(q) if r not in seen]
                seen.update(new)
                pending.extend((r, 0) for r in new)
            return self._atoms(p)

        def expand(key: Key) -> list[Key]:
            position, coords = key
            node = self.nodes[position]
            if effective_kind(node) == "leaf" and node.prim.name == "const":
                return []
            if self._is_loaded(position):
                return note(self.symbols.address(coords, node.shape), COLUMN if self._is_column(coords) else 1)
            if node.prim.name == "iota":
                return note(coords[node.params[0]], 0)
            found = self.scheduler.inputs_at(position, self.group, coords)
            if node.prim.name == "random_bits":
                note(coords[-1], 0)
            if effective_kind(node) == "gather":
                return [found[0], *(k for k in found[1:])]
            return found

        roots: list[Key] = []
        for root in self.group.roots:
            roots.append((root.node, root.coords))
            roots.extend(note(root.address, 2 * COLUMN if self._is_column(root.coords) else 2))
            for p in root.inside or ():
                note(p, 0)
        roots.extend((r, c) for r, c in self.group.reductions.items())
        state: dict[Key, int] = {}
        for start in roots:
            stack = [start]
            while stack:
                key = stack[-1]
                if key not in state:
                    state[key] = 1
                    result.needs[key] = expand(key)
                    stack.extend(k for k in result.needs[key] if k not in state)
                else:
                    stack.pop()
                    if state[key] == 1:
                        state[key] = 2
                        result.order.append(key)
        for key in result.order:
            ready = max((result.phase[k] for k in result.needs[key]), default=0)
            result.phase[key] = ready + 1 if key[0] in self.group.reductions else ready
        return result

    def _blocks(self, polys: list[tuple[Poly, int]]) -> list[_Block]:
        symbols = self.symbols
        distinct = list({p for p, _ in polys})
        blocks: list[_Block] = []
        for v in range(len(self.group.dims) - 1, -1, -1):
            letter = symbols.letter("var", v)
            size = self.group.dims[v]
            column, serial = v in (self.group.cols or ()), v in self.group.serial
            if blocks:
                last = blocks[0]
                if (last.column, last.serial) == (column, serial):
                    if all(p.coefficient(letter) == p.coefficient(last.primary) * last.size for p in distinct):
                        last.letters.insert(0, letter)
                        last.size = size * last.size
                        continue
            blocks.insert(0, _Block([letter], size, column, serial))
        return blocks

    def _vector_block(self, blocks: list[_Block], polys: list[tuple[Poly, int]]) -> _Block | None:
        """The loop with the most unit strides; the later one where two have as many."""
        best, most = None, -1.0
        for block in blocks:
            if block.serial or (self.group.kind == "scan" and block.column):
                continue
            score = sum(w * self._fitness(p.coefficient(block.primary).value, block) for p, w in polys if w)
            if score >= most:
                best, most = block, score
        if self.group.kind == "scan" and most <= 0:
            return None
        return best

    def _fitness(self, step: int | None, block: _Block) -> float:
        """How well an access of this stride goes with vectors along a loop; loops of a few iterations hardly fill one."""
        tiny = block.size.value is not None and block.size.value < NARROW
        if step in (1, -1):
            return 0.1 if tiny else 1.0
        return 0.5 if step is not None and 1 < step <= STRIDED and not tiny else 0.0

    def _tile_block(self, blocks: list[_Block], vector: _Block, polys: list[tuple[Poly, int]]) -> _Block | None:
        """A loop along which something has unit stride that has none along the vector loop: a transposing access."""
        for block in reversed(blocks):
            if block is vector:
                continue
            for p, w in polys:
                across = p.coefficient(vector.primary)
                if w and p.coefficient(block.primary).value == 1 and across.value is None:
                    return block
        return None

    # --- emission -----------------------------------------------------------------------------------------------------
    def run(self) -> list[Task]:
        """The group's kernels, in the order in which they run."""
        self.analysis = self._analyse()
        polys = self.analysis.polys
        blocks = self._blocks(polys)
        self.absorbed = {x for b in blocks for x in b.letters[:-1]}
        vector = self._vector_block(blocks, polys)
        self.cost = sum(
            self.nodes[p].prim.cost for p, c in self.analysis.order if effective_kind(self.nodes[p]) != "leaf"
        )
        names = [self.nodes[p].prim.name for p, _ in self.analysis.order if effective_kind(self.nodes[p]) != "leaf"]
        self.names = list(dict.fromkeys(names)) or ["copy"]
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

    def _end(self, body: list[Statement], total: Argument, work: Argument) -> Task:
        kernel = Kernel(
            self.name, list(self.buffers.values()), list(self.scalars.values()), list(self.args.values()), body
        )
        return Task(kernel, list(self.buffers), list(self.scalars), list(self.args), total, work, self.cost, self.names)

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
            at = cast(self.value((kind[1], kind[2]), values), INDEX)
            if self.nodes[kind[1]].dtype.is_signed:
                at = select(lt(at, 0), at + n, at)
            return op("min", op("max", at, const(0, INDEX)), n - 1) if kind[0] == "data" else at
        a, b = (self.number(p, values) for p in kind[1:])
        return quotient(a, b) if kind[0] == "div" else remainder(a, b)

    def number(self, p: Poly, values: dict[Key, Value]) -> Value:
        """A polynomial's value, summed from the outermost loop's share to the innermost's."""
        shares: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}
        for letters, k in p.terms.items():
            if any(x in self.absorbed for x in letters):
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
        known = values if self._is_column(key[1]) else self.row_values
        found = known.get(key)
        if found is None:
            found = known[key] = self._compute(key, values)
        return found

    def _is_column(self, coords: Coords) -> bool:
        return bool(self.columns) and any(self._depends_on_columns(c) for c in coords)

    def _depends_on_columns(self, p: Poly) -> bool:
        for x in p.letters():
            kind = self.symbols.kinds[x]
            if x in self.columns:
                return True
            if kind[0] in ("data", "raw") and self._is_column(kind[2]):
                return True
            if kind[0] in ("div", "mod") and any(self._depends_on_columns(q) for q in kind[1:]):
                return True
        return False

    def _compute(self, key: Key, values: dict[Key, Value]) -> Value:
        position, coords = key
        node = self.nodes[position]
        compute = node.dtype.compute
        if position in self.group.reductions:
            r = self.registers[position]
            return cast(read(r.index), uint32) if r.index is not None else read(r)
        if effective_kind(node) == "leaf" and node.prim.name == "const":
            found = self.scalars.get(position)
            if found is None:
                found = self.scalars[position] = Value("scalar", (), compute, f"s{len(self.scalars)}")
            return found
        if self._is_loaded(position):
            address = self.number(self.symbols.address(coords, node.shape), values)
            return cast(load(self._buffer(position, node.dtype), address), compute)
        if node.prim.name == "iota":
            return cast(self.number(coords[node.params[0]], values), compute)
        inputs = self.analysis.needs[key]
        if node.prim.name == "random_bits":
            return self._random_bits(node, coords, [self.value(k, values) for k in inputs], values)
        if effective_kind(node) in ("view", "gather", "barrier"):
            return self.value(inputs[0], values)
        operands = [self.value(k, values) for k in inputs]
        if node.prim.lower == "bitcast":  # of the bits in memory, not of those that half precision is computed with
            operands = [cast(operands[0], node.inputs[0].dtype)]
        return emit(node.prim.lower, operands, node.dtype)

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
        seen: set[Key] = set()
        stack = list(targets)
        while stack:
            key = stack.pop()
            if key not in seen:
                seen.add(key)
                if key[0] not in self.group.reductions:
                    stack.extend(self.analysis.needs[key])
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
            there = cast(load(buffer, address), target.dtype.compute)
            value = combine(root.combine, there, value)
        return Store(buffer, address, cast(value, target.dtype), inside)

    def _make(self, targets: Sequence[Key], values: dict[Key, Value]) -> None:
        for key in self._needed(targets):
            self.value(key, values)

    def _register(self, position: int) -> Register:
        node = self.nodes[position]
        dtype = node.inputs[0].dtype.compute
        how = node.prim.lower
        index = None
        if how in ("argmax", "argmin"):
            index = Register(f"i{len(self.registers)}", INDEX, "index", 2**62)
        return Register(f"r{len(self.registers)}", dtype, how, initial(how, dtype), index)

    def _update(self, position: int, values: dict[Key, Value]) -> Update:
        key = (position, self.group.reductions[position])
        source = self.analysis.needs[key][0]
        value = self.value(source, values)
        where = None
        if self.registers[position].index is not None:
            where = self.number(source[1][self.nodes[position].params[0][0]], values)
        return Update(self.registers[position], value, where)

    def _loops(self, blocks: list[_Block], vector: _Block | None, values_depth: int) -> tuple[list[Loop], list[Statement]]:
        """A nest of loops over blocks, the vector loop innermost; returns the outermost statement and the inmost body."""
        ordered = [b for b in blocks if b is not vector] + [b for b in blocks if b is vector]
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

    def _fresh(self, block: _Block, depth: int) -> Value:
        self.counter += 1
        v = var(f"v{self.counter}")
        self.env[block.primary] = v
        self.depth[block.primary] = depth + self.counter
        return v

    def _outer(self, blocks: list[_Block], p: Value) -> None:
        """Takes the parallel loop's counter apart into the row variables."""
        rest = p
        for number, block in enumerate(reversed(blocks)):
            if number == len(blocks) - 1:
                self.env[block.primary] = rest
            else:
                n = self.argument(block.size)
                above = quotient(rest, n)
                self.env[block.primary] = rest - above * n
                rest = above
            self.depth[block.primary] = 0

    def _phases(self, cols: list[_Block], vector: _Block | None, body: list[Statement]) -> None:
        """Everything that happens in one row."""
        group, phase = self.group, self.analysis.phase
        for position in group.reductions:
            self.registers[position] = self._register(position)
        column_roots = [r for r in group.roots if self._is_column(r.coords)]
        row_roots = [r for r in group.roots if not self._is_column(r.coords)]
        keys = {r: (r, c) for r, c in group.reductions.items()}
        last = max([phase[k] for k in keys.values()], default=0)
        for number in range(last + 1):
            updates = [r for r, k in keys.items() if phase[k] == number + 1]
            stores = [r for r in column_roots if phase[(r.node, r.coords)] == number]
            if not updates and not stores:
                continue
            for r in updates:
                body.append(Reset(self.registers[r]))
                if self.registers[r].index is not None:
                    body.append(Reset(self.registers[r].index))
            values: dict[Key, Value] = {}
            nest, inner = self._loops(cols, vector, 1)
            self._make(
                [self.analysis.needs[keys[r]][0] for r in updates] + [(r.node, r.coords) for r in stores], values
            )
            inner.extend(self._update(r, values) for r in updates)
            inner.extend(self._store(r, values) for r in stores)
            body.extend(nest)
        if row_roots:
            self._make([(r.node, r.coords) for r in row_roots], self.row_values)
            body.extend(self._store(r, self.row_values) for r in row_roots)

    def _lanes(self, vector: _Block | None) -> int:
        """Wide vectors keep several independent operations under way; they pay where there is little arithmetic."""
        if vector is None or self.cost >= HEAVY or self.symbols.is_short(vector.size):
            return NARROW
        strides = {p.coefficient(vector.primary).value for p, w in self.analysis.polys if w}
        return WIDE if strides <= {0, 1} else NARROW

    def _kernel(self, rows: list[_Block], cols: list[_Block], vector: _Block | None) -> Task:
        self._begin("k")
        self.counter = 0
        self.lanes = self._lanes(vector)
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
        elif (tile := self._tile_block(outer, vector, self.analysis.polys)) is not None:
            others = [b for b in outer if b is not tile]
            number, total = self._tiles(others, tile, p, TILE)
            begin = number * TILE
            end = op("min", begin + TILE, self.argument(tile.size))
            loop = Loop(self._fresh(vector, 1), const(0, INDEX), self.argument(vector.size), "vector", step=TILE)
            body.append(loop)
            inner = Loop(self._fresh(tile, 1), begin, end, "tile", step=TILE)
            loop.body.append(inner)
            self._plain([], inner.body)
            work = vector.size * TILE
        elif outer:
            self._outer(outer, p)
            loop = Loop(self._fresh(vector, 1), const(0, INDEX), self.argument(vector.size), "vector", step=self.lanes)
            body.append(loop)
            self._plain([], loop.body)
            total, work = self._product(outer), vector.size
        else:
            begin = p * CHUNK
            end = op("min", begin + CHUNK, self.argument(vector.size))
            loop = Loop(self._fresh(vector, 1), begin, end, "vector", step=self.lanes)
            body.append(loop)
            self._plain([], loop.body)
            total, work = Ceil(vector.size, CHUNK), constant(CHUNK)
        top = Loop(p, const(0, INDEX), self.argument(total), "parallel", body)
        return self._end([top], total, work)

    def _tiles(self, outer: list[_Block], block: _Block, p: Value, length: int) -> tuple[Value, Argument]:
        """The parallel loop counts rows and, within each, tiles of a loop."""
        if not outer:
            return p, Ceil(block.size, length)
        count = self.argument(Ceil(block.size, length))
        row = quotient(p, count)
        self._outer(outer, row)
        return p - row * count, Ceil(block.size, length, 1, self._product(outer))

    def _plain(self, serial: list[_Block], body: list[Statement]) -> None:
        """Stores that need no reduction."""
        nest, inner = self._loops(serial, None, 1)
        values: dict[Key, Value] = {}
        self._make([(r.node, r.coords) for r in self.group.roots], values)
        inner.extend(self._store(r, values) for r in self.group.roots)
        body.extend(nest)

    def _product(self, blocks: list[_Block]) -> Poly:
        total = ONE
        for b in blocks:
            total = total * b.size
        return total

    def _scan(self, cols: list[_Block], body: list[Statement]) -> None:
        """A register runs along the column; each of its states is stored."""
        (root,) = self.group.roots
        node = self.nodes[root.node]
        how, dtype = node.prim.lower, node.dtype.compute
        start = initial("max" if how == "logaddexp" else how, dtype)
        register = Register("r0", dtype, "set", start)
        body.append(Reset(register))
        nest, inner = self._loops(cols, None, 1)
        values: dict[Key, Value] = {}
        source = self.scheduler.inputs_at(root.node, self.group, root.coords)[0]
        self._make([source], values)
        update = Update(register, combine(how, read(register), self.value(source, values)))
        buffer = self._buffer(root.target, node.dtype, written=True)
        store = Store(buffer, self.number(root.address, values), cast(read(register), node.dtype))
        inner.extend([update, store] if node.params[2] else [store, update])
        body.extend(nest)

    def _cut(self, blocks: list[_Block], vector: _Block | None) -> list[Task]:
        """A reduction to one value: the first loop is cut into parts, whose results a second kernel combines."""
        self._begin("k")
        self.counter = 0
        self.lanes = self._lanes(vector)
        p = var("p")
        body: list[Statement] = []
        first = next((b for b in blocks if b is not vector), vector)
        piece = self.argument(Ceil(first.size, PARTS, self.lanes if first is vector else 1))
        begin = p * piece
        end = op("min", begin + piece, self.argument(first.size))
        for position in self.group.reductions:
            self.registers[position] = register = self._register(position)
            body.append(Reset(register))
            if register.index is not None:
                body.append(Reset(register.index))
        values: dict[Key, Value] = {}
        nest, inner = self._loops(blocks, vector, 1)
        outermost = nest[0]
        assert isinstance(outermost, Loop)
        outermost.begin, outermost.end = begin, end
        keys = {r: (r, c) for r, c in self.group.reductions.items()}
        stores = [r for r in self.group.roots if self._is_column(r.coords)]
        self._make([self.analysis.needs[k][0] for k in keys.values()] + [(r.node, r.coords) for r in stores], values)
        inner.extend(self._update(r, values) for r in keys)
        inner.extend(self._store(r, values) for r in stores)
        body.extend(nest)
        for position, register in self.registers.items():
            partial = self._buffer((self.group.number, position, 0), register.dtype, written=True)
            body.append(Store(partial, p, read(register)))
            if register.index is not None:
                where = self._buffer((self.group.number, position, 1), INDEX, written=True)
                body.append(Store(where, p, read(register.index)))
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
            body.append(Reset(register))
            value = load(self._buffer((self.group.number, position, 0), register.dtype), j)
            where = None
            if register.index is not None:
                body.append(Reset(register.index))
                where = load(self._buffer((self.group.number, position, 1), INDEX), j)
            loop.body.append(Update(register, value, where))
        body.append(loop)
        stores = [r for r in self.group.roots if not self._is_column(r.coords)]
        self._make([(r.node, r.coords) for r in stores], self.row_values)
        body.extend(self._store(r, self.row_values) for r in stores)
        task = self._end([Loop(p, const(0, INDEX), const(1, INDEX), "parallel", body)], ONE, ONE)
        self.cost = cost
        return task

