"""Every optimizer against the same one of MLX: parameters and state after some steps."""

import re

import mlx.nn as apple_nn
import mlx.optimizers as apple_optim
import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn
import arrax.optimizers as optim
from arrax.runtime import executor
from arrax.utils import tree_flatten, tree_map, tree_unflatten

SOURCES = [
    "SGD(0.1)",
    "SGD(0.1, momentum=0.9)",
    "SGD(0.1, momentum=0.9, weight_decay=0.1, dampening=0.2)",
    "SGD(0.1, 0.9, nesterov=True)",
    "SGD(0.1, weight_decay=0.1)",
    "RMSprop(0.1)",
    "RMSprop(0.1, alpha=0.5, eps=0.1)",
    "Adagrad(0.1)",
    "AdaDelta(0.1)",
    "AdaDelta(0.1, rho=0.5, eps=0.1)",
    "Adam(0.1)",
    "Adam(0.1, betas=(0.5, 0.8), eps=0.1, bias_correction=True)",
    "AdamW(0.1)",
    "AdamW(0.1, weight_decay=0.3, bias_correction=True)",
    "Adamax(0.1)",
    "Lion(0.1)",
    "Lion(0.1, betas=[0.9, 0.1], weight_decay=0.1)",
    "Adafactor()",
    "Adafactor(0.1, relative_step=False, beta_1=0.9, weight_decay=0.1)",
    "Adafactor(0.1, relative_step=False, scale_parameter=False, clip_threshold=0.5, decay_rate=-0.3)",
    "Adafactor(warmup_init=True)",
    "Muon(0.1)",
    "Muon(0.1, momentum=0.5, weight_decay=0.0, nesterov=False, ns_steps=3)",
]


EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def build(source, module):
    return eval(f"optim.{source}", {"optim": module})


def random_tree(seed, dtype=mx.float32):
    random = np.random.default_rng(seed)
    shapes = {"a": (3, 2), "l": [(2,), {"deep": (2, 2, 3)}], "s": (2, 5)}
    return tree_map(
        lambda shape: mx.array(random.standard_normal(shape).astype(np.float32)).astype(dtype),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


@pytest.mark.parametrize("source", SOURCES)
def test_steps(oracle, source):
    ours, theirs = build(source, optim), build(source, apple_optim)
    oracle.same(ours.state, theirs.state)
    parameters = random_tree(0)
    expected = oracle.give(parameters)
    for step in range(3):
        gradients = random_tree(step + 1)
        parameters = ours.apply_gradients(gradients, parameters)
        expected = theirs.apply_gradients(oracle.give(gradients), expected)
    tolerance = 1e-4 if "Muon" in source else 1e-5
    oracle.same(parameters, expected, rtol=tolerance, atol=tolerance / 10)
    oracle.same(ours.state, theirs.state, rtol=tolerance)
    hyperparameters = {k: v for k, v in vars(ours).items() if k not in ("_state", "_schedulers")}
    assert hyperparameters == {k: v for k, v in vars(theirs).items() if k not in ("_state", "_schedulers")}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("source", SOURCES)
def test_half_precision(oracle, source, dtype):
    if dtype == "float16" and "eps" not in source and "bias_correction" in source:
        source = source.replace(")", ", eps=1e-3)")
    ours, theirs = build(source, optim), build(source, apple_optim)
    parameters, gradients = random_tree(0), random_tree(1)

    def run(optimizer, tree_of, core):
        cast = tree_map(lambda x: x.astype(getattr(core, dtype)), [tree_of(parameters), tree_of(gradients)])
        return optimizer.apply_gradients(cast[1], cast[0])

    found, expected = run(ours, lambda x: x, mx), run(theirs, oracle.give, oracle.core)
    # to the bit, but for means and products, which are added up in another order
    rtol = 8 * EPSILON[dtype] if source.startswith(("Adafactor", "Muon")) else 0
    atol = EPSILON[dtype] / 2 if source.startswith("Muon") else 0
    oracle.same(found, expected, rtol=rtol, atol=atol)
    oracle.same(ours.state, theirs.state, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    "source",
    [
        "SGD(0.1, nesterov=True)",
        "SGD(0.1, nesterov=True, momentum=0.9, dampening=0.1)",
        "SGD('a')",
        "SGD(None)",
        "RMSprop(0.1, alpha=-1.0)",
        "RMSprop(0.1, eps=-1.0)",
        "RMSprop(0.1, eps=0.0)",
        "Adagrad(0.1, eps=-1)",
        "Adagrad(0.1, eps=0)",
        "AdaDelta(0.1, eps=0.0)",
        "clip_grad_norm({}, -1)",
        "step_decay(0.1, 0.5, 0)",
        "AdaDelta(0.1, rho=-1)",
        "AdaDelta(0.1, eps=-1)",
        "Adam(0.1, betas=(2, 0.1))",
        "Adam(0.1, betas=[0.5, 1.0])",
        "Adam(0.1, eps=-1)",
        "Adamax(0.1, betas=(2, 3))",
        "Adamax(0.1, eps=-1)",
        "Lion(0.1, betas=(2, 3))",
        "MultiOptimizer([optim.SGD(0.1), optim.SGD(0.1)])",
        "MultiOptimizer([optim.SGD(0.1)], [lambda *_: True])",
        "Optimizer().apply_gradients({'a': 1}, {'a': 1})",
        "cosine_decay(0.1, 0)",
        "linear_schedule(0, 0.1, 0)",
        "join_schedules([], [])",
        "join_schedules([lambda x: x], [1])",
    ],
)
def test_errors(oracle, source):
    ours = oracle.error_of(lambda: build(source, optim))
    assert issubclass(ours, oracle.error_of(lambda: build(source, apple_optim)))


@pytest.mark.parametrize(
    "source", ["RMSprop(0.1, eps=0.0)", "AdaDelta(0.1, rho=-1)", "Adam(0.1, eps=-1)", "Lion(0.1, betas=(2, 3))"]
)
def test_errors_write_conditions_as_mlx_does(source):
    conditions = []
    for module in (optim, apple_optim):
        with pytest.raises(ValueError) as info:
            build(source, module)
        conditions.append(re.search(r">=?0|in \[0, 1\)", str(info.value))[0])
    assert conditions[0] == conditions[1]


def test_the_base_class_asks_for_its_rule():
    class NoRule(optim.Optimizer):
        def init_single(self, parameter, state):
            state["v"] = parameter

    with pytest.raises(NotImplementedError, match="apply_single"):
        NoRule().apply_gradients({"a": mx.ones((1,))}, {"a": mx.ones((1,))})
    with pytest.raises(NotImplementedError, match="init_single"):
        optim.Optimizer().init({"a": mx.ones((1,))})


def test_state_grows_and_continues(oracle):
    def run(optim, core, tree_of):
        parameters, gradients = tree_of(random_tree(0)), tree_of(random_tree(1))
        first = optim.Adam(0.1)
        first.apply_gradients({"a": gradients["a"]}, parameters)
        first.init(parameters)
        assert list(first.state) == ["step", "learning_rate", "a", "l", "s"]
        first.apply_gradients(gradients, parameters)
        second = optim.Adam(0.5)
        second.state = first.state
        assert second.state is first.state
        result = second.apply_gradients(gradients, parameters)
        return result, second.state, second.learning_rate, second.step

    oracle.same(run(optim, mx, lambda x: x), run(apple_optim, oracle.core, oracle.give))


def test_a_new_state_is_completed():
    optimizer = optim.Adam(0.1)
    parameters = random_tree(0)
    optimizer.init(parameters)
    optimizer.state = {"step": mx.array(7, mx.uint64), "learning_rate": mx.array(0.1)}
    optimizer.apply_gradients({"s": random_tree(1)["s"]}, parameters)
    assert list(optimizer.state) == ["step", "learning_rate", "s"] and optimizer.step.item() == 8


def test_part_of_the_gradients():
    optimizer = optim.Adam(0.1)
    parameters = random_tree(0)
    optimizer.init(parameters)
    assert list(optimizer.apply_gradients({"s": random_tree(1)["s"]}, parameters)) == ["s"]
    with pytest.raises(KeyError):
        optimizer.apply_gradients({"z": mx.ones((1,))}, {"z": mx.ones((1,))})


def test_learning_rate(oracle):
    def run(optim):
        optimizer = optim.SGD(lambda step: (step + 1) * 0.1)
        rates = [optimizer.learning_rate]
        for _ in range(2):
            optimizer.update({}, {})
            rates.append(optimizer.learning_rate)
        optimizer.learning_rate = 0.7
        rates.append(optimizer.learning_rate)
        optimizer.update({}, {})
        return [*rates, optimizer.learning_rate, optimizer.step]

    oracle.same(run(optim), run(apple_optim))


def test_a_schedule_may_return_a_number():
    optimizer = optim.SGD(lambda step: 0.5)
    new = optimizer.apply_gradients({"a": mx.ones((1,))}, {"a": mx.ones((1,))})
    assert new["a"].item() == 0.5


def test_scheduled_hyperparameters_of_subclasses():
    class Warm(optim.SGD):
        def __init__(self):
            super().__init__(0.1)
            self._maybe_schedule("warmth", lambda step: step + 1)

    optimizer = Warm()
    optimizer.update({}, {})
    optimizer.update({}, {})
    assert optimizer.state["warmth"].item() == 2
    by_name = optim.Optimizer({"heat": lambda step: step * 2})
    assert list(by_name.state) == ["step"]
    by_name.update({}, {})
    by_name.update({}, {})
    assert by_name.state["heat"].item() == 2


def test_multi_optimizer(oracle):
    def run(optim, tree_of):
        first, second = optim.SGD(0.1), optim.Adam(0.2)
        optimizer = optim.MultiOptimizer([first, second], [lambda path, x: x.ndim == 2])
        parameters, gradients = tree_of(random_tree(0)), tree_of(random_tree(1))
        optimizer.init(parameters)
        result = [optimizer.apply_gradients(gradients, parameters), optimizer.state, optimizer.learning_rate]
        optimizer.learning_rate = 0.7
        result += [first.learning_rate, second.learning_rate]
        optimizer.state = {"states": [second.state, first.state]}
        result += [first.state, second.state]
        for wrong in ({}, {"states": [{}]}):
            with pytest.raises(ValueError):
                optimizer.state = wrong
        return result

    oracle.same(run(optim, lambda x: x), run(apple_optim, oracle.give))


def test_training_a_network(oracle):
    def build_model(nn):
        return nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.BatchNorm(8), nn.Linear(8, 4))

    def train(model, nn, optim, x, classes):
        optimizer = optim.AdamW(optim.cosine_decay(0.05, 20), weight_decay=0.1)
        model.layers[0].freeze(keys="bias")
        step = nn.value_and_grad(model, lambda x, t: nn.losses.cross_entropy(model(x), t, reduction="mean"))
        losses = []
        for _ in range(6):
            loss, gradients = step(x, classes)
            gradients, norm = optim.clip_grad_norm(gradients, 0.5)
            optimizer.update(model, gradients)
            losses += [loss, norm]
        return losses, model.parameters(), optimizer.state

    ours, theirs = build_model(nn), build_model(apple_nn)
    oracle.copy_weights(ours, theirs)
    x = mx.array(np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32))
    classes = mx.array([0, 1, 2, 3] * 4)
    result = train(ours, nn, optim, x, classes)
    assert result[0][-2].item() < result[0][0].item()
    expected = train(theirs, apple_nn, apple_optim, oracle.give(x), oracle.give(classes))
    oracle.same(result, expected, rtol=1e-3, atol=1e-4)


SCHEDULES = [
    "optim.exponential_decay(0.1, 0.9)",
    "optim.step_decay(0.1, 0.9, 10)",
    "optim.cosine_decay(0.1, 10)",
    "optim.cosine_decay(0.1, 10, end=0.01)",
    "optim.linear_schedule(0, 0.1, 10)",
    "optim.linear_schedule(0.1, 0.5, steps=7)",
    "optim.join_schedules([optim.linear_schedule(0, 0.1, 10), optim.cosine_decay(0.1, 20)], [10])",
    "optim.join_schedules([optim.step_decay(0.1, 0.5, 3)] * 3, [5, 12])",
]


@pytest.mark.parametrize("source", SCHEDULES)
def test_schedule(oracle, source):
    ours, theirs = eval(source, {"optim": optim}), eval(source, {"optim": apple_optim})
    for step in (0, 1, 5, 10, 11, 20, 100):
        result = ours(mx.array(step, mx.uint64)), ours(step)
        expected = theirs(oracle.core.array(step, oracle.core.uint64)), theirs(step)
        for x, y in zip(result, expected, strict=True):
            assert isinstance(x, mx.array) == isinstance(y, oracle.core.array)
            assert float(x) == pytest.approx(float(y), rel=1e-5, abs=1e-8)


def test_schedule_in_an_optimizer(oracle):
    def run(optim):
        optimizer = optim.Adam(
            optim.join_schedules([optim.linear_schedule(0, 0.1, 3), optim.cosine_decay(0.1, 5)], [3])
        )
        rates = [optimizer.learning_rate]
        for _ in range(10):
            optimizer.update({}, {})
            rates.append(optimizer.learning_rate)
        return rates

    oracle.same(run(optim), run(apple_optim))


@pytest.mark.parametrize(
    "gradients",
    [
        {"w": mx.array([3.0, 4.0]), "b": [mx.array([12.0])]},
        {"w": mx.array([2, 3]), "b": mx.array([1])},
        {"w": mx.array([300.0, 400.0], mx.float16)},
        {"w": mx.zeros((2,))},
        {},
    ],
    ids=["float", "integer", "half", "zero", "empty"],
)
@pytest.mark.parametrize("max_norm", [1.0, 6.5, 100])
def test_clip_grad_norm(oracle, gradients, max_norm):
    ours = optim.clip_grad_norm(gradients, max_norm)
    oracle.same(
        ours, apple_optim.clip_grad_norm(oracle.give(gradients), max_norm), rtol=1e-3 if "b" not in gradients else 1e-5
    )


def test_update_changes_the_model():
    model = nn.Linear(2, 1)
    before = tree_flatten(model.parameters(), destination={})
    optimizer = optim.SGD(0.5)
    assert optimizer.update(model, {"weight": mx.ones((1, 2))}) is None
    np.testing.assert_allclose(np.array(model.weight), np.array(before["weight"]) - 0.5, rtol=1e-6)
    assert model.bias is before["bias"]


@pytest.mark.parametrize("source", SOURCES)
def test_compiled_steps(oracle, monkeypatch, source):
    monkeypatch.setattr(executor, "SMALL", 0)
    ours, theirs = build(source, optim), build(source, apple_optim)
    parameters = random_tree(0)
    expected = oracle.give(parameters)
    ours.init(parameters)
    step = mx.compile(ours.apply_gradients, inputs=ours.state, outputs=ours.state)
    for i in range(3):
        gradients = random_tree(i + 1)
        parameters = step(gradients, parameters)
        expected = theirs.apply_gradients(oracle.give(gradients), expected)
    tolerance = 1e-4 if "Muon" in source else 1e-5
    oracle.same(parameters, expected, rtol=tolerance, atol=tolerance / 10)
    oracle.same(ours.state, theirs.state, rtol=tolerance)


MULTI = "MultiOptimizer([optim.Adam(0.1), optim.SGD(0.1, momentum=0.5)], [lambda path, x: x.ndim > 1])"


@pytest.mark.parametrize("source", ["Adam(optim.cosine_decay(0.1, 5))", "Adafactor()", "Muon(0.1)", MULTI])
def test_state_and_weights_travel_through_files(oracle, tmp_path, source):
    """What one of the two saves, the other loads, and continues in the same way."""
    start, gradients = random_tree(0), random_tree(1)

    def begin(optim, core, tree_of, path):
        optimizer = build(source, optim)
        parameters = optimizer.apply_gradients(tree_of(gradients), tree_of(start))
        core.save_safetensors(
            str(path), tree_flatten({"weights": parameters, "state": optimizer.state}, destination={})
        )

    def go_on(optim, core, tree_of, path):
        loaded = tree_unflatten(list(core.load(str(path)).items()))
        optimizer = build(source, optim)
        optimizer.init(loaded["weights"])
        optimizer.state = loaded["state"]
        return optimizer.apply_gradients(tree_of(gradients), loaded["weights"]), optimizer.state

    ours, theirs = (optim, mx, lambda x: x), (apple_optim, oracle.core, oracle.give)
    begin(*ours, tmp_path / "ours.safetensors")
    begin(*theirs, tmp_path / "theirs.safetensors")
    results = [go_on(*ours, tmp_path / "theirs.safetensors"), go_on(*ours, tmp_path / "ours.safetensors")]
    expected = [go_on(*theirs, tmp_path / "ours.safetensors"), go_on(*theirs, tmp_path / "theirs.safetensors")]
    oracle.same(results, expected, rtol=1e-4, atol=1e-5)
