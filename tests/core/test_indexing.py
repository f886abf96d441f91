"""Indexing, assignment and updates at indices: compared with MLX."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

import arrax.core as mx

EXPRESSIONS = """
a[1.0]
a['a']
a[True]
a[b]
m[0, 0, 0]
m[..., ...]
m[mx.array([1.0])]
m[[0, 1]]
m[(0, [1, 2])]
m[[[0, 1], [1, 0]]]
m[None]
m[()]
m[5:]
m[::-1]
m[:, ::-2]
m[mx.array(0)]
a[-3]
m[np.int64(1)]
m[np.int64(0):]
m[0.5:]
m[mx.array([0]), mx.array([1, 2])]
m[mx.array([0, 1]), mx.array([0, 1, 2])]
m[mx.array([[0], [1]]), mx.array([0, 1, 2])]
m[1, None]
m[:, None, :].shape
m[None, ..., None].shape
m[[0, 1], None]
m[mx.array([0, 1], dtype=mx.uint8)]
m[mx.array([-1])]
f.at[0].add(1)
m.at[mx.array([0, 0])].add(1)
m.at[0, 1].multiply(5)
m.at[:, 0].maximum(2)
m.at[0].subtract(a)
f.at[0].divide(2)
a.at[0].divide(2)
a.at[0].add(1.5)
m.at[mx.array([0, 0]), mx.array([1, 1])].add(1)
a.at.add(1)
a.at[None].add(1)
m.at[..., 0].add(5)
m.at[mx.array([[0], [1]]), mx.array([0, 1])].add(1)
m.at[mx.array([0, 0]), 1:].add(1)
m.at[1:, ::2].minimum(1)
m.at[0].add(mx.array([1, 2]))
m.at[0].add(mx.array([[1, 2, 3]]))
m.at[0].add(mx.array([[[1, 2, 3]]]))
m.at[0:1].add(mx.array([[[1, 2, 3]]]))
m.at[::-1].add(mx.array([[1, 2, 3], [4, 5, 6]]))
put(m, (0, ), 7)
put(m, (0, 0), 7.9)
put(m, slice(None), a)
put(m, (slice(None), 0), a[:2])
put(m, (slice(None), 0), a)
put(m, 0, [1, 2, 3])
put(m, 0, np.array([1, 2, 3]))
put(m, 0, None)
put(m, 0, mx.array([[1, 2, 3]]))
put(m, 0, mx.array([[[1, 2, 3]]]))
put(m, slice(0, 1), mx.array([[[1, 2, 3]]]))
put(m, mx.array([0, 1]), 9)
put(m, mx.array([0, 1]), mx.array([[1], [2]]))
put(m, (mx.array([0, 1]), mx.array([0, 1])), mx.array([7, 8]))
put(m, m>2, 0)
put(m, b, 0)
put(m, m>2, mx.array([1, 2, 3]))
put(m, (m>2).tolist(), 0)
put(m, np.array([True, False]), 0)
put(m, b, mx.array([[1, 2, 3]]))
put(m, b, mx.array([1, 2, 3]))
put(m, mx.array(True), 0)
put(m, Ellipsis, 1)
put(m, (), 1)
put(m, None, 1)
put(m, (None, 0), 1)
put(m, (0, None), 1)
put(m, slice(None, None, -1), mx.array([[1, 2, 3], [4, 5, 6]]))
put(m, (slice(None), slice(None, None, -2)), mx.array([[1, 2], [4, 5]]))
put(m, (mx.array([0, 1]), slice(1, 3)), mx.array([[1, 2], [4, 5]]))
put(m, (slice(None), mx.array([0, 2])), mx.array([[1, 2], [4, 5]]))
put(m, (0, mx.array([0, 2])), mx.array([1, 2]))
put(m, [0, 1], 5)
put(m, 'a', 5)
put(m, (0, 0, 0), 5)
put(m, 1.0, 5)
put(m, (mx.array([0, 0]), ), mx.array([[1, 2, 3], [4, 5, 6]]))
put(m, slice(5, None), 1)
put(m, -1, 1)
put(m, mx.array([-1]), 1)
put(m, (slice(None), mx.array(1)), 1)
put(m, m<9, mx.array([1, 2, 3, 4, 5, 6]))
put(m, b, m)
put(mx.arange(4), mx.array([True, False, True, False]), mx.array([10, 20]))
put(mx.arange(4), mx.array([True, False, True, False]), mx.array([10, 20, 30]))
put(mx.arange(4), mx.array([True, False, True, False]), mx.array([10, 20, 30, 40]))
put(mx.arange(4), mx.array([True, False, True]), mx.array(1))
a[:2**32]
a[2**32]
a[-2**31 - 1]
a[-2**32:]
a[::2**32]
a[:2**31 - 1]
a[-2**31:]
m[0, :2**31]
m[..., 2**40]
a.at[2**32].add(1)
put([1, 2, 3], cut(0, 2**32), 4)
put([1, 2, 3], True, 9)
put([1, 2, 3], False, 9)
put([1, 2, 3], np.True_, 9)
put([1, 2, 3], np.False_, 9)
put([1, 2, 3], True, mx.array([7, 8, 9]))
put([[1, 2], [3, 4]], True, mx.array([7, 8]))
put(3, True, 9)
put(3, False, 9)
put([1, 2, 3], True, mx.array([7, 8]))
a[True]
put(mx.zeros(2, dtype=mx.float64), 0, 0.1)
put(mx.zeros(2, dtype=mx.float64), cut(None), 1e300)
put(mx.zeros(2, dtype=mx.float64), mx.array([True, False]), 1e-300)
mx.zeros(2, dtype=mx.float64).at[0].add(1e300).tolist()
""".strip().splitlines()

ENTRIES = (
    *("0", "-1", "1", "None", "...", ":", "1:", "::-1", "::2", "-2:", "0:0", "1:2"),
    *("i1", "i2", "mx.array(1)", "[0, 1]", "mx.array([-1])"),
)
# what can be written inside a call, with values that broadcast to every selection
OBJECTS = (
    *("0", "-1", "1", "None", "...", "cut(None)", "cut(1, None)", "cut(None, None, -1)", "cut(None, None, 2)"),
    *("i1", "mx.array([[0], [1]])", "mx.array(1)", "[0, 1]", "mx.array([-1])"),
)
VALUES = ("7", "mx.array(5)", "mx.array([1])", "True")
ARRAYS = OBJECTS[-5:]
UPDATES = ("add", "subtract", "multiply", "maximum", "minimum")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_agrees_with_mlx(agree: Callable[..., None], expression: str) -> None:
    agree(expression)


@pytest.mark.parametrize("seed", range(20))
def test_random_indices(agree: Callable[..., None], seed: int) -> None:
    choose = random.Random(seed)
    for _ in range(30):
        index = ", ".join(choose.choice(ENTRIES) for _ in range(choose.randint(1, 5)))
        agree(f"{choose.choice(['x3', 'x4'])}[{index}]")


@pytest.mark.parametrize("seed", range(20))
def test_random_assignments_and_updates(agree: Callable[..., None], seed: int) -> None:
    choose = random.Random(seed)
    for _ in range(20):
        entries = [choose.choice(OBJECTS) for _ in range(choose.randint(1, 4))]
        if sum(e in ARRAYS for e in entries) > 1 and any(not e.isdigit() and e not in ARRAYS for e in entries):
            continue  # MLX loses the order of axes here
        source, value = choose.choice(["x3", "x4"]), choose.choice(VALUES)
        agree(f"put({source}, ({', '.join(entries)},), {value})")
        agree(f"{source}.at[{', '.join(entries)}].{choose.choice(UPDATES)}({value})")


def test_masks_choose_elements() -> None:
    x = mx.arange(6).reshape(2, 3)
    assert x[mx.array([True, False])].tolist() == [[0, 1, 2]]
    assert x[x > 2].tolist() == [3, 4, 5]
    assert x[:, mx.array([True, False, True])].tolist() == [[0, 2], [3, 5]]
    assert x[..., mx.array([False, True, False])].tolist() == [[1], [4]]
    with pytest.raises(ValueError, match="mask of shape"):
        x[mx.array([True, False, True])]


def test_assignment_leaves_earlier_values() -> None:
    x = mx.zeros((3,))
    y = x + 1
    alias = x
    x[1] = 5
    assert alias.tolist() == [0, 5, 0] and y.tolist() == [1, 1, 1]


def test_integers_out_of_range() -> None:
    x = mx.arange(3)
    for index in (3, -4, (0, 0), (slice(None), 0)):
        with pytest.raises((IndexError, ValueError)):
            x[index]
    with pytest.raises(IndexError):
        x[3] = 0
    with pytest.raises(ValueError, match="step"):
        x[::0]


def test_division_at_indices() -> None:
    assert mx.array([6.0, 8.0]).at[mx.array([0, 0])].divide(2).tolist() == [1.5, 8]
    assert mx.array([6, 2**24 + 1]).at[0].divide(4).tolist() == [1, 2**24 + 1]


def test_positions_outside_are_dropped_when_written_and_clamped_when_read() -> None:
    x, far = mx.arange(3), mx.array([1, 9])
    assert x[far].tolist() == [1, 2]
    assert x.at[far].add(1).tolist() == [0, 2, 2]


# --- beyond MLX -------------------------------------------------------------------------------------------------------
def test_lists_and_numpy_values_are_indices() -> None:
    x = mx.arange(6).reshape(2, 3)
    assert x[np.int64(1)].tolist() == x[np.uint8(1)].tolist() == [3, 4, 5]
    assert x[[np.int64(1), 0]].tolist() == x[np.array([1, -2])].tolist() == [[3, 4, 5], [0, 1, 2]]
    assert x[[[0, 1], [1, 0]], 2].tolist() == [[2, 5], [5, 2]]
    assert x[[mx.array(1), 0], np.array(2)].tolist() == [5, 2]
    assert x[[]].shape == (0, 3)
    assert x[[True, False]].tolist() == x[np.array([True, False])].tolist() == [[0, 1, 2]]
    for index in ([0, 5], np.array([-3]), (0, [3]), [[0], [1, 2]], [1.5], ["a"], np.array([0.5])):
        with pytest.raises((IndexError, ValueError), match=r"\[index\]"):
            x[index]


def test_masks_in_all_places() -> None:
    a = np.arange(24).reshape(2, 3, 4)
    x = mx.array(a)
    plane, line = a.sum(2) % 4 > 1, np.array([True, False, True, True])
    for index in (plane, (plane, slice(None, None, 2)), (..., line), (plane, ..., line[[0, 1]].sum()), (0, plane[0])):
        entries = index if isinstance(index, tuple) else (index,)
        ours = tuple(mx.array(i) if isinstance(i, np.ndarray) else i for i in entries)
        np.testing.assert_array_equal(np.array(x[ours]), a[index])
        np.testing.assert_array_equal(np.array(x[index]), a[index])
    assert x[mx.array(True)].shape == (1, 2, 3, 4) and x[mx.array(False)].shape == (0, 2, 3, 4)
    with pytest.raises(ValueError, match="single boolean"):
        x[mx.array(True), 0]
    for index in (mx.array([True]), (0, mx.ones((4,)) > 0)):
        with pytest.raises(ValueError, match="mask of shape"):
            x[index]


def test_masks_and_transforms() -> None:
    x = mx.array([1.0, -2.0, 3.0])
    assert mx.grad(lambda x: mx.sum(mx.square(x[x > 0])))(x).tolist() == [2, 0, 6]
    (value,), (tangent,) = mx.jvp(lambda x: x[x > 0] * 2, [x], [mx.ones((3,))])
    assert value.tolist() == [2, 6] and tangent.tolist() == [2, 2]
    for transform in (mx.compile, lambda f: mx.vmap(lambda r: f(r))):
        with pytest.raises(ValueError, match="a transform is tracing"):
            mx.eval(transform(lambda x: x[x > 0])(x[None]))
    assert mx.compile(lambda x: x.at[x > 0].add(1))(x).tolist() == [2, -2, 4]
    known = mx.array([True, False, True])
    assert mx.compile(lambda x: x[known])(x).tolist() == [1, 3]

    def assigned(x: mx.array) -> mx.array:
        x[x > 0] = mx.array([7.0, 8.0])
        return x

    assert mx.compile(assigned)(mx.array([1.0, -2.0, 3.0])).tolist() == [7, -2, 8]


def test_too_few_values_for_a_mask() -> None:
    x, mask = mx.arange(4), mx.array([True, True, True, False])
    with pytest.raises(RuntimeError, match="3 rows of values"):
        x[mask] = mx.array([1, 2])
    with pytest.raises(ValueError, match="at most 1 axes"):
        x[mask] = mx.zeros((2, 2))
    assert x.tolist() == [0, 1, 2, 3]
    x[mask] = mx.array([5, 6, 7, 8, 9])
    assert x.tolist() == [5, 6, 7, 3]
    x[mx.zeros((4,)) > 0] = mx.zeros((0,))
    assert x.tolist() == [5, 6, 7, 3]


def test_positions_outside_of_several_axes(path: str) -> None:
    x = mx.arange(6).reshape(2, 3)
    rows, columns = mx.array([0, 1, -9, 0]), mx.array([5, -1, 1, -7])
    assert x[rows, columns].tolist() == [2, 5, 1, 0]
    assert x.at[rows, columns].add(10).tolist() == [[0, 1, 2], [3, 4, 15]]
    assert x[mx.array(2**40), mx.array([-(2**40), 2**35])].tolist() == [3, 5]
    assert x.at[mx.array(2**40 + 1), mx.array([0])].add(10).tolist() == x.tolist()
    assert mx.grad(lambda v: mx.sum(mx.zeros((3,)).at[mx.array([1, 7])].add(v)))(mx.array([2.0, 3.0])).tolist() == [
        1,
        0,
    ]


def test_batched_positions_stay_in_their_row(path: str) -> None:
    x = mx.arange(12).reshape(3, 4)
    at = mx.array([[5, -1], [-9, 1], [2**33, 3]])
    assert mx.vmap(lambda a, i: a[i])(x, at).tolist() == [[3, 3], [4, 5], [11, 11]]
    assert mx.vmap(lambda a, i: mx.take(a, i))(x, at.astype(mx.int64)).tolist() == [[3, 3], [4, 5], [11, 11]]
    added = mx.vmap(lambda a, i: a.at[i].add(100))(x, at)
    assert added.tolist() == [[0, 1, 2, 103], [4, 105, 6, 7], [8, 9, 10, 111]]


def test_an_axis_without_elements_has_nothing_to_read() -> None:
    x = mx.zeros((0, 3))
    for read in (
        lambda: x[mx.array([0])],
        lambda: x[mx.array([0]), mx.array([1])],
        lambda: mx.take(x, mx.array([0]), 0),
        lambda: mx.take_along_axis(x, mx.zeros((1, 3), dtype=mx.int32), 0),
        lambda: x[[0]],
        lambda: x[0],
    ):
        with pytest.raises(IndexError):
            read()
    assert x[mx.zeros((0,), dtype=mx.int32)].shape == (0, 3)
    assert x[:, mx.array([1, 2])].shape == (0, 2)


TIES = """
mx.grad(lambda x, y: mx.sum(x * x.at[:2].maximum(y)), (0, 1))(mx.array([1., 2, 3]), mx.array([2., 2]))
mx.grad(lambda x, y: mx.sum(x * x.at[:2].minimum(y)), (0, 1))(mx.array([1., 2, 3]), mx.array([2., 2]))
mx.grad(lambda x, y: mx.sum(x * x.at[1].maximum(y)), (0, 1))(mx.array([1., 2, 3]), mx.array(2.))
mx.grad(lambda x, y: mx.sum(x * x.at[:].minimum(y)), (0, 1))(mx.array([1., 2, 3]), mx.array(2.))
mx.grad(lambda x, y: mx.sum(x.at[mx.array([0, 1])].maximum(y)), (0, 1))(mx.array([1., 2, 3]), mx.array([2., 2]))
mx.array([1., 2, 3]).at[mx.array([0, 0])].maximum(mx.array([mx.nan, 0.]))
mx.array([mx.nan, 2, 3]).at[mx.array([0])].minimum(mx.array([1.]))
mx.array([1., 2, 3]).at[mx.array([0])].maximum(mx.array([mx.nan]))
mx.array([mx.nan, 2, 3]).at[:1].maximum(mx.array([1.]))
mx.array([1., 2, 3], dtype=mx.float16).at[mx.array([0, 0])].minimum(mx.array([mx.nan, 9.], dtype=mx.float16))
""".strip().splitlines()


@pytest.mark.parametrize("expression", TIES)
def test_ties_and_nan(agree: Callable[..., None], expression: str, path: str) -> None:
    agree(expression)
