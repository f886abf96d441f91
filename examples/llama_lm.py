"""Train a byte-level Llama on source code, save it, load it again and let it write.

An ordinary MLX program: it knows nothing of Arrax. The text is the source of Python's own standard library, which every
machine that can run the program has; the split into training and validation text is by file.

    python -m arrax run examples/llama_lm.py      # on Arrax, wherever Python runs
    python examples/llama_lm.py                   # on Apple's MLX, the same file
"""

from __future__ import annotations

import argparse
import codecs
import importlib
import importlib.util
import json
import math
import sys
import sysconfig
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten
from tqdm import tqdm

VOCABULARY = 256
LEFT_OUT = {"__pycache__", "dist-packages", "encodings", "idle_test", "pydoc_data", "site-packages", "test", "tests"}
PROMPT = '''class Stack:
    """A stack of items, last in, first out."""

    def __init__(self, items=()):
        self._items ='''


# --- text -------------------------------------------------------------------------------------------------------------


def read_corpus(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the training and the validation bytes of the Python files below `root`.

    A file belongs to the validation text if the checksum of its relative path says so: one in ten, the same ones on
    every machine that has them.
    """
    texts: tuple[list[bytes], list[bytes]] = ([], [])
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if LEFT_OUT.isdisjoint(relative.parts):
            texts[zlib.crc32(relative.as_posix().encode()) % 10 == 0].append(path.read_bytes())
    if not all(texts):
        raise SystemExit(f"{root}: too few Python files to learn from; name a folder that has more with --data")
    train, validation = (np.frombuffer(b"\n".join(files), dtype=np.uint8) for files in texts)
    return train, validation


def windows(text: np.ndarray, starts: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut inputs and targets, each (len(starts), context), out of `text`; the target is the input one byte later."""
    block = text[starts[:, None] + np.arange(context + 1)].astype(np.int32)
    return block[:, :-1], block[:, 1:]


def bigram_loss(train: np.ndarray, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Nats per byte of the model that counts byte pairs of the training text, every pair once more than it was seen."""
    pairs = train[:-1].astype(np.int64) * VOCABULARY + train[1:]
    counts = np.bincount(pairs, minlength=VOCABULARY**2).reshape(VOCABULARY, VOCABULARY) + 1.0
    log_probabilities = np.log(counts / counts.sum(axis=1, keepdims=True))
    return float(-log_probabilities[inputs, targets].mean())


# --- model ------------------------------------------------------------------------------------------------------------


class KVCache:
    """The keys and values of the last `window` positions, and the number of all positions so far."""

    def __init__(self, window: int):
        self.window = window
        self.offset = 0
        self.keys: mx.array | None = None
        self.values: mx.array | None = None

    def append(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Add (batch, heads, positions, head_dims) arrays and return all that is kept."""
        self.offset += keys.shape[2]
        if self.keys is not None:
            # The model never saw a distance above its context, so older positions are dropped.
            keys = mx.concatenate([self.keys, keys], axis=2)[:, :, -self.window :]
            values = mx.concatenate([self.values, values], axis=2)[:, :, -self.window :]
        self.keys, self.values = keys, values
        return keys, values


class Attention(nn.Module):
    """Causal multi-head attention with rotary positions."""

    def __init__(self, dims: int, heads: int):
        super().__init__()
        self.heads = heads
        self.scale = (dims // heads) ** -0.5
        self.rope = nn.RoPE(dims // heads)
        self.q_proj = nn.Linear(dims, dims, bias=False)
        self.k_proj = nn.Linear(dims, dims, bias=False)
        self.v_proj = nn.Linear(dims, dims, bias=False)
        self.o_proj = nn.Linear(dims, dims, bias=False)

    def __call__(self, x: mx.array, cache: KVCache | None = None) -> mx.array:
        batch, length, dims = x.shape
        q, k, v = (
            projection(x).reshape(batch, length, self.heads, -1).transpose(0, 2, 1, 3)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        offset = 0 if cache is None else cache.offset
        q, k = self.rope(q, offset=offset), self.rope(k, offset=offset)
        if cache is not None:
            k, v = cache.append(k, v)
        mask = "causal" if length > 1 else None
        attended = mx.fast.scaled_dot_product_attention(q, k, v, scale=self.scale, mask=mask)
        return self.o_proj(attended.transpose(0, 2, 1, 3).reshape(batch, length, dims))


class Block(nn.Module):
    """Attention and a SwiGLU feed-forward layer, each behind an RMS norm and inside a residual connection."""

    def __init__(self, dims: int, hidden: int, heads: int):
        super().__init__()
        self.attention_norm = nn.RMSNorm(dims)
        self.attention = Attention(dims, heads)
        self.mlp_norm = nn.RMSNorm(dims)
        self.gate_proj = nn.Linear(dims, hidden, bias=False)
        self.up_proj = nn.Linear(dims, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dims, bias=False)

    def __call__(self, x: mx.array, cache: KVCache | None = None) -> mx.array:
        x = x + self.attention(self.attention_norm(x), cache)
        y = self.mlp_norm(x)
        return x + self.down_proj(nn.silu(self.gate_proj(y)) * self.up_proj(y))


class Llama(nn.Module):
    """A decoder-only language model: (batch, length) token ids to (batch, length, vocabulary) logits."""

    def __init__(self, layers: int, dims: int, heads: int, vocabulary: int = VOCABULARY):
        super().__init__()
        hidden = 32 * round(dims * 8 / 3 / 32)  # SwiGLU has three matrices: 8/3 keeps the size of a 4-fold MLP
        self.embedding = nn.Embedding(vocabulary, dims)
        self.layers = [Block(dims, hidden, heads) for _ in range(layers)]
        self.norm = nn.RMSNorm(dims)
        self.head = nn.Linear(dims, vocabulary, bias=False)

    def __call__(self, tokens: mx.array, caches: list[KVCache] | None = None) -> mx.array:
        x = self.embedding(tokens)
        for block, cache in zip(self.layers, caches or [None] * len(self.layers), strict=True):
            x = block(x, cache)
        return self.head(self.norm(x))

    def generate(self, prompt: bytes, window: int, temperature: float) -> Iterator[int]:
        """Continue `prompt` byte by byte, for ever; temperature 0 takes the likeliest byte."""
        caches = [KVCache(window) for _ in self.layers]
        tokens = mx.array([list(prompt[-window:])])
        while True:
            logits = self(tokens, caches)[:, -1]
            if temperature > 0:
                token = mx.random.categorical(logits / temperature)
            else:
                token = mx.argmax(logits, axis=-1)
            yield token.item()
            tokens = token[:, None]


# --- training ---------------------------------------------------------------------------------------------------------


def cross_entropy(model: Llama, inputs: mx.array, targets: mx.array) -> mx.array:
    """Mean nats per byte."""
    return nn.losses.cross_entropy(model(inputs), targets, reduction="mean")


def make_step(model: Llama, optimizer: optim.Optimizer) -> Callable[[mx.array, mx.array], mx.array]:
    """Return one training step, compiled as a whole: loss, gradients, clipping and the update of every parameter."""
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(inputs: mx.array, targets: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(model, cross_entropy)(model, inputs, targets)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        return loss

    return step


def make_evaluation(model: Llama, inputs: np.ndarray, targets: np.ndarray, batch: int) -> Callable[[], float]:
    """Return a function that computes the model's mean loss over all windows, `batch` of them at a time."""
    loss = mx.compile(partial(cross_entropy, model), inputs=model.state)
    cuts = range(0, len(inputs), batch)
    batches = [(mx.array(inputs[i : i + batch]), mx.array(targets[i : i + batch])) for i in cuts]
    return lambda: sum(loss(x, y).item() * len(x) for x, y in batches) / len(inputs)


def train(
    model: Llama, text: np.ndarray, evaluate: Callable[[], float], options: argparse.Namespace
) -> tuple[list[float], list[tuple[int, float]], float]:
    """Train in place; return the loss of each step, (step, validation loss) pairs and the rate in bytes per second.

    The learning rate warms up, then falls along a cosine to a tenth of its peak at the last step, or at the time limit
    where that comes first, so that a slow machine also ends with a model that has settled.
    """
    optimizer = optim.AdamW(learning_rate=options.lr, betas=[0.9, 0.95], weight_decay=0.1, bias_correction=True)
    optimizer.init(model.trainable_parameters())
    step = make_step(model, optimizer)
    rng = np.random.default_rng(options.seed)
    warmup = max(1, options.steps // 20)
    losses: list[float] = []
    validation: list[tuple[int, float]] = []
    seconds: list[float] = []
    start = time.perf_counter()

    with tqdm(total=options.steps, unit="step", desc="training", dynamic_ncols=True) as bar:
        for number in range(1, options.steps + 1):
            elapsed = time.perf_counter() - start
            progress = min(1.0, max(number / options.steps, elapsed / options.time_limit))
            cosine = 0.1 + 0.45 * (1 + math.cos(math.pi * progress))
            optimizer.learning_rate = options.lr * min(1.0, number / warmup) * cosine

            begin = time.perf_counter()
            starts = rng.integers(0, len(text) - options.context, size=options.batch)
            inputs, targets = windows(text, starts, options.context)
            loss = step(mx.array(inputs), mx.array(targets))
            mx.eval(loss, model.state, optimizer.state)
            losses.append(loss.item())
            seconds.append(time.perf_counter() - begin)

            last = number == options.steps or progress == 1.0
            if last or number % options.eval_every == 0:
                validation.append((number, evaluate()))
            rate = options.batch * options.context / seconds[-1]
            shown = {"loss": f"{np.mean(losses[-20:]):.3f}", "tokens/s": f"{rate:,.0f}"}
            if validation:
                shown["val"] = f"{validation[-1][1]:.3f}"
            bar.set_postfix(shown, refresh=False)
            bar.update()
            if last:
                break
    # The first step pays for compilation: the rate is that of the median step.
    return losses, validation, options.batch * options.context / float(np.median(seconds))


# --- pictures ---------------------------------------------------------------------------------------------------------


def smooth(losses: list[float], span: int = 20) -> np.ndarray:
    """Mean of each loss and the up to `span - 1` before it."""
    total = np.cumsum([0.0, *losses])
    ends = np.arange(1, len(losses) + 1)
    begins = np.maximum(0, ends - span)
    return (total[ends] - total[begins]) / (ends - begins)


def text_plot(losses: list[float], validation: list[tuple[int, float]], bigram: float, size: tuple[int, int]) -> str:
    """Draw the curves with characters: · training, ● validation, ┄ the bigram model; `size` is (columns, rows)."""
    columns, rows = size
    curve = smooth(losses)
    low = min(curve.min(), bigram, *(loss for _, loss in validation))
    high = max(curve.max(), bigram)

    def row(loss: float) -> int:
        return round((high - loss) / max(high - low, 1e-9) * (rows - 1))

    def column(step: int) -> int:
        return round((step - 1) / max(len(losses) - 1, 1) * (columns - 1))

    grid = [[" "] * columns for _ in range(rows)]
    grid[row(bigram)] = ["┄"] * columns
    for step, loss in enumerate(curve, start=1):
        grid[row(loss)][column(step)] = "·"
    for step, loss in validation:
        grid[row(loss)][column(step)] = "●"
    labels = {0: f"{high:.2f}", row(bigram): f"{bigram:.2f}", rows - 1: f"{low:.2f}"}
    lines = [f"{labels.get(i, ''):>7} │{''.join(cells)}" for i, cells in enumerate(grid)]
    axis = f"{'step':>7} └{'─' * columns}\n{'':>8} 1{len(losses):>{columns - 1}}"
    return "\n".join([*lines, axis, f"{'':>9}· training   ● validation   ┄ byte bigrams   (nats per byte)"])


def save_plot(path: Path, losses: list[float], validation: list[tuple[int, float]], bigram: float) -> bool:
    """Write the loss curve as a PNG; return False where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color="0.8", linewidth=0.8, label="training, each step")
    axes.plot(steps, smooth(losses), color="tab:blue", label="training, mean of 20 steps")
    axes.plot(*zip(*validation, strict=True), "o-", color="tab:red", label="validation")
    axes.axhline(bigram, color="0.3", linestyle="--", label="byte bigrams, validation")
    axes.set(xlabel="step", ylabel="nats per byte", title="A byte-level Llama learns Python", ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    return True


# --- the program ------------------------------------------------------------------------------------------------------


def write(model: Llama, options: argparse.Namespace) -> tuple[float, float]:
    """Stream a continuation of the prompt to the terminal; return the rates of prompt and continuation, in bytes/s."""
    prompt = options.prompt.encode()
    warm = model.generate(prompt, options.context, options.temperature)
    _ = next(warm), next(warm)  # builds what has to be built once, so that the rates below are those of the machine

    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    print(options.prompt, end="", flush=True)
    begin = time.perf_counter()
    tokens = model.generate(prompt, options.context, options.temperature)
    first = next(tokens)
    after_prompt = time.perf_counter()
    print(decoder.decode(bytes([first])), end="", flush=True)
    for _ in range(options.tokens - 1):
        print(decoder.decode(bytes([next(tokens)])), end="", flush=True)
    end = time.perf_counter()
    print(decoder.decode(b"", final=True))
    prompt_rate = len(prompt[-options.context :]) / (after_prompt - begin)
    return prompt_rate, (options.tokens - 1) / (end - after_prompt)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line and check that its numbers fit together."""
    parser = argparse.ArgumentParser(
        prog="llama_lm",
        description="Train a byte-level Llama on Python source, save it, load it again and let it write.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    parser.add_argument("--data", type=Path, default=stdlib, help="folder of Python files to learn from")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for weights, curve and summary")
    parser.add_argument("--steps", type=int, default=400, help="training steps")
    parser.add_argument("--time-limit", type=float, default=50.0, help="seconds after which training ends early")
    parser.add_argument("--batch", type=int, default=16, help="windows per step")
    parser.add_argument("--context", type=int, default=128, help="bytes per window")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dims", type=int, default=128, help="width of the model")
    parser.add_argument("--heads", type=int, default=4, help="attention heads")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--eval-every", type=int, default=100, help="steps between validations")
    parser.add_argument("--eval-windows", type=int, default=128, help="windows of validation text")
    parser.add_argument("--prompt", default=PROMPT, help="text to continue")
    parser.add_argument("--tokens", type=int, default=400, help="bytes to write")
    parser.add_argument("--temperature", type=float, default=0.7, help="0 takes the likeliest byte each time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.dims % options.heads or options.dims // options.heads % 2:
        parser.error(f"--dims {options.dims} must be --heads {options.heads} times an even number")
    for name in ("steps", "batch", "context", "layers", "eval_every", "eval_windows"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if options.tokens < 2 or not options.prompt:
        parser.error("--tokens must be at least 2 and --prompt not empty")
    return options


def framework() -> str:
    """What runs this program: MLX, or Arrax in its place."""
    arrax = sys.modules.get("arrax")
    return f"Arrax {arrax.__version__}" if arrax else f"MLX {mx.__version__}"


def main(arguments: list[str] | None = None) -> None:
    """Run the program."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    mx.random.seed(options.seed)

    train_text, validation_text = read_corpus(options.data)
    starts = np.linspace(0, len(validation_text) - options.context - 1, options.eval_windows).astype(np.int64)
    inputs, targets = windows(validation_text, starts, options.context)
    bigram = bigram_loss(train_text, inputs, targets)

    shape = {"layers": options.layers, "dims": options.dims, "heads": options.heads}
    model = Llama(**shape)
    mx.eval(model.parameters())
    parameters = sum(value.size for _, value in tree_flatten(model.parameters()))
    print(f"framework   {framework()} on {mx.default_device()}")
    print(f"text        {len(train_text):,} bytes to learn from, {len(validation_text):,} of other files held back")
    print(f"model       {parameters:,} parameters: {options.layers} layers, {options.dims} dims, {options.heads} heads")
    print(f"baseline    {bigram:.4f} nats per byte: bigrams of bytes, on the validation text\n")

    begin = time.perf_counter()
    evaluate = make_evaluation(model, inputs, targets, options.batch)
    losses, validation, rate = train(model, train_text, evaluate, options)
    seconds = time.perf_counter() - begin
    final = validation[-1][1]
    print(f"\n{text_plot(losses, validation, bigram, (64, 14))}\n")
    verdict = "below" if final < bigram else "NOT below"
    print(f"validation  {final:.4f} nats per byte, {verdict} the bigrams' {bigram:.4f}")
    print(f"training    {len(losses)} steps in {seconds:.1f} s, {rate:,.0f} tokens/s")

    weights = options.out / "model.safetensors"
    model.save_weights(str(weights))
    loaded = Llama(**shape)
    loaded.load_weights(str(weights))
    reloaded = make_evaluation(loaded, inputs, targets, options.batch)()
    if not math.isclose(reloaded, final, rel_tol=1e-6):
        raise SystemExit(f"the loaded model's validation loss is {reloaded}, the saved one's was {final}")
    print(f"weights     {weights} ({weights.stat().st_size:,} bytes); loaded again: {reloaded:.4f} nats per byte")
    curve = options.out / "loss.png"
    drawn = save_plot(curve, losses, validation, bigram)
    print(f"curve       {curve if drawn else 'no PNG, as matplotlib is not installed: pip install matplotlib'}\n")

    prompt_rate, generation_rate = write(loaded, options)
    print(f"\nprompt      {prompt_rate:,.0f} tokens/s\ngeneration  {generation_rate:,.0f} tokens/s")

    summary = {
        "framework": framework(),
        "model": shape,
        "parameters": parameters,
        "bigram_loss": bigram,
        "validation": validation,
        "losses": losses,
        "training_seconds": seconds,
        "training_tokens_per_second": rate,
        "prompt_tokens_per_second": prompt_rate,
        "generation_tokens_per_second": generation_rate,
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
