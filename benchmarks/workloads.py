"""Time a few workloads: an ordinary MLX program, so that the same file measures Arrax and Apple's MLX.

    python benchmarks/workloads.py --json mlx.json                          # Apple's MLX
    python -m arrax run benchmarks/workloads.py --against mlx.json          # Arrax, with the ratio to the above

A time is the median of the calls that fit into `--seconds`, after a warm-up that builds what has to be built once.
Where NumPy has the operation, it is timed in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np


class Workload(NamedTuple):
    """A function whose result is evaluated, and NumPy's way to the same, where there is one."""

    function: Callable[[], Any]
    numpy: Callable[[], Any] | None = None


def normal(*shape: int, dtype: mx.Dtype = mx.float32) -> mx.array:
    """An evaluated array of standard normal numbers."""
    value = mx.random.normal(shape).astype(dtype)
    mx.eval(value)
    return value


# Each function below makes its inputs, so that only the workloads asked for take memory.


def gelu() -> Workload:
    x = normal(1 << 22)
    return Workload(partial(mx.compile(nn.gelu_approx), x))


def add() -> Workload:
    x, y = normal(1 << 22), normal(1 << 22)
    a, b = np.array(x), np.array(y)
    return Workload(lambda: x + y, lambda: a + b)


def softmax() -> Workload:
    x = normal(2048, 2048)
    a = np.array(x)

    def numpy() -> np.ndarray:
        e = np.exp(a - a.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    return Workload(lambda: mx.softmax(x, axis=-1), numpy)


def rms_norm() -> Workload:
    x, weight = normal(2048, 2048), normal(2048)
    return Workload(lambda: mx.fast.rms_norm(x, weight, 1e-5))


def layer_norm_by_hand() -> Workload:
    x = normal(2048, 2048)

    @mx.compile
    def layer_norm(x: mx.array) -> mx.array:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred * mx.rsqrt(mx.square(centred).mean(axis=-1, keepdims=True) + 1e-5)

    return Workload(partial(layer_norm, x))


def sort() -> Workload:
    x = normal(64, 65536)
    a = np.array(x)
    return Workload(lambda: mx.sort(x, axis=-1), lambda: np.sort(a, axis=-1))


def matmul() -> Workload:
    x, y = normal(1024, 1024), normal(1024, 1024)
    a, b = np.array(x), np.array(y)
    return Workload(lambda: x @ y, lambda: a @ b)


def matmul_bfloat16() -> Workload:
    x, y = normal(1024, 1024, dtype=mx.bfloat16), normal(1024, 1024, dtype=mx.bfloat16)
    return Workload(lambda: x @ y)


def decode_4bit() -> Workload:
    x = normal(1, 4096)
    weight, scales, biases = mx.quantize(normal(4096, 4096), group_size=64, bits=4)
    mx.eval(weight, scales, biases)
    return Workload(
        lambda: mx.quantized_matmul(x, weight, scales, biases, transpose=True, group_size=64, bits=4),
    )


def causal_attention() -> Workload:
    q, k, v = (normal(1, 8, 512, 64) for _ in range(3))
    return Workload(lambda: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.125, mask="causal"))


def train_mlp() -> Workload:
    model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 256))
    optimizer = optim.AdamW(learning_rate=1e-3)
    state = [model.state, optimizer.state]
    x, y = normal(256, 256), normal(256, 256)

    def loss(model: nn.Module, x: mx.array, y: mx.array) -> mx.array:
        return nn.losses.mse_loss(model(x), y)

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x: mx.array, y: mx.array) -> mx.array:
        value, gradients = nn.value_and_grad(model, loss)(model, x, y)
        optimizer.update(model, gradients)
        return value

    return Workload(lambda: (step(x, y), state))


def small_operations() -> Workload:
    x = normal(8)

    def chain() -> mx.array:
        y = x
        for _ in range(100):
            y = y * 0.5 + 1.0
        return y

    return Workload(chain)


def compiled_call() -> Workload:
    x = normal(8)
    return Workload(partial(mx.compile(lambda x: mx.tanh(x * 0.5 + 1.0)), x))


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "add, 4M float32": add,
    "compiled GELU, 4M float32": gelu,
    "softmax, 2048 x 2048": softmax,
    "fast.rms_norm, 2048 x 2048": rms_norm,
    "layer norm by hand, 2048 x 2048": layer_norm_by_hand,
    "sort, 64 x 65536": sort,
    "matmul, 1024, float32": matmul,
    "matmul, 1024, bfloat16": matmul_bfloat16,
    "4-bit decode, 1 x 4096 x 4096": decode_4bit,
    "causal attention, 8 x 512 x 64": causal_attention,
    "training step, MLP 256-512-256": train_mlp,
    "200 operations on 8 floats": small_operations,
    "compiled call on 8 floats": compiled_call,
}


def median_time(function: Callable[[], Any], seconds: float) -> float:
    """Median seconds of a call, out of at least 3 calls and as many as fit into `seconds`."""
    for _ in range(2):
        function()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main(arguments: list[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="workloads", description="Time a few workloads on this machine.")
    parser.add_argument("--only", default="", help="run the workloads whose name contains this")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each workload (default: 1)")
    parser.add_argument("--json", type=Path, help="write the milliseconds to this file")
    parser.add_argument("--against", type=Path, help="compare with the milliseconds in this file")
    options = parser.parse_args(arguments)
    chosen = {name: make for name, make in WORKLOADS.items() if options.only in name}
    if not chosen:
        parser.error(f"no workload's name contains {options.only!r}; there are: {'; '.join(WORKLOADS)}")
    other = json.loads(options.against.read_text()) if options.against else {}

    mx.random.seed(0)
    print(f"{mx.__name__} {mx.__version__} on {mx.default_device()}: milliseconds; a ratio below 1 is a win")
    heads = ["this", "NumPy", "ratio", *(["other", "ratio"] if other else [])]
    print(f"{'workload':<34}" + "".join(f"{head:>10}" for head in heads))
    results: dict[str, float] = {}
    for name, make in chosen.items():
        workload = make()
        mine = results[name] = 1000 * median_time(lambda: mx.eval(workload.function()), options.seconds)  # noqa: B023
        cells = [f"{mine:.3f}"]
        numpy = 1000 * median_time(workload.numpy, options.seconds) if workload.numpy else None
        for reference in [numpy, other.get(name)] if other else [numpy]:
            cells += ["", ""] if reference is None else [f"{reference:.3f}", f"{mine / reference:.2f}"]
        print(f"{name:<34}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
