"""GGUF: metadata of many types, a list of tensors, and their elements or quantized blocks."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from arrax.core.files.blocks import FLOAT, PACKED, float_tensor, packed_tensor
from arrax.core.files.content import Content, check_apart
from arrax.core.files.streams import checked_shape, content, evaluated, line, nbytes, quoted, write
from arrax.graph import dtypes
from arrax.graph.handle import Handle
from arrax.graph.node import Node, Shape
from arrax.runtime import executor

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
# metadata: number of the type, ours
_VALUES = {
    0: dtypes.uint8, 1: dtypes.int8, 2: dtypes.uint16, 3: dtypes.int16, 4: dtypes.uint32, 5: dtypes.int32,
    6: dtypes.float32, 7: dtypes.bool_, 10: dtypes.uint64, 11: dtypes.int64, 12: dtypes.float64,
}  # fmt: skip
_VALUE_NUMBERS = {d: n for n, d in _VALUES.items() if d is not dtypes.float64}
_TENSORS = {
    0: dtypes.float32, 1: dtypes.float16, 24: dtypes.int8, 25: dtypes.int16, 26: dtypes.int32, 27: dtypes.int64,
    28: dtypes.float64,
}  # fmt: skip
# MLX writes no others, and would not read them back.
_TENSOR_NUMBERS = {d: n for n, d in _TENSORS.items() if d not in (dtypes.int64, dtypes.float64)}
_MOST_AXES = 8
_MOST_ALIGNED = 1 << 20
_ALIGNMENT = "general.alignment"

Metadata = dict[str, Node | str | list[str]]


# --- writing ----------------------------------------------------------------------------------------------------------
def _text(op: str, text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"[{op}] expected text that UTF-8 can write, got {line(error)}: replace it") from error
    return struct.pack("<Q", len(data)) + data


def _value(op: str, key: Any, value: Any) -> bytes:
    """One entry of the metadata."""
    if not isinstance(key, str):
        raise RuntimeError(f"[{op}] expected strings as names of metadata, got {type(key).__name__}: convert it")
    head = _text(op, key)
    if isinstance(value, str):
        return head + struct.pack("<I", _STRING) + _text(op, value)
    if isinstance(value, list | tuple) and all(isinstance(x, str) for x in value):
        count = struct.pack("<IIQ", _ARRAY, _STRING, len(value))
        return head + count + b"".join([_text(op, x) for x in value])
    if not isinstance(value, Handle):
        raise RuntimeError(
            f"[{op}] expected an array, a string or a list of strings as metadata {quoted(key)}, "
            f"got {type(value).__name__}: convert it with mx.array"
        )
    (node,) = evaluated(op, [value])
    number = _VALUE_NUMBERS.get(node.dtype)
    if number is None:
        raise ValueError(
            f"[{op}] expected metadata of an integer type, bool or float32, "
            f"got {node.dtype.name} for {quoted(key)}: convert it with astype"
        )
    if node.ndim > 1 or not node.size:
        raise RuntimeError(
            f"[{op}] expected metadata with one axis at most and not empty, "
            f"got shape {list(node.shape)} for {quoted(key)}: flatten it"
        )
    if node.ndim:
        head += struct.pack("<IIQ", _ARRAY, number, node.size)
    else:
        head += struct.pack("<I", number)
    return head + bytes(content(node))


def _alignment_of(op: str, metadata: dict[str, Any]) -> int:
    given = metadata.get(_ALIGNMENT)
    if given is None:
        return 32
    node = given._node if isinstance(given, Handle) else None
    n = int(executor.to_numpy(node)) if node is not None and node.dtype is dtypes.uint32 and not node.shape else 0
    if not _is_alignment(n):
        raise ValueError(f"[{op}] expected a power of two as {_ALIGNMENT}, got {line(given)}: pass a scalar of uint32")
    return n


def _is_alignment(n: int) -> bool:
    return n.bit_count() == 1 and n <= _MOST_ALIGNED


def gguf_writer(op: str, arrays: Any, metadata: Any) -> Callable[[Any], None]:
    """What writes the arrays and the metadata to a stream."""
    if not isinstance(arrays, dict) or not all(isinstance(name, str) for name in arrays):
        raise TypeError(f"[{op}] expected a dictionary of arrays by name, got {type(arrays).__name__}")
    if not isinstance(metadata, dict | None):
        raise TypeError(f"[{op}] expected a dictionary as metadata, got {type(metadata).__name__}")
    metadata = metadata or {}
    nodes = dict(zip(arrays, evaluated(op, list(arrays.values())), strict=True))
    alignment = _alignment_of(op, metadata)
    head = [_MAGIC, struct.pack("<IQQ", _VERSIONS[-1], len(nodes), len(metadata))]
    head += [_value(op, key, value) for key, value in metadata.items()]
    at = 0
    for name, node in nodes.items():
        number = _TENSOR_NUMBERS.get(node.dtype)
        if number is None or node.ndim > _MOST_AXES:
            raise RuntimeError(
                f"[{op}] expected float32, float16, int8, int16 or int32 with at most {_MOST_AXES} axes, "
                f"got {node.dtype.name}{list(node.shape)} for {quoted(name)}: convert it with astype"
            )
        sizes = struct.pack(f"<I{node.ndim}Q", node.ndim, *reversed(node.shape))
        head += [_text(op, name), sizes, struct.pack("<IQ", number, at)]
        at += nbytes(node.shape, node.dtype)
        at += -at % alignment
    header = b"".join(head)

    def write_all(stream: Any) -> None:
        write(stream, header)
        at = len(header)
        for node in nodes.values():
            write(stream, bytes(-at % alignment))
            write(stream, content(node))
            at += -at % alignment + nbytes(node.shape, node.dtype)

    return write_all


# --- reading ----------------------------------------------------------------------------------------------------------
class _Cursor:
    """A place in a file from which its parts are read in order; raises RuntimeError where the file ends before."""

    def __init__(self, file: Content) -> None:
        self.view, self.at, self.left, self.name = file.view, 0, file.size, file.name

    def take(self, n: int) -> memoryview:
        if n > self.left:
            raise RuntimeError(
                f"[load] expected {n} bytes more in {self.name}, got {self.left}: the file is cut off or damaged"
            )
        self.at += n
        self.left -= n
        return self.view[self.at - n : self.at]

    def number(self, form: struct.Struct) -> int:
        return form.unpack(self.take(form.size))[0]

    def count(self, least: int) -> int:
        """A number of things that take so many bytes at least."""
        n = self.number(_U64)
        if n * least > self.left:
            raise RuntimeError(
                f"[load] expected things that fit {self.left} bytes in {self.name}, got {n}: the file is damaged"
            )
        return n

    def text(self) -> str:
        try:
            return str(self.take(self.number(_U64)), "utf-8")
        except UnicodeDecodeError as error:
            raise RuntimeError(f"[load] expected text in {self.name}, got {line(error)}: it is damaged") from error


_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


def _read_value(cursor: _Cursor) -> Node | str | list[str]:
    kind = cursor.number(_U32)
    if kind == _STRING:
        return cursor.text()
    if kind != _ARRAY:
        return _read_numbers(cursor, kind, None)
    kind = cursor.number(_U32)
    if kind == _STRING:
        return [cursor.text() for _ in range(cursor.count(_U64.size))]
    if kind == _ARRAY:
        raise ValueError(f"[load] expected no nested arrays in the metadata of {cursor.name}: they cannot be read")
    return _read_numbers(cursor, kind, 1)


def _read_numbers(cursor: _Cursor, kind: int, axes: int | None) -> Node:
    dtype = _VALUES.get(kind)
    if dtype is None:
        raise RuntimeError(f"[load] expected a known type of metadata in {cursor.name}, got {kind}: it is damaged")
    n = cursor.count(dtype.size) if axes else 1
    raw = np.frombuffer(cursor.take(n * dtype.size), np.uint8)
    values = raw != 0 if dtype is dtypes.bool_ else raw.view(dtype.np)
    if dtype is dtypes.float64:
        with np.errstate(all="ignore"):
            values = values.astype(np.float32)
    return executor.from_numpy_array(values if axes else values.reshape(()))


def _read_entry(cursor: _Cursor) -> tuple[str, Shape, int, int]:
    """What the list says of one tensor: name, shape, type and offset."""
    name = cursor.text()
    axes = cursor.number(_U32)
    if axes > _MOST_AXES:
        raise RuntimeError(
            f"[load] expected at most {_MOST_AXES} axes of {quoted(name)} in {cursor.name}, got {axes}: it is damaged"
        )
    sizes = struct.unpack(f"<{axes}Q", cursor.take(8 * axes))
    return name, tuple(reversed(sizes)), cursor.number(_U32), cursor.number(_U64)


def _stored(kind: int, where: str) -> tuple[int, int]:
    """Elements and bytes of a block of a type."""
    if kind in _TENSORS:
        return 1, _TENSORS[kind].size
    if kind in PACKED:
        return 32, PACKED[kind].size
    if kind in FLOAT:
        return FLOAT[kind][:2]
    raise RuntimeError(f"[load] expected a type that can be read for {where}, got number {kind}: quantize it otherwise")


def read_gguf(file: Content) -> tuple[dict[str, Node], Metadata]:
    """The arrays and the metadata."""
    cursor = _Cursor(file)
    magic, version = bytes(cursor.take(4)), cursor.number(_U32)
    if magic != _MAGIC or version not in _VERSIONS:
        raise RuntimeError(
            f"[load] expected GGUF of version 2 or 3 in {file.name}, got {magic!r} and {version}: it is another format"
        )
    tensors, entries = cursor.count(24), cursor.count(13)
    metadata: Metadata = {}
    for _ in range(entries):
        _add(metadata, cursor.text(), _read_value(cursor), file.name)
    listed = [_read_entry(cursor) for _ in range(tensors)]
    alignment = _read_alignment(metadata, file.name)
    base = cursor.at + -cursor.at % alignment
    arrays: dict[str, Node] = {}
    ranges = []
    for name, sizes, kind, offset in listed:
        where = f"{quoted(name)} in {file.name}"
        elements, size = _stored(kind, where)
        shape = checked_shape(sizes, 8, where)
        if elements > 1 and (not shape or shape[-1] % elements):
            raise RuntimeError(
                f"[load] expected rows of whole blocks of {elements} elements for {where}, "
                f"got shape {list(shape)}: the file is damaged"
            )
        n = math.prod(shape) // elements * size
        start = base + offset
        if start + n > file.size and n:
            raise RuntimeError(
                f"[load] expected {n} bytes from {start} on for {where}, "
                f"got a file of {file.size} bytes: it is cut off or damaged"
            )
        ranges.append((start, start + n, name))
        if kind in PACKED:
            weight, scales, biases = packed_tensor(file, start, shape, kind)
            prefix = name.removesuffix(".weight")
            _add(arrays, name, weight, file.name)
            _add(arrays, f"{prefix}.scales", scales, file.name)
            _add(arrays, f"{prefix}.biases", biases, file.name)
        elif kind in FLOAT:
            _add(arrays, name, float_tensor(file, start, shape, kind), file.name)
        else:
            _add(arrays, name, file.array(start, shape, _TENSORS[kind]), file.name)
    check_apart(ranges, file.name)
    return arrays, metadata


def _add(found: dict[str, Any], name: str, value: Any, file: str) -> None:
    if name in found:
        raise RuntimeError(f"[load] expected every name once in {file}, got {quoted(name)} twice: rename a tensor")
    found[name] = value


def _read_alignment(metadata: Metadata, name: str) -> int:
    given = metadata.get(_ALIGNMENT)
    if given is None:
        return 32
    n = int(executor.to_numpy(given)) if isinstance(given, Node) and given.dtype.is_integer and not given.shape else 0
    if not _is_alignment(n):
        raise RuntimeError(f"[load] expected a power of two as {_ALIGNMENT} of {name}: the file is damaged")
    return n
