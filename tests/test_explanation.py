"""`arrax.explain` and `python -m arrax explain`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import arrax
import arrax.core as mx
from arrax.explanation import MORE, STAGES
from arrax.runtime import executor, plans


def softmax() -> mx.array:
    x = mx.arange(64 * 64).reshape(64, 64).astype(mx.float32)
    mx.eval(x)
    return mx.softmax(x * 0.5, axis=-1)


def test_all_stages_of_a_softmax() -> None:
    y = softmax()
    found = arrax.explain(y)
    assert tuple(found.stages) == STAGES
    assert found["graph"].splitlines()[0] == "%0  float32[64, 64]  data"
    assert found["schedule"].count("group") == 1  # one kernel
    assert "loads    %0 %1" in found["schedule"] and "along i1:" in found["schedule"]
    assert found["kernels"].count("kernel k(") == 1
    assert all(f"--- {name} ---" in str(found) for name in STAGES)
    assert repr(found) == str(found)


@pytest.mark.parametrize("stage", STAGES + MORE)
def test_nothing_is_evaluated(stage: str) -> None:
    y = softmax()
    known = len(plans._plans), len(executor._bound)
    assert str(arrax.explain(y, stage))
    assert y._node.buffer is None and y._node.inputs
    assert known == (len(plans._plans), len(executor._bound))


def test_llvm_and_assembly() -> None:
    y = softmax()
    assert "define void @kernel_0(" in str(arrax.explain(y, "llvm"))
    assert "kernel_0:" in str(arrax.explain(y, "asm"))
    assert str(arrax.explain(y, "dot")).count("subgraph") == 1


def test_trees_and_every_kind_of_step() -> None:
    a = mx.random.uniform(shape=(20, 30))
    b = mx.zeros((20, 30))
    b[mx.array([1, 2])] = 3.0
    b[4:20:2] = mx.sort(a)[:8]
    tree = {"product": (a @ b.T, [b.sum()]), "scan": mx.cumsum(b, axis=1), "add": b.at[mx.array([3, 3])].add(1.0)}
    text = str(arrax.explain(tree))
    for part in ("contract over", "opaque", "scan over", "in order:", "combined by add", "# BLAS:", "# library: sort"):
        assert part in text, part


def test_calls_stay_calls() -> None:
    f = mx.compile(lambda x: mx.exp(x) * 2)
    x = mx.ones((100,))
    mx.eval(x)
    y = f(x)
    assert "exp" in str(arrax.explain(y, "graph"))
    assert y._node.inputs[0].expansion is None
    assert y[0].item() == pytest.approx(2 * 2.718281828)


def test_what_needs_no_kernel() -> None:
    assert "nothing to compute" in str(arrax.explain(mx.array([1, 2])))
    assert "nothing to compute" in str(arrax.explain(mx.array(2.0)))
    assert "an array is empty" in str(arrax.explain(mx.zeros((0,)) + 1))
    assert "so small" in str(arrax.explain(mx.zeros((2,)) + 1, "graph"))


def test_misuse() -> None:
    with pytest.raises(ValueError, match=r"^\[explain\] expected a stage"):
        arrax.explain(mx.zeros((3,)), "ptx")
    with pytest.raises(TypeError, match=r"^\[explain\] expected arrays"):
        arrax.explain([1, "x"])
    with pytest.raises(ValueError, match="tracing"):
        mx.compile(lambda x: [x, arrax.explain(x + 1)][0])(mx.ones((3,)))


def command(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "arrax", "explain", *words], capture_output=True, text=True, timeout=60
    )


def test_the_command_line() -> None:
    done = command("mx.softmax(mx.random.normal((64, 64)), axis=-1)")
    assert done.returncode == 0, done.stderr
    assert all(f"--- {name} ---" in done.stdout for name in STAGES)
    done = command("--stage", "schedule", "nn.Linear(64, 32)(mx.ones((16, 64)))")
    assert done.returncode == 0 and done.stdout.startswith("group 0"), done.stderr
    assert command("--stage", "ptx", "1").returncode == 2
