"""Fit a linear model to patients' data by gradient descent, and compare it with the exact solution.

An ordinary MLX program without any layer or optimizer: a loss, its gradient and a step down the slope. The data are the
442 diabetes patients that come with scikit-learn: ten measurements each and how far the disease went within a year.
Expect gradient descent to end within a percent of the exact solution's error, and either to explain a third to a
half of the variance of the patients held back.

    python -m arrax run examples/linear_regression.py      # on Arrax, wherever Python runs
    python examples/linear_regression.py                   # on Apple's MLX, the same file
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from tqdm import tqdm


def load(seed: int, held_out: int = 110) -> tuple[mx.array, mx.array, mx.array, mx.array]:
    """Return the features and targets to fit and those held back; each column has mean 0 and deviation 1 over the fit.

    The last column of the features is 1 throughout: its weight is the intercept.
    """
    features, targets = load_diabetes(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(targets))
    features, targets = features[order], targets[order]
    fitted = slice(held_out, None)
    features = (features - features[fitted].mean(axis=0)) / features[fitted].std(axis=0)
    targets = (targets - targets[fitted].mean()) / targets[fitted].std()
    features = np.column_stack([features, np.ones(len(targets))])
    x, y = mx.array(features.astype(np.float32)), mx.array(targets.astype(np.float32))
    return x[held_out:], y[held_out:], x[:held_out], y[:held_out]


def mean_square(weights: mx.array, x: mx.array, y: mx.array) -> mx.array:
    """Mean squared error of the predictions `x @ weights`."""
    return mx.mean(mx.square(x @ weights - y))


def descend(x: mx.array, y: mx.array, steps: int, lr: float) -> tuple[mx.array, list[float]]:
    """Return the weights after `steps` steps of gradient descent from 0, and the loss before each step."""
    slope = mx.value_and_grad(mean_square)

    @mx.compile
    def step(weights: mx.array) -> tuple[mx.array, mx.array]:
        loss, gradient = slope(weights, x, y)
        return weights - lr * gradient, loss

    weights = mx.zeros(x.shape[1])
    losses = []
    with tqdm(range(steps), unit="step", desc="descending", dynamic_ncols=True) as bar:
        for number in bar:
            weights, loss = step(weights)
            losses.append(loss.item())
            if number % 100 == 0:
                bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
    return weights, losses


def solve(x: mx.array, y: mx.array) -> mx.array:
    """Return the weights of least mean squared error, from the normal equations."""
    return mx.linalg.solve(x.T @ x, x.T @ y, stream=mx.cpu)


def explained(weights: mx.array, x: mx.array, y: mx.array) -> float:
    """Return the share of the variance of `y` that the predictions explain (R²)."""
    return (1 - mean_square(weights, x, y) / mx.var(y)).item()


def save_picture(path: Path, losses: list[float], best: float, y: mx.array, predicted: mx.array) -> None:
    """Draw the loss of each step, and the prediction for each patient held back against the truth."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    curve, scatter = figure.subplots(1, 2)
    curve.plot(np.arange(1, len(losses) + 1), losses, label="gradient descent")
    curve.axhline(best, color="0.3", linestyle="--", label="exact solution")
    curve.set(xlabel="step", ylabel="mean squared error", xscale="log", title="Fitting")
    curve.legend()
    truth = np.array(y)
    ends = [truth.min(), truth.max()]
    scatter.plot(ends, ends, color="0.3", linestyle="--")
    scatter.scatter(truth, np.array(predicted), s=12)
    scatter.set(xlabel="progression", ylabel="predicted", title="Patients held back (standard deviations)")
    figure.savefig(path, dpi=120)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="linear_regression",
        description="Fit a linear model to scikit-learn's diabetes data by gradient descent.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out/linear_regression"), help="folder for the picture")
    parser.add_argument("--steps", type=int, default=2000, help="steps of gradient descent")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--seed", type=int, default=0, help="decides which patients are held back")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error("--steps must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Run the program."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    x, y, x_held, y_held = load(options.seed)
    print(f"framework   {mx.__name__} {mx.__version__} on {mx.default_device()}")
    print(f"data        {x.shape[0]} patients to fit, {x_held.shape[0]} held back, {x.shape[1] - 1} measurements each")

    weights, losses = descend(x, y, options.steps, options.lr)
    exact = solve(x, y)
    final, best = mean_square(weights, x, y).item(), mean_square(exact, x, y).item()
    print(f"fit         mean squared error {losses[0]:.4f} at first, {final:.4f} at last, {best:.4f} exactly solved")
    shares = explained(weights, x_held, y_held), explained(exact, x_held, y_held)
    print(f"held back   variance explained {shares[0]:.1%}, exactly solved {shares[1]:.1%}")
    picture = options.out / "fit.png"
    save_picture(picture, losses, best, y_held, x_held @ weights)
    print(f"picture     {picture}")


if __name__ == "__main__":
    sys.exit(main())
