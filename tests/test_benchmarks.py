"""The benchmarks run; what they find is not judged here."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "bench.py"


@pytest.fixture
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_figure_from_a_process_of_its_own(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "build" / "figures.json"
    bench.main(["peak", "--json", str(path)])
    found = json.loads(path.read_text())
    (figure,) = found["benchmarks"]["peak"]
    assert 1 < figure["value"] <= figure["budget"] == 2.1
    assert figure["what"] in capsys.readouterr().out
    assert found["machine"]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_first_calls(bench: ModuleType) -> None:
    found = bench.first_calls()
    assert set(found) == set(bench.KERNELS) and all(0 < s < 60 for s in found.values())


def test_names_are_checked(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["speed"])
    assert "no benchmark is called 'speed'; there are: op, small" in capsys.readouterr().err
