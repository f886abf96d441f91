"""Small programs for clients whose sources come without tests: their results are saved, to be compared.

python tests/clients/programs.py results.npz                  # on Apple's MLX
python -m arrax run tests/clients/programs.py results.npz     # on Arrax
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import random
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx_optimizers
import mlx_vlm.models
import numpy as np
from mlx.utils import tree_flatten, tree_map_with_path

# What a field of a configuration is in a model that takes no time; by a part of the field's name.
SMALL = {
    "num_attention_heads": 4, "num_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "num_layers": 2,
    "hidden_size": 32, "intermediate_size": 64, "head_dim": 8, "vocab_size": 64, "depth": 2, "embed_dim": 32,
    "image_size": 28, "patch_size": 14, "projection_dim": 32, "out_hidden_size": 32, "num_experts": 4,
}  # fmt: skip
LARGEST = 2_000_000  # parameters of a model that is run
RESULTS = dict[str, np.ndarray]


def draw(shape: tuple[int, ...], name: str) -> mx.array:
    """Numbers that depend on a name."""
    return mx.array(np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.2, shape).astype(np.float32))


def draw_weights(module: nn.Module) -> None:
    """Give a module weights that depend on the names of its parameters."""
    module.update(
        tree_map_with_path(
            lambda path, x: draw(x.shape, path) + (x.ndim < 2) if mx.issubdtype(x.dtype, mx.floating) else x,
            module.parameters(),
        )
    )
    module.eval()


def optimizers() -> RESULTS:
    """A few steps of every optimizer of mlx-optimizers."""
    found: RESULTS = {}
    for name in sorted(vars(mlx_optimizers)):
        kind = getattr(mlx_optimizers, name)
        if not isinstance(kind, type):
            continue
        mx.random.seed(7)
        random.seed(7)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        draw_weights(model)
        optimizer = kind(learning_rate=1e-2)
        x, y = draw((5, 6), "x"), draw((5, 3), "y")
        step = nn.value_and_grad(model, lambda m, x, y: nn.losses.mse_loss(m(x), y))
        for _ in range(5):
            loss, gradients = step(model, x, y)
            optimizer.update(model, gradients)
            mx.eval(model.parameters(), optimizer.state)
        found[f"optimizers {name}"] = np.array(loss)
        for path, value in tree_flatten(model.parameters()):
            found[f"optimizers {name} {path}"] = np.array(value)
    return found


def small(kind: type) -> Any:
    """A configuration of a kind, small where its fields have names that we know."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in SMALL:
            values[field.name] = SMALL[field.name]
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            values[field.name] = "tiny" if "str" in str(field.type) else 4
    return kind(**values)


def models() -> Iterator[tuple[str, Callable[[], nn.Module], Callable[[nn.Module], Any]]]:
    """The language and vision models of mlx-vlm: their names, how to make a small one, and how to call it."""
    for package in pkgutil.iter_modules(mlx_vlm.models.__path__):
        if not package.ispkg:
            continue
        try:
            module = importlib.import_module(f"mlx_vlm.models.{package.name}")
        except ImportError:
            yield package.name, lambda: None, lambda model: None  # what it needs is not installed
            continue
        text, vision = (getattr(module, f"{part}Config", None) for part in ("Text", "Vision"))
        if text is not None and hasattr(module, "LanguageModel"):
            yield (
                f"{package.name} language",
                lambda kind=text, module=module: module.LanguageModel(small(kind)),
                lambda model: model(mx.array([[3, 14, 15, 9, 2, 6]])),
            )
        if vision is not None and hasattr(module, "VisionModel"):
            for layout, shape in (("last", (1, 28, 28, 3)), ("first", (1, 3, 28, 28))):
                yield (
                    f"{package.name} vision {layout}",
                    lambda kind=vision, module=module: module.VisionModel(small(kind)),
                    lambda model, shape=shape: model(draw(shape, "image")),
                )


def arrays(value: Any) -> list[mx.array]:
    """The arrays in a result, whatever holds them."""
    if isinstance(value, mx.array):
        return [value]
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        value = list(value.values())
    return [a for part in value for a in arrays(part)] if isinstance(value, list | tuple) else []


def vision_models() -> RESULTS:
    """Each model of mlx-vlm that can be made from small numbers; what goes wrong is a result as well."""
    found: RESULTS = {}
    for name, make, call in models():
        try:
            model = make()
            if model is None:
                found[f"vlm {name} is not imported"] = np.zeros(())
                continue
            if sum(x.size for _, x in tree_flatten(model.parameters())) > LARGEST:
                found[f"vlm {name} is too large"] = np.zeros(())
                continue
            draw_weights(model)
            for i, value in enumerate(arrays(call(model))):
                found[f"vlm {name} {i}"] = np.array(value.astype(mx.float32))
        except Exception as error:
            found[f"vlm {name} raises {type(error).__name__}"] = np.zeros(())
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **optimizers(), **vision_models())
