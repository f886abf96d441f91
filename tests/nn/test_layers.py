"""Every layer against the same one of MLX: printing, first weights, output and gradients."""

import mlx.core as apple
import mlx.nn as apple_nn
import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn
from arrax.compiler.kernel import format_kernel
from arrax.runtime import cpu, executor
from arrax.utils import tree_flatten, tree_map


def normal(*shape):
    return lambda random: random.standard_normal(shape).astype(np.float32)


def integers(high, *shape):
    return lambda random: random.integers(0, high, shape).astype(np.int32)


# The construction, in the syntax that both frameworks share, and the inputs.
CASES = [
    ("nn.Identity(3, a=4)", normal(2, 3)),
    ("nn.Linear(4, 3)", normal(2, 5, 4)),
    ("nn.Linear(4, 3, bias=False)", normal(4)),
    ("nn.Bilinear(2, 3, 4)", normal(5, 6, 2), normal(5, 6, 3)),
    ("nn.Bilinear(2, 3, 4, bias=False)", normal(2), normal(3)),
    ("nn.Embedding(5, 4)", integers(5, 2, 3)),
    ("nn.RMSNorm(8)", normal(2, 8)),
    ("nn.RMSNorm(8, eps=0.1)", normal(2, 3, 8)),
    ("nn.LayerNorm(8)", normal(2, 3, 8)),
    ("nn.LayerNorm(8, eps=0.5, bias=False)", normal(2, 8)),
    ("nn.LayerNorm(8, affine=False)", normal(2, 8)),
    ("nn.GroupNorm(2, 6)", normal(2, 5, 6)),
    ("nn.GroupNorm(3, 6, pytorch_compatible=True)", normal(2, 3, 2, 6)),
    ("nn.GroupNorm(2, 6, affine=False)", normal(2, 6)),
    ("nn.InstanceNorm(4)", normal(2, 5, 4)),
    ("nn.InstanceNorm(4, affine=True)", normal(2, 3, 5, 4)),
    ("nn.BatchNorm(4)", normal(6, 4)),
    ("nn.BatchNorm(4, momentum=0.3)", normal(3, 2, 5, 4)),
    ("nn.BatchNorm(4, affine=False)", normal(3, 5, 4)),
    ("nn.BatchNorm(4, track_running_stats=False)", normal(6, 4)),
    ("nn.BatchNorm(4).eval()", normal(6, 4)),
    ("nn.RoPE(8)", normal(2, 3, 5, 8)),
    ("nn.RoPE(4, traditional=True, base=100, scale=0.5)", normal(2, 5, 8)),
    ("nn.SinusoidalPositionalEncoding(6)", normal(2, 3)),
    ("nn.SinusoidalPositionalEncoding(6, 0.1, 10, 1.0, cos_first=True, full_turns=True)", normal(4)),
    ("nn.SinusoidalPositionalEncoding(2)", normal(4)),
    ("nn.ALiBi()", normal(2, 6, 4, 5)),
    ("nn.Dropout(0)", normal(4)),
    ("nn.Dropout(0.5).eval()", normal(4)),
    ("nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))", normal(2, 3)),
    ("nn.MultiHeadAttention(8, 2)", normal(2, 3, 8), normal(2, 5, 8), normal(2, 5, 8)),
    (
        "nn.MultiHeadAttention(8, 2, 3, 5, 6, 10, 7, bias=True)",
        normal(2, 3, 3),
        normal(2, 5, 5),
        normal(2, 5, 6),
        normal(3, 5),
    ),
    ("nn.MultiHeadAttention(8, 2, key_input_dims=5)", normal(2, 3, 8), normal(2, 4, 5), normal(2, 4, 5)),
    ("nn.TransformerEncoderLayer(8, 2)", normal(2, 3, 8), normal(3, 3)),
    ("nn.TransformerEncoder(2, 8, 2, 12, norm_first=False)", normal(2, 3, 8), normal(3, 3)),
    ("nn.TransformerEncoder(2, 8, 2, checkpoint=True)", normal(2, 3, 8), normal(3, 3)),
    ("nn.TransformerDecoderLayer(8, 2)", normal(2, 3, 8), normal(2, 4, 8), normal(3, 3), normal(3, 4)),
    ("nn.TransformerDecoder(1, 8, 2, norm_first=False)", *[normal(2, 3, 8)] * 2, *[normal(3, 3)] * 2),
    (
        "nn.Transformer(8, 2, 1, 1, activation=nn.gelu)",
        normal(2, 3, 8),
        normal(2, 4, 8),
        normal(3, 3),
        normal(4, 4),
        normal(4, 3),
    ),
    ("nn.Conv1d(2, 4, 3)", normal(2, 7, 2)),
    ("nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False)", normal(2, 9, 4)),
    ("nn.Conv2d(2, 4, 3)", normal(2, 6, 7, 2)),
    ("nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(1, 0), dilation=2, groups=2, bias=False)", normal(1, 7, 8, 2)),
    ("nn.Conv3d(2, 3, 2, stride=2, padding=1)", normal(1, 4, 5, 3, 2)),
    ("nn.ConvTranspose1d(2, 4, 3, stride=2, padding=1, output_padding=1)", normal(2, 7, 2)),
    ("nn.ConvTranspose2d(2, 4, 3)", normal(2, 4, 5, 2)),
    ("nn.ConvTranspose2d(2, 4, (3, 2), (1, 2), (1, 0), 2, bias=False)", normal(1, 4, 5, 2)),
    ("nn.ConvTranspose3d(2, 3, 2)", normal(1, 3, 2, 3, 2)),
    ("nn.MaxPool1d(2)", normal(2, 7, 3)),
    ("nn.MaxPool1d((3,), 1, 1)", normal(2, 7, 3)),
    ("nn.AvgPool1d(3, stride=2, padding=1)", normal(2, 7, 3)),
    ("nn.MaxPool2d(2)", normal(2, 4, 6, 3)),
    ("nn.MaxPool2d([3, 2], stride=(2, 1), padding=1)", normal(2, 5, 6, 3)),
    ("nn.AvgPool2d(2, padding=1)", normal(2, 5, 6, 3)),
    ("nn.AvgPool2d((2, 3), 1, (1, 0))", normal(2, 5, 6, 3)),
    ("nn.MaxPool3d(2, (1, 2, 2), 1)", normal(1, 4, 3, 5, 2)),
    ("nn.AvgPool3d(2)", normal(1, 4, 2, 6, 2)),
    ("nn.RNN(3, 4)", normal(2, 5, 3)),
    ("nn.RNN(3, 4, bias=False, nonlinearity=nn.relu)", normal(5, 3), normal(4)),
    ("nn.GRU(3, 4)", normal(2, 5, 3)),
    ("nn.GRU(3, 4, bias=False)", normal(5, 3), normal(4)),
    ("nn.GRU(3, 4)", normal(2, 5, 3), normal(2, 4)),
    ("nn.LSTM(3, 4)", normal(2, 5, 3)),
    ("nn.LSTM(3, 4, bias=False)", normal(5, 3), normal(4), normal(4)),
    ("nn.PReLU(4, 0.1)", normal(2, 4)),
    ("nn.GELU('fast')", normal(9)),
    ("nn.GELU('tanh')", normal(9)),
    ("nn.ELU(2.0)", normal(9)),
    ("nn.CELU(2.0)", normal(9)),
    ("nn.LeakyReLU(0.2)", normal(9)),
    ("nn.HardShrink(0.3)", normal(9)),
    ("nn.Softshrink(0.3)", normal(9)),
    ("nn.GLU(0)", normal(4, 3)),
    ("nn.RNN(3, 4)", normal(5, 3), normal(2, 4)),
    ("nn.GRU(3, 4)", normal(2, 1, 3), normal(4)),
    ("nn.LSTM(3, 4)", normal(2, 5, 3), normal(2, 4), normal(2, 4)),
    ("nn.Upsample(2)", normal(1, 3, 4, 2)),
    ("nn.Upsample([1.3, 0.7])", normal(1, 5, 7, 2)),
    ("nn.Upsample((2, 1.5), mode='linear')", normal(1, 3, 4, 2)),
    ("nn.Upsample(2.5, 'linear', align_corners=True)", normal(1, 4, 2)),
    ("nn.Upsample(0.4, 'linear', antialias=True)", normal(1, 7, 5, 1)),
    ("nn.Upsample((2, 0.5), 'cubic')", normal(1, 5, 6, 2)),
    ("nn.Upsample(1.7, 'cubic', True)", normal(2, 5, 2)),
    ("nn.Upsample((1.5, 0.4), 'cubic', antialias=True)", normal(1, 4, 9, 2)),
    ("nn.AllToShardedLinear(4, 3)", normal(2, 4)),
    ("nn.ShardedToAllLinear(4, 3, bias=False)", normal(2, 4)),
    ("nn.FullyShardedModule(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)))", normal(2, 4)),
    ("nn.fully_shard(nn.Linear(4, 3))", normal(2, 4)),
]


def without_addresses(text):
    return "".join(part.split(" ")[0] if i else part for i, part in enumerate(text.split("<function ")))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0][3:])
def test_layer(oracle, case):
    source, *make_inputs = case
    inputs = inputs_of(make_inputs)
    ours, theirs = build(source)
    oracle.same(ours.parameters(), theirs.parameters())
    if "RNN" not in source:
        assert repr(ours) == repr(theirs)
    assert ours._no_grad == theirs._no_grad

    def run(nn, mx, layer, inputs):
        def loss(*inputs):
            y = layer(*inputs)
            leaves = [leaf for _, leaf in tree_flatten(y)]
            # Different weights for all elements, so that no symmetry hides a mistake.
            return sum((leaf * mx.cos(mx.arange(leaf.size).reshape(leaf.shape))).sum() for leaf in leaves), y

        floats = tuple(i for i, x in enumerate(inputs) if x.dtype == mx.float32)
        result = [loss(*inputs)]
        if floats:
            result.append(mx.grad(lambda *inputs: loss(*inputs)[0], argnums=floats)(*inputs))
        if tree_flatten(layer.trainable_parameters()):
            result.append(nn.value_and_grad(layer, loss)(*inputs))
        return result

    result = run(nn, mx, ours, inputs)
    oracle.same(result, run(apple_nn, oracle.core, theirs, oracle.give(inputs)), rtol=1e-4, atol=2e-5)
    # With the running statistics; the state may hold other things than arrays too.
    arrays = [{k: v for k, v in layer.items() if hasattr(v, "dtype")} for layer in (ours, theirs)]
    oracle.same(*arrays)


def build(source):
    """The same layer twice."""
    mx.random.seed(0)
    ours = eval(source, {"nn": nn})
    apple.random.seed(0)
    return ours, eval(source, {"nn": apple_nn})


def inputs_of(make_inputs):
    random = np.random.default_rng(0)
    return [mx.array(make(random)) for make in make_inputs]


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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0][3:])
def test_bfloat16(oracle, case):
    source, *make_inputs = case
    ours, theirs = build(source)
    ours.set_dtype(mx.bfloat16), theirs.set_dtype(apple.bfloat16)
    inputs = [x.astype(mx.bfloat16) if x.dtype == mx.float32 else x for x in inputs_of(make_inputs)]
    given = [oracle.give(x.astype(mx.float32)).astype(apple.bfloat16) if x.dtype == mx.bfloat16 else x for x in inputs]
    oracle.same(ours(*inputs), theirs(*oracle.give(given)), rtol=2e-2, atol=3e-2)


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


@pytest.mark.parametrize(
    "source",
    [
        "nn.Dropout(1)",
        "nn.Dropout(-0.1)",
        "nn.Dropout2d(1.5)",
        "nn.Dropout3d(1)",
        "nn.Dropout2d()(mx.ones((2, 2)))",
        "nn.Dropout3d()(mx.ones((2, 2, 2)))",
        "nn.GELU('other')",
        "nn.GLU()(mx.ones((2, 3)))",
        "nn.MultiHeadAttention(8, 3)",
        "nn.Conv1d(3, 4, 3, groups=2)",
        "nn.Conv2d(3, 4, 3, groups=2)",
        "nn.MaxPool1d((2, 3))",
        "nn.AvgPool1d(2.5)",
        "nn.MaxPool1d(2, 1, 1.5)",
        "nn.MaxPool1d(2, 'a')",
        "nn.AvgPool2d((2, 3, 4))",
        "nn.AvgPool2d(2, padding=None)",
        "nn.MaxPool2d(2)(mx.ones((4, 4)))",
        "nn.MaxPool2d(2)(mx.ones((1, 4, 4)))",
        "nn.RNN(3, 4, nonlinearity=5)",
        "nn.LSTM(3, 4)(mx.ones((2, 0, 3)))",
        "nn.Upsample(2, 'other')",
        "nn.Upsample(2, antialias=True)",
        "nn.Upsample(2, 'cubic', True, True)",
        "nn.Upsample('a')",
        "nn.Upsample(2)(mx.ones((2, 3)))",
        "nn.Upsample((2, 3))(mx.ones((2, 3, 3)))",
        "nn.Upsample(-1)(mx.ones((2, 3, 3)))",
        "nn.Upsample(0.1)(mx.ones((2, 3, 3)))",
        "nn.QuantizedShardedToAllLinear(64, 32, mode='mxfp4')",
        "nn.layers.distributed.shard_linear(nn.Linear(4, 3), 'other')",
        "nn.layers.distributed.shard_linear(nn.ReLU(), 'all-to-sharded')",
        "nn.layers.distributed.shard_inplace(nn.Linear(4, 3), 'other')",
        "nn.layers.distributed.shard_inplace(nn.Linear(4, 3), 'all-to-sharded', segments=2)",
        "nn.FullyShardedModule(nn.Linear(4, 3)).as_linear(mx.ones((2, 3)))",
        "nn.QQLinear(64, 32, mode='other')",
        "nn.QQLinear(63, 32).eval()",
        "nn.QQLinear.from_linear(nn.Linear(64, 32))",
        "nn.Linear(64, 32).to_quantized(quantize_input=True)",
        "nn.Embedding(64, 32).to_quantized(mode='nvfp4', quantize_input=True)",
        "nn.SinusoidalPositionalEncoding(5)",
        "nn.SinusoidalPositionalEncoding(0)",
        "nn.BatchNorm(4)(mx.ones((4,)))",
        "nn.BatchNorm(4)(mx.ones((1, 1, 1, 1, 4)))",
        "nn.BatchNorm(4)(mx.ones((1, 4)))",
        "nn.BatchNorm(4)(mx.ones((3, 3)))",
        "nn.GroupNorm(2, 4)(mx.ones((4,)))",
        "nn.InstanceNorm(4)(mx.ones((2, 4)))",
        "nn.LayerNorm(4)(mx.ones((2, 3)))",
        "nn.Linear(4, 2)(mx.ones((2, 3)))",
    ],
)
def test_errors(oracle, source):
    ours = oracle.error_of(lambda: eval(source, {"nn": nn, "mx": mx}))
    theirs = oracle.error_of(lambda: eval(source, {"nn": apple_nn, "mx": oracle.core}))
    assert issubclass(ours, theirs)


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
