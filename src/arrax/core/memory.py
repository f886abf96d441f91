"""How much memory is used, and bounds on it; all in bytes."""

from __future__ import annotations

import os

from arrax.runtime.buffer import pool

_memory_limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 36
_wired_limit = 0


def get_active_memory() -> int:
    """Bytes that arrays hold now."""
    return pool.active


def get_peak_memory() -> int:
    """The most bytes that arrays held since the start or ``reset_peak_memory``."""
    return pool.peak


def reset_peak_memory() -> None:
    """Lets the peak start again from 0."""
    pool.peak = 0


def get_cache_memory() -> int:
    """Bytes kept for arrays to come."""
    return pool.cached


def set_cache_limit(limit: int) -> int:
    """Bounds the bytes kept for arrays to come; returns the former bound."""
    former, pool.limit = pool.limit, limit
    if pool.cached > limit:
        pool.clear()
    return former


def clear_cache() -> None:
    """Gives the bytes kept for arrays to come back to the system."""
    pool.clear()


def get_memory_limit() -> int:
    """The bound on all memory."""
    return _memory_limit


def set_memory_limit(limit: int) -> int:
    """Sets the bound on all memory, a guideline for what is kept; returns the former one."""
    global _memory_limit
    former, _memory_limit = _memory_limit, limit
    if pool.limit > limit:
        set_cache_limit(limit)
    return former


def set_wired_limit(limit: int) -> int:
    """Sets the bound on memory that stays resident, which the CPU does not use; returns the former one."""
    global _wired_limit
    former, _wired_limit = _wired_limit, limit
    return former
