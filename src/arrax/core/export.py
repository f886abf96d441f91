"""Functions in files: recorded once, called again by programs that do not have their source.

A file is a safetensors file: the arrays that a function uses besides its arguments, and in the metadata the recorded
graph as JSON (docs/export-format.md). Nothing in it is executed, and all of it is checked when it is read.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from arrax.core.files.safetensors import safetensors_writer
from arrax.core.files.streams import save
from arrax.core.io import load
from arrax.core.operation_names import exported, shown_name
from arrax.graph import show
from arrax.graph.dtypes import complex128, float64
from arrax.graph.handle import Handle, shown, wrap
from arrax.graph.node import Node
from arrax.graph.symbol import Rules
from arrax.graph.template import inlined, needed, resolve
from arrax.prims.leaf import const, constant
from arrax.transforms import serialization, trees
from arrax.transforms.export import Function, Type, record
from arrax.transforms.shapeless import generalized
from arrax.transforms.sizes import Size
from arrax.transforms.snapshot import Snapshot

if TYPE_CHECKING:
    from arrax.core.array import array

_FORMAT = "arrax.function"
_INPUTS = "arrays as positional and keyword arguments, or one tuple of arrays, one dictionary, or both"


def _arguments(op: str, args: tuple, kwargs: dict[str, Any]) -> tuple[list[Handle], dict[str, Handle]]:
    """Positional and keyword arguments, however they are given."""
    if not kwargs and args and not isinstance(args[0], Handle):
        first, *rest = args
        if isinstance(first, tuple | list) and (not rest or (len(rest) == 1 and isinstance(rest[0], dict))):
            args, kwargs = tuple(first), rest[0] if rest else {}
        elif isinstance(first, dict) and not rest:
            args, kwargs = (), first
    for value in (*args, *kwargs.values()):
        if not isinstance(value, Handle):
            raise ValueError(f"[{op}] expected {_INPUTS}, got {type(value).__name__}: convert it with mx.array")
    return list(args), kwargs


def _type(a: Handle) -> Type:
    return a._node.shape, a._node.dtype


def _names(fun: Callable[..., Any], count: int) -> tuple[str | None, ...]:
    """The names by which the first arguments of a function may be passed."""
    try:
        parameters = list(inspect.signature(fun).parameters.values())[:count]
    except (TypeError, ValueError):  # built-in functions do not tell
        parameters = []
    names = [p.name if p.kind is p.POSITIONAL_OR_KEYWORD else None for p in parameters]
    return tuple(names + [None] * (count - len(names)))


def _record(fun: Callable[..., Any], args: Sequence[Handle], kwargs: dict[str, Handle], shapeless: bool) -> Function:
    keywords = tuple(sorted(kwargs))
    count = len(args)

    def flat(arrays: Sequence[Handle]) -> list[Handle]:
        result = fun(*arrays[:count], **dict(zip(keywords, arrays[count:], strict=True)))
        found = list(result) if isinstance(result, tuple | list) else [result]
        for a in found:
            if not isinstance(a, Handle):
                raise ValueError(
                    "[export_function] expected a function that returns an array, or a tuple or list of arrays, "
                    f"got {type(a).__name__}"
                )
        return found

    def recorded(types: Sequence[Type]) -> Function:
        return record(flat, types, _names(fun, count), keywords)

    types = [_type(a) for a in (*args, *(kwargs[k] for k in keywords))]
    with Snapshot(fun=fun):
        if shapeless:
            with contextlib.suppress(Exception):  # it may want numbers; otherwise it will raise again
                found = record(flat, types, _names(fun, count), keywords, by_rules=True)
                if not _is_bound(found):
                    return found
        example = recorded(types)
        return generalized(example, recorded) if shapeless else example


def _is_bound(function: Function) -> bool:
    """Whether the rules hold for certain sizes alone, since a number was wanted that no rule computes."""
    return isinstance(function.sizes, Rules) and any(type(v) is not bool for v in function.sizes.guards.values())


def _check(op: str, fun: Any, shapeless: Any, metadata: Any) -> None:
    if not callable(fun):
        raise TypeError(f"[{op}] expected a function, got {type(fun).__name__}")
    if not isinstance(shapeless, bool):
        raise TypeError(f"[{op}] expected True or False for shapeless, got {shown(shapeless)}")
    if metadata is not None and not isinstance(metadata, str):
        raise TypeError(f"[{op}] expected a string as metadata, got {type(metadata).__name__}: encode it, as JSON say")


# --- writing ----------------------------------------------------------------------------------------------------------
def _as_kept(a: Any) -> array:
    """The container has no complex128: such an array is kept as pairs of float64."""
    return a.reshape(*a.shape, 1).view(float64) if a.dtype is complex128 else a


class FunctionExporter:
    """Records a function for several kinds of arguments into one file; ``exporter`` makes it.

    Each call records the function for the arguments' types and computes nothing. The file is written by ``close``, or
    at the end of a ``with`` block that ends well.
    """

    def __init__(self, file: str | os.PathLike, fun: Callable[..., Any], shapeless: bool, metadata: str | None) -> None:
        self._file = os.fsdecode(file)
        self._fun = fun
        self._shapeless = shapeless
        self._metadata = metadata
        self._functions: list[Function] = []
        self._open = True

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Records the function for arguments like these.

        Raises:
            ValueError: for arguments or results that are no arrays; for a function that looks at data.
            RuntimeError: if it was recorded for such arguments already, or the file is closed.
        """
        op = "export_function"
        if not self._open:
            raise RuntimeError(f"[{op}] expected an open exporter, got one that is closed: make another one")
        positional, named = _arguments(op, args, kwargs)
        keywords = tuple(sorted(named))
        types = [_type(a) for a in (*positional, *(named[k] for k in keywords))]
        for other in self._functions:
            if other.keywords == keywords and len(other.inputs) == len(types) and other.accepts(types):
                again = _signature(types, keywords)
                raise RuntimeError(f"[{op}] expected every kind of arguments once, got {again} again: leave it out")
        self._functions.append(_record(self._fun, positional, named, self._shapeless))

    def close(self) -> None:
        """Writes the file. Raises RuntimeError where that is impossible."""
        if not self._open:
            return
        self._open = False
        names: dict[int, str] = {}
        arrays: dict[str, array] = {}
        for node in (n for f in self._functions for n in f.constants):
            if id(node) not in names:
                names[id(node)] = str(len(names))
                arrays[names[id(node)]] = _as_kept(wrap(node))
        text = serialization.to_text(self._functions, lambda node: names[id(node)])
        metadata = {"format": _FORMAT, "graph": text, "metadata": self._metadata or ""}
        save("export_function", self._file, "", safetensors_writer("export_function", arrays, metadata), RuntimeError)

    def __enter__(self) -> FunctionExporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()
        self._open = False


def exporter(
    file: str | os.PathLike, fun: Callable[..., Any], *, shapeless: bool = False, metadata: str | None = None
) -> FunctionExporter:
    """An object whose calls record a function for different arguments, all into one file.

    Args:
        file: a path; nothing is added to it.
        fun: takes arrays and returns an array, or a tuple or list of arrays.
        shapeless: see ``export_function``.
        metadata: a string to keep in the file.

    Raises:
        TypeError: for arguments of other types.

    >>> import arrax.core as mx, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "sum.arrax")
    >>> with mx.exporter(path, lambda *args: sum(args)) as export:
    ...     export(mx.array(1))
    ...     export(mx.array(1), mx.array(2))
    >>> mx.import_function(path)(mx.array(3), mx.array(4))
    (array(7, dtype=int32),)
    """
    if not isinstance(file, str | os.PathLike):
        raise TypeError(f"[exporter] expected a path, got {type(file).__name__}")
    _check("exporter", fun, shapeless, metadata)
    return FunctionExporter(file, fun, shapeless, metadata)


def export_function(
    file_or_callback: str | os.PathLike | Callable[[dict[str, Any]], Any],
    fun: Callable[..., Any],
    *args: Any,
    shapeless: bool = False,
    metadata: str | None = None,
    **kwargs: Any,
) -> None:
    """Records a function and writes it to a file, or shows it to a callback piece by piece.

    ``fun`` is called with stand-ins, for ``shapeless`` many times; it should be pure, as for ``compile``. Arrays that
    it uses besides its arguments are evaluated and written too.

    Args:
        file_or_callback: a path, to which nothing is added; or what takes one dictionary for the inputs, the keyword
            inputs, the outputs, the constants, and each primitive in order; ``"type"`` tells them apart. Primitives
            have MLX's names; functions for which MLX has one and Arrax none are shown as what they are made of.
        fun: takes arrays and returns an array, or a tuple or list of arrays.
        *args: example arguments: arrays, or one tuple of arrays and/or one dictionary.
        shapeless: whether the sizes of the arguments may differ from the example's when the function is called.
            Where the function does something else for other sizes, or depends on them in a way for which there is no
            formula, a call with those raises an error; docs/export-format.md says more.
        metadata: a string to keep in the file.
        **kwargs: example keyword arguments.

    Raises:
        TypeError: for a path, function or metadata that is none.
        ValueError: for arguments or results that are no arrays, a function that looks at data, metadata for a callback.
        RuntimeError: if the file cannot be written.

    >>> import arrax.core as mx, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "mean.arrax")
    >>> mx.export_function(path, mx.mean, mx.zeros((4,)), shapeless=True)
    >>> mx.import_function(path)(mx.array([1.0, 2.0, 6.0]))
    (array(3, dtype=float32),)
    """
    op = "export_function"
    is_path = isinstance(file_or_callback, str | os.PathLike)
    if not is_path and not callable(file_or_callback):
        raise TypeError(f"[{op}] expected a path or a function, got {type(file_or_callback).__name__}")
    _check(op, fun, shapeless, metadata)
    if is_path:
        with FunctionExporter(file_or_callback, fun, shapeless, metadata) as export:  # type: ignore[arg-type]
            export(*args, **kwargs)
        return
    if metadata is not None:
        raise ValueError(f"[{op}] expected metadata for a file only, got a callback: leave it out")
    for piece in _pieces(_record(fun, *_arguments(op, args, kwargs), shapeless)):
        file_or_callback(piece)  # type: ignore[operator]


def _letters() -> Iterator[str]:
    """A, B, ..., Z, AA, AB, ..."""
    number = 0
    while True:
        number += 1
        name, rest = "", number
        while rest:
            rest, digit = divmod(rest - 1, 26)
            name = chr(65 + digit) + name
        yield name


def _pieces(function: Function) -> Iterator[dict[str, Any]]:
    """What a callback is shown."""
    letters = _letters()
    first = len(function.inputs)
    types = [*function.inputs, *((n.shape, n.dtype) for n in function.constants), *(o.type for o in function.program)]
    order = [*range(first), *function.results, *range(first, len(types))]
    named = {at: next(letters) for at in dict.fromkeys(order)}

    def described(positions: Sequence[int]) -> list[tuple]:
        return [(named[at], *types[at]) for at in positions]

    scalars = [(first + len(function.constants) + i, o) for i, o in enumerate(function.program) if o.prim is const]
    constants = [(named[first + i], wrap(n)) for i, n in enumerate(function.constants)]
    constants += [(named[at], wrap(constant(o.params[0], o.type[1]))) for at, o in scalars]
    yield {"type": "inputs", "inputs": described(range(first))}
    yield {
        "type": "keyword_inputs",
        "keywords": [(k, named[len(function.names) + i]) for i, k in enumerate(function.keywords)],
    }
    yield {"type": "outputs", "outputs": described(function.results)}
    yield {"type": "constants", "constants": constants}
    for i, operation in enumerate(function.program):
        if operation.prim is not const:
            at = first + len(function.constants) + i
            shown = exported(
                operation.prim.name, operation.params, [types[source] for source in operation.at], types[at][0]
            )
            yield {
                "type": "primitive",
                "name": shown.name,
                "inputs": described(operation.at),
                "outputs": described([at]),
                "arguments": shown.arguments,
            }


# --- reading ----------------------------------------------------------------------------------------------------------
def import_function(
    file: str | os.PathLike, return_metadata: bool = False
) -> Callable[..., tuple[array, ...]] | tuple[Callable[..., tuple[array, ...]], str]:
    """A function out of a file that ``export_function`` or ``exporter`` has written.

    The function takes arrays, or one tuple and/or dictionary of them, and returns a tuple of arrays. Transforms work on
    it as on any other.

    Args:
        file: a path.
        return_metadata: whether to return the string that was kept in the file as well.

    Raises:
        TypeError: if ``file`` is no path.
        RuntimeError: if the file cannot be read, or is not one of these.
        ValueError: (when the function is called) for arguments that it was not recorded for.
    """
    op = "import_function"
    if not isinstance(file, str | os.PathLike):
        raise TypeError(f"[{op}] expected a path, got {type(file).__name__}")
    path = os.fsdecode(file)
    try:
        found: Any = load(path, "safetensors", True)
    except RuntimeError as error:
        raise RuntimeError(str(error).replace("[load]", f"[{op}]", 1)) from None
    arrays, metadata = found
    if metadata.get("format") != _FORMAT or "graph" not in metadata:
        raise RuntimeError(f"[{op}] expected an exported function in {path}, got another safetensors file")
    try:
        functions = serialization.from_text(metadata["graph"], {k: a._node for k, a in arrays.items()})
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise RuntimeError(f"[{op}] expected an exported function in {path}, got a damaged one: {reason}") from None

    def imported(*args: Any, **kwargs: Any) -> tuple[array, ...]:
        """A function out of a file."""
        positional, named = _arguments("import_function::call", args, kwargs)
        function, arguments = _chosen(functions, positional, named)
        return tuple([wrap(n) for n in function([a._node for a in arguments])])

    return (imported, metadata.get("metadata", "")) if return_metadata else imported


def _chosen(
    functions: Sequence[Function], args: Sequence[Handle], kwargs: dict[str, Handle]
) -> tuple[Function, list[Handle]]:
    for function in functions:
        arguments = function.arranged(args, kwargs)
        if arguments is None:
            continue
        types = [_type(a) for a in arguments]
        if function.accepts(types) and function.fits(types):
            return function, arguments
    known = "; ".join(_signature(f.inputs, f.keywords, f.sizes or ()) for f in functions) or "nothing"
    keywords = tuple(sorted(kwargs))
    given = _signature([_type(a) for a in (*args, *(kwargs[k] for k in keywords))], keywords)
    raise ValueError(
        f"[import_function::call] expected arguments that the function was exported for, {known}, got {given}"
    )


def _signature(types: Sequence[Type], keywords: Sequence[str], sizes: Sequence[Size] | Rules = ()) -> str:
    """Types of arguments for people; sizes that may vary have letters."""
    letters = _letters()
    groups = _groups(types, sizes) if isinstance(sizes, Rules) else [size.at for size in sizes]
    free = {place: letter for group, letter in zip(groups, letters, strict=False) for place in group}
    first = len(types) - len(keywords)
    described = [
        f"{dtype.name}[{', '.join(free.get((i, axis), str(n)) for axis, n in enumerate(shape))}]"
        for i, (shape, dtype) in enumerate(types)
    ]
    return f"({', '.join([*described[:first], *map('{}={}'.format, keywords, described[first:])])})"


def _groups(types: Sequence[Type], rules: Rules) -> list[list[tuple[int, int]]]:
    """The places of sizes that rules leave free, those together that must be equal."""
    places = [(i, axis) for i, (shape, _) in enumerate(types) for axis in range(len(shape))]
    group = list(range(len(places)))
    fixed = set()
    for position, value in rules.guards.items():
        name, *operands = rules.table[position]
        at = [x[0] for x in operands if isinstance(x, tuple) and x[0] < len(places)]
        if (name, value) in (("eq", True), ("ne", False)) and at:
            if len(at) == 2:
                group = [group[at[0]] if g == group[at[1]] else g for g in group]
            elif not isinstance(operands[0], tuple) or not isinstance(operands[1], tuple):
                fixed.add(group[at[0]])
    members = {g: [p for p, k in zip(places, group, strict=True) if k == g] for g in dict.fromkeys(group)}
    return [found for g, found in members.items() if g not in fixed]


# --- pictures ---------------------------------------------------------------------------------------------------------
def _picture(nodes: Sequence[Node], outputs: Sequence[Node], labels: dict[int, str]) -> str:
    """Nodes, inputs first, in Graphviz's language and MLX's manner: operations and arrays are drawn side by side."""
    letters = (letter for letter in _letters() if letter not in labels.values())
    named = {id(node): labels.get(id(node)) or next(letters) for node in nodes}
    last = {id(node) for node in outputs}
    lines = ["digraph {"]
    for number, node in enumerate(nodes):
        array = show.quoted(named[id(node)])
        if node.buffer is not None or node.prim.kind == "leaf":
            lines.append(f"{{ rank=source; {array}; }}")
            continue
        name = shown_name(node.prim.name, node.params, [(i.shape, i.dtype) for i in node.inputs], node.shape)
        lines.append(f'{{ {number} [label ="{name}", shape=rectangle]; }}')
        lines += [f"{show.quoted(named[id(resolve(source))])} -> {number}" for source in node.inputs]
        lines += [f"{{ rank=sink; {array}; }}" if id(node) in last else f"{{ {array}; }}", f"{number} -> {array}"]
    return "\n".join([*lines, "}"])


def export_to_dot(file: Any, *args: Any, **kwargs: Any) -> None:
    """Writes the graph of what has been recorded but not evaluated, in Graphviz's language: ``dot -Tsvg`` draws it.

    Operations are boxes with MLX's names, arrays are letters; ``arrax.explain(y, "dot")`` gives a picture with shapes.

    Args:
        file: a path, or what has ``write`` for text.
        *args: the arrays whose graphs are drawn, or trees of them.
        **kwargs: names for arrays in the picture.

    Raises:
        ValueError: for what is no file or no array.
        RuntimeError: if the file cannot be written.

    >>> import arrax.core as mx, io
    >>> x, file = mx.array([1.0, 2.0]), io.StringIO()
    >>> mx.export_to_dot(file, mx.exp(x), x=x)
    >>> print(file.getvalue())
    digraph {
    { rank=source; "x"; }
    { 1 [label ="Exp", shape=rectangle]; }
    "x" -> 1
    { rank=sink; "A"; }
    1 -> "A"
    }
    """
    op = "export_to_dot"
    outputs = [a._node for a in trees.only_arrays(list(args), op)]
    labels: dict[int, str] = {}
    for name, value in kwargs.items():
        if not isinstance(value, Handle):
            raise ValueError(f"[{op}] expected arrays to name, got {type(value).__name__} for {name}")
        labels[id(value._node)] = name
    targets: list[Node] = inlined(outputs)[0]
    labels |= {id(new): labels[id(old)] for old, new in zip(outputs, targets, strict=True) if id(old) in labels}
    text = _picture(needed(targets), targets, labels)
    if callable(getattr(file, "write", None)):
        file.write(text + "\n")
        return
    if not isinstance(file, str | os.PathLike):
        raise ValueError(f"[{op}] expected a path or an open text file, got {type(file).__name__}")
    try:
        with open(file, "w") as stream:
            stream.write(text + "\n")
    except OSError as error:
        raise RuntimeError(f"[{op}] expected to write {os.fsdecode(file)}, got {error.strerror}: check it") from error
