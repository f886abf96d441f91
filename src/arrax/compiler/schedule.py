"""Grouping: which nodes are computed together in one kernel, and what goes through memory.

The nodes are visited from the outputs to the leaves. Each carries the *demand* on it: which groups want it, at which
coordinates of their loops. A node that one group wants at one place is computed there, in registers; a view passes the
demand on at other coordinates; a reduction joins the group that wants it if the group's loops are its own (the same
rows, and the same columns or none yet); everything else is *stored*: it becomes a root of a group, if possible of one
that wants it, and is loaded by the others.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Collection, Sequence

from arrax.compiler.group import Coords, Group, Root, Schedule, effective_kind, narrow_data, normal
from arrax.compiler.index import ONE, TINY, ZERO, Place, Poly, Symbols, ViewContext, constant
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import EXPENSIVE

MAX_COST = 4000  # machine operations per element in one kernel
MAX_WRITTEN_OUT = 200  # machine operations for the elements of a short reduction that is stored
MAX_LOOPS = 8  # loops over the columns, one after the other, in one kernel
MAX_REPEATS = 2  # of these loops in which one expensive value is computed
MAX_TERMS = 24  # of a coordinate
MAX_NESTING = 3  # quotients of quotients
MAX_WALK = 256  # groups that are looked at to find out which one waits for which


class Scheduler:
    """One pass over a graph; see the module's text."""

    def __init__(
        self,
        order: Sequence[Node],
        position: dict[int, int],
        outputs: set[int],
        pinned: set[int],
        symbols: Symbols,
        origin: dict[int, Place],
    ) -> None:
        self.order = order
        self.position = position
        self.outputs = outputs
        self.pinned = set(pinned)
        self.symbols = symbols
        self.origin = origin
        self.groups: list[Group] = []
        self.demand: list[dict[int, list[Coords]]] = [{} for _ in order]
        self.stored: dict[int, list[int]] = {}
        self.alias: dict[int, int] = {}
        self.unrolled: set[int] = set()
        self._measure()

    def _measure(self) -> None:
        """How costly each node is to compute again, and from how many arrays, none, one or more, it is computed."""
        self.weight: list[tuple[int, int]] = []
        self.kinds = [effective_kind(node) for node in self.order]
        self.uses = [0] * len(self.order)
        for position in self.outputs | self.pinned:
            self.uses[position] += 1
        for node, kind in zip(self.order, self.kinds, strict=True):
            for x in () if node.buffer is not None else node.inputs:
                self.uses[self.position[id(x)]] += 1
            if kind == "leaf":
                self.weight.append((0, 1 if node.buffer is not None or node.shape else 0))
            elif kind in ("pointwise", "source", "view", "gather", "barrier"):
                inputs = [self.weight[self.position[id(i)]] for i in node.inputs]
                own = node.prim.cost if kind in ("pointwise", "source") else 0
                cost = own + sum(w for w, _ in inputs)
                self.weight.append((min(cost, MAX_COST), min(sum(n for _, n in inputs), 2)))
            else:
                self.weight.append((0, 1))

    # --- groups -------------------------------------------------------------------------------------------------------
    def _new_group(self, kind: str, shape: Shape) -> tuple[Group, Coords]:
        """A group that loops over an array's elements, and their coordinates."""
        group = Group(len(self.groups), kind, [])
        self.groups.append(group)
        return group, tuple([self._axis(group, n) for n in shape])

    def _axis(self, group: Group, n: int) -> Poly:
        """The coordinate along an axis, in new loops: one for each part of a size that is a product.

        Where nothing looks at the parts the loops become one again when they are lowered.
        """
        if n == 1:
            return ZERO
        coordinate = ZERO
        for part in self.symbols.parts(n):
            size = self.symbols.size(part)
            group.dims.append(size)
            coordinate = coordinate * size + self.symbols.var(len(group.dims) - 1)
        return coordinate

    def bind_bounds(self, group: Group) -> None:
        self.symbols.bounds = {self.symbols.letter("var", i): n for i, n in enumerate(group.dims)}

    def _variables(self, p: Poly) -> set[int]:
        """The loop variables in a coordinate."""
        return {self.symbols.kinds[x][1] for x in p.letters() if self.symbols.kinds[x][0] == "var"}

    def _may_wait(self, number: int, others: Collection[int]) -> bool:
        """Whether a group waits for one of several others, or so many groups are between them that it may."""
        if not others:
            return False
        seen = {number}
        queue = deque(seen)
        while queue:
            for g in self.groups[queue.popleft()].after:
                if g in others or len(seen) > MAX_WALK:
                    return True
                if g not in seen:
                    seen.add(g)
                    queue.append(g)
        return False

    # --- joining ------------------------------------------------------------------------------------------------------
    def _rows_of(self, group: Group, shape: Shape, coords: Coords, axes: tuple[int, ...]) -> list[int] | None:
        """The loop variables that the coordinates are made of: in order, of the array's sizes; None if they are not."""
        found: list[int] = []
        for i, c in enumerate(coords):
            if i in axes or shape[i] == 1:
                if c.terms:
                    return None
                continue
            variables = sorted(self._variables(c))
            sizes = [self.symbols.size(part) for part in self.symbols.parts(shape[i])]
            if [group.dims[v] for v in variables] != sizes or (found and variables[0] <= found[-1]):
                return None
            whole = ZERO
            for v, n in zip(variables, sizes, strict=True):
                whole = whole * n + self.symbols.var(v)
            if whole != c:
                return None
            found.extend(variables)
        return found

    def _fits_root(self, group: Group, node: Node, coords: Coords) -> bool:
        """Whether the group's loops visit every element of the node once: it can be stored from there."""
        if group.kind != "loop" or group.serial:
            return False
        rows = self._rows_of(group, node.shape, coords, ())
        if rows is None:
            return False
        everything = set(range(len(group.dims)))
        return set(rows) == everything or (group.cols is not None and set(rows) == everything - set(group.cols))

    def _fits_reduction(self, group: Group, node: Node, coords: Coords, position: int) -> bool:
        """Whether a reduction can be computed by the group's loops; makes room for its columns if it can."""
        if group.kind != "loop" or group.serial or group.loops.get(position, 0).bit_length() >= MAX_LOOPS:
            return False
        axes = node.params[0]
        source = node.inputs[0].shape
        rows = self._rows_of(group, source, coords, axes)
        if rows is None:
            return False
        reduced = [source[i] for i in axes if source[i] != 1]
        sizes = [self.symbols.size(n) for n in reduced]
        rest = [v for v in range(len(group.dims)) if v not in rows]
        if group.cols is not None:
            if rest != list(group.cols) or [n for _, n in group.columns] != sizes:
                return False
        elif not rest:
            if not sizes:
                return False
            self._add_columns(group, position)
            return True
        # with no rows the columns are spread over threads: nothing in the same kernel can wait for their total
        if not rows and (position in group.spread or group.cols is None):
            return False
        if group.cols is None:
            parts = [[self.symbols.size(q) for q in self.symbols.parts(n)] for n in reduced]
            if [group.dims[v] for v in rest] != [q for axis in parts for q in axis]:
                return False
            group.cols = tuple(rest)
            left = iter(rest)
            for axis, size in zip(parts, sizes, strict=True):
                coordinate = ZERO
                for q in axis:
                    coordinate = coordinate * q + self.symbols.var(next(left))
                group.columns.append((coordinate, size))
        return True

    def _add_columns(self, group: Group, position: int) -> None:
        """Loops for what a reduction runs over: all that the group has computed so far is computed once a row."""
        group.loops = dict.fromkeys(group.loops, 0)
        node = self.order[position]
        source = node.inputs[0].shape
        first = len(group.dims)
        for i in node.params[0]:
            if source[i] != 1:
                group.columns.append((self._axis(group, source[i]), self.symbols.size(source[i])))
        group.cols = tuple(range(first, len(group.dims)))

    # --- demand -------------------------------------------------------------------------------------------------------
    def _require(self, position: int, group: Group, coords: Coords, loops: int = 0) -> None:
        group.loops[position] = group.loops.get(position, 0) | loops
        wanted = self.demand[position].setdefault(group.number, [])
        if coords not in wanted:
            wanted.append(coords)

    def inputs_at(self, position: int, group: Group, coords: Coords) -> list[tuple[int, Coords]]:
        """Where a node that is computed at some coordinates needs its inputs."""
        node, kind = self.order[position], self.kinds[position]
        result: list[tuple[int, Coords]] = []
        if kind in ("view", "gather"):

            def data(number: int, at: Sequence[Poly], length: int) -> Poly:
                where = self.position[id(node.inputs[number])]
                result.append((where, tuple(at)))
                return self.symbols.poly(self.symbols.letter("data", where, tuple(at), self.symbols.size(length)))

            context = ViewContext(self.symbols, self.origin.get(id(node), position), data)
            mapped = tuple(node.prim.lower(node, coords, context))
            source = node.inputs[0].shape
            result.insert(0, (self.position[id(node.inputs[0])], normal(mapped, source)))
        elif position in self.unrolled:
            source = node.inputs[0].shape
            for numbers in itertools.product(*(range(source[i]) for i in node.params[0])):
                fixed = dict(zip(node.params[0], map(constant, numbers), strict=True))
                place = tuple(fixed.get(i, c) for i, c in enumerate(coords))
                result.append((self.position[id(node.inputs[0])], place))
        elif kind == "reduce":
            axes, columns = node.params[0], iter(group.columns)
            source = node.inputs[0].shape
            mapped = tuple(
                (next(columns)[0] if source[i] != 1 else ZERO) if i in axes else c for i, c in enumerate(coords)
            )
            result.append((self.position[id(node.inputs[0])], mapped))
        elif kind == "scan":
            axis, reverse, _ = node.params
            n = self.symbols.size(node.shape[axis])
            mapped = tuple(n - 1 - c if i == axis and reverse else c for i, c in enumerate(coords))
            result.append((self.position[id(node.inputs[0])], mapped))
        elif kind == "barrier":
            result.append((self.position[id(node.inputs[0])], coords))
        else:
            for x in node.inputs:
                skip = len(coords) - x.ndim
                if kind == "source":  # random bits: the key's leading axes; the words are read where they are hashed
                    result.append((self.position[id(x)], (*coords[:-1], ZERO)))
                    result.append((self.position[id(x)], (*coords[:-1], self.symbols.size(1))))
                    continue
                at = tuple(ZERO if n == 1 else c for n, c in zip(x.shape, coords[skip:], strict=True))
                result.append((self.position[id(x)], at))
        return result

    def _propagate(self, position: int, group: Group, coords: Coords) -> None:
        self.bind_bounds(group)
        node = self.order[position]
        if self.kinds[position] in ("pointwise", "source"):
            group.cost += node.prim.cost
        loops = group.loops.get(position, 0)
        if position in group.reductions:
            loops = 1 << loops.bit_length()  # it has been summed up when the first of them begins
        column = any(self._has_variables(c) for c in coords)
        for where, at in self.inputs_at(position, group, coords):
            if (column or position in group.spread) and not any(self._has_variables(c) for c in at):
                group.spread.add(where)
            self._require(where, group, at, loops)

    def _has_variables(self, p: Poly) -> bool:
        return any(self.symbols.kinds[x][0] == "var" for x in p.letters())

    def memory(self, position: int) -> int:
        """The node in whose memory a node is."""
        while position in self.alias:
            position = self.alias[position]
        return position

    # --- the pass -----------------------------------------------------------------------------------------------------
    def run(self) -> Schedule:
        for position in range(len(self.order) - 1, -1, -1):
            node, kind = self.order[position], self.kinds[position]
            if kind == "leaf":
                continue
            if not self.demand[position] and position not in self.outputs and position not in self.pinned:
                continue
            must = position in self.outputs or position in self.pinned or kind == "barrier"
            if kind == "contract":
                self._contract(position, position)
            elif kind == "update":
                self._update(position)
            elif kind == "scatter":
                self._scatter(position)
            elif kind == "scan":
                self._scan(position)
            elif kind == "opaque":
                self._opaque(position)
            elif kind in ("view", "gather") and not must and not self._is_intricate(position):
                self._inline(position)
            elif kind == "barrier" or (node.prim.name == "reshape" and node.inputs[0].prim.name != "const"):
                self._share(position)
            elif kind == "reduce":
                self._reduce(position, must)
            elif not must and self._inlinable(position):
                self._inline(position)
            else:
                self._store(position)
        return Schedule(self._sorted(), self.stored)

    def _inline(self, position: int) -> None:
        for number, places in list(self.demand[position].items()):
            for coords in places:
                self._propagate(position, self.groups[number], coords)

    def _is_intricate(self, position: int) -> bool:
        """Whether a view is demanded at coordinates that have become longer than a copy is dear."""
        return any(
            len(c.terms) > MAX_TERMS or self.symbols.nesting(c) > MAX_NESTING
            for places in self.demand[position].values()
            for coords in places
            for c in coords
        )

    def _share(self, position: int) -> None:
        """A reshape that must be in memory is where its input is."""
        source = self.position[id(self.order[position].inputs[0])]
        self.alias[position] = source
        self.pinned.add(source)
        for number, places in list(self.demand[position].items()):
            for coords in places:
                group = self.groups[number]
                if group.kind in ("contract", "opaque"):
                    self._require(source, group, ())
                else:
                    self._propagate(position, group, coords)

    def _inlinable(self, position: int) -> bool:
        wanted = self.demand[position]
        cost, arrays = self.weight[position]
        if len(wanted) == 1:
            ((number, places),) = wanted.items()
            group = self.groups[number]
            if group.cost + self.order[position].prim.cost > MAX_COST or self._is_laborious(position, group):
                return False
            if len(places) == 1 or self._are_apart(places):
                return cost < 2 * EXPENSIVE or not self._repeats(group, places[0])
        if cost == 0 or arrays == 0:
            return cost <= EXPENSIVE * 4
        return arrays <= 1 and cost < EXPENSIVE

    def _is_laborious(self, position: int, group: Group) -> bool:
        """Whether a group would compute an expensive value of every column in too many of its loops over them."""
        if self.order[position].prim.cost < EXPENSIVE or group.loops[position].bit_count() <= MAX_REPEATS:
            return False
        places = self.demand[position][group.number]
        return any(not self._variables(c).isdisjoint(group.cols or ()) for coords in places for c in coords)

    def _are_apart(self, places: list[Coords]) -> bool:
        """Whether places are a few constant steps apart that no loop makes: other elements in every iteration."""
        steps: list[list[int]] = [[] for _ in places]
        for first, *others in zip(*places, strict=True):
            found = [0, *((c - first).value for c in others)]
            known = [n for n in found if n is not None]
            span = max(known) - min(known)
            strides = [
                k for t, k in first.terms.items() if len(t) == 1 and any(self.symbols.kinds[x][0] == "var" for x in t)
            ]
            if len(known) == len(places) and all(abs(k) > span for k in strides):
                for step, n in zip(steps, known, strict=True):
                    step.append(n)
        return len({tuple(step) for step in steps}) == len(places)

    def _repeats(self, group: Group, coords: Coords) -> bool:
        """Whether the group would compute the same elements again and again: a loop around them is not theirs."""
        inside = {v for c in coords for v in self._variables(c)}
        return any(v not in inside and n.value is None for v, n in enumerate(group.dims[: max(inside, default=0)]))

    def _root(self, position: int, group: Group, coords: Coords) -> None:
        """Stores a node from inside a group."""
        shape = self.order[position].shape
        group.roots.append(Root(position, coords, position, self.symbols.address(coords, shape)))
        self._written(position, [group.number])

    def _written(self, position: int, writers: list[int]) -> None:
        self.stored[position] = writers
        for number in self.demand[position]:
            self.groups[number].after.update(w for w in writers if w != number)

    def _host(self, position: int) -> tuple[Group, Coords] | None:
        """A group that wants the node, can compute it in place and store it for the others."""
        node = self.order[position]
        for number, places in self.demand[position].items():
            group = self.groups[number]
            if len(places) != 1 or group.kind != "loop" or group.cost + node.prim.cost > MAX_COST:
                continue
            if len(group.roots) > 12 or not self._fits_root(group, node, places[0]):
                continue
            if position in self.pinned and any(self.order[r].prim.in_runs for r in group.reductions):
                continue  # a product's sum goes over what is in memory, however that came about
            if self._is_laborious(position, group) or self._may_wait(number, self.demand[position].keys() - {number}):
                continue
            return group, places[0]
        return None

    def _store(self, position: int) -> None:
        host = self._host(position)
        if host is None:
            host = self._new_group("loop", self.order[position].shape)
        group, coords = host
        if len({v for c in coords for v in self._variables(c)}) == len(group.dims):
            group.loops[position] = group.loops.get(position, 0) | 1
        self._root(position, group, coords)
        self._propagate(position, group, coords)

    def _reduce(self, position: int, must: bool) -> None:
        node = self.order[position]
        if self._accumulates(node):
            self._contract(position, self.position[id(node.inputs[0])])
            return
        if self._is_handful(position, must):
            self.unrolled.add(position)
            (self._store if must else self._inline)(position)
            return
        for number, places in self.demand[position].items():
            group = self.groups[number]
            if len(places) != 1:
                continue
            others = self.demand[position].keys() - {number}
            store = must or bool(others)
            if store and (len(group.roots) > 12 or self._may_wait(number, others)):
                continue
            if self._fits_reduction(group, node, places[0], position):
                group.reductions[position] = places[0]
                if store:
                    self._root(position, group, places[0])
                self._propagate(position, group, places[0])
                return
        group, coords = self._new_group("loop", node.shape)
        self._add_columns(group, position)
        group.reductions[position] = coords
        self._root(position, group, coords)
        self._propagate(position, group, coords)

    def _is_handful(self, position: int, must: bool) -> bool:
        """Whether a reduction of a few elements is written out: wanted once for each result, or a product's sum."""
        node, demand = self.order[position], self.demand[position]
        count = math.prod(node.inputs[0].shape[i] for i in node.params[0])
        if node.prim.lower not in ("add", "mul", "max", "min") or not 1 < count <= TINY:
            return False
        cost = self.weight[self.position[id(node.inputs[0])]][0]
        if must:  # in a product there are several sums, one inside of another
            return node.prim.in_runs and count * cost <= MAX_WRITTEN_OUT
        if len(demand) != 1:
            return False
        ((number, places),) = demand.items()
        group = self.groups[number]
        if group.kind != "loop" or not (len(places) == 1 or self._are_apart(places)):
            return False
        inside = {v for c in places[0] for v in self._variables(c)}
        return len(inside) == len(group.dims) and group.cost + len(places) * count * cost <= MAX_COST

    def _scan(self, position: int) -> None:
        node = self.order[position]
        group, coords = self._new_group("scan", node.shape)
        axis, reverse, _ = node.params
        group.cols = tuple(sorted(self._variables(coords[axis])))
        n = self.symbols.size(node.shape[axis])
        target = tuple(n - 1 - c if i == axis and reverse else c for i, c in enumerate(coords))
        group.roots.append(Root(position, coords, position, self.symbols.address(target, node.shape)))
        self._written(position, [group.number])
        self._propagate(position, group, coords)

    def _part(self, position: int, source: int, address: Poly | None, coords: Coords, group: Group) -> None:
        """A group that writes one node's values into a part of another's memory."""
        shape = self.order[position].shape
        address = self.symbols.address(coords, shape) if address is None else address
        group.roots.append(Root(source, coords, position, address))

    def _update(self, position: int) -> None:
        """A concatenation, or a base with regions replaced: one group for each part, in order."""
        node = self.order[position]
        groups: list[Group] = []
        start = ZERO
        for x, place in self._parts(position):
            source = self.position[id(x)]
            group, coords = self._new_group("loop", x.shape)
            at: Sequence[Poly] = coords
            if node.prim.name == "concatenate":
                at = [c + start if i == node.params[0] else c for i, c in enumerate(coords)]
                start = start + self.symbols.size(x.shape[node.params[0]])
            elif place is not None:
                update = self.order[place]
                context = ViewContext(self.symbols, self.origin.get(id(update), place), lambda *a: ZERO)
                at = update.prim.lower(update, coords, context)
            address = self.symbols.address(at, node.shape)
            self._part(position, source, address, coords, group)
            if groups:
                group.after.add(groups[-1].number)
            groups.append(group)
            self._require(source, group, coords)
        self._written(position, [g.number for g in groups])

    def _parts(self, position: int) -> list[tuple[Node, int | None]]:
        """What an update is made of, in order, and the update that says where it goes, if it is a region.

        An update of an update that nobody else wants goes on in the same memory.
        """
        node = self.order[position]
        if node.prim.name == "concatenate":
            return [(x, None) for x in node.inputs]
        name = node.prim.name
        regions: list[tuple[Node, int | None]] = []
        while node.prim.name == name and node.buffer is None and (not regions or self.uses[position] == 1):
            regions.append((node.inputs[1], position))
            node = node.inputs[0]
            position = self.position[id(node)]
        return [(node, None), *reversed(regions)]

    def _scatter(self, position: int) -> None:
        node = self.order[position]
        base, index, update = (self.position[id(x)] for x in node.inputs)
        first, coords = self._new_group("loop", node.shape)
        self._part(position, base, None, coords, first)
        self._require(base, first, coords)
        axis, how = node.params
        group, at = self._new_group("loop", node.inputs[2].shape)
        group.after.add(first.number)
        k = node.inputs[1].ndim
        along = node.prim.name == "scatter_along"
        index_at = normal(at if along else at[axis : axis + k], node.inputs[1].shape)
        n = self.symbols.size(node.shape[axis])
        asked = self.symbols.poly(self.symbols.letter("raw", index, index_at, n))
        place = self.symbols.poly(self.symbols.letter("data", index, index_at, n))  # the same, kept inside
        target = tuple(
            [place if i == axis else c for i, c in enumerate(at)] if along else [*at[:axis], place, *at[axis + k :]]
        )
        moving = [at[axis]] if along else at[axis : axis + k]
        group.serial = frozenset(v for c in moving for v in self._variables(c))
        root = Root(update, at, position, self.symbols.address(target, node.shape), how, (asked, n))
        group.roots.append(root)
        self._require(index, group, index_at)
        self._require(update, group, at)
        self._written(position, [first.number, group.number])

    def _opaque(self, position: int) -> None:
        node = self.order[position]
        group = Group(len(self.groups), "opaque", [])
        self.groups.append(group)
        group.roots.append(Root(position, (), position, ZERO))
        self._written(position, [group.number])
        for x in node.inputs:
            self.pinned.add(self.position[id(x)])
            self._require(self.position[id(x)], group, ())

    # --- matrix products ----------------------------------------------------------------------------------------------
    def _accumulates(self, node: Node) -> bool:
        """Whether a reduction sums matrix products that nobody else wants: they are added up where they are made."""
        product = node.inputs[0]
        return (
            node.prim.lower == "add"
            and self.kinds[self.position[id(product)]] == "contract"
            and node.dtype is product.dtype
            and self.uses[self.position[id(product)]] == 1
            and all(axis < product.ndim - 2 for axis in node.params[0])
        )

    def _contract(self, position: int, product: int) -> None:
        """Operands are read through their views where a library can: unit stride along one of the two last axes.

        ``position`` is the product, or a sum of it over batch axes.
        """
        node = self.order[product]
        summed = self.order[position].params[0] if position != product else ()
        group = Group(len(self.groups), "contract", [])
        self.groups.append(group)
        a, b = node.inputs
        sizes = [*node.shape, a.shape[-1]]
        coords = []
        for n in sizes:
            if n == 1:
                coords.append(ZERO)
            else:
                group.dims.append(self.symbols.size(n))
                coords.append(self.symbols.var(len(group.dims) - 1))
        self.bind_bounds(group)
        group.cols = tuple(v for i in summed for v in self._variables(coords[i]))
        batch, (row, column, inner) = coords[:-3], coords[-3:]
        target = [ZERO if i in summed else c for i, c in enumerate(coords[:-1])]
        address = self.symbols.address(target, tuple(1 if i in summed else n for i, n in enumerate(node.shape)))
        group.roots.append(Root(position, tuple(coords), position, address))
        narrow = narrow_data(node)
        for x, last in ((a, (row, inner)), (b, (inner, column))):
            lead = batch[len(batch) - (x.ndim - 2) :]
            at = normal((*lead, *last), x.shape)
            source = x.inputs[0] if x is narrow else x
            where, address = self._strided(self.position[id(source)], at, last)
            group.operands.append((where, address))
            self.pinned.add(where)
            self._require(where, group, ())
        self._written(position, [group.number])

    def _strided(self, position: int, coords: Coords, last: tuple[Poly, Poly]) -> tuple[int, Poly]:
        best = (position, self.symbols.address(coords, self.order[position].shape))
        while self.order[position].prim.kind == "view" and position not in self.pinned and position not in self.outputs:
            node = self.order[position]
            if self.kinds[position] != "view":
                break
            context = ViewContext(self.symbols, self.origin.get(id(node), position), lambda *a: ZERO)
            coords = normal(tuple(node.prim.lower(node, coords, context)), node.inputs[0].shape)
            position = self.position[id(node.inputs[0])]
            address = self.symbols.address(coords, node.inputs[0].shape)
            if all(self.symbols.kinds[x][0] in ("size", "arg", "var") for x in address.letters()):
                steps = [address.coefficient(c.letters().pop()) if c.terms else ONE for c in last]
                overlapping = steps == [ONE, ONE] and all(c.terms for c in last)  # windows, one apart
                if ONE in steps and not overlapping and all(self._is_row_length(s) for s in steps):
                    best = (position, address)
            else:
                break
        return best

    def _is_row_length(self, step: Poly) -> bool:
        """Whether a stride is a positive number of elements that whole rows take."""
        known = all(self.symbols.kinds[x][0] == "size" or x in self.symbols.pitches for x in step.letters())
        return bool(step.terms) and known and all(k > 0 for k in step.terms.values())

    def _sorted(self) -> list[Group]:
        """The groups in an order in which each runs after those that it waits for."""
        result: list[Group] = []
        state = [0] * len(self.groups)
        for start in range(len(self.groups) - 1, -1, -1):
            stack = [start]
            while stack:
                g = stack[-1]
                if state[g] == 0:
                    state[g] = 1
                    stack.extend(n for n in sorted(self.groups[g].after) if state[n] == 0)
                else:
                    stack.pop()
                    if state[g] == 1:
                        state[g] = 2
                        result.append(self.groups[g])
        return result
