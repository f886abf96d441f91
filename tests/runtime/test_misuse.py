"""Wrong shapes, types, axes and objects: the exceptions that MLX raises, in one line that says what to do.

MLX reports some misuse as RuntimeError (a C++ exception that nobody translated); there ValueError or TypeError will do.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import mlx.core as mlx
import numpy as np
import pytest
from tests.transforms.oracle import Program

import arrax.core as arrax

WRONG: dict[str, Program] = {
    # shapes
    "add": lambda mx: mx.ones(3) + mx.ones(4),
    "where": lambda mx: mx.where(mx.ones(3), mx.ones(4), 0),
    "reshape": lambda mx: mx.reshape(mx.ones(6), (4, 2)),
    "reshape, two free": lambda mx: mx.reshape(mx.ones(6), (-1, -1)),
    "reshape, free": lambda mx: mx.reshape(mx.ones(6), (-1, 4)),
    "reshape, negative": lambda mx: mx.ones((2, 3)).reshape(2, -2),
    "broadcast_to": lambda mx: mx.broadcast_to(mx.ones(3), (4,)),
    "broadcast_to fewer": lambda mx: mx.broadcast_to(mx.ones((2, 3)), (3,)),
    "concatenate": lambda mx: mx.concatenate([mx.ones((2, 3)), mx.ones((2, 4))]),
    "concatenate ranks": lambda mx: mx.concatenate([mx.ones(3), mx.ones((3, 3))]),
    "concatenate nothing": lambda mx: mx.concatenate([]),
    "stack": lambda mx: mx.stack([mx.ones(3), mx.ones(4)]),
    "stack nothing": lambda mx: mx.stack([]),
    "split": lambda mx: mx.split(mx.ones(5), 2),
    "squeeze": lambda mx: mx.squeeze(mx.ones((2, 3)), 0),
    "unflatten": lambda mx: mx.unflatten(mx.ones(6), 0, (4, 2)),
    "pad less": lambda mx: mx.pad(mx.ones(3), -1),
    "matmul": lambda mx: mx.ones((2, 3)) @ mx.ones((4, 5)),
    "matmul batches": lambda mx: mx.ones((2, 2, 3)) @ mx.ones((3, 3, 2)),
    "matmul of a scalar": lambda mx: mx.matmul(mx.array(1.0), mx.ones(3)),
    "addmm": lambda mx: mx.addmm(mx.ones((7, 7)), mx.ones((2, 3)), mx.ones((3, 4))),
    "inner": lambda mx: mx.inner(mx.ones(3), mx.ones(4)),
    "tensordot": lambda mx: mx.tensordot(mx.ones((2, 3)), mx.ones((4, 5)), 1),
    "zeros": lambda mx: mx.zeros((-1,)),
    "nested lists": lambda mx: mx.array([[1, 2], [3]]),
    "diag": lambda mx: mx.diag(mx.ones((2, 2, 2))),
    "rms_norm": lambda mx: mx.fast.rms_norm(mx.ones((2, 3)), mx.ones(4), 1e-5),
    "assignment": lambda mx: mx.ones(3).__setitem__(slice(None), mx.ones(4)),
    "random key": lambda mx: mx.random.normal((2,), key=mx.ones(3)),
    # axes
    "sum": lambda mx: mx.sum(mx.ones(3), axis=1),
    "sum, from behind": lambda mx: mx.sum(mx.ones(3), axis=-2),
    "sum, twice": lambda mx: mx.sum(mx.ones((3, 3)), axis=(0, 0)),
    "argmax": lambda mx: mx.argmax(mx.ones(3), axis=3),
    "softmax": lambda mx: mx.softmax(mx.ones(3), axis=3),
    "cumsum": lambda mx: mx.cumsum(mx.ones(3), axis=3),
    "sort": lambda mx: mx.sort(mx.ones(3), axis=3),
    "topk": lambda mx: mx.topk(mx.ones(3), 5),
    "transpose": lambda mx: mx.transpose(mx.ones((2, 3)), (0, 2)),
    "transpose, twice": lambda mx: mx.transpose(mx.ones((2, 3)), (0, 0)),
    "swapaxes": lambda mx: mx.swapaxes(mx.ones((2, 3)), 0, 2),
    "expand_dims": lambda mx: mx.expand_dims(mx.ones(3), 5),
    "take": lambda mx: mx.take(mx.ones(3), mx.array([0]), axis=2),
    "vmap": lambda mx: mx.vmap(lambda x: x, in_axes=3)(mx.ones(3)),
    # types
    "add a string": lambda mx: mx.ones(3) + "a",
    "add None": lambda mx: mx.add(mx.ones(3), None),
    "add a list": lambda mx: mx.add(mx.ones(3), [1, 2, 3]),
    "add an object": lambda mx: mx.add(mx.ones(3), object()),
    "exp of a string": lambda mx: mx.exp("x"),
    "exp of None": lambda mx: mx.exp(None),
    "softmax of a string": lambda mx: mx.softmax("a"),
    "matmul of a list": lambda mx: mx.matmul(mx.ones(3), [1, 2, 3]),
    "bitwise_and of floats": lambda mx: mx.bitwise_and(mx.ones(3), mx.ones(3)),
    "left_shift of floats": lambda mx: mx.left_shift(mx.ones(3), 1),
    "an integer that does not fit": lambda mx: mx.array([1], dtype=mx.uint8) + 300,
    "a float as a shape": lambda mx: mx.zeros(1.5),
    "a string as a shape": lambda mx: mx.zeros("a"),
    "a string as a dtype": lambda mx: mx.zeros(3, dtype="float32"),
    "an array of strings": lambda mx: mx.array(["a"]),
    "an array of None": lambda mx: mx.array(None),
    "an array of an object": lambda mx: mx.array(object()),
    "an array with None": lambda mx: mx.array([1, None]),
    "a set": lambda mx: mx.array({1}),
    "astype": lambda mx: mx.ones(3).astype("float32"),
    "arange of nothing": lambda mx: mx.arange(None),
    "arange without end": lambda mx: mx.arange(0, float("inf")),
    "a mode of pad": lambda mx: mx.pad(mx.ones(3), 1, mode="foo"),
    # indices
    "too many": lambda mx: mx.ones(3)[0, 0],
    "into a scalar": lambda mx: mx.array(1.0)[0],
    "a string": lambda mx: mx.ones(3)["a"],
    "a float": lambda mx: mx.ones(3)[1.0],
    "two ellipses": lambda mx: mx.ones((3, 3))[..., ...],
    "floats": lambda mx: mx.ones(3)[mx.array([1.0])],
    "assign a string": lambda mx: mx.ones(3).__setitem__(0, "a"),
    "assign to too many": lambda mx: mx.ones(3).__setitem__((0, 0), 1.0),
    # conversions
    "item": lambda mx: mx.ones(3).item(),
    "bool": lambda mx: bool(mx.ones(3)),
    "float": lambda mx: float(mx.ones(3)),
    "len of a scalar": lambda mx: len(mx.array(1.0)),
    "a scalar's elements": lambda mx: list(mx.array(1.0)),
    # transforms
    "grad of a vector": lambda mx: mx.grad(lambda x: x * 2)(mx.ones(3)),
    "grad of nothing": lambda mx: mx.grad(None),
    "grad by what is not there": lambda mx: mx.grad(lambda x: x.sum(), argnums=3)(mx.ones(3)),
    "grad of a number": lambda mx: mx.grad(lambda x: 3.0)(mx.ones(3)),
    "vmap over two sizes": lambda mx: mx.vmap(lambda x, y: x + y)(mx.ones(3), mx.ones(4)),
    "vjp": lambda mx: mx.vjp(lambda x: x * 2, [mx.ones(3)], [mx.ones(4)]),
    "compile of nothing": lambda mx: mx.compile(None),
    "compiled with an object": lambda mx: mx.compile(lambda x, o: x)(mx.ones(3), object()),
    # evaluation where there are no data
    "item in compile": lambda mx: mx.compile(lambda x: x * x.sum().item())(mx.ones(3)),
    "if in compile": lambda mx: mx.compile(lambda x: x if x.sum() > 0 else -x)(mx.ones(3)),
    "print in compile": lambda mx: mx.compile(lambda x: x * len(str(x)))(mx.ones(3)),
    "eval in compile": lambda mx: mx.compile(lambda x: mx.eval(x + 1) or x)(mx.ones(3)),
    "NumPy in compile": lambda mx: mx.compile(lambda x: mx.array(np.array(x)))(mx.ones(3)),
    # files
    "an absent file": lambda mx: mx.load("/nonexistent.npy"),
    "an unknown kind of file": lambda mx: mx.load("/nonexistent.foo"),
}
ALLOWED = {RuntimeError: (RuntimeError, ValueError, TypeError)}


def raised(program: Program, mx: ModuleType) -> BaseException:
    with pytest.raises(Exception) as caught:
        result: Any = program(mx)
        mx.eval(result)
    return caught.value


@pytest.mark.parametrize("name", WRONG)
def test_misuse(name: str) -> None:
    theirs = raised(WRONG[name], mlx)
    ours = raised(WRONG[name], arrax)
    assert isinstance(ours, ALLOWED.get(type(theirs), type(theirs))), (ours, theirs)
    # words of MLX that programs look for are the same
    assert re.match(r"\[[\w.]+\] \S", str(ours)) or str(ours) == str(theirs), str(ours)
    assert "\n" not in str(ours)


@pytest.mark.parametrize("index", [3, -4, 1 << 40, -(1 << 70)])
def test_python_indices_are_checked(index: int) -> None:
    """Where MLX reads whatever is there."""
    x = arrax.arange(12).reshape(3, 4)
    with pytest.raises(IndexError, match=r"^\[index\] "):
        x[index]
    with pytest.raises(IndexError, match=r"^\[\w+\] "):
        x[:, 0][index] = 1
    with pytest.raises(IndexError):
        x[1, index + (1 if index > 0 else -1)]
    assert x.tolist() == np.arange(12).reshape(3, 4).tolist()


def test_a_failed_assignment_changes_nothing() -> None:
    x = arrax.arange(6)
    for index, value in ((slice(0, 2), arrax.ones(3)), (9, 1), ("a", 1), (0, "a"), (None, object())):
        with pytest.raises((ValueError, IndexError, TypeError)):
            x[index] = value
    assert x.tolist() == [0, 1, 2, 3, 4, 5]


DATA_DEPENDENT: dict[str, Program] = {
    "mask": lambda mx: mx.ones(3)[mx.array([True, False, True])],
    "unique": lambda mx: mx.unique(mx.array([1, 2, 1])),
}


@pytest.mark.parametrize("transform", ["compile", "vmap", "grad"])
def test_shapes_that_depend_on_data(transform: str) -> None:
    """Outside of transforms they evaluate their input; inside they say that they cannot, or work."""

    def masked(x: arrax.array) -> arrax.array:
        return x[x > 1].sum()

    x = arrax.array([0.0, 1.0, 2.0, 3.0])
    assert masked(x).item() == 5
    if transform == "grad":
        assert arrax.grad(masked)(x).tolist() == [0, 0, 1, 1]
        return
    with pytest.raises(ValueError, match=r"^\[\w+\] "):
        arrax.eval(getattr(arrax, transform)(masked)(x if transform == "compile" else x[None]))
    assert masked(x).item() == 5


def test_an_exception_inside_a_transform_ends_its_trace() -> None:
    """Afterwards arrays become plain data again when they are evaluated."""

    def broken(x: arrax.array) -> arrax.array:
        raise KeyError("mine")

    x = arrax.ones(3)
    for transform in (arrax.grad, arrax.compile, arrax.vmap, lambda f: lambda x: arrax.vjp(f, [x], [x])):
        with pytest.raises(KeyError, match="mine"):
            transform(broken)(x)
    y = x * 2
    arrax.eval(y)
    assert y._node.inputs == ()


def test_an_exception_inside_a_compiled_function_is_not_remembered() -> None:
    calls = 0

    def f(x: arrax.array) -> arrax.array:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("once")
        return x + 1

    g = arrax.compile(f)
    with pytest.raises(ValueError, match="once"):
        g(arrax.ones(3))
    assert g(arrax.ones(3)).tolist() == [2, 2, 2]
    assert g(arrax.ones(3)).tolist() == [2, 2, 2]
    assert calls == 2
