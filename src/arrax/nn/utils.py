"""Transformations of functions that use a module."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import group_or_all, shown
from arrax.nn.layers.base import Module
from arrax.utils import tree_flatten, tree_map, tree_reduce, tree_unflatten


@contextmanager
def _kept(module: Module) -> Iterator[dict]:
    """The trainable parameters; they are the module's again if an exception ends what is done with them."""
    if not isinstance(module, Module):
        raise TypeError(f"[nn] expected a module but got {shown(module)}.")
    parameters = module.trainable_parameters()
    try:
        yield parameters
    except BaseException:
        module.update(parameters)
        raise


def value_and_grad(model: Module, fn: Callable) -> Callable:
    """A function that returns the value of ``fn`` and its gradient with respect to the trainable parameters of a model.

    Args:
        model: the model that ``fn`` uses.
        fn: returns a scalar, or a tuple whose first item is a scalar.

    Returns:
        A function of the same arguments that returns what ``fn`` returns, and the gradient: a tree of the structure of
        ``model.trainable_parameters()``.

    >>> import arrax.core as mx
    >>> import arrax.nn as nn
    >>> model = nn.Linear(2, 1)
    >>> loss, gradient = value_and_grad(model, lambda x: model(x).sum())(mx.ones((3, 2)))
    >>> gradient["bias"].tolist()
    [3.0]
    """

    def with_parameters(parameters: dict, *args: Any, **kwargs: Any) -> Any:
        model.update(parameters)
        return fn(*args, **kwargs)

    transformed = mx.value_and_grad(with_parameters)

    @wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with _kept(model) as parameters:
            return transformed(parameters, *args, **kwargs)

    return wrapped


def checkpoint(module: Module, fn: Callable | None = None) -> Callable:
    """A function that keeps its inputs and outputs only, and computes the rest again for the gradient.

    Args:
        module: the module whose trainable parameters are inputs of ``fn`` too.
        fn: the function; the module itself by default.

    Returns:
        A function of the same arguments with the same result.
    """
    function = module if fn is None else fn

    def with_parameters(parameters: dict, *args: Any, **kwargs: Any) -> Any:
        module.update(parameters)
        return function(*args, **kwargs)

    checkpointed = mx.checkpoint(with_parameters)

    # A module has no name and no docstring of its own to pass on.
    @wraps(function if fn is not None else type(module).__call__)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with _kept(module) as parameters:
            return checkpointed(parameters, *args, **kwargs)

    return wrapped


def average_gradients(
    gradients: Any,
    group: "mx.distributed.Group | None" = None,
    all_reduce_size: int = 32 * 1024**2,
    communication_stream: mx.Stream | None = None,
) -> Any:
    """The mean of the gradients of all processes of a group.

    Small arrays travel together: they are concatenated until they fill a message.

    Args:
        gradients: a tree of arrays, of the same structure in every process.
        group: the processes; all by default.
        all_reduce_size: the size of a message in bytes; every array is a message if it is not positive.
        communication_stream: the stream to communicate on.

    Returns:
        A tree of the same structure.
    """
    group = group_or_all("average_gradients", group)
    size = group.size()
    if size == 1:
        return gradients

    def average(x: mx.array) -> mx.array:
        return mx.distributed.all_sum(x, group=group, stream=communication_stream) / size

    if all_reduce_size <= 0:
        return tree_map(average, gradients)
    averaged: list[tuple[str, mx.array]] = []
    for message in _messages(tree_flatten(gradients), all_reduce_size):
        flat = average(mx.concatenate([x.reshape(-1) for _, x in message]))
        start = 0
        for name, x in message:
            averaged.append((name, flat[start : start + x.size].reshape(x.shape)))
            start += x.size
    return tree_unflatten(averaged)


def clip_grad_norm_sharded(
    gradients: Any, max_norm: float, group: "mx.distributed.Group | None" = None
) -> tuple[Any, mx.array]:
    """Scale gradients down whose arrays are spread over processes, if their norm is larger than ``max_norm``.

    Args:
        gradients: a tree of this process's shares of the gradients.
        max_norm: the largest norm, over all processes, of the result.
        group: the processes; all by default.

    Returns:
        This process's shares of the scaled gradients, and the norm before.

    >>> import arrax.core as mx
    >>> clipped, norm = clip_grad_norm_sharded({"w": mx.array([3.0, 4.0])}, max_norm=1.0)
    >>> norm.item()
    5.0
    """
    square = tree_reduce(lambda total, g: total + mx.sum(mx.square(g)), gradients, 0.0)
    norm = mx.sqrt(mx.distributed.all_sum(mx.array(square), group=group))
    factor = mx.minimum(max_norm / (norm + 1e-6), 1.0)
    return tree_map(lambda g: g * factor, gradients), norm


def _messages(items: list[tuple[str, mx.array]], limit: int) -> list[list[tuple[str, mx.array]]]:
    """Split a list of arrays into runs of one dtype that are as long as ``limit`` bytes or a little longer."""
    messages: list[list[tuple[str, mx.array]]] = []
    filled = limit
    for name, x in items:
        if filled >= limit or messages[-1][0][1].dtype != x.dtype:
            messages.append([])
            filled = 0
        messages[-1].append((name, x))
        filled += x.nbytes
    return messages
