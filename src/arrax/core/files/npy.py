"""npy: NumPy's file of one array. A header that looks like a Python dictionary, then the elements."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np

from arrax.core.files.content import Content, Deferred
from arrax.core.files.streams import checked_shape, content, line, nbytes, read_exactly, read_into, write
from arrax.graph.dtypes import Dtype, bfloat16, bool_, from_numpy, uint8
from arrax.graph.node import Node, Shape
from arrax.runtime import executor
from arrax.runtime.buffer import as_numpy, pool

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 16
_CODES = ("b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "c16")
# The header is searched, never evaluated.
_TYPE = re.compile(r"""['"]descr['"]\s*:\s*(?:['"]([^'"]*)['"]|\[)""")
_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([-\d\s,L]*)\)""")


# --- writing ----------------------------------------------------------------------------------------------------------
def write_npy(stream: Any, node: Node) -> None:
    header = {
        "descr": "<V2" if node.dtype is bfloat16 else np.lib.format.dtype_to_descr(node.dtype.np),
        "fortran_order": False,
        "shape": node.shape,
    }
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, header)
    write(stream, head.getvalue())
    write(stream, content(node))


# --- reading ----------------------------------------------------------------------------------------------------------
class _Counted:
    """A stream of which no more than a number of bytes is read."""

    def __init__(self, stream: Any, available: int, name: str) -> None:
        self.stream, self.available, self.name = stream, available, name

    def read(self, n: int) -> bytes:
        if n > self.available:
            raise RuntimeError(
                f"[load] expected {n} bytes more in {self.name}, got {self.available}: the file is cut off"
            )
        self.available -= n
        return read_exactly(self.stream, n, self.name)


def _header(stream: _Counted, name: str) -> str:
    magic = stream.read(8)
    if magic[:6] != _MAGIC:
        raise RuntimeError(f"[load] expected {name} to begin as npy files do, got {magic!r}: it is another format")
    if magic[6:] not in (b"\1\0", b"\2\0"):
        raise RuntimeError(
            f"[load] expected npy version 1.0 or 2.0 in {name}, got {magic[6]}.{magic[7]}: write it with another one"
        )
    form = "<H" if magic[6] == 1 else "<I"
    (length,) = struct.unpack(form, stream.read(struct.calcsize(form)))
    if length > _LONGEST_HEADER:
        raise RuntimeError(
            f"[load] expected a header of at most {_LONGEST_HEADER} bytes in {name}, got {length}: the file is damaged"
        )
    return stream.read(length).decode("latin1")


def _parsed(header: str, name: str) -> tuple[Shape, bool, np.dtype, Dtype]:
    """What the header says: shape, whether columns come first, the type in the file and ours."""
    code, order, sizes = _TYPE.search(header), _ORDER.search(header), _SHAPE.search(header)
    structured = code is not None and code[1] is None
    rest = _SHAPE.sub("", _ORDER.sub("", _TYPE.sub("", header, 1), 1), 1).strip("{}, \n")
    if code is None or order is None or sizes is None or (rest and not structured):
        raise RuntimeError(
            f"[load] expected descr, fortran_order and shape in the header of {name}, "
            f"got {line(header, 80)}: the file is damaged"
        )
    text = "a structured type" if structured else code[1]
    stored = np.dtype(text) if text[:1] in "<>|=" and text[1:] in _CODES else None
    if text in ("<V2", "|V2"):
        stored = bfloat16.np
    dtype = None if stored is None else from_numpy(stored.newbyteorder("="))
    if stored is None or dtype is None:
        raise ValueError(
            f"[load] expected elements of a numeric type in {name}, got {line(text, 80)}: convert the file with NumPy"
        )
    try:
        shape = [int(n.strip().removesuffix("L")) for n in sizes[1].split(",") if n.strip()]
    except ValueError:  # no number, or one with thousands of digits
        shape = [-1]
    return checked_shape(shape, dtype.size, name), order[1] == "True", stored, dtype


def read_npy(stream: Any, available: int, name: str) -> Node:
    """The array of an npy file of ``available`` bytes."""
    counted = _Counted(stream, available, name)
    form = _parsed(_header(counted, name), name)
    shape, _, _, dtype = form
    n = nbytes(shape, dtype)
    if n > counted.available:
        raise RuntimeError(f"[load] expected {n} bytes of data in {name}, got {counted.available}: the file is cut off")
    buffer = pool.allocate(n)
    if n:
        raw = as_numpy(buffer, (n,), uint8, writable=True)
        read_into(stream, raw.data, name)
        _convert(raw, *form)
    return executor.data(buffer, shape, dtype)


def read_npy_later(file: Content) -> Node:
    """The array of an npy file that is read when it is used; it may turn out then that the file is cut off."""
    head = io.BytesIO(file.view[: _LONGEST_HEADER + 12])
    counted = _Counted(head, file.size, file.name)
    form = _parsed(_header(counted, file.name), file.name)
    shape, _, _, dtype = form
    start, n = head.tell(), nbytes(shape, dtype)
    there = file.size - start

    def fill(target: np.ndarray) -> None:
        if n > there:
            raise RuntimeError(f"[load] expected {n} bytes of data in {file.name}, got {there}: the file is cut off")
        file.read(start, target)
        _convert(target, *form)

    # no memory is taken for what cannot be read
    buffer = Deferred(min(n, there), fill) if n else pool.allocate(0)
    if not file.is_mapped:
        buffer.ptr  # noqa: B018
    return executor.data(buffer, shape, dtype)


def _convert(raw: np.ndarray, shape: Shape, fortran: bool, stored: np.dtype, dtype: Dtype) -> None:
    """Makes elements as the file has them those of an array, in their place."""
    if dtype is bool_:
        np.not_equal(raw, 0, out=raw.view(np.bool_))
    parts = raw.view(stored.newbyteorder("="))
    if not stored.isnative:
        parts.byteswap(inplace=True)
    if fortran and len(shape) > 1:
        parts.reshape(shape)[...] = parts.reshape(shape, order="F").copy()
