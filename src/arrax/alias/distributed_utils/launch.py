"""`mlx.launch`: start a program several times on this machine, and end all when one fails.

Each process finds its number in `MLX_RANK`. They are not connected, since `mx.distributed` knows one process; who
launches several is warned.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from select import select
from subprocess import PIPE, Popen
from threading import Thread
from typing import IO, Any, BinaryIO

from arrax.alias.distributed_utils.common import Hostfile, log, log_warning, positive_number

_LOCAL = ("127.0.0.1", "localhost", "::1")
_STEP = 0.05  # seconds between two looks at what the processes do


def _forward(process: Popen, source: IO[bytes], target: BinaryIO) -> None:
    """Copy what a process writes until it closes the pipe, or has ended and left nothing more to read.

    A child that it leaves behind may hold the pipe open: nobody waits for that.
    """
    while True:
        ended = process.poll() is not None
        if select([source], [], [], 0 if ended else _STEP)[0]:
            data = os.read(source.fileno(), 2**16)
            if not data:
                return
            target.write(data)
            target.flush()
        elif ended:
            return


def _run(commands: list[tuple[list[str], dict[str, str]]], cwd: str | None, verbose: bool) -> int:
    """Run commands, each in its environment, side by side; return 0, or the first exit code that is another one."""
    processes, threads = [], []
    for rank, (command, environment) in enumerate(commands):
        log(verbose, f"rank {rank} runs {command}")
        process = Popen(command, env=environment, cwd=cwd, stdout=PIPE, stderr=PIPE)
        processes.append(process)
        for source, target in ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)):
            threads.append(Thread(target=_forward, args=(process, source, target)))
            threads[-1].start()
    try:
        while any([process.poll() is None for process in processes]):
            if any(process.returncode for process in processes):
                break
            time.sleep(_STEP)
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        codes = [process.wait() for process in processes]
        for thread in threads:
            thread.join()
    for rank, code in enumerate(codes):
        if code != 0:
            log_warning(f"Node with rank {rank} exited with code {code}")
    return next((code for code in codes if code), 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Launch an MLX distributed program")
    parser.add_argument("--print-python", action="store_true", help="print the path of the Python in use and exit")
    parser.add_argument("--verbose", action="store_true", help="say what is started")
    parser.add_argument("--hosts", default="127.0.0.1", help="hosts, separated by commas: this one")
    parser.add_argument("--repeat-hosts", "-n", type=positive_number, default=1, help="processes for each host")
    parser.add_argument("--hostfile", help="a JSON file with the hosts")
    parser.add_argument("--backend", help="accepted, as MLX does; the processes are not connected")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE for the processes' environment")
    parser.add_argument("--cwd", help="the processes' working directory")
    parser.add_argument("--python", default=sys.executable, help="the Python that runs scripts")
    for name in ("--mpi-arg", "--connections-per-ip", "--starting-port", "--nccl-port"):
        short = ["-p"] if name == "--starting-port" else []
        parser.add_argument(name, *short, action="append", help="accepted, as MLX does; it has no effect")
    return parser


def _command(parser: argparse.ArgumentParser, python: str, words: list[str]) -> list[str]:
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        parser.error("No script is provided")
    script = Path(words[0])
    if script.is_file() and (script.suffix == ".py" or not os.access(script, os.X_OK)):
        return [python, str(script.resolve()), *words[1:]]
    found = shutil.which(words[0])
    if found is None:
        parser.error(f"expected a script or a command, got {words[0]!r}: there is no such file")
    return [found, *words[1:]]


def main() -> Any:
    """Run the command line; return the exit code."""
    parser = _parser()
    options, words = parser.parse_known_args()
    if options.print_python:
        print(options.python)
        return 0
    command = _command(parser, options.python, words)
    try:
        hostfile = (
            Hostfile.from_list(options.hosts, options.repeat_hosts)
            if options.hostfile is None
            else Hostfile.from_file(options.hostfile)
        )
    except ValueError as error:
        parser.error(str(error))
    far = [host.ssh_hostname for host in hostfile.hosts if host.ssh_hostname not in _LOCAL]
    if far:
        parser.error(f"expected processes on this machine, got the host {far[0]!r}: name 127.0.0.1")
    if len(hostfile.hosts) > 1:
        log_warning("Arrax does not connect processes: each of them is rank 0 of 1 to mx.distributed")
    given = dict(word.partition("=")[::2] for word in hostfile.envs + options.env)
    commands = [(command, {**os.environ, **given, "MLX_RANK": str(host.rank)}) for host in hostfile.hosts]
    return _run(commands, options.cwd, options.verbose)
