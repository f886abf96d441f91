"""Loading checkpoints in the layout of Hugging Face: a folder of ``config.json``, safetensors files and a tokenizer."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import arrax.core as mx
import arrax.nn as nn
from arrax.llm.config import Config, whole, wrong
from arrax.llm.llama import Llama
from arrax.utils import tree_flatten

_ALLOWED = (mx.bfloat16, mx.float16, mx.float32)


@dataclass(frozen=True)
class Checkpoint:
    """A model and what belongs to it.

    Attributes:
        path: the folder.
        model: the model, with its weights.
        stop: the tokens that end a text.
    """

    path: Path
    model: Llama
    stop: frozenset[int]


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Load a model of the Llama family.

    The weights are views into the files, which the operating system reads when they are used. They may be bfloat16,
    float16, float32, or quantized as MLX does (``quantization`` in ``config.json``).

    Raises:
        FileNotFoundError: if the folder lacks a file.
        ValueError: if the model is of another family, or its tensors are not those that it should have.
    """
    folder = Path(path)
    values = _read_json(folder / "config.json")
    config = Config.from_dict(values)
    try:
        model = Llama(config)
    except ValueError as error:
        raise ValueError(
            f"[load_checkpoint] expected sizes of a model in config.json, and there is none: {error}"
        ) from None
    weights = _read_weights(folder)
    _quantize(model, values, weights)
    if model.config.tie_word_embeddings:
        weights = {name: value for name, value in weights.items() if not name.startswith("lm_head.")}
    _check(model, weights)
    model.load_weights(weights, strict=False)
    model.eval()
    return Checkpoint(folder, model, _stop_tokens(folder, values))


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"[load_checkpoint] expected the file {path}, which does not exist")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"[load_checkpoint] expected JSON in {path}, got: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"[load_checkpoint] expected a JSON object in {path}, got {type(values).__name__}")
    return values


def _read_weights(folder: Path) -> dict[str, mx.array]:
    """All tensors of a checkpoint, which is one file, or several with an index."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        files = ["model.safetensors"]
    else:
        places = _read_json(index).get("weight_map")
        # The files are beside their index: a checkpoint cannot name others of the machine.
        if not isinstance(places, dict) or not all(isinstance(n, str) and Path(n).name == n for n in places.values()):
            raise ValueError(f"[load_checkpoint] expected weight_map in {index}: names of tensors and files")
        files = sorted(set(places.values()))
    weights: dict[str, mx.array] = {}
    for name in files:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"[load_checkpoint] expected the file {folder / name}, which does not exist")
        try:
            tensors: Any = mx.load(str(folder / name))
        except RuntimeError as error:
            raise ValueError(f"[load_checkpoint] expected safetensors in {folder / name}, got: {error}") from None
        weights |= tensors
    # Old checkpoints carry the angular frequencies of the rotary positions, which follow from the configuration.
    return {name: value for name, value in weights.items() if not name.endswith("rotary_emb.inv_freq")}


def _quantize(model: Llama, values: dict[str, Any], weights: dict[str, mx.array]) -> None:
    """Make those layers quantized that are in the checkpoint."""
    quantization = values.get("quantization")
    if quantization is None:
        if "quantization_config" in values:
            raise ValueError("[load_checkpoint] expected weights quantized by MLX, got another kind of quantization")
        return

    if not isinstance(quantization, dict):
        raise wrong("quantization", "an object", quantization)

    def settings(given: dict[str, Any]) -> dict[str, Any]:
        mode = given.get("mode", "affine")
        if not isinstance(mode, str):
            raise wrong("mode", "the name of a way to quantize", mode)
        return {"group_size": whole(given, "group_size"), "bits": whole(given, "bits"), "mode": mode}

    def choose(path: str, module: nn.Module) -> bool | dict[str, Any]:
        chosen = quantization.get(path, True)
        if not isinstance(chosen, bool | dict):
            raise wrong(path, "true, false or an object", chosen)
        if f"{path}.scales" not in weights:
            return False
        return chosen if isinstance(chosen, bool) else settings(chosen)

    nn.quantize(model, **settings(quantization), class_predicate=choose)


def _check(model: Llama, weights: dict[str, mx.array]) -> None:
    """Compare the tensors with the model's parameters."""
    expected: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    for names, what in ((expected.keys() - weights.keys(), "lacks"), (weights.keys() - expected.keys(), "also has")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(
                f"[load_checkpoint] expected the tensors of the model in config.json, the checkpoint {what} "
                f"{min(names)}{more}"
            )
    for name, parameter in expected.items():
        shape, dtype = weights[name].shape, weights[name].dtype
        if shape != parameter.shape:
            raise ValueError(f"[load_checkpoint] expected {name} of shape {parameter.shape}, got {shape}")
        if dtype not in _ALLOWED and dtype != parameter.dtype:
            found = str(dtype).rpartition(".")[2]
            raise ValueError(f"[load_checkpoint] expected {name} to be bfloat16, float16 or float32, got {found}")


def _stop_tokens(folder: Path, values: dict[str, Any]) -> frozenset[int]:
    """The ends of a text that either configuration names, each as a number or a list."""
    tokens: set[int] = set()
    generation = folder / "generation_config.json"
    for source in (values, _read_json(generation) if generation.is_file() else {}):
        found = source.get("eos_token_id")
        found = [] if found is None else found if isinstance(found, list) else [found]
        if not all(type(token) is int for token in found):
            raise wrong("eos_token_id", "a token or a list of tokens", source["eos_token_id"])
        tokens |= set(found)
    return frozenset(tokens)
