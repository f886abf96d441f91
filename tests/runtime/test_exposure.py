"""Views of arrays that NumPy, DLPack and the buffer protocol give: writing to them changes what shows the same memory
in MLX too, and nothing else."""

from __future__ import annotations

import copy
import ctypes
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime import buffer

READABLE, WRITABLE, FORMAT, STRIDES = 0x0, 0x1, 0x4, 0x10


def fresh(dtype: mx.Dtype = mx.float32, *shape: int) -> mx.array:
    x = mx.arange(int(np.prod(shape or (6, 8)))).astype(dtype).reshape(shape or (6, 8)) + 0
    mx.eval(x)
    return x


def no_views_are_left() -> bool:
    gc.collect()
    return not buffer.views


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16, mx.float64, mx.complex64, mx.int8, mx.uint64])
@pytest.mark.parametrize("shape", [(), (1,), (6, 8)], ids=str)
def test_a_view_is_written_to(dtype: mx.Dtype, shape: tuple[int, ...]) -> None:
    x = mx.ones(shape, dtype) + 1
    for view in (np.asarray(x), np.array(x, copy=False)):
        view[...] = 5
        assert view.flags.writeable and x.tolist() == np.full(shape, 5).tolist() and (x + 1).sum().item() == 6 * x.size
        view.flat[0] = 7
        assert x.reshape(-1)[0].item() == 7
    assert np.shares_memory(np.asarray(x), np.asarray(x))
    copied = np.array(x)
    copied[...] = 1
    assert x.reshape(-1)[0].item() == 7


def test_truth_values_and_empty_arrays() -> None:
    x = mx.array([True, False])
    np.asarray(x)[1] = True
    assert x.tolist() == [True, True]
    for shape in ((0,), (0, 3), (3, 0, 2)):
        view = np.asarray(mx.zeros(shape))
        assert view.shape == shape and view.flags.writeable


def strides(x: np.ndarray) -> list[int]:
    """Those that matter."""
    return [s for n, s in zip(x.shape, x.strides, strict=True) if n > 1]


VIEWS: dict[str, Callable[[Any], Any]] = {
    "transpose": lambda x: x.T,
    "slice": lambda x: x[::2, 2:6],
    "reverse": lambda x: x[::-1],
    "reshape": lambda x: x.reshape(3, 16),
    "axes": lambda x: x[None, :, 2:, None].swapaxes(1, 2),
    "of a view": lambda x: x.T[1:, ::3],
}


@pytest.mark.parametrize("how", VIEWS)
@pytest.mark.parametrize("made", ["data", "lazy"])
def test_a_view_of_a_view_has_its_strides_and_stays_one(how: str, made: str) -> None:
    x = fresh() if made == "data" else mx.arange(48).astype(mx.float32).reshape(6, 8) * 1
    values = np.arange(48, dtype=np.float32).reshape(6, 8)
    y, wanted = VIEWS[how](x), VIEWS[how](values)
    view = np.asarray(y)
    assert strides(view) == strides(wanted) and view.flags.writeable
    np.testing.assert_array_equal(view, wanted)
    for number in (99, 98):  # also when the array has been asked for in between
        view[(0,) * view.ndim] = wanted[(0,) * wanted.ndim] = number
        np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(y * 2 + 1, wanted * 2 + 1)
        assert y.tolist() == wanted.tolist()
        mx.eval(y)
        mx.async_eval(y)
        assert strides(np.asarray(y)) == strides(wanted)
    passed = mx.compile(lambda a: a)(y)
    mx.eval(passed)
    view[(0,) * view.ndim] = 5
    assert y.reshape(-1)[0].item() == 5 and passed.reshape(-1)[0].item() == 98
    before = y.tolist()
    del view, x
    gc.collect()
    mx.eval(y)
    assert y.tolist() == before and y._node.buffer is not None


@pytest.mark.parametrize("how", ["broadcast", "diagonal twice"])
def test_no_element_is_shown_twice(how: str) -> None:
    x = fresh(mx.float32, 3)
    y = mx.broadcast_to(x, (4, 3)) if how == "broadcast" else mx.as_strided(x, (2, 2), (1, 1))
    view = np.asarray(y)
    view[0, 0] = 9
    assert y.tolist() == view.tolist() and view[1, 0] != 9


OTHERS: dict[str, Callable[[mx.array], Any]] = {
    "array": mx.array,
    "sum": lambda x: x + 0,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "astype": lambda x: x.astype(x.dtype),
    "same shape": lambda x: x.reshape(x.shape),
    "reshape": lambda x: x.reshape(-1),
    "transpose": lambda x: x.T,
    "slice": lambda x: x[:3],
    "whole": lambda x: x[...],
    "roll": lambda x: mx.roll(x, 0),
    "pad": lambda x: mx.pad(x, 0),
    "abs": mx.abs,
    "clip": lambda x: mx.clip(x, None, None),
    "stop_gradient": mx.stop_gradient,
    "contiguous": mx.contiguous,
    "concatenate": lambda x: mx.concatenate([x]),
    "compile": mx.compile(lambda x: x),
    "compile, two": lambda x: mx.compile(lambda x: (x + 1, x))(x)[1],
    "vmap": mx.vmap(lambda x: x),
    "vjp": lambda x: mx.vjp(lambda x: x, [x], [x])[0][0],
    "assigned": lambda x: assigned(x),
    "list": lambda x: mx.array([x]),
    "positive": lambda x: +x,
}


def assigned(x: mx.array) -> mx.array:
    y = mx.zeros_like(x)
    y[...] = x
    return y


@pytest.mark.parametrize("how", OTHERS)
@pytest.mark.parametrize("when", ["computed before", "computed after", "recorded before"])
def test_other_arrays_keep_their_values(how: str, when: str) -> None:
    for computed in (True, False):  # whether x is data when it is used
        x = fresh() if computed else mx.arange(48).astype(mx.float32).reshape(6, 8) * 1
        if when == "computed after":
            view = np.asarray(x)
            y = OTHERS[how](x)
            mx.eval(y)
        else:
            y = OTHERS[how](x)
            if when == "computed before":
                mx.eval(y)
            view = np.asarray(x)
        view[0, 0] = 99
        assert x[0, 0].item() == 99
        assert 99 not in np.array(y)
        np.asarray(y)[...] = 55
        assert 55 not in view and 55 not in np.array(x)


def test_equal_arrays_are_not_one() -> None:
    """What is computed once, is a constant or is kept in a cache may be in one memory, until somebody can write."""
    x = fresh()
    pairs = [(x * 2, x * 2), (mx.zeros((6, 8)), mx.zeros((6, 8))), mx.compile(lambda a: (a + 1, a + 1))(x)]
    for a, b in pairs:
        mx.eval(a, b)
        before = b.tolist()
        np.asarray(a)[...] = 99
        assert b.tolist() == before


def test_exposed_memory_is_not_written_by_the_engine() -> None:
    x = fresh(mx.float32, 64, 64)
    view = np.asarray(x)
    values = view.copy()
    x += 1
    mx.eval(x)
    np.testing.assert_array_equal(view, values)
    x[0] = 7
    x = mx.compile(lambda a: a * 2)(x)
    mx.eval(x)
    np.testing.assert_array_equal(view, values)
    view[...] = -1
    assert x[1, 1].item() == (values[1, 1] + 1) * 2


def test_memory_is_used_again_when_no_view_is_left() -> None:
    x = fresh(mx.float32, 64, 64)
    before = np.asarray(x).ctypes.data
    assert no_views_are_left()
    x = x + 1
    mx.eval(x)
    assert np.asarray(x).ctypes.data == before


def test_views_keep_the_array_and_its_memory() -> None:
    x = fresh()
    alive, values = weakref.ref(x), x.tolist()
    view = np.asarray(x)[1:]
    del x
    others = [fresh() * 0 for _ in range(8)]
    mx.eval(others)
    assert alive() is not None and view.tolist() == values[1:]
    del view
    assert no_views_are_left() and alive() is None


def test_while_others_run_in_the_background() -> None:
    x = fresh(mx.float32, 300, 300) / 1e5
    mx.eval(x)
    values = np.array(x)
    results = []
    for _ in range(5):
        y = mx.sin(x @ x)
        mx.async_eval(y)
        results.append(y)
        view = np.asarray(x)  # what runs has its own copy
        view[0, 0] = 1e9
        view[0, 0] = values[0, 0]
        shown = np.asarray(y)
        assert np.isfinite(shown).all()
    wanted = np.sin(values.astype(np.float64) @ values)
    for y in results:
        np.testing.assert_allclose(y, wanted, atol=1e-4)


def test_inside_of_a_transform_nothing_is_written() -> None:
    found = []

    def f(x: mx.array) -> mx.array:
        y = x * x
        found.append(np.asarray(y))
        return y.sum()

    assert mx.grad(f)(mx.array([1.0, 2.0])).tolist() == [2, 4]
    assert found[0].tolist() == [1, 4] and not found[0].flags.writeable


# --- DLPack, the buffer protocol --------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [mx.float32, mx.complex64, mx.bool_, mx.int16])
def test_dlpack_shares_memory(dtype: mx.Dtype) -> None:
    x = mx.zeros((2, 3), dtype)
    taken = np.from_dlpack(x)
    np.asarray(x)[1, 1] = 1
    assert taken[1, 1] == 1 and taken.dtype == np.asarray(x).dtype
    other = mx.from_dlpack(x)
    np.asarray(x)[1, 1] = 0
    assert other.tolist()[1][1] == 1


def test_dlpack_names_bfloat16() -> None:
    capsule = mx.ones((2, 3), mx.bfloat16).__dlpack__()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    at = pointer(capsule, b"dltensor")
    # of a DLTensor: the address, the device, the number of axes; then kind, bits and lanes of the type
    kind, bits, lanes = (ctypes.c_uint8.from_address(at + 20 + i).value for i in range(3))
    assert (kind, bits, lanes) == (4, 16, 1)
    with pytest.raises((BufferError, RuntimeError)):  # NumPy has no such type
        np.from_dlpack(mx.ones((2,), mx.bfloat16))


def test_buffers() -> None:
    """What Python 3.12 calls for ``memoryview(x)``, ``hashlib`` and ``file.write``."""
    x = fresh(mx.int32, 3, 4)
    values = np.arange(12, dtype=np.int32).reshape(3, 4)
    view = x.__buffer__(STRIDES | FORMAT | WRITABLE)
    assert (view.format, view.shape, view.strides, view.readonly) == ("i", (3, 4), (16, 4), False)
    view[1, 2] = values[1, 2] = 50
    assert x.tolist() == values.tolist()
    turned = x.T.__buffer__(STRIDES)
    assert turned.strides == (4, 16) and turned.tolist() == values.T.tolist()
    assert bytes(x.T[1:].__buffer__(READABLE)) == values.T[1:].tobytes()
    assert not x.T.__buffer__(WRITABLE).c_contiguous  # which Python refuses then
    half = mx.array([1, 2], mx.bfloat16)
    assert bytes(half.__buffer__(READABLE)) == bytes.fromhex("803f0040")
    with pytest.raises(BufferError, match="uint16"):
        half.__buffer__(FORMAT)
