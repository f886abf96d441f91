"""Normalization layers. All of them normalize to mean zero and variance one; they differ in what they average over."""

import math
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import integer
from arrax.nn.layers.base import Module
from arrax.nn.precision import rounded, wide


def _check_eps(layer: Module, eps: float) -> None:
    """A norm of equal elements divides by the root of eps alone, so that has to exist."""
    if eps <= 0:
        raise ValueError(f"[{type(layer).__name__}] eps must be positive but is {eps}.")


def _normalize(x: mx.array, mean: mx.array, var: mx.array, eps: float) -> mx.array:
    return (x - mean) * mx.rsqrt(var + eps)


def _normalize_over(x: mx.array, axes: tuple[int, ...], eps: float) -> mx.array:
    y = wide(x)
    mean, var = mx.mean(y, axis=axes, keepdims=True), mx.var(y, axis=axes, keepdims=True)
    return rounded(_normalize(y, mean, var, eps), x)


class InstanceNorm(Module):
    """Normalizes each channel of each example over its spatial positions.

    The input has the shape ``(N, ..., C)`` with at least three dimensions.

    Args:
        dims: the number of channels.
        eps: added to the variance.
        affine: whether to multiply by a learned ``weight`` and add a learned ``bias``.

    Raises:
        ValueError: the input has fewer than three dimensions.
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__()
        _check_eps(self, eps)
        if affine:
            self.weight = mx.ones((dims,))
            self.bias = mx.zeros((dims,))
        self.dims = dims
        self.eps = eps

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        if x.ndim < 3:
            raise ValueError(f"[InstanceNorm] the input must have the shape (N, ..., C) but has the shape {x.shape}.")
        axes = tuple(range(1, x.ndim - 1))
        x = _normalize_over(x, axes, self.eps)
        return self.weight * x + self.bias if "weight" in self else x


class LayerNorm(Module):
    """Normalizes over the last axis.

    Args:
        dims: the size of the last axis.
        eps: added to the variance.
        affine: whether to multiply by a learned ``weight``.
        bias: whether to add a learned ``bias`` too.

    >>> import arrax.core as mx
    >>> import arrax.nn as nn
    >>> nn.LayerNorm(2)(mx.array([[1.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = True, bias: bool = True) -> None:
        super().__init__()
        _check_eps(self, eps)
        if affine:
            self.weight = mx.ones((dims,))
            if bias:
                self.bias = mx.zeros((dims,))
        self.eps = eps
        self.dims = dims

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.layer_norm(x, self.get("weight"), self.get("bias"), self.eps)


class RMSNorm(Module):
    """Divides by the root of the mean square over the last axis and multiplies by a learned ``weight``.

    Args:
        dims: the size of the last axis.
        eps: added to the mean square.
    """

    def __init__(self, dims: int, eps: float = 1e-5) -> None:
        super().__init__()
        _check_eps(self, eps)
        self.weight = mx.ones((dims,))
        self.eps = eps

    def _extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.rms_norm(x, self["weight"], self.eps)


class GroupNorm(Module):
    """Normalizes each group of channels of each example over its spatial positions and the channels of the group.

    The input has the shape ``(N, ..., C)``.

    Args:
        num_groups: the number of groups, a divisor of ``dims``.
        dims: the number of channels.
        eps: added to the variance.
        affine: whether to multiply by a learned ``weight`` and add a learned ``bias``.
        pytorch_compatible: a group consists of neighbouring channels, as in PyTorch, instead of every
            ``num_groups``-th one.

    Raises:
        ValueError: ``num_groups`` is no divisor of ``dims``, or one of the two is not positive.
    """

    def __init__(
        self,
        num_groups: int,
        dims: int,
        eps: float = 1e-5,
        affine: bool = True,
        pytorch_compatible: bool = False,
    ) -> None:
        super().__init__()
        _check_eps(self, eps)
        num_groups, dims = integer("GroupNorm", "num_groups", num_groups), integer("GroupNorm", "dims", dims)
        if num_groups == 0 or dims == 0 or dims % num_groups:
            raise ValueError(f"[GroupNorm] dims ({dims}) must be a positive multiple of num_groups ({num_groups}).")
        if affine:
            self.bias = mx.zeros((dims,))
            self.weight = mx.ones((dims,))
        self.num_groups = num_groups
        self.dims = dims
        self.eps = eps
        self.pytorch_compatible = pytorch_compatible

    def _extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.dims}, eps={self.eps}, affine={'weight' in self}, "
            f"pytorch_compatible={self.pytorch_compatible}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        if x.ndim < 2:
            raise ValueError(f"[GroupNorm] the input must have the shape (N, ..., C) but has the shape {x.shape}.")
        batch, groups, positions = x.shape[0], self.num_groups, math.prod(x.shape[1:-1])
        axes: tuple[int, ...]
        if self.pytorch_compatible:
            grouped, axes = x.reshape(batch, positions, groups, -1), (1, 3)
        else:
            grouped, axes = x.reshape(batch, -1, groups), (1,)
        y = _normalize_over(grouped, axes, self.eps).reshape(x.shape)
        return self.weight * y + self.bias if "weight" in self else y


class BatchNorm(Module):
    """Normalizes each feature over all examples and positions.

    The input has the shape ``(N, C)``, ``(N, L, C)`` or ``(N, H, W, C)``. In training mode the statistics are those of
    the batch, and running averages of them are kept; in evaluation mode the running averages are used.

    Args:
        num_features: the number of features.
        eps: added to the variance.
        momentum: the part of the batch's statistics in the new running averages.
        affine: whether to multiply by a learned ``weight`` and add a learned ``bias``.
        track_running_stats: whether to keep running averages; without them the batch's statistics are always used.

    Raises:
        ValueError: the input has not 2, 3 or 4 dimensions, or there is only one value for each feature in training.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        _check_eps(self, eps)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = mx.ones((num_features,))
            self.bias = mx.zeros((num_features,))
        if track_running_stats:
            self.running_mean = mx.zeros((num_features,))
            self.running_var = mx.ones((num_features,))
            self.freeze(keys=["running_mean", "running_var"], recurse=False)

    def unfreeze(self, *args: Any, **kwargs: Any) -> "BatchNorm":
        """Like :meth:`Module.unfreeze`, but the running statistics stay frozen: they are not trained."""
        super().unfreeze(*args, **kwargs)
        if self.track_running_stats:
            self.freeze(keys=["running_mean", "running_var"], recurse=False)
        return self

    def _extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={'weight' in self}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        if not 2 <= x.ndim <= 4:
            raise ValueError(f"[BatchNorm] the input must have 2, 3 or 4 dimensions but has {x.ndim}.")
        features = wide(x)
        if self.training or not self.track_running_stats:
            axes = tuple(range(x.ndim - 1))
            mean, var = mx.mean(features, axis=axes), mx.var(features, axis=axes)
            y = rounded(_normalize(features, mean, var, self.eps), x)
            if self.training:
                self._track(x, mean, var, count=math.prod(x.shape[:-1]))
        else:
            mean, var = self.running_mean, self.running_var
            y = rounded(_normalize(features, wide(mean), wide(var), self.eps), x, mean, var)
        return self.weight * y + self.bias if "weight" in self else y

    def _track(self, x: mx.array, mean: mx.array, var: mx.array, count: int) -> None:
        if count <= 1:
            raise ValueError("[BatchNorm] training needs more than one value for each feature.")
        if self.track_running_stats:
            kept, new = 1 - self.momentum, self.momentum
            # The running variance estimates that of the population, hence the correction by the number of values.
            running, corrected = wide(self.running_var), new * (count / (count - 1)) * var
            self.running_mean = rounded(kept * wide(self.running_mean) + new * mean, self.running_mean, x)
            self.running_var = rounded(kept * running + corrected, self.running_var, x)
