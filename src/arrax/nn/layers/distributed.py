"""Layers whose parameters are spread over the processes of a group."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import group_or_all, integer, shown
from arrax.nn.layers.base import Module
from arrax.nn.layers.linear import Linear
from arrax.nn.layers.quantized import QuantizedLinear
from arrax.utils import tree_flatten, tree_map_with_path, tree_unflatten

Group = mx.distributed.Group

# Segments of an axis that are spread one by one: how many, or where they end (as a fraction, or as an index).
Segments = int | list

# Maps the path of a parameter and the parameter to the axis to spread, with the segments; None leaves it whole.
Sharding = Callable[[str, mx.array], Any]


@lru_cache
def sum_gradients(group: Group) -> Callable[[mx.array], mx.array]:
    """A function that returns its argument, and sums the gradients of all processes on the way back."""
    if group.size() == 1:
        return lambda x: x

    @mx.custom_function
    def identity(x: mx.array) -> mx.array:
        return x

    @identity.vjp
    def identity_vjp(x: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
        return mx.distributed.all_sum(cotangent, group=group)

    return identity


def _all_to_sharded(segments: Segments) -> Sharding:
    """The rule for layers that compute a part of the output features: rows, and the bias."""

    def rule(path: str, weight: mx.array) -> tuple[int, Segments]:
        return (-1 if path.endswith("bias") else max(weight.ndim - 2, 0)), segments

    return rule


def _sharded_to_all(segments: Segments) -> Sharding:
    """The rule for layers that use a part of the input features: columns; the bias is added once, to the sum."""

    def rule(path: str, weight: mx.array) -> tuple[int, Segments] | None:
        return None if path.endswith("bias") else (-1, segments)

    return rule


_RULES = {"all-to-sharded": _all_to_sharded, "sharded-to-all": _sharded_to_all}


def _check_sharding(sharding: Any) -> None:
    if sharding not in _RULES:
        raise ValueError(f"[shard] sharding must be one of {list(_RULES)} but is {shown(sharding)}.")


def _split(weight: mx.array, segments: Segments, axis: int) -> list[mx.array]:
    if isinstance(segments, int):
        return mx.split(weight, segments, axis=axis)
    # What begins with a fraction is fractions.
    if isinstance(segments[0], int):
        return mx.split(weight, list(map(int, segments)), axis=axis)
    size = weight.shape[axis]
    return mx.split(weight, [int(end * size) for end in segments], axis=axis)


def _shard(parameters: dict, rule: Sharding, group: Group) -> dict:
    """What this process keeps of a tree of parameters."""
    size, rank = group.size(), group.rank()

    def keep(path: str, weight: Any) -> Any:
        if not isinstance(weight, mx.array):
            return weight
        choice = rule(path, weight)
        if choice is None:
            return weight
        axis, segments = choice if isinstance(choice, tuple) else (choice, 1)
        shares = [mx.split(segment, size, axis=axis)[rank] for segment in _split(weight, segments, axis)]
        return mx.contiguous(mx.concatenate(shares, axis=axis))

    return tree_map_with_path(keep, parameters)


def shard_inplace(
    module: Module, sharding: str | Callable, *, segments: Segments = 1, group: Group | None = None
) -> None:
    """Keep this process's share of the parameters of a module. The module has to communicate by itself.

    Args:
        module: the module.
        sharding: "all-to-sharded" or "sharded-to-all", or a function of the path of a parameter and the parameter that
            returns the axis to spread, or the axis and the segments, or None to keep the parameter whole.
        segments: into how many parts (or, as a list, where) to split the axis before each of them is spread, as for
            the stacked projections of queries, keys and values.
        group: the processes; all by default.

    Raises:
        ValueError: there is no such sharding, or an axis cannot be split evenly.
    """
    if not callable(sharding):
        _check_sharding(sharding)
        sharding = _RULES[sharding](segments)
    module.update(_shard(module.parameters(), sharding, group_or_all("shard", group)))


def shard_linear(module: Module, sharding: str, *, segments: Segments = 1, group: Group | None = None) -> Module:
    """A layer that is spread over processes, from a :class:`Linear` or :class:`QuantizedLinear` layer.

    Args:
        module: the layer, which stays as it is.
        sharding: "all-to-sharded" or "sharded-to-all".
        segments: see :func:`shard_inplace`.
        group: the processes; all by default.

    Raises:
        ValueError: there is no such sharding, or the layer cannot be split evenly.

    >>> import arrax.nn as nn
    >>> shard_linear(nn.Linear(4, 2), "all-to-sharded")
    AllToShardedLinear(input_dims=4, output_dims=2, bias=True)
    """
    _check_sharding(sharding)
    to_all = sharding == "sharded-to-all"
    if isinstance(module, Linear):
        plain = ShardedToAllLinear if to_all else AllToShardedLinear
        return plain.from_linear(module, segments=segments, group=group)
    quantized = QuantizedShardedToAllLinear if to_all else QuantizedAllToShardedLinear
    return quantized.from_quantized_linear(module, segments=segments, group=group)


def _share(what: str, size: int, group: Group) -> int:
    if size % group.size():
        raise ValueError(f"[shard] the {what} of size {size} cannot be split evenly over {group.size()} processes.")
    return size // group.size()


class _ShardedLinear(Module):
    """What the sharded layers without quantization share."""

    _rule: Callable[[Segments], Sharding]

    def __init__(self, rows: int, columns: int, input_dims: int, n_bias: int, group: Group) -> None:
        super().__init__()
        bound = math.sqrt(1 / integer(type(self).__name__, "input_dims", input_dims, least=1))
        self.group = group
        self.weight = mx.random.uniform(low=-bound, high=bound, shape=(rows, columns))
        if n_bias:
            self.bias = mx.random.uniform(low=-bound, high=bound, shape=(n_bias,))

    @classmethod
    def from_linear(cls, linear_layer: Module, *, segments: Segments = 1, group: Group | None = None) -> Any:
        """This process's share of a :class:`Linear` layer; see :func:`shard_inplace` for the arguments."""
        group = group_or_all("shard", group)
        output_dims, input_dims = linear_layer.weight.shape
        layer = cls(input_dims, output_dims, "bias" in linear_layer, group)  # type: ignore[call-arg]
        layer.update(_shard(linear_layer.parameters(), cls._rule(segments), group))
        return layer


class AllToShardedLinear(_ShardedLinear):
    """A :class:`Linear` layer of whose output features each process computes its share, from the whole input.

    The gradients with respect to the input are summed over the processes.

    Args:
        input_dims: the number of input features.
        output_dims: the number of output features of all processes together.
        bias: whether to add a bias.
        group: the processes; all by default.

    Raises:
        ValueError: the output features cannot be split evenly.
    """

    _rule = staticmethod(_all_to_sharded)

    def __init__(self, input_dims: int, output_dims: int, bias: bool = True, group: Group | None = None) -> None:
        group = group_or_all("shard", group)
        rows = _share("output", output_dims, group)
        super().__init__(rows, input_dims, input_dims, rows if bias else 0, group)

    def _extra_repr(self) -> str:
        rows, input_dims = self.weight.shape
        return f"input_dims={input_dims}, output_dims={rows * self.group.size()}, bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        x = sum_gradients(self.group)(x)
        if "bias" in self:
            return mx.addmm(self["bias"], x, self["weight"].T)
        return x @ self["weight"].T


class ShardedToAllLinear(_ShardedLinear):
    """A :class:`Linear` layer that gets a share of the input features in each process; all get the whole output.

    Args:
        input_dims: the number of input features of all processes together.
        output_dims: the number of output features.
        bias: whether to add a bias.
        group: the processes; all by default.

    Raises:
        ValueError: the input features cannot be split evenly.
    """

    _rule = staticmethod(_sharded_to_all)

    def __init__(self, input_dims: int, output_dims: int, bias: bool = True, group: Group | None = None) -> None:
        group = group_or_all("shard", group)
        columns = _share("input", input_dims, group)
        super().__init__(output_dims, columns, input_dims, output_dims if bias else 0, group)

    def _extra_repr(self) -> str:
        output_dims, columns = self.weight.shape
        return f"input_dims={columns * self.group.size()}, output_dims={output_dims}, bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.distributed.all_sum(x @ self["weight"].T, group=self.group)
        return y + self["bias"] if "bias" in self else y


class _QuantizedShardedLinear(QuantizedLinear):
    """What the quantized sharded layers share: their own parameters stay frozen."""

    _rule: Callable[[Segments], Sharding]

    def unfreeze(self, *args: Any, **kwargs: Any) -> Module:
        """Keeps the parameters frozen: they are quantized."""
        super().unfreeze(*args, **kwargs)
        return self.freeze(recurse=False)

    @classmethod
    def from_quantized_linear(
        cls, quantized_linear_layer: Module, *, segments: Segments = 1, group: Group | None = None
    ) -> Any:
        """This process's share of a :class:`QuantizedLinear` layer; see :func:`shard_inplace` for the arguments."""
        source = quantized_linear_layer
        layer = cls.__new__(cls)
        Module.__init__(layer)
        layer.group = group_or_all("shard", group)
        layer.group_size, layer.bits, layer.mode = source.group_size, source.bits, source.mode
        for name, weight in _shard(source.parameters(), cls._rule(segments), layer.group).items():
            layer[name] = weight
        layer.freeze()
        return layer

    def _dims_repr(self, input_dims: int, output_dims: int) -> str:
        return f"input_dims={input_dims}, output_dims={output_dims}, bias={'bias' in self}, {self._quantization_repr()}"


class QuantizedAllToShardedLinear(_QuantizedShardedLinear):
    """An :class:`AllToShardedLinear` layer with quantized weights. All its parameters are frozen.

    Args:
        input_dims: the number of input features, a multiple of the group size.
        output_dims: the number of output features of all processes together.
        bias: whether to add a bias.
        group_size: the number of values that share a scale.
        bits: the number of bits of a value.
        mode: how to quantize, see :func:`arrax.core.quantize`.
        group: the processes; all by default.

    Raises:
        ValueError: the sizes do not fit together or the mode does not exist.
    """

    _rule = staticmethod(_all_to_sharded)

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group_size: int = 64,
        bits: int = 4,
        mode: str = "affine",
        group: Group | None = None,
    ) -> None:
        group = group_or_all("shard", group)
        super().__init__(input_dims, _share("output", output_dims, group), bias, group_size, bits, mode)
        self.group = group

    def _extra_repr(self) -> str:
        rows, packed_dims = self.weight.shape
        return self._dims_repr(packed_dims * 32 // self.bits, rows * self.group.size())

    def __call__(self, x: mx.array) -> mx.array:
        return super().__call__(sum_gradients(self.group)(x))


class QuantizedShardedToAllLinear(_QuantizedShardedLinear):
    """A :class:`ShardedToAllLinear` layer with quantized weights. All its parameters are frozen.

    Args:
        input_dims: the number of input features of all processes together; each share is a multiple of the group size.
        output_dims: the number of output features.
        bias: whether to add a bias.
        group_size: the number of values that share a scale.
        bits: the number of bits of a value.
        mode: how to quantize, see :func:`arrax.core.quantize`.
        group: the processes; all by default.

    Raises:
        ValueError: the sizes do not fit together or the mode does not exist.
    """

    _rule = staticmethod(_sharded_to_all)

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group_size: int = 64,
        bits: int = 4,
        mode: str = "affine",
        group: Group | None = None,
    ) -> None:
        group = group_or_all("shard", group)
        super().__init__(_share("input", input_dims, group), output_dims, bias, group_size, bits, mode)
        self.group = group

    def _extra_repr(self) -> str:
        output_dims, packed_dims = self.weight.shape
        return self._dims_repr(packed_dims * 32 // self.bits * self.group.size(), output_dims)

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.distributed.all_sum(self._multiply(x), group=self.group)
        return y + self["bias"] if "bias" in self else y


def _make_gather_fn(group: Group, compute_dtype: mx.Dtype | None) -> Callable:
    """From the shares of parameters to the whole ones, and from their gradients to the share of the mean gradient."""

    @mx.custom_function
    def gather(shares: list[mx.array]) -> list[mx.array]:
        whole = [mx.distributed.all_gather(share, group=group) for share in shares]
        return [w if compute_dtype is None else w.astype(compute_dtype) for w in whole]

    @gather.vjp
    def gather_vjp(shares: list[mx.array], cotangents: list[mx.array], outputs: list[mx.array]) -> list[mx.array]:
        return [
            mx.distributed.sum_scatter(cotangent.astype(share.dtype), group=group) / group.size()
            for share, cotangent in zip(shares, cotangents, strict=True)
        ]

    return gather


class FullyShardedModule(Module):
    """A module of whose parameters each process holds its share, cut along the first axis.

    The parameters are put together when the module is called, and are forgotten afterwards; the gradients with respect
    to the shares are means over the processes. :func:`fully_shard` makes such modules.

    Args:
        module: the module, whose parameters are replaced by this process's share.
        group: the processes; all by default.
        compute_dtype: the type to convert the whole parameters to, if given.

    Raises:
        ValueError: the first axis of a parameter cannot be split evenly.
    """

    _paths: list[str]

    def __init__(self, module: Module, group: Group | None = None, compute_dtype: mx.Dtype | None = None) -> None:
        super().__init__()
        group = group_or_all("shard", group)
        if not isinstance(module, Module):
            raise TypeError(f"[FullyShardedModule] module must be a module but is {shown(module)}.")
        # What is in a sharded module inside is spread already.
        own = tree_flatten(
            module.filter_and_map(
                lambda m, k, v: not isinstance(v, FullyShardedModule) and Module.valid_parameter_filter(m, k, v)
            )
        )
        for path, weight in own:
            if weight.ndim == 0 or weight.shape[0] % group.size():
                raise ValueError(
                    f"[FullyShardedModule] {path!r} of the shape {weight.shape} cannot be split evenly along axis 0 "
                    f"over {group.size()} processes."
                )
        # A list that is set in the usual way would belong to the state.
        object.__setattr__(self, "_paths", [path for path, _ in own])
        self._gather_fn = _make_gather_fn(group, compute_dtype)
        shares = [(path, mx.split(weight, group.size(), axis=0)[group.rank()]) for path, weight in own]
        if shares:
            module.update(tree_unflatten(shares))
        self.module = module

    def _extra_repr(self) -> str:
        return f"num_sharded_params={len(self._paths)}"

    def _gathered_call(self, fn: Callable, *args: Any, **kwargs: Any) -> Any:
        if not self._paths:
            return fn(*args, **kwargs)
        known = tree_flatten(self.module.parameters(), destination={})
        shares = [known[path] for path in self._paths]
        whole = self._gather_fn(shares)
        self.module.update(tree_unflatten(list(zip(self._paths, whole, strict=True))))
        try:
            return fn(*args, **kwargs)
        finally:
            self.module.update(tree_unflatten(list(zip(self._paths, shares, strict=True))))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._gathered_call(self.module, *args, **kwargs)

    def as_linear(self, *args: Any, **kwargs: Any) -> Any:
        """``as_linear`` of the module, as an :class:`Embedding` has it."""
        return self._gathered_call(self.module.as_linear, *args, **kwargs)


def fully_shard(module: Module, *, group: Group | None = None, compute_dtype: mx.Dtype | None = None) -> Module:
    """Wrap a module in a :class:`FullyShardedModule`, unless there is one process only or nothing to spread.

    Args:
        module: the module.
        group: the processes; all by default.
        compute_dtype: the type to compute in, if given.

    >>> import arrax.nn as nn
    >>> nn.fully_shard(nn.Linear(4, 2))
    Linear(input_dims=4, output_dims=2, bias=True)
    """
    group = group_or_all("shard", group)
    if group.size() == 1 or isinstance(module, FullyShardedModule):
        return module
    sharded = FullyShardedModule(module, group, compute_dtype)
    return sharded if sharded._paths else module
