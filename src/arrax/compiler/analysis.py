"""What a group computes, and what follows from its addresses: which loops become one, which is the vector loop.

Neighbouring loops that every address treats as one become one; the loop along which most addresses have unit stride is
made the vector loop; where something is contiguous along another loop only, a tile of that one is read with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arrax.compiler.group import Coords, Group, Root
from arrax.compiler.index import ONE, Poly
from arrax.compiler.schedule import Scheduler

WIDE = 64  # lanes of loops with little arithmetic
NARROW = 16  # lanes of others, and of loops that are short
STRIDED = 4  # constant strides up to which memory is read and written in whole vectors
COLUMN = 100  # how much more an access in every column weighs than one in every row
HEAVY = 40  # operations per element from which on lanes are narrow
REPEATS = (2, 4, 8, 16)  # how often neighbouring lanes may read one element, and be a vector all the same

Key = tuple[int, Coords]


@dataclass(eq=False, slots=True)
class Level:
    """A loop of a block by which coordinates go that are the same for all of the loops inside it.

    Attributes:
        letter: its variable.
        times: how many iterations of the block are one of it.
        size: the product of the sizes of this loop and those around it.
    """

    letter: int
    times: int
    size: Poly


@dataclass(eq=False, slots=True)
class Block:
    """Loops that have become one: they are counted by the last one's variable, over the product of their sizes.

    An address goes along with that variable, or with its quotient by a level's ``times``: an element is repeated.
    """

    letters: list[int]
    size: Poly
    column: bool
    serial: bool
    levels: list[Level]

    @property
    def primary(self) -> int:
        return self.letters[-1]

    def absorb(self, letter: int, size: Poly, polys: Sequence[Poly]) -> bool:
        """Takes in the loop around it, if all addresses go along."""
        repeated = False
        for p in polys:
            step = p.coefficient(letter)
            for level in self.levels:
                inner = p.coefficient(level.letter)
                if inner.terms:
                    if step != inner * level.size:
                        return False
                    break
            else:
                repeated = repeated or bool(step.terms)
        if repeated:
            if self.size.value not in REPEATS:
                return False
            self.levels.append(Level(letter, self.size.value, ONE))
        for level in self.levels:
            level.size = size * level.size
        self.letters.insert(0, letter)
        self.size = size * self.size
        return True


class Analysis:
    """All that a group computes: values by node and coordinates.

    Attributes:
        order: the values, operands first.
        needs: the values that each is computed from: its operands, then the data that its coordinates are read from.
        wanted: what storing each root takes: its value, and the data that its address is read from.
        polys: every polynomial, and its weight as an address.
        phase: how many reductions, one after the other, each value waits for.
        cost: operations per element.
        names: the operations, for people.
    """

    def __init__(self, scheduler: Scheduler, group: Group, stored: dict[int, list[int]]) -> None:
        self.scheduler = scheduler
        self.symbols = scheduler.symbols
        self.nodes = scheduler.order
        self.group = group
        self.stored = stored
        self.own = {r.node for r in group.roots if r.node == r.target}
        self.columns = {self.symbols.letter("var", v) for v in group.cols or ()}
        scheduler.bind_bounds(group)
        self.order: list[Key] = []
        self.needs: dict[Key, list[Key]] = {}
        self.wanted: dict[Root, list[Key]] = {}
        self.polys: list[tuple[Poly, int]] = []
        self.phase: dict[Key, int] = {}
        self._analyse()
        prims = [self.nodes[p].prim for p, _ in self.order if scheduler.kinds[p] != "leaf"]
        self.cost = sum(p.cost for p in prims)
        self.names = list(dict.fromkeys(p.name for p in prims)) or ["copy"]

    def is_column(self, coords: Coords) -> bool:
        """Whether coordinates change from column to column."""
        return bool(self.columns) and any(self._depends_on_columns(c) for c in coords)

    def _depends_on_columns(self, p: Poly) -> bool:
        for x in p.letters():
            kind = self.symbols.kinds[x]
            if x in self.columns:
                return True
            if kind[0] in ("data", "raw") and self.is_column(kind[2]):
                return True
            if kind[0] in ("div", "mod") and any(self._depends_on_columns(q) for q in kind[1:]):
                return True
        return False

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

    def is_loaded(self, position: int) -> bool:
        """Whether a node is read from memory rather than computed."""
        if self.scheduler.kinds[position] == "leaf":
            return self.nodes[position].prim.name != "const"
        return position in self.stored and position not in self.own

    def _analyse(self) -> None:
        """Walks from what is stored and reduced to what it is computed from."""

        def note(p: Poly, weight: int) -> list[Key]:
            pending = [(p, weight)]
            seen = {p}
            while pending:
                q, w = pending.pop()
                self.polys.append((q, w))
                new = [r for r in self._inner_polys(q) if r not in seen]
                seen.update(new)
                pending.extend((r, 0) for r in new)
            return self._atoms(p)

        def expand(key: Key) -> list[Key]:
            position, coords = key
            node, kind = self.nodes[position], self.scheduler.kinds[position]
            if kind == "leaf" and node.prim.name == "const":
                return []
            if self.is_loaded(position):
                return note(self.symbols.address(coords, node.shape), COLUMN if self.is_column(coords) else 1)
            if node.prim.name == "iota":
                return note(coords[node.params[0]], 0)
            found = self.scheduler.inputs_at(position, self.group, coords)
            if node.prim.name == "random_bits":
                return found + note(coords[-1], 0)
            if kind == "gather":
                return found[:1]  # where it is read is part of its coordinates, unless all elements are equal
            return found

        for root in self.group.roots:
            wanted = self.wanted[root] = [(root.node, root.coords)]
            wanted.extend(note(root.address, 2 * COLUMN if self.is_column(root.coords) else 2))
            for p in root.inside or ():
                wanted.extend(note(p, 0))
        roots = [key for wanted in self.wanted.values() for key in wanted]
        roots.extend((r, c) for r, c in self.group.reductions.items())
        state: dict[Key, int] = {}
        for start in roots:
            stack = [start]
            while stack:
                key = stack[-1]
                if key not in state:
                    state[key] = 1
                    self.needs[key] = expand(key)
                    stack.extend(k for k in self.needs[key] if k not in state)
                else:
                    stack.pop()
                    if state[key] == 1:
                        state[key] = 2
                        self.order.append(key)
        for key in self.order:
            ready = max((self.phase[k] for k in self.needs[key]), default=0)
            self.phase[key] = ready + 1 if key[0] in self.group.reductions else ready

    def behind(self, targets: Sequence[Key]) -> set[Key]:
        """The targets and what they are computed from, up to reductions."""
        seen: set[Key] = set()
        stack = list(targets)
        while stack:
            key = stack.pop()
            if key not in seen:
                seen.add(key)
                if key[0] not in self.group.reductions:
                    stack.extend(self.needs[key])
        return seen

    def blocks(self) -> list[Block]:
        """The group's loops, outermost first; neighbours that every address treats as one are one."""
        symbols = self.symbols
        distinct = list({p for p, _ in self.polys})
        blocks: list[Block] = []
        for v in range(len(self.group.dims) - 1, -1, -1):
            letter = symbols.letter("var", v)
            size = self.group.dims[v]
            column, serial = v in (self.group.cols or ()), v in self.group.serial
            alike = blocks and (blocks[0].column, blocks[0].serial) == (column, serial)
            if alike and blocks[0].absorb(letter, size, distinct):
                continue
            blocks.insert(0, Block([letter], size, column, serial, [Level(letter, 1, size)]))
        return blocks

    def vector_block(self, blocks: list[Block]) -> Block | None:
        """The loop with the most unit strides; the later one where two have as many."""
        best, most = None, -1.0
        for block in blocks:
            if block.serial or (self.group.kind == "scan" and block.column):
                continue
            score = sum(w * self._fitness(p.coefficient(block.primary).value, block) for p, w in self.polys if w)
            if score >= most:
                best, most = block, score
        if self.group.kind == "scan" and most <= 0:
            return None
        return best

    def _fitness(self, step: int | None, block: Block) -> float:
        """How well an access of this stride goes with vectors along a loop; a few iterations hardly fill one."""
        tiny = block.size.value is not None and block.size.value < NARROW
        if step in (1, -1):
            return 0.1 if tiny else 1.0
        return 0.5 if step is not None and 1 < step <= STRIDED and not tiny else 0.0

    def tile_block(self, blocks: list[Block], vector: Block) -> Block | None:
        """A loop along which something has unit stride that has none along the vector loop: a transposing access."""
        for block in reversed(blocks):
            if block is vector:
                continue
            for p, w in self.polys:
                across = p.coefficient(vector.primary)
                if w and p.coefficient(block.primary).value == 1 and across.value is None:
                    return block
        return None

    def lanes(self, vector: Block | None) -> int:
        """Wide vectors keep several independent operations under way; they pay where there is little arithmetic."""
        if vector is None or self._inner_cost(vector) >= HEAVY or self.symbols.is_short(vector.size):
            return NARROW
        strides = {p.coefficient(vector.primary).value for p, w in self.polys if w}
        return WIDE if strides <= {0, 1} else NARROW

    def _inner_cost(self, vector: Block) -> int:
        """Operations in an iteration of the vector loop: those of rows are not, where it runs along columns."""
        inner = [p for p, coords in self.order if not vector.column or self.is_column(coords)]
        return sum(self.nodes[p].prim.cost for p in inner if self.scheduler.kinds[p] != "leaf")
