"""Convolutions. Channels are last: inputs have the shape ``(N, ..., C)``."""

import math

import arrax.core as mx
from arrax.nn.arguments import integer, integers
from arrax.nn.layers.base import Module


def random_filters(layer: str, out_channels: int, kernel_size: tuple[int, ...], in_channels: int) -> mx.array:
    """The first weights of a convolution: uniform, of a variance that goes with the size of a filter."""
    fan = math.prod(kernel_size) * integer(layer, "in_channels", in_channels, least=1)
    bound = math.sqrt(1 / fan)
    return mx.random.uniform(low=-bound, high=bound, shape=(out_channels, *kernel_size, in_channels))


def _channels_per_group(layer: str, in_channels: int, groups: int) -> int:
    in_channels, groups = integer(layer, "in_channels", in_channels, 1), integer(layer, "groups", groups, 1)
    if in_channels % groups:
        raise ValueError(f"[{layer}] in_channels must be a multiple of groups ({groups}) but is {in_channels}.")
    return in_channels // groups


class Conv1d(Module):
    """Convolution of sequences of the shape ``(N, L, C)``.

    ``weight`` has the shape ``(out_channels, kernel_size, in_channels // groups)``.

    Args:
        in_channels: the number of input channels.
        out_channels: the number of output channels.
        kernel_size: the size of a filter.
        stride: the step of the filter.
        padding: how many zeros to add on both sides.
        dilation: the distance of the positions that a filter sees.
        groups: in how many groups the channels are split; each sees its own only.
        bias: whether to add a bias.

    Raises:
        ValueError: ``in_channels`` is not a multiple of ``groups``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        channels = _channels_per_group("Conv1d", in_channels, groups)
        self.weight = random_filters(
            "Conv1d", out_channels, integers("Conv1d", "kernel_size", kernel_size, 1, least=1), channels
        )
        if bias:
            self.bias = mx.zeros((out_channels,))
        self.padding = padding
        self.dilation = dilation
        self.stride = stride
        self.groups = groups

    def _extra_repr(self) -> str:
        out_channels, kernel_size, channels = self.weight.shape
        return (
            f"{channels * self.groups}, {out_channels}, kernel_size={kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, bias={'bias' in self}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.conv1d(x, self.weight, self.stride, self.padding, self.dilation, self.groups)
        return y + self.bias if "bias" in self else y


class Conv2d(Module):
    """Convolution of images of the shape ``(N, H, W, C)``.

    ``weight`` has the shape ``(out_channels, *kernel_size, in_channels // groups)``.

    Args:
        in_channels: the number of input channels.
        out_channels: the number of output channels.
        kernel_size: the size of a filter.
        stride: the step of the filter.
        padding: how many zeros to add on both sides.
        dilation: the distance of the positions that a filter sees.
        groups: in how many groups the channels are split; each sees its own only.
        bias: whether to add a bias.

    Raises:
        ValueError: ``in_channels`` is not a multiple of ``groups``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        channels = _channels_per_group("Conv2d", in_channels, groups)
        self.weight = random_filters(
            "Conv2d", out_channels, integers("Conv2d", "kernel_size", kernel_size, 2, least=1), channels
        )
        if bias:
            self.bias = mx.zeros((out_channels,))
        self.padding = integers("Conv2d", "padding", padding, 2)
        self.stride = integers("Conv2d", "stride", stride, 2)
        self.dilation = dilation
        self.groups = groups

    def _extra_repr(self) -> str:
        out_channels, *kernel_size, channels = self.weight.shape
        return (
            f"{channels * self.groups}, {out_channels}, kernel_size={tuple(kernel_size)}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, bias={'bias' in self}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.conv2d(x, self.weight, self.stride, self.padding, self.dilation, self.groups)
        return y + self.bias if "bias" in self else y


class Conv3d(Module):
    """Convolution of volumes of the shape ``(N, D, H, W, C)``.

    ``weight`` has the shape ``(out_channels, *kernel_size, in_channels)``.

    Args:
        in_channels: the number of input channels.
        out_channels: the number of output channels.
        kernel_size: the size of a filter.
        stride: the step of the filter.
        padding: how many zeros to add on both sides.
        dilation: the distance of the positions that a filter sees.
        bias: whether to add a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] = 1,
        padding: int | tuple[int, int, int] = 0,
        dilation: int | tuple[int, int, int] = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = random_filters(
            "Conv3d", out_channels, integers("Conv3d", "kernel_size", kernel_size, 3, least=1), in_channels
        )
        if bias:
            self.bias = mx.zeros((out_channels,))
        self.padding = integers("Conv3d", "padding", padding, 3)
        self.stride = integers("Conv3d", "stride", stride, 3)
        self.dilation = dilation

    def _extra_repr(self) -> str:
        out_channels, *kernel_size, channels = self.weight.shape
        return (
            f"{channels}, {out_channels}, kernel_size={tuple(kernel_size)}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, bias={'bias' in self}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.conv3d(x, self.weight, self.stride, self.padding, self.dilation)
        return y + self.bias if "bias" in self else y
