"""Primitives: one declaration holds all that the system knows of an operation.

A primitive has a *kind*, which alone decides how the compiler treats it:

========== ============================================================================================
leaf       data or a placeholder; ``const`` is a scalar
source     values computed from coordinates alone (iota, random bits)
pointwise  one element of the result from one element of each (broadcast) input
view       a map of coordinates: no arithmetic
gather     a view whose coordinates come from data
reduce     combines the elements along some axes (which stay, with size 1)
contract   matrix products
scan       running reductions along one axis
update     a copy of the first input with a region overwritten, or a concatenation
scatter    a copy of the first input with elements, chosen by data, combined with others
opaque     work that a library does on whole arrays
barrier    the first input's value, opaque to rewriting; further inputs are only waited for
alias      the first input's value; further inputs matter to transforms only (see graph/template.py)
composite  a composition of other operations, which only the compiler and the references open; no transform meets it
call       a recorded function's call and its results: the same, with several results
========== ============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node, Shape
from arrax.graph.symbol import active, broadcast

KINDS = (
    "leaf", "source", "pointwise", "view", "gather", "reduce", "contract", "scan", "update", "scatter", "opaque",
    "barrier", "alias", "composite", "call",
)  # fmt: skip


class _Declared:
    """A declared absence: the rule does not exist, and says so."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


NONDIFF = _Declared("NONDIFF")  # integer or boolean result, or a derivative that is zero almost everywhere
NO_VMAP = _Declared("NO_VMAP")

Samples = Callable[[], Sequence[tuple[Sequence[Any], tuple]]]


@dataclass(eq=False, slots=True)
class Primitive:
    """All rules of one operation.

    Attributes:
        name: the name, unique.
        kind: one of ``KINDS``.
        infer: ``(inputs, params) -> (shape, dtype)``; raises on inputs that do not fit.
        reference: ``(params, shape, dtype, *arrays) -> array`` in NumPy: the meaning of the operation.
        vjp: ``(node, cotangent) -> one cotangent (or None) per input``, in recorded operations; or ``NONDIFF``.
        batch: ``(node, inputs, batched) -> node`` where batched inputs carry a leading axis more; or ``NO_VMAP``.
            None where the kind has a rule of its own.
        lower: pointwise: the scalar operation's name in the kernel IR; reduce and scan: how two values combine; view
            and gather: the map of coordinates; opaque: ``(params, ndim) -> (rows, out, workers) -> None``, the work on
            an array's last axis in that many threads, if that is what the parameters ask for; composite:
            ``(inputs, params) -> node``, what it is made of.
        static: ``node -> hashable``: the part of the parameters that decides which code is generated.
        dynamic: ``node -> ints``: the part that is an argument of the generated code.
        samples: arguments for the tests: a list of (input specifications, params).
        in_runs: reduce: whether short runs of values are added up in the type that they are computed in, before the
            runs' sums are accumulated in ``Dtype.accumulate`` as those of other reductions are.
        cost: rough number of machine operations per element; from ``EXPENSIVE`` on a value is computed only once.
    """

    name: str
    kind: str
    infer: Callable[[tuple[Node, ...], tuple], tuple[Shape, Dtype]]
    reference: Callable[..., Any]
    vjp: Callable[[Node, Node], Sequence[Node | None]] | _Declared | None = None
    batch: Callable[[Node, list[Node], list[bool]], Node] | _Declared | None = None
    lower: Any = None
    static: Callable[[Node], Any] = field(default=lambda node: node.params)
    dynamic: Callable[[Node], tuple[int, ...]] = field(default=lambda node: ())
    samples: Any = None
    in_runs: bool = False
    cost: int = 1
    index: int = -1

    def __repr__(self) -> str:
        return self.name


EXPENSIVE = 6
REGISTRY: dict[str, Primitive] = {}
_DERIVED_BATCH = {"leaf", "source", "pointwise", "barrier"}


def register(prim: Primitive) -> Primitive:
    """Checks that a declaration is complete and enters it into the registry."""
    if prim.name in REGISTRY:
        raise ImportError(f"[register] {prim.name} is declared twice")
    missing = []
    if prim.kind not in KINDS:
        missing.append(f"a kind out of {KINDS}")
    if prim.vjp is None:
        missing.append("vjp (a rule or NONDIFF)")
    if prim.batch is None and prim.kind not in _DERIVED_BATCH:
        missing.append("batch (a rule or NO_VMAP)")
    if prim.kind in ("pointwise", "reduce", "view", "scan") and prim.lower is None:
        missing.append("lower")
    if prim.samples is None and prim.kind != "leaf":
        missing.append("samples")
    if missing:
        raise ImportError(f"[register] {prim.name} lacks {', '.join(missing)}")
    prim.index = len(REGISTRY)
    REGISTRY[prim.name] = prim
    return prim


def bind(prim: Primitive, inputs: tuple[Node, ...], params: tuple = ()) -> Node:
    """Records one operation."""
    shape, dtype = prim.infer(inputs, params)
    return Node(prim, inputs, params, shape, dtype)


def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """The common shape of operands that broadcast against each other, aligned at their last axes."""
    result = shapes[0]
    for shape in shapes[1:]:
        if active.traces:
            result = _broadcast_symbols(op, result, shape)
            continue
        if shape == result:
            continue
        a, b = (result, shape) if len(result) >= len(shape) else (shape, result)
        merged = list(a)
        skip = len(a) - len(b)
        for i, n in enumerate(b):
            m = a[skip + i]
            if m == n or n == 1:
                continue
            if m != 1:
                raise ValueError(f"[{op}] expected shapes that broadcast, got {list(result)} and {list(shape)}")
            merged[skip + i] = n
        result = tuple(merged)
    return result


def _broadcast_symbols(op: str, a: Shape, b: Shape) -> Shape:
    """The same of two shapes with symbols in them, which are not looked at."""
    a, b = (a, b) if len(a) >= len(b) else (b, a)
    skip = len(a) - len(b)
    try:
        return (*a[:skip], *map(broadcast, a[skip:], b))
    except ValueError:
        raise ValueError(f"[{op}] expected shapes that broadcast, got {list(a)} and {list(b)}") from None
