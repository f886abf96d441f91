"""The primitives: every rule of each of them, in one place."""

from arrax.prims import call, contract, gather, leaf, opaque, pointwise, reduce, scan, view

__all__ = ["call", "contract", "gather", "leaf", "opaque", "pointwise", "reduce", "scan", "view"]
