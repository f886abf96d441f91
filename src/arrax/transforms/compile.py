"""Compilation: a function is traced once for each kind of arguments, and each further call records a single node."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from arrax.graph.errors import bounded
from arrax.graph.handle import Handle, wrap
from arrax.graph.node import Node
from arrax.graph.symbol import Symbols
from arrax.graph.template import Template, needed, resolve
from arrax.prims.call import call
from arrax.prims.leaf import placeholder
from arrax.runtime.executor import tracing
from arrax.transforms import trees
from arrax.transforms.family import Family
from arrax.transforms.snapshot import Snapshot
from arrax.transforms.tracing import Trace, named_like

_CONTAINERS = (dict, list, tuple)
ENTRIES = 64  # kinds of arguments of which a compiled function keeps traces
TRACES = 8  # of one kind


class _Switch:
    enabled = os.environ.get("ARRAX_DISABLE_COMPILE", "0") in ("", "0")


def disable_compile() -> None:
    """Makes all compiled functions run like ordinary ones, as the environment variable ARRAX_DISABLE_COMPILE=1 does."""
    _Switch.enabled = False


def enable_compile() -> None:
    """Makes compiled functions run compiled again, whatever ARRAX_DISABLE_COMPILE says."""
    _Switch.enabled = True


class _Entry:
    """One trace of a function.

    Attributes:
        template: the recorded graph; its outputs are the arrays of the result, then those of the captured outputs.
        family: what makes the template for the arguments' sizes, if it was traced for any; then there is no template.
        result: the structure of the result.
        state: the structure of the captured outputs.
        count: how many arrays the result has.
    """

    __slots__ = ("count", "family", "result", "state", "template")

    def __init__(self, template: Template | None, family: Family | None, result: Any, state: Any, count: int) -> None:
        self.template = template
        self.family = family
        self.result = result
        self.state = state
        self.count = count


def compile(
    fun: Callable[..., Any], inputs: Any = None, outputs: Any = None, shapeless: bool = False
) -> Callable[..., Any]:
    """A function like ``fun`` that is traced once for each kind of arguments; later calls skip ``fun`` itself.

    ``fun`` should be pure: what it does besides computing its result (printing, appending to a list) happens when it is
    traced. Arrays that it uses besides its arguments are constants, unless they are captured by ``inputs``; arrays that
    it updates must be captured by ``outputs``. Data cannot be looked at while it is traced.

    Args:
        fun: takes arrays, constants (numbers, strings, None) or trees of them.
        inputs: lists and dicts of arrays that ``fun`` reads besides its arguments; read anew at every call.
        outputs: lists and dicts of arrays that ``fun`` updates; every call writes the new arrays into them.
        shapeless: use one trace for all sizes of the arguments. Sizes that ``fun`` itself asks for (``x.shape``) are
            constants then, those of the first trace; arrays have the sizes that follow from the arguments. Where the
            library would have recorded something else for other sizes, ``fun`` is traced again. Machine code is
            shared between sizes in any case.

    Raises:
        TypeError: if ``fun`` is no function.
        ValueError: (when it is called) for arguments of other kinds; for evaluation inside ``fun``.

    >>> import arrax.core as mx
    >>> f = mx.compile(lambda x, n: x * n)
    >>> f(mx.array([1, 2]), 3)
    array([3, 6], dtype=int32)
    """
    if not callable(fun):
        raise TypeError(f"[compile] expected a function, got {type(fun).__name__}")
    entries: dict[tuple, tuple[_Entry, ...]] = {}

    def compiled(*args: Any, **kwargs: Any) -> Any:
        # Under another transform there is nothing to win: what it records will be compiled as a whole.
        if tracing.depth or not _Switch.enabled:
            return fun(*args, **kwargs)
        nodes: list[Node] = []
        key: list[Any] = [len(args)]  # else a dictionary behind them could be taken for keywords
        for a in args:
            bounded("compile", _describe, a, nodes, key)
        if kwargs:
            bounded("compile", _describe, kwargs, nodes, key)
        if inputs is not None:
            bounded("compile", _describe_state, inputs, nodes, key, set())
        if shapeless:
            shapes = {id(n.shape) for n in nodes}
            key = [len(part) if id(part) in shapes else part for part in key]
        signature = tuple(key)
        known = entries.pop(signature, ())
        for entry in known:
            template = entry.family.template(nodes) if entry.family else entry.template
            if template is not None:
                entries[signature] = known
                return _called(entry, template, nodes, outputs)
        with Snapshot(inputs, outputs, fun=fun):
            entry, template = _trace(fun, args, kwargs, inputs, outputs, nodes, shapeless)
            while len(entries) >= ENTRIES:
                entries.pop(next(iter(entries)), None)
            entries[signature] = (*known[1 - TRACES :], entry)
            return _called(entry, template, nodes, outputs)

    return named_like(fun, compiled)


def _called(entry: _Entry, template: Template, nodes: list[Node], outputs: Any) -> Any:
    """The result of a call; what it does to the captured outputs is done."""
    results = call(template, tuple(nodes))
    if entry.state is not None:
        trees.write(outputs, entry.state, map(wrap, results[entry.count :]))
    if entry.result is trees.LEAF:
        return wrap(results[0])
    return trees.build(entry.result, map(wrap, results))


def _describe(tree: Any, nodes: list[Node], key: list[Any]) -> None:
    """Appends the arrays' nodes to ``nodes`` and all that a trace depends on to ``key``."""
    if isinstance(tree, Handle):
        node = tree._node
        nodes.append(node)
        key.append(node.shape)
        key.append(node.dtype)
    elif isinstance(tree, (tuple, list)):
        key.append((type(tree), len(tree)))
        for item in tree:
            _describe(item, nodes, key)
    elif isinstance(tree, dict):
        key.append((type(tree), tuple(tree)))
        for item in tree.values():
            _describe(item, nodes, key)
    elif tree is None or isinstance(tree, (int, str)):
        key.append((type(tree), tree))
    elif isinstance(tree, float):
        key.append((float, tree.hex()))  # tells -0.0 from 0.0, and NaN is NaN
    else:
        raise ValueError(
            f"[compile] expected arguments that are arrays, numbers, strings, None or trees of them, "
            f"got {type(tree).__name__}: capture it in the function instead"
        )


def _describe_state(tree: Any, nodes: list[Node], key: list[Any], seen: set[int]) -> None:
    """Likewise for captured arrays, between which anything may lie. A container that occurs twice is visited once."""
    if isinstance(tree, Handle):
        node = tree._node
        nodes.append(node)
        key.append(node.shape)
        key.append(node.dtype)
    elif isinstance(tree, tuple):
        for item in tree:
            _describe_state(item, nodes, key, seen)
    elif isinstance(tree, (dict, list)) and id(tree) not in seen:
        seen.add(id(tree))
        key.append(len(tree))
        for name, item in tree.items() if isinstance(tree, dict) else enumerate(tree):
            if isinstance(item, Handle):  # as above: most items are arrays
                node = item._node
                nodes.append(node)
                key += (name, node.shape, node.dtype)
            elif isinstance(item, _CONTAINERS):
                key.append(name)
                _describe_state(item, nodes, key, seen)


def _trace(
    fun: Callable[..., Any], args: tuple, kwargs: dict, inputs: Any, outputs: Any, nodes: list[Node], shapeless: bool
) -> tuple[_Entry, Template]:
    """A new trace, and the template of these arguments."""
    with Symbols([n.shape for n in nodes] if shapeless else []) as symbols:
        shapes: list[Any] = symbols.shapes if shapeless else [n.shape for n in nodes]
        placeholders = [Node(placeholder, (), (), s, n.dtype) for s, n in zip(shapes, nodes, strict=True)]
        supply = map(wrap, placeholders)
        found: list[Handle] = []
        with Trace():
            args, kwargs = trees.rebuild(lambda _: next(supply), (args, kwargs), keep_classes=True)
            captured = trees.Substitution(lambda _: next(supply))
            try:
                captured.replace(inputs)
                result = bounded("compile", trees.structure, fun(*args, **kwargs), found)
                count = len(found)
                state = None if outputs is None else trees.structure(outputs, found)
            finally:
                captured.undo()
    results = [a._node for a in found]
    arguments = {id(n) for n in nodes if n.buffer is None}  # data may be captured, although MLX refuses that too
    if any(id(n) in arguments for n in needed([resolve(n) for n in results])):
        raise ValueError(
            "[compile] Attempting to compile a function with uncaptured inputs is not allowed. "
            "It uses an array that is also one of its arguments: use the argument, or capture the array by inputs"
        )
    if not shapeless:
        template = Template(placeholders, results)
        return _Entry(template, None, result, state, count), template
    family = Family(symbols, placeholders, results)
    first = family.template(nodes)
    assert first is not None  # the guards hold for the sizes of the trace
    return _Entry(None, family, result, state, count), first
