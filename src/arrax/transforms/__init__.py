"""Transformations of functions: derivatives, vectorisation, compilation."""

from arrax.transforms.compile import compile, disable_compile, enable_compile
from arrax.transforms.custom import checkpoint, custom_function
from arrax.transforms.grad import grad, value_and_grad, vjp
from arrax.transforms.jvp import jvp
from arrax.transforms.vmap import vmap

__all__ = [
    "checkpoint",
    "compile",
    "custom_function",
    "disable_compile",
    "enable_compile",
    "grad",
    "jvp",
    "value_and_grad",
    "vjp",
    "vmap",
]
