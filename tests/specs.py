"""The primitives' declared samples, as NumPy arrays.

A specification of an input is a type, maybe a range, and a shape:

==================== ======================================================
``"f4:2,3"``         normal floats of shape (2, 3); ``"c8:4"`` likewise
``"f4:"``            a scalar
``"i4:4"``           integers from -5 to 5; ``"u4:4"`` all 32-bit words
``"i4<5:2,3"``       integers from 0 below 5
``"i4!5:3"``         distinct integers from 0 below 5
==================== ======================================================
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

import numpy as np

from arrax.graph.node import Node
from arrax.graph.primitive import REGISTRY, Primitive, bind
from arrax.runtime import executor

_SPEC = re.compile(r"([a-z]\d+)(?:([<!])(\d+))?:((?:\d+(?:,\d+)*)?)$")
_SHAPES = {
    1: [((2, 3),), ((),)],
    2: [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (4,))],
    3: [((2, 3), (2, 3), (2, 3)), ((3,), (2, 3), ()), ((2, 1), (3,), (2, 3))],
}


class Case(NamedTuple):
    """One sample: the primitive, its inputs and its parameters."""

    prim: Primitive
    arrays: list[np.ndarray]
    params: tuple

    @property
    def name(self) -> str:
        shapes = "_".join("x".join(map(str, a.shape)) or "scalar" for a in self.arrays)
        return re.sub(r"[^\w.-]+", "_", f"{self.prim.name}-{shapes}-{self.params}")


def parse(spec: str, rng: np.random.Generator, floats: np.dtype | type = np.float32) -> np.ndarray:
    """The array that a specification asks for; ``floats`` takes the place of float32."""
    match = _SPEC.match(spec)
    assert match, spec
    code, bound, limit, sizes = match.groups()
    shape = tuple(int(n) for n in sizes.split(",")) if sizes else ()
    dtype = np.dtype(code)
    if bound == "!":
        return rng.permutation(int(limit))[: int(np.prod(shape))].reshape(shape).astype(dtype)
    if bound == "<":
        return rng.integers(0, int(limit), shape).astype(dtype)
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(floats if dtype == np.float32 else dtype)
    if dtype.kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    if dtype.kind == "u":
        return rng.integers(0, 1 << 32, shape, dtype=np.uint64).astype(dtype)
    return rng.integers(-5, 6, shape).astype(dtype)


def _from_domain(domain: str, shape: tuple, rng: np.random.Generator, floats: np.dtype | type) -> np.ndarray:
    if domain == "i":
        return rng.integers(0, 8, shape).astype(np.int32)
    if domain == "b":
        return rng.integers(0, 2, shape).astype(bool)
    values = {
        "p": lambda: rng.uniform(0.3, 3, shape),
        "u": lambda: rng.uniform(-0.9, 0.9, shape),
        "g": lambda: rng.uniform(1.2, 4, shape),
    }.get(domain, lambda: rng.normal(size=shape))()
    return np.asarray(values).astype(floats)


def cases(prim: Primitive, floats: np.dtype | type = np.float32) -> list[Case]:
    """All samples of a primitive; the same at every call."""
    rng = np.random.default_rng(zlib.crc32(prim.name.encode()))
    if not prim.samples:
        return []
    if not isinstance(prim.samples[0], str):
        return [Case(prim, [parse(s, rng, floats) for s in specs], params) for specs, params in prim.samples]
    domain, arity = prim.samples
    result = []
    for shapes in _SHAPES[arity]:
        domains = ["b", "f", "f"] if domain == "where" else [domain] * arity
        result.append(Case(prim, [_from_domain(d, s, rng, floats) for d, s in zip(domains, shapes, strict=True)], ()))
    return result


def all_cases(floats: np.dtype | type = np.float32) -> list[Case]:
    """The samples of all primitives."""
    return [case for prim in REGISTRY.values() for case in cases(prim, floats)]


def apply(case: Case, nodes: list[Node]) -> Node:
    """Records the case's primitive on other inputs."""
    return bind(case.prim, tuple(nodes), case.params)


def node(array: np.ndarray) -> Node:
    return executor.from_numpy_array(np.asarray(array))


def numpy(n: Node) -> np.ndarray:
    """A copy of a node's value."""
    return np.array(executor.to_numpy(n))


def special(case: Case) -> list[tuple[str, Case]]:
    """The sample with ties, zeros, equal elements and no numbers in the place of its floats."""
    rng = np.random.default_rng(7)

    def ties(a: np.ndarray) -> np.ndarray:
        return rng.choice([-1.0, 0.0, -0.0, 2.0], a.shape)

    def equal(a: np.ndarray) -> np.ndarray:
        return np.full(a.shape, 1.5)

    def nan(a: np.ndarray) -> np.ndarray:
        return np.where(rng.random(a.shape) < 0.3, np.nan, rng.choice([-1.0, 2.0, np.inf], a.shape))

    found = []
    for make in (ties, equal, nan):
        arrays = [make(a).astype(a.dtype) if a.dtype.kind in "fV" else a for a in case.arrays]
        found.append((make.__name__, case._replace(arrays=arrays)))
    return found
