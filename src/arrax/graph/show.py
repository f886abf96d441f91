"""Graphs for people: as text, and as a picture's source for Graphviz."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node

_WIDEST = 60  # characters of a parameter


def names(nodes: Sequence[Node]) -> dict[int, str]:
    """A name for each node by its id: ``%0``, ``%1``, ... in the order given."""
    return {id(n): f"%{i}" for i, n in enumerate(nodes)}


def kind_of(node: Node) -> str:
    """The name of what computes the node; ``data`` where nothing has to any more."""
    return "data" if node.buffer is not None else node.prim.name


def _parameter(value: Any) -> str:
    if isinstance(value, Dtype):
        return value.name
    if isinstance(value, tuple):
        return f"({', '.join(map(_parameter, value))}{',' if len(value) == 1 else ''})"
    text = repr(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def operation(node: Node, name: Mapping[int, str]) -> str:
    """What computes a node, in the manner of a call: inputs, then parameters. ``name`` names nodes by their ids."""
    if node.buffer is not None:
        return "data"
    arguments = ", ".join(name.get(id(i), "?") for i in node.inputs)
    parameters = ", ".join(map(_parameter, node.params))
    return f"{node.prim.name}({'; '.join(part for part in (arguments, parameters) if part)})"


def text(nodes: Sequence[Node]) -> str:
    """One line per node: its name, type and shape, and what computes it. Nodes come after their inputs.

    >>> from arrax.graph.dtypes import float32
    >>> from arrax.graph.node import topological
    >>> from arrax.prims.leaf import constant
    >>> from arrax.prims.pointwise import mul, sin
    >>> x = constant(2.0, float32)
    >>> print(text(topological([mul(sin(x), x)])))
    %0  float32[]  const(2.0)
    %1  float32[]  sin(%0)
    %2  float32[]  mul(%1, %0)
    """
    name = names(nodes)
    heads = [name[id(n)] for n in nodes]
    types = [f"{n.dtype.name}{list(n.shape)}" for n in nodes]
    wide, wider = max(map(len, heads), default=0), max(map(len, types), default=0)
    return "\n".join(
        f"{head:<{wide}}  {kind:<{wider}}  {operation(node, name)}"
        for head, kind, node in zip(heads, types, nodes, strict=True)
    )


def dot(
    nodes: Sequence[Node],
    clusters: Mapping[str, Iterable[Node]] | None = None,
    labels: Mapping[int, str] | None = None,
) -> str:
    """The graph in Graphviz's language: ``dot -Tsvg`` draws it.

    Args:
        nodes: after their inputs, as ``text`` takes them.
        clusters: nodes that are to be framed together, by what to write on the frame; a node is drawn in the first
            frame that has it.
        labels: what to call nodes, by their ids, in the place of their numbers.
    """
    name = names(nodes)
    shown = {**name, **(labels or {})}
    lines = ["digraph {", "  node [shape=box, fontname=monospace]"]
    drawn: set[int] = set()

    def draw(node: Node, pad: str) -> None:
        drawn.add(id(node))
        shape = f"{node.dtype.name}{list(node.shape)}"
        parameters = ", ".join(map(_parameter, node.params)) if node.buffer is None else ""
        label = "\n".join(filter(None, [f"{shown[id(node)]} {kind_of(node)}", parameters, shape]))
        style = "" if node.inputs and node.buffer is None else ", style=rounded"
        lines.append(f"{pad}{quoted(name[id(node)])} [label={quoted(label)}{style}]")

    for i, (label, members) in enumerate((clusters or {}).items()):
        lines += [f"  subgraph cluster_{i} {{", f"    label={quoted(label)}"]
        for node in members:
            if id(node) in name and id(node) not in drawn:
                draw(node, "    ")
        lines.append("  }")
    for node in nodes:
        if id(node) not in drawn:
            draw(node, "  ")
    for node in nodes:
        for source in node.inputs if node.buffer is None else ():
            if id(source) in name:
                lines.append(f"  {quoted(name[id(source)])} -> {quoted(name[id(node)])}")
    return "\n".join([*lines, "}"])


def quoted(value: str) -> str:
    """A text as Graphviz's language writes it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
