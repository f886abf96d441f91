"""The command line, `python -m arrax`: run programs written for MLX on Arrax, and tell what Arrax finds here."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import runpy
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import llvmlite.binding as llvm
import numpy

import arrax
from arrax import alias
from arrax.codegen import cache
from arrax.runtime import threads

# Commands that are programs of their own: everything after the name is theirs, --help included.
PROGRAMS = {"demo": "examples/llama_lm.py", "bench": "benchmarks/bench.py"}
LANGUAGE_MODELS = ("generate", "serve")
PACKAGES = ("numpy", "scipy", "llvmlite", "ml_dtypes", "scipy-openblas32", "safetensors")


def run_script(path: str, arguments: Sequence[str]) -> None:
    """Run a file, or a folder with a `__main__.py`, as `python path arguments` would, with MLX being Arrax."""
    alias.install()
    alias.inherit()
    sys.argv = [path, *arguments]
    if Path(path).is_file() and not sys.flags.safe_path:
        sys.path[0] = str(Path(path).resolve().parent)
    runpy.run_path(path, run_name="__main__")


def run_module(name: str, arguments: Sequence[str]) -> None:
    """Run a module as `python -m name arguments` would, with MLX being Arrax."""
    alias.install()
    alias.inherit()
    sys.argv = [name, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def find_program(relative: str) -> Path:
    """Return the path of a program that comes with Arrax, in an installed package or in a checkout.

    Raises:
        FileNotFoundError: if the package was installed without its programs.
    """
    package = Path(arrax.__file__).parent
    for root in (package, package.parents[1]):
        if (root / relative).is_file():
            return root / relative
    raise FileNotFoundError(f"[arrax] expected {relative} beside the package in {package}: install Arrax again")


def explanation(expression: str, stage: str | None) -> str:
    """Explain how the arrays that an expression gives would be computed; it may use `mx`, `nn`, `optim` and `np`."""
    names = {"mx": arrax.core, "nn": arrax.nn, "optim": arrax.optimizers, "np": numpy}
    return str(arrax.explain(eval(expression, names), stage))


def info() -> str:
    """Describe this installation and machine, one fact a line."""
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in PACKAGES)
    features = sorted(name for name, there in llvm.get_host_cpu_features().items() if there)
    folder = cache.folder()
    sizes = [path.stat().st_size for path in folder.glob("*.o")] if folder is not None else []
    found = f"{folder} ({len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB)"
    facts = {
        "arrax": arrax.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": versions,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
        "cpu": llvm.get_host_cpu_name(),
        "features": " ".join(features),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} usable by this process",
        "threads": f"{threads.count()} (ARRAX_THREADS chooses)",
        "cache": "none (ARRAX_CACHE is empty)" if folder is None else f"{found} (ARRAX_CACHE chooses)",
    }
    return "\n".join(f"{name:<9} {fact}" for name, fact in facts.items())


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="arrax", description=__doc__)
    parser.add_argument("--version", action="version", version=f"arrax {arrax.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run a program written for MLX on Arrax",
        usage="arrax run [-h] [-m] PROGRAM [ARGUMENT ...]",
        description="Run PROGRAM as Python would, with `import mlx` giving Arrax.",
    )
    run.add_argument("-m", dest="module", action="store_true", help="PROGRAM is a module's name, not a file's path")
    run.add_argument("program", metavar="PROGRAM")
    run.add_argument("arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER)
    commands.add_parser("info", help="tell versions, the processor's features and where compiled code is cached")
    explain = commands.add_parser(
        "explain",
        help="show how an expression would be computed: graph, schedule, kernels",
        description="Show how the arrays that EXPRESSION gives would be computed, without computing them. It may use "
        'mx, nn, optim and np, as in "mx.softmax(mx.random.normal((64, 64)), axis=-1)".',
    )
    explain.add_argument("--stage", choices=["graph", "simplified", "schedule", "kernels", "llvm", "asm", "dot"])
    explain.add_argument("expression", metavar="EXPRESSION")
    commands.add_parser("generate", help="continue a text with a language model; `arrax generate --help` tells more")
    commands.add_parser("serve", help="serve a language model over HTTP; `arrax serve --help` tells more")
    commands.add_parser("demo", help="train a small Llama and let it write; `arrax demo --help` lists its options")
    commands.add_parser("bench", help="measure speed and memory here; `arrax bench --help` lists the benchmarks")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that `arguments` (by default the process's) name."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in PROGRAMS:
        run_script(str(find_program(PROGRAMS[words[0]])), words[1:])
        return
    if words and words[0] in LANGUAGE_MODELS:
        importlib.import_module("arrax.llm.command").main(words)
        return
    parser = make_parser()
    options = parser.parse_args(words)
    if options.command == "info":
        print(info())
    elif options.command == "explain":
        print(explanation(options.expression, options.stage))
    elif options.module:
        run_module(options.program, options.arguments)
    elif not Path(options.program).exists():
        parser.error(f"no such file: {options.program} (a module's name needs -m)")
    else:
        run_script(options.program, options.arguments)


if __name__ == "__main__":
    main()
