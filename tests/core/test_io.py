"""Files: what we write others read, what others write we read, and what is damaged we refuse."""

import io
import json
import os
import pathlib
import pickle
import resource
import stat
import struct
import tracemalloc
import zipfile

import mlx.core as oracle
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import arrax.core as mx

NUMPY_TYPES = ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8")
SHAPES = ((), (1,), (5,), (2, 3), (0, 3), (2, 1, 4))


def sample(code, shape):
    values = np.random.default_rng(0).normal(size=shape) * 10
    return np.asarray(
        values > 0 if code == "?" else values.astype(code) if code[0] != "u" else abs(values).astype(code)
    )


def of(x):
    library = mx if isinstance(x, mx.array) else oracle
    return np.array(x.astype(library.float32) if x.dtype == library.bfloat16 else x)


def array(x):
    """NumPy's array with its own type, float64 included."""
    x = np.asarray(x)
    return mx.array(x, dtype={"float64": mx.float64}.get(x.dtype.name))


def same(x, y):
    x, y = (a if isinstance(a, np.ndarray) else of(a) for a in (x, y))
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y, strict=True)


# --- npy --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", NUMPY_TYPES)
def test_npy_with_numpy_and_the_oracle(tmp_path, code):
    for shape in SHAPES:
        x = sample(code, shape)
        mx.save(tmp_path / "ours.npy", array(x))
        same(np.load(tmp_path / "ours.npy"), x)
        same(oracle.load(str(tmp_path / "ours.npy")), x)
        same(mx.load(tmp_path / "ours.npy"), x)
        np.save(tmp_path / "theirs.npy", x)
        same(mx.load(tmp_path / "theirs.npy"), x)


def test_npy_layouts(tmp_path):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for y in (np.asfortranarray(x), x.astype(">f4"), np.asfortranarray(x).astype(">f4"), x[::-1, :, ::2]):
        np.save(tmp_path / "x.npy", y)
        same(mx.load(tmp_path / "x.npy"), np.ascontiguousarray(y).astype(np.float32))
    with open(tmp_path / "v2.npy", "wb") as file:
        np.lib.format.write_array(file, x, version=(2, 0))
    same(mx.load(tmp_path / "v2.npy"), x)


def test_bfloat16(tmp_path):
    x = mx.array([1.5, -2.25, 3e38], mx.bfloat16)
    y = oracle.array([1.5, -2.25, 3e38], oracle.bfloat16)
    mx.save(tmp_path / "x.npy", x)
    assert oracle.load(str(tmp_path / "x.npy")).dtype == oracle.bfloat16
    same(oracle.load(str(tmp_path / "x.npy")), of(x))
    oracle.save(str(tmp_path / "y.npy"), y)
    assert mx.load(tmp_path / "y.npy").dtype == mx.bfloat16
    same(mx.load(tmp_path / "y.npy"), of(x))
    mx.savez(tmp_path / "x.npz", x=x)
    same(oracle.load(str(tmp_path / "x.npz"))["x"], of(x))
    mx.save_safetensors(tmp_path / "x.safetensors", {"x": x})
    same(oracle.load(str(tmp_path / "x.safetensors"))["x"], of(x))
    oracle.save_safetensors(str(tmp_path / "y.safetensors"), {"y": y})
    assert mx.load(tmp_path / "y.safetensors")["y"].dtype == mx.bfloat16


def test_names_are_completed(tmp_path):
    x = mx.array([1])
    mx.save(tmp_path / "a", x)
    mx.save(str(tmp_path / "b.bin"), x)
    mx.savez(tmp_path / "c", x)
    mx.save_safetensors(tmp_path / "d", {"x": x})
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "b.bin.npy", "c.npz", "d.safetensors"]


def test_several_arrays_in_one_stream():
    file = io.BytesIO()
    mx.save(file, mx.array([1, 2]))
    mx.save(file, mx.array([3.0]))
    file.seek(0)
    assert mx.load(file, format="npy").tolist() == [1, 2]
    assert mx.load(file, format="npy").tolist() == [3.0]


def test_streams_that_cannot_seek_and_read_little(tmp_path):
    class Slow(io.RawIOBase):
        name = "slow.npy"

        def __init__(self, data):
            self.data = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, target):
            return self.data.readinto(memoryview(target)[:7])

    x = mx.arange(1000)
    npy, safe = io.BytesIO(), io.BytesIO()
    mx.save(npy, x)
    mx.save_safetensors(safe, {"x": x})
    same(mx.load(io.BufferedReader(Slow(npy.getvalue()), 16)), of(x))
    same(mx.load(Slow(npy.getvalue())), of(x))
    same(mx.load(Slow(safe.getvalue()), format="safetensors")["x"], of(x))


def test_booleans_are_zero_or_one(tmp_path):
    np.save(tmp_path / "x.npy", np.array([0, 1, 2, 255], np.uint8))
    raw = (tmp_path / "x.npy").read_bytes().replace(b"|u1", b"|b1")
    x = mx.load(io.BytesIO(raw), format="npy")
    assert x.tolist() == [False, True, True, True]
    assert x.astype(mx.int32).sum().item() == 3


# --- npz --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ("savez", "savez_compressed"))
def test_npz_with_numpy_and_the_oracle(tmp_path, name):
    arrays = {f"{code}/{len(shape)}": sample(code, shape) for code in ("f4", "i8", "?", "c8") for shape in SHAPES}
    unnamed = sample("f4", (100,))
    path = tmp_path / "x.npz"
    getattr(mx, name)(path, array(unnamed), **{k: array(v) for k, v in arrays.items()})
    with np.load(path) as theirs:
        assert set(theirs) == {*arrays, "arr_0"}
        for key, value in arrays.items():
            same(theirs[key], value)
    for library in (mx, oracle):
        loaded = library.load(str(path))
        assert set(loaded) == {*arrays, "arr_0"}
        for key, value in arrays.items():
            same(loaded[key], value)
        same(loaded["arr_0"], unnamed)
    getattr(np, name)(path, unnamed, **arrays)
    for key, value in mx.load(path).items():
        same(value, unnamed if key == "arr_0" else arrays[key])


def test_npz_is_compressed(tmp_path):
    mx.savez(tmp_path / "a.npz", x=mx.zeros(10_000))
    mx.savez_compressed(tmp_path / "b.npz", x=mx.zeros(10_000))
    assert os.path.getsize(tmp_path / "a.npz") > 40_000 > 1000 > os.path.getsize(tmp_path / "b.npz")
    mx.savez(tmp_path / "empty.npz")
    assert mx.load(tmp_path / "empty.npz") == {}


# --- safetensors ------------------------------------------------------------------------------------------------------
def test_safetensors_with_the_library_and_the_oracle(tmp_path):
    arrays = {f"{code}{len(shape)}": sample(code, shape) for code in NUMPY_TYPES[:-1] for shape in SHAPES}
    path = tmp_path / "x.safetensors"
    mx.save_safetensors(path, {k: array(v) for k, v in arrays.items()}, {"who": "wé", "n": "1"})
    theirs = safetensors.numpy.load_file(path)
    assert set(theirs) == set(arrays)
    for key, value in arrays.items():
        same(theirs[key], value)
    loaded, metadata = mx.load(path, return_metadata=True)
    assert metadata == {"who": "wé", "n": "1"}
    for key, value in arrays.items():
        same(loaded[key], value)
    mx.save_safetensors(path, {k: array(v) for k, v in arrays.items() if "f8" not in k}, {"a": "b"})
    loaded, metadata = oracle.load(str(path), return_metadata=True)
    assert metadata == {"a": "b"}
    for key, value in loaded.items():
        same(value, arrays[key])
    safetensors.numpy.save_file(arrays, path, {"x": "y"})
    loaded, metadata = mx.load(path, return_metadata=True)
    assert metadata == {"x": "y"}
    for key, value in arrays.items():
        same(loaded[key], value)


def test_safetensors_from_the_oracle(tmp_path):
    path = str(tmp_path / "x.safetensors")
    arrays = {"c": oracle.array([1 + 2j]), "e": oracle.zeros((0, 2), oracle.int8), "s": oracle.array(2.5)}
    oracle.save_safetensors(path, arrays, {"k": "v"})
    loaded, metadata = mx.load(path, return_metadata=True)
    assert metadata == {"k": "v"}
    for key, value in arrays.items():
        same(loaded[key], of(value))
    oracle.save_safetensors(path, {})
    assert mx.load(path, return_metadata=True) == ({}, {})


# --- writing is all or nothing ----------------------------------------------------------------------------------------
def test_a_full_disk_leaves_what_was_there(tmp_path):
    """The limit on a file's size stands for the disk's."""
    savers = {
        "x.npy": lambda path, a: mx.save(path, a),
        "x.npz": lambda path, a: mx.savez(path, a),
        "x.safetensors": lambda path, a: mx.save_safetensors(path, {"a": a}),
    }
    large = mx.zeros(1_000_000)
    mx.eval(large)
    for name, save in savers.items():
        save(tmp_path / name, mx.array([7]))
        before = (tmp_path / name).read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(
                (RuntimeError, OSError), match=r"^(\[Errno \d+\] )?\[save\w*\] expected to write"
            ) as caught:
                save(tmp_path / name, large)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "\n" not in str(caught.value)
        assert (tmp_path / name).read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == sorted(savers)


def test_writing_keeps_links_and_permissions(tmp_path):
    mx.save(tmp_path / "real.npy", mx.array([1]))
    os.chmod(tmp_path / "real.npy", 0o640)
    os.symlink(tmp_path / "real.npy", tmp_path / "link.npy")
    mx.save(tmp_path / "link.npy", mx.array([2]))
    assert (tmp_path / "link.npy").is_symlink()
    assert mx.load(tmp_path / "real.npy").tolist() == [2]
    assert stat.S_IMODE(os.stat(tmp_path / "real.npy").st_mode) == 0o640


def test_saving_over_the_file_that_was_loaded(tmp_path):
    path = tmp_path / "x.safetensors"
    mx.save_safetensors(path, {"x": mx.arange(100)})
    loaded = mx.load(path)
    mx.save_safetensors(path, {"x": loaded["x"] + 1})
    assert mx.load(path)["x"].tolist() == list(range(1, 101))


# --- errors -----------------------------------------------------------------------------------------------------------
def test_errors_of_saving(tmp_path):
    x = mx.array([1])
    missing = tmp_path / "no" / "x"
    cases = [
        (RuntimeError, lambda: mx.save(missing, x)),
        (FileNotFoundError, lambda: mx.savez(missing, x)),
        (RuntimeError, lambda: mx.save_safetensors(missing, {"x": x})),
        (TypeError, lambda: mx.save(tmp_path / "x", [1, 2])),
        (TypeError, lambda: mx.savez(tmp_path / "x", [1, 2])),
        (ValueError, lambda: mx.savez(tmp_path / "x", x, arr_0=x)),
        (ValueError, lambda: mx.save(5, x)),
        (ValueError, lambda: mx.save(io.StringIO(), x)),
        (TypeError, lambda: mx.save_safetensors(tmp_path / "x", [x])),
        (TypeError, lambda: mx.save_safetensors(tmp_path / "x", {"a": 1})),
        (TypeError, lambda: mx.save_safetensors(tmp_path / "x", {1: x})),
        (ValueError, lambda: mx.save_safetensors(tmp_path / "x", {"__metadata__": x})),
        (ValueError, lambda: mx.save_safetensors(tmp_path / "x", {"a": x}, {"k": 1})),
    ]
    for error, call in cases:
        with pytest.raises(error) as caught:
            call()
        assert "[save" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


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


class Evil:
    def __reduce__(self):
        return (os.system, ("touch executed",))


GOOD = npy(np.arange(3.0))
EIGHT = b"\0" * 8
HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 1099511627776)}\n"


@pytest.mark.filterwarnings("ignore::UserWarning")
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
        ("npy", ValueError, npy(np.arange(3) + 1j)),
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
        ("gguf", ValueError, b"GGUF"),
    ],
)
def test_damaged_files(tmp_path, monkeypatch, kind, error, data):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"x.{kind}"
    path.write_bytes(data)
    for source in (path, io.BytesIO(data)):
        with pytest.raises(error) as caught:
            mx.load(source, format=kind)
        assert str(caught.value).startswith("[load] expected")
        assert "\n" not in str(caught.value)
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


def test_errors_of_loading(tmp_path):
    mx.save(tmp_path / "x.npy", mx.array([1]))
    (tmp_path / "x.foo").write_bytes(GOOD)
    (tmp_path / "nothing").write_bytes(GOOD)
    (tmp_path / "dir.npy").mkdir()
    cases = [
        (RuntimeError, lambda m: m.load(str(tmp_path / "no.npy"))),
        (ValueError, lambda m: m.load(str(tmp_path / "no.npz"))),
        (RuntimeError, lambda m: m.load(str(tmp_path / "no.safetensors"))),
        (RuntimeError, lambda m: m.load(str(tmp_path / "dir.npy"))),
        (ValueError, lambda m: m.load(str(tmp_path / "x.foo"))),
        (ValueError, lambda m: m.load(str(tmp_path / "nothing"))),
        (ValueError, lambda m: m.load(str(tmp_path / "x.npy"), format="foo")),
        (ValueError, lambda m: m.load(str(tmp_path / "x.npy"), format="npz")),
        (ValueError, lambda m: m.load(str(tmp_path / "x.npy"), return_metadata=True)),
        (ValueError, lambda m: m.load(5)),
        (AttributeError, lambda m: m.load(io.BytesIO(GOOD))),
    ]
    for error, call in cases:
        for library in (mx, oracle):
            with pytest.raises(error) as caught:
                call(library)
            if library is mx:
                assert str(caught.value).startswith("[load] expected")
                assert "\n" not in str(caught.value)
    with open(tmp_path / "x.npy") as text, pytest.raises(ValueError, match="binary"):
        mx.load(text)
    same(mx.load(pathlib.Path(tmp_path / "x.npy")), np.array([1], np.int32))


# --- fuzzing ----------------------------------------------------------------------------------------------------------
def _written(kind):
    file, arrays = (
        io.BytesIO(),
        {"a": mx.arange(6).reshape(2, 3), "b": mx.array([1.5], mx.bfloat16), "c": mx.array([True])},
    )
    if kind == "npy":
        mx.save(file, arrays["a"])
    elif kind == "npz":
        mx.savez_compressed(file, **arrays)
    elif kind == "stored":
        mx.savez(file, **arrays)
    else:
        mx.save_safetensors(file, arrays, {"k": "v"})
    return file.getvalue()


INTACT = {kind: _written(kind) for kind in ("npy", "npz", "stored", "safetensors")}


@st.composite
def damaged(draw):
    kind = draw(st.sampled_from(sorted(INTACT)))
    data = bytearray(INTACT[kind])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(("flip", "cut", "insert", "number", "swap")))
        if how == "flip" and data:
            data[at] ^= draw(st.integers(1, 255))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif how == "number":
            data[at : at + 4] = struct.pack("<I", draw(st.sampled_from((0, 1, 2**31 - 1, 2**31, 2**32 - 1))))
        else:
            data[at : at + 1] = draw(st.sampled_from((b"9", b"0", b"-", b"(", b"{", b"'", b"\n")))
    return kind, bytes(data)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_any_damage_gives_arrays_or_one_line(case):
    kind, data = case
    try:
        result = mx.load(io.BytesIO(data), format="npz" if kind == "stored" else kind)
    except (ValueError, RuntimeError) as error:
        assert str(error).startswith("[load] expected")
        assert "\n" not in str(error)
        return
    arrays = result.values() if isinstance(result, dict) else [result]
    assert sum(a.nbytes for a in arrays) <= 1032 * len(data)
