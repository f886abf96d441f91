"""Make a small Llama checkpoint as the Hugging Face Hub has them, from nothing but this machine's Python.

    python tests/mlx_lm/checkpoint.py FOLDER

The weights are random; the tokenizer is trained on the source of the standard library.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SOURCES = sorted(Path(json.__file__).parents[1].glob("*.py"))[:40]
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def save_tokenizer(folder: Path, vocabulary: int) -> None:
    """Train a byte-level tokenizer of at most `vocabulary` tokens and write its files."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train([str(path) for path in SOURCES], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[0], "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def save_checkpoint(
    folder: Path, hidden: int = 64, layers: int = 2, heads: int = 4, vocabulary: int = 512, seed: int = 0
) -> None:
    """Write config.json, model.safetensors and a tokenizer of a Llama with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    width, keys = 3 * hidden, hidden // 2
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "eos_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    shapes = {"model.embed_tokens": (vocabulary, hidden), "lm_head": (vocabulary, hidden), "model.norm": (hidden,)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        shapes |= {
            f"{prefix}.input_layernorm": (hidden,),
            f"{prefix}.post_attention_layernorm": (hidden,),
            f"{prefix}.self_attn.q_proj": (hidden, hidden),
            f"{prefix}.self_attn.k_proj": (keys, hidden),
            f"{prefix}.self_attn.v_proj": (keys, hidden),
            f"{prefix}.self_attn.o_proj": (hidden, hidden),
            f"{prefix}.mlp.gate_proj": (width, hidden),
            f"{prefix}.mlp.up_proj": (width, hidden),
            f"{prefix}.mlp.down_proj": (hidden, width),
        }
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        drawn = generator.normal(0.0, shape[-1] ** -0.5, shape) if len(shape) == 2 else np.ones(shape)
        weights[f"{name}.weight"] = drawn.astype(np.float32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_tokenizer(folder, vocabulary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=512)
    options = parser.parse_args()
    save_checkpoint(options.folder, options.hidden, options.layers, options.heads, options.vocabulary)


if __name__ == "__main__":
    main()
