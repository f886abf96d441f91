"""`python -m arrax`, from the outside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import arrax
from arrax import __main__ as cli

SHOW = """
import sys
import mlx
print(__name__, sys.argv, mlx.__name__, sys.path[0], sep="|")
if "fail" in sys.argv:
    sys.exit(7)
"""


def run(*words: str, cwd: Path | None = None, code: int = 0, flags: tuple[str, ...] = ()) -> str:
    command = [sys.executable, *flags, "-m", "arrax", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "inner" / "show.py"
    path.parent.mkdir()
    path.write_text(SHOW)
    return path


def test_run_a_script_with_its_arguments(program: Path, tmp_path: Path) -> None:
    words = ["-m", "--steps", "3", "--", "x", "--help"]
    out = run("run", "inner/show.py", *words, cwd=tmp_path)
    assert out.strip() == f"__main__|{['inner/show.py', *words]}|mlx|{program.parent}"


def test_run_a_module_with_its_arguments(program: Path, tmp_path: Path) -> None:
    out = run("run", "-m", "inner.show", "--steps", "3", cwd=tmp_path)
    assert out.strip() == f"__main__|{[str(program), '--steps', '3']}|mlx|{tmp_path}"


def test_run_a_folder(program: Path, tmp_path: Path) -> None:
    program.rename(program.with_name("__main__.py"))
    assert run("run", "inner", "a", cwd=tmp_path).startswith("__main__|['inner', 'a']|mlx|")


def test_the_safe_path_is_left_alone(program: Path) -> None:
    out = run("run", str(program), flags=("-P",))
    assert out.strip().split("|")[3] != str(program.parent)


def test_exit_codes_pass_through(program: Path) -> None:
    run("run", str(program), "fail", code=7)
    assert "no such file: absent.py" in run("run", "absent.py", code=2)
    assert "No module named absent" in run("run", "-m", "absent", code=1)
    assert "required" in run(code=2)


def test_errors_show_the_program_s_own_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def inner():\n    1 / 0\n\ninner()\n")
    out = run("run", str(path), code=1)
    assert "ZeroDivisionError" in out and f'File "{path}", line 2, in inner' in out


def test_version_help_and_info() -> None:
    assert run("--version").strip() == f"arrax {arrax.__version__}"
    help_text = run("--help")
    assert all(command in help_text for command in ("run", "info", "explain", "demo", "bench"))
    facts = dict(line.split(maxsplit=1) for line in run("info").splitlines())
    assert facts["arrax"] == arrax.__version__
    assert facts["cores"].startswith(f"{len(os.sched_getaffinity(0))} of ")
    assert "llvmlite" in facts["packages"]


def test_help_of_the_programs_is_their_own() -> None:
    assert "--temperature" in run("demo", "--help")
    assert "--json" in run("bench", "--help")


def test_info_tells_of_the_cache_and_the_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ARRAX_THREADS", "3")
    monkeypatch.setenv("ARRAX_CACHE", str(tmp_path))
    (tmp_path / "kernel.o").write_bytes(bytes(2**20))
    facts = dict(line.split(maxsplit=1) for line in cli.info().splitlines())
    assert facts["cache"].startswith(f"{tmp_path} (1 files, 1.0 MiB)")
    assert facts["threads"].startswith("3 ")
    monkeypatch.setenv("ARRAX_CACHE", "")
    assert "none (ARRAX_CACHE is empty)" in cli.info()


def test_programs_are_found_in_an_installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "lib" / "arrax"
    (package / "examples").mkdir(parents=True)
    monkeypatch.setattr(arrax, "__file__", str(package / "__init__.py"))
    with pytest.raises(FileNotFoundError, match="install Arrax again"):
        cli.find_program("examples/llama_lm.py")
    (package / "examples" / "llama_lm.py").touch()
    assert cli.find_program("examples/llama_lm.py") == package / "examples" / "llama_lm.py"


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import sys, arrax; print([m for m in ('numpy', 'llvmlite', 'arrax.core') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "core" in dir(arrax) and arrax.core.__name__ == "arrax.core"
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = arrax.absent
