"""The cache of compiled code, on a disk that does what disks do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.runtime.conftest import Run

from arrax.codegen import cache

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
