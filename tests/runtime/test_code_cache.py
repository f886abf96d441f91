"""The cache of compiled code, on a disk that does what disks do, and what its files are named by."""

from __future__ import annotations

import ast
import importlib
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.runtime.conftest import Run

from arrax.codegen import cache, cpu

PROGRAM = """
    import math
    import arrax.core as mx

    x = mx.arange(1000).astype(mx.float32)
    value = mx.sum(mx.sin(x) * 2).item()
    assert abs(value - 2 * sum(map(math.sin, range(1000)))) < 1e-2, value
    print("right")
"""


@pytest.fixture
def filled(run: Run, tmp_path: Path) -> Path:
    """A cache that the program has written."""
    folder = tmp_path / "cache"
    assert run(PROGRAM, cache=folder) == "right\n"
    assert list(folder.glob("*.o"))
    return folder


def test_what_was_written_is_used(run: Run, filled: Path) -> None:
    before = {p.name: p.stat().st_ino for p in filled.iterdir()}
    assert run(PROGRAM, cache=filled) == "right\n"
    assert {p.name: p.stat().st_ino for p in filled.iterdir()} == before
    assert not list(filled.glob("*.new"))


@pytest.mark.parametrize("damage", ["empty", "truncated", "garbage", "one bit", "folder", "unreadable", "dangling"])
def test_damaged_files_are_made_again(run: Run, filled: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in list(filled.glob("*.o")):
        content = bytearray(path.read_bytes())
        if damage == "empty":
            path.write_bytes(b"")
        elif damage == "truncated":
            path.write_bytes(content[:300])
        elif damage == "garbage":
            path.write_bytes(os.urandom(3000))
        elif damage == "one bit":
            content[200] ^= 4
            path.write_bytes(content)
        elif damage == "unreadable":
            path.chmod(0)
        else:
            path.unlink()
            path.mkdir() if damage == "folder" else path.symlink_to(filled / "absent")
    assert run(PROGRAM, cache=filled) == "right\n"
    assert not list(filled.glob("*.new"))
    if damage in ("empty", "truncated", "garbage", "one bit"):
        monkeypatch.setenv("ARRAX_CACHE", str(filled))
        assert all(cache.read(p.stem) for p in filled.glob("*.o"))


def test_a_file_of_another_name_is_made_again(run: Run, filled: Path) -> None:
    """Each file is a valid one, with another function in it than its name says."""
    paths = sorted(filled.glob("*.o"))
    contents = [p.read_bytes() for p in paths]
    assert len(set(contents)) > 1
    for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    assert run(PROGRAM, cache=filled) == "right\n"
    assert [p.read_bytes() for p in paths] == contents


def test_a_program_that_replaces_functions_of_os(run: Run, tmp_path: Path) -> None:
    """The code is stored, and nothing of the program's is called."""
    replaced = """
    import os
    def refuse(*args, **kwargs):
        raise AssertionError(f"called with {args}")
    os.fdopen = os.open = os.write = os.close = refuse
    """
    assert run(replaced + PROGRAM, cache=tmp_path) == "right\n"
    assert list(tmp_path.glob("*.o"))
    assert not list(tmp_path.glob("*.new"))


def test_places_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for place in (file, file / "below", closed, "/proc/self/fd", "/nonexistent/folder", ""):
        assert run(PROGRAM, cache=place) == "right\n", place
    assert file.read_text() == ""


def test_no_home(tmp_path: Path) -> None:
    bare = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "ARRAX_CACHE")}
    for extra in ({}, {"HOME": "/nonexistent"}, {"XDG_CACHE_HOME": "relative"}):
        command = [sys.executable, "-c", "import arrax.core as mx; print(mx.exp(mx.ones(100)).sum().item() > 1)"]
        done = subprocess.run(command, capture_output=True, text=True, env=bare | extra, cwd=tmp_path, timeout=60)
        assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("size", [0, 100, 1500])
def test_a_full_disk(run: Run, tmp_path: Path, size: int) -> None:
    """Files cannot grow beyond ``size`` bytes: the code runs all the same, and nothing broken stays behind."""
    folder = tmp_path / "cache"
    limited = f"""
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY))
    """
    source = limited + PROGRAM.replace('print("right")', "resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))")
    run(source, cache=folder)
    assert not list(folder.glob("*.new"))
    assert all(p.stat().st_size <= size for p in folder.iterdir())
    assert run(PROGRAM, cache=folder) == "right\n"


def test_several_processes_write_one_cache(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "cache"
    source = "import arrax.core as mx; print(mx.log(mx.ones((999,)) * 3).sum().item() > 1)"
    environment = {**os.environ, "ARRAX_CACHE": str(folder)}
    processes = [
        subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(5)
    ]
    assert [p.communicate(timeout=120)[0] for p in processes] == ["True\n"] * 5
    assert not list(folder.glob("*.new"))
    before = {p.name: p.stat().st_ino for p in folder.iterdir()}
    run(source, cache=folder)
    assert {p.name: p.stat().st_ino for p in folder.iterdir()} == before


def test_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRAX_CACHE", str(tmp_path))
    name = cache.digest("key")
    assert cache.read(name) is None
    cache.write(name, b"content")
    assert cache.read(name) == b"content"
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    for position in range(len(data)):
        data[position] ^= 1
        path.write_bytes(data)
        assert cache.read(name) is None
        data[position] ^= 1
    cache.write(name, b"other")
    assert cache.read(name) == b"other"


def test_the_least_recently_used_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 10_000)
    for i in range(20):
        path = tmp_path / f"{i:02}.o"
        path.write_bytes(bytes(1000))
        os.utime(path, (i, i))
    (tmp_path / "other").write_bytes(bytes(50_000))  # not ours
    os.utime(tmp_path / "00.o", (100, 100))  # used again
    cache.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00.o", *(f"{i}.o" for i in range(11, 20)), "other"]


def test_writing_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder stays near its limit however much is written."""
    monkeypatch.setattr(cache, "LIMIT", 20_000)
    monkeypatch.setenv("ARRAX_CACHE", str(tmp_path))
    for i in range(200):
        cache.write(cache.digest(str(i)), bytes(1000))
    total = sum(p.stat().st_size for p in tmp_path.iterdir())
    assert total <= cache.LIMIT + cache._SWEEP_EVERY * 1016


# --- names ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def fresh() -> Iterator[None]:
    """The identity of the machine is looked up again, before and after."""
    cpu._identity.cache_clear()
    yield
    cpu._identity.cache_clear()


OTHER: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "generator": lambda patch: patch.setattr(cpu, "_generator", "another one"),
    "processor": lambda patch: patch.setattr(cpu, "_processor", lambda: ("another", cpu_features())),
    "features": lambda patch: patch.setattr(cpu, "_processor", lambda: (cpu.llvm.get_host_cpu_name(), "+another")),
    "llvmlite": lambda patch: patch.setattr(sys.modules["llvmlite"], "__version__", "another"),
    "LLVM": lambda patch: patch.setattr(cpu, "llvm", machine(llvm_version_info=(0, 0, 1))),
    "system": lambda patch: patch.setattr(cpu, "llvm", machine(get_default_triple=lambda: "another-unknown-linux")),
}


def cpu_features() -> str:
    return str(cpu.llvm.get_host_cpu_features().flatten())


def machine(**other: object) -> SimpleNamespace:
    """LLVM as it is, but for something."""
    names = ("llvm_version_info", "get_default_triple", "get_host_cpu_name", "get_host_cpu_features")
    return SimpleNamespace(**{name: getattr(cpu.llvm, name) for name in names} | other)


@pytest.mark.parametrize("what", OTHER)
def test_code_is_named_by_all_that_it_depends_on(what: str, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cpu._name("text")
    OTHER[what](monkeypatch)
    cpu._identity.cache_clear()
    assert cpu._name("text")[0] != before[0]
    assert cpu._name("text")[1] != before[1]


def test_code_is_named_by_its_text() -> None:
    names = [cpu._name(text) for text in ("a", "b", "a\n", "\na", "")]
    assert len({digest for digest, _ in names}) == len({name for _, name in names}) == 5


def test_code_of_an_unknown_generator_is_not_kept(tmp_path: Path, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRAX_CACHE", str(tmp_path))
    made: list[str] = []

    def generate(name: str) -> str:
        made.append(name)
        return f"define i64 @{name}() {{\n ret i64 7\n}}"

    monkeypatch.setattr(cpu, "_generator", None)
    assert cpu.function("unknown", generate)
    assert not list(tmp_path.iterdir())
    cache.write(cpu._name("other")[0], b"of another generator that was not known")
    assert cpu.function("other", generate)
    assert len(made) == 2
    monkeypatch.setattr(cpu, "_generator", "known")
    cpu._identity.cache_clear()
    assert cpu.function("unknown", generate)
    assert cache.read(cpu._name("unknown")[0])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the package ``made_up``, with two modules."""
    folder = tmp_path / "place" / "made_up"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("A = 1\n")
    (folder / "two.py").write_text("B = 2\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def digest() -> str | None:
    importlib.invalidate_caches()
    for name in [n for n in sys.modules if n.split(".")[0] == "made_up"]:
        del sys.modules[name]
    return cpu.digest_of_modules(["made_up"])


def test_every_module_of_a_generator_counts(package: Path) -> None:
    found = [digest(), digest()]
    assert found[0] and found[0] == found[1]
    (package / "one.py").write_text("A = 2\n")  # as long, and maybe in the same second
    found.append(digest())
    (package / "one.py").write_text("A = 1\n")
    (package / "two.py").rename(package / "three.py")
    found.append(digest())
    (package / "three.py").unlink()
    found.append(digest())
    assert None not in found
    assert len(set(found)) == 4


def test_a_generator_out_of_an_archive(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest()
    archive = shutil.make_archive(str(package.parent.parent / "archive"), "zip", package.parent)
    shutil.rmtree(package)
    assert digest() is None
    monkeypatch.syspath_prepend(archive)
    assert digest() == before


def test_a_generator_without_sources(package: Path) -> None:
    """As byte code beside unreadable sources, and alone."""
    for path in package.glob("*.py"):
        py_compile.compile(str(path))
    sources = {path: path.read_text() for path in package.glob("*.py")}
    for path in sources:
        path.unlink()
        path.symlink_to("absent")
    loader = importlib.machinery.SourceFileLoader("made_up.one", str(package / "one.py"))
    spec = importlib.util.spec_from_file_location("made_up.one", package / "one.py", loader=loader)
    assert cpu._content(spec) == Path(importlib.util.cache_from_source(str(package / "one.py"))).read_bytes()
    for path, text in sources.items():
        path.unlink()
        path.write_text(text)
        py_compile.compile(str(path), cfile=str(path.with_suffix(".pyc")))
        path.unlink()
    found = digest()
    assert found
    (package / "one.py").write_text("A = 3\n")
    py_compile.compile(str(package / "one.py"), cfile=str(package / "one.pyc"))
    (package / "one.py").unlink()
    assert digest() not in (None, found)


def test_a_generator_that_its_loader_hides(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(self: object, path: object) -> bytes:
        raise OSError("no data here")

    assert digest()
    monkeypatch.setattr(importlib.machinery.SourceFileLoader, "get_data", hidden, raising=False)
    assert digest() is None


def test_the_generator_is_what_code_generation_imports() -> None:
    """Nothing that turns a text into code is outside of the packages whose digest names it."""
    root = Path(cpu.__file__).parent
    used = set()
    for path in root.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("arrax."):
                used.add(node.module.split(".")[1])
            elif isinstance(node, ast.Import):
                used |= {a.name.split(".")[1] for a in node.names if a.name.startswith("arrax.")}
    assert used == set(cpu.GENERATOR)
    assert cpu._generator == cpu.digest_of_modules(f"arrax.{name}" for name in cpu.GENERATOR)
