"""Run what packages written for MLX bring along to test themselves, on Apple's MLX and on Arrax, and compare.

    build/clients/bin/python tests/clients/check.py [CLIENT ...]

`make test-clients` makes the environment, in which the clients are but not MLX, a folder beside it with MLX alone, and
the clients' sources. A test that passes on MLX and not on Arrax is a failure. What does not pass on MLX either (it
wants Metal, a download, or a package that is not installed) is counted by the reason that it gives.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "clients"
# The folders and files of each client's sources that pytest is given. mlx-optimizers and mlx-vlm have none that run:
# their sources come without the tests, or without what these import; `programs.py` calls them.
SUITES: dict[str, tuple[str, ...]] = {
    "demucs-mlx": ("tests",),
    "e3nn-mlx": ("tests",),
    "einops": tuple(
        f"einops/tests/test_{part}.py" for part in ("einsum", "layers", "ops", "other", "packing", "parsing")
    ),
    "mace-mlx": ("tests",),
    "mlx-arsenal": ("tests",),
    "mlx-embeddings": ("mlx_embeddings/tests",),
    "mlx-learn": ("tests",),
    "mlx-lm": ("tests",),
    "mlx-lm-lora": ("tests",),
    "mlx-snn": ("tests",),
    "mlx-spectro": ("tests",),
    "mlx-transformers": ("tests",),
}
PROGRAMS = "programs"
# How far results of a program may be apart, relative to the largest number, and why it is not the first.
TOLERANCE = {
    "": 1e-4,
    "optimizers Muon": 5e-2,  # orthogonalises in bfloat16, by steps that amplify the last bit
    "optimizers Shampoo": 2e-3,  # takes roots of matrices that are nearly singular
}
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "EINOPS_TEST_BACKENDS": "numpy,mlx", "PYTHONDONTWRITEBYTECODE": "1"}
MLX, ARRAX = "mlx", "arrax"


def command(library: str, words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The command that runs a file, or `-m` and a module, on one of the libraries, and its environment."""
    path = BUILD / "mlx" if library == MLX else ROOT / "src"
    runner = [] if library == MLX else ["-m", "arrax", "run"]
    return [sys.executable, *runner, *words], {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(path)}


def sources(client: str) -> Path:
    """The unpacked sources of a client."""
    (archive,) = (BUILD / "sources").glob(f"{client.replace('-', '_')}-[0-9]*.tar.gz")
    folder = BUILD / "sources" / archive.name.removesuffix(".tar.gz")
    if not folder.exists():
        with tarfile.open(archive) as packed:
            packed.extractall(BUILD / "sources", filter="data")
    return folder


def outcomes(report: Path) -> dict[str, str]:
    """What a report of pytest says of each test: "" where it passed, else why not."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        reasons = [e.get("message") or e.text or e.tag for e in case if e.tag in ("failure", "error", "skipped")]
        found[f"{case.get('classname')}::{case.get('name')}"] = " ".join(reasons[0].split()) if reasons else ""
    return found


def run_suite(client: str, library: str) -> dict[str, str]:
    """Run a client's tests on one of the libraries."""
    report = BUILD / f"{client}-{library}.xml"
    options = ["-q", "--continue-on-collection-errors", "-p", "no:cacheprovider", f"--junitxml={report}"]
    words, environment = command(library, ["-m", "pytest", *options, *SUITES[client]])
    report.unlink(missing_ok=True)
    subprocess.run(words, cwd=sources(client), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    return outcomes(report)


def check_suite(client: str) -> int:
    """Compare both runs of a client's tests; print what differs and return how many are worse on Arrax."""
    theirs, ours = (run_suite(client, library) for library in (MLX, ARRAX))
    passed = [test for test, reason in theirs.items() if not reason]
    worse = {test: ours.get(test, "was not run") for test in passed if ours.get(test, "was not run")}
    print(f"{client}: {len(passed) - len(worse)} of the {len(passed)} tests that pass on MLX pass on Arrax")
    for test, reason in worse.items():
        print(f"    {test}: {reason[:200]}")
    shortened = Counter(re.sub(r"0x\w+|\d+", "N", reason)[:110] for reason in theirs.values() if reason)
    for reason, count in shortened.most_common():
        print(f"    not on MLX either: {count} x {reason}")
    return len(worse)


def check_programs() -> int:
    """Compare the results of our own programs."""
    found = []
    for library in (MLX, ARRAX):
        path = BUILD / f"{PROGRAMS}-{library}.npz"
        words, environment = command(library, [str(Path(__file__).with_name("programs.py")), str(path)])
        subprocess.run(words, env=environment, check=True)
        found.append(np.load(path))
    theirs, ours = found
    wrong = sorted(set(theirs.files) ^ set(ours.files))
    for name in sorted(set(theirs.files) & set(ours.files)):
        a, b = theirs[name], ours[name]
        tolerance = TOLERANCE[max((start for start in TOLERANCE if name.startswith(start)), key=len)]
        largest = float(np.nanmax(np.abs(a), initial=1e-6))
        if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=tolerance * largest, equal_nan=True):
            wrong.append(name)
    print(f"{PROGRAMS}: {len(theirs.files) - len(wrong)} of {len(theirs.files)} results are those of MLX")
    for name in wrong:
        print(f"    {name}")
    return len(wrong)


def main(names: list[str]) -> int:
    """Check the clients named, or all; return how much is worse on Arrax."""
    unknown = set(names) - {*SUITES, PROGRAMS}
    if unknown:
        raise SystemExit(f"expected clients out of {', '.join([*SUITES, PROGRAMS])}, got {', '.join(sorted(unknown))}")
    return sum(check_programs() if name == PROGRAMS else check_suite(name) for name in names or [*SUITES, PROGRAMS])


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
