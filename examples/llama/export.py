"""Write the model of `llama_lm.py` as others read it: as Hugging Face keeps checkpoints, and as PyTorch and Meta do.

    python -m arrax run examples/llama/export.py demo-out --hf exported --torch exported/original
    python -m arrax generate --model exported --prompt "def "

A folder in the layout of Hugging Face can be the source as well. Only `--torch` needs PyTorch.
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

# Names in `llama_lm.py`, at Hugging Face and in Meta's checkpoints: of the whole model, and of each layer.
MODEL = [
    ("embedding", "model.embed_tokens", "tok_embeddings"),
    ("norm", "model.norm", "norm"),
    ("head", "lm_head", "output"),
]
LAYER = [
    ("attention_norm", "input_layernorm", "attention_norm"),
    ("attention.q_proj", "self_attn.q_proj", "attention.wq"),
    ("attention.k_proj", "self_attn.k_proj", "attention.wk"),
    ("attention.v_proj", "self_attn.v_proj", "attention.wv"),
    ("attention.o_proj", "self_attn.o_proj", "attention.wo"),
    ("mlp_norm", "post_attention_layernorm", "ffn_norm"),
    ("gate_proj", "mlp.gate_proj", "feed_forward.w1"),
    ("up_proj", "mlp.up_proj", "feed_forward.w3"),
    ("down_proj", "mlp.down_proj", "feed_forward.w2"),
]


def names(layers: int) -> list[tuple[str, str, str]]:
    """Return the three names of every tensor."""
    inner = [
        (f"layers.{i}.{demo}", f"model.layers.{i}.{hf}", f"layers.{i}.{meta}")
        for i in range(layers)
        for demo, hf, meta in LAYER
    ]
    return [(f"{demo}.weight", f"{hf}.weight", f"{meta}.weight") for demo, hf, meta in MODEL + inner]


def read(folder: Path) -> tuple[dict[str, Any], dict[str, mx.array]]:
    """Return the configuration and the tensors of a checkpoint, both as Hugging Face names them."""
    described = next((folder / name for name in ("summary.json", "config.json") if (folder / name).is_file()), None)
    if described is None or not (folder / "model.safetensors").is_file():
        raise SystemExit(f"{folder}: no checkpoint of llama_lm.py, nor one of Hugging Face in a single file")
    values = json.loads(described.read_text(encoding="utf-8"))
    weights = mx.load(str(folder / "model.safetensors"))
    if described.name == "config.json":
        return values, weights
    shape = values["model"]
    vocabulary, dims = weights["embedding.weight"].shape
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": dims,
        "intermediate_size": weights["layers.0.gate_proj.weight"].shape[0],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["heads"],
        "vocab_size": vocabulary,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }
    return config, {hf: weights[demo] for demo, hf, _ in names(shape["layers"])}


def byte_tokenizer() -> dict[str, Any]:
    """Return the contents of a tokenizer.json whose token i is the byte i."""
    # Tokenizers of bytes write each byte as a printable character: itself, or one of those from U+0100 on.
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + i) for i, byte in enumerate(hidden)}
    by_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    vocabulary = {characters[byte]: byte for byte in range(256)}
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": by_bytes,
        "decoder": by_bytes,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def neighbours(weight: mx.array, heads: int) -> mx.array:
    """Reorder the rows of a projection to queries or keys from Hugging Face's order to Meta's.

    Rotary positions rotate pairs of a head's features: at Hugging Face a feature of the first half with one of the
    second half, at Meta two neighbours.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, 2, -1, columns).swapaxes(1, 2).reshape(rows, columns)


def to_meta(config: dict[str, Any], weights: dict[str, mx.array]) -> dict[str, mx.array]:
    """Return the tensors of a checkpoint under Meta's names and in Meta's order."""
    if config.get("rope_scaling"):
        raise SystemExit("Meta's layout has no place for this model: its positions are scaled")
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    if config.get("tie_word_embeddings"):
        weights = weights | {"lm_head.weight": weights["model.embed_tokens.weight"]}
    table = {hf: meta for _, hf, meta in names(config["num_hidden_layers"])}
    if odd := sorted(table.keys() ^ weights.keys()):
        raise SystemExit(f"Meta's layout has no place for this model: {odd[0]} is missing or too much")
    result = {}
    for hf, meta in table.items():
        turned = {"wq": heads, "wk": groups}.get(meta.split(".")[-2])
        result[meta] = weights[hf] if turned is None else neighbours(weights[hf], turned)
    return result


def write_hf(folder: Path, config: dict[str, Any], weights: dict[str, mx.array]) -> None:
    """Write a checkpoint as Hugging Face keeps them, with a tokenizer if the model's tokens are bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if config["vocab_size"] == 256:
        (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer(), ensure_ascii=False), encoding="utf-8")


def write_torch(folder: Path, config: dict[str, Any], weights: dict[str, mx.array]) -> None:
    """Write a checkpoint as Meta published them: a .pth file and its sizes."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise SystemExit("PyTorch is not installed: pip install torch") from None

    def tensor(value: mx.array) -> Any:
        dtype = getattr(torch, str(value.dtype).rpartition(".")[2])
        return torch.tensor(np.array(value.astype(mx.float32))).to(dtype)

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor(value) for name, value in to_meta(config, weights).items()}
    torch.save(state, folder / "consolidated.00.pth")
    sizes = {
        "dim": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "n_heads": config["num_attention_heads"],
        "n_kv_heads": config.get("num_key_value_heads") or config["num_attention_heads"],
        "vocab_size": config["vocab_size"],
        "norm_eps": config["rms_norm_eps"],
        "rope_theta": config.get("rope_theta", 10000.0),
    }
    (folder / "params.json").write_text(json.dumps(sizes) + "\n", encoding="utf-8")


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="export", description="Write a small Llama in the layouts of others.")
    parser.add_argument("source", type=Path, help="folder that llama_lm.py wrote, or a checkpoint of Hugging Face")
    parser.add_argument("--hf", type=Path, help="folder for config.json, model.safetensors and tokenizer.json")
    parser.add_argument("--torch", type=Path, help="folder for consolidated.00.pth and params.json")
    options = parser.parse_args()
    if options.hf is None and options.torch is None:
        parser.error("name a folder to write to: --hf, --torch or both")
    config, weights = read(options.source)
    if options.hf is not None:
        write_hf(options.hf, config, weights)
    if options.torch is not None:
        write_torch(options.torch, config, weights)


if __name__ == "__main__":
    main()
