"""Run a tiny model of every architecture of mlx-lm, with and without a cache, and compare the logits.

    python tests/mlx_lm/sweep.py --save build/logits.npz                              # on Apple's MLX
    python -m arrax run tests/mlx_lm/sweep.py --against build/logits.npz              # on Arrax

Each model gets weights that depend on the names of its parameters only. The prompt goes through it at once without a
cache, then with one in two parts and token by token, then at once with weights of 4 bits. The last two lines tell
how many architectures gave the same logits each way, and how many the same as the logits in the file.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from architectures import architectures, make_model
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.models.cache import make_prompt_cache

PROMPT = [3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26]
PREFILL = 5

# The rounding of another order of additions, relative to the largest logit; of 4-bit weights one more or less.
TOLERANCE = {"whole": 1e-4, "cached": 1e-4, "quantized": 2e-3}

# Where nothing can be compared, and why.
EXCLUDED = {
    "bitnet": "its linear layers are Metal kernels",
    "muse_spark": "its norms are Metal kernels",
    "olmo": "needs the package ai2-olmo",
}

# What mlx-lm itself does not do, with either framework.
NOT_QUANTIZED = {"afm7", "llama4_text", "minicpm", "seed_oss"}
COMPUTES_IN_HALF_PRECISION = {"prism_hadamard_qwen35"}
CACHED_DIFFERS = {"gemma3n", "phi3small", "plamo3"}


def draw_weights(model: nn.Module) -> None:
    """Give a model weights that are a function of its parameters' names, shapes and types."""
    drawn = []
    for name, value in tree_flatten(model.parameters()):
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        if not mx.issubdtype(value.dtype, mx.floating):
            data = generator.integers(0, 2**31, value.shape)
        elif value.ndim < 2:
            data = generator.uniform(0.8, 1.2, value.shape)
        else:
            data = generator.normal(0.0, value.shape[-1] ** -0.5, value.shape)
        drawn.append((name, mx.array(data).astype(value.dtype)))
    model.update(tree_unflatten(drawn))
    model.eval()


def as_numpy(logits: mx.array) -> np.ndarray:
    return np.array(logits.astype(mx.float32))[0]


def run_cached(model: nn.Module) -> np.ndarray:
    """Return the logits of the prompt: its first tokens at once, the others one by one."""
    cache = make_prompt_cache(model)
    parts = [PROMPT[:PREFILL], *([token] for token in PROMPT[PREFILL:])]
    return np.concatenate([as_numpy(model(mx.array([part]), cache=cache)) for part in parts])


def quantize(model: nn.Module) -> None:
    """Give every layer that has enough inputs 4-bit weights."""

    def fits(path: str, module: nn.Module) -> bool:
        return hasattr(module, "to_quantized") and module.weight.shape[-1] % 32 == 0

    nn.quantize(model, group_size=32, bits=4, class_predicate=fits)


def run(name: str) -> dict[str, np.ndarray]:
    """Return the logits of a tiny model, once for each way to compute them."""
    model: Any = make_model(name)
    draw_weights(model)
    results = {"whole": as_numpy(model(mx.array([PROMPT]))), "cached": run_cached(model)}
    if name in NOT_QUANTIZED:
        return results
    quantize(model)
    return results | {"quantized": as_numpy(model(mx.array([PROMPT])))}


def difference(x: np.ndarray, y: np.ndarray) -> float:
    """Return the largest difference of two arrays, relative to the largest finite value of the second."""
    finite = np.isfinite(y)
    if x.shape != y.shape or not np.array_equal(np.where(finite, 0, y), np.where(np.isfinite(x), 0, x), equal_nan=True):
        return np.inf
    return float(np.max(np.abs(x[finite] - y[finite])) / np.max(np.abs(y[finite])))


def compare(name: str, results: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> list[str]:
    """Describe what differs: with a cache from without, and from what is expected."""
    faults: list[str] = []
    coarse = 30 if name in COMPUTES_IN_HALF_PRECISION else 1
    inner = difference(results["cached"], results["whole"])
    if name not in CACHED_DIFFERS and inner > coarse * TOLERANCE["cached"]:
        faults.append(f"cached and whole differ by {inner:.1e}")
    for way, tolerance in TOLERANCE.items():
        key = f"{name}/{way}"
        if (
            way in results
            and key in expected
            and (outer := difference(results[way], expected[key])) > coarse * tolerance
        ):
            faults.append(f"{way} differs from the file by {outer:.1e}")
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", metavar="FILE", help="write the logits to this .npz file")
    parser.add_argument("--against", metavar="FILE", help="compare with the logits in this .npz file")
    parser.add_argument("names", nargs="*", metavar="ARCHITECTURE", help="which to run (default: all)")
    options = parser.parse_args(arguments)
    expected = dict(np.load(options.against)) if options.against else {}
    saved: dict[str, np.ndarray] = {}
    good, known, bad = 0, 0, 0
    for name in options.names or architectures():
        if name in EXCLUDED:
            print(f"{name:<24} -     {EXCLUDED[name]}", flush=True)
            continue
        try:
            results = run(name)
        except Exception as error:
            bad += 1
            print(f"{name:<24} ERROR {type(error).__name__}: {error}", flush=True)
            continue
        saved |= {f"{name}/{way}": logits for way, logits in results.items()}
        faults = compare(name, results, expected)
        good, bad = good + (not faults), bad + bool(faults)
        known += f"{name}/whole" in expected
        print(f"{name:<24} {'BAD   ' + '; '.join(faults) if faults else 'ok'}", flush=True)
    print(f"{good} architectures are right, {bad} are wrong; {known} were compared with {options.against}")
    if options.save:
        Path(options.save).parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(options.save, **saved)
    return bad


if __name__ == "__main__":
    raise SystemExit(main())
