"""Measure how many tokens a second `arrax serve` generates for several clients at once.

    python benchmarks/serving.py --model DIR                       # 1, 4 and 8 clients
    python benchmarks/serving.py --model DIR --clients 16 --requests 4 --batch 1

A server is started in a process of its own. Each client sends one request after the other and reads the answer as it
comes; a first round, which compiles and reads the weights, is not counted.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def server(model: str, batch: int | None) -> Iterator[str]:
    """Start one at a free port and yield its address."""
    command = [sys.executable, "-m", "arrax", "serve", "--model", model, "--port", "0"]
    command += [] if batch is None else ["--batch", str(batch)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield next(found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        except StopIteration:
            raise SystemExit("the server has not started") from None
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()


def ask(address: str, prompt: str, tokens: int, seed: int) -> tuple[int, float]:
    """Return how many tokens came, and after how many seconds the first did."""
    body = {"prompt": prompt, "max_tokens": tokens, "seed": seed, "temperature": 1.0, "stream": True}
    body |= {"stream_options": {"include_usage": True}}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/completions", json.dumps(body).encode(), headers)
    begin, first, count = time.perf_counter(), 0.0, 0
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - begin
                count = (json.loads(line[6:]).get("usage") or {}).get("completion_tokens", count)
    return count, first


def measure(address: str, clients: int, requests: int, prompt: str, tokens: int) -> tuple[float, float]:
    """Return tokens a second of all clients, and the median of seconds to the first token."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        # One prompt for all would be unlikely, so each has a number in front.
        found = pool.map(lambda i: ask(address, f"{i}. {prompt}", tokens, i), range(clients * requests))
        counts, firsts = zip(*found, strict=True)
    return sum(counts) / (time.perf_counter() - begin), statistics.median(firsts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--requests", type=int, default=3, help="of each client (%(default)s)")
    parser.add_argument("--tokens", type=int, default=100, help="to generate for each request (%(default)s)")
    parser.add_argument("--prompt", default="Once upon a time there was a small machine that read a long book. ")
    parser.add_argument("--batch", type=int, help="requests that the server works on at a time (default: its own)")
    options = parser.parse_args()
    with server(options.model, options.batch) as address:
        for clients in options.clients:
            measure(address, clients, 1, options.prompt, options.tokens)
            rate, first = measure(address, clients, options.requests, options.prompt, options.tokens)
            print(f"{clients:3} clients  {rate:8.1f} tokens/s  first token after {first * 1000:6.0f} ms", flush=True)


if __name__ == "__main__":
    main()
