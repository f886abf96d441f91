"""Transposed convolutions. Channels are last: inputs have the shape ``(N, ..., C)``."""

import arrax.core as mx
from arrax.nn.arguments import integers
from arrax.nn.layers.base import Module
from arrax.nn.layers.convolution import random_filters


class ConvTranspose1d(Module):
    """Transposed convolution of sequences of the shape ``(N, L, C)``.

    ``weight`` has the shape ``(out_channels, kernel_size, in_channels)``.

    Args:
        in_channels: the number of input channels.
        out_channels: the number of output channels.
        kernel_size: the size of a filter.
        stride: the step of the filter in the output.
        padding: how many positions to cut off on both sides of the output.
        dilation: the distance of the positions that a filter writes to.
        output_padding: how much to enlarge the output on one side.
        bias: whether to add a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        output_padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = random_filters(
            "ConvTranspose1d",
            out_channels,
            integers("ConvTranspose1d", "kernel_size", kernel_size, 1, least=1),
            in_channels,
        )
        if bias:
            self.bias = mx.zeros((out_channels,))
        self.padding = padding
        self.dilation = dilation
        self.stride = stride
        self.output_padding = output_padding

    def _extra_repr(self) -> str:
        out_channels, kernel_size, in_channels = self.weight.shape
        return (
            f"{in_channels}, {out_channels}, kernel_size={kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, output_padding={self.output_padding}, bias={'bias' in self}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.conv_transpose1d(x, self.weight, self.stride, self.padding, self.dilation, self.output_padding)
        return y + self.bias if "bias" in self else y


class ConvTranspose2d(Module):
    """Transposed convolution of images of the shape ``(N, H, W, C)``.

    ``weight`` has the shape ``(out_channels, *kernel_size, in_channels)``.

    Args:
        in_channels: the number of input channels.
        out_channels: the number of output channels.
        kernel_size: the size of a filter.
        stride: the step of the filter in the output.
        padding: how many positions to cut off on both sides of the output.
        dilation: the distance of the positions that a filter writes to.
        output_padding: how much to enlarge the output on one side.
        bias: whether to add a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        output_padding: int | tuple[int, int] = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = random_filters(
            "ConvTranspose2d",
            out_channels,
            integers("ConvTranspose2d", "kernel_size", kernel_size, 2, least=1),
            in_channels,
        )
        if bias:
            self.bias = mx.zeros((out_channels,))
        self.padding = integers("ConvTranspose2d", "padding", padding, 2)
        self.stride = integers("ConvTranspose2d", "stride", stride, 2)
        self.output_padding = integers("ConvTranspose2d", "output_padding", output_padding, 2)
        self.dilation = dilation

    def _extra_repr(self) -> str:
        return _transpose_repr(self)

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.conv_transpose2d(x, self.weight, self.stride, self.padding, self.dilation, self.output_padding)
        return y + self.bias if "bias" in self else y


class ConvTranspose3d(Module):
    """Transposed convolution of volumes of the shape ``(N, D, H, W, C)``.

    ``weight`` has the shape ``(out_channels, *kernel_size, in_channels)``.

    Args:
        in_channels: the number of input channels.
        out_channels: the number of output channels.
        kernel_size: the size of a filter.
        stride: the step of the filter in the output.
        padding: how many positions to cut off on both sides of the output.
        dilation: the distance of the positions that a filter writes to.
        output_padding: how much to enlarge the output on one side.
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
        output_padding: int | tuple[int, int, int] = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = random_filters(
            "ConvTranspose3d",
            out_channels,
            integers("ConvTranspose3d", "kernel_size", kernel_size, 3, least=1),
            in_channels,
        )
        if bias:
            self.bias = mx.zeros((out_channels,))
        self.padding = integers("ConvTranspose3d", "padding", padding, 3)
        self.stride = integers("ConvTranspose3d", "stride", stride, 3)
        self.output_padding = integers("ConvTranspose3d", "output_padding", output_padding, 3)
        self.dilation = dilation

    def _extra_repr(self) -> str:
        return _transpose_repr(self)

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.conv_transpose3d(x, self.weight, self.stride, self.padding, self.dilation, self.output_padding)
        return y + self.bias if "bias" in self else y


def _transpose_repr(layer: ConvTranspose2d | ConvTranspose3d) -> str:
    out_channels, *kernel_size, in_channels = layer.weight.shape
    return (
        f"{in_channels}, {out_channels}, kernel_size={tuple(kernel_size)}, stride={layer.stride}, "
        f"padding={layer.padding}, dilation={layer.dilation}, output_padding={layer.output_padding}, "
        f"bias={'bias' in layer}"
    )
