"""Positions, counts and row lengths beyond 2**31: right to the far end of large arrays, or an error when recorded.

Large arrays are only described (broadcast, or computed where they are read); those in memory are in the slow tests.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import arrax.core as mx
from arrax.graph.handle import wrap
from arrax.prims import gather
from arrax.runtime import cpu, executor

ROWS, COLUMNS = 65538, 32768  # 2**31 + 65536 elements
FAR = [-1, 0, ROWS - 1, 65536, 3]


def far() -> mx.array:
    """Each element tells its place, by a number that no other one nearby has. It is in memory only where it is held."""
    row = mx.arange(ROWS)[:, None] * 7
    column = mx.arange(COLUMNS)[None] * 3
    return (row + column).astype(mx.uint8)


def known(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return ((rows % ROWS) * 7 + (columns % COLUMNS) * 3).astype(np.uint8)


READS: dict[str, Callable[[mx.array, np.ndarray, np.ndarray], mx.array]] = {
    "arrays": lambda x, i, j: x[mx.array(i), mx.array(j)],
    "NumPy arrays": lambda x, i, j: x[i, j],
    "unsigned": lambda x, i, j: x[mx.array(i % ROWS).astype(mx.uint32), mx.array(j % COLUMNS).astype(mx.uint16)],
    "wide": lambda x, i, j: x[mx.array(i).astype(mx.int64), mx.array(j).astype(mx.int64)],
    "flat": lambda x, i, j: mx.take(x, mx.array((i % ROWS) * COLUMNS + j % COLUMNS, mx.int64)),
    "flat, unsigned": lambda x, i, j: mx.take(x, mx.array(((i % ROWS) * COLUMNS + j % COLUMNS).astype(np.uint32))),
    "flat along": lambda x, i, j: mx.take_along_axis(x, mx.array((i % ROWS) * COLUMNS + j % COLUMNS, mx.int64), None),
    "rows": lambda x, i, j: mx.vmap(mx.take)(x[: ROWS // 2 * 2], mx.array(np.resize(j, ROWS)))[mx.array(i)],
    "columns": lambda x, i, j: mx.vmap(mx.take, (1, 0))(x, mx.array(np.resize(i, COLUMNS)))[mx.array(j)],
    "window": lambda x, i, j: mx.as_strided(x, (ROWS, COLUMNS), (COLUMNS, 1), 0)[mx.array(i), mx.array(j)],
}


@pytest.mark.parametrize("read", READS)
def test_reading_at_the_far_end(read: str) -> None:
    i, j = np.array(FAR * 5), np.repeat([0, 1, -1, COLUMNS // 2, 77], 5)
    found = np.array(READS[read](far(), i, j))
    if read == "rows":
        j = np.resize(j, ROWS)[i % ROWS]
    elif read == "columns":
        i = np.resize(i, COLUMNS)[j % COLUMNS]
    np.testing.assert_array_equal(found.reshape(-1), known(i, j))


def test_slices_and_windows_at_the_far_end() -> None:
    at = np.arange(2**31 + 11, 2**31 + 41)
    wanted = known(at // COLUMNS, at % COLUMNS)
    np.testing.assert_array_equal(np.array(far().reshape(2, -1)[1, 1073709067:1073709097]), wanted)
    np.testing.assert_array_equal(np.array(mx.as_strided(far(), (30,), (1,), 2**31 + 11)), wanted)
    steps = np.arange(3) * 2**30 + 5
    np.testing.assert_array_equal(np.array(mx.as_strided(far(), (3,), (2**30,), 5)), known(steps // COLUMNS, steps))


@pytest.mark.parametrize(("start", "dtype"), [(2**32 + 1, mx.int64), (2**31 + 3, mx.uint32), (2**63 + 1, mx.uint64)])
def test_regions_that_begin_far_outside(start: int, dtype: mx.Dtype) -> None:
    """They read the nearest element and write nothing, whatever their last 32 bits say."""
    x, at = mx.arange(40), mx.array([start], dtype)
    assert mx.slice(x, at, (0,), (3,)).tolist() == [39, 39, 39]
    assert mx.slice_update(x, mx.array([7, 8]), at, (0,)).tolist() == x.tolist()


@pytest.mark.parametrize("small", [0, 10**9], ids=["compiled", "references"])
@pytest.mark.parametrize("position", [2**63, 2**64 - 1, 2**32 + 1])
def test_unsigned_positions_far_outside(position: int, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    executor._bound.clear()  # it remembers which way a graph went
    monkeypatch.setattr(executor, "SMALL", small)
    x, at = mx.arange(40), mx.array([position, 3], mx.uint64)
    for found in (x[at], mx.take(x, at), mx.take_along_axis(x, at, 0)):
        assert found.tolist() == [39, 3]
    assert x.reshape(8, 5)[at, at].tolist() == [39, 18]
    for found in (x.at[at].add(1), mx.put_along_axis(x, at, mx.array([9, 4]), 0)):
        assert found.tolist() == [0, 1, 2, 4, *range(4, 40)]
    executor._bound.clear()


def test_the_middle_of_a_long_line() -> None:
    line = mx.arange(2**30 + 100)
    values = mx.array([5, 2**30 + 50, 2**30 + 99, 2**31 - 1])
    assert mx.searchsorted(line, values).tolist() == [5, 2**30 + 50, 2**30 + 99, 2**30 + 100]


def test_positions_have_the_type_that_holds_them() -> None:
    assert gather.position_type(2**31 - 1).name == "int32"
    assert gather.position_type(2**31).name == "int64"
    window = wrap(gather.strided_index(((3,), (2**31,), 5)))
    assert window.tolist() == [5, 2**31 + 5, 2**32 + 5]


@pytest.mark.parametrize(
    "record",
    [
        lambda: mx.argmax(mx.broadcast_to(mx.array(1), (65537, 65537))),
        lambda: mx.argmin(mx.broadcast_to(mx.array(1), (65537, 65537))),
        lambda: mx.argsort(mx.broadcast_to(mx.array(1), (65537, 65537)), axis=None),
        lambda: mx.random.uniform(shape=(65537, 65537)),
        lambda: mx.random.randint(0, 5, (65537, 65537)),
        lambda: mx.tensordot(
            mx.broadcast_to(mx.array(1.0), (2, ROWS, COLUMNS)), mx.ones((1, COLUMNS, 2)) + mx.zeros((ROWS, 1, 1)), 2
        ),
    ],
)
def test_what_cannot_be_counted_is_an_error_when_recorded(record: Callable[[], mx.array]) -> None:
    with pytest.raises(ValueError, match=r"2\*\*3[12]"):
        record()


def products(x: mx.array, y: mx.array) -> list[mx.array]:
    """Of matrices whose rows are far from each other: parts and transposes of ``x`` and ``y`` of shape (7, 13, 11)."""
    a, b = x[:, 3], y[:, 4]  # rows of 143 elements
    c, d = x.transpose(1, 2, 0)[2], y.transpose(1, 2, 0)[5]
    return [
        *(a @ b.T, a.T @ b, c @ b, a @ c, c.T @ c, d @ d.T, mx.abs(a) @ b.T, a.T @ mx.abs(b)),
        *(mx.abs(x).transpose(1, 0, 2) @ y.transpose(1, 2, 0), mx.einsum("abc,abd->cd", x, y)),
    ]


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_row_lengths_that_the_library_cannot_count(dtype: mx.Dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = (mx.array(rng.integers(-4, 5, (7, 13, 11)).astype(np.float32)).astype(dtype) for _ in range(2))
    wanted = products(a.astype(mx.float64), b.astype(mx.float64))
    mx.eval(a, b, wanted)
    monkeypatch.setattr(cpu, "COUNTED", 100)
    for number, (found, exact) in enumerate(zip(products(a, b), wanted, strict=True)):
        difference = np.abs(np.array(found.astype(mx.float64)) - np.array(exact))
        assert (difference <= 2**-8 * np.abs(np.array(exact))).all(), number


@pytest.mark.slow
def test_counts_beyond_2_31() -> None:
    ones = mx.broadcast_to(mx.array(True), (ROWS, COLUMNS))
    assert mx.count_nonzero(ones).item() == ROWS * COLUMNS
    assert (
        mx.argmax((mx.arange(ROWS) == ROWS - 1)[:, None] & (mx.arange(COLUMNS) == 9)).item() == (ROWS - 1) * COLUMNS + 9
    )


@pytest.mark.slow
def test_writing_at_the_far_end() -> None:
    """The array is in memory: 2.1 GB."""
    i, j = mx.array([ROWS - 1, 65536, 0, -2]), mx.array([-1, 5, 7, 9])
    before = far()[i, j].astype(mx.int32)
    changed = far().at[i, j].add(mx.array([1, 2, 3, 4], mx.uint8))
    assert (changed[i, j].astype(mx.int32) - before).tolist() == [1, 2, 3, 4]
    assert (changed != far()).sum().item() == 4
    del changed
    at = mx.array(np.resize([-1, 5], ROWS))
    changed = mx.vmap(lambda row, k: row.at[k].add(1))(far(), at)
    assert (
        changed[mx.array([ROWS - 1, 65536]), mx.array([5, -1])].tolist()
        == (far()[mx.array([ROWS - 1, 65536]), mx.array([5, -1])] + 1).tolist()
    )
    assert (changed != far()).sum().item() == ROWS


@pytest.mark.slow
def test_positions_found_at_the_far_end() -> None:
    """The mask is in memory: 2.1 GB."""
    mask = (mx.arange(ROWS) == ROWS - 1)[:, None] & (mx.arange(COLUMNS) > COLUMNS - 3)
    mx.eval(mask)
    ends = [ROWS * COLUMNS - 2, ROWS * COLUMNS - 1]
    assert mx.flatnonzero(mask).tolist() == ends
    assert mx.argwhere(mask.reshape(-1, 2)).tolist() == [[ROWS * COLUMNS // 2 - 1, k] for k in (0, 1)]
    assert [x.tolist() for x in mx.nonzero(mask)] == [[ROWS - 1] * 2, [COLUMNS - 2, COLUMNS - 1]]
