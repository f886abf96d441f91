"""Loss functions. All of them compute a loss for each target and then reduce: ``"none"``, ``"mean"`` or ``"sum"``."""

import math
from typing import Literal

import arrax.core as mx
from arrax.nn.arguments import arrays, shown
from arrax.nn.precision import rounded, wide

__all__ = [
    "binary_cross_entropy",
    "cosine_similarity_loss",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div_loss",
    "l1_loss",
    "log_cosh_loss",
    "margin_ranking_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
    "triplet_loss",
]

Reduction = Literal["none", "mean", "sum"]


def _reduce(name: str, loss: mx.array, reduction: str) -> mx.array:
    if reduction == "mean":
        return mx.mean(loss)
    if reduction == "sum":
        return mx.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"[{name}] reduction must be 'none', 'mean' or 'sum' but is {shown(reduction)}.")


def _check_same_shape(name: str, what: str, x: mx.array, other: str, y: mx.array) -> None:
    arrays(name, **{what: x, other: y})
    if x.shape != y.shape:
        raise ValueError(f"[{name}] {what} of shape {x.shape} and {other} of shape {y.shape} must have the same shape.")


def _weighted(name: str, loss: mx.array, weights: mx.array | None) -> mx.array:
    if weights is None:
        return loss
    _check_same_shape(name, "weights", weights, "a loss", loss)
    return loss * weights


def _pick(x: mx.array, indices: mx.array, axis: int) -> mx.array:
    """The values of ``x`` at the given indices along ``axis``."""
    return mx.take_along_axis(x, mx.expand_dims(indices, axis), axis).squeeze(axis)


def cross_entropy(
    logits: mx.array,
    targets: mx.array,
    weights: mx.array | None = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
    reduction: Reduction = "none",
) -> mx.array:
    """The cross entropy of the softmax of ``logits``, relative to the targets.

    Args:
        logits: unnormalized logarithms of probabilities, of the classes along ``axis``.
        targets: either indices of classes, of the shape of ``logits`` without ``axis``, or probabilities of all
            classes, of the shape of ``logits``.
        weights: factors for the losses, of their shape.
        axis: the axis of the classes.
        label_smoothing: how much of the targets' probability to spread evenly over all classes.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes do not fit, there are no logits, ``label_smoothing`` is not in ``[0, 1)`` or ``reduction``
            is unknown.

    >>> import arrax.core as mx
    >>> cross_entropy(mx.array([[2.0, -1.0], [-1.0, 2.0]]), mx.array([0, 1]))
    array([0.0485873, 0.0485873], dtype=float32)
    """
    arrays("cross_entropy", logits=logits, targets=targets)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"[cross_entropy] label_smoothing must be in [0, 1) but is {label_smoothing}.")
    if not logits.size:
        raise ValueError(f"[cross_entropy] logits must not be empty but have the shape {logits.shape}.")
    are_probabilities = targets.ndim == logits.ndim
    expected = list(logits.shape)
    if not are_probabilities:
        del expected[axis]
    if targets.shape != tuple(expected):
        raise ValueError(
            f"[cross_entropy] targets of shape {targets.shape} do not fit logits of shape {logits.shape}: "
            f"classes need the shape without axis {axis}, probabilities the same shape."
        )
    # Relative to the largest one small losses are exact, and probabilities that do not sum to one count as in MLX.
    x = wide(logits)
    x = x - mx.stop_gradient(mx.max(x, axis=axis, keepdims=True))
    score = mx.sum(x * targets, axis=axis) if are_probabilities else _pick(x, targets, axis)
    if label_smoothing:
        score = (1 - label_smoothing) * score + label_smoothing * mx.mean(x, axis=axis)
    loss = rounded(mx.log(mx.sum(mx.exp(x), axis=axis)) - score, logits, *([targets] if are_probabilities else []))
    return _reduce("cross_entropy", _weighted("cross_entropy", loss, weights), reduction)


def binary_cross_entropy(
    inputs: mx.array,
    targets: mx.array,
    weights: mx.array | None = None,
    with_logits: bool = True,
    reduction: Reduction = "mean",
) -> mx.array:
    """The cross entropy of predictions of two classes.

    Args:
        inputs: the predicted values: before the sigmoid, or probabilities.
        targets: the true probabilities, 0 or 1, of the same shape.
        weights: factors for the losses, of the same shape.
        with_logits: whether the inputs are values before the sigmoid. If not, the logarithms of the probabilities are
            limited to -100.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes do not fit or ``reduction`` is unknown.
    """
    _check_same_shape("binary_cross_entropy", "inputs", inputs, "targets", targets)
    if with_logits:
        loss = mx.logaddexp(0.0, inputs) - inputs * targets
    else:
        log_true = mx.maximum(mx.log(inputs), -100)
        log_false = mx.maximum(mx.log(1 - inputs), -100)
        loss = -(targets * log_true + (1 - targets) * log_false)
    return _reduce("binary_cross_entropy", _weighted("binary_cross_entropy", loss, weights), reduction)


def l1_loss(predictions: mx.array, targets: mx.array, reduction: Reduction = "mean") -> mx.array:
    """The magnitudes of the errors.

    Args:
        predictions: the predicted values.
        targets: the true values, of the same shape.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes differ or ``reduction`` is unknown.
    """
    _check_same_shape("l1_loss", "predictions", predictions, "targets", targets)
    return _reduce("l1_loss", mx.abs(predictions - targets), reduction)


def mse_loss(predictions: mx.array, targets: mx.array, reduction: Reduction = "mean") -> mx.array:
    """The squares of the errors.

    Args:
        predictions: the predicted values.
        targets: the true values, of the same shape.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes differ or ``reduction`` is unknown.
    """
    _check_same_shape("mse_loss", "predictions", predictions, "targets", targets)
    return _reduce("mse_loss", mx.square(predictions - targets), reduction)


def nll_loss(inputs: mx.array, targets: mx.array, axis: int = -1, reduction: Reduction = "none") -> mx.array:
    """The negative log-likelihood of the target classes.

    Args:
        inputs: the logarithms of probabilities, of the classes along ``axis``.
        targets: indices of classes, of the shape of ``inputs`` without ``axis``.
        axis: the axis of the classes.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes do not fit or ``reduction`` is unknown.
    """
    arrays("nll_loss", inputs=inputs, targets=targets)
    return _reduce("nll_loss", -_pick(inputs, targets, axis), reduction)


def gaussian_nll_loss(
    inputs: mx.array,
    targets: mx.array,
    vars: mx.array,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> mx.array:
    """The negative log-likelihood of the targets under normal distributions.

    Args:
        inputs: the predicted means.
        targets: the true values, of the same shape.
        vars: the predicted variances, of the same shape.
        full: whether to include the constant ``log(2 * pi) / 2``.
        eps: the least variance.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes differ or ``reduction`` is unknown.
    """
    _check_same_shape("gaussian_nll_loss", "inputs", inputs, "targets", targets)
    _check_same_shape("gaussian_nll_loss", "inputs", inputs, "vars", vars)
    vars = mx.maximum(vars, eps)
    loss = 0.5 * (mx.log(vars) + mx.square(targets - inputs) / vars)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduce("gaussian_nll_loss", loss, reduction)


def kl_div_loss(inputs: mx.array, targets: mx.array, axis: int = -1, reduction: Reduction = "none") -> mx.array:
    """The Kullback-Leibler divergence of the predicted distributions from the target ones.

    Args:
        inputs: the logarithms of the predicted probabilities.
        targets: the logarithms of the true probabilities.
        axis: the axis of the outcomes.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes do not fit or ``reduction`` is unknown.
    """
    arrays("kl_div_loss", inputs=inputs, targets=targets)
    x, y = wide(inputs), wide(targets)
    loss = rounded(mx.sum(mx.exp(y) * (y - x), axis=axis), inputs, targets)
    return _reduce("kl_div_loss", loss, reduction)


def smooth_l1_loss(
    predictions: mx.array, targets: mx.array, beta: float = 1.0, reduction: Reduction = "mean"
) -> mx.array:
    """The magnitudes of the errors, but a parabola below ``beta``: ``error ** 2 / (2 * beta)``.

    Args:
        predictions: the predicted values.
        targets: the true values, of the same shape.
        beta: where the parabola ends.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes differ or ``reduction`` is unknown.
    """
    _check_same_shape("smooth_l1_loss", "predictions", predictions, "targets", targets)
    if beta == 0:
        return l1_loss(predictions, targets, reduction)
    error = mx.abs(predictions - targets)
    loss = mx.where(error < beta, 0.5 * mx.square(error) / beta, error - 0.5 * beta)
    return _reduce("smooth_l1_loss", loss, reduction)


def triplet_loss(
    anchors: mx.array,
    positives: mx.array,
    negatives: mx.array,
    axis: int = -1,
    p: int = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
    reduction: Reduction = "none",
) -> mx.array:
    """By how much an anchor is not nearer to its positive than to its negative example, by the margin.

    Args:
        anchors: the anchors.
        positives: examples to be near to.
        negatives: examples to be far from.
        axis: the axis of the features.
        p: the degree of the norm that measures distances.
        margin: how much nearer the positive example should be.
        eps: added before taking the root, so that it has a derivative at zero.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes do not fit or ``reduction`` is unknown.
    """
    arrays("triplet_loss", anchors=anchors, positives=positives, negatives=negatives)

    def distance(x: mx.array, y: mx.array) -> mx.array:
        powers = mx.power(mx.abs(wide(x) - wide(y)), p)
        return rounded(mx.power(mx.sum(powers, axis=axis) + eps, 1 / p), x, y)

    loss = mx.maximum(distance(anchors, positives) - distance(anchors, negatives) + margin, 0)
    return _reduce("triplet_loss", loss, reduction)


def hinge_loss(inputs: mx.array, targets: mx.array, reduction: Reduction = "none") -> mx.array:
    """``max(0, 1 - inputs * targets)``.

    Args:
        inputs: the predicted values.
        targets: the true classes, -1 or 1.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes do not fit or ``reduction`` is unknown.
    """
    arrays("hinge_loss", inputs=inputs, targets=targets)
    return _reduce("hinge_loss", mx.maximum(1 - inputs * targets, 0), reduction)


def huber_loss(inputs: mx.array, targets: mx.array, delta: float = 1.0, reduction: Reduction = "none") -> mx.array:
    """Half the squares of the errors, but a straight line with the slope ``delta`` above ``delta``.

    Args:
        inputs: the predicted values.
        targets: the true values.
        delta: where the parabola ends.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes do not fit or ``reduction`` is unknown.
    """
    arrays("huber_loss", inputs=inputs, targets=targets)
    error = mx.abs(inputs - targets)
    # The square is bounded, so that an infinite error has a derivative.
    loss = mx.where(error <= delta, 0.5 * mx.square(mx.minimum(delta, error)), delta * (error - 0.5 * delta))
    return _reduce("huber_loss", loss, reduction)


def log_cosh_loss(inputs: mx.array, targets: mx.array, reduction: Reduction = "none") -> mx.array:
    """The logarithm of the hyperbolic cosine of the errors, without overflow.

    Args:
        inputs: the predicted values.
        targets: the true values.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes do not fit or ``reduction`` is unknown.
    """
    arrays("log_cosh_loss", inputs=inputs, targets=targets)
    error = inputs - targets
    return _reduce("log_cosh_loss", mx.logaddexp(error, -error) - math.log(2), reduction)


def cosine_similarity_loss(
    x1: mx.array, x2: mx.array, axis: int = 1, eps: float = 1e-8, reduction: Reduction = "none"
) -> mx.array:
    """The cosines of the angles between vectors.

    Args:
        x1: the first vectors.
        x2: the second vectors.
        axis: the axis of the vectors' components.
        eps: the least product of their lengths to divide by.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes do not fit or ``reduction`` is unknown.
    """
    arrays("cosine_similarity_loss", x1=x1, x2=x2)
    lengths = mx.linalg.norm(x1, axis=axis) * mx.linalg.norm(x2, axis=axis)
    loss = mx.sum(x1 * x2, axis=axis) / mx.maximum(lengths, eps)
    return _reduce("cosine_similarity_loss", loss, reduction)


def margin_ranking_loss(
    inputs1: mx.array,
    inputs2: mx.array,
    targets: mx.array,
    margin: float = 0.0,
    reduction: Reduction = "none",
) -> mx.array:
    """By how much scores are not in the right order by the margin: ``max(0, margin - targets * (inputs1 - inputs2))``.

    Args:
        inputs1: the scores of the first items.
        inputs2: the scores of the second items, of the same shape.
        targets: 1 if the first score should be higher and -1 if the second, of the same shape.
        margin: how far apart the scores should be.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        ValueError: shapes differ or ``reduction`` is unknown.
    """
    _check_same_shape("margin_ranking_loss", "inputs1", inputs1, "inputs2", inputs2)
    _check_same_shape("margin_ranking_loss", "inputs1", inputs1, "targets", targets)
    loss = mx.maximum(0, margin - targets * (inputs1 - inputs2))
    return _reduce("margin_ranking_loss", loss, reduction)


def __dir__() -> list[str]:
    return __all__
