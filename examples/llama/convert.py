"""Convert the weights of a Llama from PyTorch's format, as Meta published them, to the NPZ file that `llama.py` reads.

Needs PyTorch, and no MLX:

    python examples/llama/convert.py consolidated.00.pth llama-7B.npz
"""

from __future__ import annotations

import argparse
import importlib
import pickle
import re
from pathlib import Path

import numpy as np

# Names in a PyTorch checkpoint and in `llama.py`, each without "layers.N." before it and ".weight" after it.
NAMES = {
    "tok_embeddings": "embedding",
    "attention_norm": "norm1",
    "attention.wq": "attention.query_proj",
    "attention.wk": "attention.key_proj",
    "attention.wv": "attention.value_proj",
    "attention.wo": "attention.out_proj",
    "ffn_norm": "norm2",
    "feed_forward.w1": "linear1",
    "feed_forward.w3": "linear2",
    "feed_forward.w2": "linear3",
    "norm": "norm",
    "output": "out_proj",
}


def map_name(name: str) -> str | None:
    """Return the name that a tensor of PyTorch's has in `llama.py`, None for the table of rotary positions."""
    if "rope" in name:
        return None
    parts = re.fullmatch(r"(layers\.\d+\.)?(.+)\.weight", name)
    if parts is None or parts[2] not in NAMES:
        raise SystemExit(f"{name} is no tensor of a Llama in PyTorch's layout")
    return f"{parts[1] or ''}{NAMES[parts[2]]}.weight"


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a .pth file; bfloat16, which NumPy lacks, becomes float32."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise SystemExit("PyTorch is not installed: pip install torch") from None
    try:
        # A .pth file is a pickle: loading more than weights would run any code that is in it.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise SystemExit(f"{path} is no file of weights alone: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise SystemExit(f"{path} has more than tensors with names: it is no checkpoint in Meta's layout")
    return {name: (value.float() if value.dtype == torch.bfloat16 else value).numpy() for name, value in state.items()}


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="convert", description="Convert a Llama's weights from .pth to .npz.")
    parser.add_argument("torch_weights", type=Path, help=".pth file of PyTorch")
    parser.add_argument("output_file", type=Path, help="NPZ file to write")
    options = parser.parse_args()
    if not options.torch_weights.is_file():
        parser.error(f"{options.torch_weights} does not exist")
    named = ((map_name(name), value) for name, value in read_torch(options.torch_weights).items())
    np.savez(options.output_file, **{name: value for name, value in named if name is not None})


if __name__ == "__main__":
    main()
