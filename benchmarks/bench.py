"""Measure what Arrax itself costs: recording, planning, compiling, calling, memory. One figure a line.

    python -m arrax bench                       # all of it: about five minutes
    python -m arrax bench import call           # these two
    python -m arrax bench --json figures.json   # as JSON too

Each benchmark runs in a process of its own. Figures are medians; run them on a machine that does nothing else.

How long programs take is what `workloads.py` measures (the benchmark `workloads` here), beside NumPy. It is an ordinary
MLX program, and so it times any package with MLX's API. To compare with Apple's, run the file with an interpreter that
has `mlx`, and hand over what it found:

    python benchmarks/workloads.py --json mlx.json
    python -m arrax run benchmarks/workloads.py --against mlx.json

A fair comparison takes turns on one quiet machine, round after round, and gives each side the same number of threads
(ARRAX_THREADS, OMP_NUM_THREADS).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import arrax
import arrax.core as mx
import arrax.nn as nn
import arrax.optimizers as optim
from arrax.compiler.pipeline import build
from arrax.graph.template import inlined, needed
from arrax.runtime import threads
from arrax.transforms import trees

HERE = Path(__file__).resolve()


class Figure(NamedTuple):
    """One measurement: what, how much, of what unit, and the most that it should be (None: no bound)."""

    what: str
    value: float
    unit: str
    budget: float | None = None


def median(function: Callable[[], Any], seconds: float = 1.0, inner: int = 1) -> float:
    """Median seconds of one of ``inner`` calls, over as many rounds as fit into ``seconds`` (at least 5)."""
    function()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(inner):
            function()
        times.append((time.perf_counter() - begin) / inner)
    return statistics.median(times)


def resident() -> int:
    """Bytes of memory that the process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_resident() -> int:
    """The most bytes of memory that the process ever had."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def normal(*shape: int) -> mx.array:
    """An evaluated array of standard normal numbers."""
    value = mx.random.normal(shape)
    mx.eval(value)
    return value


# --- the cost of an operation -----------------------------------------------------------------------------------------
def op() -> list[Figure]:
    """Recording an operation, and evaluating it in a graph whose plan is known."""
    x, many = normal(300), 200

    def record() -> mx.array:
        y = x
        for _ in range(many // 2):
            y = y * x + x
        return y

    recording = median(record) / many
    both = median(lambda: mx.eval(record())) / many
    return [
        Figure("record an operation", 1e6 * recording, "µs", 2),
        Figure("find the plan of a known graph and run it, per node", 1e6 * (both - recording), "µs", 1.5),
    ]


def small() -> list[Figure]:
    """One operation on few elements, evaluated at once: by NumPy below 64 elements, by a kernel from there on."""
    result = []
    for n in (8, 1000):
        x, y = normal(n), normal(n)
        result.append(Figure(f"x + y of {n} floats, evaluated", 1e6 * median(lambda: mx.eval(x + y), inner=50), "µs"))  # noqa: B023
    a, b = np.ones(1000, np.float32), np.ones(1000, np.float32)
    return [*result, Figure("the same of 1000 in NumPy", 1e6 * median(lambda: a + b, inner=50), "µs")]


def call() -> list[Figure]:
    """Calling a compiled function and evaluating its results, on few elements."""
    x = normal(100)
    one = mx.compile(lambda x: mx.tanh(x * 0.5 + 1.0))
    ten = mx.compile(lambda x: [x * float(i) + 1.0 for i in range(10)])
    first = 1e6 * median(lambda: mx.eval(one(x)), inner=50)
    second = 1e6 * median(lambda: mx.eval(ten(x)), inner=20)
    return [
        Figure("compiled call, one output", first, "µs", 16),
        Figure("compiled call, ten outputs", second, "µs", 25),
        Figure("each further output", (second - first) / 9, "µs", 1),
    ]


# --- the cost of the first time ---------------------------------------------------------------------------------------
def gelu(x: mx.array) -> mx.array:
    return 0.5 * x * (1 + mx.tanh(0.79788456 * (x + 0.044715 * x * x * x)))


def layer_norm(x: mx.array) -> mx.array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * mx.rsqrt(mx.square(centred).mean(axis=-1, keepdims=True) + 1e-5)


KERNELS: dict[str, Callable[[mx.array], mx.array]] = {
    "add": lambda x: x + x,
    "GELU": gelu,
    "softmax": lambda x: mx.softmax(x, axis=-1),
    "layer norm": layer_norm,
    "gradient of softmax": mx.grad(lambda x: mx.square(mx.softmax(x, axis=-1)).sum()),
}


def first_calls() -> dict[str, float]:
    """Seconds of the first evaluation of each kernel in this process."""
    x = normal(64, 128)
    mx.eval(mx.abs(x))  # starts LLVM and the threads
    found = {}
    for name, f in KERNELS.items():
        begin = time.perf_counter()
        mx.eval(f(x))
        found[name] = time.perf_counter() - begin
    return found


def cold() -> list[Figure]:
    """The first call of a kernel: with an empty cache on disk, then in a new process that finds it there."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [json.loads(again("first_calls", ARRAX_CACHE=folder)) for _ in range(2)]
    return [
        Figure(f"first call of {name}, {how}", 1e3 * seconds, "ms")
        for how, run in zip(("nothing cached", "code on disk"), runs, strict=True)
        for name, seconds in run.items()
    ]


def importing() -> list[Figure]:
    """Importing the package in a new process, the start of Python itself not counted."""

    def start(code: str) -> float:
        return median(partial(subprocess.run, [sys.executable, "-c", code], check=True), 3)

    bare = start("pass")
    return [
        Figure("import arrax.core", start("import arrax.core") - bare, "s", 0.25),
        Figure("of which NumPy and llvmlite", start("import numpy, ml_dtypes, llvmlite.binding") - bare, "s"),
    ]


def plan() -> list[Figure]:
    """Making a plan (simplifying, scheduling, lowering to kernel IR) for graphs that were never seen, LLVM aside."""

    def chain() -> Any:
        y = normal(300)
        for i in range(250):
            y = mx.sin(y) * float(i)
        return y

    def step() -> Any:
        model = nn.TransformerEncoder(4, 64, 4)
        x = normal(2, 32, 64)
        mx.eval(model.parameters())
        return nn.value_and_grad(model, lambda m, x: mx.square(m(x, None)).mean())(model, x)

    result = []
    for name, make in {"a chain of 500 operations": chain, "a transformer's gradient": step}.items():
        outputs = inlined([a._node for a in trees.arrays(make())])[0]
        order = needed(outputs)
        wanted = [n for n in dict.fromkeys(outputs) if n.buffer is None]
        seconds = median(partial(build, order, wanted), 2)
        result.append(Figure(f"plan {name}, per node ({len(order)})", 1e6 * seconds / len(order), "µs", 100))
    return result


# --- memory -----------------------------------------------------------------------------------------------------------
def peak() -> list[Figure]:
    """50 pointwise operations on one array of 256 MB."""
    size = 256 << 20
    x = mx.ones((size // 4,)) * 0.5
    mx.eval(x)
    mx.reset_peak_memory()
    y = x
    for i in range(25):
        y = mx.tanh(y) * float(i)
    mx.eval(y)
    return [
        Figure("50 operations on 256 MB: most memory, the input included", mx.get_peak_memory() / size, "arrays", 2.1)
    ]


def growth() -> list[Figure]:
    """Evaluating a small graph a million times."""
    x, n = normal(300), 1_000_000
    for i in range(10_000):
        mx.eval(mx.sin(x * float(i)))
    gc.collect()
    before, active = resident(), mx.get_active_memory()
    begin = time.perf_counter()
    for i in range(n):
        mx.eval(mx.sin(x * float(i)))
    seconds = time.perf_counter() - begin
    gc.collect()
    return [
        Figure("RSS after 1,000,000 evaluations more", (resident() - before) / 2**20, "MB", 1),
        Figure("arrays alive after them", mx.get_active_memory() - active, "bytes", 0),
        Figure("each evaluation (record two operations, run a kernel)", 1e6 * seconds / n, "µs"),
    ]


def training() -> list[Figure]:
    """Training a transformer of 6.6 million parameters on batches of 8 x 128: the process's peak, and its speed."""
    base = resident()
    words, width, batch, length = 256, 256, 8, 128

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(words, width)
            self.body = nn.TransformerEncoder(8, width, 4, mlp_dims=4 * width, norm_first=True)
            self.head = nn.Linear(width, words)

        def __call__(self, x: mx.array) -> mx.array:
            mask = nn.MultiHeadAttention.create_additive_causal_mask(x.shape[1])
            return self.head(self.body(self.embedding(x), mask))

    model = Model()
    optimizer = optim.AdamW(learning_rate=1e-3)
    mx.eval(model.parameters())
    weights = sum(a.nbytes for a in trees.arrays(model.parameters()))
    state = [model.state, optimizer.state]

    def loss(model: Model, x: mx.array, y: mx.array) -> mx.array:
        return nn.losses.cross_entropy(model(x), y, reduction="mean")

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x: mx.array, y: mx.array) -> mx.array:
        value, gradients = nn.value_and_grad(model, loss)(model, x, y)
        optimizer.update(model, gradients)
        return value

    x = mx.random.randint(0, words, (batch, length + 1))
    mx.eval(x)

    def once() -> None:
        mx.eval(step(x[:, :-1], x[:, 1:]), state)

    seconds = median(once, 5)
    return [
        Figure(
            f"training a transformer ({weights / 2**20:.0f} MB of weights): peak RSS", peak_resident() / 2**20, "MB"
        ),
        Figure("of which there before the first array", base / 2**20, "MB"),
        Figure("one step", 1e3 * seconds, "ms"),
    ]


def workloads() -> list[Figure]:
    """The times of `workloads.py`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "times.json"
        command = [sys.executable, "-m", "arrax", "run", str(HERE.with_name("workloads.py")), "--json", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return [Figure(name, ms, "ms") for name, ms in json.loads(out.read_text()).items()]


BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "op": op,
    "small": small,
    "call": call,
    "cold": cold,
    "import": importing,
    "plan": plan,
    "peak": peak,
    "growth": growth,
    "training": training,
    "workloads": workloads,
}
PARTS: dict[str, Callable[[], Any]] = {**BENCHMARKS, "first_calls": first_calls}


# --- the program ------------------------------------------------------------------------------------------------------
def again(part: str, **environment: str) -> str:
    """What a part prints in a process of its own."""
    command = [sys.executable, str(HERE), "--part", part]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"bench: {part} failed with exit status {done.returncode}")
    return done.stdout


def machine() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "arrax": arrax.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "threads": str(threads.count()),
    }


def processor() -> str:
    """The processor's name as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main(arguments: list[str] | None = None) -> None:
    """Run the program."""
    texts = "\n".join(f"  {name:<10} {f.__doc__}" for name, f in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="bench",
        description=f"Measure what Arrax itself costs on this machine.\n\nbenchmarks:\n{texts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="benchmarks to run (default: all)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        print(json.dumps(PARTS[options.part]()))
        return
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark is called {name!r}; there are: {', '.join(BENCHMARKS)}")
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{'':<72}{'figure':>10}  {'':<6}{'at most':>8}")
    results: dict[str, list[dict[str, Any]]] = {}
    for name in options.names or BENCHMARKS:
        figures = [Figure(*values) for values in json.loads(again(name))]
        results[name] = [figure._asdict() for figure in figures]
        for figure in figures:
            budget = "" if figure.budget is None else f"{figure.budget:g}"
            print(f"{name + ': ' + figure.what:<72}{figure.value:>10.3f}  {figure.unit:<6}{budget:>8}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine(), "benchmarks": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
