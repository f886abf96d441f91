"""Layers made of layers."""

from collections.abc import Callable
from typing import Any

from arrax.nn.layers.base import Module


class Sequential(Module):
    """Calls one module or function after the other, each with the result of the one before.

    Args:
        modules: modules or plain functions of one argument.

    >>> import arrax.nn as nn
    >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    Sequential(
      (layers.0): Linear(input_dims=2, output_dims=3, bias=True)
      (layers.1): ReLU()
    )
    """

    def __init__(self, *modules: Callable[[Any], Any]) -> None:
        super().__init__()
        self.layers = list(modules)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x
