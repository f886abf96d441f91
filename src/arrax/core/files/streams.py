"""Streams: files written all or not at all, files read from where they stand."""

from __future__ import annotations

import contextlib
import io
import math
import os
import secrets
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from arrax.core.convert import array_node
from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node, Shape
from arrax.runtime import executor

File = str | os.PathLike | IO[bytes]

CHUNK = 1 << 24
_MOST_AXES = 32  # NumPy's own limit before version 2


def line(text: Any, most: int = 200) -> str:
    """What goes into a message: names and other libraries' errors may be long, and contain line breaks."""
    text = " ".join(str(text).encode(errors="backslashreplace").decode().split())
    return text if len(text) <= most else text[:most] + " ..."


def quoted(text: str) -> str:
    """A name out of a file, for a message."""
    return line(repr(text[:200]))


def is_path(file: Any) -> bool:
    return isinstance(file, str | os.PathLike)


def nbytes(shape: Shape, dtype: Dtype) -> int:
    return math.prod(shape) * dtype.size


def checked_shape(shape: Any, size: int, name: str) -> Shape:
    """A shape out of a file, for elements of ``size`` bytes; raises RuntimeError where no array can have it."""
    valid = len(shape) <= _MOST_AXES and all(type(n) is int and 0 <= n < 2**63 for n in shape)
    # NumPy bounds the product of what is not 0 even for empty arrays
    if not valid or math.prod([n for n in shape if n]) * size >= 2**63:
        raise RuntimeError(
            f"[load] expected at most {_MOST_AXES} sizes of at least 0 as shape of {name}, "
            f"got {line(shape, 80)}: the file is damaged"
        )
    return tuple(shape)


# --- writing ----------------------------------------------------------------------------------------------------------
def evaluated(op: str, arrays: list[Any]) -> list[Node]:
    """The arrays' nodes, all evaluated at once."""
    nodes = [array_node(op, a) for a in arrays]
    executor.evaluate(nodes)
    return nodes


def content(node: Node) -> memoryview:
    """The elements' bytes, without a copy."""
    return executor.to_numpy(node).reshape(-1).view(np.uint8).data if node.size else memoryview(b"")


def write(stream: Any, data: bytes | memoryview) -> None:
    """All of the data, in pieces that every stream takes; raises OSError where it does not."""
    view = memoryview(data)
    while len(view):
        written = stream.write(view[:CHUNK])
        if written == 0:
            raise OSError("nothing could be written")
        view = view[CHUNK if written is None else written :]


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


def save(op: str, file: File, extension: str, writer: Callable[[Any], None], error: type[Exception]) -> None:
    """Calls ``writer`` with a stream; the path is completed by the extension.

    Raises ``error`` (RuntimeError or OSError) where a path cannot be written.
    """
    if not is_path(file):
        if not callable(getattr(file, "write", None)) or isinstance(file, io.TextIOBase):
            raise ValueError(f"[{op}] expected a path or a file opened in binary mode, got {type(file).__name__}")
        writer(file)
        return
    path = os.fsdecode(file)  # type: ignore[arg-type]
    if not path.endswith(extension):
        path += extension
    try:
        with _replacing(path) as stream:
            writer(stream)
    except OSError as cause:
        reason = (cause.strerror or str(cause)).lower()
        message = f"[{op}] expected to write {line(path, 4096)}, got {reason}: check the path and the free space"
        raise (error(cause.errno, message) if error is OSError else error(message)) from cause


# --- reading ----------------------------------------------------------------------------------------------------------
def read_exactly(stream: Any, n: int, name: str) -> bytes:
    data = stream.read(n)
    if len(data) != n:
        raise RuntimeError(f"[load] expected {n} bytes more in {name}, got {len(data)}: the file is cut off")
    return data


def read_into(stream: Any, target: memoryview, name: str) -> None:
    """Fills the target from a stream; raises RuntimeError where the stream ends before."""
    total, at = len(target), 0
    into = getattr(stream, "readinto", None)
    while at < total:
        if into is not None:
            n = into(target[at : at + CHUNK])
        else:
            piece = stream.read(min(CHUNK, total - at))
            n = len(piece)
            target[at : at + n] = piece
        if not n:
            raise RuntimeError(f"[load] expected {total} bytes of data in {name}, got {at}: the file is cut off")
        at += n


@contextlib.contextmanager
def reading(file: Any, missing: type[Exception]) -> Iterator[tuple[Any, int, str]]:
    """A stream at its first byte, how many bytes it has, and its name; raises ``missing`` where there is none."""
    if is_path(file):
        path = os.fsdecode(file)
        try:
            stream = open(path, "rb")  # noqa: SIM115 closed below
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise missing(f"[load] expected to read {line(path, 4096)}, got {reason}: check the path") from error
        with stream:
            if os.path.isfile(path):
                yield stream, os.fstat(stream.fileno()).st_size, line(path, 4096)
            else:
                data = stream.read()
                yield io.BytesIO(data), len(data), line(path, 4096)
        return
    name = getattr(file, "name", None)
    name = line(name) if isinstance(name, str) else type(file).__name__
    if not (hasattr(file, "seekable") and file.seekable()):
        data = file.read()
        yield io.BytesIO(data), len(data), name
        return
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    yield file, size - here, name
