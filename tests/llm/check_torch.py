"""`examples/llama` against PyTorch. `make test-torch` runs this file; `make test` compares with logits stored by

build/torch/bin/python -m tests.llm.check_torch
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from pprint import pprint
from typing import Any

import numpy as np
import pytest
import torch
from tests.llm.checkpoints import write_checkpoint
from tests.llm.llama_page import CONFIG, PROGRAMS, ROOT, STORED, TOKENS, error, hf_logits, page_logits, run
from tests.llm.torch_llama import load

import arrax.core as mx

PLAIN = [sys.executable]


def torch_logits(folder: Path, tokens: list[int]) -> np.ndarray:
    """Return the (length, vocabulary) logits that PyTorch computes from a checkpoint in Meta's layout."""
    with torch.inference_mode():
        return load(folder)(torch.tensor([tokens]))[0].numpy()


def exported(folder: Path, changes: dict[str, Any], dtype: mx.Dtype = mx.float32) -> tuple[Path, Path]:
    """Write a checkpoint with random weights and export it; return both folders."""
    write_checkpoint(folder / "hf", changes, dtype)
    run(PROGRAMS / "export.py", folder / "hf", "--torch", folder / "torch")
    return folder / "hf", folder / "torch"


def test_a_trained_model_goes_round(tmp_path: Path) -> None:
    demo, hf, meta = (tmp_path / name for name in ("demo", "hf", "torch"))
    few = ["--steps=40", "--batch=8", "--context=64", "--layers=2", "--dims=64", "--heads=4", "--eval-windows=8"]
    run(ROOT / "examples" / "llama_lm.py", *few, "--tokens=2", "--out", demo)
    run(PROGRAMS / "export.py", demo, "--hf", hf, "--torch", meta)
    weights = tmp_path / "weights.npz"
    run(PROGRAMS / "convert.py", meta / "consolidated.00.pth", weights, interpreter=PLAIN)

    tokens = list(b"def __init__(self, items=()):\n    self._items = []")
    expected = torch_logits(meta, tokens)
    assert error(page_logits(tmp_path, weights, 4, tokens), expected) < 1e-4
    assert error(hf_logits(hf, tokens), expected) < 1e-4
    printed = run(PROGRAMS / "llama.py", weights, "bytes", "def __init__(", "--num-heads=4", "--num-tokens=8")
    assert "[INFO] Prompt processing:" in printed


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"rope_theta": 500.0}])
def test_export_of_other_checkpoints(changes: dict[str, Any], tmp_path: Path) -> None:
    hf, meta = exported(tmp_path, changes)
    assert error(torch_logits(meta, TOKENS), hf_logits(hf, TOKENS)) < 1e-4


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_half_precision_is_kept(dtype: mx.Dtype, tmp_path: Path) -> None:
    _, meta = exported(tmp_path, CONFIG, dtype)
    state = torch.load(meta / "consolidated.00.pth", weights_only=True)
    assert {str(value.dtype) for value in state.values()} == {f"torch.{str(dtype).rpartition('.')[2]}"}
    run(PROGRAMS / "convert.py", meta / "consolidated.00.pth", tmp_path / "weights.npz", interpreter=PLAIN)
    weights = np.load(tmp_path / "weights.npz")
    expected = state["layers.1.feed_forward.w3.weight"].float().numpy()
    assert np.array_equal(weights["layers.1.linear2.weight"], expected)
    assert weights["norm.weight"].dtype == (np.float32 if dtype == mx.bfloat16 else np.float16)


def test_tables_of_positions_are_left_out(tmp_path: Path) -> None:
    _, meta = exported(tmp_path, CONFIG)
    state = torch.load(meta / "consolidated.00.pth", weights_only=True) | {"rope.freqs": torch.ones(8)}
    torch.save(state, tmp_path / "old.pth")
    run(PROGRAMS / "convert.py", tmp_path / "old.pth", tmp_path / "weights.npz", interpreter=PLAIN)
    assert len(np.load(tmp_path / "weights.npz").files) == len(state) - 1


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"norm.weight": pprint}, "is no file of weights alone"),
        ({"model": {"norm.weight": torch.ones(2)}}, "has more than tensors with names"),
        ({"wte.weight": torch.ones(2)}, "wte.weight is no tensor of a Llama"),
    ],
)
def test_other_pickles_are_refused(contents: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(contents, tmp_path / "other.pth")
    words = [PROGRAMS / "convert.py", tmp_path / "other.pth", tmp_path / "no.npz"]
    assert message in run(*words, interpreter=PLAIN, code=1)
    assert not (tmp_path / "no.npz").exists()


def stored_case(folder: Path) -> np.ndarray:
    _, meta = exported(folder, CONFIG)
    return torch_logits(meta, TOKENS)


def test_the_stored_logits_are_those_of_today(tmp_path: Path) -> None:
    assert error(np.load(STORED), stored_case(tmp_path)) < 1e-5


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        np.save(STORED, stored_case(Path(name)))
