"""Reverse mode: vector-Jacobian products, and gradients from them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from arrax.graph.errors import NoDerivativeError, bounded
from arrax.graph.handle import Handle, shown, wrap
from arrax.graph.node import Node, topological
from arrax.graph.primitive import NONDIFF, bind
from arrax.prims import call
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast, conj_p, stop_gradient_p
from arrax.prims.reduce import sum_to, zeros_like
from arrax.transforms import trees
from arrax.transforms.cotangents import total
from arrax.transforms.snapshot import Snapshot
from arrax.transforms.tracing import Trace, named_like, variable


# --- the walk ---------------------------------------------------------------------------------------------------------
def pullback(
    outputs: Sequence[Node], cotangents: Sequence[Node], wanted: Sequence[Node], stop: Collection[int] = ()
) -> list[Node | None]:
    """Records the cotangents of the wanted nodes, given those of the outputs; None stands for zero.

    The walk does not look behind the wanted nodes, nor behind those whose ids are in ``stop``.
    """
    depends = {id(n) for n in wanted}
    order = []
    every = topological(outputs, depends.union(stop))
    refused = placed_by(every, depends)
    for node in every:
        if id(node) in refused or any(id(i) in depends for i in _sources(node)):
            depends.add(id(node))
            order.append(node)
    received: dict[int, Node] = {}
    groups: dict[int, list[Node | None]] = {}

    def give(node: Node, g: Node | None) -> None:
        if g is not None and id(node) in depends:
            received[id(node)] = total(received.get(id(node)), g)

    for node, cotangent in zip(outputs, cotangents, strict=True):
        give(node, cotangent)
    for node in reversed(order):
        if node.prim is call.custom_p:
            if id(node) in groups:
                _pull_group(node, groups.pop(id(node)), give)
            continue
        g = received.pop(id(node), None)
        if g is None:
            continue
        if id(node) in refused:
            raise no_derivative(node, "VJP")
        if node.prim is call.custom_output_p:
            value, group = node.inputs
            if group.params[0].vjp is None:
                give(value, g)
            else:
                parts = groups.setdefault(id(group), [None] * (len(group.inputs) - group.params[1]))
                which = node.params[0]
                # The rule may have been handed this output, so that two nodes stand for it.
                parts[which] = total(parts[which], g)
            continue
        for source, part in zip(node.inputs, partials(node, g), strict=True):
            give(source, part)
    return [received.get(id(n)) for n in wanted]


_PLACED = ("gather", "scatter")
_NAMES = {"take": "gather", "take_along": "gather_axis", "scatter": "scatter", "scatter_along": "scatter_axis"}


def placed_by(nodes: Sequence[Node], origins: set[int]) -> set[int]:
    """Which nodes, inputs first, read or write at positions that are computed from those with the ids ``origins``."""
    if not any(n.prim.kind in _PLACED for n in nodes):
        return set()
    touched, found = set(origins), set()
    for node in nodes:
        if node.prim is not stop_gradient_p and any(id(i) in touched for i in node.inputs):
            touched.add(id(node))
            if node.prim.kind in _PLACED and id(node.inputs[1]) in touched:
                found.add(id(node))
    return found


def no_derivative(node: Node, what: str) -> NoDerivativeError:
    """The exception for derivatives by positions."""
    return NoDerivativeError(
        f"[{_NAMES[node.prim.name]}] Cannot calculate {what} with respect to indices. "
        "Use stop_gradient on indices to stop gradients from being computed."
    )


def _sources(node: Node) -> tuple[Node, ...]:
    """The inputs through which a node's derivative goes."""
    if node.prim is call.custom_p:
        return node.inputs[: node.params[1]] if node.params[0].vjp is not None else ()
    if node.prim is call.custom_output_p:
        return node.inputs[1:] if node.inputs[1].params[0].vjp is not None else node.inputs[:1]
    return () if node.prim.vjp is NONDIFF else node.inputs


_MULTIPLYING = ("pointwise", "contract", "reduce", "scan")


def _conj(a: Node | None) -> Node | None:
    return bind(conj_p, (a,)) if a is not None and a.dtype.is_complex else a


def partials(node: Node, g: Node) -> Sequence[Node | None]:
    """The cotangents that a node hands to its inputs, each of the input's shape."""
    rule: Any = node.prim.vjp
    if node.dtype.is_complex and node.prim.kind in _MULTIPLYING:
        # These rules multiply by the derivative; over the complex numbers its conjugate is the adjoint.
        parts = [_conj(p) for p in rule(node, bind(conj_p, (g,)))]
    else:
        parts = rule(node, g)
    if node.prim.kind == "pointwise" or node.prim.name == "broadcast":
        pairs = zip(node.inputs, parts, strict=True)
        return [p if p is None or p.shape == i.shape else sum_to(p, i.shape) for i, p in pairs]
    return parts


def _pull_group(group: Node, parts: list[Node | None], give: Callable[[Node, Node | None], None]) -> None:
    rules, count = group.params
    arguments, outputs = list(group.inputs[:count]), call.outputs_of(group)
    filled = [zeros_like(o) if p is None else p for o, p in zip(outputs, parts, strict=True)]
    for node, g in zip(arguments, rules.vjp(arguments, filled, outputs), strict=True):
        give(node, g)


# --- vjp --------------------------------------------------------------------------------------------------------------
def nodes_of(op: str, what: str, values: Any) -> list[Node]:
    """The nodes of a list of arrays. Raises TypeError for anything else."""
    if not isinstance(values, list | tuple) or not all(isinstance(v, Handle) for v in values):
        raise TypeError(f"[{op}] expected a list of arrays as {what}, got {type(values).__name__}: pass [x, ...]")
    return [v._node for v in values]


def output_nodes(op: str, result: Any) -> list[Node]:
    """The nodes of what a function for ``vjp`` and ``jvp`` returned: one array, or a list or tuple of them."""
    results = [result] if isinstance(result, Handle) else result
    if not isinstance(results, list | tuple) or not all(isinstance(r, Handle) for r in results):
        raise ValueError(
            f"[{op}] expected a function that returns an array or a list of arrays, got {type(result).__name__}"
        )
    return [r._node for r in results]


def fit_cotangent(op: str, output: Node, g: Node) -> Node:
    if g.shape != output.shape:
        raise ValueError(
            f"[{op}] expected a cotangent of the output's shape {list(output.shape)}, got {list(g.shape)}"
            + ("; the function must return a scalar" if g.shape == () else "")
        )
    return cast(g, output.dtype)


def vjp(
    fun: Callable[..., Any], primals: Sequence[Handle], cotangents: Sequence[Handle]
) -> tuple[list[Handle], list[Handle]]:
    """The product of a row vector with the Jacobian of a function.

    Args:
        fun: takes as many arrays as there are primals; returns one array or a list of them.
        primals: where the Jacobian is taken.
        cotangents: the row vector: one array for each output, of its shape. Those of
            ``stop_gradient`` may go without.

    Returns:
        The outputs, and one array for each primal.

    Raises:
        TypeError: for arguments that are no lists of arrays.
        ValueError: for cotangents that do not fit the outputs in number or shape.

    >>> import arrax.core as mx
    >>> mx.vjp(lambda x: x * x, [mx.array([1.0, 2.0])], [mx.array([1.0, 1.0])])
    ([array([1, 4], dtype=float32)], [array([2, 4], dtype=float32)])
    """
    inputs, given = nodes_of("vjp", "primals", primals), nodes_of("vjp", "cotangents", cotangents)
    with Trace():
        variables = [variable(n) for n in inputs]
        outputs = output_nodes("vjp", fun(*(wrap(v) for v in variables)))
        targets = outputs
        if len(given) != len(outputs):
            targets = [n for n in outputs if n.prim is not stop_gradient_p]
        if len(given) != len(targets):
            raise ValueError(f"[vjp] expected one cotangent per output, {len(targets)} in all, got {len(given)}")
        fitting = [fit_cotangent("vjp", n, g) for n, g in zip(targets, given, strict=True)]
        results = pullback(targets, fitting, variables)
    return [wrap(n) for n in outputs], [_or_zeros(g, v) for g, v in zip(results, variables, strict=True)]


def _or_zeros(g: Node | None, like: Node) -> Handle:
    return wrap(zeros_like(like) if g is None else g)


# --- gradients --------------------------------------------------------------------------------------------------------
def _positions(op: str, argnums: Any) -> list[int]:
    if argnums is None:
        return []
    several = isinstance(argnums, list | tuple | range) or getattr(argnums, "ndim", 0) == 1
    try:
        numbers = [operator.index(n) for n in (argnums if several else (argnums,))]
    except TypeError:
        raise TypeError(f"[{op}] expected an int or a list of ints as argnums, got {shown(argnums)}") from None
    result: list[int] = []
    for n in numbers:
        if n < 0:
            raise ValueError(f"[{op}] expected argument numbers from 0, got {n}: count from the first argument")
        if n in result:
            raise ValueError(f"[{op}] expected each argument number once, got {n} twice")
        result.append(n)
    return sorted(result)


def _names(op: str, argnames: Any) -> list[str]:
    names = [argnames] if isinstance(argnames, str) else argnames
    if not isinstance(names, Iterable) or isinstance(names, Handle):
        raise TypeError(f"[{op}] expected a str or a list of str as argnames, got {shown(argnames)}")
    names = list(names)
    if not all(isinstance(n, str) for n in names):
        raise TypeError(f"[{op}] expected a str or a list of str as argnames, got {shown(argnames)}")
    return sorted(set(names))


def _differentiated(
    op: str,
    fun: Callable[..., Any],
    argnums: Any,
    argnames: Any,
    loss_of: Callable[[Any], Handle],
) -> Callable[..., tuple[Any, Any]]:
    """The function that returns ``fun``'s result and the gradient of the loss that ``loss_of`` finds in it."""
    if not callable(fun):
        raise TypeError(f"[{op}] expected a function, got {type(fun).__name__}")
    positions, names = _positions(op, argnums), _names(op, argnames)
    if not positions and not names:
        if argnums is not None:
            raise ValueError(f"[{op}] expected an argument to differentiate by, got none: pass argnums or argnames")
        positions = [0]

    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if positions and positions[-1] >= len(args):
            raise ValueError(
                f"[{op}] expected an argument number {positions[-1]} to differentiate by, "
                f"the function was called with {len(args)} positional arguments"
            )
        for name in names:
            if name not in kwargs:
                raise ValueError(
                    f"[{op}] expected a keyword argument {shown(name)} to differentiate by, "
                    f"the function was called with {sorted(kwargs)}"
                )
        chosen = [args[i] for i in positions] + [kwargs[name] for name in names]
        if not sum(len(bounded(op, trees.only_arrays, tree, op)) for tree in chosen):
            raise ValueError(f"[{op}] expected an array to differentiate by, got arguments without any")
        with Snapshot(args, kwargs), Trace():
            variables = trees.Substitution(lambda a: wrap(variable(a._node)))
            others = trees.Substitution(lambda a: wrap(a._node))
            try:
                # the differentiated ones first: a container that occurs twice holds the variables
                held = {key: variables.replace(tree) for key, tree in zip([*positions, *names], chosen, strict=True)}
                nodes = [v._node for v in variables.replacements]
                found: list[Handle] = []
                # fun may change the containers
                shapes = [trees.structure(tree, found) for tree in held.values()]
                args = tuple([held[i] if i in held else bounded(op, others.replace, a) for i, a in enumerate(args)])
                kwargs = {k: held[k] if k in held else bounded(op, others.replace, v) for k, v in kwargs.items()}
                result = fun(*args, **kwargs)
                loss = loss_of(result)._node
                seed = fit_cotangent(op, loss, constant(1, loss.dtype))
                gradients = pullback([loss], [seed], nodes)
            finally:
                others.undo()
                variables.undo()
        of = {id(v): _or_zeros(g, v._node) for v, g in zip(variables.replacements, gradients, strict=True)}
        leaves = iter([of[id(v)] for v in found])
        filled = [trees.build(shape, leaves) for shape in shapes]
        first: Any = None
        if positions:
            first = filled[0] if len(positions) == 1 else tuple(filled[: len(positions)])
        if names:
            return result, (first, dict(zip(names, filled[len(positions) :], strict=True)))
        return result, first

    return both


def value_and_grad(
    fun: Callable[..., Any], argnums: int | Sequence[int] | None = None, argnames: str | Sequence[str] = ()
) -> Callable[..., tuple[Any, Any]]:
    """A function that computes the value and the gradient of ``fun``.

    Args:
        fun: takes arrays, or trees of them, and returns a scalar loss or a tuple that begins with one.
        argnums: the position, or positions, of the arguments to differentiate by. The first one, unless
            ``argnames`` names others.
        argnames: the keyword argument, or arguments, to differentiate by.

    Returns:
        A function with ``fun``'s arguments that returns ``fun``'s result and the gradient: a tree like the argument;
        a tuple of them for several positions; ``(gradient or None, {name: gradient})`` where argument names are given.

    Raises:
        TypeError: if ``fun`` is no function, or the arguments are neither ints nor strings.
        ValueError: if there is no such argument, it holds something other than arrays, or the loss is no scalar array.

    >>> import arrax.core as mx
    >>> mx.value_and_grad(lambda x: (x * x).sum())(mx.array([1.0, 2.0]))
    (array(5, dtype=float32), array([2, 4], dtype=float32))
    """
    both = _differentiated("value_and_grad", fun, argnums, argnames, _loss_or_first)
    return named_like(fun, both)


def grad(
    fun: Callable[..., Any], argnums: int | Sequence[int] | None = None, argnames: str | Sequence[str] = ()
) -> Callable[..., Any]:
    """A function that computes the gradient of ``fun``.

    Args:
        fun: takes arrays, or trees of them, and returns a scalar array.
        argnums: the position, or positions, of the arguments to differentiate by. The first one, unless
            ``argnames`` names others.
        argnames: the keyword argument, or arguments, to differentiate by.

    Returns:
        A function with ``fun``'s arguments that returns the gradient; see :func:`value_and_grad`.

    Raises:
        TypeError: if ``fun`` is no function, or the arguments are neither ints nor strings.
        ValueError: if there is no such argument, it holds something other than arrays, or the result is no scalar.

    >>> import arrax.core as mx
    >>> mx.grad(mx.sin)(mx.array(0.0))
    array(1, dtype=float32)
    """
    both = _differentiated("grad", fun, argnums, argnames, _loss)
    return named_like(fun, lambda *args, **kwargs: both(*args, **kwargs)[1])


def _loss(result: Any) -> Handle:
    if isinstance(result, Handle):
        return result
    raise ValueError(f"[grad] expected a function that returns a scalar array, got {type(result).__name__}")


def _loss_or_first(result: Any) -> Handle:
    if isinstance(result, Handle):
        return result
    if isinstance(result, tuple) and result and isinstance(result[0], Handle):
        return result[0]
    raise ValueError(
        "[value_and_grad] expected a function that returns a scalar array, or a tuple that begins with one, "
        f"got {type(result).__name__}"
    )
