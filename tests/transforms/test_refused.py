"""What MLX refuses is refused: an exception that is of MLX's type, whatever else it is."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import mlx.core as mlx
import mlx.utils as mlx_utils
import pytest
from tests.transforms.oracle import Program, agree

import arrax.core as mx
import arrax.utils as utils

LONG = 2**31


def error(program: Program, m: ModuleType) -> Exception:
    with pytest.raises(Exception) as caught:
        m.eval(program(m))
    return caught.value


def table(m: ModuleType) -> Any:
    return m.array([[1.0, 2.0], [3.0, 4.0]])


def index(m: ModuleType) -> Any:
    return m.array([0, 1])


def one(m: ModuleType) -> Any:
    return m.array([[0, 1]])


def assigned(m: ModuleType, i: Any) -> Any:
    y = table(m) * 1
    y[i] = 5.0
    return y.sum()


BY_INDICES: dict[str, tuple[Callable[[ModuleType], Any], Callable[[ModuleType, Any], Any]]] = {
    "take": (index, lambda m, i: m.take(table(m), i, axis=0)),
    "index": (index, lambda m, i: table(m)[i]),
    "two indices": (index, lambda m, i: table(m)[i, i]),
    "take_along_axis": (one, lambda m, i: m.take_along_axis(table(m), i, axis=0)),
    "put_along_axis": (one, lambda m, i: m.put_along_axis(table(m), i, m.ones((1, 2)), axis=0)),
    "at": (index, lambda m, i: table(m).at[i].add(1.0)),
    "assignment": (index, assigned),
    "gather_mm": (index, lambda m, i: m.gather_mm(m.ones((2, 1, 2)), m.ones((3, 2, 2)), None, i)),
    "slice": (lambda m: m.array([0]), lambda m, i: m.slice(table(m), i, (0,), (1, 2))),
    "slice_update": (lambda m: m.array([0]), lambda m, i: m.slice_update(table(m), m.ones((1, 2)), i, (0,))),
    "cast": (lambda m: m.array([0.0, 1.0]), lambda m, i: table(m)[i.astype(m.int32)]),
    "argmax": (table, lambda m, a: a[m.argmax(a, axis=1)]),
    "argmax, of a constant": (table, lambda m, a: table(m)[m.argmax(a, axis=1)]),
    "argsort": (table, lambda m, a: m.take_along_axis(a, m.argsort(a, axis=1), axis=1)),
}


@pytest.mark.parametrize("name", BY_INDICES)
def test_derivatives_by_indices(name: str) -> None:
    make, f = BY_INDICES[name]
    for m in (mlx, mx):
        found = error(lambda m: m.grad(lambda i: f(m, i).sum())(make(m)), m)
        assert isinstance(found, ValueError)
        m.eval(m.grad(lambda i, m=m: f(m, m.stop_gradient(i)).sum())(make(m)))
    assert "Use stop_gradient on indices" in str(found)


@pytest.mark.parametrize("name", ["take", "index", "take_along_axis"])
def test_tangents_of_indices(name: str) -> None:
    make, f = BY_INDICES[name]
    for m in (mlx, mx):
        found = error(lambda m: m.jvp(lambda i: f(m, i), [make(m)], [make(m)]), m)
        assert isinstance(found, ValueError) and "Use stop_gradient on indices" in str(found)


def test_what_computes_its_own_indices_has_derivatives() -> None:
    x = mx.array([3.0, 1.0, 2.0])
    twice = mx.grad(lambda a: (mx.grad(lambda b: (mx.sort(b) ** 3 * mx.arange(1.0, 4.0)).sum())(a) ** 2).sum())
    assert twice(x).tolist() == [36 * w**2 * b**3 for b, w in ((3, 3), (1, 1), (2, 2))]
    for f in (
        lambda a: mx.median(a),
        lambda a: mx.quantile(a, 0.3),
        lambda a: mx.cummax(a).sum(),
        lambda a: mx.unique(a, 2).sum(),
        lambda a: mx.interp(a, mx.array([0.0, 4.0]), mx.array([0.0, 8.0])).sum(),
        lambda a: mx.topk(a, 2).sum(),
    ):
        assert mx.isfinite(mx.grad(f)(x)).all()
        mx.eval(mx.grad(lambda a, f=f: (mx.grad(f)(a) * a).sum())(x))


def quantized(m: ModuleType) -> tuple[Any, Any, Any]:
    return m.quantize(m.arange(64 * 64).reshape(64, 64) / 100.0, 32)


QUANTIZED: dict[str, Program] = {
    "gradient": lambda m: (lambda w, s, b: m.grad(lambda a: product(m, a, s, b).sum())(w))(*quantized(m)),
    "vjp": lambda m: (lambda w, s, b: m.vjp(lambda a: product(m, a, s, b), [w], [m.ones((2, 64))]))(*quantized(m)),
    "jvp": lambda m: (lambda w, s, b: m.jvp(lambda a: product(m, a, s, b), [w], [w]))(*quantized(m)),
    "gather_qmm": lambda m: (
        lambda w, s, b: m.grad(lambda a: gathered(m, a, s, b, m.array([0])).sum())(w)
    )(*(a[None] for a in quantized(m))),
    "gather_qmm, indices": lambda m: (
        lambda w, s, b: m.grad(lambda i: gathered(m, w, s, b, i).sum())(m.array([0]))
    )(*(a[None] for a in quantized(m))),
}  # fmt: skip


def product(m: ModuleType, w: Any, scales: Any, biases: Any) -> Any:
    return m.quantized_matmul(m.ones((2, 64)), w, scales, biases, group_size=32)


def gathered(m: ModuleType, w: Any, scales: Any, biases: Any, i: Any) -> Any:
    return m.gather_qmm(m.ones((1, 1, 64)), w, scales, biases, None, i, group_size=32)


@pytest.mark.parametrize("name", QUANTIZED)
def test_derivatives_by_quantized_data(name: str) -> None:
    assert isinstance(error(QUANTIZED[name], mlx), RuntimeError)
    found = error(QUANTIZED[name], mx)
    assert isinstance(found, RuntimeError) and isinstance(found, ValueError) and "stop_gradient" in str(found)


def test_quantized_data_as_arguments_of_what_is_recomputed() -> None:
    w, s, b = quantized(mx)
    x = mx.ones((2, 64))
    f = mx.checkpoint(lambda x, w, s, b: mx.quantized_matmul(x, w, s, b, group_size=32).sum())
    assert mx.compile(f)(x, w, s, b).item() == f(x, w, s, b).item()
    assert mx.grad(f)(x, w, s, b).shape == (2, 64)


REFUSED: dict[str, Program] = {
    "two ellipses": lambda m: m.einsum("...i...->i", table(m)),
    "two ellipses at one place": lambda m: m.einsum("......ij->ij", table(m)),
    "two ellipses in the result": lambda m: m.einsum("...i->......", table(m)),
    "two ellipses in a path": lambda m: m.einsum_path("......ij->ij", table(m)),
    "kron of nothing": lambda m: m.kron(m.zeros((0,)), table(m)),
    "kron with nothing": lambda m: m.kron(table(m), m.zeros((2, 0))),
    "reflection of nothing": lambda m: m.pad(m.zeros((0,)), 1, mode="reflect"),
    "symmetric padding of nothing": lambda m: m.pad(m.zeros((2, 0)), 1, mode="symmetric"),
    "integer scales": lambda m: (lambda w, s, b: product(m, w, s.astype(m.int32), b.astype(m.int32)))(*quantized(m)),
    "integer scales of matrices": lambda m: (
        lambda w, s, b: m.dequantize(w, s.astype(m.int32), b.astype(m.int32), group_size=32)
    )(*quantized(m)),
    "taking from nothing": lambda m: m.take(m.zeros((0,)), m.array([0])),
    "taking one from nothing": lambda m: m.take(m.zeros((2, 0)), 0, axis=1),
    "nothing's element": lambda m: m.zeros((0,))[0],
    "nothing's elements": lambda m: m.zeros((2, 0))[:, m.array([0])],
    "a row of nothing": lambda m: m.zeros((0, 3))[m.array([0])],
    "writing into nothing's elements": lambda m: m.zeros((0, 3)).at[m.array([0])].add(1.0),
    "assigning nothing's elements": lambda m: m.zeros((2, 0)).__setitem__((slice(None), m.array([0])), 1.0),
    "vmap axis": lambda m: m.vmap(lambda a: a, in_axes=2)(table(m)),
    "vmap axis of a scalar": lambda m: m.vmap(lambda a: a)(m.array(1.0)),
    "vmap axis of the result": lambda m: m.vmap(lambda a: a, out_axes=2)(table(m)),
    "vmap axis of scalars": lambda m: m.vmap(lambda a: a.sum(), out_axes=1)(table(m)),
    "axis inside of vmap": lambda m: m.vmap(lambda a: a.sum(1))(table(m)),
    "long": lambda m: m.zeros((LONG,), m.uint8),
    "long, of several": lambda m: m.zeros((2, LONG), m.uint8),
    "long by arange": lambda m: m.arange(LONG),
    "long by tile": lambda m: m.tile(m.zeros((2**16,), m.uint8), 2**16),
    "long by repeat": lambda m: m.repeat(m.zeros((2**16,), m.uint8), 2**16),
    "long by concatenate": lambda m: m.concatenate([m.zeros((2**30,), m.uint8)] * 2),
    "long by reshape": lambda m: m.zeros((2**16, 2**15), m.uint8).reshape(-1),
    "long by flatten": lambda m: m.zeros((2**16, 2**15), m.uint8).flatten(),
    "long by kron": lambda m: m.kron(m.zeros((2**16,), m.uint8), m.zeros((2**15,), m.uint8)),
    "long by broadcast": lambda m: m.broadcast_to(m.array(1.0), (LONG,)),
    "long and random": lambda m: m.random.uniform(shape=(LONG,)),
    "far bound": lambda m: table(m)[: 2**40],
    "far bound from the end": lambda m: table(m)[-LONG - 1 :],
    "far step": lambda m: table(m)[::LONG],
    "far position": lambda m: table(m)[2**40],
    "merging empties of two kinds": lambda m: tree_merge(m, {"a": {}}, {"a": []}),
    "merging nothing": lambda m: tree_merge(m, None, {}),
}


def tree_merge(m: ModuleType, *trees: Any) -> Any:
    return (mlx_utils if m is mlx else utils).tree_merge(*trees)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    expected, found = error(REFUSED[name], mlx), error(REFUSED[name], mx)
    assert isinstance(found, type(expected)), (expected, found)
    assert "\n" not in str(found) and str(found).startswith("[")


@pytest.mark.parametrize("name", [name for name in REFUSED if "vmap" in name or "nothing's" in name])
def test_refused_as_both(name: str) -> None:
    found = error(REFUSED[name], mx)
    assert isinstance(found, IndexError) and isinstance(found, ValueError)


ALLOWED: dict[str, Program] = {
    "one axis for one result": lambda m: m.vmap(lambda a: a, out_axes=(1,))(table(m)),
    "no axis for one result": lambda m: m.vmap(lambda a: table(m), out_axes=(None,))(table(m)),
    "no axis for a constant": lambda m: m.vmap(lambda a: (table(m)[0], a), out_axes=(None, 0))(table(m)),
    "several axes": lambda m: m.zeros((2**20, 2**20, 0), m.uint8),
    "edges of nothing": lambda m: m.pad(m.zeros((0,)), 1, mode="edge"),
    "padding elsewhere": lambda m: m.pad(m.zeros((2, 0)), ((1, 1), (0, 0)), mode="reflect"),
    "put nothing": lambda m: m.put_along_axis(table(m), m.zeros((2, 0), m.int32), m.zeros((2, 0)), axis=1),
    "put into nothing": lambda m: m.put_along_axis(m.zeros((0, 3)), m.zeros((0, 3), m.int32), m.zeros((0, 3)), axis=0),
    "take nothing": lambda m: m.zeros((0,))[m.array([], dtype=m.int32)],
    "unflatten 01": lambda m: unflatten(m, [("01", 1), ("1", 2)]),
    "unflatten 00": lambda m: unflatten(m, [("a.00", 1), ("a.1", 2)]),
    "unflatten below": lambda m: unflatten(m, [("a.01.b", 1), ("a.1.c", 2)]),
    "conv1d of images": lambda m: m.conv1d(images(m), kernels(m), stride=2, padding=1, groups=2),
    "conv_transpose1d of images": lambda m: m.conv_transpose1d(images(m), kernels(m), groups=2),
    "conv_transpose1d, spread": lambda m: m.conv_transpose1d(
        images(m), kernels(m), stride=2, output_padding=1, dilation=2, groups=2
    ),
    "tri far off": lambda m: m.tri(3, 3, 2**31 - 1),
    "eye far off": lambda m: m.eye(3, 3, -(2**31 - 1)),
}


def images(m: ModuleType) -> Any:
    return m.arange(2 * 4 * 5 * 6.0).reshape(2, 4, 5, 6) / 100


def kernels(m: ModuleType) -> Any:
    return m.arange(4 * 2 * 3 * 3.0).reshape(4, 2, 3, 3) / 100


def unflatten(m: ModuleType, tree: Any) -> Any:
    return (mlx_utils if m is mlx else utils).tree_unflatten(tree)


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name: str) -> None:
    agree(ALLOWED[name])


@pytest.mark.parametrize("how", ["eval", "item", "bool", "print", "async_eval"])
def test_words_that_programs_look_for(how: str) -> None:
    looks: dict[str, Callable[[ModuleType, Any], Any]] = {
        "eval": lambda m, a: m.eval(a),
        "item": lambda m, a: a.sum().item(),
        "bool": lambda m, a: bool(a.sum()),
        "print": lambda m, a: str(a * 2),
        "async_eval": lambda m, a: m.async_eval(a * 2),
    }
    for transform in ("compile", "vmap"):
        both = [error(lambda m, t=transform: getattr(m, t)(lambda a: looks[how](m, a))(index(m)), m) for m in (mlx, mx)]
        assert type(both[0]) is type(both[1]) is ValueError
        assert str(both[1]).startswith(str(both[0]))


def test_what_is_left_over_from_a_trace() -> None:
    for m in (mlx, mx):
        left: list[Any] = []
        m.compile(lambda a, left=left: left.append(a * 2) or a)(index(m))
        with pytest.raises(RuntimeError, match=r"\[eval\] Attempting to eval an array without a primitive\."):
            left[0].tolist()
