"""Optimizers: rules that change parameters by their gradients.

>>> import arrax.core as mx
>>> import arrax.nn as nn
>>> import arrax.optimizers as optim
>>> model = nn.Linear(2, 1)
>>> optimizer = optim.SGD(learning_rate=0.1)
>>> loss, gradients = nn.value_and_grad(model, lambda x: model(x).sum())(mx.ones((1, 2)))
>>> optimizer.update(model, gradients)
>>> mx.eval(model.parameters(), optimizer.state)
"""

import math
from collections.abc import Iterable

import arrax.core as mx
from arrax.optimizers.base import MultiOptimizer, Optimizer, Rate, clip_grad_norm

__all__ = [
    "SGD",
    "AdaDelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "MultiOptimizer",
    "Muon",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
]


def _check(optimizer: Optimizer, name: str, value: float, valid: bool, condition: str) -> None:
    if not valid:
        raise ValueError(f"[{type(optimizer).__name__}] {name} must be {condition} but is {value}.")


def _check_betas(optimizer: Optimizer, betas: Iterable[float]) -> None:
    for i, beta in enumerate(betas, start=1):
        _check(optimizer, f"beta {i}", beta, 0 <= beta < 1, "in [0, 1)")


class SGD(Optimizer):
    """Stochastic gradient descent: ``v = momentum * v + (1 - dampening) * g`` and ``w = w - learning_rate * v``.

    Args:
        learning_rate: the learning rate, or a schedule for it.
        momentum: how much of the last step to repeat.
        weight_decay: how much of the parameter to add to the gradient.
        dampening: by how much to lower the gradient's part in ``v``.
        nesterov: use Nesterov's momentum: the step is ``g + momentum * v``.

    Raises:
        ValueError: ``nesterov`` is set without momentum or with dampening.
    """

    def __init__(
        self,
        learning_rate: Rate,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("[SGD] Nesterov's momentum needs a positive momentum and no dampening.")
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dampening = dampening
        self.nesterov = nesterov

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """See :meth:`Optimizer.init_single`."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        rate = self.learning_rate.astype(gradient.dtype)
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        if self.momentum <= 0:
            return parameter - rate * gradient
        new = (1 - self.dampening) * gradient if self.dampening > 0 else gradient
        v = self.momentum * state["v"] + new
        state["v"] = v
        return parameter - rate * (gradient + self.momentum * v if self.nesterov else v)


class RMSprop(Optimizer):
    """RMSprop: divides the gradient by the root of a running mean of its square.

    ``v = alpha * v + (1 - alpha) * g ** 2`` and ``w = w - learning_rate * g / (sqrt(v) + eps)``.

    Args:
        learning_rate: the learning rate, or a schedule for it.
        alpha: how much of the running mean to keep.
        eps: keeps the denominator from zero.

    Raises:
        ValueError: ``alpha`` is negative or ``eps`` is not positive.
    """

    def __init__(self, learning_rate: Rate, alpha: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.alpha = alpha
        self.eps = eps
        _check(self, "alpha", alpha, alpha >= 0, ">=0")
        _check(self, "eps", eps, eps > 0, ">0")

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """See :meth:`Optimizer.init_single`."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = self.alpha * state["v"] + (1 - self.alpha) * mx.square(gradient)
        state["v"] = v
        return parameter - rate * gradient / (mx.sqrt(v) + self.eps)


class Adagrad(Optimizer):
    """Adagrad: divides the gradient by the root of the sum of all its squares.

    ``v = v + g ** 2`` and ``w = w - learning_rate * g / (sqrt(v) + eps)``.

    Args:
        learning_rate: the learning rate, or a schedule for it.
        eps: keeps the denominator from zero.

    Raises:
        ValueError: ``eps`` is not positive.
    """

    def __init__(self, learning_rate: Rate, eps: float = 1e-8) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.eps = eps
        _check(self, "eps", eps, eps > 0, ">0")

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """See :meth:`Optimizer.init_single`."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = state["v"] + mx.square(gradient)
        state["v"] = v
        return parameter - rate * gradient / (mx.sqrt(v) + self.eps)


class AdaDelta(Optimizer):
    """AdaDelta: scales the gradient by the ratio of running root mean squares of the steps and of the gradients.

    ``v = rho * v + (1 - rho) * g ** 2``, ``d = sqrt(u + eps) / sqrt(v + eps) * g``,
    ``u = rho * u + (1 - rho) * d ** 2`` and ``w = w - learning_rate * d``.

    Args:
        learning_rate: the learning rate, or a schedule for it.
        rho: how much of the running means to keep.
        eps: keeps the ratio from zero and infinity.

    Raises:
        ValueError: ``rho`` is negative or ``eps`` is not positive.
    """

    def __init__(self, learning_rate: Rate, rho: float = 0.9, eps: float = 1e-6) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.rho = rho
        self.eps = eps
        _check(self, "rho", rho, rho >= 0, ">=0")
        _check(self, "eps", eps, eps > 0, ">0")

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """See :meth:`Optimizer.init_single`."""
        state["v"] = mx.zeros_like(parameter)
        state["u"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        rate = self.learning_rate.astype(gradient.dtype)
        u = state["u"]
        v = self.rho * state["v"] + (1 - self.rho) * mx.square(gradient)
        d = mx.sqrt(u + self.eps) / mx.sqrt(v + self.eps) * gradient
        state["v"] = v
        state["u"] = self.rho * u + (1 - self.rho) * mx.square(d)
        return parameter - rate * d


class Adam(Optimizer):
    """Adam: divides a running mean of the gradient by the root of a running mean of its square.

    ``m = b1 * m + (1 - b1) * g``, ``v = b2 * v + (1 - b2) * g ** 2`` and
    ``w = w - learning_rate * m / (sqrt(v) + eps)``.

    Args:
        learning_rate: the learning rate, or a schedule for it.
        betas: how much of the two running means to keep.
        eps: keeps the denominator from zero.
        bias_correction: make up for the running means starting at zero.

    Raises:
        ValueError: a beta is not in ``[0, 1)`` or ``eps`` is negative.
    """

    def __init__(
        self,
        learning_rate: Rate,
        betas: list[float] = [0.9, 0.999],  # noqa: B006
        eps: float = 1e-8,
        bias_correction: bool = False,
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.betas = betas
        self.eps = eps
        self.bias_correction = bias_correction
        _check_betas(self, betas)
        _check(self, "eps", eps, eps >= 0, ">=0")

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """See :meth:`Optimizer.init_single`."""
        state["m"] = mx.zeros_like(parameter)
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        rate = self.learning_rate.astype(gradient.dtype)
        b1, b2 = self.betas
        m = b1 * state["m"] + (1 - b1) * gradient
        v = b2 * state["v"] + (1 - b2) * mx.square(gradient)
        state["m"] = m
        state["v"] = v
        if not self.bias_correction:
            return parameter - rate * m / (mx.sqrt(v) + self.eps)
        rate = (rate / (1 - b1**self.step)).astype(gradient.dtype)
        correction = mx.rsqrt(1 - b2**self.step).astype(gradient.dtype)
        return parameter - rate * m / (mx.sqrt(v) * correction + self.eps)


class AdamW(Adam):
    """:class:`Adam` with weight decay apart from the gradient: ``w`` is first scaled by ``1 - learning_rate * decay``.

    Args:
        learning_rate: the learning rate, or a schedule for it.
        betas: how much of the two running means to keep.
        eps: keeps the denominator from zero.
        weight_decay: the decay.
        bias_correction: make up for the running means starting at zero.

    Raises:
        ValueError: a beta is not in ``[0, 1)`` or ``eps`` is negative.
    """

    def __init__(
        self,
        learning_rate: Rate,
        betas: list[float] = [0.9, 0.999],  # noqa: B006
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        bias_correction: bool = False,
    ) -> None:
        super().__init__(learning_rate, betas, eps, bias_correction)
        self.weight_decay = weight_decay

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        rate = self.learning_rate.astype(gradient.dtype)
        return super().apply_single(gradient, parameter * (1 - rate * self.weight_decay), state)


class Adamax(Adam):
    """A variant of :class:`Adam` with a running maximum of the gradient's magnitude, without correction of biases.

    ``m = b1 * m + (1 - b1) * g``, ``v = max(b2 * v, |g|)`` and ``w = w - learning_rate * m / (v + eps)``.

    Args:
        learning_rate: the learning rate, or a schedule for it.
        betas: how much of the running mean and maximum to keep.
        eps: keeps the denominator from zero.

    Raises:
        ValueError: a beta is not in ``[0, 1)`` or ``eps`` is negative.
    """

    def __init__(
        self,
        learning_rate: Rate,
        betas: list[float] = [0.9, 0.999],  # noqa: B006
        eps: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate, betas, eps)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        rate = self.learning_rate.astype(gradient.dtype)
        b1, b2 = self.betas
        m = b1 * state["m"] + (1 - b1) * gradient
        v = mx.maximum(b2 * state["v"], mx.abs(gradient))
        state["m"] = m
        state["v"] = v
        return parameter - rate * m / (v + self.eps)


class Lion(Optimizer):
    """Lion: steps by the sign of a running mean of the gradient, always of the same length.

    ``c = b1 * m + (1 - b1) * g``, ``m = b2 * m + (1 - b2) * g`` and
    ``w = w - learning_rate * (sign(c) + weight_decay * w)``. It wants a learning rate 3 to 10 times lower than
    :class:`AdamW`, and a weight decay higher by as much.

    Args:
        learning_rate: the learning rate, or a schedule for it.
        betas: how much of the running mean counts for the step, and how much of it to keep.
        weight_decay: the decay.

    Raises:
        ValueError: a beta is not in ``[0, 1)``.
    """

    def __init__(
        self,
        learning_rate: Rate,
        betas: list[float] = [0.9, 0.99],  # noqa: B006
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.betas = betas
        self.weight_decay = weight_decay
        _check_betas(self, betas)

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """See :meth:`Optimizer.init_single`."""
        state["m"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        rate = self.learning_rate.astype(gradient.dtype)
        b1, b2 = self.betas
        m = state["m"]
        c = b1 * m + (1 - b1) * gradient
        state["m"] = b2 * m + (1 - b2) * gradient
        if self.weight_decay > 0:
            parameter = parameter * (1 - rate * self.weight_decay)
        return parameter - rate * mx.sign(c)


class Adafactor(Optimizer):
    """Adafactor: keeps, instead of the running mean square of a matrix, those of its rows and columns.

    Args:
        learning_rate: the learning rate, or a schedule for it; used without ``relative_step`` only.
        eps: added to the square of the gradient, and the least scale of a parameter.
        clip_threshold: the largest root mean square of a step before the learning rate applies.
        decay_rate: the running means keep ``1 - step ** decay_rate``.
        beta_1: how much of a running mean of the steps to keep; there is none without it.
        weight_decay: the decay of the parameters.
        scale_parameter: multiply the learning rate by the root mean square of the parameter.
        relative_step: use a learning rate that falls with the root of the number of steps.
        warmup_init: begin with a small relative step that grows.
    """

    def __init__(
        self,
        learning_rate: Rate | None = None,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta_1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        super().__init__()
        if learning_rate is not None:
            self._maybe_schedule("learning_rate", learning_rate)
        if not isinstance(eps, (tuple, list)) or len(eps) != 2:
            raise ValueError(f"[Adafactor] eps must be a pair of numbers but is a {type(eps).__name__}.")
        self.eps = eps
        self.clip_threshold = clip_threshold
        self.decay_rate = decay_rate
        self.beta_1 = beta_1
        self.weight_decay = weight_decay
        self.scale_parameter = scale_parameter
        self.relative_step = relative_step
        self.warmup_init = warmup_init

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """See :meth:`Optimizer.init_single`."""
        shape, dtype = parameter.shape, parameter.dtype
        if parameter.ndim >= 2:
            state["exp_avg_sq_row"] = mx.zeros(shape[:-1], dtype=dtype)
            state["exp_avg_sq_col"] = mx.zeros(shape[:-2] + shape[-1:], dtype=dtype)
        else:
            state["exp_avg_sq"] = mx.zeros_like(parameter)
        if self.beta_1 is not None:
            state["exp_avg"] = mx.zeros_like(parameter)

    def _rate(self, parameter: mx.array) -> mx.array:
        if self.relative_step:
            least = 1e-6 * self.step if self.warmup_init else 1e-2
            rate = mx.minimum(least, mx.rsqrt(self.step))
        else:
            rate = self.learning_rate
        rate = rate.astype(parameter.dtype)
        return mx.maximum(self.eps[1], _rms(parameter)) * rate if self.scale_parameter else rate

    def _approximate_exp_moving_avg(self, rows: mx.array, columns: mx.array) -> mx.array:
        """The inverse root of the matrix of which only the means over its rows and columns are known."""
        row_factor = mx.rsqrt(rows / mx.mean(rows, axis=-1, keepdims=True))
        return row_factor[..., :, None] * mx.rsqrt(columns)[..., None, :]

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        rate = self._rate(parameter)
        keep = (1.0 - self.step**self.decay_rate).astype(gradient.dtype)
        square = mx.square(gradient) + self.eps[0]
        if gradient.ndim >= 2:
            rows = keep * state["exp_avg_sq_row"] + (1 - keep) * mx.mean(square, axis=-1)
            columns = keep * state["exp_avg_sq_col"] + (1 - keep) * mx.mean(square, axis=-2)
            state["exp_avg_sq_row"] = rows
            state["exp_avg_sq_col"] = columns
            update = self._approximate_exp_moving_avg(rows, columns) * gradient
        else:
            mean_square = keep * state["exp_avg_sq"] + (1 - keep) * square
            state["exp_avg_sq"] = mean_square
            update = mx.rsqrt(mean_square) * gradient
        update = rate * (update / mx.maximum(1.0, _rms(update) / self.clip_threshold))
        if self.beta_1 is not None:
            update = self.beta_1 * state["exp_avg"] + (1 - self.beta_1) * update
            state["exp_avg"] = update
        if self.weight_decay != 0:
            parameter = parameter - parameter * (self.weight_decay * rate)
        return parameter - update


def _rms(x: mx.array) -> mx.array:
    return mx.sqrt(mx.mean(mx.square(x)))


class Muon(Optimizer):
    """Muon: steps by the nearest orthogonal matrix to a running mean of the gradient.

    It is meant for hidden layers; vectors, embeddings and the output layer are better left to another optimizer, see
    :class:`MultiOptimizer`. The filters of a convolution count as the rows of a matrix.

    Args:
        learning_rate: the learning rate, or a schedule for it.
        momentum: how much of the running mean to keep.
        weight_decay: how much of the parameter to add to the gradient.
        nesterov: use Nesterov's momentum.
        ns_steps: the number of Newton-Schulz iterations that approximate the orthogonal matrix.
    """

    def __init__(
        self,
        learning_rate: Rate,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        nesterov: bool = True,
        ns_steps: int = 5,
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.ns_steps = ns_steps

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """See :meth:`Optimizer.init_single`."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """See :meth:`Optimizer.apply_single`."""
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        v = self.momentum * state["v"] + (1 - self.momentum) * gradient
        state["v"] = v
        update = (1 - self.momentum) * gradient + self.momentum * v if self.nesterov else v
        rate = self.learning_rate.astype(gradient.dtype)
        if update.ndim >= 2:
            matrix = update.reshape(update.shape[0], -1)
            rows, columns = matrix.shape
            update = _orthogonalized(matrix, self.ns_steps).reshape(update.shape)
            rate = rate * math.sqrt(max(1, rows / columns))
        return parameter - rate * update


def _orthogonalized(x: mx.array, steps: int) -> mx.array:
    """Push the singular values of a matrix towards one by iterating an odd polynomial of degree five."""
    a, b, c = 3.4445, -4.7750, 2.0315
    # The products are smallest for a wide matrix.
    is_tall = x.shape[0] > x.shape[1]
    if is_tall:
        x = x.T
    x = x / (mx.linalg.norm(x) + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = mx.addmm(a * x, mx.addmm(b * gram, gram, gram, alpha=c), x)
    return x.T if is_tall else x
