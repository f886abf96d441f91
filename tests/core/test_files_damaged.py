"""Damaged and hostile files: one line says what is wrong, and nothing is taken for them."""

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

import arrax.core as mx

EIGHT = b"\0" * 8


def npy(x, **kwargs):
    file = io.BytesIO()
    np.save(file, x, **kwargs)
    return file.getvalue()


def npy_header(text, data=b""):
    head = text.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def safe(header, data=b""):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def archive(*members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as z:
        for name, data in members:
            z.writestr(name, data)
    return file.getvalue()


def gguf(version=3, tensors=1, entries=0, name_length=1, axes=1, size=2, kind=0, offset=0):
    """A file with one tensor of two numbers."""
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, entries)
    head += struct.pack("<Q", name_length) + b"a" + struct.pack("<IQIQ", axes, size, kind, offset)
    return head + bytes(-len(head) % 32) + EIGHT


def entry(kind, value, name="k"):
    """A file with one entry of metadata."""
    return b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, len(name)) + name.encode() + struct.pack("<I", kind) + value


def two(first, second, offset):
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 0)
    for name, at in ((first, 0), (second, offset)):
        head += struct.pack("<Q", 1) + name.encode() + struct.pack("<IQIQ", 1, 2, 0, at)
    return head + bytes(-len(head) % 32) + bytes(64)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch executed",))


GOOD = npy(np.arange(3.0))
HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 1099511627776)}\n"


@pytest.mark.filterwarnings("ignore::UserWarning")  # zipfile on a name written twice
@pytest.mark.parametrize(
    ("kind", "error", "data"),
    [
        ("npy", RuntimeError, b""),
        ("npy", RuntimeError, b"hello world hello world"),
        ("npy", RuntimeError, GOOD[:-4]),
        ("npy", RuntimeError, GOOD[:30]),
        ("npy", RuntimeError, GOOD[:9]),
        ("npy", RuntimeError, b"\x93NUMPY\x03\x00" + GOOD[8:]),
        ("npy", RuntimeError, npy_header(HUGE)),
        ("npy", RuntimeError, npy_header(HUGE.replace("1099511627776", "-1"))),
        ("npy", RuntimeError, npy_header(HUGE.replace("(1099511627776, 1099511627776)", "2"))),
        ("npy", RuntimeError, npy_header("__import__('os').system('touch executed')")),
        ("npy", RuntimeError, npy_header("(" * 5000)),
        ("npy", RuntimeError, b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"),
        ("npy", ValueError, npy(np.array([Evil()], object), allow_pickle=True)),
        ("npy", ValueError, npy(np.array(["a"]))),
        ("npy", ValueError, npy(np.zeros(3, np.clongdouble))),
        ("npy", ValueError, npy(np.zeros(2, [("a", "i4")]))),
        ("npy", ValueError, npy(np.array(["2020-01-01"], "M8[D]"))),
        ("npz", ValueError, b"abc"),
        ("npz", ValueError, GOOD),
        ("npz", RuntimeError, archive(("x.npy", b"hi"))),
        ("npz", RuntimeError, archive(("x.npy", pickle.dumps(Evil())))),
        ("npz", RuntimeError, archive(("x.npy", GOOD[:-1]))),
        ("npz", RuntimeError, archive(("x.npy", npy_header(HUGE)))),
        ("npz", ValueError, archive(("x.npy", GOOD), ("x", GOOD))),
        ("npz", ValueError, archive(("x.npy", GOOD))[:-30]),
        ("npz", RuntimeError, archive(("x.npy", GOOD)).replace(GOOD[-8:], EIGHT)),
        ("npz", ValueError, archive(("x.npy", GOOD), method=zipfile.ZIP_LZMA)),
        (
            "npz",
            ValueError,
            archive(("y.npy", npy(np.array([Evil()]), allow_pickle=True))),
        ),
        ("safetensors", RuntimeError, b""),
        ("safetensors", RuntimeError, b"abc"),
        ("safetensors", RuntimeError, struct.pack("<Q", 2**60) + b"{}"),
        ("safetensors", RuntimeError, safe(b"{bad")),
        ("safetensors", RuntimeError, safe(b"\xff\xfe{}")),
        ("safetensors", RuntimeError, safe(b"[" * 200_000)),
        ("safetensors", RuntimeError, safe([1, 2])),
        ("safetensors", RuntimeError, safe({"a": 5})),
        ("safetensors", RuntimeError, safe({"a": {"dtype": "F32", "shape": [2]}}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor()}, b"\0" * 4)),
        ("safetensors", RuntimeError, safe({"a": tensor(shape=[3])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor(shape=[-2])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor(shape=[2.0])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor(shape=[True, 2])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor(shape=[2**40, 2**40])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor(shape=[2**62, 4], offsets=[0, 0])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor(offsets=[-8, 0])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor(offsets=[2**64, 2**64 + 8])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor("F99")}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor(), "b": tensor(offsets=[4, 12])}, EIGHT * 2)),
        ("safetensors", RuntimeError, safe({"__metadata__": {"k": 1}, "a": tensor()}, EIGHT)),
        ("safetensors", RuntimeError, safe(b'{"a":1,"a":2}')),
        ("safetensors", RuntimeError, safe({"a": tensor(shape=[1] * 5000 + [2])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a": tensor(shape=[0, 2**62, 2**62], offsets=[0, 0])}, EIGHT)),
        ("safetensors", RuntimeError, safe({"a\n" * 100_000: tensor("F99\n" * 1000)}, EIGHT)),
        ("safetensors", RuntimeError, safe(b'{"a":' + b"9" * 5000 + b"}")),
        ("npy", RuntimeError, npy_header(HUGE.replace("(1099511627776, 1099511627776)", "(" + "9" * 5000 + ",)"))),
        ("npy", RuntimeError, npy_header(HUGE.replace("(1099511627776, 1099511627776)", "(" + "1," * 5000 + ")"))),
        ("npy", RuntimeError, npy_header(HUGE.replace("(1099511627776, 1099511627776)", "(1 2 3)"))),
        ("npy", RuntimeError, npy_header("-" * 60_000 + "1")),
        ("npy", ValueError, npy(np.array([1 + 2j], np.clongdouble))),
        ("gguf", RuntimeError, b""),
        ("gguf", RuntimeError, b"GGUF"),
        ("gguf", RuntimeError, b"GGML" + gguf()[4:]),
        ("gguf", RuntimeError, gguf(version=1)),
        ("gguf", RuntimeError, gguf(version=4)),
        ("gguf", RuntimeError, gguf(version=3 << 24)),  # the other byte order
        ("gguf", RuntimeError, gguf(tensors=2**60)),
        ("gguf", RuntimeError, gguf(entries=2**60)),
        ("gguf", RuntimeError, gguf(name_length=2**60)),
        ("gguf", RuntimeError, gguf(name_length=2**64 - 1)),
        ("gguf", RuntimeError, gguf(axes=2**32 - 1)),
        ("gguf", RuntimeError, gguf(axes=9)),
        ("gguf", RuntimeError, gguf(size=2**63)),
        ("gguf", RuntimeError, gguf(size=2**40)),
        ("gguf", RuntimeError, gguf(size=3)),
        ("gguf", RuntimeError, gguf(kind=99)),
        ("gguf", RuntimeError, gguf(kind=4)),
        ("gguf", RuntimeError, gguf(kind=2)),  # no whole blocks
        ("gguf", RuntimeError, gguf(offset=2**64 - 8)),
        ("gguf", RuntimeError, gguf(offset=4)),
        ("gguf", RuntimeError, gguf()[:-1]),
        ("gguf", RuntimeError, entry(8, struct.pack("<Q", 2**60))),
        ("gguf", RuntimeError, entry(8, struct.pack("<Q", 1) + b"\xff")),
        ("gguf", RuntimeError, entry(9, struct.pack("<IQ", 8, 2**60))),
        ("gguf", RuntimeError, entry(9, struct.pack("<IQ", 0, 2**60))),
        ("gguf", RuntimeError, entry(9, struct.pack("<IQ", 12, 2**61))),
        ("gguf", RuntimeError, entry(9, struct.pack("<IQ", 77, 1))),
        ("gguf", ValueError, entry(9, struct.pack("<IQ", 9, 1))),
        ("gguf", RuntimeError, entry(13, b"\0")),
        ("gguf", RuntimeError, entry(4, struct.pack("<I", 0), "general.alignment")),
        ("gguf", RuntimeError, entry(4, struct.pack("<I", 2**31), "general.alignment")),
        ("gguf", RuntimeError, entry(6, struct.pack("<f", 32), "general.alignment")),
        ("gguf", RuntimeError, entry(8, struct.pack("<Q", 1) + b"8", "general.alignment")),
        ("gguf", RuntimeError, two("a", "a", 32)),
        ("gguf", RuntimeError, two("a", "b", 4)),  # overlapping
    ],
)
def test_damaged_files(tmp_path, monkeypatch, kind, error, data):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"x.{kind}"
    path.write_bytes(data)
    for source in (path, io.BytesIO(data)):
        with pytest.raises(error) as caught:
            mx.eval(mx.load(source, format=kind))
        assert str(caught.value).startswith("[load] expected")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600 + len(str(path))
    assert not os.path.exists("executed")


def test_a_zip_bomb_takes_no_memory():
    """Members that share their data, and one that claims more than deflate can hold."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("x.npy", npy(np.zeros(1000)))
    data = file.getvalue()
    at = data.rindex(b"PK\x01\x02")
    lie = data[: at + 24] + struct.pack("<I", 2**31) + data[at + 28 :]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="bytes from each byte"):
            mx.load(io.BytesIO(lie), format="npz")
        big = safe({f"t{i}": tensor("U8", [1 << 20], [0, 1 << 20]) for i in range(100)}, b"\0" * (1 << 20))
        with pytest.raises(RuntimeError, match="overlap"):
            mx.load(io.BytesIO(big), format="safetensors")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
