"""The programs in `examples/llama`; `check_torch.py` has the tests that need PyTorch."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from tests.llm.checkpoints import TEXT, write_checkpoint
from tests.llm.llama_page import (
    ARRAX,
    CONFIG,
    HEADS,
    PROGRAMS,
    ROOT,
    STORED,
    TOKENS,
    error,
    hf_logits,
    page_logits,
    run,
    script,
)

from arrax.llm import Tokenizer
from arrax.llm.command import main as command

MLX = [sys.executable]

# What export.py and convert.py do, without PyTorch's file between them.
CONVERTED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from convert import map_name
from export import read, to_meta

tensors = to_meta(*read(Path(sys.argv[2])))
np.savez(sys.argv[3], **{map_name(name): np.array(value) for name, value in tensors.items()})
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of random weights, `hf`, and `weights.npz` made of it."""
    folder = tmp_path_factory.mktemp("made")
    write_checkpoint(folder / "hf", CONFIG)
    run(script(folder, CONVERTED), PROGRAMS, folder / "hf", folder / "weights.npz")
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of SentencePiece with fewer tokens than the checkpoint."""
    prefix = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT[:1]), model_prefix=str(prefix), vocab_size=36, model_type="bpe", minloglevel=2
    )
    return prefix.with_suffix(".model")


def test_logits_are_those_of_torch(made: Path, tmp_path: Path) -> None:
    stored = np.load(STORED)
    assert stored.shape == (len(TOKENS), CONFIG["vocab_size"]) and np.abs(stored).max() > 1
    assert error(page_logits(tmp_path, made / "weights.npz", HEADS, TOKENS), stored) < 1e-4
    assert error(hf_logits(made / "hf", TOKENS), stored) < 1e-4


@pytest.mark.slow
def test_apples_mlx_runs_the_same_file_to_the_same_logits(made: Path, tmp_path: Path) -> None:
    assert error(page_logits(tmp_path, made / "weights.npz", HEADS, TOKENS, MLX), np.load(STORED)) < 1e-4


def test_generation_is_lazy_cached_and_follows_the_seed(tmp_path: Path) -> None:
    check = """
import sys
from itertools import islice
sys.path.insert(0, sys.argv[1])
import mlx.core as mx
from llama import Llama

mx.random.seed(3)
model = Llama(num_layers=2, vocab_size=64, dims=32, mlp_dims=48, num_heads=4)
prompt = mx.array([[1, 10, 8, 32, 44, 7], [5, 2, 2, 60, 1, 9]])
together = list(islice(model.generate(prompt, temp=0), 8))
mx.eval(together)
text = prompt
for number, token in enumerate(model.generate(prompt, temp=0)):
    expected = mx.argmax(model(text)[:, -1], axis=-1)
    assert mx.array_equal(token, expected) and mx.array_equal(together[number], expected), number
    text = mx.concatenate([text, expected[:, None].astype(text.dtype)], axis=1)
    if number == 7:
        break

def sampled(seed):
    mx.random.seed(seed)
    return [token.tolist() for token in islice(model.generate(prompt, 2.0), 8)]

assert sampled(1) == sampled(1) != sampled(2)
print("same")
"""
    assert run(script(tmp_path, check), PROGRAMS).strip() == "same"


# The end of the page, with a seed before the model is made.
SAMPLED = """
import sys
from itertools import islice
sys.path.insert(0, sys.argv[1])
import mlx.core as mx
from llama import Llama

layers, vocabulary, dims = map(int, sys.argv[2:])
mx.random.seed(7)
model = Llama(num_layers=layers, vocab_size=vocabulary, dims=dims, mlp_dims=2 * dims, num_heads=8)
mx.eval(model.parameters())
generated = list(islice(model.generate(mx.array([[1, 10, 8, 32, 44, 7]]), 0.8), 10))
mx.eval(generated)
print([token.item() for token in generated])
"""


@pytest.mark.parametrize(
    "sizes", [("2", "1024", "64"), pytest.param(("12", "8192", "512"), marks=pytest.mark.slow)], ids=["small", "page"]
)
def test_the_same_seed_samples_the_tokens_of_apples_mlx(tmp_path: Path, sizes: tuple[str, ...]) -> None:
    program = script(tmp_path, SAMPLED)
    ours, theirs = (run(program, PROGRAMS, *sizes, interpreter=interpreter) for interpreter in (ARRAX, MLX))
    assert ours == theirs
    assert sizes[0] == "2" or theirs.startswith("[3522, 8063, 3183, ")


def test_text_and_times(made: Path, tokenizer: Path) -> None:
    words = [PROGRAMS / "llama.py", made / "weights.npz", tokenizer, "The quick", "--num-heads=4", "--num-tokens=12"]
    printed = run(*words, typed="\n")
    pattern = (
        r"\[INFO\] Loading model from disk: \d+\.\d{3} s\nPress enter to start generation\n------\n(.*)\n------\n"
        r"\[INFO\] Prompt processing: (\d+\.\d{3}) s\n\[INFO\] Full generation: (\d+\.\d{3}) s\n"
    )
    found = re.fullmatch(pattern, printed, re.DOTALL)
    assert found and found[1].strip() and 0 < float(found[2]) <= float(found[3])


def test_bytes_are_tokens_of_the_demo_and_of_its_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--steps=4", "--batch=2", "--context=16", "--layers=1", "--dims=32", "--heads=2", "--eval-windows=2"]
    data = tmp_path / "data"
    data.mkdir()
    for number in range(20):
        (data / f"module{number}.py").write_text("def f(x):\n    return x + 1\n" * 20)
    run(ROOT / "examples" / "llama_lm.py", *few, "--tokens=2", "--data", data, "--out", tmp_path / "demo")
    run(PROGRAMS / "export.py", tmp_path / "demo", "--hf", tmp_path / "hf")
    text = "naïve ☃\n\x00\x7f\xad"
    exported = Tokenizer(tmp_path / "hf" / "tokenizer.json")
    assert exported.encode(text) == list(text.encode()) and exported.decode(list(text.encode())) == text
    command(["generate", "--model", str(tmp_path / "hf"), "--prompt", "def f", "--max-tokens", "4"])
    written = capsys.readouterr().out

    run(script(tmp_path, CONVERTED), PROGRAMS, tmp_path / "hf", tmp_path / "weights.npz")
    options = ["--num-heads=2", "--num-tokens=4", "--temp=0"]
    printed = run(PROGRAMS / "llama.py", tmp_path / "weights.npz", "bytes", "def f", *options)
    assert printed.split("------\n")[1].rstrip("\n") == written.removeprefix("def f").rstrip("\n")


def test_wrong_files_and_options_are_explained(made: Path, tokenizer: Path, tmp_path: Path) -> None:
    program, weights = PROGRAMS / "llama.py", made / "weights.npz"
    assert "does not exist" in run(program, tmp_path / "no.npz", "bytes", "x", code=2)
    assert "must be at least 1" in run(program, weights, "bytes", "x", "--num-tokens=0", code=2)
    assert "64 features must be --num-heads 3 times" in run(program, weights, "bytes", "x", "--num-heads=3", code=1)
    assert "or `bytes`" in run(program, weights, tmp_path / "no.model", "x", code=1)
    arrays = dict(np.load(weights))
    np.savez(tmp_path / "odd.npz", **arrays | {"layers.1.norm1.weight": np.ones(5)})
    assert "layers.1.norm1.weight has shape (5,), the model's has (64,)" in run(
        program, tmp_path / "odd.npz", "bytes", "x", code=1
    )
    np.savez(tmp_path / "other.npz", x=np.ones(5))
    assert "make it with convert.py" in run(program, tmp_path / "other.npz", "bytes", "x", code=1)
    assert "does not exist" in run(PROGRAMS / "convert.py", tmp_path / "no.pth", tmp_path / "no.npz", code=2)
    assert "name a folder to write to" in run(PROGRAMS / "export.py", made / "hf", code=2)
    assert "no checkpoint of llama_lm.py" in run(PROGRAMS / "export.py", tmp_path, "--hf", tmp_path / "out", code=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"attention_bias": True}, "_proj.bias is missing or too much"), ({"rope_scaling": {"factor": 2.0}}, "scaled")],
)
def test_models_without_a_place_in_metas_layout(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf", {k: v for k, v in changes.items() if k != "rope_scaling"})
    config = tmp_path / "hf" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    check = script(tmp_path, CONVERTED)
    assert message in run(check, PROGRAMS, tmp_path / "hf", tmp_path / "no.npz", interpreter=ARRAX, code=1)
