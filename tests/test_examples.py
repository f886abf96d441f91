"""The demo program, run on Arrax as a user runs it, on a small text that it can learn in seconds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parents[1] / "examples" / "llama_lm.py"
ARRAX = [sys.executable, "-m", "arrax", "run"]
MLX = [sys.executable]
SMALL = ["--steps=60", "--batch=8", "--context=32", "--layers=2", "--dims=32", "--heads=2", "--eval-every=20"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files whose next byte is nearly always plain from the bytes before, though not from the last one alone."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(40):
        body = "".join(f"def get_{name}(self):\n    return self.{name}\n\n" for name in ("alpha", "beta", "gamma"))
        (folder / f"module{number}.py").write_text(body * 4)
    (folder / "tests").mkdir()
    (folder / "tests" / "left_out.py").write_text("?" * 100_000)
    return folder


def run(interpreter: list[str], *words: str | Path, code: int = 0) -> str:
    done = subprocess.run([*interpreter, *map(str, words)], capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def train(interpreter: list[str], corpus: Path, out: Path) -> tuple[str, dict[str, Any]]:
    words = ["--eval-windows", "24", "--lr", "0.01", "--tokens", "40", "--prompt", "def get_al", "--temperature", "0"]
    shown = run(interpreter, DEMO, *SMALL, *words, "--data", corpus, "--out", out)
    return shown, json.loads((out / "summary.json").read_text())


def test_demo_learns_saves_loads_and_writes(corpus: Path, tmp_path: Path) -> None:
    shown, summary = train(ARRAX, corpus, tmp_path)
    assert summary["framework"].startswith("arrax.core ")
    assert len(summary["losses"]) == 60
    assert [step for step, _ in summary["validation"]] == [20, 40, 60]
    # Counting byte pairs leaves about 0.9 nats here; a model that sees the context needs a fraction of it.
    assert summary["validation"][-1][1] < 0.7 * summary["bigram_loss"] < 1.0
    assert "def get_alpha(self):\n    return self." in shown
    assert "loaded again" in shown and "· training   ● validation" in shown
    assert all(summary[f"{phase}_tokens_per_second"] > 0 for phase in ("training", "prompt", "generation"))
    assert (tmp_path / "model.safetensors").stat().st_size > 4 * summary["parameters"]
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_cached_generation_equals_recomputation(tmp_path: Path) -> None:
    check = tmp_path / "check.py"
    check.write_text(f"""
import sys
sys.path.insert(0, {str(DEMO.parent)!r})
import mlx.core as mx
from llama_lm import Llama

mx.random.seed(3)
model = Llama(layers=2, dims=32, heads=2)
prompt = b"def f("
cached = model.generate(prompt, window=64, temperature=0)
tokens = list(prompt)
for _ in range(12):
    expected = mx.argmax(model(mx.array([tokens]))[:, -1], axis=-1).item()
    assert next(cached) == expected, len(tokens)
    tokens.append(expected)

windowed = model.generate(prompt, window=8, temperature=1.0)
assert all(0 <= next(windowed) < 256 for _ in range(12))
print("same")
""")
    assert run(ARRAX, check).strip() == "same"


def test_time_limit_ends_training_early(corpus: Path, tmp_path: Path) -> None:
    words = ["--steps", "100000", "--time-limit", "1", "--tokens", "2", "--data", corpus, "--out", tmp_path]
    run(ARRAX, DEMO, *SMALL, *words)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert 1 <= len(summary["losses"]) < 100_000
    assert summary["validation"][-1][0] == len(summary["losses"])


def test_wrong_options_are_explained(tmp_path: Path) -> None:
    assert "--dims 30 must be --heads 4 times an even number" in run(
        ARRAX, DEMO, "--dims", "30", "--heads", "4", code=2
    )
    assert "--eval-every must be at least 1" in run(ARRAX, DEMO, "--eval-every", "0", code=2)
    assert "--tokens must be at least 2" in run(ARRAX, DEMO, "--tokens", "0", code=2)
    assert "too few Python files" in run(ARRAX, DEMO, "--data", tmp_path, "--out", tmp_path, code=1)


@pytest.mark.slow
def test_apples_mlx_runs_the_same_file_to_the_same_loss(corpus: Path, tmp_path: Path) -> None:
    _, ours = train(ARRAX, corpus, tmp_path / "arrax")
    _, theirs = train(MLX, corpus, tmp_path / "mlx")
    assert theirs["framework"].startswith("mlx.core ")
    assert ours["bigram_loss"] == theirs["bigram_loss"] and ours["parameters"] == theirs["parameters"]
    assert abs(ours["validation"][-1][1] - theirs["validation"][-1][1]) < 0.25 * theirs["validation"][-1][1]


def test_benchmarks_time_and_compare(tmp_path: Path) -> None:
    bench = DEMO.parents[1] / "benchmarks" / "workloads.py"
    words = ["--only", "8 floats", "--seconds", "0.01"]
    out = run(ARRAX, bench, *words, "--json", tmp_path / "a.json")
    times = json.loads((tmp_path / "a.json").read_text())
    assert set(times) == {"200 operations on 8 floats", "compiled call on 8 floats"}
    assert all(milliseconds > 0 for milliseconds in times.values())
    assert "other" not in out
    out = run(ARRAX, bench, *words, "--against", tmp_path / "a.json")
    assert "other" in out and f"{times['compiled call on 8 floats']:.3f}" in out
    assert "no workload's name contains 'nothing'" in run(ARRAX, bench, "--only", "nothing", code=2)
