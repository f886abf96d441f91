"""Layers that drop values at random during training."""

import arrax.core as mx
from arrax.nn.layers.base import Module


class Dropout(Module):
    """Sets every value to zero with probability ``p`` and divides the others by ``1 - p``, in training mode only.

    Args:
        p: the probability to drop a value.

    Raises:
        ValueError: ``p`` is not in ``[0, 1)``.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"[{type(self).__name__}] the probability to drop must be in [0, 1) but is {p}.")
        self._p_1 = 1 - p

    def _extra_repr(self) -> str:
        return f"p={1 - self._p_1}"

    def _mask_shape(self, x: mx.array) -> tuple[int, ...]:
        """The shape of the random mask; it is broadcast to the shape of ``x``."""
        return x.shape

    def __call__(self, x: mx.array) -> mx.array:
        if self._p_1 == 1 or not self.training:
            return x
        mask = mx.random.bernoulli(self._p_1, self._mask_shape(x))
        return mask * x * (1 / self._p_1)


def _channel_mask_shape(layer: Dropout, x: mx.array, spatial_dims: int) -> tuple[int, ...]:
    if x.ndim not in (spatial_dims + 1, spatial_dims + 2):
        expected = f"{spatial_dims + 1} or {spatial_dims + 2}"
        raise ValueError(f"[{type(layer).__name__}] the input must have {expected} dimensions but has {x.ndim}.")
    return x.shape[: -spatial_dims - 1] + (1,) * spatial_dims + x.shape[-1:]


class Dropout2d(Dropout):
    """Sets whole channels of images to zero with probability ``p`` and divides the others by ``1 - p``.

    The input has the shape ``(N, H, W, C)`` or ``(H, W, C)``.

    Args:
        p: the probability to drop a channel.

    Raises:
        ValueError: ``p`` is not in ``[0, 1)``, or the input has not 3 or 4 dimensions.
    """

    def _mask_shape(self, x: mx.array) -> tuple[int, ...]:
        return _channel_mask_shape(self, x, 2)


class Dropout3d(Dropout):
    """Sets whole channels of volumes to zero with probability ``p`` and divides the others by ``1 - p``.

    The input has the shape ``(N, D, H, W, C)`` or ``(D, H, W, C)``.

    Args:
        p: the probability to drop a channel.

    Raises:
        ValueError: ``p`` is not in ``[0, 1)``, or the input has not 4 or 5 dimensions.
    """

    def _mask_shape(self, x: mx.array) -> tuple[int, ...]:
        return _channel_mask_shape(self, x, 3)
