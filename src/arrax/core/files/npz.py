"""npz: a zip archive of npy files."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from arrax.core.files.npy import read_npy, write_npy
from arrax.core.files.streams import evaluated, line, nbytes, quoted
from arrax.graph.node import Node

_DEFLATE_RATIO = 1032  # what deflate can save at most
# What zipfile raises on bytes that are no archive, or no longer one.
_BROKEN = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError,
    OverflowError, ValueError,
)  # fmt: skip


def npz_writer(op: str, args: tuple, kwargs: Mapping[str, Any], method: int) -> Callable[[Any], None]:
    """What writes the arrays to a stream, compressed by the method."""
    named = dict(kwargs)
    for i, value in enumerate(args):
        name = f"arr_{i}"
        if name in named:
            raise ValueError(f"[{op}] expected no array named {name} besides unnamed ones: rename it")
        named[name] = value
    nodes = dict(zip(named, evaluated(op, list(named.values())), strict=True))

    def write(stream: Any) -> None:
        with zipfile.ZipFile(stream, "w", method, allowZip64=True) as archive:
            for name, node in nodes.items():
                with archive.open(f"{name}.npy", "w", force_zip64=nbytes(node.shape, node.dtype) >= 1 << 30) as member:
                    write_npy(member, node)

    return write


def read_npz(stream: Any, size: int, name: str) -> dict[str, Node]:
    try:
        archive = zipfile.ZipFile(stream)
    except _BROKEN as error:
        raise ValueError(
            f"[load] expected a zip archive in {name}, got {line(error)}: it is another format or damaged"
        ) from error
    with archive:
        members = archive.infolist()
        if sum(m.compress_size for m in members) > size:
            raise ValueError(f"[load] expected members within the {size} bytes of {name}, got more: it is damaged")
        result: dict[str, Node] = {}
        for member in members:
            key = member.filename.removesuffix(".npy")
            if key in result:
                raise ValueError(f"[load] expected every name once in {name}, got {quoted(key)} twice: it is damaged")
            result[key] = _read_member(archive, member, f"{name}[{line(key)}]")
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
    except _BROKEN as error:
        raise RuntimeError(f"[load] expected the member {name}, got {line(error)}: the archive is damaged") from error
    with data:
        checked = _Checked(data, name)
        node = read_npy(checked, member.file_size, name)
        if checked.read(1):  # reads up to the check sum, too
            raise RuntimeError(f"[load] expected {name} to end with its elements, got more: the archive is damaged")
    return node


class _Checked:
    """A member whose damage is a RuntimeError, whatever zipfile makes of it."""

    def __init__(self, member: Any, name: str) -> None:
        self._member, self._name = member, name

    def read(self, n: int) -> bytes:
        try:
            return self._member.read(n)
        except _BROKEN as error:
            raise RuntimeError(
                f"[load] expected compressed data in {self._name}, got {line(error)}: the archive is damaged"
            ) from error
