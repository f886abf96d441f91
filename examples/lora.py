"""Adapt a language model to another kind of text by training low-rank adapters only (LoRA).

An ordinary MLX program on top of `llama_lm.py`, which lies beside it. The model to adapt has learned Python source; the
new text is English: the reference of the language that Python's `help()` shows and every Python carries along. Each
projection W becomes W + A B with A and B of low rank; all else stays as it is, and only A and B are saved. Without
--base, a small base model is trained first. Expect the loss on the part of the new text that is held back to fall by
about a sixth, with adapters of less than a tenth of the model's size.

    python -m arrax run examples/lora.py                       # on Arrax, wherever Python runs
    python examples/lora.py                                    # on Apple's MLX, the same file
    python -m arrax run examples/lora.py --base demo-out       # adapt the model that `python -m arrax demo` trained
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zlib
from pathlib import Path
from pydoc_data.topics import topics

import llama_lm
import mlx.core as mx
import mlx.nn as nn
import numpy as np
from llama_lm import Llama
from matplotlib.figure import Figure
from mlx.utils import tree_flatten

Windows = tuple[np.ndarray, np.ndarray]


# --- text -------------------------------------------------------------------------------------------------------------


def read_text(path: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return training and validation bytes: of the paragraphs of a file, or of the topics of Python's `help()`.

    The checksum of a part's first line says whether it is held back: about one in ten is.
    """
    if path is None:
        parts = [topics[name] for name in sorted(topics)]
    else:
        parts = path.read_text(encoding="utf-8").split("\n\n")
    texts: tuple[list[str], list[str]] = ([], [])
    for part in parts:
        texts[zlib.crc32(part.partition("\n")[0].encode()) % 10 == 0].append(part)
    train, validation = (np.frombuffer("\n\n".join(text).encode(), dtype=np.uint8) for text in texts)
    return train, validation


def spread_windows(text: np.ndarray, count: int, context: int) -> Windows:
    """Cut `count` windows at even distances out of the whole text."""
    if len(text) < context + 2:
        raise SystemExit(
            f"the text held back has {len(text)} bytes, fewer than a window of {context}: take a longer one"
        )
    starts = np.linspace(0, len(text) - context - 1, count).astype(np.int64)
    return llama_lm.windows(text, starts, context)


# --- base model -------------------------------------------------------------------------------------------------------


def load_base(folder: Path) -> Llama:
    """Load the model that `llama_lm.py` left in its output folder."""
    summary = folder / "summary.json"
    shape = json.loads(summary.read_text()).get("model") if summary.exists() else None
    if shape is None:
        raise SystemExit(
            f"{folder}: no summary.json that names the model's shape; run llama_lm.py --out {folder} first"
        )
    model = Llama(**shape)
    model.load_weights(str(folder / "model.safetensors"))
    return model


def train_base(options: argparse.Namespace) -> Path:
    """Train a small model on Python source; return the folder it is in, which --base takes the next time."""
    folder = options.out / "base"
    shape = {"layers": options.layers, "dims": options.dims, "heads": options.heads}
    numbers = {"steps": options.base_steps, "batch": options.batch, "context": options.context, "seed": options.seed}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in {**shape, **numbers}.items()]
    base_options = llama_lm.parse([*words, f"--out={folder}"])
    folder.mkdir(parents=True, exist_ok=True)
    train_text, validation_text = llama_lm.read_corpus(base_options.data)
    held_back = spread_windows(validation_text, options.eval_windows, options.context)
    model = Llama(**shape)
    evaluate = llama_lm.make_evaluation(model, *held_back, options.batch)
    llama_lm.train(model, train_text, evaluate, base_options)
    model.save_weights(str(folder / "model.safetensors"))
    (folder / "summary.json").write_text(json.dumps({"model": shape}) + "\n")
    return folder


# --- adapters ---------------------------------------------------------------------------------------------------------


class LoRALinear(nn.Module):
    """A linear layer without bias whose weight is not trained, plus a trained product of two low-rank matrices.

    The second matrix starts at 0, so that the layer starts as the one it wraps.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        outputs, inputs = linear.weight.shape
        self.scale = alpha / rank
        self.linear = linear
        self.lora_a = mx.random.normal((inputs, rank), scale=inputs**-0.5)
        self.lora_b = mx.zeros((rank, outputs))

    def __call__(self, x: mx.array) -> mx.array:
        return self.linear(x) + self.scale * ((x @ self.lora_a) @ self.lora_b)


def add_adapters(model: Llama, rank: int, alpha: float) -> None:
    """Freeze the model and wrap the projections of its blocks, so that only the adapters are trained."""
    model.freeze()
    for block in model.layers:
        for owner in (block.attention, block):
            for name in (name for name in list(owner) if name.endswith("_proj")):
                setattr(owner, name, LoRALinear(owner[name], rank, alpha))


def save_adapters(path: Path, model: Llama) -> int:
    """Save what is trained, nothing else; return the number of its parameters."""
    adapters = dict(tree_flatten(model.trainable_parameters()))
    mx.save_safetensors(str(path), adapters)
    return sum(value.size for value in adapters.values())


# --- the program ------------------------------------------------------------------------------------------------------


def save_picture(path: Path, losses: list[float], before: float, validation: list[tuple[int, float]]) -> None:
    """Draw the loss of each step, and the loss on the text held back from before the first to after the last."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color="0.8", linewidth=0.8, label="training, each step")
    axes.plot(steps, llama_lm.smooth(losses), color="tab:blue", label="training, mean of 20 steps")
    axes.plot(*zip((0, before), *validation, strict=True), "o-", color="tab:red", label="held back")
    axes.set(xlabel="step", ylabel="nats per byte", title="Adapters turn a model of Python source to English")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def write(model: Llama, options: argparse.Namespace) -> str:
    """Return the model's continuation of the prompt, the prompt included."""
    prompt = options.prompt.encode()
    tokens = model.generate(prompt, options.context, options.temperature)
    return (prompt + bytes(next(tokens) for _ in range(options.tokens))).decode("utf-8", errors="replace")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line and check that its numbers fit together."""
    parser = argparse.ArgumentParser(
        prog="lora",
        description="Adapt a language model of Python source to English by training low-rank adapters only.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--base", type=Path, help="output folder of llama_lm.py; without it a base is trained first")
    parser.add_argument("--data", type=Path, help="text file to adapt to; without it, the topics of Python's help()")
    parser.add_argument("--out", type=Path, default=Path("demo-out/lora"), help="folder for adapters and picture")
    parser.add_argument("--steps", type=int, default=150, help="steps of training the adapters")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds after which that ends early")
    parser.add_argument("--batch", type=int, default=16, help="windows per step")
    parser.add_argument("--context", type=int, default=128, help="bytes per window")
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapters")
    parser.add_argument("--alpha", type=float, default=16.0, help="the adapters count alpha / rank times")
    parser.add_argument("--lr", type=float, default=1e-2, help="peak learning rate of the adapters")
    parser.add_argument("--eval-every", type=int, default=50, help="steps between validations")
    parser.add_argument("--eval-windows", type=int, default=64, help="windows of text held back")
    parser.add_argument("--prompt", default="The statement ", help="text to continue before and after")
    parser.add_argument("--tokens", type=int, default=120, help="bytes to write, 0 for none")
    parser.add_argument("--temperature", type=float, default=0.5, help="0 takes the likeliest byte each time")
    parser.add_argument("--base-steps", type=int, default=150, help="training steps of the base model")
    parser.add_argument("--layers", type=int, default=2, help="layers of the base model")
    parser.add_argument("--dims", type=int, default=128, help="width of the base model")
    parser.add_argument("--heads", type=int, default=4, help="attention heads of the base model")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for name in ("steps", "batch", "context", "rank", "eval_every", "eval_windows", "base_steps"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Run the program."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    mx.random.seed(options.seed)
    text, validation_text = read_text(options.data)
    held_back = spread_windows(validation_text, options.eval_windows, options.context)
    print(f"framework   {mx.__name__} {mx.__version__} on {mx.default_device()}")
    print(f"text        {len(text):,} bytes to adapt to, {len(validation_text):,} held back")

    base = options.base or train_base(options)
    model = load_base(base)
    total = sum(value.size for _, value in tree_flatten(model.parameters()))
    before = llama_lm.make_evaluation(model, *held_back, options.batch)()
    if options.tokens:
        print(f"\n--- before\n{write(model, options)}\n---\n")

    add_adapters(model, options.rank, options.alpha)
    evaluate = llama_lm.make_evaluation(model, *held_back, options.batch)
    losses, validation, _ = llama_lm.train(model, text, evaluate, options)
    after = validation[-1][1]
    if options.tokens:
        print(f"\n--- after\n{write(model, options)}\n---\n")

    adapters = options.out / "adapters.safetensors"
    trained = save_adapters(adapters, model)
    loaded = load_base(base)
    add_adapters(loaded, options.rank, options.alpha)
    loaded.load_weights(str(adapters), strict=False)
    reloaded = llama_lm.make_evaluation(loaded, *held_back, options.batch)()
    if not math.isclose(reloaded, after, rel_tol=1e-6):
        raise SystemExit(f"the base with the saved adapters has a loss of {reloaded}, the trained model had {after}")
    print(f"held back   {before:.4f} nats per byte before, {after:.4f} after")
    print(f"adapters    {adapters}: {trained:,} parameters trained, {total:,} left alone")
    picture = options.out / "loss.png"
    save_picture(picture, losses, before, validation)
    print(f"picture     {picture}")


if __name__ == "__main__":
    sys.exit(main())
