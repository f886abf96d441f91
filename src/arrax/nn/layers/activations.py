"""Activation functions, each as a function and as a layer.

They are plain compositions of pointwise operations: evaluation fuses them with what comes before and after.
"""

import math
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import shown
from arrax.nn.layers.base import Module
from arrax.nn.precision import rounded, wide


def sigmoid(x: mx.array) -> mx.array:
    """The logistic function ``1 / (1 + exp(-x))``."""
    return mx.sigmoid(x)


def relu(x: mx.array) -> mx.array:
    """``max(x, 0)``.

    >>> import arrax.core as mx
    >>> relu(mx.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return mx.maximum(x, 0)


def relu2(x: mx.array) -> mx.array:
    """The square of :func:`relu`."""
    return mx.square(mx.maximum(x, 0))


def relu6(x: mx.array) -> mx.array:
    """``min(max(x, 0), 6)``."""
    return mx.minimum(mx.maximum(x, 0), 6.0)


def leaky_relu(x: mx.array, negative_slope: float = 0.01) -> mx.array:
    """``x`` where it is positive and ``negative_slope * x`` elsewhere."""
    return mx.maximum(negative_slope * x, x)


def prelu(x: mx.array, alpha: mx.array) -> mx.array:
    """``x`` where it is positive and ``alpha * x`` elsewhere, with an array of slopes."""
    return mx.maximum(0, x) + alpha * mx.minimum(0, x)


def elu(x: mx.array, alpha: float = 1.0) -> mx.array:
    """``x`` where it is positive and ``alpha * (exp(x) - 1)`` elsewhere."""
    return mx.where(x > 0, x, alpha * (mx.exp(x) - 1))


def celu(x: mx.array, alpha: float = 1.0) -> mx.array:
    """``max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1)``, an :func:`elu` whose derivative is continuous."""
    return mx.maximum(x, 0.0) + alpha * (mx.exp(mx.minimum(x, 0.0) / alpha) - 1)


def selu(x: mx.array) -> mx.array:
    """An :func:`elu` with ``alpha = 1.67326``, scaled by 1.0507, which keeps activations normalized."""
    return 1.0507 * elu(x, 1.67326)


def silu(x: mx.array) -> mx.array:
    """``x * sigmoid(x)``, also known as Swish."""
    return x * mx.sigmoid(x)


def gelu(x: mx.array) -> mx.array:
    """``x`` times the distribution function of the standard normal distribution."""
    return x * (1 + mx.erf(x / math.sqrt(2))) / 2


def gelu_approx(x: mx.array) -> mx.array:
    """An approximation of :func:`gelu` by a hyperbolic tangent, accurate to 0.0005 for ``|x| <= 6``."""
    return 0.5 * x * (1 + mx.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_fast_approx(x: mx.array) -> mx.array:
    """An approximation of :func:`gelu` by ``x * sigmoid(1.702 * x)``, accurate to 0.015 for ``|x| <= 6``."""
    return x * mx.sigmoid(1.702 * x)


def mish(x: mx.array) -> mx.array:
    """``x * tanh(softplus(x))``."""
    return x * mx.tanh(softplus(x))


def softplus(x: mx.array) -> mx.array:
    """``log(1 + exp(x))``, without overflow."""
    return mx.logaddexp(x, 0)


def softsign(x: mx.array) -> mx.array:
    """``x / (1 + |x|)``."""
    return x / (1 + mx.abs(x))


def softshrink(x: mx.array, lambd: float = 0.5) -> mx.array:
    """Zero where ``|x| <= lambd``, and ``x`` moved towards zero by ``lambd`` elsewhere."""
    return mx.where(mx.abs(x) > lambd, x - mx.sign(x) * lambd, 0)


def hard_shrink(x: mx.array, lambd: float = 0.5) -> mx.array:
    """Zero where ``|x| <= lambd``, and ``x`` elsewhere."""
    return mx.where(mx.abs(x) > lambd, x, 0)


def hard_tanh(x: mx.array, min_val: float = -1.0, max_val: float = 1.0) -> mx.array:
    """``x`` limited to the interval from ``min_val`` to ``max_val``."""
    return mx.minimum(mx.maximum(x, min_val), max_val)


def hardswish(x: mx.array) -> mx.array:
    """``x * min(max(x + 3, 0), 6) / 6``."""
    return x * mx.minimum(mx.maximum(x + 3, 0), 6) / 6


def step(x: mx.array, threshold: float = 0.0) -> mx.array:
    """1 where ``x >= threshold`` and 0 elsewhere, as int32."""
    return mx.where(x >= threshold, 1, 0)


def tanh(x: mx.array) -> mx.array:
    """The hyperbolic tangent."""
    return mx.tanh(x)


def log_sigmoid(x: mx.array) -> mx.array:
    """The logarithm of :func:`sigmoid`, without cancellation."""
    return -softplus(-x)


def softmax(x: mx.array, axis: int = -1) -> mx.array:
    """Exponentials of ``x`` divided by their sum along ``axis``."""
    return mx.softmax(x, axis=axis)


def softmin(x: mx.array, axis: int = -1) -> mx.array:
    """:func:`softmax` of ``-x``."""
    return mx.softmax(-x, axis=axis)


def log_softmax(x: mx.array, axis: int = -1) -> mx.array:
    """The logarithm of :func:`softmax`, without cancellation."""
    # Subtracting the largest value first keeps small results exact; x - logsumexp(x) would round at the scale of x.
    y = wide(x)
    y = y - mx.stop_gradient(mx.max(y, axis=axis, keepdims=True))
    return rounded(y - mx.log(mx.sum(mx.exp(y), axis=axis, keepdims=True)), x)


def glu(x: mx.array, axis: int = -1) -> mx.array:
    """The gated linear unit: the first half of ``x`` along ``axis`` times the sigmoid of the second half.

    Raises:
        ValueError: the size along ``axis`` is odd.
    """
    value, gate = mx.split(x, 2, axis=axis)
    return value * mx.sigmoid(gate)


class Sigmoid(Module):
    """See :func:`sigmoid`."""

    def __call__(self, x: mx.array) -> mx.array:
        return sigmoid(x)


class ReLU(Module):
    """See :func:`relu`."""

    def __call__(self, x: mx.array) -> mx.array:
        return relu(x)


class ReLU2(Module):
    """See :func:`relu2`."""

    def __call__(self, x: mx.array) -> mx.array:
        return relu2(x)


class ReLU6(Module):
    """See :func:`relu6`."""

    def __call__(self, x: mx.array) -> mx.array:
        return relu6(x)


class LeakyReLU(Module):
    """See :func:`leaky_relu`.

    Args:
        negative_slope: the slope where the input is negative.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self._negative_slope = negative_slope

    def __call__(self, x: mx.array) -> mx.array:
        return leaky_relu(x, self._negative_slope)


class PReLU(Module):
    """See :func:`prelu`. The slopes are learned.

    Args:
        num_parameters: how many slopes there are: one for all features, or one each.
        init: their first value.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.weight = mx.full([num_parameters], init)

    def __call__(self, x: mx.array) -> mx.array:
        return prelu(x, self.weight)


class ELU(Module):
    """See :func:`elu`.

    Args:
        alpha: minus the limit for very negative inputs.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self._alpha = alpha

    def __call__(self, x: mx.array) -> mx.array:
        return elu(x, self._alpha)


class CELU(Module):
    """See :func:`celu`.

    Args:
        alpha: minus the limit for very negative inputs.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self._alpha = alpha

    def __call__(self, x: mx.array) -> mx.array:
        return celu(x, self._alpha)


class SELU(Module):
    """See :func:`selu`."""

    def __call__(self, x: mx.array) -> mx.array:
        return selu(x)


class SiLU(Module):
    """See :func:`silu`."""

    def __call__(self, x: mx.array) -> mx.array:
        return silu(x)


_GELU = {"none": gelu, "precise": gelu_approx, "tanh": gelu_approx, "fast": gelu_fast_approx}


class GELU(Module):
    """See :func:`gelu`.

    Args:
        approx: ``"none"`` for :func:`gelu`, ``"precise"`` or ``"tanh"`` for :func:`gelu_approx`, ``"fast"`` for
            :func:`gelu_fast_approx`.

    Raises:
        ValueError: ``approx`` is something else.
    """

    def __init__(self, approx: str = "none") -> None:
        super().__init__()
        if approx not in _GELU:
            raise ValueError(f"[GELU] approx must be one of {list(_GELU)} but is {shown(approx)}.")
        self._approx = approx

    def __call__(self, x: mx.array) -> mx.array:
        return _GELU[self._approx](x)


class Mish(Module):
    """See :func:`mish`."""

    def __call__(self, x: mx.array) -> mx.array:
        return mish(x)


class Softplus(Module):
    """See :func:`softplus`."""

    def __call__(self, x: mx.array) -> mx.array:
        return softplus(x)


class Softsign(Module):
    """See :func:`softsign`."""

    def __call__(self, x: mx.array) -> mx.array:
        return softsign(x)


class Softshrink(Module):
    """See :func:`softshrink`.

    Args:
        lambd: the largest magnitude that becomes zero.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def __call__(self, x: mx.array) -> mx.array:
        return softshrink(x, self.lambd)


class HardShrink(Module):
    """See :func:`hard_shrink`.

    Args:
        lambd: the largest magnitude that becomes zero.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def __call__(self, x: mx.array) -> mx.array:
        return hard_shrink(x, self.lambd)


class HardTanh(Module):
    """See :func:`hard_tanh`."""

    def __call__(self, x: mx.array) -> mx.array:
        return hard_tanh(x)


class Hardswish(Module):
    """See :func:`hardswish`."""

    def __call__(self, x: mx.array) -> mx.array:
        return hardswish(x)


class Step(Module):
    """See :func:`step`.

    Args:
        threshold: the smallest input whose output is 1.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def __call__(self, x: mx.array) -> mx.array:
        return step(x, self.threshold)


class Tanh(Module):
    """See :func:`tanh`."""

    def __call__(self, x: mx.array) -> mx.array:
        return tanh(x)


class LogSigmoid(Module):
    """See :func:`log_sigmoid`."""

    def __call__(self, x: mx.array) -> mx.array:
        return log_sigmoid(x)


class Softmax(Module):
    """See :func:`softmax`; over the last axis."""

    def __call__(self, x: mx.array) -> mx.array:
        return softmax(x)


class Softmin(Module):
    """See :func:`softmin`; over the last axis."""

    def __call__(self, x: mx.array) -> mx.array:
        return softmin(x)


class LogSoftmax(Module):
    """See :func:`log_softmax`; over the last axis."""

    def __call__(self, x: mx.array) -> mx.array:
        return log_softmax(x)


class GLU(Module):
    """See :func:`glu`.

    Args:
        axis: the axis to halve.
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def __call__(self, x: mx.array) -> Any:
        return glu(x, self.axis)
