"""Object code on disk.

Under ``ARRAX_CACHE`` (a folder; empty: no cache on disk), by default the user's cache folder. Each file ends with a
checksum of its name and its content, is written beside its place and then renamed, so that several processes and sudden
ends do no harm; a folder that cannot be written is no cache. The least recently used files go when the folder grows
beyond ``LIMIT`` bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import secrets
import time

LIMIT = 256 << 20
_CHECKSUM = 16
_SWEEP_EVERY = 64
ABANDONED = 3600  # seconds after which a file that is still being written is nobody's

_written = 0


def folder() -> pathlib.Path | None:
    """Where the cache is; None where there is to be none."""
    chosen = os.environ.get("ARRAX_CACHE")
    if chosen is not None:
        return pathlib.Path(chosen) if chosen else None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return pathlib.Path(base) / "arrax" if base else pathlib.Path.home() / ".cache" / "arrax"
    except RuntimeError:
        return None


def digest(key: str) -> str:
    return hashlib.blake2b(key.encode(), digest_size=24).hexdigest()


def _checksum(name: str, content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECKSUM, key=name.encode()).digest()


def read(name: str) -> bytes | None:
    """The content stored under a name; None where there is none, or it is damaged or was stored under another one."""
    root = folder()
    if root is None:
        return None
    path = root / f"{name}.o"
    try:
        data = path.read_bytes()
    except OSError:
        return None
    content = data[:-_CHECKSUM]
    if len(data) <= _CHECKSUM or data[-_CHECKSUM:] != _checksum(name, content):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return content


def write(name: str, content: bytes) -> None:
    """Stores content under a name, if it can."""
    global _written
    root = folder()
    if root is None:
        return
    temporary = root / f"{secrets.token_hex(16)}.new"
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content + _checksum(name, content))
        temporary.replace(root / f"{name}.o")
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        return
    _written += 1
    if _written % _SWEEP_EVERY == 1:
        sweep(root)


def sweep(root: pathlib.Path) -> None:
    """Removes what was never finished, and the files unused for longest until the folder is within its limit."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(root):
            if entry.name.endswith(".new") and time.time() - entry.stat().st_mtime > ABANDONED:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
        files = [(e.stat().st_mtime, e.stat().st_size, e.path) for e in os.scandir(root) if e.name.endswith(".o")]
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= LIMIT:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size
