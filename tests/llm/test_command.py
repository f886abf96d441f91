"""`python -m arrax generate` and `serve`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.llm.checkpoints import write_checkpoint, write_tokenizer

from arrax import __main__ as cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_checkpoint(folder, {"eos_token_id": None})
    write_tokenizer(folder)
    return folder


def words(folder: Path, *more: str) -> list[str]:
    return ["generate", "--model", str(folder), "--prompt", "The quick", "--max-tokens", "12", *more]


def test_sampled_text_follows_the_seed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for seed in ("1", "1", "2"):
        cli.main(words(folder, "--temperature", "1", "--top-p", "0.9", "--seed", seed))
        out, statistics = capsys.readouterr()
        texts.append(out)
        assert "generation  12 tokens, " in statistics and "tokens/s" in statistics.split("generation")[0]
    assert texts[0] == texts[1] != texts[2]


def test_text_is_printed_while_it_is_generated(folder: Path) -> None:
    command = [sys.executable, "-m", "arrax", *words(folder, "--max-tokens", "1000000")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.read(8)
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--max-tokens", "0"], "expected max_tokens of at least 1, got 0"),
        (["--top-p", "2"], "expected top_p above 0 and up to 1, got 2.0"),
        (["--prompt", ""], "expected a prompt of at least one token"),
        (["--model", "/absent"], "expected the file /absent/config.json, which does not exist"),
    ],
)
def test_errors_are_one_line(folder: Path, more: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message) as raised:
        cli.main(words(folder, *more))
    assert str(raised.value).startswith("arrax generate: ") and "\n" not in str(raised.value)


def test_serve(folder: Path) -> None:
    command = [sys.executable, "-m", "arrax", "serve", "--model", str(folder), "--port", "0", "--batch", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = next(found for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
            with urllib.request.urlopen(f"{address[0]}/v1/models", timeout=60) as response:
                assert json.loads(response.read())["data"][0]["id"] == folder.name
            process.send_signal(signal.SIGINT)
            process.stderr.read()
            assert process.wait(timeout=60) in (0, 130)
        finally:
            process.kill()


@pytest.mark.parametrize("option", ["--batch", "--cache-tokens"])
def test_errors_of_serve(folder: Path, option: str) -> None:
    with pytest.raises(SystemExit, match=f"arrax serve: expected {option} of at least 1, got 0"):
        cli.main(["serve", "--model", str(folder), option, "0"])


def test_throughput_is_measured(folder: Path) -> None:
    program = Path(__file__).parents[2] / "benchmarks" / "serving.py"
    options = ["--model", str(folder), "--clients", "2", "--requests", "1", "--tokens", "4", "--batch", "2"]
    done = subprocess.run([sys.executable, str(program), *options], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"  2 clients +[\d.]+ tokens/s  first token after +\d+ ms\n", done.stdout)


def test_serve_tells_what_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit, match=r"arrax serve: expected the package uvicorn: pip install 'arrax\[llm\]'"):
        cli.main(["serve", "--model", str(folder)])
