"""Every layer against the same one of MLX: printing, first weights, evaluation; what single layers do besides."""

import mlx.core as apple
import mlx.nn as apple_nn
import numpy as np
import pytest
from tests.nn.layer_cases import CASES, MISUSE, build, inputs_of, normal

import arrax.core as mx
import arrax.nn as nn
from arrax.compiler.kernel import format_kernel
from arrax.runtime import cpu, executor
from arrax.utils import tree_flatten, tree_map


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0][3:])
def test_layer(oracle, case):
    ours, theirs = build(case[0])
    oracle.same(ours.parameters(), theirs.parameters())
    if "RNN" not in case[0]:
        assert repr(ours) == repr(theirs)
    assert ours._no_grad == theirs._no_grad


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0][3:])
def test_compiled_and_vectorised_evaluation(oracle, monkeypatch, case):
    monkeypatch.setattr(executor, "SMALL", 0)
    source, *make_inputs = case
    ours, theirs = build(source)
    ours.eval(), theirs.eval()
    inputs = inputs_of(make_inputs)
    others = [mx.roll(x, 1) for x in inputs]
    expected = [theirs(*oracle.give(x)) for x in (inputs, others)]
    result = mx.compile(lambda *inputs: ours(*inputs))(*inputs)
    oracle.same(result, expected[0], rtol=1e-4, atol=2e-5)
    results = mx.vmap(lambda *inputs: ours(*inputs))(*map(mx.stack, zip(inputs, others, strict=True)))
    for i in range(2):
        oracle.same(tree_map(lambda y, i=i: y[i], results), expected[i], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("source", ["nn.RNN(3, 4)", "nn.GRU(3, 4)", "nn.LSTM(3, 4)"])
def test_transforms_of_recurrences(oracle, source):
    ours, theirs = build(source)
    x, v = inputs_of([normal(3, 2, 4, 3)] * 2)

    def run(mx, layer, x, v):
        def hidden(x):
            y = layer(x)
            return y[0] if isinstance(y, tuple) else y

        gradient = mx.grad(lambda x: (hidden(x) ** 2).sum())
        second = mx.grad(lambda x: (gradient(x) * v).sum())(x)
        return mx.jvp(hidden, [x], [v]), mx.vmap(gradient, in_axes=1)(x), second, mx.checkpoint(hidden)(x)

    oracle.same(run(mx, ours, x, v), run(apple, theirs, oracle.give(x), oracle.give(v)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("source", ["nn.RNN(3, 4)", "nn.GRU(3, 4)", "nn.LSTM(3, 4)"])
def test_long_sequences_need_few_kernels(monkeypatch, source):
    monkeypatch.setattr(executor, "SMALL", 0)
    texts = []

    def spied(kernel):
        texts.append(format_kernel(kernel))
        return texts[-1]

    monkeypatch.setattr(cpu, "format_kernel", spied)
    layer = eval(source, {"nn": nn})
    gradient = mx.compile(nn.value_and_grad(layer, lambda x: mx.tanh(tree_flatten(layer(x))[0][1]).sum()))
    mx.eval(gradient(mx.ones((2, 24, 3))))
    assert len(set(texts)) < 50
    # A step is some kernels and a product each way.
    assert len(texts) < 24 * 12


def outcome(mx, nn, source):
    """What a call gives: the shape and type of an array, the type of anything else, the type of an error."""
    try:
        result = eval(source, {"nn": nn, "mx": mx})
        if isinstance(result, mx.array):
            mx.eval(result)
            return result.shape, str(result.dtype).split(".")[-1]
        return type(result).__name__
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("source", MISUSE)
def test_misuse(source):
    ours, theirs = outcome(mx, nn, source), outcome(apple, apple_nn, source)
    if theirs in (AttributeError, ZeroDivisionError):  # what comes from inside, when nobody has looked at arguments
        assert ours in (theirs, TypeError, ValueError)
    elif isinstance(theirs, type):
        assert isinstance(ours, type) and issubclass(ours, theirs)
    else:
        assert ours == theirs


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("source", ["LayerNorm(4)", "LayerNorm(4, affine=False)", "RMSNorm(4)", "BatchNorm(4)"])
def test_half_precision(oracle, source, dtype):
    x = mx.array(np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4))
    ours = eval(f"nn.{source}", {"nn": nn})(x.astype(getattr(mx, dtype)))
    theirs = eval(f"nn.{source}", {"nn": apple_nn})(oracle.give(x).astype(getattr(oracle.core, dtype)))
    oracle.same(ours, theirs, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("layer", "shape", "mask_shape"),
    [
        ("Dropout", (4, 5), (4, 5)),
        ("Dropout2d", (2, 3, 3, 4), (2, 1, 1, 4)),
        ("Dropout2d", (3, 3, 4), (1, 1, 4)),
        ("Dropout3d", (2, 3, 3, 3, 4), (2, 1, 1, 1, 4)),
        ("Dropout3d", (3, 3, 3, 4), (1, 1, 1, 4)),
    ],
)
def test_dropout(oracle, layer, shape, mask_shape):
    def run(nn, mx, layer, shape):
        mx.random.seed(3)
        return getattr(nn, layer)(0.3)(mx.ones(shape)), getattr(nn, layer)(0.3)(mx.ones(shape, mx.float16))

    ours = run(nn, mx, layer, shape)
    oracle.same(ours, run(apple_nn, oracle.core, layer, shape), rtol=1e-3)
    mx.random.seed(3)
    mask = np.array(mx.random.bernoulli(0.7, mask_shape))
    np.testing.assert_allclose(np.array(ours[0]), np.broadcast_to(mask / np.float32(0.7), shape), rtol=1e-6)
    x = mx.ones(shape)
    assert getattr(nn, layer)(0.3).eval()(x) is x
    assert repr(getattr(nn, layer)(0.1)) == repr(getattr(apple_nn, layer)(0.1))


def test_dropout_has_the_gradient_of_its_mask():
    layer = nn.Dropout(0.5)
    x = mx.ones((64,))

    def output(x):
        mx.random.seed(1)
        return layer(x)

    gradient = mx.grad(lambda x: output(x).sum())(x)
    assert gradient.tolist() == output(x).tolist()
    assert {0.0, 2.0} == set(gradient.tolist())


def test_embedding_as_linear(oracle):
    ours, theirs = nn.Embedding(5, 4), apple_nn.Embedding(5, 4)
    oracle.copy_weights(ours, theirs)
    x = mx.ones((2, 4))
    oracle.same(ours.as_linear(x), theirs.as_linear(oracle.give(x)))


@pytest.mark.parametrize("offset", [0, 3])
def test_rope_with_an_offset(oracle, offset):
    x = mx.array(np.random.default_rng(0).standard_normal((1, 2, 4, 8)).astype(np.float32))
    oracle.same(nn.RoPE(8)(x, offset=offset), apple_nn.RoPE(8)(oracle.give(x), offset=offset))


@pytest.mark.parametrize("heads", [1, 2, 4, 6, 12])
def test_alibi(oracle, heads):
    ours, theirs = nn.ALiBi, apple_nn.ALiBi
    oracle.same(ours.create_alibi_slope(heads), theirs.create_alibi_slope(heads))
    oracle.same(
        ours.create_alibi_matrix(5, 4, heads, 2, mx.float16),
        theirs.create_alibi_matrix(5, 4, heads, 2, oracle.core.float16),
    )
    scores, mask = mx.ones((1, heads, 2, 3)), mx.array([[0.0, -7.0, 0.0]])
    oracle.same(ours()(scores, 1, mask), theirs()(oracle.give(scores), 1, oracle.give(mask)))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_causal_mask(oracle, dtype):
    ours = nn.MultiHeadAttention.create_additive_causal_mask(4, getattr(mx, dtype))
    theirs = apple_nn.MultiHeadAttention.create_additive_causal_mask(4, getattr(oracle.core, dtype))
    oracle.same(ours, theirs)


def test_custom_encoder():
    model = nn.Transformer(4, 2, custom_encoder=nn.Identity(), custom_decoder=nn.Identity())
    assert isinstance(model.encoder, nn.Identity) and isinstance(model.decoder, nn.Identity)


def test_max_pool_shares_the_gradient_of_ties(oracle):
    x = mx.zeros((1, 5, 1))

    def run(nn, mx, x):
        overlapping, touching = nn.MaxPool1d(3, 1), nn.MaxPool1d(2)
        return mx.grad(lambda x: overlapping(x).sum())(x), mx.grad(lambda x: touching(x).sum())(x)

    oracle.same(run(nn, mx, x), run(apple_nn, oracle.core, oracle.give(x)))


QUANTIZED = [{}, {"group_size": 32, "bits": 8}, {"bits": 2}, {"mode": "mxfp4"}]


@pytest.mark.parametrize("options", QUANTIZED, ids=str)
def test_quantize(oracle, options):
    def model(nn):
        return nn.Sequential(nn.Embedding(5, 64), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64, bias=False))

    ours, theirs = model(nn), model(apple_nn)
    oracle.copy_weights(ours, theirs)
    nn.quantize(ours, **options)
    apple_nn.quantize(theirs, **options)
    assert repr(ours) == repr(theirs)
    assert [m._no_grad for m in ours.modules()] == [m._no_grad for m in theirs.modules()]
    oracle.same(ours.parameters(), theirs.parameters())
    tokens, x = mx.array([[0, 4, 2]]), mx.ones((2, 64))
    # this mode dequantizes to bfloat16 (8 bits of mantissa), and MLX rounds to it between the steps of a product
    tolerance = 2**-8 if options.get("mode") == "mxfp4" else 1e-4
    oracle.same(ours(tokens), theirs(oracle.give(tokens)), rtol=tolerance, atol=tolerance)
    oracle.same(ours.layers[0].as_linear(x), theirs.layers[0].as_linear(oracle.give(x)), rtol=tolerance, atol=tolerance)


def test_quantize_by_a_predicate(oracle):
    def run(nn, predicate):
        model = nn.Sequential(nn.Linear(64, 64), nn.Embedding(3, 64), {"a": nn.Linear(64, 64), "b": 3})
        nn.quantize(model, 32, 8, class_predicate=predicate)
        return repr(model)

    for predicate in (
        lambda path, module: {"bits": 2, "group_size": 64} if path == "layers.0" else False,
        lambda path, module: path.endswith("a"),
    ):
        assert run(nn, predicate) == run(apple_nn, predicate)
    with pytest.raises(ValueError, match="ReLU"):
        nn.quantize(nn.Sequential(nn.ReLU()), class_predicate=lambda path, module: True)
    with pytest.raises(ValueError, match="mode"):
        nn.quantize(nn.Sequential(nn.Linear(64, 64)), mode="other")


def test_new_quantized_layers(oracle):
    for source in ("QuantizedLinear(64, 32)", "QuantizedLinear(64, 32, False, 32, 8)", "QuantizedEmbedding(10, 64)"):
        ours, theirs = eval(f"nn.{source}", {"nn": nn}), eval(f"nn.{source}", {"nn": apple_nn})
        assert repr(ours) == repr(theirs) and ours._no_grad == theirs._no_grad
        assert ours.weight.shape == theirs.weight.shape and list(ours) == list(theirs)
