"""Recorded functions as JSON; docs/export-format.md describes it.

A text may come from anywhere: reading checks all of it, and gives either a function whose every node has been checked
or a ValueError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from arrax.graph.dtypes import ALL, Dtype, bool_, complex128, float64
from arrax.graph.handle import shown
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import REGISTRY
from arrax.graph.symbol import OPERANDS, OPERATIONS, Rules
from arrax.prims.leaf import const, placeholder
from arrax.prims.validity import LARGEST, RANK, is_int, is_portable, is_shape
from arrax.runtime.executor import from_numpy_array, to_numpy
from arrax.transforms.export import Function, Operation, Ruled, Type
from arrax.transforms.sizes import FORMS, Formula, Size

VERSION = 1
_DTYPES = {d.name: d for d in ALL}
_SCALAR_LIMITS = -(1 << 63), (1 << 64) - 1
Free = list[Size] | Rules | None
_DEGREE = 8  # sizes that a term of a formula may multiply


# --- writing ----------------------------------------------------------------------------------------------------------
def to_text(functions: Sequence[Function], name: Callable[[Node], str]) -> str:
    """The functions; ``name`` says under which name a constant is kept."""
    return json.dumps({"version": VERSION, "functions": [_function(f, name) for f in functions]}, separators=(",", ":"))


def _function(f: Function, name: Callable[[Node], str]) -> dict[str, Any]:
    sizes: Any = f.sizes
    if isinstance(f.sizes, Rules):
        sizes = {"rules": _parameter(tuple(f.sizes.table)), "guards": _parameter(tuple(f.sizes.guards.items()))}
    elif f.sizes is not None:
        sizes = [{"at": s.at, "least": s.least} for s in f.sizes]
    return {
        "inputs": [_type(t) for t in f.inputs],
        "names": f.names,
        "keywords": f.keywords,
        "constants": [{"pairs": name(n)} if n.dtype is complex128 else name(n) for n in f.constants],
        "program": [[o.prim.name, o.at, [_parameter(p) for p in o.params], *_type(o.type)] for o in f.program],
        "results": f.results,
        "sizes": sizes,
    }


def _type(t: Type) -> list[Any]:
    return [t[1].name, t[0]]


def _parameter(value: Any) -> Any:
    """A parameter: tuples are lists, and what JSON does not have is an object of one item, whose key says what."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, tuple):
        return [_parameter(v) for v in value]
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if isinstance(value, Dtype):
        return {"dtype": value.name}
    if isinstance(value, Formula):
        return {"formula": [value.form, value.over, value.terms]}
    if isinstance(value, Ruled):
        return {"rule": value.position}
    raise ValueError(f"[export_function] expected parameters that can be written to a file, got {shown(value)}")


# --- reading ----------------------------------------------------------------------------------------------------------
def from_text(text: str, constants: Mapping[str, Node]) -> list[Function]:
    """The functions in a text, checked. Raises ValueError where it holds anything else."""
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("a graph, got lists nested too deeply") from None
    top = _fields(found, ("version", "functions"))
    if not is_int(top["version"]) or top["version"] != VERSION:
        raise ValueError(f"version {VERSION} of the format, got {_shown(top['version'])}")
    return [_read_function(f, constants) for f in _list(top["functions"])]


def _no_constant(name: str) -> None:
    raise ValueError(f"numbers, got {name}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _list(value: Any, length: int | None = None) -> list:
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise ValueError(f"a list{'' if length is None else f' of {length}'}, got {_shown(value)}")
    return value


def _fields(value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError(f"an object with {', '.join(names)}, got {_shown(value)}")
    return value


def _integer(value: Any, below: int) -> int:
    if not is_int(value) or not 0 <= value < below:
        raise ValueError(f"an integer from 0 below {below}, got {_shown(value)}")
    return value


def _read_type(dtype: Any, shape: Any) -> Type:
    sizes = tuple(_list(shape))
    if not is_shape(sizes) or len(sizes) > RANK:
        raise ValueError(f"a shape, got {_shown(shape)}")
    found = _dtype(dtype)
    if math.prod(sizes) * found.size > LARGEST:
        raise ValueError(f"an array that fits into memory, got {_shown(shape)}")
    return sizes, found


def _dtype(name: Any) -> Dtype:
    if not isinstance(name, str) or name not in _DTYPES:
        raise ValueError(f"the name of an element type, got {_shown(name)}")
    return _DTYPES[name]


def _read_float(value: Any) -> float:
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError(f"a hexadecimal float, got {_shown(value)}")
    try:
        return float.fromhex(value)
    except OverflowError:
        raise ValueError(f"a hexadecimal float, got {_shown(value)}") from None


def _read_parameter(value: Any, sizes: Free, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if not _SCALAR_LIMITS[0] <= value <= _SCALAR_LIMITS[1]:
            raise ValueError(f"an integer of 64 bits, got {_shown(value)}")
        return value
    if isinstance(value, list) and depth < 2:
        return tuple([_read_parameter(v, sizes, depth + 1) for v in value])
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"a parameter, got {_shown(value)}")
    ((kind, content),) = value.items()
    if kind == "float":
        return _read_float(content)
    if kind == "complex":
        return complex(*map(_read_float, _list(content, 2)))
    if kind == "dtype":
        return _dtype(content)
    if kind == "formula" and not isinstance(sizes, Rules):
        return _read_formula(content, len(sizes or ()))
    if kind == "rule" and isinstance(sizes, Rules):
        return Ruled(_integer(content, len(sizes.table)))
    raise ValueError(f"a parameter, got {_shown(value)}")


def _read_formula(content: Any, sizes: int) -> Formula:
    form, over, terms = _list(content, 3)
    if form not in FORMS or _integer(over, 1 << 63) < 1:
        raise ValueError(f"a formula, got {_shown(content)}")
    found = []
    for term in _list(terms):
        coefficient, monomial = _list(term, 2)
        if not is_int(coefficient) or abs(coefficient) >> 63 or len(_list(monomial)) > _DEGREE:
            raise ValueError(f"a term of a formula, got {_shown(term)}")
        found.append((coefficient, tuple(_integer(i, sizes) for i in monomial)))
    return Formula(tuple(found), over, form)


def _read_scalar(params: tuple, shape: Shape, dtype: Dtype) -> None:
    """Checks a scalar: one number of its type's kind."""
    value = params[0] if len(params) == 1 else None
    kind: type = type(value)
    if isinstance(value, Formula):
        kind = int if value.form == "floor" else float
    if isinstance(value, Ruled) and not dtype.is_complex and dtype is not bool_ and shape == ():
        return
    expected = complex if dtype.is_complex else float if dtype.is_float else bool if dtype is bool_ else int
    if shape != () or kind is not expected:
        raise ValueError(f"a scalar of type {dtype.name}, got {_shown(params)}")


def _read_rules(value: dict, inputs: Sequence[Type]) -> Rules:
    fields = _fields(value, ("rules", "guards"))
    sizes = sum(len(shape) for shape, _ in inputs)
    table: list[tuple] = []
    for item in _list(fields["rules"]):
        name, *operands = _list(item) or [None]
        if len(table) < sizes:
            if item != ["size"]:
                raise ValueError(f"a rule for each size, got {_shown(item)}")
            table.append(("size",))
            continue
        if not isinstance(name, str) or OPERATIONS.get(name) is None or len(operands) != OPERANDS.get(name, 2):
            raise ValueError(f"a rule, got {_shown(item)}")
        found = []
        for operand in operands:
            if isinstance(operand, list):
                found.append((_integer(_list(operand, 1)[0], len(table)),))
            else:
                number = _read_parameter(operand, None)
                if type(number) not in (int, float):
                    raise ValueError(f"a number in a rule, got {_shown(operand)}")
                found.append(number)
        table.append((name, *found))
    if len(table) < sizes:
        raise ValueError(f"a rule for each of {sizes} sizes, got {len(table)}")
    guards = {}
    for item in _list(fields["guards"]):
        position, expected = _list(item, 2)
        expected = _read_parameter(expected, None)
        if type(expected) not in (bool, int, float):
            raise ValueError(f"a number or a truth value as what a rule gives, got {_shown(item)}")
        guards[_integer(position, len(table))] = expected
    return Rules(table, guards)


def _read_sizes(value: Any, inputs: Sequence[Type]) -> Free:
    if value is None:
        return None
    if isinstance(value, dict):
        return _read_rules(value, inputs)
    found = []
    places: set[tuple[int, int]] = set()
    for item in _list(value):
        fields = _fields(item, ("at", "least"))
        at = []
        for place in _list(fields["at"]):
            i, axis = _list(place, 2)
            at.append((_integer(i, len(inputs)), _integer(axis, len(inputs[i][0]))))
        values = {inputs[i][0][axis] for i, axis in at}
        if len(values) != 1 or len(set(at)) != len(at) or places & set(at):
            raise ValueError(f"the places of one size, got {_shown(at)}")
        places.update(at)
        found.append(Size(tuple(at), _integer(fields["least"], values.pop() + 1)))
    return found


def _read_names(names: Any, keywords: Any, count: int) -> tuple[tuple[str | None, ...], tuple[str, ...]]:
    positional, others = tuple(_list(names)), tuple(_list(keywords))
    if len(positional) + len(others) != count or not all(n is None or isinstance(n, str) for n in positional):
        raise ValueError(f"names of {count} arguments, got {_shown(positional)} and {_shown(others)}")
    if not all(isinstance(k, str) for k in others) or list(others) != sorted(set(others)):
        raise ValueError(f"names of keyword arguments in order, got {_shown(others)}")
    return positional, others


def _read_function(value: Any, constants: Mapping[str, Node]) -> Function:
    fields = _fields(value, ("inputs", "names", "keywords", "constants", "program", "results", "sizes"))
    inputs = [_read_type(*_list(t, 2)) for t in _list(fields["inputs"])]
    names, keywords = _read_names(fields["names"], fields["keywords"], len(inputs))
    kept = [_read_constant(c, constants) for c in _list(fields["constants"])]
    sizes = _read_sizes(fields["sizes"], inputs)
    known = len(inputs) + len(kept)
    program: list[Operation] = []
    for item in _list(fields["program"]):
        program.append(_read_operation(item, known + len(program), sizes))
    results = [_integer(i, known + len(program)) for i in _list(fields["results"])]
    function = Function(inputs, names, keywords, kept, program, results, sizes)
    _verify(function)
    return function


def _read_constant(value: Any, constants: Mapping[str, Node]) -> Node:
    """An array of the file; the container has no complex128: such an array is there as pairs of float64."""
    pairs = isinstance(value, dict)
    name = _fields(value, ("pairs",))["pairs"] if pairs else value
    if not isinstance(name, str) or name not in constants:
        raise ValueError(f"the name of a constant that is in the file, got {_shown(value)}")
    node = constants[name]
    if not pairs:
        return node
    if node.dtype is not float64 or node.shape[-1:] != (2,):
        raise ValueError(f"pairs of float64, got {node.dtype.name}{list(node.shape)}")
    return from_numpy_array(to_numpy(node).view(complex128.np).reshape(node.shape[:-1]))


def _read_operation(value: Any, position: int, sizes: Free) -> Operation:
    name, at, params, dtype, shape = _list(value, 5)
    prim = REGISTRY.get(name) if isinstance(name, str) else None
    if prim is None or (prim is not const and not is_portable(prim)):
        raise ValueError(f"the name of a primitive, got {_shown(name)}")
    found = tuple([_read_parameter(p, sizes) for p in _list(params)])
    inputs = tuple([_integer(i, position) for i in _list(at)])
    result = _read_type(dtype, shape)
    if prim is const:
        if inputs:
            raise ValueError(f"a scalar without inputs, got {_shown(at)}")
        _read_scalar(found, *result)
    return Operation(prim, inputs, found, result)


def _verify(function: Function) -> None:
    """Checks that every operation's result has the type that the text says, for the sizes of the example."""
    values = function.values([Node(placeholder, (), (), s, d) for s, d in function.inputs])
    first = len(function.inputs) + len(function.constants)
    for operation, node in zip(function.program, values[first:], strict=True):
        if (node.shape, node.dtype) != operation.type:
            shape, dtype = operation.type
            raise ValueError(
                f"{operation.prim.name} to have the result {node.dtype.name}{list(node.shape)}, "
                f"got {dtype.name}{list(shape)}"
            )
