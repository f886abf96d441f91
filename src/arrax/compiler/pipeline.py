"""From a graph to a plan, stage by stage.

A plan holds for all graphs of the same structure, whatever the sizes: sizes, where slices begin and scalars are read
from the graph of each evaluation.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from arrax.compiler.donation import Access, Pair, access, donations
from arrax.compiler.group import Group
from arrax.compiler.index import Place, Poly, Symbols
from arrax.compiler.lower import Ceil, Lowering, Task
from arrax.compiler.schedule import Scheduler
from arrax.compiler.simplify import Simplified
from arrax.compiler.stages import stages
from arrax.graph.node import Node
from arrax.prims.leaf import const


@dataclass(eq=False, slots=True)
class Product:
    """A matrix product that BLAS does: the addresses of both operands over the loop variables (batch..., M, N, K).

    The products along the variables ``summed`` of the batch are added up. An operand of half precision is widened tile
    by tile.
    """

    target: int
    operands: list[tuple[int, Poly]]
    dims: list[Poly]
    variables: list[int]  # the letters of M, N, K
    batch: list[int]
    summed: list[int]
    result: Poly


@dataclass(eq=False, slots=True)
class Library:
    """An operation on whole arrays that a library does."""

    node: int
    inputs: list[int]
    recorded: Place  # where the node is in the recorded graph


Step = Task | Product | Library
Memory = int | tuple


@dataclass(eq=False)
class Plan:
    """What evaluates graphs of one structure.

    Attributes:
        steps: in the order of execution.
        order: the simplified graph that it was made from; positions in steps count in it.
        outputs: the positions of the results.
        alias: nodes that share another's memory, and the one whose it is.
        data: position in the simplified graph -> position in the recorded one, for data.
        scalars: likewise for scalars -> place in the recorded one, -1 for those that the rewriting made.
        sources: letter -> where its value is in the recorded graph: ("size", node, axis) or ("arg", node, number).
        groups: the schedule, for those who want to look.
        donations: inputs, and results that may be written over them.
        copies: for each step the donation that makes it needless, if there is one.
        stages: the steps that are launched together, in order.
        sizes: those of the axes of ``order``.
        touched: for each step the memory that it reads or writes: nodes, and intermediate results of cut reductions.
        again: for each step those of them that later ones read.
        begins, ends: for each stage the intermediate results that it is the first, the last to touch.
    """

    steps: list[Step]
    order: list[Node]
    outputs: list[int]
    alias: dict[int, int]
    data: dict[int, int]
    scalars: dict[int, Place]
    sources: dict[int, tuple[str, Place, int]]
    groups: list[Group]
    symbols: Symbols
    stored: dict[int, list[int]]
    donations: list[Pair]
    copies: list[Pair | None]
    stages: list[range]
    sizes: set[int] = field(init=False)
    touched: list[list[Memory]] = field(init=False)
    again: list[set[Memory]] = field(init=False)
    begins: list[list[Memory]] = field(init=False)
    ends: list[set[Memory]] = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = {n for node in self.order for n in node.shape}
        self.touched = [self._touched(step) for step in self.steps]
        last_read = {b: t for t, step in enumerate(self.steps) for b in self._read(step)}
        self.again = [{b for b in touched if last_read.get(b, t) > t} for t, touched in enumerate(self.touched)]
        placed = {*self.data, *self.scalars, *(self.root(i) for i in self.outputs)}
        first: dict[Memory, int] = {}
        last: dict[Memory, int] = {}
        for k, stage in enumerate(self.stages):
            for b in itertools.chain.from_iterable(self.touched[t] for t in stage):
                if b not in placed:
                    first.setdefault(b, k)
                    last[b] = k
        self.begins, self.ends = [[] for _ in self.stages], [set() for _ in self.stages]
        for b, k in first.items():
            self.begins[k].append(b)
        for b, k in last.items():
            self.ends[k].add(b)

    @functools.cached_property
    def letters(self) -> list[set[int]]:
        """For each stage the letters that its iterations and arguments depend on."""
        return [set().union(*(self._letters(self.steps[t]) for t in stage)) for stage in self.stages]

    def _letters(self, step: Step) -> set[int]:
        used: list[Poly] = []
        if isinstance(step, Task):
            sizes = {n for b in step.buffers if isinstance(b, int) for n in self.order[b].shape}
            used = [self.symbols.size(n) for n in sizes]
            for argument in (*step.args, step.total, step.work):
                used += (argument.size, argument.factor) if isinstance(argument, Ceil) else (argument,)
            used += [stride for stride, _ in step.strides or ()]
        elif isinstance(step, Product):
            used = [*step.dims, step.result, *(address for _, address in step.operands)]
        return set().union(*(p.letters() for p in used))

    def root(self, position: int) -> int:
        """The node in whose memory a node is."""
        return self.alias.get(position, position)

    def _touched(self, step: Step) -> list[Memory]:
        if isinstance(step, Task):
            return [*(self.root(b) if isinstance(b, int) else b for b in step.buffers), *step.scalars]
        if isinstance(step, Product):
            return [*(self.root(i) for i, _ in step.operands), step.target]
        return [*(self.root(i) for i in step.inputs), step.node]

    def _read(self, step: Step) -> list[Memory]:
        if not isinstance(step, Task):
            return self._touched(step)[:-1]
        # what is not written in whole vectors may be written where something is already, and that reads it
        return [
            self.root(b)
            for b, buffer in zip(step.buffers, step.kernel.buffers, strict=True)
            if isinstance(b, int) and (not buffer.written or step.strides is None)
        ]


def _product(group: Group, symbols: Symbols, order: Sequence[Node]) -> Product:
    (root,) = group.roots
    letters = [next(iter(c.letters())) if c.terms else -1 for c in root.coords]
    summed = [symbols.letter("var", v) for v in group.cols or ()]
    batch = [x for x in letters[:-3] if x >= 0 and x not in summed]
    return Product(root.target, group.operands, group.dims, letters[-3:], batch, summed, root.address)


def build(recorded: list[Node], outputs: list[Node]) -> Plan:
    """The plan of a graph in topological order."""
    graph = Simplified(recorded, outputs)
    symbols = Symbols()
    symbols.learn(graph.order)
    position = {id(n): i for i, n in enumerate(graph.order)}
    wanted = {position[id(n)] for n in graph.outputs}
    pinned = {i for i, n in enumerate(graph.order) if id(n) in graph.pinned}
    scheduler = Scheduler(graph.order, position, wanted, pinned, symbols, graph.origin)
    planned = scheduler.run()
    steps: list[Step] = []
    accesses: list[Access] = []  # of each step
    for group in planned.groups:
        if group.kind == "contract":
            steps.append(_product(group, symbols, graph.order))
            accesses.append(Access({scheduler.memory(i) for i, _ in group.operands}, {group.roots[0].target}))
        elif group.kind == "opaque":
            at = group.roots[0].node
            inputs = [position[id(x)] for x in graph.order[at].inputs]
            steps.append(Library(at, inputs, graph.origin[id(graph.order[at])]))
            accesses.append(Access({scheduler.memory(i) for i in inputs}, {at}))
        else:
            lowering = Lowering(scheduler, group, planned.stored)
            tasks = lowering.run()
            steps.extend(tasks)
            accesses.extend([access(lowering.analysis, scheduler.memory)] * len(tasks))
    where: dict[int, tuple[Place, int]] = {}
    places: list[tuple[Place, Node]] = [*enumerate(recorded), *graph.parts]
    for place, node in places:
        for axis, n in enumerate(node.shape):
            where.setdefault(n, (place, axis))
    for n in where:
        symbols.size(n)
    sources: dict[int, tuple[str, Place, int]] = {}
    for letter, kind in enumerate(symbols.kinds):
        if kind[0] == "size":
            sources[letter] = ("size", *where[kind[1]])
        elif kind[0] == "arg":
            sources[letter] = ("arg", kind[1], kind[2])
    recorded_at = {id(n): i for i, n in enumerate(recorded)}
    leaves = {i: n for i, n in enumerate(graph.order) if n.buffer is not None or n.prim.kind == "leaf"}
    scalars = {i: graph.origin.get(id(n), -1) for i, n in leaves.items() if n.prim is const}
    data = {i: recorded_at[id(n)] for i, n in leaves.items() if i not in scalars}
    results = {scheduler.memory(i) for i in wanted}
    pairs = [
        (i, o)
        for i, o in donations(accesses, data.keys() - results, results - leaves.keys())
        for a, b in [(graph.order[i], graph.order[o])]
        if symbols.elements(a.shape) == symbols.elements(b.shape) and a.dtype.size == b.dtype.size
    ]
    copies = [next((pair for pair in pairs if step.copies and pair in step.pairs), None) for step in accesses]
    return Plan(
        steps,
        [Node(n.prim, (), n.params, n.shape, n.dtype) for n in graph.order],  # a plan must not hold on to data
        [position[id(n)] for n in graph.outputs],
        {i: scheduler.memory(i) for i in scheduler.alias},
        data,
        scalars,
        sources,
        planned.groups,
        symbols,
        planned.stored,
        pairs,
        copies,
        stages(accesses, [isinstance(s, Library) or c is not None for s, c in zip(steps, copies, strict=True)], pairs),
    )
