"""Functions for arguments of any sizes, found by recording them for several: where they want numbers of sizes.

Sizes that are equal in the example are one size. One by one they are varied, far and in small steps: where the
function fails, computes something else, or holds a number for which there is no formula, the size stays what it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node
from arrax.prims.leaf import placeholder
from arrax.runtime.executor import to_numpy
from arrax.transforms.export import Function, Operation, Type
from arrax.transforms.sizes import Formula, Size, fit

# How far each size is from the first of its row; rows differ, so that sums and products of sizes can be told apart.
_STEPS = ((0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (40, 117, 1009, 4243))
_LEAST = 0, 1, 2

Record = Callable[[Sequence[Type]], Function]


class _Different(Exception):
    """The function computes something else for other sizes."""


def generalized(example: Function, record: Record) -> Function:
    """The function with formulas for all numbers that depend on those sizes of its arguments that may vary.

    Args:
        example: the function as recorded for the sizes that it is wanted for.
        record: records it for arguments of other types.
    """
    places: dict[int, list[tuple[int, int]]] = {}
    for i, (shape, _) in enumerate(example.inputs):
        for axis, n in enumerate(shape):
            places.setdefault(n, []).append((i, axis))
    found = _fitted(example, record, [])
    for n, at in places.items():
        assert isinstance(found.sizes, list)
        try:
            found = _fitted(example, record, [*found.sizes, Size(tuple(at), n)])
        except _Different:
            continue
        _lower(found, record)
    return found


def _types(example: Function, sizes: Sequence[Size], values: Sequence[int]) -> list[Type]:
    shapes = [list(shape) for shape, _ in example.inputs]
    for size, n in zip(sizes, values, strict=True):
        for i, axis in size.at:
            shapes[i][axis] = n
    return [(tuple(shape), dtype) for shape, (_, dtype) in zip(shapes, example.inputs, strict=True)]


def _recorded(example: Function, record: Record, sizes: Sequence[Size], values: Sequence[int]) -> Function:
    try:
        found = record(_types(example, sizes, values))
    except Exception as error:
        raise _Different(f"an error for the sizes {list(values)} ({error})") from None
    same = (
        len(found.program) == len(example.program)
        and len(found.constants) == len(example.constants)
        and found.results == example.results
        and all(a.prim is b.prim and a.at == b.at for a, b in zip(found.program, example.program, strict=True))
        and all(map(_same_data, found.constants, example.constants))
    )
    if not same:
        raise _Different(f"other operations for the sizes {list(values)}")
    return found


def _same_data(a: Node, b: Node) -> bool:
    if a is b:
        return True
    if a.shape != b.shape or a.dtype is not b.dtype:
        return False
    return bool(np.array_equal(to_numpy(a).reshape(-1).view(np.uint8), to_numpy(b).reshape(-1).view(np.uint8)))


def _fitted(example: Function, record: Record, sizes: list[Size]) -> Function:
    """The function with formulas in the given sizes."""
    if not sizes:
        return dataclasses.replace(example, sizes=[])
    rows = [[5 + 13 * k + s for k in range(len(sizes))] for s in _STEPS[0]]
    rows += [[s + (k + 1) * (s // 3 + 7 * k + 1) for k in range(len(sizes))] for s in _STEPS[1]]
    rows += [[2 + (i * (k + 3) + k) % 11 for k in range(len(sizes))] for i in range(4)]
    traces = [_recorded(example, record, sizes, row) for row in rows]
    known: dict[tuple, Any] = {}

    def explained(values: Sequence[Any]) -> Any:
        """The one value, or a formula for all of them."""
        first = values[0]
        if isinstance(first, tuple):
            if any(not isinstance(v, tuple) or len(v) != len(first) for v in values):
                raise _Different("parameters of another kind")
            return tuple([explained(items) for items in zip(*values, strict=True)])
        if all(type(v) is type(first) and (v is first or v == first or v != v) for v in values):
            return first
        key = tuple(values)
        if key not in known:
            known[key] = fit(values, rows)
        if known[key] is None:
            raise _Different(f"a number that depends on sizes in an unknown way ({values[0]} for {rows[0]})")
        return known[key]

    program = []
    for operation, *others in zip(example.program, *(t.program for t in traces), strict=True):
        dtype: Dtype = operation.type[1]
        if any(o.type[1] is not dtype or len(o.type[0]) != len(operation.type[0]) for o in others):
            raise _Different("results of other types")
        params = explained([o.params for o in others])
        if not _is_number(params, operation.params, sizes, example):
            raise _Different(f"{operation.prim.name} does something else for the sizes of the example")
        program.append(Operation(operation.prim, operation.at, params, operation.type))
    return dataclasses.replace(example, program=program, sizes=sizes)


def _is_number(found: Any, expected: Any, sizes: list[Size], example: Function) -> bool:
    """Whether the parameters that were found are those of the example for its sizes."""
    if isinstance(found, tuple):
        return len(found) == len(expected) and all(
            _is_number(a, b, sizes, example) for a, b in zip(found, expected, strict=True)
        )
    if isinstance(found, Formula):
        values = [example.inputs[s.at[0][0]][0][s.at[0][1]] for s in sizes]
        try:
            number = found.value(values)
        except ValueError:
            return False
        return abs(number - expected) <= 1e-14 * abs(expected)
    return type(found) is type(expected) and (found == expected or found != found)


def _lower(function: Function, record: Record) -> None:
    """Sets the least value of the last size: of 0, 1 and 2 the smallest that gives results of the right shapes."""
    assert isinstance(function.sizes, list)
    *others, size = function.sizes
    for n in _LEAST:
        if n >= size.least:
            return
        types = _types(function, [size], [n])
        arguments = [Node(placeholder, (), (), s, d) for s, d in types]
        try:
            again = record(types)
            wanted = [_type_of(again, at) for at in again.results]
            if [(x.shape, x.dtype) for x in function.instantiate(arguments)] != wanted:
                continue
        except Exception:  # whatever the function raises for such a size
            continue
        function.sizes = [*others, Size(size.at, n)]
        return


def _type_of(function: Function, at: int) -> Type:
    """The type of what has a position in the function."""
    if at < len(function.inputs):
        return function.inputs[at]
    at -= len(function.inputs)
    if at < len(function.constants):
        return function.constants[at].shape, function.constants[at].dtype
    return function.program[at - len(function.constants)].type
