"""The plans that have been made, by the structure of their graphs: one for all sizes."""

from __future__ import annotations

import contextlib
import gc
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

from arrax.compiler.index import size_form
from arrax.compiler.outline import outline
from arrax.compiler.pipeline import build
from arrax.graph.node import Node, Shape
from arrax.graph.template import Result
from arrax.runtime.cpu import Bound

PLANS = 1024
VARIANTS = 4  # plans for one structure


class _Variant(NamedTuple):
    """A plan for graphs of one structure of which certain sizes are equal; others may be, too.

    Attributes:
        classes: for each size of the structure which others it is equal to.
        distinct: how many classes there are.
        bound: the plan, for the sizes that came last.
    """

    classes: tuple[int, ...]
    distinct: int
    bound: Bound

    def fits(self, sizes: tuple[int, ...]) -> bool:
        return len(set(zip(self.classes, sizes, strict=True))) == self.distinct


_plans: OrderedDict[tuple, list[_Variant]] = OrderedDict()  # used last at the end


def _structure(order: list[Node], outputs: list[Node]) -> tuple[tuple, tuple[int, ...]]:
    """What decides a plan: the graph without its sizes, but for the tiny ones; and those sizes, in order."""
    position = {id(n): i for i, n in enumerate(order)}
    known: dict[Shape, Shape] = {}
    key: list[Any] = []
    sizes: list[int] = []
    for node in order:
        kind = node.prim.kind
        if node.buffer is None and kind in ("composite", "call"):
            inputs = tuple([position[id(x)] for x in node.inputs])
            if type(node) is Result:
                key.append((node.params, inputs))
            else:
                parts = outline(node)
                key.append((parts.number, inputs))
                sizes += parts.sizes
            continue
        shape = node.shape
        form = known.get(shape)
        if form is None:
            form = known[shape] = tuple(map(size_form, shape))
        sizes += shape
        if node.buffer is not None:
            key.append((node.dtype, form))
        else:
            inputs = tuple([position[id(x)] for x in node.inputs])
            key.append((node.prim, node.prim.static(node), node.dtype, form, inputs))
    key.append(tuple([position[id(n)] for n in outputs]))
    return tuple(key), tuple(sizes)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's search for cycles: a plan is many objects that stay, and so a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def bound_plan(order: list[Node], outputs: list[Node]) -> Bound:
    """The plan of a graph in topological order, for its sizes."""
    structure, sizes = _structure(order, outputs)
    variants = _plans.get(structure, [])
    # a plan that knows of fewer sizes that they are equal does as well, so that sizes may meet by accident
    found = min((v for v in variants if v.fits(sizes)), key=lambda v: v.distinct, default=None)
    if found is None:
        classes: dict[int, int] = {}
        numbers = tuple([classes.setdefault(n, len(classes)) for n in sizes])
        with _uncollected():
            new = _Variant(numbers, len(classes), Bound(build(order, outputs), order))
        new.bound.plan.groups.clear()  # which are for people to look at
    else:
        variants.remove(found)
        new = found._replace(bound=Bound(found.bound.plan, order, found.bound))
    variants.append(new)
    del variants[:-VARIANTS]
    _plans[structure] = variants
    _plans.move_to_end(structure)
    if len(_plans) > PLANS:
        _plans.popitem(last=False)
    return new.bound
