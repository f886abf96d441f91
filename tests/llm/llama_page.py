"""What the tests of `examples/llama` share.

The examples run in processes of their own, where MLX is Arrax or Apple's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import arrax.core as mx
from arrax.llm import load_checkpoint

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "examples" / "llama"
STORED = Path(__file__).parent / "data" / "torch_logits.npy"  # of a checkpoint with CONFIG, for TOKENS
ARRAX = [sys.executable, "-m", "arrax", "run"]
CONFIG: dict[str, Any] = {"num_key_value_heads": 4, "vocab_size": 48}
HEADS = 4
TOKENS = [7, 1, 40, 40, 3, 11, 25, 0, 31, 47, 16, 2]

LOGITS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import mlx.core as mx
import numpy as np
from llama import load_model

tokens = mx.array([[int(token) for token in sys.argv[5:]]])
model = load_model(Path(sys.argv[2]), int(sys.argv[3]))
np.save(sys.argv[4], np.array(model(tokens)[0].astype(mx.float32)))
"""


def run(*words: str | Path, interpreter: list[str] = ARRAX, code: int = 0, typed: str = "") -> str:
    """Run a program and return all that it printed."""
    done = subprocess.run([*interpreter, *map(str, words)], capture_output=True, text=True, timeout=600, input=typed)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def script(folder: Path, text: str) -> Path:
    """Write a program and return its path."""
    path = folder / "script.py"
    path.write_text(text)
    return path


def page_logits(
    folder: Path, weights: Path, heads: int, tokens: list[int], interpreter: list[str] = ARRAX
) -> np.ndarray:
    """Return the (length, vocabulary) logits that the model of `llama.py` computes from an NPZ file."""
    out = folder / "logits.npy"
    run(script(folder, LOGITS), PROGRAMS, weights, str(heads), out, *map(str, tokens), interpreter=interpreter)
    return np.load(out)


def hf_logits(folder: Path, tokens: list[int]) -> np.ndarray:
    """Return the (length, vocabulary) logits that `arrax.llm` computes from a checkpoint."""
    return np.array(load_checkpoint(folder).model(mx.array([tokens]))[0].astype(mx.float32))


def error(logits: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest logit."""
    return float(np.abs(logits - expected).max() / np.abs(expected).max())
