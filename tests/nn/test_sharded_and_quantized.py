"""Layers that are spread over processes, on one process; and layers that quantize their inputs."""

import mlx.core as apple
import mlx.nn as apple_nn
import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn
from arrax.utils import tree_flatten

KINDS = ["all-to-sharded", "sharded-to-all"]


def normal(*shape):
    return mx.array(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sharding", KINDS)
def test_shard_linear(oracle, sharding, bias, quantized):
    weight, x = normal(32, 64), normal(2, 64)

    def run(nn, weight, x):
        layer = nn.Linear(64, 32, bias)
        layer.weight = weight
        if bias:
            layer.bias = weight[:, 0]
        layer = layer.to_quantized(32, 8) if quantized else layer
        sharded = nn.layers.distributed.shard_linear(layer, sharding)
        assert type(sharded) is not type(layer)
        return [repr(sharded), sharded.parameters(), sharded.trainable_parameters(), sharded(x), sharded.group.size()]

    oracle.same(run(nn, weight, x), run(apple_nn, oracle.give(weight), oracle.give(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "source", ["QuantizedAllToShardedLinear(64, 32)", "QuantizedShardedToAllLinear(64, 32, False)"]
)
def test_new_quantized_sharded_layers(oracle, source):
    ours, theirs = eval(f"nn.{source}", {"nn": nn}), eval(f"nn.{source}", {"nn": apple_nn})
    assert repr(ours) == repr(theirs) and ours._no_grad == theirs._no_grad
    assert ours.unfreeze() is ours and not tree_flatten(ours.trainable_parameters())
    theirs.load_weights([(name, oracle.give(x)) for name, x in tree_flatten(ours.parameters())])
    x = normal(3, 64)
    oracle.same(ours(x), theirs(oracle.give(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "segments", [1, 2, [1, 3], (2,), [0.5], [0.25, 0.75]], ids=lambda segments: str(segments).replace(" ", "")
)
@pytest.mark.parametrize("axis", [0, -1])
def test_shard_inplace(oracle, axis, segments):
    def run(nn, layer):
        seen = []

        def sharding(path, weight):
            seen.append((path, tuple(weight.shape)))
            return (axis, segments) if path.endswith("weight") else axis if path.endswith("0.bias") else None

        nn.layers.distributed.shard_inplace(layer, sharding)
        nn.layers.distributed.shard_inplace(layer, KINDS[0])
        nn.layers.distributed.shard_inplace(layer, KINDS[1], segments=2)
        return seen, layer.parameters()

    ours, theirs = (module.Sequential(module.Linear(4, 4), module.Linear(4, 8)) for module in (nn, apple_nn))
    oracle.copy_weights(ours, theirs)
    oracle.same(run(nn, ours), run(apple_nn, theirs))


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_fully_sharded_module(oracle, dtype):
    def run(nn, mx, module, x):
        model = nn.FullyShardedModule(module, compute_dtype=dtype and getattr(mx, dtype))
        before = model.parameters()
        result = nn.value_and_grad(model, lambda x: (model(x) ** 2).sum())(x)
        # The shares are in their place again, also after an error.
        with pytest.raises(Exception):  # noqa: B017
            model(x, x, x)
        return repr(model), result, before, model.parameters(), model._paths

    ours, theirs = (module.Sequential(module.Linear(4, 3), module.Tanh()) for module in (nn, apple_nn))
    oracle.copy_weights(ours, theirs)
    x = normal(2, 4)
    tolerance = 2e-2 if dtype else 1e-5
    oracle.same(run(nn, mx, ours, x), run(apple_nn, apple, theirs, oracle.give(x)), rtol=tolerance, atol=tolerance)


def test_fully_sharded_embedding(oracle):
    ours, theirs = (module.FullyShardedModule(module.Embedding(5, 4)) for module in (nn, apple_nn))
    oracle.copy_weights(ours, theirs)
    x = normal(2, 4)
    oracle.same(ours.as_linear(x), theirs.as_linear(oracle.give(x)))
    nested = nn.FullyShardedModule(nn.Sequential(nn.Linear(3, 3), ours))
    assert nested._paths == ["layers.0.weight", "layers.0.bias"]
    module = nn.Linear(2, 2)
    assert nn.fully_shard(module) is module


class Pair(mx.distributed.Group):
    """One of two processes, for what can be seen without the other."""

    def rank(self):
        return 1

    def size(self):
        return 2


def test_shares_of_two_processes():
    shard_linear, group = nn.layers.distributed.shard_linear, Pair()
    layer = nn.Linear(4, 6)
    rows = shard_linear(layer, KINDS[0], group=group)
    assert rows.weight.tolist() == layer.weight[3:].tolist() and rows.bias.tolist() == layer.bias[3:].tolist()
    stacked = shard_linear(layer, KINDS[0], segments=3, group=group)
    assert stacked.weight.tolist() == layer.weight[1::2].tolist()
    columns = shard_linear(layer, KINDS[1], group=group)
    assert columns.weight.tolist() == layer.weight[:, 2:].tolist() and columns.bias.shape == (6,)
    assert repr(rows) == "AllToShardedLinear(input_dims=4, output_dims=6, bias=True)"
    assert repr(columns) == "ShardedToAllLinear(input_dims=4, output_dims=6, bias=True)"
    assert nn.QuantizedShardedToAllLinear(128, 32, group=group).scales.shape == (32, 1)
    sharded = nn.fully_shard(layer, group=group)
    assert sharded.module.weight.shape == (3, 4) and nn.fully_shard(sharded, group=group) is sharded
    relu = nn.ReLU()
    assert nn.fully_shard(relu, group=group) is relu
    for wrong in (
        lambda: nn.AllToShardedLinear(4, 5, group=group),
        lambda: nn.ShardedToAllLinear(5, 4, group=group),
        lambda: nn.fully_shard(nn.Linear(4, 5), group=group),
        lambda: nn.layers.distributed.shard_inplace(nn.Linear(4, 5), KINDS[0], group=group),
    ):
        with pytest.raises(ValueError):
            wrong()


@pytest.mark.parametrize(
    "gradients",
    [{"a": mx.array([3.0, 4.0])}, {"a": [mx.array([3, 4])], "b": mx.array([1.0])}, {}],
    ids=["float", "mixed", "empty"],
)
def test_clip_grad_norm_sharded(oracle, gradients):
    for limit in (1.0, 10.0):
        theirs = apple_nn.utils.clip_grad_norm_sharded(oracle.give(gradients), limit)
        oracle.same(nn.utils.clip_grad_norm_sharded(gradients, limit), theirs)


@pytest.mark.parametrize("mode", ["nvfp4", "mxfp8"])
def test_qq_linear(oracle, mode):
    weight, x = normal(32, 64), normal(4, 64)

    def run(nn, weight):
        linear = nn.Linear(64, 32, bias=False)
        linear.weight = weight
        layer = linear.to_quantized(mode=mode, quantize_input=True)
        result = [repr(layer), dict(layer)]
        model = nn.Sequential(layer).eval()
        result += [repr(layer), dict(layer), layer._quantized, layer._no_grad]
        model.train()
        return [*result, dict(layer), layer._quantized, nn.QQLinear.from_linear(linear.eval(), mode=mode)._quantized]

    oracle.same(run(nn, weight), run(apple_nn, oracle.give(weight)))

    # MLX has no such product on a CPU: the expected one is that of what it quantizes and dequantizes.
    def rounded(a):
        return apple.dequantize(*apple.quantize(oracle.give(a), mode=mode), mode=mode, dtype=apple.float32)

    layer = nn.QQLinear.from_linear(linear_with(weight), mode=mode)
    expected = rounded(x) @ rounded(weight).T
    oracle.same(layer(x), expected, rtol=1e-4, atol=1e-4)
    gradient = nn.value_and_grad(layer, lambda x: layer(x).sum())(x)[1]["weight"]
    oracle.same(gradient, apple.ones((32, 4)) @ rounded(x), rtol=1e-4, atol=1e-4)
    oracle.same(layer.eval()(x), expected, rtol=1e-4, atol=1e-4)


def linear_with(weight):
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = weight
    return linear


def test_quantize_inputs(oracle):
    def run(nn):
        model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 32, bias=False))
        nn.quantize(model, mode="nvfp4", quantize_input=True)
        return repr(model)

    assert run(nn) == run(apple_nn)
    for wrong in (nn.Sequential(nn.Embedding(4, 64)), nn.Sequential(nn.Linear(64, 64, bias=False))):
        with pytest.raises(ValueError):
            nn.quantize(wrong, quantize_input=True)
