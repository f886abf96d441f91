"""Kernels that a program brings along for graphics processors. They cannot run here, and say so.

A Metal kernel can be made, as a program often does when it is imported, and raises when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from arrax.core.device import check_stream
from arrax.graph.handle import shown

if TYPE_CHECKING:
    from arrax.core.array import array
    from arrax.core.dtypes import Dtype


def _check(op: str, texts: dict[str, Any], names: dict[str, Any]) -> None:
    for name, value in texts.items():
        if not isinstance(value, str):
            raise TypeError(f"[{op}] expected a str as {name}, got {type(value).__name__}: pass source code")
    for name, value in names.items():
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise TypeError(f"[{op}] expected a list of str as {name}, got {shown(value)}: pass the parameters' names")


def _no_back_end(op: str, what: str) -> RuntimeError:
    return RuntimeError(f"[{op}] expected {what}, got a CPU: write it in functions of mx, which are compiled")


def metal_kernel(
    name: str,
    input_names: Sequence[str],
    output_names: Sequence[str],
    source: str,
    header: str = "",
    ensure_row_contiguous: bool = True,
    atomic_outputs: bool = False,
    compile_options: object | None = None,
) -> Callable[..., NoReturn]:
    """A function that stands for a kernel in Metal and raises RuntimeError when it is called.

    Raises:
        TypeError: for arguments of the wrong type.
        ValueError: for ``compile_options`` that are no dict.
    """
    op = "metal_kernel"
    _check(op, {"name": name, "source": source, "header": header},
           {"input_names": input_names, "output_names": output_names})  # fmt: skip
    if compile_options is not None and not isinstance(compile_options, dict):
        raise ValueError(
            f"[{op}] expected a dict as compile_options, got {type(compile_options).__name__}: pass one or None"
        )

    def kernel(**arguments: Any) -> NoReturn:
        raise _no_back_end(op, "Metal")

    kernel.__name__ = kernel.__qualname__ = name
    return kernel


def cuda_kernel(
    name: str,
    input_names: Sequence[str],
    output_names: Sequence[str],
    source: str,
    header: str = "",
    ensure_row_contiguous: bool = True,
    shared_memory: int = 0,
) -> Callable[..., NoReturn]:
    """Would make a kernel in CUDA.

    Raises:
        RuntimeError: always.
        TypeError: for arguments of the wrong type.
    """
    op = "cuda_kernel"
    _check(op, {"name": name, "source": source, "header": header},
           {"input_names": input_names, "output_names": output_names})  # fmt: skip
    raise _no_back_end(op, "CUDA")


def precompiled_cuda_kernel(
    *,
    name: str,
    compiled_source: bytes,
    inputs: Sequence[array | float],
    output_shapes: Sequence[tuple[int, ...]],
    output_dtypes: Sequence[Dtype],
    scalars: Sequence[object],
    grid: tuple[int, int, int],
    threadgroup: tuple[int, int, int],
    shared_memory: int = 0,
    init_value: float | None = None,
    ensure_row_contiguous: bool = False,
    stream: Any = None,
) -> list[array]:
    """Would run a compiled kernel for CUDA.

    Raises:
        RuntimeError: always.
        TypeError: for arguments of the wrong type.
    """
    check_stream("precompiled_cuda_kernel", stream)
    op = "precompiled_cuda_kernel"
    _check(op, {"name": name}, {})
    if not isinstance(compiled_source, bytes):
        raise TypeError(f"[{op}] expected bytes as compiled_source, got {type(compiled_source).__name__}: pass PTX")
    raise _no_back_end(op, "CUDA")
