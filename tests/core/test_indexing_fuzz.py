"""Random indices, read, assigned and updated: compared with NumPy, and with MLX where it knows the index."""

from __future__ import annotations

import random
from typing import Any

import mlx.core
import numpy as np
import pytest

import arrax.core as mx

SIZES = (1, 2, 3, 5, 17)
TYPES = ("float32", "int32", "bool", "float16", "int64", "uint8", "complex64", "float64")
UPDATES = {
    "set": None, "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "maximum": np.maximum,
    "minimum": np.minimum,
}  # fmt: skip


class Index:
    """One random index, in the forms that the libraries take, and how NumPy would have to be asked for the same.

    Attributes:
        entries: the index; arrays are NumPy arrays with the name of what they become.
        outside: whether an array leads outside of its axis.
        masked: whether there is a mask in it.
    """

    def __init__(self, shape: tuple[int, ...], choose: random.Random, outside: bool) -> None:
        self.shape = shape
        self.entries: list[tuple[str, Any]] = []
        self.outside = self.masked = False
        common = [choose.choice((1, 2, 4)) for _ in range(choose.randint(0, 2))]
        masks = choose.random() < 0.3
        count = choose.choice((1, 2, 4)) if masks else None
        axis = 0
        while axis < len(shape) and choose.random() < 0.9:
            kind = choose.choice(("int", "slice", "slice", "array", "array", "none", "mask" if masks else "slice"))
            if not any(e is ... for _, e in self.entries) and choose.random() < 0.2:
                self.entries.append(("basic", ...))
                axis = choose.randint(axis, len(shape))
                continue
            n = shape[axis]
            if kind == "none":
                self.entries.append(("basic", None))
                continue
            if kind == "mask":
                axis += self._mask(axis, choose, count)
                continue
            if kind == "int":
                i = choose.randrange(-n, n)
                self.entries.append(("basic", choose.choice((i, np.int64(i), np.int8(i)))))
            elif kind == "slice":
                ends = [choose.choice((None, choose.randint(-n - 1, n + 1))) for _ in range(2)]
                self.entries.append(("basic", slice(*ends, choose.choice((None, 1, 2, -1, -3)))))
            else:
                self._array(n, [count] if masks else common, choose, outside)
            axis += 1
        if any(e is ... for _, e in self.entries):  # what stands behind it belongs to the last axes
            self.entries += [("basic", slice(None))] * (len(shape) - axis)
        self.alone = len(self.entries) == 1 and choose.random() < 0.7

    def _mask(self, axis: int, choose: random.Random, count: int | None) -> int:
        ndim = choose.randint(1, min(2, len(self.shape) - axis))
        shape = self.shape[axis : axis + ndim]
        size = int(np.prod(shape))
        # all arrays of an index have one length
        chosen = choose.sample(range(size), count) if count and count <= size else [choose.randrange(size)]
        mask = np.zeros(size, bool)
        mask[chosen] = True
        self.entries.append((choose.choice(("array", "numpy", "list")), mask.reshape(shape)))
        self.masked = True
        return ndim

    def _array(self, n: int, common: list, choose: random.Random, outside: bool) -> None:
        shape = tuple(choose.choice((m, 1)) for m in common)[choose.randint(0, len(common)) :]
        low, high = (-2 * n, 2 * n) if outside else (-n, n)
        found = np.array([choose.randrange(low, high) for _ in range(int(np.prod(shape)))]).reshape(shape)
        how = choose.choice(("array", "array", "numpy", "list"))
        if np.any((found < -n) | (found >= n)):
            self.outside, how = True, "array"
        if found.ndim == 0 and how == "list":
            how = "array"
        if found.size and found.min() >= 0 and choose.random() < 0.3:
            found = found.astype(choose.choice((np.uint8, np.uint32, np.int64, np.uint64)))
        else:
            found = found.astype(choose.choice((np.int8, np.int32, np.int64)))
        self.entries.append((how, found))

    def __str__(self) -> str:
        return f"{self.shape}: {self.entries}"

    def of(self, library: Any) -> Any:
        def form(how: str, entry: Any) -> Any:
            if how == "basic" or (how == "numpy" and library is mx):
                return entry
            return entry.tolist() if how == "list" else library.array(entry)

        found = tuple(form(*e) for e in self.entries)
        return found[0] if self.alone else found

    def reading(self) -> Any:
        """For NumPy, with positions outside moved to the nearest inside."""
        return self._each(lambda i, n: np.clip(np.where(i < 0, i + n, i), 0, max(n - 1, 0)), lambda s, n: s, False)

    def writing(self) -> Any:
        """For NumPy, on an array with one row more along each axis: positions outside lead there."""

        def cut(entry: Any, n: int) -> Any:
            if not isinstance(entry, slice):
                return int(entry) % n
            start, stop, step = entry.indices(n)
            if not range(start, stop, step):
                return slice(0, 0)
            return slice(start, stop if stop >= 0 else None, step)

        return self._each(lambda i, n: np.where((i < -n) | (i >= n), n, np.where(i < 0, i + n, i)), cut, True)

    def _each(self, array: Any, basic: Any, larger: bool) -> Any:
        used = sum(
            e.ndim if isinstance(e, np.ndarray) and e.dtype == bool else e is not None and e is not ...
            for _, e in self.entries
        )
        axis, found = 0, []
        entries = [e for _, e in self.entries]
        if not any(e is ... for e in entries):
            entries.append(...)
        for entry in entries:
            if entry is None:
                found.append(None)
            elif entry is ...:
                for _ in range(len(self.shape) - used):
                    found.append(basic(slice(None), self.shape[axis]))
                    axis += 1
            elif isinstance(entry, np.ndarray) and entry.dtype == bool:
                found.append(np.pad(entry, (0, 1)) if larger else entry)
                axis += entry.ndim
            else:
                n = self.shape[axis]
                found.append(array(entry.astype(np.int64), n) if isinstance(entry, np.ndarray) else basic(entry, n))
                axis += 1
        return tuple(found)


def _data(shape: tuple[int, ...], name: str, rng: np.random.Generator) -> np.ndarray:
    values = rng.integers(0, 2, shape) if name == "bool" else rng.integers(1, 9, shape)
    return values.astype(name)


def _same(found: mx.array, expected: np.ndarray, what: str) -> None:
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    np.testing.assert_array_equal(np.array(found), expected, err_msg=what)


def _updated(a: np.ndarray, index: Index, value: np.ndarray, how: str) -> np.ndarray:
    large = np.pad(a, [(0, 1)] * a.ndim)
    at = index.writing()
    value = np.broadcast_to(value, large[at].shape).copy()  # NumPy's own broadcasting here reads beyond small arrays
    if how == "set":
        large[at] = value
    elif a.dtype == bool:
        {"add": np.logical_or, "multiply": np.logical_and, "maximum": np.logical_or, "minimum": np.logical_and}[how].at(
            large, at, value
        )
    else:
        UPDATES[how].at(large, at, value)
    return large[tuple(slice(0, n) for n in a.shape)]


def check(seed: int) -> bool:
    """Whether the index of this number can be read at all; raises where a result differs."""
    choose, rng = random.Random(seed), np.random.default_rng(seed)
    shape = tuple(choose.choice(SIZES) for _ in range(choose.randint(1, 4)))
    index = Index(shape, choose, outside=choose.random() < 0.3)
    name = choose.choice(TYPES)
    a = _data(shape, name, rng)
    what = f"{seed}: {name} {index}"
    try:
        expected = a[index.reading()]
    except IndexError:  # arrays that do not broadcast
        with pytest.raises((ValueError, IndexError)):
            mx.eval(mx.array(a)[index.of(mx)])
        return False
    dtype = getattr(mx, "bool_" if name == "bool" else name)

    def make(values: np.ndarray) -> mx.array:
        return mx.array(values, dtype=dtype)

    _same(make(a)[index.of(mx)], expected, f"{what} read")
    plain = not index.outside and not index.masked and all(how != "numpy" for how, _ in index.entries)
    if plain and name != "float64" and 0 not in expected.shape:
        try:
            theirs = mlx.core.array(a)[index.of(mlx.core)]
            _same(make(a)[index.of(mx)], np.array(theirs), f"{what} as MLX")
        except ValueError:
            pass  # MLX takes fewer kinds of indices
    # a value that broadcasts to the selection
    part = tuple(n if choose.random() < 0.7 else 1 for n in expected.shape)[choose.randint(0, expected.ndim) :]
    value = _data(part, name, rng)
    how = choose.choice(list(UPDATES))
    if name == "bool" and how == "subtract":
        how = "set"
    if how == "multiply" and name != "bool":  # many factors of 1 and 2 are exact in half precision too
        value = rng.integers(1, 3, part).astype(name)
    alone = index.alone and index.masked  # these values go to the True elements in their order
    if alone and value.ndim == expected.ndim and value.shape[0] not in (1, expected.shape[0]):
        value = value[:1]
    target = make(a)
    if how == "set":
        target[index.of(mx)] = make(value)
    else:
        target = getattr(target.at[index.of(mx)], how)(make(value))
    with np.errstate(all="ignore"):
        _same(target, _updated(a, index, value, how), f"{what} {how} {part}")
    if name == "float32":
        _derivatives(index, a, value, how, what)
    return True


def _derivatives(index: Index, a: np.ndarray, value: np.ndarray, how: str, what: str) -> None:
    weights = mx.array(np.cos(np.arange(a.size, dtype=np.float32)).reshape(a.shape))
    if not index.outside:  # a position outside reads an element to which nothing flows back
        read = mx.array(a)[index.of(mx)]
        line = np.cos(np.arange(read.size, dtype=np.float32)).reshape(read.shape)
        found = mx.grad(lambda x: mx.sum(x[index.of(mx)] * mx.array(line)))(mx.array(a))
        expected = np.zeros_like(a)
        np.add.at(expected, index.reading(), line)
        np.testing.assert_allclose(np.array(found), expected, rtol=1e-5, atol=1e-5, err_msg=what)
    if how not in ("set", "add"):
        return

    def total(x: mx.array, y: mx.array) -> mx.array:
        if how == "add":
            return mx.sum(x.at[index.of(mx)].add(y) * weights)
        x = x * 1
        x[index.of(mx)] = y
        return mx.sum(x * weights)

    try:
        selected = np.pad(np.array(weights), [(0, 1)] * a.ndim)[index.writing()]
    except IndexError:
        return
    counts = np.pad(np.zeros(a.shape), [(0, 1)] * a.ndim)
    np.add.at(counts, index.writing(), 1)
    if how == "set" and counts.max(initial=0) > 1:
        return  # which of two values stays is decided, but not which one has the derivative
    by_base, by_value = mx.grad(total, (0, 1))(mx.array(a), mx.array(value))
    kept = counts[tuple(slice(0, n) for n in a.shape)] == 0 if how == "set" else True
    np.testing.assert_allclose(np.array(by_base), np.where(kept, np.array(weights), 0), rtol=1e-5, err_msg=what)
    spread = selected.reshape((1,) * max(0, value.ndim - selected.ndim) + selected.shape)
    lead = tuple(range(spread.ndim - value.ndim))
    folded = spread.sum(axis=lead).reshape(spread.shape[len(lead) :])
    axes = tuple(i for i, n in enumerate(value.shape) if n == 1)
    folded = folded.sum(axis=axes, keepdims=True) if axes else folded
    np.testing.assert_allclose(np.array(by_value), folded, rtol=1e-4, atol=1e-4, err_msg=what)


def test_random_indices(path: str) -> None:
    seeds = range(500) if path == "references" else range(500, 600)
    assert sum(check(seed) for seed in seeds) > len(seeds) // 2


@pytest.mark.slow
def test_many_random_indices(path: str) -> None:
    first = 1000 if path == "references" else 5000
    for seed in range(first, first + 4000):
        check(seed)
