"""What evaluating an array will do, stage by stage, without doing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from arrax.codegen import cpu
from arrax.codegen.llvm import generate
from arrax.compiler.group import Group, effective_kind
from arrax.compiler.index import Poly, Symbols
from arrax.compiler.kernel import Kernel, format_kernel
from arrax.compiler.lower import Argument, Ceil, Task
from arrax.compiler.pipeline import Library, Plan, Product, build
from arrax.compiler.simplify import Simplified
from arrax.graph import show
from arrax.graph.node import Node
from arrax.graph.template import Call, inlined, needed
from arrax.prims.leaf import const
from arrax.runtime.executor import SMALL
from arrax.transforms import trees

STAGES = ("graph", "simplified", "schedule", "kernels")
MORE = ("llvm", "asm", "dot")


@dataclass(frozen=True)
class Explanation:
    """The stages of an evaluation as text, by name; as a whole it reads from the recorded graph to the kernels."""

    stages: dict[str, str]

    def __getitem__(self, stage: str) -> str:
        return self.stages[stage]

    def __str__(self) -> str:
        if len(self.stages) == 1:
            return next(iter(self.stages.values()))
        return "\n\n".join(f"--- {name} ---\n{text}" for name, text in self.stages.items())

    __repr__ = __str__


def explain(tree: Any, stage: str | None = None) -> Explanation:
    """Tells how arrays would be computed; nothing is evaluated.

    Args:
        tree: an array, or lists, tuples and dicts of them, that ``eval`` would be given.
        stage: one stage only: ``"graph"`` (as recorded), ``"simplified"``, ``"schedule"`` (which nodes share a
            kernel, its loops, what goes through memory), ``"kernels"`` (kernel IR), ``"llvm"`` (LLVM IR), ``"asm"``
            (assembly of this machine) or ``"dot"`` (the schedule as a picture's source for Graphviz).
            None: the first four.

    Raises:
        ValueError: for another stage, and for arrays that a transform is tracing.
        TypeError: where there is no array.

    >>> import arrax
    >>> import arrax.core as mx
    >>> print(arrax.explain(mx.sin(mx.ones((100,)) * 2), stage="graph"))
    %0  float32[]     const(1)
    %1  float32[100]  broadcast(%0; (100,))
    %2  float32[]     const(2.0)
    %3  float32[100]  mul(%1, %2)
    %4  float32[100]  sin(%3)
    """
    if stage is not None and stage not in STAGES + MORE:
        raise ValueError(f"[explain] expected a stage out of {', '.join(STAGES + MORE)}, got {stage!r}: choose one")
    arrays = trees.arrays(tree)
    if not arrays:
        raise TypeError(f"[explain] expected arrays, got {type(tree).__name__}: pass what you would pass to eval")
    outputs = _inlined([a._node for a in arrays])
    wanted = [n for n in dict.fromkeys(outputs) if n.buffer is None and n.prim is not const]
    order = needed(wanted)
    if any(n.prim.name == "placeholder" and n.buffer is None for n in order):
        raise ValueError("[explain] expected data, got an array that a transform is tracing: explain outside of it")
    if not wanted:
        return Explanation({stage or "graph": f"nothing to compute: {show.text(outputs)}"})
    if any(0 in n.shape for n in order):
        reason = "evaluated by the references in NumPy: an array is empty"
        return Explanation({"graph": f"{show.text(order)}\n{reason}"} if stage is None else {stage: reason})
    return Explanation({name: _STAGES[name](_Study(order, wanted)) for name in ([stage] if stage else STAGES)})


def _inlined(outputs: list[Node]) -> list[Node]:
    """``outputs`` without calls and aliases. A call that has not been looked into yet still counts as such."""
    calls = [n for n in needed(outputs) if type(n) is Call and n.expansion is None]
    try:
        return inlined(outputs)[0]
    finally:
        for call in calls:
            call.expansion = None


class _Study:
    """A graph and its plan."""

    def __init__(self, order: list[Node], outputs: list[Node]) -> None:
        self.order = order
        self.graph = Simplified(order, outputs)
        self.plan: Plan = build(order, outputs)
        self.name = show.names(self.graph.order)
        self.position = {id(n): i for i, n in enumerate(self.graph.order)}
        self.work = sum(n.size for n in order if n.inputs and n.buffer is None)

    def node(self, position: int | tuple) -> str:
        return f"%{position}" if isinstance(position, int) else f"partial results of %{position[1]}"

    # --- numbers ------------------------------------------------------------------------------------------------------
    def number(self, p: Argument) -> str:
        """A size, a coordinate or an address, with the sizes of this graph filled in."""
        if isinstance(p, Ceil):
            up = f"ceil({self.number(p.size)} / {p.divisor})"
            up = up if p.multiple == 1 else f"{up} up to a multiple of {p.multiple}"
            return up if p.factor.value == 1 else f"{self.number(p.factor)} * {up}"
        return polynomial(p, self.plan.symbols)

    # --- the schedule -------------------------------------------------------------------------------------------------
    def members(self, group: Group) -> tuple[list[int], list[int]]:
        """Positions of the nodes that a group computes, and of those that it loads."""
        computed: set[int] = set()
        loaded: set[int] = set()
        if group.kind in ("contract", "opaque"):
            at = group.roots[0].node
            sources = [p for p, _ in group.operands] or [self.position[id(i)] for i in self.graph.order[at].inputs]
            return [at], sorted(set(sources))
        own = {r.node for r in group.roots if r.node == r.target}
        stack = [r.node for r in group.roots]
        for root in group.roots:
            target = self.graph.order[root.target]
            if effective_kind(target) == "scatter" and root.inside is not None:
                stack.append(self.position[id(target.inputs[1])])
        while stack:
            at = stack.pop()
            if at in computed or at in loaded:
                continue
            node = self.graph.order[at]
            if at not in own and (at in self.plan.stored or effective_kind(node) == "leaf"):
                loaded.add(at)
                continue
            computed.add(at)
            stack.extend(self.position[id(i)] for i in node.inputs)
        return sorted(computed), sorted(loaded)

    def scheduled(self) -> Iterator[str]:
        for number, group in enumerate(self.plan.groups):
            loops = ", ".join(f"i{v} < {self.number(n)}" for v, n in enumerate(group.dims))
            computed, loaded = self.members(group)
            yield f"group {number}: {group.kind}" + (f" over {loops}" if loops else "")
            if group.cols:
                columns = ", ".join(f"i{v}" for v in group.cols)
                over = " ".join(f"%{r}" for r in group.reductions)
                yield f"  along {columns}: {over or 'a running value'}"
            if group.serial:
                yield f"  in order: {', '.join(f'i{v}' for v in sorted(group.serial))}"
            yield "  loads    " + (" ".join(f"%{p}" for p in loaded) or "nothing")
            yield "  computes " + " ".join(f"%{p}:{self.graph.order[p].prim.name}" for p in computed)
            for root in group.roots:
                address = "" if group.kind == "opaque" else f"[{self.number(root.address)}]"
                what = "" if root.node == root.target else f" = %{root.node}"
                how = "" if root.combine in (None, "set") else f", combined by {root.combine}"
                yield f"  stores   %{root.target}{address}{what}{how}"
        for alias, source in self.plan.alias.items():
            yield f"%{alias} is in the memory of %{source}"

    # --- kernels ------------------------------------------------------------------------------------------------------
    def tasks(self) -> Iterator[tuple[str, Kernel | None]]:
        """What each step is called with, and its kernel where it has one."""
        for step in self.plan.steps:
            if isinstance(step, Task):
                what = [f"b{k} = {self.node(b)}" for k, b in enumerate(step.buffers)]
                what += [f"s{k} = %{s}" for k, s in enumerate(step.scalars)]
                what += [f"n{k} = {self.number(a)}" for k, a in enumerate(step.args)]
                yield f"# {' '.join(step.names)}: {', '.join(what)}; {self.number(step.total)} iterations", step.kernel
            elif isinstance(step, Product):
                sizes = " x ".join(self.number(d) for d in step.dims)
                sources = " and ".join(f"%{p}[{self.number(address)}]" for p, address in step.operands)
                yield f"# BLAS: {sources}, {sizes}, to %{step.target}", None
            else:
                assert isinstance(step, Library)
                name = self.graph.order[step.node].prim.name
                yield f"# library: {name}({', '.join(f'%{i}' for i in step.inputs)}) to %{step.node}", None


def polynomial(p: Poly, symbols: Symbols) -> str:
    """A polynomial with loop variables as ``i0``, ``i1``, ... and sizes as they are in the graph it was made from."""
    constant, terms = 0, []
    for letters, k in p.terms.items():
        factors = []
        for x in letters:
            kind = symbols.kinds[x]
            if kind[0] == "size":
                k *= kind[1]
            else:
                factors.append(_letter(kind, symbols))
        if factors:
            terms.append("*".join([*([] if k == 1 else [str(k)]), *factors]))
        else:
            constant += k
    if constant or not terms:
        terms.append(str(constant))
    return " + ".join(terms).replace("+ -", "- ")


def _letter(kind: tuple, symbols: Symbols) -> str:
    if kind[0] == "var":
        return f"i{kind[1]}"
    if kind[0] == "arg":
        return f"begin{kind[2]}"
    if kind[0] in ("div", "mod"):
        a, b = (polynomial(q, symbols) for q in kind[1:])
        return f"(({a}) {'//' if kind[0] == 'div' else '%'} {b})"
    return f"%{kind[1]}[{', '.join(polynomial(c, symbols) for c in kind[2])}]"


# --- stages -----------------------------------------------------------------------------------------------------------
def _graph(study: _Study) -> str:
    small = "" if study.work > SMALL else f"\nso small ({study.work} elements) that the references in NumPy evaluate it"
    return show.text(study.order) + small


def _simplified(study: _Study) -> str:
    return show.text(study.graph.order)


def _schedule(study: _Study) -> str:
    return "\n".join(study.scheduled())


def _kernels(study: _Study) -> str:
    return "\n\n".join(head if k is None else f"{head}\n{format_kernel(k)}" for head, k in study.tasks())


def _llvm(study: _Study) -> str:
    return "\n\n".join(
        head if k is None else f"{head.replace('#', ';', 1)}\n{generate(k, f'kernel_{i}')}"
        for i, (head, k) in enumerate(study.tasks())
    )


def _asm(study: _Study) -> str:
    return "\n\n".join(
        head if k is None else f"{head}\n{cpu.assembly(generate(k, f'kernel_{i}'))}"
        for i, (head, k) in enumerate(study.tasks())
    )


def _dot(study: _Study) -> str:
    clusters = {
        f"group {number}: {group.kind}": [study.graph.order[p] for p in study.members(group)[0]]
        for number, group in enumerate(study.plan.groups)
    }
    return show.dot(study.graph.order, clusters)


_STAGES = {
    "graph": _graph,
    "simplified": _simplified,
    "schedule": _schedule,
    "kernels": _kernels,
    "llvm": _llvm,
    "asm": _asm,
    "dot": _dot,
}
