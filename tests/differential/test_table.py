"""All public functions, called alike in both libraries: the table's calls and their results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core
import pytest
from tests.differential.table import ELSEWHERE
from tests.differential.table_calls import Case, all_cases, arrays, differs, evaluate, function, plain, record
from tests.differential.table_known import KNOWN

import arrax.core
from arrax.runtime import executor

ROOT = Path(__file__).parents[2]
BATCH = 32
# How many calls of each function are made, fast and slow: those evaluated by the references cost much less.
SAMPLE = {"references": (14, None), "compiled": (3, 60)}


CASES = all_cases()


def known(case: Case) -> bool:
    return any(re.match(pattern, case.text) for pattern in KNOWN)


@pytest.fixture(params=SAMPLE)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to evaluate small graphs."""
    executor._bound.clear()  # it remembers which way a graph went
    monkeypatch.setattr(executor, "SMALL", 10**9 if request.param == "references" else 0)
    yield request.param
    executor._bound.clear()


def ours(batch: list[Case]) -> list[Any]:
    """The results of several calls, evaluated together, or each alone if that fails."""
    results = [record(arrax.core, case) for case in batch]
    try:
        arrax.core.eval([x for result in results for x in arrays(result)])
    except Exception:
        return [evaluate(arrax.core, result) for result in results]
    return [r if isinstance(r, Exception) else plain(arrax.core, r) for r in results]


def differences(chosen: list[Case]) -> dict[Case, str]:
    found: dict[Case, str] = {}
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        for case, result in zip(batch, ours(batch), strict=True):
            difference = differs(case, result, evaluate(mlx.core, record(mlx.core, case)))
            if difference is not None:
                found[case] = difference
    return found


def check(cases: list[Case], limit: int | None) -> None:
    chosen = [case for case in cases if not known(case)][:limit]
    found = differences(chosen)
    listing = [f"{case.text}\n    {difference}" for case, difference in found.items()]
    assert not found, f"{len(found)} of {len(chosen)} calls differ:\n" + "\n".join(listing[:20])


@pytest.mark.parametrize("name", CASES)
def test_sample(name: str, path: str) -> None:
    check(CASES[name], SAMPLE[path][0])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_call(name: str, path: str) -> None:
    check(CASES[name], SAMPLE[path][1])


@pytest.mark.parametrize("pattern", KNOWN)
def test_known_differences_still_are(pattern: str) -> None:
    chosen = [case for listed in CASES.values() for case in listed if re.match(pattern, case.text)][:40]
    assert chosen, "no call is meant"
    found = differences(chosen)
    agreeing = [case.text for case in chosen if case not in found]
    assert not agreeing, f"no longer different: {agreeing}"


# --- the table is complete --------------------------------------------------------------------------------------------
def public() -> set[str]:
    """MLX's public functions and classes, and what arrays have that other objects do not."""
    own = vars(mlx.core.array).keys() - {"__new__", "__doc__"}
    result = {f"array.{n}" for n in dir(mlx.core.array) if n in own or n not in dir(object)}
    for module in ("", "fast", "random", "linalg", "fft"):
        owner = getattr(mlx.core, module) if module else mlx.core
        prefix = f"{module}." if module else ""
        result |= {prefix + n for n in dir(owner) if not n.startswith("_") and callable(getattr(owner, n))}
    return result - {"array.__module__"}


def test_every_public_function_is_in_the_table() -> None:
    elsewhere = {name for names in ELSEWHERE.values() for name in names.split()}
    assert sorted(public() - CASES.keys() - elsewhere) == []
    inherited = {f"array.{n}" for n in dir(object)}
    assert sorted((CASES.keys() | elsewhere) - public() - inherited) == []
    assert not CASES.keys() & elsewhere


@pytest.mark.parametrize("name", CASES)
def test_names_exist(name: str) -> None:
    assert callable(function(mlx.core, name)) and callable(function(arrax.core, name))


@pytest.mark.parametrize("file", ELSEWHERE)
def test_files_exist(file: str) -> None:
    assert (ROOT / file).exists()
