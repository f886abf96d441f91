"""Every optimizer in every mode against MLX's: five steps, in three types, compiled and not, interrupted and not."""

from __future__ import annotations

import inspect
from typing import Any

import mlx.core as apple
import mlx.optimizers as apple_optim
import pytest
from tests.optimizers.test_optimizers import MULTI, SCHEDULES, SOURCES, random_tree

import arrax.core as mx
import arrax.optimizers as optim
from arrax.compiler.kernel import format_kernel
from arrax.runtime import cpu, executor, plans
from arrax.utils import tree_flatten, tree_map, tree_unflatten

STEPS = 5
SCHEDULED = "optim.join_schedules([optim.linear_schedule(1e-3, 0.1, 2), optim.cosine_decay(0.1, 4)], [2])"
MORE = [
    "SGD(0.1, momentum=0.5, dampening=0.5)",
    "SGD(0.1, momentum=0.9, weight_decay=0.1, nesterov=True)",
    "SGD(mx.array(0.1))",
    "RMSprop(0.1, alpha=0.0)",
    "Adagrad(0.1, eps=0.1)",
    "AdaDelta(1.0, rho=0.0)",
    "Adam(0.1, betas=[0.0, 0.0], eps=1e-3)",
    "Adam(0.1, bias_correction=True)",
    "AdamW(0.1, betas=(0.5, 0.8), eps=0.1, weight_decay=0.0)",
    "AdamW(0.1, weight_decay=0.5)",
    "Adamax(0.1, betas=(0.5, 0.8), eps=0.1)",
    "Lion(0.1, betas=(0.0, 0.5))",
    "Adafactor(eps=(1e-8, 0.1))",
    "Adafactor(scale_parameter=False, warmup_init=True, beta_1=0.5)",
    "Adafactor(0.1, relative_step=False, weight_decay=0.5, decay_rate=-0.5)",
    "Muon(0.1, weight_decay=0.5, ns_steps=1)",
    "Muon(0.1, momentum=0.0)",
    MULTI,
    *(
        f"{name}({SCHEDULED})"
        for name in ("SGD", "RMSprop", "Adagrad", "AdaDelta", "Adam", "AdamW", "Adamax", "Lion", "Muon")
    ),
    f"Adafactor({SCHEDULED}, relative_step=False)",
]
ALL = [*SOURCES, *MORE]
every_optimizer = pytest.mark.parametrize("source", ALL)


def test_all_optimizers_and_schedules_are_here() -> None:
    public = {n for n, c in vars(apple_optim).items() if inspect.isclass(c) and issubclass(c, apple_optim.Optimizer)}
    assert {source.split("(")[0] for source in ALL} == public - {"Optimizer"}
    schedules = {n for n, f in vars(apple_optim.schedulers).items() if inspect.isfunction(f)}
    schedules = {n for n in schedules if getattr(apple_optim.schedulers, n).__module__.endswith("schedulers")}
    assert {name for name in schedules if f"optim.{name}(" in " ".join(SCHEDULES)} == schedules


def make(source: str, optim: Any, core: Any) -> Any:
    return eval(f"optim.{source}", {"optim": optim, "mx": core})


def trees(core: Any, give: Any, dtype: str, count: int) -> list[Any]:
    """Parameters and gradients of some steps."""
    return [tree_map(lambda x: x.astype(getattr(core, dtype)), give(random_tree(seed))) for seed in range(count)]


def steps(optimizer: Any, given: list[Any], parameters: Any, function: Any = None) -> Any:
    for gradients in given:
        parameters = (function or optimizer.apply_gradients)(gradients, parameters)
    return parameters


def tolerance(source: str, dtype: str) -> float:
    # Muon's matrices are multiplied five times in each step; MLX multiplies in half precision.
    if "Muon" in source:
        return {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}[dtype]
    if dtype == "float32":
        return 1e-5
    if "Adafactor" in source:  # means, which are added up in another order
        return {"bfloat16": 1e-2, "float16": 2e-3}[dtype]
    return 0


MODES = [
    pytest.param(dtype, compiled, id=f"{dtype}-{'compiled' if compiled else 'plain'}", marks=marks)
    for dtype, compiled, marks in (
        ("float32", False, pytest.mark.slow),  # tests/optimizers/test_optimizers.py has three such steps
        ("float32", True, ()),
        ("bfloat16", True, ()),
        ("bfloat16", False, pytest.mark.slow),
        ("float16", True, pytest.mark.slow),
        ("float16", False, pytest.mark.slow),
    )
]


@pytest.mark.parametrize(("dtype", "compiled"), MODES)
@every_optimizer
def test_five_steps(oracle, monkeypatch, source, dtype, compiled):
    monkeypatch.setattr(executor, "SMALL", 0)
    ours, theirs = make(source, optim, mx), make(source, apple_optim, apple)
    if dtype == "float16" and getattr(ours, "eps", 1) == 1e-8:
        ours.eps = theirs.eps = 1e-3  # the default is zero in this type
    parameters, *gradients = trees(mx, lambda x: x, dtype, STEPS + 1)
    their_parameters, *their_gradients = trees(apple, oracle.give, dtype, STEPS + 1)
    exact = None
    if dtype != "float32":
        wide = make(source, apple_optim, apple)
        if hasattr(wide, "eps"):
            wide.eps = theirs.eps
        wide_gradients, wide_parameters = tree_map(
            lambda x: x.astype(apple.float32), (their_gradients, their_parameters)
        )
        result = steps(wide, wide_gradients, wide_parameters)
        exact = [result, wide.state]
    if compiled:
        ours.init(parameters)
        function = mx.compile(ours.apply_gradients, inputs=ours.state, outputs=ours.state)
        parameters = steps(ours, gradients, parameters, function)
    else:
        parameters = steps(ours, gradients, parameters)
    expected = [steps(theirs, their_gradients, their_parameters), theirs.state]
    oracle.close([parameters, ours.state], expected, tolerance(source, dtype), exact)


@every_optimizer
def test_interrupted(tmp_path, source):
    """Saving after two steps and going on is the same as not stopping, to the last bit."""
    parameters, *gradients = trees(mx, lambda x: x, "float32", STEPS + 1)
    straight = make(source, optim, mx)
    expected = steps(straight, gradients, parameters)

    first = make(source, optim, mx)
    halfway = steps(first, gradients[:2], parameters)
    path = str(tmp_path / "state.safetensors")
    mx.save_safetensors(path, tree_flatten({"parameters": halfway, "state": first.state}, destination={}))
    loaded = tree_unflatten(list(mx.load(path).items()))
    second = make(source, optim, mx)
    second.init(loaded["parameters"])
    second.state = loaded["state"]
    result = steps(second, gradients[2:], loaded["parameters"])
    for x, y in zip(tree_flatten([result, second.state]), tree_flatten([expected, straight.state]), strict=True):
        assert x[0] == y[0] and x[1].dtype == y[1].dtype and mx.array_equal(x[1], y[1]), x[0]


@pytest.mark.parametrize("source", ["SGD(0.1, 0.9)", "Adam(0.1)", "Adafactor()", "Muon(0.1)"])
@pytest.mark.parametrize("shape", [(), (0,), (1, 1), (4, 2, 3, 3)], ids=str)
def test_shapes(oracle, source, shape):
    ours, theirs = make(source, optim, mx), make(source, apple_optim, apple)
    parameters = {"x": mx.cos(mx.arange(mx.zeros(shape).size)).reshape(shape)}
    gradients = {"x": mx.sin(parameters["x"] * 3)}
    expected = theirs.apply_gradients(oracle.give(gradients), oracle.give(parameters))
    oracle.close(ours.apply_gradients(gradients, parameters), expected, tolerance(source, "float32"))


@pytest.mark.parametrize("source", SCHEDULES)
def test_schedules_beyond_their_ends(source):
    """Negative, fractional and very late steps, compiled and not."""
    ours, theirs = eval(source, {"optim": optim}), eval(source, {"optim": apple_optim})
    for step in (-3, 0, 0.5, 9.999, 10, 1000, 10**6):
        x, y = ours(mx.array(step)), theirs(apple.array(step))
        assert x.item() == pytest.approx(y.item(), rel=1e-5, abs=1e-9)
        assert str(x.dtype).split(".")[-1] == str(y.dtype).split(".")[-1]
        assert mx.compile(ours)(mx.array(step)).item() == pytest.approx(y.item(), rel=1e-5, abs=1e-9)


# How many different kernels an update of many parameters consists of; Muon's differ with the order of the factors.
KERNELS = {"SGD(0.1)": 2, "SGD(0.1, 0.9)": 2, "Adam(0.1)": 2, "AdamW(0.1)": 2, "Lion(0.1)": 3, "Muon(0.1)": 12}


@pytest.mark.parametrize(("source", "most"), KERNELS.items())
def test_an_update_is_a_handful_of_kernels(monkeypatch, source, most):
    """Twenty parameters of four shapes: a kernel serves all of them, and only the sizes differ."""
    texts = []

    def spied(kernel):
        texts.append(format_kernel(kernel))
        return texts[-1]

    shapes = [(64, 64), (64,), (128, 64), (64, 128)] * 5
    parameters = {f"p{i}": mx.ones(shape) for i, shape in enumerate(shapes)}
    gradients = tree_map(lambda x: x * 0.5, parameters)
    optimizer = make(source, optim, mx)
    optimizer.init(parameters)
    mx.eval(parameters, gradients, optimizer.state)
    step = mx.compile(optimizer.apply_gradients, inputs=optimizer.state, outputs=optimizer.state)
    # Without the plans that other tests have made.
    monkeypatch.setattr(plans, "_plans", type(plans._plans)())
    monkeypatch.setattr(cpu, "format_kernel", spied)
    mx.eval(step(gradients, parameters), optimizer.state)
    assert 0 < len(set(texts)) <= most
