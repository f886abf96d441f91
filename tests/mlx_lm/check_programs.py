"""mlx-lm's programs on Arrax, on a small checkpoint that is made here. `make test-lm` runs this file."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint import save_checkpoint
from safetensors.numpy import load_file

PROMPT = "def main(self):"
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}


ARRAX = ("-m", "arrax", "run")


def command(program: str, *arguments: str | Path, on: tuple[str, ...] = ARRAX) -> list[str]:
    return [sys.executable, *on, "-m", "mlx_lm", program, *map(str, arguments)]


def run(program: str, *arguments: str | Path, on: tuple[str, ...] = ARRAX) -> str:
    """Run one of mlx-lm's programs and return what it printed."""
    done = subprocess.run(
        command(program, *arguments, on=on), capture_output=True, text=True, timeout=500, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def generated(model: Path, *options: str, on: tuple[str, ...] = ARRAX) -> str:
    """Return what a model writes after the prompt."""
    printed = run("generate", "--model", model, "--prompt", PROMPT, "--max-tokens", "24", *options, on=on)
    assert "Generation: 24 tokens" in printed
    return printed.split("==========")[1]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines = [json.dumps({"text": f"def add_{i}(x): return x + {i}"}) for i in range(32)]
    for part, chosen in (("train", lines[:24]), ("valid", lines[24:]), ("test", lines[24:])):
        (folder / f"{part}.jsonl").write_text("\n".join(chosen))
    return folder


def test_generate(model: Path) -> None:
    greedy = generated(model, "--temp", "0")
    assert greedy.strip() and greedy == generated(model, "--temp", "0")
    sampling = ("--temp", "0.8", "--top-p", "0.9", "--min-p", "0.05", "--top-k", "20", "--seed", "3")
    assert generated(model, *sampling) == generated(model, *sampling) != greedy


@pytest.mark.parametrize(
    "options",
    [
        "--temp 1.0 --seed 7",
        "--temp 0.8 --top-p 0.9 --min-p 0.05 --top-k 20 --seed 3",
        "--temp 1.0 --xtc-probability 0.5 --xtc-threshold 0.01 --seed 1",
    ],
)
def test_the_same_seed_samples_the_tokens_of_apples_mlx(model: Path, options: str) -> None:
    assert generated(model, *options.split()) == generated(model, *options.split(), on=())


def test_quantized_cache(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, hidden=128, heads=2)
    options = ("--temp", "0", "--kv-bits", "8", "--kv-group-size", "32", "--quantized-kv-start", "4")
    assert generated(tmp_path, *options).strip()


def test_convert(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quantized"
    run("convert", "--hf-path", model, "--mlx-path", folder, "-q", "--q-bits", "4", "--q-group-size", "32")
    weights = load_file(folder / "model.safetensors")
    assert weights["model.layers.0.mlp.up_proj.weight"].dtype == np.uint32
    assert json.loads((folder / "config.json").read_text())["quantization"]["bits"] == 4
    assert generated(folder, "--temp", "0").strip()


@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_fine_tuning(model: Path, data: Path, tmp_path: Path, kind: str) -> None:
    options = "--iters 12 --batch-size 4 --num-layers 2 --steps-per-report 4 --learning-rate 1e-3 --max-seq-length 64"
    printed = run(
        *("lora", "--model", model, "--train", "--test", "--data", data, "--adapter-path", tmp_path / "adapters"),
        *("--fine-tune-type", kind, "--val-batches", "1", *options.split()),
    )
    # An untrained model's loss is about that of guessing; after 12 steps these lines are mostly known.
    loss = float(re.findall(r"Test loss ([\d.]+)", printed)[0])
    assert loss < 0.5 * np.log(512)
    run("generate", "--model", model, "--prompt", PROMPT, "--adapter-path", tmp_path / "adapters")


@pytest.fixture
def server(model: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        command("server", "--model", model, "--port", str(port)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, "the server ended"
            try:
                urllib.request.urlopen(f"{url}/health", timeout=60).read()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def ask(url: str, **body: Any) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def test_server(server: str, model: Path) -> None:
    messages = [{"role": "user", "content": PROMPT}]
    first, second = (
        ask(f"{server}/v1/chat/completions", messages=messages, max_tokens=24, temperature=0) for _ in range(2)
    )
    assert first["choices"] == second["choices"] and first["usage"]["completion_tokens"] == 24
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert first["choices"][0]["message"]["content"].strip() == generated(model, "--temp", "0").strip()
