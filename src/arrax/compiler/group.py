"""Groups: what is computed together in one kernel."""

from __future__ import annotations

from dataclasses import dataclass, field

from arrax.compiler.index import ZERO, Poly
from arrax.graph.dtypes import bfloat16, float16, float32
from arrax.graph.node import Node, Shape

Coords = tuple[Poly, ...]


@dataclass(eq=False, slots=True)
class Root:
    """One result of a group: a node's value, and where it goes: ``target``'s buffer at ``address``."""

    node: int
    coords: Coords
    target: int
    address: Poly
    combine: str | None = None  # scatter: how it meets what is there
    inside: tuple[Poly, Poly] | None = None  # scatter: only where 0 <= first < second


@dataclass(eq=False, slots=True)
class Group:
    """A kernel to be: loops over ``dims`` (their variables are var 0, 1, ...).

    Attributes:
        kind: loop, scan, contract or opaque.
        dims: number of iterations of each loop variable.
        cols: the variables that the group's reductions run over; None where it has none.
        serial: variables that must run in order on one thread (positions that are data may repeat).
        roots: what is stored.
        columns: the coordinates that reduced axes (of sizes other than 1) have, and those sizes.
        reductions: the reductions computed inside, with the coordinates of their results.
        after: groups that must run before.
        loops: of each value the loops over the columns that compute it, as bits: 1 is the last one, 2 that before it.
    """

    number: int
    kind: str
    dims: list[Poly]
    cols: tuple[int, ...] | None = None
    serial: frozenset[int] = frozenset()
    roots: list[Root] = field(default_factory=list)
    columns: list[tuple[Poly, Poly]] = field(default_factory=list)
    reductions: dict[int, Coords] = field(default_factory=dict)
    after: set[int] = field(default_factory=set)
    cost: int = 0
    operands: list[tuple[int, Poly]] = field(default_factory=list)  # contract: stored node and address
    loops: dict[int, int] = field(default_factory=dict)
    spread: set[int] = field(default_factory=set)  # row values that every column uses


@dataclass(eq=False, slots=True)
class Schedule:
    """Groups in the order of execution, and the nodes that have memory."""

    groups: list[Group]
    stored: dict[int, list[int]]  # node -> the groups that write it


def normal(coords: Coords, shape: Shape) -> Coords:
    """Coordinates with 0 along axes of size 1."""
    return tuple(ZERO if n == 1 else c for c, n in zip(coords, shape, strict=True))


def effective_kind(node: Node) -> str:
    """The primitive's kind; work on complex numbers is left to the reference."""
    if node.buffer is not None or node.prim.kind == "leaf":
        return "leaf"
    if node.dtype.is_complex or any(x.dtype.is_complex for x in node.inputs):
        return "opaque"
    if node.prim.name == "matmul" and node.dtype.name not in ("float32", "float64"):
        return "opaque"
    return node.prim.kind


def narrow_data(product: Node) -> Node | None:
    """The operand of a float32 product that is data of half precision: they had better be widened tile by tile."""
    found = None
    for x in product.inputs if product.dtype is float32 else ():
        if product.ndim == x.ndim == 2 and x.buffer is None and x.prim.name == "cast":
            source = x.inputs[0]
            while source.buffer is None and source.prim.kind == "view":
                source = source.inputs[0]
            is_data = effective_kind(source) == "leaf" and source.dtype in (float16, bfloat16)
            if is_data and (found is None or x.size > found.size):
                found = x
    return found
