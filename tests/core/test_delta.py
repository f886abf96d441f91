"""The gated delta rule: compared with MLX, and with its definition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mlx.core
import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime import executor

NAMES = ("q", "k", "v", "gamma", "beta")


@pytest.fixture(params=["compiled", "reference"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(executor, "SMALL", 0 if request.param == "compiled" else 1 << 30)
    yield


def _inputs(steps: int, heads: tuple[int, int] = (2, 4), sizes: tuple[int, int] = (8, 6)) -> list[np.ndarray]:
    rng = np.random.RandomState(steps)
    (hk, hv), (dk, dv) = heads, sizes
    shapes = [(2, steps, hk, dk), (2, steps, hk, dk), (2, steps, hv, dv)]
    arrays = [rng.randn(*s) * (1.0 if i != 1 else dk**-0.5) for i, s in enumerate(shapes)]
    arrays += [0.5 + rng.rand(2, steps, hv) / 2, rng.rand(2, steps, hv)]
    return [a.astype(np.float32) for a in arrays]


def _both(inputs: list[np.ndarray], *rest: Any, cast: str = "float32") -> tuple[Any, Any]:
    results = []
    for m in (mx, mlx.core):
        arrays = [m.array(a).astype(getattr(m, cast)) for a in inputs]
        more = [None if a is None else m.array(a) for a in rest]
        results.append(m.fast.gated_delta_update(*arrays, *more))
    return tuple(results)


def _same(pair: tuple[Any, Any], tolerance: float = 2e-5) -> None:
    assert isinstance(pair[0], list)
    for ours, theirs in zip(*pair, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype.name == repr(theirs.dtype).rpartition(".")[2]
        x, y = np.array(ours.astype(mx.float32)), np.array(theirs.astype(mlx.core.float32))
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("steps", [1, 2, 5, 64, 65, 150])
def test_lengths(engine: None, steps: int) -> None:
    _same(_both(_inputs(steps)))


@pytest.mark.parametrize("heads", [(1, 1), (3, 3), (1, 4)])
def test_heads(engine: None, heads: tuple[int, int]) -> None:
    _same(_both(_inputs(7, heads, (4, 5))))


@pytest.mark.parametrize("steps", [1, 5, 70])
def test_states_and_masks(engine: None, steps: int) -> None:
    rng = np.random.RandomState(0)
    state = rng.randn(2, 4, 6, 8).astype(np.float32)
    mask = rng.rand(2, steps) > 0.4
    inputs = _inputs(steps)
    _same(_both(inputs, state))
    _same(_both(inputs, None, mask))
    _same(_both(inputs, state, mask))
    _same(_both(inputs, state[:1], mask[:1].astype(np.float32)))


def test_steps_that_are_masked_may_hold_anything(engine: None) -> None:
    inputs = _inputs(6)
    mask = np.array([[1, 1, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)
    wanted = mx.fast.gated_delta_update(*map(mx.array, inputs), mask=mx.array(mask))
    for a in inputs:
        a[0, 2] = a[0, 4:] = np.nan
    found = mx.fast.gated_delta_update(*map(mx.array, inputs), mask=mx.array(mask))
    assert mx.array_equal(found[0], wanted[0])
    assert mx.array_equal(found[1], wanted[1])


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64"])
def test_types(engine: None, name: str) -> None:
    _same(_both(_inputs(70), cast=name), {"float16": 2e-3, "bfloat16": 2e-2, "float64": 2e-5}[name])


def test_mixed_types() -> None:
    a = [mx.array(x) for x in _inputs(3)]
    b = [mlx.core.array(x) for x in _inputs(3)]
    for low in ([0], [2], [3, 4], [0, 1, 2]):
        x = [v.astype(mx.bfloat16) if i in low else v for i, v in enumerate(a)]
        y = [v.astype(mlx.core.bfloat16) if i in low else v for i, v in enumerate(b)]
        _same((mx.fast.gated_delta_update(*x), mlx.core.fast.gated_delta_update(*y)), 2e-2)


def test_decays_of_zero(engine: None) -> None:
    inputs = _inputs(70)
    inputs[3][:, ::9] = 0
    _same(_both(inputs))


@pytest.mark.parametrize("steps", [1, 6, 67])
def test_gradients(engine: None, steps: int) -> None:
    inputs = _inputs(steps, (1, 2), (4, 3))
    state = np.random.RandomState(0).randn(2, 2, 3, 4).astype(np.float32)

    def gradients(m: Any) -> Any:
        def loss(*arrays: Any) -> Any:
            y, last = m.fast.gated_delta_update(*arrays)
            return m.sum(m.sin(y)) + m.sum(last * last)

        return m.grad(loss, tuple(range(6)))(*map(m.array, [*inputs, state]))

    for ours, theirs in zip(gradients(mx), gradients(mlx.core), strict=True):
        np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=2e-3, atol=2e-3)


def test_vmap_and_compile() -> None:
    x = [mx.array(a) for a in _inputs(5)]
    wanted = mx.fast.gated_delta_update(*x)
    found = mx.vmap(lambda *a: mx.fast.gated_delta_update(*(v[None] for v in a)))(*x)
    compiled = mx.compile(mx.fast.gated_delta_update)(*x)
    for a, b, c in zip(wanted, found, compiled, strict=True):
        assert mx.allclose(a, b[:, 0], atol=1e-5)
        assert mx.allclose(a, c, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {"q": a["q"][0]},
        lambda a: {"k": a["k"][..., :3]},
        lambda a: {"v": a["v"][:, :2]},
        lambda a: {"v": a["v"][:, :, :3], "gamma": a["gamma"][..., :3], "beta": a["beta"][..., :3]},
        lambda a: {"gamma": a["gamma"][:, :2]},
        lambda a: {"beta": a["beta"][:, :2]},
        lambda a: {"mask": a["beta"][:, :2, 0] > 0},
        lambda a: {"mask": a["beta"] > 0},
        lambda a: {"initial_state": a["q"]},
        lambda a: {name: x[:, :0] for name, x in a.items()},
    ],
)
def test_wrong_shapes(change: Any) -> None:
    arguments = dict(zip(NAMES, map(mx.array, _inputs(5)), strict=True))
    with pytest.raises(ValueError, match=r"^\[(gated_delta_update|broadcast\w*)\] expected"):
        mx.fast.gated_delta_update(**{**arguments, **change(arguments)})


def test_wrong_kinds() -> None:
    arguments = dict(zip(NAMES, map(mx.array, _inputs(5)), strict=True))
    for name in (*NAMES, "mask", "initial_state"):
        with pytest.raises(TypeError, match=r"^\[gated_delta_update\] expected an array"):
            mx.fast.gated_delta_update(**{**arguments, name: 3})
