"""All operations that random programs are made of; importing them makes them known to the generator."""

from __future__ import annotations

from tests.differential import movement, numerics, pointwise, transformed
from tests.differential.generator import OPERATIONS, grow

MODULES = (pointwise, movement, numerics, transformed)

__all__ = ["MODULES", "OPERATIONS", "grow"]
