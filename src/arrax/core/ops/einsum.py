"""Sums of products in index notation, by transposes and matrix products."""

from __future__ import annotations

import math as _math
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.arguments import expect
from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.core.ops.math import record_multiply
from arrax.core.ops.products import record_product
from arrax.core.ops.reductions import record_diagonal
from arrax.graph.dtypes import bool_, promote
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node
from arrax.prims import reduce as r
from arrax.prims import view as v
from arrax.prims.pointwise import cast

if TYPE_CHECKING:
    from arrax.core.array import array

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _parse(op: str, subscripts: str, nodes: list[Node]) -> tuple[list[str], str]:
    """One label per axis of every operand, and the result's; an ellipsis becomes labels that nobody uses."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(nodes):
        raise ValueError(
            f"[{op}] expected {len(terms)} operands for {shown(subscripts)}, got {len(nodes)}: pass as many"
        )
    named = text.replace("...", "").replace("->", "").replace(",", "")
    for c in named:
        if c not in _LETTERS:
            raise ValueError(f"[{op}] expected letters as subscripts, got {shown(c)}: write such as 'ij,jk->ik'")
    for term in (*terms, right):
        if term.count("...") > 1:
            raise ValueError(f"[{op}] expected one ellipsis at most in a term, got {shown(term)}: name the other axes")
    free = [c for c in _LETTERS if c not in named]
    widest = 0
    for term, node in zip(terms, nodes, strict=True):
        extra = node.ndim - len(term.replace("...", ""))
        if extra < 0 or (extra and "..." not in term):
            raise ValueError(
                f"[{op}] expected one subscript per axis, got {shown(term)} for {node.ndim} axes: add or drop some"
            )
        widest = max(widest, extra)
    dots = "".join(free[:widest])
    expanded = []
    for term, node in zip(terms, nodes, strict=True):
        extra = node.ndim - len(term.replace("...", ""))
        expanded.append(term.replace("...", dots[len(dots) - extra :]))
    if arrow:
        result = right.replace("...", dots)
    else:
        once = sorted(c for c in set(named) if sum(term.count(c) for term in expanded) == 1)
        result = (dots if "..." in left else "") + "".join(once)
    known = set("".join(expanded))
    for c in result:
        if c not in known or result.count(c) > 1:
            raise ValueError(
                f"[{op}] expected every subscript of the result once in an operand, got {shown(c)}: rename it"
            )
    return expanded, result


def _sizes(op: str, terms: list[str], nodes: list[Node]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for term, node in zip(terms, nodes, strict=True):
        for c, n in zip(term, node.shape, strict=True):
            if sizes.setdefault(c, n) != n:
                if sizes[c] != 1 and n != 1:
                    raise ValueError(
                        f"[{op}] expected one size for {shown(c)}, got {sizes[c]} and {n}: check the subscripts"
                    )
                sizes[c] = max(sizes[c], n)
    return sizes


def _path(terms: list[str], result: str, sizes: dict[str, int]) -> list[tuple[int, ...]]:
    """The order of contractions: greedily the pair whose product is cheapest in comparison to what it replaces."""
    if len(terms) <= 2:
        return [tuple(range(len(terms)))]
    shapes = [np.broadcast_to(np.float32(0), [sizes[c] for c in term]) for term in terms]
    path = np.einsum_path(",".join(terms) + "->" + result, *shapes, optimize="greedy")[0]
    return [tuple(step) for step in path[1:]]


def _simplify(node: Node, term: str, kept: set[str], sizes: dict[str, int]) -> tuple[Node, str]:
    """An operand with every label once, without those that broadcast or that only it has and nobody keeps."""
    drop = [i for i, c in enumerate(term) if node.shape[i] == 1 and sizes[c] != 1]
    if drop:
        node = v.reshape(node, tuple(n for i, n in enumerate(node.shape) if i not in drop))
        term = "".join(c for i, c in enumerate(term) if i not in drop)
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            node = record_diagonal("einsum", node, 0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    alone = tuple(i for i, c in enumerate(term) if c not in kept)
    if alone:
        node = r.reduce(r.sum_p, node, alone)
        node = v.reshape(node, tuple(n for i, n in enumerate(node.shape) if i not in alone))
        term = "".join(c for i, c in enumerate(term) if i not in alone)
    return node, term


def _order(node: Node, term: str, order: str) -> Node:
    return v.transpose(node, tuple(term.index(c) for c in order))


def _contract(x: Node, a: str, y: Node, b: str, kept: set[str], sizes: dict[str, int]) -> tuple[Node, str]:
    """The product of two operands, summed over the labels that nobody keeps."""
    x, a = _simplify(x, a, kept | set(b), sizes)
    y, b = _simplify(y, b, kept | set(a), sizes)
    shared = [c for c in a if c in b]
    batch = "".join(c for c in shared if c in kept)
    summed = "".join(c for c in shared if c not in kept)
    rows = "".join(c for c in a if c not in shared)
    columns = "".join(c for c in b if c not in shared)

    def size(labels: str) -> int:
        return _math.prod(sizes[c] for c in labels)

    result = batch + rows + columns
    shape = tuple(sizes[c] for c in result)
    lead = (size(batch),) if batch else ()
    x = v.reshape(_order(x, a, batch + rows + summed), (*lead, size(rows), size(summed)))
    y = v.reshape(_order(y, b, batch + summed + columns), (*lead, size(summed), size(columns)))
    if not summed:
        return v.reshape(record_multiply(x, y), shape), result
    if x.dtype is bool_:
        raise ValueError("[einsum] expected numbers, got bool: cast them with astype")
    return v.reshape(record_product(x, y), shape), result


def einsum(subscripts: str, *operands: array, stream: Any = None) -> array:
    """Products of the operands, summed over all labels that the result does not have.

    Args:
        subscripts: the labels of every operand's axes, and after ``->`` those of the result; without it the labels that
            occur once, in alphabetic order. ``...`` stands for axes that broadcast.

    Raises:
        ValueError: where labels do not fit the operands.

    >>> import arrax.core as mx
    >>> mx.einsum("ij,kj->ik", mx.ones((2, 3)), mx.ones((1, 3)))
    array([[3],
           [3]], dtype=float32)
    """
    check_stream("einsum", stream)
    expect("einsum", str, subscripts=subscripts)
    nodes = [array_node("einsum", a) for a in operands]
    terms, result = _parse("einsum", subscripts, nodes)
    sizes = _sizes("einsum", terms, nodes)
    dtype = nodes[0].dtype
    for node in nodes[1:]:
        dtype = promote(dtype, node.dtype)
    work = [(cast(node, dtype), term) for node, term in zip(nodes, terms, strict=True)]
    for step in _path(terms, result, sizes):
        chosen = [work.pop(i) for i in sorted(step, reverse=True)]
        node, term = chosen.pop()
        while chosen:
            other, labels = chosen.pop()
            later = set(result).union(*(t for _, t in work), *(t for _, t in chosen))
            node, term = _contract(node, term, other, labels, later, sizes)
        work.append((node, term))
    node, term = _simplify(*work[0], set(result), sizes)
    missing = [c for c in result if c not in term]
    if missing:  # every operand had size 1 there but for what was already dropped
        node = v.broadcast(node, (*(sizes[c] for c in missing), *node.shape))
        term = "".join(missing) + term
    return wrap(_order(node, term, result))


def einsum_path(subscripts: str, *operands: array) -> tuple[list[tuple[int, ...]], str]:
    """The order in which ``einsum`` contracts the operands, and a comparison of its cost with that of one loop."""
    expect("einsum_path", str, subscripts=subscripts)
    nodes = [array_node("einsum_path", a) for a in operands]
    terms, result = _parse("einsum_path", subscripts, nodes)
    sizes = _sizes("einsum_path", terms, nodes)
    path = _path(terms, result, sizes)

    def cost(labels: set[str], count: int, summed: bool) -> int:
        return _math.prod(sizes[c] for c in labels) * max(count - 1 + summed, 1)

    every = set("".join(terms))
    naive = cost(every, len(terms), bool(every - set(result)))
    work, total, scaling = list(terms), 0, 0
    for step in path:
        chosen = [work.pop(i) for i in sorted(step, reverse=True)]
        labels = set("".join(chosen))
        later = labels & set(result).union(*work)
        total += cost(labels, len(chosen), bool(labels - later))
        scaling = max(scaling, len(labels))
        work.append("".join(sorted(later)))
    report = (
        f"  Complete contraction:  {','.join(terms)}->{result}\n"
        f"         Naive scaling:  {len(every)}\n"
        f"     Optimized scaling:  {scaling}\n"
        f"      Naive FLOP count:  {naive}\n"
        f"  Optimized FLOP count:  {total}\n"
    )
    return path, report
