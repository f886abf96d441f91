"""Layers with quantized weights: a few bits a value, and a scale for each group of values of a row."""

import math
from collections.abc import Callable
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import integer, shown
from arrax.nn.layers.base import Module
from arrax.utils import tree_map_with_path

# (group_size, bits) of every mode when they are not given.
_DEFAULTS = {"affine": (64, 4), "mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}


def _resolve(group_size: int | None, bits: int | None, mode: str) -> tuple[int, int]:
    if not isinstance(mode, str) or mode not in _DEFAULTS:
        raise ValueError(f"[quantize] mode must be one of {list(_DEFAULTS)} but is {shown(mode)}.")
    default_group_size, default_bits = _DEFAULTS[mode]
    return group_size or default_group_size, bits or default_bits


class _Quantized(Module):
    """What the quantized layers share: the quantized matrix and the description of how it is quantized."""

    def __init__(self, weight: mx.array, group_size: int | None, bits: int | None, mode: str) -> None:
        super().__init__()
        self.group_size, self.bits = _resolve(group_size, bits, mode)
        self.mode = mode
        # The modes other than "affine" have no biases.
        self.weight, self.scales, *biases = mx.quantize(weight, self.group_size, self.bits, mode=mode)
        if biases:
            self.biases = biases[0]

    def _quantization_repr(self) -> str:
        return f"group_size={self.group_size}, bits={self.bits}, mode={self.mode}"

    def _multiply(self, x: mx.array) -> mx.array:
        return mx.quantized_matmul(
            x,
            self["weight"],
            scales=self["scales"],
            biases=self.get("biases"),
            transpose=True,
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
        )


class QuantizedLinear(_Quantized):
    """A :class:`Linear` layer with quantized weights. All its parameters are frozen.

    Args:
        input_dims: the number of input features, a multiple of the group size.
        output_dims: the number of output features.
        bias: whether to add a bias.
        group_size: the number of values that share a scale; 64 by default, less in the modes of small floats.
        bits: the number of bits of a value; by default 4, or what the mode says.
        mode: how to quantize, see :func:`arrax.core.quantize`.

    Raises:
        ValueError: the sizes do not fit together or the mode does not exist.
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ) -> None:
        bound = math.sqrt(1 / integer(type(self).__name__, "input_dims", input_dims, least=1))
        weight = mx.random.uniform(low=-bound, high=bound, shape=(output_dims, input_dims))
        super().__init__(weight, group_size, bits, mode)
        if bias:
            self.bias = mx.zeros((output_dims,))
        self.freeze()

    @classmethod
    def from_linear(
        cls, linear_layer: Module, group_size: int | None = None, bits: int | None = None, mode: str = "affine"
    ) -> "QuantizedLinear":
        """A quantized copy of a :class:`Linear` layer. Its bias stays trainable."""
        layer = cls.__new__(cls)
        _Quantized.__init__(layer, linear_layer.weight, group_size, bits, mode)
        layer.freeze()
        if "bias" in linear_layer:
            layer.bias = linear_layer.bias
        return layer

    def _extra_repr(self) -> str:
        output_dims, packed_dims = self.weight.shape
        input_dims = packed_dims * 32 // self.bits
        return f"input_dims={input_dims}, output_dims={output_dims}, bias={'bias' in self}, {self._quantization_repr()}"

    def __call__(self, x: mx.array) -> mx.array:
        y = self._multiply(x)
        return y + self["bias"] if "bias" in self else y


class QuantizedEmbedding(_Quantized):
    """An :class:`Embedding` with a quantized table. All its parameters are frozen.

    Args:
        num_embeddings: the number of tokens.
        dims: the size of a vector, a multiple of the group size.
        group_size: the number of values that share a scale; 64 by default, less in the modes of small floats.
        bits: the number of bits of a value; by default 4, or what the mode says.
        mode: how to quantize, see :func:`arrax.core.quantize`.

    Raises:
        ValueError: the sizes do not fit together or the mode does not exist.
    """

    def __init__(
        self,
        num_embeddings: int,
        dims: int,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ) -> None:
        weight = mx.random.normal(
            shape=(num_embeddings, dims), scale=math.sqrt(1 / integer(type(self).__name__, "dims", dims, least=1))
        )
        self._quantize_table(weight, group_size, bits, mode)

    @classmethod
    def from_embedding(
        cls, embedding_layer: Module, group_size: int | None = None, bits: int | None = None, mode: str = "affine"
    ) -> "QuantizedEmbedding":
        """A quantized copy of an :class:`Embedding`."""
        layer = cls.__new__(cls)
        layer._quantize_table(embedding_layer.weight, group_size, bits, mode)
        return layer

    def _quantize_table(self, table: mx.array, group_size: int | None, bits: int | None, mode: str) -> None:
        _Quantized.__init__(self, table, group_size, bits, mode)
        self.num_embeddings, self.dims = table.shape
        self.freeze()

    def _extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.dims}, {self._quantization_repr()}"

    def __call__(self, x: mx.array) -> mx.array:
        biases = self["biases"][x] if "biases" in self else None
        return mx.dequantize(
            self["weight"][x],
            scales=self["scales"][x],
            biases=biases,
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
        )

    def as_linear(self, x: mx.array) -> mx.array:
        """``x @ table.T``: the table as an output layer, from vectors to one value for each token."""
        return self._multiply(x)


class QQLinear(Module):
    """A linear layer, without a bias, that computes with quantized weights and quantized inputs.

    In training mode the weights are kept as they are and are quantized again in every call, so that they have
    gradients. :meth:`eval` quantizes them once and for all, and :meth:`train` dequantizes them.

    Args:
        input_dims: the number of input features, a multiple of the group size.
        output_dims: the number of output features.
        group_size: the number of values that share a scale; what the mode says by default.
        bits: the number of bits of a value; what the mode says by default.
        mode: "nvfp4" or "mxfp8", see :func:`arrax.core.quantize`.

    Raises:
        ValueError: the mode does not exist.

    >>> import arrax.core as mx
    >>> import arrax.nn as nn
    >>> nn.QQLinear(64, 32)(mx.ones((2, 64))).shape
    (2, 32)
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "nvfp4",
    ) -> None:
        bound = math.sqrt(1 / integer(type(self).__name__, "input_dims", input_dims, least=1))
        self._keep(mx.random.uniform(low=-bound, high=bound, shape=(output_dims, input_dims)), group_size, bits, mode)

    @classmethod
    def from_linear(
        cls, linear_layer: Module, group_size: int | None = None, bits: int | None = None, mode: str = "nvfp4"
    ) -> "QQLinear":
        """A layer with the weights of a :class:`Linear` layer without a bias.

        Raises:
            NotImplementedError: the layer has a bias.
        """
        if "bias" in linear_layer:
            raise NotImplementedError("[QQLinear] has no bias: pass a layer that was made with bias=False.")
        layer = cls.__new__(cls)
        layer._keep(linear_layer.weight, group_size, bits, mode)
        layer.train(linear_layer.training)
        return layer

    def _keep(self, weight: mx.array, group_size: int | None, bits: int | None, mode: str) -> None:
        Module.__init__(self)
        self.group_size, self.bits = _resolve(group_size, bits, mode)
        self.mode = mode
        self.weight = weight
        self._quantized = False

    def _extra_repr(self) -> str:
        output_dims, input_dims = self.weight.shape
        if self._quantized:
            input_dims = input_dims * 32 // self.bits
        return (
            f"input_dims={input_dims}, output_dims={output_dims}, group_size={self.group_size}, bits={self.bits}, "
            f"mode={self.mode}"
        )

    def quantize(self) -> None:
        """Replace the weights by quantized ones, unless they are quantized."""
        if not self._quantized:
            self.weight, self.scales = mx.quantize(self.weight, self.group_size, self.bits, mode=self.mode)
            self._quantized = True

    def dequantize(self) -> None:
        """Replace quantized weights by the values that they stand for."""
        if self._quantized:
            self.weight = mx.dequantize(self.weight, self.scales, None, self.group_size, self.bits, self.mode)
            del self.scales
            self._quantized = False

    def _set_training_mode(self, mode: bool) -> None:
        super()._set_training_mode(mode)
        if mode:
            self.dequantize()
        else:
            self.quantize()

    def __call__(self, x: mx.array) -> mx.array:
        return mx.qqmm(
            x,
            self["weight"],
            scales=self.get("scales"),
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
        )


def quantize(
    model: Module,
    group_size: int | None = None,
    bits: int | None = None,
    *,
    mode: str = "affine",
    quantize_input: bool = False,
    class_predicate: Callable[[str, Module], bool | dict[str, Any]] | None = None,
) -> None:
    """Replace layers of a model by quantized ones, in place.

    Args:
        model: the model.
        group_size: the number of values that share a scale.
        bits: the number of bits of a value.
        mode: how to quantize, see :func:`arrax.core.quantize`.
        quantize_input: whether to quantize the inputs of the layers too, see :class:`QQLinear`.
        class_predicate: given the path of a leaf module and the module, whether to quantize it, or a dict of the
            arguments of its ``to_quantized`` to use instead of these. By default every module that has this method is
            quantized: :class:`Linear` and :class:`Embedding`.

    Raises:
        ValueError: the predicate chose a module that has no ``to_quantized``, or the sizes do not fit.

    >>> import arrax.nn as nn
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
    >>> nn.quantize(model, group_size=32, bits=8)
    >>> model.layers[0]
    QuantizedLinear(input_dims=64, output_dims=32, bias=True, group_size=32, bits=8, mode=affine)
    """

    def quantized(path: str, module: Any) -> Any:
        # What is no module is a placeholder for something else in a list.
        if not isinstance(module, Module):
            return module
        choice = hasattr(module, "to_quantized") if class_predicate is None else class_predicate(path, module)
        if not choice:
            return module
        if not hasattr(module, "to_quantized"):
            raise ValueError(f"[quantize] {shown(path)} is a {type(module).__name__}, which cannot be quantized.")
        if isinstance(choice, dict):
            return module.to_quantized(**choice)
        options = {"quantize_input": True} if quantize_input else {}
        return module.to_quantized(group_size=group_size, bits=bits, mode=mode, **options)

    if not isinstance(model, Module):
        raise TypeError(f"[quantize] model must be a module but is {shown(model)}.")
    leaves = model.leaf_modules()
    model.update_modules(tree_map_with_path(quantized, leaves, is_leaf=Module.is_module))
