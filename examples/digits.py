"""Read handwritten digits with a multi-layer perceptron or a convolutional network.

An ordinary MLX program: layers, an optimizer and a training step that is compiled as a whole. The data are the 1797
digits of 8 × 8 pixels that come with scikit-learn, of which a fifth is held back. Expect more than 95 % of those to be
read correctly by either network; the convolutional one needs a quarter of the perceptron's parameters for it.

    python -m arrax run examples/digits.py --model conv      # on Arrax, wherever Python runs
    python examples/digits.py --model conv                   # on Apple's MLX, the same file
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

CLASSES = 10


def load(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images and labels, then those held back; images are (count, 8, 8, 1) between 0 and 1."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[..., None]
    order = np.random.default_rng(seed).permutation(len(images))
    images, labels = images[order], digits.target[order].astype(np.int32)
    held_out = len(images) // 5
    return images[held_out:], labels[held_out:], images[:held_out], labels[:held_out]


class MLP(nn.Module):
    """Two hidden layers between the 64 pixels and the logits of the ten digits."""

    def __init__(self, hidden: int = 128):
        super().__init__()
        self.layers = [nn.Linear(64, hidden), nn.Linear(hidden, hidden)]
        self.head = nn.Linear(hidden, CLASSES)

    def __call__(self, images: mx.array) -> mx.array:
        x = mx.flatten(images, start_axis=1)
        for layer in self.layers:
            x = nn.relu(layer(x))
        return self.head(x)


class ConvNet(nn.Module):
    """Two convolutions, each followed by pooling that halves the image, then a linear layer."""

    def __init__(self, channels: int = 16):
        super().__init__()
        self.convolutions = [
            nn.Conv2d(1, channels, kernel_size=3, padding=1),
            nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1),
        ]
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.head = nn.Linear(2 * 2 * 2 * channels, CLASSES)

    def __call__(self, images: mx.array) -> mx.array:
        x = images
        for convolution in self.convolutions:
            x = self.pool(nn.relu(convolution(x)))
        return self.head(mx.flatten(x, start_axis=1))


MODELS = {"mlp": MLP, "conv": ConvNet}


def cross_entropy(model: nn.Module, images: mx.array, labels: mx.array) -> mx.array:
    """Mean nats per image."""
    return nn.losses.cross_entropy(model(images), labels, reduction="mean")


def make_step(model: nn.Module, optimizer: optim.Optimizer) -> Callable[[mx.array, mx.array], mx.array]:
    """Return one training step, compiled as a whole: loss, gradients and the update of every parameter."""
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(images: mx.array, labels: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(model, cross_entropy)(model, images, labels)
        optimizer.update(model, gradients)
        return loss

    return step


def read(model: nn.Module, images: mx.array) -> np.ndarray:
    """Return the likeliest digit for each image."""
    return np.array(mx.argmax(model(images), axis=1))


def train(
    model: nn.Module, data: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], options: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """Train in place; return for each epoch the mean training loss and the accuracy on the images held back."""
    images, labels, held_images, held_labels = data
    held = mx.array(held_images)
    optimizer = optim.Adam(learning_rate=options.lr)
    optimizer.init(model.trainable_parameters())
    step = make_step(model, optimizer)
    rng = np.random.default_rng(options.seed)
    losses, accuracies = [], []
    with tqdm(range(options.epochs), unit="epoch", desc="training", dynamic_ncols=True) as bar:
        for _ in bar:
            order = rng.permutation(len(images))
            # Only whole batches: a step is compiled once for each shape of its inputs.
            batches = order[: len(order) // options.batch * options.batch].reshape(-1, options.batch)
            epoch = []
            for batch in batches:
                loss = step(mx.array(images[batch]), mx.array(labels[batch]))
                mx.eval(loss, model.state, optimizer.state)
                epoch.append(loss.item())
            losses.append(float(np.mean(epoch)))
            accuracies.append(float(np.mean(read(model, held) == held_labels)))
            bar.set_postfix(loss=f"{losses[-1]:.4f}", accuracy=f"{accuracies[-1]:.1%}", refresh=False)
    return losses, accuracies


def save_picture(path: Path, accuracies: list[float], labels: np.ndarray, predicted: np.ndarray) -> None:
    """Draw the accuracy of each epoch, and how often each digit was taken for each other."""
    confusion = np.zeros((CLASSES, CLASSES), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    curve, matrix = figure.subplots(1, 2)
    curve.plot(np.arange(1, len(accuracies) + 1), accuracies, "o-")
    curve.set(xlabel="epoch", ylabel="accuracy on digits held back", title="Training")
    curve.grid(alpha=0.3)
    matrix.imshow(np.log1p(confusion), cmap="Blues")
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            color = "white" if row == column else "black"
            matrix.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
    matrix.set(xlabel="read as", ylabel="digit", xticks=range(CLASSES), yticks=range(CLASSES), title="Confusion")
    figure.savefig(path, dpi=120)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="digits",
        description="Read scikit-learn's handwritten digits with a perceptron or a convolutional network.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", choices=MODELS, default="mlp", help="the network")
    parser.add_argument("--out", type=Path, default=Path("demo-out/digits"), help="folder for the picture")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training images")
    parser.add_argument("--batch", type=int, default=32, help="images per step")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    if not 1 <= options.batch <= 1000:
        parser.error("--batch must be between 1 and 1000")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Run the program."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    mx.random.seed(options.seed)
    data = load(options.seed)
    model = MODELS[options.model]()
    mx.eval(model.parameters())
    parameters = sum(value.size for _, value in tree_flatten(model.parameters()))
    print(f"framework   {mx.__name__} {mx.__version__} on {mx.default_device()}")
    print(f"data        {len(data[0])} digits to learn from, {len(data[2])} held back")
    print(f"model       {options.model}, {parameters:,} parameters")

    losses, accuracies = train(model, data, options)
    print(f"training    loss {losses[0]:.4f} nats in the first epoch, {losses[-1]:.4f} in the last")
    print(f"held back   {accuracies[-1]:.1%} read correctly; chance: {1 / CLASSES:.1%}")
    picture = options.out / f"{options.model}.png"
    save_picture(picture, accuracies, data[3], read(model, mx.array(data[2])))
    print(f"picture     {picture}")


if __name__ == "__main__":
    sys.exit(main())
