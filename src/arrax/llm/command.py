"""The commands `arrax generate` and `arrax serve`: continue a text with a language model, here or over HTTP."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import arrax.core as mx
from arrax.llm.checkpoint import load_checkpoint
from arrax.llm.engine import BATCH, CACHE_TOKENS
from arrax.llm.generation import generate
from arrax.llm.tokenizer import TextStream, Tokenizer


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line, which begins with the command's name."""
    parser = argparse.ArgumentParser(prog="arrax")
    commands = parser.add_subparsers(dest="command", required=True)
    generating = commands.add_parser(
        "generate",
        description="Continue a text with a model of the Llama family. The text goes to the standard output while it "
        "is generated, the statistics to the standard error.",
    )
    serving = commands.add_parser(
        "serve", description="Serve a model of the Llama family over HTTP, with the interface of OpenAI."
    )
    for command in (generating, serving):
        command.add_argument("--model", required=True, metavar="DIR", help="folder of config, safetensors, tokenizer")
    add = generating.add_argument
    add("--prompt", required=True, help="the text to continue; - reads it from the standard input")
    add("--max-tokens", type=int, default=256, help="tokens to generate at most (%(default)s)")
    add("--temperature", type=float, default=0.0, help="0, the default, takes the likeliest token")
    add("--top-p", type=float, default=1.0, help="sample among the likeliest tokens of this probability")
    add("--seed", type=int, help="makes sampling reproducible")
    serving.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s: this machine alone)")
    serving.add_argument("--port", type=int, default=8080, help="0 takes a free one (%(default)s)")
    serving.add_argument("--batch", type=int, default=BATCH, help="requests to work on at a time (%(default)s)")
    serving.add_argument(
        "--cache-tokens",
        type=int,
        default=CACHE_TOKENS,
        help="positions that the model's cache may have for all of them; others wait (%(default)s)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run a command.

    Raises:
        SystemExit: with a line that says why, if the model cannot be loaded or an option is out of range.
    """
    options = parse(arguments)
    try:
        (write if options.command == "generate" else serve)(options)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(f"arrax {options.command}: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def serve(options: argparse.Namespace) -> None:
    """Serve until interrupted."""
    try:
        uvicorn: Any = importlib.import_module("uvicorn")
        server: Any = importlib.import_module("arrax.llm.server")
    except ModuleNotFoundError as error:
        raise ImportError(f"expected the package {error.name}: pip install 'arrax[llm]'") from None
    for name in ("batch", "cache_tokens"):
        if (number := getattr(options, name)) < 1:
            raise ValueError(f"expected --{name.replace('_', '-')} of at least 1, got {number}")
    app = server.make_app(load_checkpoint(options.model), options.batch, options.cache_tokens)
    # Those who still wait for text must not keep the server from ending.
    uvicorn.run(app, host=options.host, port=options.port, timeout_graceful_shutdown=5)


def write(options: argparse.Namespace) -> None:
    """Generate, print the text as it comes, then the statistics."""
    checkpoint = load_checkpoint(options.model)
    tokenizer = Tokenizer(checkpoint.path / "tokenizer.json")
    prompt = tokenizer.encode(sys.stdin.read() if options.prompt == "-" else options.prompt)
    stream = TextStream(tokenizer)
    begin = time.perf_counter()
    first = begin
    count = 0
    for token in generate(
        checkpoint.model,
        prompt,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
        stop=checkpoint.stop,
    ):
        if count == 0:
            first = time.perf_counter()
        count += 1
        print(stream.add(token), end="", flush=True)
    end = time.perf_counter()
    print(stream.finish(), flush=True)
    # The first token comes with the prompt, the others have the rest of the time.
    lines = [f"prompt      {len(prompt)} tokens, {len(prompt) / ((first if count else end) - begin):.1f} tokens/s"]
    rate = f", {(count - 1) / (end - first):.1f} tokens/s" if count > 1 else ""
    lines += [
        f"generation  {count} tokens{rate}",
        f"memory      {mx.get_peak_memory() / 2**20:.0f} MiB besides mapped weights",
    ]
    print("", *lines, sep="\n", file=sys.stderr)
