"""Files: what we write others read, what others write we read, and what is damaged we refuse."""

import io
import os
import pathlib
import resource
import stat

import mlx.core as oracle
import numpy as np
import pytest
import safetensors.numpy

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
    mx.save_gguf(tmp_path / "e", {"x": x})
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "b.bin.npy", "c.npz", "d.safetensors", "e.gguf"]


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
    npy, safe, gguf = io.BytesIO(), io.BytesIO(), io.BytesIO()
    mx.save(npy, x)
    mx.save_gguf(gguf, {"x": x})
    mx.save_safetensors(safe, {"x": x})
    same(mx.load(io.BufferedReader(Slow(npy.getvalue()), 16)), of(x))
    same(mx.load(Slow(npy.getvalue())), of(x))
    same(mx.load(Slow(safe.getvalue()), format="safetensors")["x"], of(x))
    same(mx.load(Slow(gguf.getvalue()), format="gguf")["x"], of(x))


def test_booleans_are_zero_or_one(tmp_path):
    np.save(tmp_path / "x.npy", np.array([0, 1, 2, 255], np.uint8))
    raw = (tmp_path / "x.npy").read_bytes().replace(b"|u1", b"|b1")
    x = mx.load(io.BytesIO(raw), format="npy")
    assert x.tolist() == [False, True, True, True]
    assert x.astype(mx.int32).sum().item() == 3


@pytest.mark.parametrize("shape", SHAPES)
def test_every_format_and_type_both_ways(tmp_path, shape):
    """What the oracle writes is read here, and the other way round."""
    types = ("bool_", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)), "float16", "bfloat16", "float32")
    theirs = {t: oracle.array(abs(sample("f4", shape))).astype(getattr(oracle, t)) for t in (*types, "complex64")}
    ours = {t: mx.array(abs(sample("f4", shape))).astype(getattr(mx, t)) for t in theirs}
    in_gguf = ("int8", "int16", "int32", "float16", "float32")
    for library, arrays in ((oracle, theirs), (mx, ours)):
        library.save_safetensors(str(tmp_path / "x.safetensors"), arrays)
        library.savez(str(tmp_path / "x.npz"), **arrays)
        library.savez_compressed(str(tmp_path / "y.npz"), **arrays)
        library.save_gguf(str(tmp_path / "x.gguf"), {t: arrays[t] for t in in_gguf}, {})
        for reader in (mx, oracle):
            for name in ("x.safetensors", "x.npz", "y.npz", "x.gguf"):
                loaded = reader.load(str(tmp_path / name))
                assert set(loaded) == set(in_gguf if name == "x.gguf" else theirs)
                for key, value in loaded.items():
                    same(value, of(theirs[key]))
                    assert repr(value.dtype).endswith("." + key.removesuffix("_"))
        for key in theirs:
            library.save(str(tmp_path / "x.npy"), arrays[key])
            same(mx.load(str(tmp_path / "x.npy")), of(theirs[key]))
            same(oracle.load(str(tmp_path / "x.npy")), of(theirs[key]))


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
        "x.gguf": lambda path, a: mx.save_gguf(path, {"a": a}),
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
        (ValueError, lambda: mx.save_safetensors(tmp_path / "x", {"\ud800": x})),
    ]
    for error, call in cases:
        with pytest.raises(error) as caught:
            call()
        assert "[save" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_errors_of_loading(tmp_path):
    mx.save(tmp_path / "x.npy", mx.array([1]))
    (tmp_path / "x.foo").write_bytes((tmp_path / "x.npy").read_bytes())
    (tmp_path / "nothing").write_bytes((tmp_path / "x.npy").read_bytes())
    (tmp_path / "dir.npy").mkdir()
    cases = [
        (RuntimeError, lambda m: m.load(str(tmp_path / "no.npy"))),
        (ValueError, lambda m: m.load(str(tmp_path / "no.npz"))),
        (RuntimeError, lambda m: m.load(str(tmp_path / "no.safetensors"))),
        (ValueError, lambda m: m.load(str(tmp_path / "no.gguf"))),
        (ValueError, lambda m: m.load("")),
        (ValueError, lambda m: m.load(b"x.npy")),
        (ValueError, lambda m: m.load(str(tmp_path / "x.NPY"))),
        (TypeError, lambda m: m.load(str(tmp_path / "x.npy"), format=5)),
        (RuntimeError, lambda m: m.load(str(tmp_path / "dir.npy"))),
        (ValueError, lambda m: m.load(str(tmp_path / "x.foo"))),
        (ValueError, lambda m: m.load(str(tmp_path / "nothing"))),
        (ValueError, lambda m: m.load(str(tmp_path / "x.npy"), format="foo")),
        (ValueError, lambda m: m.load(str(tmp_path / "x.npy"), format="npz")),
        (ValueError, lambda m: m.load(str(tmp_path / "x.npy"), return_metadata=True)),
        (ValueError, lambda m: m.load(5)),
        (AttributeError, lambda m: m.load(io.BytesIO(b"anything"))),
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
