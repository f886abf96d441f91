"""What the array API standard asks a namespace to say about itself."""

from __future__ import annotations

from typing import Any

from arrax.core.device import Device, check_device, cpu, default_device
from arrax.core.dtypes import isdtype
from arrax.graph.dtypes import (
    Dtype,
    bool_,
    complex64,
    complex128,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from arrax.graph.handle import shown

API_VERSION = "2025.12"
_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", API_VERSION)
_STANDARD = (bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64, complex64, complex128)


def check_version(version: str | None) -> None:
    """Raises ValueError for a version of the standard that is none or is newer than ours."""
    if version is not None and version not in _VERSIONS:
        raise ValueError(
            f"[__array_namespace__] expected a version out of {list(_VERSIONS)}, got {shown(version)}: leave it out"
        )


class NamespaceInfo:
    """Devices, types and abilities of the namespace."""

    def capabilities(self) -> dict[str, Any]:
        """What the standard leaves open, and how many dimensions NumPy can take over."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """The device on which work is done unless told otherwise."""
        return default_device()

    def devices(self) -> list[Device]:
        """All devices."""
        return [Device(cpu)]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Dtype]:
        """The types of arrays of Python numbers, and the one of positions."""
        check_device("default_dtypes", device)
        return {"real floating": float32, "complex floating": complex64, "integral": int32, "indexing": int32}

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, Dtype]:
        """The standard's types by name: all, or those of a kind or of one of several.

        Raises:
            ValueError: for a kind that ``isdtype`` does not know.
        """
        check_device("dtypes", device)
        return {d.name: d for d in _STANDARD if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> NamespaceInfo:
    """What the array API standard asks a namespace to say: its devices, types and abilities.

    >>> import arrax.core as mx
    >>> mx.__array_namespace_info__().default_dtypes()["real floating"]
    arrax.core.float32
    """
    return NamespaceInfo()
