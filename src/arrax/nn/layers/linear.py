"""Linear and bilinear layers."""

import math
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import integer, shown
from arrax.nn.layers.base import Module
from arrax.nn.layers.quantized import QQLinear, QuantizedLinear


class Identity(Module):
    """Returns its input. Takes and ignores any arguments, so that it can stand in for another layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __call__(self, x: mx.array) -> mx.array:
        return x


class Linear(Module):
    """The affine map ``x @ weight.T + bias`` of the last axis.

    ``weight`` has the shape ``(output_dims, input_dims)`` and ``bias`` the shape ``(output_dims,)``; both begin with
    values drawn uniformly from ``[-k, k)`` with ``k = 1 / sqrt(input_dims)``.

    Args:
        input_dims: the number of input features.
        output_dims: the number of output features.
        bias: whether to add a bias.

    >>> import arrax.core as mx
    >>> import arrax.nn as nn
    >>> nn.Linear(2, 3)(mx.ones((5, 2))).shape
    (5, 3)
    """

    def __init__(self, input_dims: int, output_dims: int, bias: bool = True) -> None:
        super().__init__()
        bound = math.sqrt(1 / integer("Linear", "input_dims", input_dims, least=1))
        self.weight = mx.random.uniform(low=-bound, high=bound, shape=(output_dims, input_dims))
        if bias:
            self.bias = mx.random.uniform(low=-bound, high=bound, shape=(output_dims,))

    def _extra_repr(self) -> str:
        output_dims, input_dims = self.weight.shape
        return f"input_dims={input_dims}, output_dims={output_dims}, bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        if "bias" in self:
            return mx.addmm(self["bias"], x, self["weight"].T)
        return x @ self["weight"].T

    def to_quantized(
        self,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
        quantize_input: bool = False,
    ) -> QuantizedLinear | QQLinear:
        """A quantized layer with the same weights.

        Args:
            group_size: the number of values that share a scale.
            bits: the number of bits of a value.
            mode: how to quantize, see :func:`arrax.core.quantize`.
            quantize_input: whether to make a :class:`QQLinear` layer, which quantizes its inputs too.

        Raises:
            ValueError: the inputs cannot be quantized in this mode.
        """
        if not quantize_input:
            return QuantizedLinear.from_linear(self, group_size, bits, mode=mode)
        if mode not in ("nvfp4", "mxfp8"):
            raise ValueError(
                f"[to_quantized] quantize_input=True needs the mode 'nvfp4' or 'mxfp8', not {shown(mode)}."
            )
        return QQLinear.from_linear(self, group_size, bits, mode=mode)


class Bilinear(Module):
    """The bilinear map ``y[i] = x2 @ weight[i] @ x1 + bias[i]`` of the last axes.

    ``weight`` has the shape ``(output_dims, input2_dims, input1_dims)``; it and ``bias`` begin with values drawn
    uniformly from ``[-k, k)`` with ``k = 1 / sqrt(input1_dims)``.

    Args:
        input1_dims: the number of features of the first input.
        input2_dims: the number of features of the second input.
        output_dims: the number of output features.
        bias: whether to add a bias.
    """

    def __init__(self, input1_dims: int, input2_dims: int, output_dims: int, bias: bool = True) -> None:
        super().__init__()
        bound = math.sqrt(1 / integer("Bilinear", "input1_dims", input1_dims, least=1))
        self.weight = mx.random.uniform(low=-bound, high=bound, shape=(output_dims, input2_dims, input1_dims))
        if bias:
            self.bias = mx.random.uniform(low=-bound, high=bound, shape=(output_dims,))

    def _extra_repr(self) -> str:
        output_dims, input2_dims, input1_dims = self.weight.shape
        return f"input1_dims={input1_dims}, input2_dims={input2_dims}, output_dims={output_dims}, bias={'bias' in self}"

    def __call__(self, x1: mx.array, x2: mx.array) -> mx.array:
        output_dims, input2_dims, input1_dims = self.weight.shape
        batch = x1.shape[:-1]
        x1 = x1.reshape(-1, input1_dims)
        x2 = x2.reshape(-1, 1, input2_dims)
        # One product with all the matrices side by side, then one small product for each pair of inputs.
        images = (x1 @ self.weight.reshape(-1, input1_dims).T).reshape(-1, output_dims, input2_dims).swapaxes(-2, -1)
        y = (x2 @ images).reshape(*batch, output_dims)
        return y + self.bias if "bias" in self else y
