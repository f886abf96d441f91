"""Reading and writing arrays: npy, npz, safetensors and GGUF.

The formats are in `arrax.core.files`; here are the functions that people call. Files are written under another name
first, so that a program that is stopped or a disk that is full leaves no half file behind.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arrax.core.device import check_stream
from arrax.core.files.content import Content
from arrax.core.files.gguf import gguf_writer, read_gguf
from arrax.core.files.npy import read_npy, read_npy_later, write_npy
from arrax.core.files.npz import npz_writer, read_npz
from arrax.core.files.safetensors import read_safetensors, safetensors_writer
from arrax.core.files.streams import File, evaluated, is_path, reading
from arrax.core.files.streams import save as save_file
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node

if TYPE_CHECKING:
    from arrax.core.array import array

_wrap: Callable[[Node], Any] = wrap

_FORMATS = ("npy", "npz", "safetensors", "gguf")


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
    (node,) = evaluated("save", [arr])
    save_file("save", file, ".npy", lambda stream: write_npy(stream, node), RuntimeError)


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
    writer = npz_writer("savez", args, kwargs, zipfile.ZIP_STORED)
    save_file("savez", file, ".npz", writer, OSError)


def savez_compressed(file: File, *args: array, **kwargs: array) -> None:
    """Writes several arrays as ``.npz``, compressed; otherwise like ``savez``.

    >>> import arrax.core as mx, io
    >>> file = io.BytesIO()
    >>> mx.savez_compressed(file, mx.zeros(10_000))
    >>> len(file.getvalue()) < 1000
    True
    """
    writer = npz_writer("savez_compressed", args, kwargs, zipfile.ZIP_DEFLATED)
    save_file("savez_compressed", file, ".npz", writer, OSError)


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
    writer = safetensors_writer("save_safetensors", arrays, metadata)
    save_file("save_safetensors", file, ".safetensors", writer, RuntimeError)


def save_gguf(file: File, arrays: dict[str, array], metadata: dict[str, array | str | list[str]] | None = None) -> None:
    """Writes arrays as ``.gguf``.

    Args:
        file: a path, completed by ``.gguf``, or a file opened in binary mode.
        arrays: the arrays by their names: float32, float16, int8, int16 or int32, of at most 8 axes.
        metadata: by name strings, lists of strings, and arrays with one element or one axis. A
            ``general.alignment`` is the power of two at whose multiples the arrays begin, 32 without it.

    Raises:
        TypeError: if ``arrays`` is no dictionary of arrays.
        ValueError: if metadata has a type that the format lacks.
        RuntimeError: for arrays of other types, metadata that is neither array nor text, or a file that cannot be
            written.

    >>> import arrax.core as mx, io
    >>> file = io.BytesIO()
    >>> mx.save_gguf(file, {"w": mx.array([1.5])}, {"made_by": "me", "layers": mx.array(2)})
    >>> _ = file.seek(0)
    >>> arrays, metadata = mx.load(file, format="gguf", return_metadata=True)
    >>> arrays["w"].tolist(), metadata["made_by"], metadata["layers"].item()
    ([1.5], 'me', 2)
    """
    save_file("save_gguf", file, ".gguf", gguf_writer("save_gguf", arrays, metadata), RuntimeError)


def _format(file: Any, given: str | None) -> str:
    if given is None:
        path = os.fsdecode(file) if is_path(file) else getattr(file, "name", None)
        if not isinstance(path, str):
            raise AttributeError(
                f"[load] expected a file with a name or a format, got {type(file).__name__}: pass format"
            )
        _, dot, given = path.rpartition(".")
        if not dot:
            raise ValueError(f"[load] expected a name with an extension, got {shown(path)}: pass format")
    if not isinstance(given, str):
        raise TypeError(f"[load] expected a string as format, got {type(given).__name__}: pass one of {_FORMATS}")
    if given not in _FORMATS:
        raise ValueError(
            f"[load] expected one of the formats {', '.join(_FORMATS)}, got {shown(given)}: convert the file"
        )
    return given


def load(
    file: File, /, format: str | None = None, return_metadata: bool = False, *, stream: Any = None
) -> array | dict[str, array] | tuple[dict[str, array], dict[str, Any]]:
    """Reads arrays from an npy, npz, safetensors or GGUF file.

    The arrays of safetensors and GGUF files, and of npy files that are given by their path, are read when they are used
    or evaluated; for an npy file it turns out then that it is cut off. Those of safetensors and GGUF files are views
    into the file where it has the elements as memory needs them. Such a file may be replaced or removed, but not
    changed in place, while arrays out of it are in use.

    Tensors of GGUF files quantized to 4 or 8 bits (Q4_0, Q4_1, Q8_0) come as ``quantized_matmul`` takes them, with
    groups of 32: ``x.weight``, ``x.scales`` and ``x.biases``. Those of other quantizations and bfloat16 become float16.

    Args:
        file: a path or a file opened in binary mode, read from where it stands.
        format: "npy", "npz", "safetensors" or "gguf"; None takes the extension of the file's name.
        return_metadata: whether to return a safetensors or GGUF file's metadata too.
        stream: not used.

    Returns:
        One array for npy, else a dictionary of arrays; with ``return_metadata`` a pair of it and the metadata.

    Raises:
        ValueError: for an unknown format, a file that is no zip archive, or elements that are no numbers.
        RuntimeError: if the file cannot be read, is cut off or damaged.

    >>> import arrax.core as mx, io
    >>> file = io.BytesIO()
    >>> mx.save(file, mx.array([[1.0, 2.0]]))
    >>> _ = file.seek(0)
    >>> mx.load(file, format="npy").shape
    (1, 2)
    """
    check_stream("load", stream)
    readable = callable(getattr(file, "read", None)) and not isinstance(file, io.TextIOBase)
    if not is_path(file) and not readable:
        raise ValueError(f"[load] expected a path or a file opened in binary mode, got {type(file).__name__}")
    kind = _format(file, format)
    if return_metadata and kind not in ("safetensors", "gguf"):
        raise ValueError(f"[load] expected a format with metadata, got {kind}: leave return_metadata out")
    with reading(file, ValueError if kind in ("npz", "gguf") else RuntimeError) as (source, size, name):
        if kind == "npy":
            by_name = is_path(file)  # else the file stands behind the array when this returns
            return _wrap(read_npy_later(Content(source, size, name)) if by_name else read_npy(source, size, name))
        if kind == "npz":
            return {key: _wrap(node) for key, node in read_npz(source, size, name).items()}
        read: Callable[[Content], tuple[dict[str, Node], dict[str, Any]]]
        read = read_gguf if kind == "gguf" else read_safetensors
        nodes, found = read(Content(source, size, name))
    arrays = {key: _wrap(node) for key, node in nodes.items()}
    if not return_metadata:
        return arrays
    return arrays, {key: _wrap(value) if isinstance(value, Node) else value for key, value in found.items()}
