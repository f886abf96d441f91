"""Products of arrays: compared with MLX; those of integers, which it does not have, with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import arrax
import arrax.core as mx
from arrax.runtime import executor

EXPRESSIONS = """
mx.matmul(f, f)
mx.matmul(f, mx.array(1.0))
mx.matmul(m.astype(mx.float32), a.astype(mx.float32))
mx.matmul(a.astype(mx.float32), m.T.astype(mx.float32))
mx.matmul(m, a.astype(mx.float16))
mx.matmul(m.astype(mx.float32), m.astype(mx.float32))
mx.matmul(h, f)
mx.matmul(b.astype(mx.float32), b)
mx.matmul(c, c)
mx.matmul(mx.zeros((2, 0)), mx.zeros((0, 3)))
mx.addmm(mx.array(1.0), f[None], f[:, None], 2.0, 3.0)
mx.addmm(f, f[None], f[:, None])
mx.addmm(mx.array([1, 2]), f[None], mx.ones((2, 2)))
mx.addmm(f[0], f, f)
mx.matmul(m > 1, m > 1)
mx.inner(f, f)
mx.inner(mx.array(2.0), f)
mx.inner(m.astype(mx.float32), m.astype(mx.float32))
mx.inner(f, mx.zeros((3, 3)))
mx.outer(a, a)
mx.outer(m, a)
mx.tensordot(m.astype(mx.float32), m.astype(mx.float32), [[0], [0]])
mx.tensordot(m.astype(mx.float32), m.astype(mx.float32))
mx.tensordot(m.astype(mx.float32), m.astype(mx.float32), 1)
mx.tensordot(m > 1, m > 1, [[0, 1], [0, 1]])
mx.tensordot(m.astype(mx.float32), m.astype(mx.float32), axes=[1, 1])
mx.tensordot(f, f, 0)
mx.tensordot(f, f, 3)
mx.tensordot(f, f, -1)
mx.einsum('ij,kj->ik',m.astype(mx.float32),m.astype(mx.float32))
mx.einsum('ij,kj',m > 1,m > 1)
mx.addmm(m, m, m, 0.5)
mx.addmm(m, m, m, 1.0, inf)
mx.einsum('ii->i',mx.eye(2))
mx.einsum('i,i',f,f)
mx.einsum('...i,i->...',m.astype(mx.float32),a.astype(mx.float32))
mx.einsum('ij->j',m)
mx.einsum('ij',m)
mx.einsum('ji',m)
mx.einsum('ij,jk->ik',f[None])
mx.einsum('ij->k',m)
mx.einsum('ij-k',m)
mx.einsum('i i',f,f)
mx.einsum('ij,jk,kl->il',mx.ones((2,3)),mx.ones((3,4)),mx.ones((4,5)))
mx.einsum_path('ij,jk,kl->il',mx.ones((2,3)),mx.ones((3,4)),mx.ones((4,5)))
mx.einsum_path('ij,jk->ik',mx.ones((2,3)),mx.ones((3,4)))
mx.kron(a, a)
mx.kron(m, a)
mx.vecdot(m, m)
mx.vecdot(m, m, axis=0)
mx.vecdot(c, c)
mx.vecdot(f, a)
mx.einsum('ij,jk,kl->il',normal(2, 3),normal(3, 4),normal(4, 5))
mx.einsum('bhqd,bhkd->bhqk',normal(2, 2, 3, 4),normal(2, 2, 5, 4))
mx.einsum('...ij,...jk->...ik',normal(2, 3, 4),normal(1, 4, 5))
mx.einsum('...ij,...jk',normal(2, 3, 4),normal(4, 5))
mx.einsum('ii',normal(3, 3))
mx.einsum('iij->j',normal(3, 3, 2))
mx.einsum('i,j->ij',normal(2),normal(3))
mx.einsum('i,j->ji',a,a)
mx.einsum('i,i->i',a,a)
mx.einsum('ij->',m)
mx.einsum('ij->i',m)
mx.einsum('ijk->kji',x3)
mx.einsum('i,ij,j->',normal(2),normal(2, 3),normal(3))
mx.einsum('ab,bc,cd,de->ae',normal(2, 3),normal(3, 2),normal(2, 4),normal(4, 1))
mx.einsum('ij,ij->ij',fm,fm)
mx.einsum('ij,ik->jk',fm,fm)
mx.einsum('ij,kl->ijkl',normal(1, 2),normal(2, 1))
mx.einsum('ij,jk->ik',fm,fm)
mx.einsum('ij,jk->ik',fm,h[:,None][:1])
mx.einsum('ij,j',fm,mx.ones((1,)))
mx.einsum('i...->...i',fm)
mx.einsum('ab...,b...->a...',normal(2, 3, 4),normal(3, 4))
mx.einsum_path('ij,jk,kl->il',normal(2, 3),normal(3, 4),normal(4, 5))
mx.einsum_path('ij,jk,kl,lm->im',normal(2, 30),normal(30, 4),normal(4, 50),normal(50, 2))
mx.einsum_path('i,i->',f,f)
mx.einsum_path('i,j->ij',f,f)
mx.einsum_path('ii->i',mx.eye(3))
mx.kron(mx.array([]), a)
mx.kron(a, mx.zeros((2, 0)))
mx.kron(mx.zeros(2**16), mx.zeros(2**16))
mx.einsum('a...b...->ab', x3)
mx.einsum('...a->...a...', m)
mx.einsum_path('a...b...', x3)
mx.hadamard_transform(mx.array(5))
mx.hadamard_transform(c[:1])
mx.hadamard_transform(mx.array([[5]]), scale=1.0)
mx.hadamard_transform(mx.array([5]), scale=0.5)
mx.hadamard_transform(mx.array(True))
""".strip().splitlines()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_agrees_with_mlx(agree: Callable[..., None], expression: str) -> None:
    agree(expression)


# --- integers ---------------------------------------------------------------------------------------------------------
WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
PRODUCTS: dict[str, Callable[..., Any]] = {
    "rows": lambda m, x, y, z: x @ y,
    "columns": lambda m, x, y, z: x @ z.T,
    "columns of both": lambda m, x, y, z: y.T @ x.T,
    "a vector on the right": lambda m, x, y, z: x @ z[0],
    "a vector on the left": lambda m, x, y, z: z[0] @ y,
    "two vectors": lambda m, x, y, z: x[0] @ y[:, 0],
    "batches": lambda m, x, y, z: m.stack([x, x]) @ m.stack([y, y])[:, None],
    "batches of transposed": lambda m, x, y, z: m.stack([y, y]).swapaxes(1, 2) @ m.stack([x]).swapaxes(1, 2),
    "one batch": lambda m, x, y, z: m.stack([x, x]) @ y,
    "nothing": lambda m, x, y, z: x[:0] @ y,
    "sums of nothing": lambda m, x, y, z: x[:, :0] @ y[:0],
    "inner": lambda m, x, y, z: m.inner(x, z),
    "outer": lambda m, x, y, z: m.outer(x[0], z[1]),
    "dot": lambda m, x, y, z: m.dot(x, m.stack([y, y, y])),
    "vdot": lambda m, x, y, z: m.vdot(x[0], z[0]),
    "tensordot": lambda m, x, y, z: m.tensordot(x, y, [[1], [0]]),
    "tensordot of all": lambda m, x, y, z: m.tensordot(x, x),
    "tensordot of none": lambda m, x, y, z: m.tensordot(x[:3, :4], z, 0),
    "einsum": lambda m, x, y, z: m.einsum("ij,jk->ki", x, y),
    "einsum of three": lambda m, x, y, z: m.einsum("ij,jk,lj->lk", x, y, z),
    "einsum of batches": lambda m, x, y, z: m.einsum("bij,bkj->bik", m.stack([x, z[:1] + x]), m.stack([z, z])),
    "a chain": lambda m, x, y, z: (x @ y).T @ (x + 1),
}


@pytest.fixture(params=["compiled", "reference"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(executor, "SMALL", 0 if request.param == "compiled" else 1 << 30)
    yield


def whole(dtype: str, *shape: int) -> np.ndarray:
    """Numbers whose products do not fit the type."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(sum(shape)).integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("dtype", WHOLE)
def test_integers_wrap_around_as_in_numpy(engine: None, name: str, dtype: str) -> None:
    values = [whole(dtype, *shape) for shape in ((9, 37), (37, 5), (6, 37))]
    wanted = PRODUCTS[name](np, *values)
    found = np.array(PRODUCTS[name](mx, *(mx.array(v) for v in values)))
    assert found.dtype == wanted.dtype == dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("a, b", [("int8", "int16"), ("uint8", "int8"), ("bool", "int32"), ("uint32", "bool")])
def test_integers_of_two_types(a: str, b: str) -> None:
    x, y = np.arange(12).reshape(3, 4).astype(a), np.arange(8).reshape(4, 2).astype(b)
    found = np.array(mx.array(x) @ mx.array(y))
    assert found.dtype == (x @ y).dtype
    np.testing.assert_array_equal(found, x @ y)


def test_integers_meet_other_types() -> None:
    m = mx.array([[1, 2], [3, 4]])
    assert (m @ m.astype(mx.float16)).dtype is mx.float16
    assert (m @ m.astype(mx.complex64)).dtype is mx.complex64
    assert mx.addmm(m, m, m, 2, -1).tolist() == [[13, 18], [27, 40]]
    assert mx.addmm(mx.array([0.5, 1.5]), m, m, 2.0, 0.5).tolist() == [[14.25, 20.75], [30.25, 44.75]]
    m @= m
    assert m.tolist() == [[7, 10], [15, 22]]


def test_integers_under_transforms() -> None:
    m, weights = mx.array([[1, 2], [3, 4]]), mx.array([[0.5, 1.0], [2.0, -1.0]])
    assert mx.vmap(lambda row: m @ row)(m).tolist() == (m @ m.T).T.tolist()
    assert mx.compile(lambda a: a @ a)(m).tolist() == [[7, 10], [15, 22]]
    assert mx.grad(lambda w: (w * (m @ m)).sum())(weights).tolist() == [[7, 10], [15, 22]]


def test_an_integer_product_is_one_kernel() -> None:
    """Nothing has a place in memory but the operands and the product."""
    x, y = mx.array(whole("int32", 64, 80)), mx.array(whole("int32", 80, 48))
    mx.eval(x, y)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    z = x @ y
    mx.eval(z)
    assert mx.get_peak_memory() - before < 4 * z.nbytes
    assert str(arrax.explain(x @ y)).count("kernel k(") == 1
