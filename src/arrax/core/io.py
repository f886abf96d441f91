"""Reading and writing arrays: npy, npz and safetensors.

Files come from anywhere, so nothing in them is trusted: every size is checked against the file before memory is taken,
and nothing in a file is ever executed. Files are written under another name first, so that a program that is stopped or
a disk that is full leaves no half file behind.
"""

from __future__ import annotations

import contextlib
import io as _io
import json
import math
import os
import secrets
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from arrax.core.convert import array_node
from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype, bfloat16, bool_, from_numpy
from arrax.graph.handle import wrap
from arrax.graph.node import Node, Shape
from arrax.runtime import executor
from arrax.runtime.buffer import as_numpy, pool

if TYPE_CHECKING:
    from arrax.core.array import array

File = str | os.PathLike | IO[bytes]
_wrap: Callable[[Node], Any] = wrap

_SAFETENSORS = {
    dtypes.bool_: "BOOL", dtypes.uint8: "U8", dtypes.uint16: "U16", dtypes.uint32: "U32", dtypes.uint64: "U64",
    dtypes.int8: "I8", dtypes.int16: "I16", dtypes.int32: "I32", dtypes.int64: "I64", dtypes.float16: "F16",
    dtypes.bfloat16: "BF16", dtypes.float32: "F32", dtypes.float64: "F64", dtypes.complex64: "C64",
}  # fmt: skip
# 8-bit floats have no type here; their bits do.
_FROM_SAFETENSORS = {name: d for d, name in _SAFETENSORS.items()} | {"F8_E4M3": dtypes.uint8, "F8_E8M0": dtypes.uint8}

_LONGEST_HEADER = 100_000_000  # bytes of JSON, the format's own limit
_DEFLATE_RATIO = 1032  # what deflate can save at most
_CHUNK = 1 << 24


def _line(text: Any) -> str:
    """What goes into a message: names and other libraries' errors may contain line breaks."""
    return " ".join(str(text).split())


def _is_path(file: Any) -> bool:
    return isinstance(file, str | os.PathLike)


def _nodes(op: str, arrays: list[Any]) -> list[Node]:
    """The arrays' nodes, all evaluated at once."""
    nodes = [array_node(op, a) for a in arrays]
    executor.evaluate(nodes)
    return nodes


def _bytes(node: Node) -> memoryview:
    """The elements' bytes, without a copy."""
    return executor.to_numpy(node).reshape(-1).view(np.uint8).data if node.size else memoryview(b"")


# --- writing ----------------------------------------------------------------------------------------------------------
def _write(stream: Any, data: bytes | memoryview) -> None:
    """All of the data, in pieces that every stream takes; raises OSError where it does not."""
    view = memoryview(data)
    while len(view):
        written = stream.write(view[:_CHUNK])
        if written == 0:
            raise OSError("nothing could be written")
        view = view[_CHUNK if written is None else written :]


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[IO[bytes]]:
    """A stream whose content takes the path's place when the block ends well; else the path stays as it is."""
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe cannot be replaced
        with open(path, "wb") as stream:
            yield stream
        return
    temporary = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
        if os.path.exists(path):
            os.chmod(temporary, os.stat(path).st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _path_with(file: str | os.PathLike, extension: str) -> str:
    path = os.fsdecode(file)
    return path if path.endswith(extension) else path + extension


def _save(op: str, file: File, extension: str, write: Callable[[Any], None]) -> None:
    """Calls ``write`` with a stream. Raises RuntimeError where the file cannot be written."""
    if not _is_path(file):
        if not callable(getattr(file, "write", None)) or isinstance(file, _io.TextIOBase):
            raise ValueError(f"[{op}] expected a path or a file opened in binary mode, got {type(file).__name__}")
        write(file)
        return
    path = _path_with(file, extension)  # type: ignore[arg-type]
    try:
        with _replacing(path) as stream:
            write(stream)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"[{op}] expected to write {path}, got {reason.lower()}: check the path and the free space"
        if op.startswith("savez"):
            raise OSError(error.errno, message) from error
        raise RuntimeError(message) from error


def _write_npy(stream: Any, node: Node) -> None:
    header = {
        "descr": "<V2" if node.dtype is bfloat16 else np.lib.format.dtype_to_descr(node.dtype.np),
        "fortran_order": False,
        "shape": node.shape,
    }
    head = _io.BytesIO()
    np.lib.format.write_array_header_1_0(head, header)
    _write(stream, head.getvalue())
    _write(stream, _bytes(node))


def save(file: File, arr: array) -> None:
    """Writes one array as ``.npy``; NumPy reads it (bfloat16, which NumPy cannot name, as two raw bytes).

    Args:
        file: a path, completed by ``.npy``, or a file opened in binary mode.
        arr: the array.

    Raises:
        TypeError: if ``arr`` is no array.
        RuntimeError: if the file cannot be written.

    >>> import arrax.core as mx, io
    >>> file = io.BytesIO()
    >>> mx.save(file, mx.array([1, 2]))
    >>> _ = file.seek(0)
    >>> mx.load(file, format="npy").tolist()
    [1, 2]
    """
    (node,) = _nodes("save", [arr])
    _save("save", file, ".npy", lambda stream: _write_npy(stream, node))


def _save_npz(op: str, file: File, args: tuple, kwargs: Mapping[str, Any], method: int) -> None:
    named = dict(kwargs)
    for i, value in enumerate(args):
        name = f"arr_{i}"
        if name in named:
            raise ValueError(f"[{op}] expected no array named {name} besides unnamed ones: rename it")
        named[name] = value
    nodes = dict(zip(named, _nodes(op, list(named.values())), strict=True))

    def write(stream: Any) -> None:
        with zipfile.ZipFile(stream, "w", method, allowZip64=True) as archive:
            for name, node in nodes.items():
                with archive.open(f"{name}.npy", "w", force_zip64=node.size * node.dtype.size >= 1 << 30) as member:
                    _write_npy(member, node)

    _save(op, file, ".npz", write)


def savez(file: File, *args: array, **kwargs: array) -> None:
    """Writes several arrays as ``.npz``, not compressed; NumPy reads it.

    Args:
        file: a path, completed by ``.npz``, or a file opened in binary mode.
        args: arrays that get the names ``arr_0``, ``arr_1`` ...
        kwargs: arrays under their names.

    Raises:
        TypeError: if something is no array.
        ValueError: if a name is taken twice.
        OSError: if the file cannot be written.

    >>> import arrax.core as mx, io
    >>> file = io.BytesIO()
    >>> mx.savez(file, mx.array(1), w=mx.array([2.0]))
    >>> _ = file.seek(0)
    >>> sorted(mx.load(file, format="npz"))
    ['arr_0', 'w']
    """
    _save_npz("savez", file, args, kwargs, zipfile.ZIP_STORED)


def savez_compressed(file: File, *args: array, **kwargs: array) -> None:
    """Writes several arrays as ``.npz``, compressed; otherwise like ``savez``.

    >>> import arrax.core as mx, io
    >>> file = io.BytesIO()
    >>> mx.savez_compressed(file, mx.zeros(10_000))
    >>> len(file.getvalue()) < 1000
    True
    """
    _save_npz("savez_compressed", file, args, kwargs, zipfile.ZIP_DEFLATED)


def save_safetensors(file: File, arrays: dict[str, array], metadata: dict[str, str] | None = None) -> None:
    """Writes arrays as ``.safetensors``.

    Args:
        file: a path, completed by ``.safetensors``, or a file opened in binary mode.
        arrays: the arrays by their names.
        metadata: strings by their names, stored beside the arrays.

    Raises:
        TypeError: if ``arrays`` is no dictionary of arrays.
        ValueError: if ``metadata`` is no dictionary of strings or an array is named ``__metadata__``.
        RuntimeError: if the file cannot be written.

    >>> import arrax.core as mx, io
    >>> file = io.BytesIO()
    >>> mx.save_safetensors(file, {"w": mx.array([1.5])}, {"made_by": "me"})
    >>> _ = file.seek(0)
    >>> arrays, metadata = mx.load(file, format="safetensors", return_metadata=True)
    >>> arrays["w"].tolist(), metadata
    ([1.5], {'made_by': 'me'})
    """
    op = "save_safetensors"
    if not isinstance(arrays, dict) or not all(isinstance(name, str) for name in arrays):
        raise TypeError(f"[{op}] expected a dictionary of arrays by name, got {type(arrays).__name__}")
    if "__metadata__" in arrays:
        raise ValueError(f"[{op}] expected array names other than __metadata__, which the format reserves: rename it")
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(x, str) for item in metadata.items() for x in item)
    ):
        raise ValueError(f"[{op}] expected metadata with strings as keys and values: convert them with str")
    nodes = dict(zip(arrays, _nodes(op, list(arrays.values())), strict=True))
    # wide elements first, so that all are aligned to their size
    order = sorted(nodes, key=lambda name: -nodes[name].dtype.size)
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name in order:
        node, start = nodes[name], at
        at += node.size * node.dtype.size
        header[name] = {"dtype": _SAFETENSORS[node.dtype], "shape": node.shape, "data_offsets": (start, at)}
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)

    def write(stream: Any) -> None:
        _write(stream, struct.pack("<Q", len(head)) + head)
        for name in order:
            _write(stream, _bytes(nodes[name]))

    _save(op, file, ".safetensors", write)


# --- reading ----------------------------------------------------------------------------------------------------------
def _read_exactly(stream: Any, n: int, name: str) -> bytes:
    data = stream.read(n)
    if len(data) != n:
        raise RuntimeError(f"[load] expected {n} bytes more in {name}, got {len(data)}: the file is cut off")
    return data


def _read_into(stream: Any, target: memoryview, name: str) -> None:
    """Fills the target from a stream; raises RuntimeError where the stream ends before."""
    total, at = len(target), 0
    while at < total:
        piece = stream.read(min(_CHUNK, total - at))
        if not piece:
            raise RuntimeError(f"[load] expected {total} bytes of data in {name}, got {at}: the file is cut off")
        target[at : at + len(piece)] = piece
        at += len(piece)


def _nbytes(shape: Shape, dtype: Dtype) -> int:
    return math.prod(shape) * dtype.size


def _read_array(stream: Any, shape: Shape, dtype: Dtype, name: str) -> Node:
    """The next elements of a stream as a leaf. The caller has checked their number."""
    n = _nbytes(shape, dtype)
    buffer = pool.allocate(n)
    if n:
        raw = as_numpy(buffer, (n,), dtypes.uint8, writable=True)
        if isinstance(stream, _io.BufferedReader):
            if stream.readinto(raw.data) != n:
                raise RuntimeError(f"[load] expected {n} bytes of data in {name}: the file is cut off")
        else:
            _read_into(stream, raw.data, name)
        if dtype is bool_:
            np.not_equal(raw, 0, out=raw.view(np.bool_))
    return executor.data(buffer, shape, dtype)


def _npy_header(stream: Any, name: str) -> tuple[Shape, bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(stream)
    except ValueError:
        raise RuntimeError(
            f"[load] expected {name} to begin as npy files do: it is another format or damaged"
        ) from None
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise RuntimeError(f"[load] expected npy version 1.0 or 2.0 in {name}, got {'.'.join(map(str, version))}")
    try:
        shape, fortran, dtype = readers[version](stream)
    except Exception as error:  # NumPy's parser meets arbitrary bytes here: whatever it raises, the header is bad
        raise RuntimeError(
            f"[load] expected an npy header in {name}, got one that cannot be read: it is damaged"
        ) from error
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise RuntimeError(f"[load] expected sizes of at least 0 in {name}, got {list(shape)}: the file is damaged")
    return shape, fortran, dtype


def _read_npy(stream: Any, available: int, name: str) -> Node:
    """The array of an npy file of ``available`` bytes."""
    counted = _Counted(stream, available, name)
    shape, fortran, stored = _npy_header(counted, name)
    dtype = bfloat16 if stored == np.dtype("V2") else from_numpy(stored.newbyteorder("="))
    if dtype is None:
        raise ValueError(
            f"[load] expected elements of a numeric type in {name}, got {stored}: convert the file with NumPy"
        )
    n = _nbytes(shape, dtype)
    if n > counted.available:
        raise RuntimeError(f"[load] expected {n} bytes of data in {name}, got {counted.available}: the file is cut off")
    node = _read_array(stream, tuple(reversed(shape)) if fortran else shape, dtype, name)
    if stored.isnative and not (fortran and len(shape) > 1):
        return node
    elements = executor.to_numpy(node)
    swapped = elements if stored.isnative else elements.view(stored).astype(dtype.np)
    return executor.from_numpy_array(swapped.T if fortran else swapped)


class _Counted:
    """A stream of which no more than a number of bytes is read."""

    def __init__(self, stream: Any, available: int, name: str) -> None:
        self.stream, self.available, self.name = stream, available, name

    def read(self, n: int) -> bytes:
        if n > self.available:
            raise RuntimeError(f"[load] expected {n} bytes more in {self.name}, got {self.available}: it is cut off")
        data = self.stream.read(n)
        self.available -= len(data)
        return data


# What zipfile raises on bytes that are no archive, or no longer one.
_BROKEN = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError,
    OverflowError, UnicodeError,
)  # fmt: skip


def _read_npz(stream: Any, size: int, name: str) -> dict[str, Node]:
    try:
        archive = zipfile.ZipFile(stream)
    except (ValueError, *_BROKEN) as error:
        raise ValueError(
            f"[load] expected a zip archive in {name}, got {_line(error)}: it is another format"
        ) from error
    with archive:
        members = archive.infolist()
        if sum(m.compress_size for m in members) > size:
            raise ValueError(f"[load] expected members within the {size} bytes of {name}, got more: it is damaged")
        result: dict[str, Node] = {}
        for member in members:
            key = member.filename.removesuffix(".npy")
            if key in result:
                raise ValueError(f"[load] expected every name once in {name}, got {key!r} twice: it is damaged")
            result[key] = _read_member(archive, member, f"{name}[{_line(key)}]")
    return result


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Node:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
        raise ValueError(f"[load] expected {name} stored or deflated, not encrypted: write it with savez")
    if member.file_size > _DEFLATE_RATIO * member.compress_size + 1024:
        raise ValueError(
            f"[load] expected at most {_DEFLATE_RATIO} bytes from each byte of {name}, "
            f"got {member.file_size} from {member.compress_size}: it is damaged"
        )
    try:
        data = archive.open(member)
    except (ValueError, *_BROKEN) as error:
        raise RuntimeError(f"[load] expected the member {name}, got {_line(error)}: the archive is damaged") from error
    try:
        with data:
            node = _read_npy(data, member.file_size, name)
            if data.read(1):  # reads up to the check sum, too
                raise RuntimeError(f"[load] expected {name} to end with its elements, got more: the archive is damaged")
            return node
    except _BROKEN as error:
        raise RuntimeError(
            f"[load] expected compressed data in {name}, got {_line(error)}: the archive is damaged"
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _safetensors_header(stream: Any, size: int, name: str) -> tuple[dict[str, Any], int]:
    """The header and the number of bytes that follow it."""
    (length,) = struct.unpack("<Q", _read_exactly(stream, 8, name))
    if length > min(size - 8, _LONGEST_HEADER):
        raise RuntimeError(f"[load] expected a header within {name}, got a length of {length}: the file is damaged")
    try:
        header = json.loads(_read_exactly(stream, length, name).decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise RuntimeError(f"[load] expected a JSON header in {name}, got {_line(error)}: it is damaged") from error
    if not isinstance(header, dict):
        raise RuntimeError(f"[load] expected a JSON object as header of {name}: the file is damaged")
    return header, size - 8 - length


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
        and all(map(_is_size, shape))
        and isinstance(offsets, list)
        and len(offsets) == 2
        and all(map(_is_size, offsets))
        and isinstance(code, str)
    )
    if not valid:
        raise RuntimeError(f"[load] expected dtype, shape and data_offsets of {key!r} in {name}: the file is damaged")
    dtype = _FROM_SAFETENSORS.get(code)
    if dtype is None:
        raise RuntimeError(
            f"[load] expected a type that exists here for {key!r} in {name}, got {code}: convert the file"
        )
    start, end = offsets
    if end - start != _nbytes(tuple(shape), dtype) or end > available:
        raise RuntimeError(
            f"[load] expected {_nbytes(tuple(shape), dtype)} bytes within {available} for {key!r} in {name}, "
            f"got offsets {start} and {end}: the file is cut off or damaged"
        )
    return start, end, tuple(shape), dtype


def _read_safetensors(stream: Any, size: int, name: str) -> tuple[dict[str, Node], dict[str, str]]:
    header, available = _safetensors_header(stream, size, name)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise RuntimeError(f"[load] expected strings as metadata in {name}: the file is damaged")
    entries = {key: _tensor(key, entry, available, name) for key, entry in header.items()}
    base, at = stream.tell(), 0
    result: dict[str, Node] = {}
    for key in sorted(entries, key=lambda k: entries[k][:2]):
        start, end, shape, dtype = entries[key]
        if start < at:
            raise RuntimeError(
                f"[load] expected {key!r} behind the tensor before it in {name}, got an overlap: it is damaged"
            )
        stream.seek(base + start)
        result[key] = _read_array(stream, shape, dtype, name)
        at = end
    return {key: result[key] for key in header}, metadata


@contextlib.contextmanager
def _reading(file: Any, missing: type[Exception]) -> Iterator[tuple[Any, int, str]]:
    """A stream at its first byte, how many bytes it has, and its name; raises ``missing`` where there is none."""
    if _is_path(file):
        path = os.fsdecode(file)
        try:
            stream = open(path, "rb")  # noqa: SIM115 closed below
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise missing(f"[load] expected to read {path}, got {reason}: check the path") from error
        with stream:
            if os.path.isfile(path):
                yield stream, os.fstat(stream.fileno()).st_size, _line(path)
            else:
                data = stream.read()
                yield _io.BytesIO(data), len(data), _line(path)
        return
    name = getattr(file, "name", None)
    name = _line(name) if isinstance(name, str) else type(file).__name__
    if not (hasattr(file, "seekable") and file.seekable()):
        data = file.read()
        yield _io.BytesIO(data), len(data), name
        return
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    yield file, size - here, name


_FORMATS = ("npy", "npz", "safetensors")


def _format(file: Any, given: str | None) -> str:
    if given is None:
        path = os.fsdecode(file) if _is_path(file) else getattr(file, "name", None)
        if not isinstance(path, str):
            raise AttributeError(
                f"[load] expected a file with a name or a format, got {type(file).__name__}: pass format"
            )
        _, dot, given = path.rpartition(".")
        if not dot:
            raise ValueError(f"[load] expected a name with an extension, got {path!r}: pass format")
    if given not in _FORMATS:
        raise ValueError(f"[load] expected one of the formats {', '.join(_FORMATS)}, got {given!r}: convert the file")
    return given


def load(
    file: File, /, format: str | None = None, return_metadata: bool = False, *, stream: Any = None
) -> array | dict[str, array] | tuple[dict[str, array], dict[str, str]]:
    """Reads arrays from an npy, npz or safetensors file.

    Args:
        file: a path or a file opened in binary mode, read from where it stands.
        format: "npy", "npz" or "safetensors"; None takes the extension of the file's name.
        return_metadata: whether to return a safetensors file's metadata too.
        stream: not used.

    Returns:
        One array for npy, else a dictionary of arrays; with ``return_metadata`` a pair of it and the metadata.

    Raises:
        ValueError: for an unknown format, an archive that is damaged, or elements that are no numbers.
        RuntimeError: if the file cannot be read, is cut off or damaged.

    >>> import arrax.core as mx, io
    >>> file = io.BytesIO()
    >>> mx.save(file, mx.array([[1.0, 2.0]]))
    >>> _ = file.seek(0)
    >>> mx.load(file, format="npy").shape
    (1, 2)
    """
    readable = callable(getattr(file, "read", None)) and not isinstance(file, _io.TextIOBase)
    if not _is_path(file) and not readable:
        raise ValueError(f"[load] expected a path or a file opened in binary mode, got {type(file).__name__}")
    kind = _format(file, format)
    if return_metadata and kind != "safetensors":
        raise ValueError(f"[load] expected a safetensors file for its metadata, got {kind}: leave return_metadata out")
    with _reading(file, ValueError if kind == "npz" else RuntimeError) as (source, size, name):
        if kind == "npy":
            return _wrap(_read_npy(source, size, name))
        if kind == "npz":
            return {key: _wrap(node) for key, node in _read_npz(source, size, name).items()}
        nodes, metadata = _read_safetensors(source, size, name)
        arrays = {key: _wrap(node) for key, node in nodes.items()}
        return (arrays, metadata) if return_metadata else arrays
