"""Every layer in every mode, against the same one of MLX.

The modes: training and evaluating, three types, compiled, over a batch of inputs or of weights, derived twice, and
with its weights from a file of the other's.
"""

from __future__ import annotations

import inspect
from typing import Any

import mlx.core as apple
import mlx.nn as apple_nn
import pytest
from tests.nn.layer_cases import ACTIVATIONS, CASES, EDGES, build, inputs_of

import arrax.core as mx
import arrax.nn as nn
from arrax.runtime import executor
from arrax.utils import tree_flatten, tree_map

# Layers that other tests compare with MLX's: what they do depends on quantization, or is what holds other layers.
ELSEWHERE = {
    "Module": "test_module.py",
    "QQLinear": "test_sharded_and_quantized.py",
    "QuantizedAllToShardedLinear": "test_sharded_and_quantized.py",
    "QuantizedEmbedding": "test_layers.py",
    "QuantizedLinear": "test_layers.py",
    "QuantizedShardedToAllLinear": "test_sharded_and_quantized.py",
}

# The largest error, relative to the largest element.
PRECISION = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}

# Not differentiable twice, or not everywhere, or dropped.
ROUGH = ("Step", "Pool", "Dropout(0.5)", "Dropout2d", "Dropout3d", "relu")

every_layer = pytest.mark.parametrize("case", CASES, ids=lambda case: case[0][3:])
every_edge = pytest.mark.parametrize("case", EDGES, ids=lambda case: case[0][3:])


def test_all_layers_are_here() -> None:
    public = {
        name for name, value in vars(apple_nn).items() if inspect.isclass(value) and issubclass(value, apple_nn.Module)
    }
    text = " ".join(case[0] for case in CASES)
    assert {name for name in public if f"nn.{name}(" not in text} == set(ELSEWHERE)
    assert public > set(ACTIVATIONS)


def weighted_sum(mx: Any, y: Any) -> Any:
    """A sum of all elements, with other weights for each of them, so that no symmetry hides a mistake."""
    leaves = [leaf for _, leaf in tree_flatten(y)]
    return sum((leaf * mx.cos(mx.arange(leaf.size).reshape(leaf.shape))).sum() for leaf in leaves)


def scalar_of(mx: Any, layer: Any, inputs: Any) -> tuple[Any, Any]:
    """The sum of the outputs, and the outputs, always with the same random numbers."""
    mx.random.seed(7)
    y = layer(*inputs)
    return weighted_sum(mx, y), y


def derivatives(mx: Any, nn: Any, layer: Any, inputs: Any) -> list[Any]:
    """The outputs, the gradients of inputs and of weights, and the arrays in the layer afterwards."""
    floats = tuple(i for i, x in enumerate(inputs) if mx.issubdtype(x.dtype, mx.floating))
    result = [scalar_of(mx, layer, inputs)[1]]
    if floats:
        result.append(mx.grad(lambda *inputs: scalar_of(mx, layer, inputs)[0], argnums=floats)(*inputs))
    if tree_flatten(layer.trainable_parameters()):
        result.append(nn.value_and_grad(layer, lambda *inputs: scalar_of(mx, layer, inputs)[0])(*inputs)[1])
    return [result, {name: x for name, x in layer.items() if hasattr(x, "dtype")}]


def both(oracle: Any, case: Any, dtype: str, training: bool) -> tuple[Any, ...]:
    """The layer of Arrax, that of MLX, and the inputs for both."""
    source, *make_inputs = case
    ours, theirs = build(source)
    inputs = inputs_of(make_inputs)
    if dtype != "float32":
        ours.set_dtype(getattr(mx, dtype))
        theirs.set_dtype(getattr(apple, dtype))
        inputs = [x.astype(getattr(mx, dtype)) if x.dtype == mx.float32 else x for x in inputs]
    if ".eval()" not in source:
        ours.train(training)
        theirs.train(training)
    given = [oracle.give(x.astype(mx.float32)).astype(getattr(apple, str(x.dtype).split(".")[-1])) for x in inputs]
    return ours, theirs, inputs, given


def compare(oracle: Any, case: Any, dtype: str, training: bool) -> None:
    ours, theirs, inputs, given = both(oracle, case, dtype, training)
    exact = None
    if dtype != "float32":
        twin = build(case[0])[1]
        twin.train(theirs.training)
        twin.update(tree_map(lambda x: x.astype(apple.float32) if x.dtype != apple.uint32 else x, theirs.parameters()))
        floats = [x.astype(apple.float32) if x.dtype == getattr(apple, dtype) else x for x in given]
        exact = derivatives(apple, apple_nn, twin, floats)
    result = derivatives(mx, nn, ours, inputs)
    oracle.close(result, derivatives(apple, apple_nn, theirs, given), PRECISION[dtype], exact)


MODES = [
    pytest.param(
        training,
        dtype,
        id=f"{'train' if training else 'eval'}-{dtype}",
        marks=[] if training and dtype != "float16" else [pytest.mark.slow],
    )
    for training in (True, False)
    for dtype in PRECISION
]


@pytest.mark.parametrize(("training", "dtype"), MODES)
@every_layer
def test_modes(oracle, case, training, dtype):
    compare(oracle, case, dtype, training)


@pytest.mark.parametrize("training", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["train", "eval"])
@every_edge
def test_edges(oracle, case, training):
    ours, theirs, inputs, given = both(oracle, case, "float32", training)
    try:
        expected = derivatives(apple, apple_nn, theirs, given)
    except ValueError:
        # MLX cannot derive a convolution without examples.
        assert 0 in inputs[0].shape
        oracle.close([ours(*inputs)], [theirs(*given)], 1e-5)
    else:
        exact = expected
        if "Norm" in case[0]:  # differences of sums, of which MLX's are further from the truth
            twin = build(case[0])[1]
            twin.train(theirs.training)
            twin.update(tree_map(lambda x: x.astype(apple.float64), twin.parameters()))
            exact = derivatives(apple, apple_nn, twin, [x.astype(apple.float64) for x in given])
        oracle.close(derivatives(mx, nn, ours, inputs), expected, 1e-5, exact)


def test_where_mlx_is_wrong():
    # MLX: a result of one element, from none.
    assert nn.PReLU()(mx.zeros((0,))).shape == (0,)
    # MLX: whatever is in memory, or a crash, once the function has been compiled for other shapes.
    with pytest.raises(ValueError):
        nn.PReLU(3)(mx.ones((2, 4)))
    assert nn.Softmax()(mx.ones((0,))).shape == (0,)
    # MLX: an error.
    assert nn.InstanceNorm(4)(mx.zeros((0, 5, 4))).shape == (0, 5, 4)
    # MLX: gradients without what only `output_padding` has reached.
    layer = nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1, bias=False)
    x, v = mx.random.normal((1, 2, 1, 2)), mx.random.normal((1, 6, 4, 4))
    (y,), (gradient,) = mx.vjp(layer, [x], [v])
    assert gradient.shape == x.shape and (gradient * x).sum().item() == pytest.approx((y * v).sum().item(), rel=1e-4)


@every_layer
def test_compiled_training(oracle, monkeypatch, case):
    """A compiled step with the layer's state: outputs, gradients, running statistics, random numbers."""
    monkeypatch.setattr(executor, "SMALL", 0)
    ours, theirs, inputs, given = both(oracle, case, "float32", True)

    def step(mx, nn, layer, inputs):
        if not tree_flatten(layer.trainable_parameters()):
            return layer(*inputs)
        return nn.value_and_grad(layer, lambda *inputs: weighted_sum(mx, layer(*inputs)))(*inputs)

    state = [ours.state, mx.random.state]
    compiled = mx.compile(lambda *inputs: step(mx, nn, ours, inputs), inputs=state, outputs=state)
    mx.random.seed(3)
    apple.random.seed(3)
    for _ in range(2):
        result, expected = compiled(*inputs), step(apple, apple_nn, theirs, given)
        oracle.close(result, expected, 1e-5)
    arrays = [{k: v for k, v in layer.items() if hasattr(v, "dtype")} for layer in (ours, theirs)]
    oracle.close(*arrays, 1e-5)


@every_layer
def test_many_weights_at_once(oracle, case):
    """An ensemble: the same inputs under several weights."""
    ours, theirs, inputs, given = both(oracle, case, "float32", False)
    weights = [(name, x) for name, x in tree_flatten(ours.parameters()) if mx.issubdtype(x.dtype, mx.floating)]
    if not weights:
        return
    stacked = [mx.stack([x, x * 0.5 + 0.1]) for _, x in weights]

    def apply(*values):
        before = [x for _, x in weights]
        ours.load_weights([(name, x) for (name, _), x in zip(weights, values, strict=True)], strict=False)
        y = ours(*inputs)
        ours.load_weights([(name, x) for (name, _), x in zip(weights, before, strict=True)], strict=False)
        return y

    results = mx.vmap(apply)(*stacked)
    for i in range(2):
        values = oracle.give([x[i] for x in stacked])
        theirs.load_weights([(name, x) for (name, _), x in zip(weights, values, strict=True)], strict=False)
        oracle.close(tree_map(lambda y, i=i: y[i], results), theirs(*given), 1e-5)


@pytest.mark.slow
@every_layer
def test_second_derivatives(oracle, case):
    if any(word in case[0] for word in ROUGH):
        return
    ours, theirs, inputs, given = both(oracle, case, "float32", False)
    if inputs[0].dtype != mx.float32:
        return

    def run(mx, layer, inputs):
        def slope(x):
            gradient = mx.grad(lambda x: scalar_of(mx, layer, [mx.tanh(x), *inputs[1:]])[0])(x)
            return (gradient * mx.sin(mx.arange(x.size).reshape(x.shape))).sum()

        return mx.grad(slope)(inputs[0])

    oracle.close(run(mx, ours, inputs), run(apple, theirs, given), 2e-5)


@pytest.mark.parametrize("suffix", ["safetensors", pytest.param("npz", marks=pytest.mark.slow)])
@every_layer
def test_weights_travel_both_ways(oracle, tmp_path, case, suffix):
    ours, theirs = build(case[0])
    if not tree_flatten(ours.parameters()):
        return
    path = str(tmp_path / f"weights.{suffix}")
    for giver, taker in ((ours, theirs), (theirs, ours)):
        giver.apply(lambda x: x + x)
        giver.save_weights(path)
        taker.load_weights(path)
        oracle.same(ours.parameters(), theirs.parameters(), rtol=0, atol=0)
