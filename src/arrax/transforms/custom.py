"""Functions with derivatives and vectorisations of their own, and recomputation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from arrax.graph.errors import bounded
from arrax.graph.handle import Handle, wrap
from arrax.graph.node import Node, topological
from arrax.prims import call
from arrax.prims.opaque import barrier
from arrax.prims.pointwise import cast
from arrax.prims.view import move_axis
from arrax.runtime.executor import tracing
from arrax.transforms import trees
from arrax.transforms.grad import pullback
from arrax.transforms.tracing import named_like, variable


class custom_function:
    """A function whose derivatives or vectorisation are given by hand.

    It is a decorator; the decorated function's ``vjp``, ``jvp`` and ``vmap`` are decorators for the rules. Where there
    is no rule, the derived one applies. With a ``vjp`` rule the function depends on its positional arguments alone:
    arrays that it captures get no gradient.

    The rules receive the positional arguments as a tuple, or the argument itself where there is one; cotangents,
    tangents and axes have the same structure.

    Args:
        f: takes arrays or trees of them, returns arrays or a tree of them.

    Raises:
        TypeError: if ``f`` is no function.

    >>> import arrax.core as mx
    >>> @mx.custom_function
    ... def clipped(x):
    ...     return mx.minimum(x, 1.0)
    >>> @clipped.vjp
    ... def straight_through(x, cotangent, output):
    ...     return cotangent
    >>> mx.grad(clipped)(mx.array(3.0))
    array(1, dtype=float32)
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = _checked("custom_function", f)
        self._vjp: Callable[..., Any] | None = None
        self._jvp: Callable[..., Any] | None = None
        self._vmap: Callable[..., Any] | None = None

    def vjp(self, f: Callable[..., Any]) -> custom_function:
        """Sets the rule of reverse mode: ``f(arguments, cotangents, outputs)`` returns the arguments' cotangents.

        None stands for zero. Raises TypeError if ``f`` is no function.
        """
        self._vjp = _checked("custom_function.vjp", f)
        return self

    def jvp(self, f: Callable[..., Any]) -> custom_function:
        """Sets the rule of forward mode: ``f(arguments, tangents)`` returns the outputs' tangents.

        It is linear in the tangents; a tangent is None where the argument does not change. Raises TypeError if ``f`` is
        no function.
        """
        self._jvp = _checked("custom_function.jvp", f)
        return self

    def vmap(self, f: Callable[..., Any]) -> custom_function:
        """Sets the rule of vectorisation: ``f(arguments, axes)`` returns the outputs and their axes.

        An axis is None for arguments that are the same for all elements. Raises TypeError if ``f`` is no function.
        """
        self._vmap = _checked("custom_function.vmap", f)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not tracing.depth or not (self._vjp or self._jvp or self._vmap):
            return self._f(*args, **kwargs)
        result = self._f(*args, **kwargs)
        # keyword arguments travel along, so that what holds for arguments (vectorisation, say) holds for them
        bound = _Bound(self, args, kwargs, result)
        arguments = [a._node for a in trees.arrays((args, kwargs))]
        outputs = call.custom(bound.rules(), arguments, [a._node for a in trees.arrays(result)])
        return trees.refill(result, map(wrap, outputs))


def _checked(op: str, f: Callable[..., Any]) -> Callable[..., Any]:
    if not callable(f):
        raise TypeError(f"[{op}] expected a function, got {type(f).__name__}")
    return f


class _Bound:
    """A custom function's rules for one call of it, between nodes and trees of arrays."""

    def __init__(self, function: custom_function, args: tuple, kwargs: dict, result: Any) -> None:
        self._function = function
        found: list[Handle] = []
        self._args = trees.structure(args, found)
        self._positional = len(found)
        self._kwargs = trees.structure(kwargs, found)
        outputs: list[Handle] = []
        self._result = trees.structure(result, outputs)
        self._outputs = [a._node for a in outputs]

    def rules(self) -> call.Rules:
        f = self._function
        return call.Rules(self.vjp if f._vjp else None, self.jvp if f._jvp else None, self.vmap if f._vmap else None)

    def _inputs(self, values: Sequence[Any], *, others: bool = True) -> tuple[Any, dict]:
        supply = iter(values)
        args, kwargs = (trees.build(shape, supply, others=others) for shape in (self._args, self._kwargs))
        return args[0] if len(args) == 1 else args, kwargs

    def vjp(self, arguments: list[Node], cotangents: list[Node], outputs: list[Node]) -> list[Node | None]:
        given, kwargs = self._inputs([wrap(n) for n in arguments])
        g, out = (trees.build(self._result, map(wrap, nodes)) for nodes in (cotangents, outputs))
        assert self._function._vjp is not None
        parts = _matched("vjp", self._args, self._function._vjp(given, g, out, **kwargs), alone=len(self._args) == 1)
        return [*_fitting("vjp", arguments, parts), *(None for _ in arguments[self._positional :])]

    def jvp(self, arguments: list[Node], tangents: list[Node | None]) -> list[Node | None]:
        given, kwargs = self._inputs([wrap(n) for n in arguments])
        t, _ = self._inputs([None if n is None else wrap(n) for n in tangents], others=False)
        assert self._function._jvp is not None
        parts = _matched("jvp", self._result, self._function._jvp(given, t, **kwargs))
        return _fitting("jvp", self._outputs, parts)

    def vmap(self, arguments: list[Node], flags: list[bool]) -> tuple[list[Node], list[bool]]:
        given, kwargs = self._inputs([wrap(n) for n in arguments])
        axes, _ = self._inputs([0 if f else None for f in flags], others=False)
        assert self._function._vmap is not None
        pair = self._function._vmap(given, axes, **kwargs)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(
                f"[custom_function] expected a pair of outputs and axes from the vmap rule, got {type(pair).__name__}"
            )
        result, out_axes = pair
        nodes = [_node_of("vmap", part) for part in _matched("vmap", self._result, result)]
        places = trees.prefix(out_axes, result, "custom_function")
        moved = [n if a is None else move_axis(n, a % n.ndim, 0) for n, a in zip(nodes, places, strict=True)]
        return moved, [a is not None for a in places]


def _matched(rule: str, shape: Any, result: Any, *, alone: bool = False) -> list[Node | None]:
    """What a rule returned for each array of a tree: a node, or None for zero."""
    if alone and not (isinstance(result, list | tuple) and len(result) == 1 and shape[0] is trees.LEAF):
        return _matched(rule, shape[0], result)
    if shape is trees.LEAF:
        if isinstance(result, list | tuple) and len(result) == 1:
            result = result[0]
        if result is None or isinstance(result, Handle):
            return [None if result is None else result._node]
    elif not isinstance(shape, list | tuple | dict):
        return []
    elif isinstance(shape, dict) and isinstance(result, dict) and shape.keys() == result.keys():
        return [x for key, sub in shape.items() for x in _matched(rule, sub, result[key])]
    elif isinstance(shape, list | tuple) and isinstance(result, list | tuple) and len(shape) == len(result):
        return [x for sub, part in zip(shape, result, strict=True) for x in _matched(rule, sub, part)]
    expected = "an array" if shape is trees.LEAF else f"a {type(shape).__name__} of {len(shape)}"
    got = type(result).__name__ + (f" of {len(result)}" if isinstance(result, list | tuple | dict) else "")
    raise ValueError(f"[custom_function] expected {expected} from the {rule} rule, got {got}")


def _node_of(rule: str, node: Node | None) -> Node:
    if node is None:
        raise ValueError(f"[custom_function] expected arrays from the {rule} rule, got None")
    return node


def _fitting(rule: str, like: Sequence[Node], parts: list[Node | None]) -> list[Node | None]:
    result: list[Node | None] = []
    for n, part in zip(like, parts, strict=False):
        if part is not None and part.shape != n.shape:
            raise ValueError(
                f"[custom_function] expected an array of shape {list(n.shape)} from the {rule} rule, "
                f"got {list(part.shape)}"
            )
        result.append(None if part is None else cast(part, n.dtype))
    return result


# --- recomputation ----------------------------------------------------------------------------------------------------
def checkpoint(fun: Callable[..., Any]) -> Callable[..., Any]:
    """A function like ``fun`` whose intermediate results are computed again, rather than kept, for its gradient.

    The gradient is that with respect to the arguments; arrays that ``fun`` captures count as constants.

    Args:
        fun: takes arrays or trees of them, returns arrays or a tree of them.

    Raises:
        TypeError: if ``fun`` is no function.

    >>> import arrax.core as mx
    >>> mx.grad(mx.checkpoint(lambda x: mx.exp(mx.sin(x))))(mx.array(0.0))
    array(1, dtype=float32)
    """
    _checked("checkpoint", fun)

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not tracing.depth:
            return fun(*args, **kwargs)
        arguments: list[Node] = []
        own: list[Node] = []

        def separate(a: Handle) -> Handle:
            """An argument under an identity of its own: the same array may also be captured."""
            if not a._node.dtype.is_inexact:  # it has no gradient
                return a
            arguments.append(a._node)
            own.append(call.variable(a._node))
            return wrap(own[-1])

        args, kwargs = bounded("custom_function", trees.rebuild, separate, (args, kwargs), keep_classes=True)
        result = fun(*args, **kwargs)
        inner = [a._node for a in trees.arrays(result)]
        outputs = call.custom(call.Rules(vjp=_recompute(own, inner)), arguments, inner)
        return trees.refill(result, map(wrap, outputs))

    return named_like(fun, checkpointed)


def _recompute(own: list[Node], inner: list[Node]) -> Callable[..., list[Node | None]]:
    """The vjp rule of a recorded function that computes it again, once its cotangents exist."""

    def vjp(arguments: list[Node], cotangents: list[Node], outputs: list[Node]) -> list[Node | None]:
        variables = [variable(barrier(a, *cotangents)) for a in arguments]
        again = _replay(inner, dict(zip(map(id, own), variables, strict=True)))
        return pullback(again, cotangents, variables)

    return vjp


def _replay(outputs: list[Node], known: dict[int, Node]) -> list[Node]:
    """The outputs recorded once more, with other nodes in the places of those whose ids are known."""
    known = dict(known)
    for node in topological(outputs, known.keys()):
        if any(id(i) in known for i in node.inputs):
            inputs = tuple([known.get(id(i), i) for i in node.inputs])
            known[id(node)] = Node(node.prim, inputs, node.params, node.shape, node.dtype)
    return [known.get(id(n), n) for n in outputs]
