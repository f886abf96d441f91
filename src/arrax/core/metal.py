"""Apple's graphics processors, which are not used here; the functions on memory are those of ``arrax.core``."""

from __future__ import annotations

from arrax.core.memory import (
    clear_cache,
    get_active_memory,
    get_cache_memory,
    get_peak_memory,
    reset_peak_memory,
    set_cache_limit,
    set_memory_limit,
    set_wired_limit,
)

__all__ = [
    "clear_cache", "device_info", "get_active_memory", "get_cache_memory", "get_peak_memory", "is_available",
    "reset_peak_memory", "set_cache_limit", "set_memory_limit", "set_wired_limit", "start_capture", "stop_capture",
]  # fmt: skip


def is_available() -> bool:
    """Whether Metal can be used: no.

    >>> import arrax.core as mx
    >>> mx.metal.is_available()
    False
    """
    return False


def device_info() -> dict[str, str | int]:
    """What is known of the graphics processor: nothing, there is none."""
    return {}


def start_capture(path: str) -> None:
    """Would begin to record the work of the graphics processor, which does none."""
    if not isinstance(path, str):
        raise TypeError(f"[start_capture] expected a str as path, got {type(path).__name__}: pass a file name")


def stop_capture() -> None:
    """Would end what ``start_capture`` began."""
