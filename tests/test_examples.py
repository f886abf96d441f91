"""The examples, run on Arrax as a user runs them: on little data or for a few steps, yet they must have learned."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

EXAMPLES = Path(__file__).parents[1] / "examples"
DEMO = EXAMPLES / "llama_lm.py"
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
    assert summary["framework"].startswith("Arrax ")
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


def number(pattern: str, shown: str) -> float:
    """Return the number at the group of `pattern` in what a program printed."""
    found = re.search(pattern, shown)
    assert found, shown
    return float(found[1].replace(",", ""))


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_linear_regression_reaches_the_exact_solution(tmp_path: Path) -> None:
    shown = run(ARRAX, EXAMPLES / "linear_regression.py", "--steps=300", "--out", tmp_path)
    exact = number(r"(\S+) exactly solved", shown)
    assert number(r"error (\S+) at first", shown) == pytest.approx(1, abs=1e-3)  # the targets are standardised
    assert exact - 1e-3 < number(r"(\S+) at last", shown) < 1.02 * exact < 0.6
    assert number(r"variance explained (\S+)%", shown) > 35
    assert is_png(tmp_path / "fit.png")


def test_logistic_regression_tells_tumours_apart(tmp_path: Path) -> None:
    shown = run(ARRAX, EXAMPLES / "logistic_regression.py", "--steps=200", "--out", tmp_path)
    assert number(r"loss (\S+) nats at first", shown) == pytest.approx(0.6931, abs=1e-3)  # ln 2: even odds
    assert number(r"(\S+) at last", shown) < 0.15
    assert number(r"(\S+)% right", shown) > 93 > number(r"benign: (\S+)%", shown)
    assert is_png(tmp_path / "odds.png")


@pytest.mark.parametrize(("model", "epochs", "accuracy"), [("mlp", 4, 90), ("conv", 2, 85)])
def test_digits_are_read(model: str, epochs: int, accuracy: float, tmp_path: Path) -> None:
    shown = run(ARRAX, EXAMPLES / "digits.py", f"--model={model}", f"--epochs={epochs}", "--out", tmp_path)
    assert number(r"(\S+)% read correctly", shown) > accuracy
    assert number(r"(\S+) in the last", shown) < 0.5 * number(r"loss (\S+) nats", shown)
    assert is_png(tmp_path / f"{model}.png")


def test_autoencoder_beats_the_mean_image(tmp_path: Path) -> None:
    shown = run(ARRAX, EXAMPLES / "vae.py", "--epochs=12", "--hidden=128", "--out", tmp_path)
    assert number(r"(\S+) in the last", shown) < number(r"loss (\S+) nats per image", shown) - 2
    assert number(r"held back\s+(\S+) nats", shown) < number(r"mean image: (\S+)", shown) - 0.5
    assert is_png(tmp_path / "digits.png")


def test_adapters_alone_are_trained_and_saved(corpus: Path, tmp_path: Path) -> None:
    words = ["--context=32", "--batch=8", "--eval-windows=16", "--tokens=8", "--rank=4"]
    base = ["--base-steps=40", "--layers=1", "--dims=32", "--heads=2"]
    shown = run(ARRAX, EXAMPLES / "lora.py", *words, *base, "--steps=60", "--eval-every=30", "--out", tmp_path / "one")
    before, after = number(r"(\S+) nats per byte before", shown), number(r"before, (\S+) after", shown)
    assert after < before - 0.05
    saved = load_file(tmp_path / "one" / "adapters.safetensors")
    assert {name.rpartition(".")[2] for name in saved} == {"lora_a", "lora_b"}
    assert sum(value.size for value in saved.values()) == number(r"(\S+) parameters trained", shown)
    assert is_png(tmp_path / "one" / "loss.png")

    # The base is as it was, fit to be adapted to something else.
    again = [*words, "--steps=2", "--base", tmp_path / "one" / "base", "--out", tmp_path / "two"]
    assert number(r"(\S+) nats per byte before", run(ARRAX, EXAMPLES / "lora.py", *again)) == before
    assert "no summary.json" in run(ARRAX, EXAMPLES / "lora.py", "--base", corpus, "--out", tmp_path / "two", code=1)


@pytest.mark.parametrize("name", ["digits", "linear_regression", "logistic_regression", "lora", "vae"])
@pytest.mark.slow
def test_apples_mlx_runs_the_same_examples(name: str, tmp_path: Path) -> None:
    few = {
        "digits": ["--epochs=1"],
        "lora": ["--base-steps=2", "--steps=2", "--layers=1", "--dims=32", "--context=16", "--tokens=4"],
        "vae": ["--epochs=1"],
    }.get(name, ["--steps=5"])
    shown = run(MLX, EXAMPLES / f"{name}.py", *few, "--out", tmp_path)
    assert "framework   mlx.core " in shown
    assert is_png(next(tmp_path.glob("*.png")))
