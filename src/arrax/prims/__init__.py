"""The primitives: every rule of each of them, in one place."""

from arrax.prims import call, contract, fourier, gather, leaf, linalg, opaque, pointwise, reduce, scan, special, view

__all__ = [
    "call", "contract", "fourier", "gather", "leaf", "linalg", "opaque", "pointwise", "reduce", "scan", "special",
    "view",
]  # fmt: skip
