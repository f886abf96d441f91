"""Tiny checkpoints in the layout of Hugging Face, and a model of the family written in NumPy alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

import arrax.core as mx

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "eos_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
TEXT = ["The quick brown fox jumps over the lazy dog.", "naïve café — ☃", "def f(x):\n    return x\n"] * 4


def make_weights(config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Random float32 weights for a configuration, under the names of the family."""
    rng = np.random.default_rng(7)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim", hidden // config["num_attention_heads"])
    width, groups = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    matrices = {"model.embed_tokens": (config["vocab_size"], hidden)}
    norms = ["model.norm"]
    biases = []
    if not config.get("tie_word_embeddings"):
        matrices["lm_head"] = (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}"
        norms += [f"{at}.input_layernorm", f"{at}.post_attention_layernorm"]
        sides = {"q_proj": (width, hidden), "k_proj": (groups, hidden), "v_proj": (groups, hidden)}
        matrices |= {f"{at}.self_attn.{name}": shape for name, shape in sides.items()}
        matrices |= {f"{at}.self_attn.o_proj": (hidden, width), f"{at}.mlp.down_proj": (hidden, inner)}
        matrices |= {f"{at}.mlp.{name}": (inner, hidden) for name in ("gate_proj", "up_proj")}
        if config.get("attention_bias", config["model_type"] == "qwen2"):
            biases += [f"{at}.self_attn.{name}" for name in sides]
            if config["model_type"] != "qwen2":
                biases.append(f"{at}.self_attn.o_proj")
    weights = {f"{name}.weight": rng.normal(size=shape) * 0.3 for name, shape in matrices.items()}
    weights |= {f"{name}.weight": rng.uniform(0.5, 1.5, config["hidden_size"]) for name in norms}
    weights |= {f"{name}.bias": rng.normal(size=matrices[name][0]) for name in biases}
    return {name: value.astype(np.float32) for name, value in weights.items()}


def write_config(folder: Path, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))


def write_checkpoint(
    folder: Path, config: dict[str, Any] | None = None, dtype: mx.Dtype = mx.float32, shards: int = 1
) -> dict[str, np.ndarray]:
    """Write a checkpoint with random weights and return them."""
    config = CONFIG | (config or {})
    write_config(folder, config)
    weights = make_weights(config)
    arrays = {name: mx.array(value).astype(dtype) for name, value in weights.items()}
    if shards == 1:
        mx.save_safetensors(str(folder / "model.safetensors"), arrays)
        return weights
    places = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(sorted(arrays))}
    for file in set(places.values()):
        mx.save_safetensors(str(folder / file), {n: a for n, a in arrays.items() if places[n] == file})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return weights


def write_tokenizer(folder: Path) -> None:
    """Train a byte-level tokenizer of fewer than 300 tokens, of which number 0 ends a text."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))


def _frequencies(config: dict[str, Any], head: int) -> np.ndarray:
    """As the report on Llama 3 has it: angular frequencies by their wave lengths."""
    rope = config.get("rope_scaling") or {"rope_type": "default"}
    frequencies = config["rope_theta"] ** (-np.arange(0, head, 2) / head)
    kind = rope.get("rope_type", rope.get("type"))
    if kind == "linear":
        return frequencies / rope["factor"]
    if kind == "llama3":
        context, low, high = (
            rope[name] for name in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor")
        )
        for i, frequency in enumerate(frequencies):
            length = 2 * math.pi / frequency
            if length > context / low:
                frequencies[i] = frequency / rope["factor"]
            elif length >= context / high:
                smooth = (context / length - low) / (high - low)
                frequencies[i] = (1 - smooth) * frequency / rope["factor"] + smooth * frequency
    return frequencies


def reference_logits(config: dict[str, Any], weights: dict[str, np.ndarray], tokens: list[int]) -> np.ndarray:
    """The (length, vocabulary) logits in float64, one head at a time."""
    config = CONFIG | config
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    head = config.get("head_dim", config["hidden_size"] // heads)
    angles = np.arange(len(tokens))[:, None] * _frequencies(config, head)
    unseen = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        return w[f"{name}.weight"] * x / np.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"])

    def rotated(x: np.ndarray) -> np.ndarray:
        a, b = x[:, : head // 2], x[:, head // 2 :]
        return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], 1)

    x = w["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}"
        y = norm(f"{at}.input_layernorm", x)
        q, k, v = (linear(f"{at}.self_attn.{name}_proj", y) for name in "qkv")
        parts = []
        for h in range(heads):
            mine, shared = (slice(j * head, (j + 1) * head) for j in (h, h * groups // heads))
            scores = rotated(q[:, mine]) @ rotated(k[:, shared]).T / math.sqrt(head) + unseen
            exps = np.exp(scores - scores.max(-1, keepdims=True))
            parts.append(exps / exps.sum(-1, keepdims=True) @ v[:, shared])
        x = x + linear(f"{at}.self_attn.o_proj", np.concatenate(parts, 1))
        y = norm(f"{at}.post_attention_layernorm", x)
        gate = linear(f"{at}.mlp.gate_proj", y)
        x = x + linear(f"{at}.mlp.down_proj", gate / (1 + np.exp(-gate)) * linear(f"{at}.mlp.up_proj", y))
    output = "model.embed_tokens" if config.get("tie_word_embeddings") else "lm_head"
    return linear(output, norm("model.norm", x))
