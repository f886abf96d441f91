"""Learn to draw digits: a variational autoencoder.

An ordinary MLX program: an encoder that gives a normal distribution of codes for each image, a decoder that draws an
image from a code, and a compiled training step that samples codes. The data are the 1797 digits of 8 × 8 pixels that
come with scikit-learn, of which a fifth is held back. Expect the images held back to cost some three nats less than if
the mean image were drawn for each, reconstructions that are plainly the digits above them, and samples most of which
are digits.

    python -m arrax run examples/vae.py      # on Arrax, wherever Python runs
    python examples/vae.py                   # on Apple's MLX, the same file
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from matplotlib.figure import Figure
from mlx.utils import tree_flatten
from sklearn.datasets import load_digits
from tqdm import tqdm

PIXELS = 64
SHOWN = 12  # images in a row of the picture


def load(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the training images and those held back, (count, 64) with values between 0 and 1."""
    images = (load_digits().data / 16).astype(np.float32)
    images = images[np.random.default_rng(seed).permutation(len(images))]
    held_out = len(images) // 5
    return images[held_out:], images[:held_out]


class VAE(nn.Module):
    """An encoder and a decoder of one hidden layer each; codes are vectors of `latent` numbers."""

    def __init__(self, hidden: int, latent: int):
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(nn.Linear(PIXELS, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, PIXELS))

    def encode(self, images: mx.array) -> tuple[mx.array, mx.array]:
        """Return the mean and the logarithm of the variance of each image's codes."""
        mean, log_variance = mx.split(self.encoder(images), 2, axis=-1)
        return mean, log_variance

    def decode(self, codes: mx.array) -> mx.array:
        """Return the image for each code, with values between 0 and 1."""
        return mx.sigmoid(self.decoder(codes))


def negative_bound(model: VAE, images: mx.array) -> mx.array:
    """Return the negative evidence lower bound, in nats per image, with one sampled code for each image."""
    mean, log_variance = model.encode(images)
    codes = mean + mx.exp(log_variance / 2) * mx.random.normal(mean.shape)
    pixels = nn.losses.binary_cross_entropy(model.decoder(codes), images, with_logits=True, reduction="none")
    divergence = 0.5 * (mx.square(mean) + mx.exp(log_variance) - 1 - log_variance)
    return mx.mean(pixels.sum(axis=-1) + divergence.sum(axis=-1))


def mean_image_loss(train: np.ndarray, images: np.ndarray) -> float:
    """Return the nats per image of a model that draws the mean of the training images every time."""
    mean = train.mean(axis=0).clip(1e-3, 1 - 1e-3)
    return float(-(images * np.log(mean) + (1 - images) * np.log(1 - mean)).sum(axis=1).mean())


def make_step(model: VAE, optimizer: optim.Optimizer) -> Callable[[mx.array], mx.array]:
    """Return one training step, compiled as a whole; the state of the random numbers is part of what it changes."""
    state = [model.state, optimizer.state, mx.random.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(images: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(model, negative_bound)(model, images)
        optimizer.update(model, gradients)
        return loss

    return step


def train(model: VAE, images: np.ndarray, held_back: np.ndarray, options: argparse.Namespace) -> list[float]:
    """Train in place; return the mean loss of each epoch."""
    held = mx.array(held_back)
    optimizer = optim.Adam(learning_rate=options.lr)
    optimizer.init(model.trainable_parameters())
    step = make_step(model, optimizer)
    rng = np.random.default_rng(options.seed)
    losses = []
    with tqdm(range(1, options.epochs + 1), unit="epoch", desc="training", dynamic_ncols=True) as bar:
        for number in bar:
            order = rng.permutation(len(images))
            # Only whole batches: a step is compiled once for each shape of its inputs.
            batches = order[: len(order) // options.batch * options.batch].reshape(-1, options.batch)
            epoch = []
            for batch in batches:
                loss = step(mx.array(images[batch]))
                mx.eval(loss, model.state, optimizer.state)
                epoch.append(loss.item())
            losses.append(float(np.mean(epoch)))
            if number % 10 == 0 or number == options.epochs:
                held_loss = f"{negative_bound(model, held).item():.2f}"
                bar.set_postfix({"loss": f"{losses[-1]:.2f}", "held back": held_loss}, refresh=False)
    return losses


def save_picture(path: Path, model: VAE, images: mx.array) -> None:
    """Draw some images, their reconstructions from the means of their codes, and three rows of samples."""
    originals = images[:SHOWN]
    reconstructions = model.decode(model.encode(originals)[0])
    samples = model.decode(mx.random.normal((3 * SHOWN, model.latent)))
    rows = np.array(mx.concatenate([originals, reconstructions, samples])).reshape(-1, SHOWN, 8, 8)
    figure = Figure(figsize=(SHOWN * 0.7, len(rows) * 0.8), layout="constrained")
    grid = figure.subplots(*rows.shape[:2])
    for cells, row in zip(grid, rows, strict=True):
        for axes, image in zip(cells, row, strict=True):
            axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    for cells, name in zip(grid, ["image", "redrawn", "sampled", "sampled", "sampled"], strict=True):
        cells[0].set_ylabel(name, fontsize=8)
    figure.savefig(path, dpi=120)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="vae",
        description="Train a variational autoencoder on scikit-learn's handwritten digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out/vae"), help="folder for the picture")
    parser.add_argument("--epochs", type=int, default=150, help="passes over the training images")
    parser.add_argument("--batch", type=int, default=64, help="images per step")
    parser.add_argument("--hidden", type=int, default=256, help="width of the hidden layers")
    parser.add_argument("--latent", type=int, default=8, help="numbers in a code")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for name in ("epochs", "hidden", "latent"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if not 1 <= options.batch <= 1000:
        parser.error("--batch must be between 1 and 1000")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Run the program."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    mx.random.seed(options.seed)
    images, held_back = load(options.seed)
    model = VAE(options.hidden, options.latent)
    mx.eval(model.parameters())
    parameters = sum(value.size for _, value in tree_flatten(model.parameters()))
    print(f"framework   {mx.__name__} {mx.__version__} on {mx.default_device()}")
    print(f"data        {len(images)} digits to learn from, {len(held_back)} held back")
    print(f"model       {parameters:,} parameters, codes of {options.latent} numbers")

    losses = train(model, images, held_back, options)
    final = negative_bound(model, mx.array(held_back)).item()
    print(f"training    loss {losses[0]:.2f} nats per image in the first epoch, {losses[-1]:.2f} in the last")
    print(f"held back   {final:.2f} nats per image; the mean image: {mean_image_loss(images, held_back):.2f}")
    picture = options.out / "digits.png"
    save_picture(picture, model, mx.array(held_back))
    print(f"picture     {picture}")


if __name__ == "__main__":
    sys.exit(main())
