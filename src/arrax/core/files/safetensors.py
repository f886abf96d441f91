"""safetensors: a JSON header that names each tensor's type, shape and place, then the elements."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from arrax.core.files.content import Content, check_apart
from arrax.core.files.streams import checked_shape, content, evaluated, line, nbytes, quoted, write
from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node, Shape

_NAMES = {
    dtypes.bool_: "BOOL", dtypes.uint8: "U8", dtypes.uint16: "U16", dtypes.uint32: "U32", dtypes.uint64: "U64",
    dtypes.int8: "I8", dtypes.int16: "I16", dtypes.int32: "I32", dtypes.int64: "I64", dtypes.float16: "F16",
    dtypes.bfloat16: "BF16", dtypes.float32: "F32", dtypes.float64: "F64", dtypes.complex64: "C64",
}  # fmt: skip
# 8-bit floats have no type here; their bits do.
_TYPES = {name: d for d, name in _NAMES.items()} | {"F8_E4M3": dtypes.uint8, "F8_E8M0": dtypes.uint8}

_LONGEST_HEADER = 100_000_000  # bytes of JSON, the format's own limit


# --- writing ----------------------------------------------------------------------------------------------------------
def safetensors_writer(op: str, arrays: Any, metadata: Any) -> Callable[[Any], None]:
    """What writes the arrays and the metadata to a stream."""
    if not isinstance(arrays, dict) or not all(isinstance(name, str) for name in arrays):
        raise TypeError(f"[{op}] expected a dictionary of arrays by name, got {type(arrays).__name__}")
    if "__metadata__" in arrays:
        raise ValueError(f"[{op}] expected array names other than __metadata__, which the format reserves: rename it")
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(x, str) for item in metadata.items() for x in item)
    ):
        raise ValueError(f"[{op}] expected metadata with strings as keys and values: convert them with str")
    nodes = dict(zip(arrays, evaluated(op, list(arrays.values())), strict=True))
    for name, node in nodes.items():
        if node.dtype not in _NAMES:
            raise ValueError(
                f"[{op}] expected a type that the format has, got {node.dtype.name} for {quoted(name)}: "
                "convert it with astype"
            )
    # wide elements first, so that all are aligned to their size
    order = sorted(nodes, key=lambda name: -nodes[name].dtype.size)
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name in order:
        node, start = nodes[name], at
        at += nbytes(node.shape, node.dtype)
        header[name] = {"dtype": _NAMES[node.dtype], "shape": node.shape, "data_offsets": (start, at)}
    try:
        head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"[{op}] expected names that UTF-8 can write, got {line(error)}: rename the array") from error
    head += b" " * (-len(head) % 8)

    def write_all(stream: Any) -> None:
        write(stream, struct.pack("<Q", len(head)) + head)
        for name in order:
            write(stream, content(nodes[name]))

    return write_all


# --- reading ----------------------------------------------------------------------------------------------------------
def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _header(file: Content) -> tuple[dict[str, Any], int]:
    """The header and the number of the first byte behind it."""
    if file.size < 8:
        raise RuntimeError(f"[load] expected a header in {file.name}, got {file.size} bytes: the file is cut off")
    (length,) = struct.unpack_from("<Q", file.view)
    if length > min(file.size - 8, _LONGEST_HEADER):
        raise RuntimeError(
            f"[load] expected a header within {file.name}, got a length of {length}: the file is damaged"
        )
    try:
        header = json.loads(str(file.view[8 : 8 + length], "utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise RuntimeError(f"[load] expected a JSON header in {file.name}, got {line(error)}: it is damaged") from error
    if not isinstance(header, dict):
        raise RuntimeError(f"[load] expected a JSON object as header of {file.name}: the file is damaged")
    return header, 8 + length


def _is_size(n: Any) -> bool:
    return type(n) is int and n >= 0


def _tensor(key: str, entry: Any, available: int, name: str) -> tuple[int, int, Shape, Dtype]:
    """What the header says of one tensor, checked: first byte, end, shape and type."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    shape: Any
    offsets: Any
    code: Any
    shape, offsets, code = fields.get("shape"), fields.get("data_offsets"), fields.get("dtype")
    valid = (
        isinstance(shape, list)
        and isinstance(offsets, list)
        and len(offsets) == 2
        and all(map(_is_size, offsets))
        and isinstance(code, str)
    )
    if not valid:
        raise RuntimeError(
            f"[load] expected dtype, shape and data_offsets of {quoted(key)} in {name}: the file is damaged"
        )
    dtype = _TYPES.get(code)
    if dtype is None:
        raise RuntimeError(
            f"[load] expected a known type for {quoted(key)} in {name}, got {line(code, 80)}: convert the file"
        )
    sizes = checked_shape(shape, dtype.size, f"{quoted(key)} in {name}")
    start, end = offsets
    if end - start != nbytes(sizes, dtype) or end > available:
        raise RuntimeError(
            f"[load] expected {nbytes(sizes, dtype)} bytes within {available} for {quoted(key)} in {name}, "
            f"got offsets {start} and {end}: the file is cut off or damaged"
        )
    return start, end, sizes, dtype


def read_safetensors(file: Content) -> tuple[dict[str, Node], dict[str, str]]:
    """The arrays and the metadata."""
    header, base = _header(file)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise RuntimeError(f"[load] expected strings as metadata in {file.name}: the file is damaged")
    entries = {key: _tensor(key, entry, file.size - base, file.name) for key, entry in header.items()}
    check_apart([(start, end, key) for key, (start, end, _, _) in entries.items()], file.name)
    return {key: file.array(base + start, shape, dtype) for key, (start, _, shape, dtype) in entries.items()}, metadata
