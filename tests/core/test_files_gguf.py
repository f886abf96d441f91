"""GGUF: against MLX, and against the format's own library where MLX reads less, or otherwise."""

import gguf
import mlx.core as oracle
import numpy as np
import pytest
from gguf import GGMLQuantizationType as T
from gguf import GGUFValueType as V

import arrax.core as mx

# where the float16 factors of a block are: random bits there would be mostly infinities
FACTORS = {
    T.Q4_0: (0,), T.Q4_1: (0, 2), T.Q5_0: (0,), T.Q5_1: (0, 2), T.Q8_0: (0,), T.Q2_K: (80, 82), T.Q3_K: (108,),
    T.Q4_K: (0, 2), T.Q5_K: (0, 2), T.Q6_K: (208,),
}  # fmt: skip
PACKED = (T.Q4_0, T.Q4_1, T.Q8_0)


def blocks(kind, rows=5, columns=1024):
    """Random blocks of a quantization, as bytes (rows, bytes of a row)."""
    rng = np.random.default_rng(int(kind))
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for at in FACTORS[kind]:
        raw[:, at : at + 2] = rng.normal(size=(len(raw), 1)).astype(np.float16).view(np.uint8)
    return raw.reshape(rows, -1)


def write(path, tensors, values=(), alignment=None):
    """A file by the format's library: tensors (name, array, type), values (name, value, type, type of elements)."""
    writer = gguf.GGUFWriter(path, "test")
    if alignment:
        writer.add_custom_alignment(alignment)
    for name, array, kind in tensors:
        writer.add_tensor(name, array, raw_dtype=kind)
    for name, value, kind, inner in values:
        writer.kv_data[0][name] = gguf.gguf_writer.GGUFValue(value, kind, inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def same(ours, theirs):
    assert repr(ours.dtype).rpartition(".")[2] == repr(theirs.dtype).rpartition(".")[2]
    assert ours.shape == theirs.shape
    assert np.array(ours).tobytes() == np.array(theirs).tobytes()


@pytest.mark.parametrize("kind", (*PACKED, T.Q2_K, T.Q6_K), ids=lambda kind: kind.name)
def test_quantized_tensors_as_the_oracle_gives_them(tmp_path, kind):
    path = write(tmp_path / "x.gguf", [("a.weight", blocks(kind), kind), ("b", blocks(kind, 1, 256), kind)])
    ours, theirs = mx.load(path), oracle.load(path)
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        same(ours[name], value)


@pytest.mark.parametrize("kind", PACKED, ids=lambda kind: kind.name)
def test_packed_tensors_mean_what_the_format_says(tmp_path, kind):
    x = np.random.default_rng(0).normal(size=(2, 3, 64)).astype(np.float32)
    raw = gguf.quantize(x, kind)
    a = mx.load(write(tmp_path / "x.gguf", [("a.weight", raw, kind)]))
    assert a["a.weight"].shape == (2, 3, 16 if kind == T.Q8_0 else 8) and a["a.scales"].shape == (2, 3, 2)
    found = mx.dequantize(a["a.weight"], a["a.scales"], a["a.biases"], 32, 8 if kind == T.Q8_0 else 4)
    np.testing.assert_allclose(np.array(found), gguf.dequantize(raw, kind), atol=5e-3)


@pytest.mark.parametrize("kind", (T.Q5_0, T.Q5_1, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K), ids=lambda kind: kind.name)
def test_other_quantizations_become_float16(tmp_path, kind):
    """MLX refuses Q5_0, Q5_1, Q3_K and Q5_K, and takes the wrong scales for half of Q4_K."""
    raw = blocks(kind)
    (found,) = mx.load(write(tmp_path / "x.gguf", [("a.weight", raw, kind)])).values()
    with np.errstate(over="ignore"):
        expected = gguf.dequantize(raw, kind).astype(np.float16)
    assert found.dtype == mx.float16
    np.testing.assert_array_equal(np.array(found), expected, strict=True)


def test_plain_tensors(tmp_path):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(3, 4)) * 100).astype(np.float32)
    wide = np.array([1e-30, 1.5, 1e30, np.nan, -np.inf], np.float32).view(np.uint32) >> 16
    tensors = {
        "bf16": (wide.astype(np.uint16).view(np.uint8), T.BF16),
        **{f"{t}": (x.astype(t), None) for t in ("float32", "float16", "int8", "int16", "int32")},
    }
    path = write(tmp_path / "x.gguf", [(name, *tensor) for name, tensor in tensors.items()], alignment=64)
    ours, theirs = mx.load(path), oracle.load(path)
    assert set(ours) == set(theirs) == set(tensors)
    for name, value in theirs.items():
        same(ours[name], value)
    # MLX does not read these
    path = write(tmp_path / "y.gguf", [("i", x.astype(np.int64), None), ("f", x.astype(np.float64), None)])
    ours = mx.load(path)
    assert np.array(ours["i"]).tobytes() == x.astype(np.int64).tobytes()
    assert np.array(ours["f"]).tobytes() == x.astype(np.float64).tobytes()


def test_metadata_as_the_oracle_gives_it(tmp_path):
    numbers = {
        V.UINT8: [1, 255], V.INT8: [-128, 3], V.UINT16: [65535, 0], V.INT16: [-1, 2], V.UINT32: [2**32 - 1, 5],
        V.INT32: [-(2**31), 1], V.UINT64: [2**63, 1], V.INT64: [-(2**62), 1], V.FLOAT32: [1.5, -2.25],
        V.BOOL: [True, False], V.STRING: ["héllo", ""],
    }  # fmt: skip
    values = [(kind.name, both[0], kind, None) for kind, both in numbers.items()]
    values += [(f"{kind.name}s", both, V.ARRAY, kind) for kind, both in numbers.items()]
    path = write(tmp_path / "x.gguf", [("w", np.zeros(64, np.float32), None)], values)
    ours, theirs = (m.load(path, return_metadata=True)[1] for m in (mx, oracle))
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        if isinstance(value, str | list):
            assert ours[name] == value
        else:
            same(ours[name], value)


def test_double_precision_becomes_single(tmp_path):
    """MLX does likewise where it does not crash."""
    values = [("x", 1.1, V.FLOAT64, None), ("y", [1e300, -2.0], V.ARRAY, V.FLOAT64)]
    _, found = mx.load(write(tmp_path / "x.gguf", [], values), return_metadata=True)
    same(found["x"], mx.array(1.1))
    same(found["y"], mx.array([float("inf"), -2.0]))


def metadata(m):
    found = {f"{t}": m.array([3, 0, 1]).astype(getattr(m, t)) for t in ("uint8", "int16", "uint64", "float32", "bool_")}
    found |= {f"{t}0": value[0] for t, value in found.items()}
    return {**found, "text": "wé", "empty": "", "": "no name", "texts": ["a", "", "ü"], "none": [], "tuple": ("x",)}


def test_saved_metadata(tmp_path):
    """Of ours and of the oracle's files, both readers make the same."""
    for m in (mx, oracle):
        path = str(tmp_path / "x.gguf")
        m.save_gguf(path, {"w": m.zeros((2, 3))}, metadata(m))
        ours, theirs = (reader.load(path, return_metadata=True)[1] for reader in (mx, oracle))
        assert set(ours) == set(theirs) == set(metadata(mx))
        for name, value in metadata(oracle).items():
            if isinstance(value, oracle.array):
                same(ours[name], value)
                same(theirs[name], value)
            else:
                assert ours[name] == theirs[name] == (list(value) if isinstance(value, tuple) else value)


def test_the_library_reads_what_is_saved(tmp_path):
    arrays = {"a": mx.arange(6, dtype=mx.float32).reshape(2, 3), "b": mx.array([1, 2], mx.int8), "c": mx.array([2.5])}
    values = {"general.alignment": mx.array(128, mx.uint32), "n": mx.array([1, 2, 3]), "s": ["x", "y"]}
    mx.save_gguf(tmp_path / "x.gguf", arrays, values)
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    assert {t.name for t in reader.tensors} == set(arrays)
    for tensor in reader.tensors:
        assert tensor.data_offset % 128 == 0
        np.testing.assert_array_equal(tensor.data, np.array(arrays[tensor.name]), strict=True)
    assert reader.fields["s"].contents() == ["x", "y"]
    assert reader.fields["n"].contents() == [1, 2, 3]
    for name, value in mx.load(tmp_path / "x.gguf").items():
        same(value, arrays[name])


def test_errors_of_saving_are_the_oracles(tmp_path):
    path = str(tmp_path / "x.gguf")
    for t in ("uint8", "uint16", "uint32", "uint64", "int64", "bfloat16", "bool_", "complex64"):
        for m in (mx, oracle):
            with pytest.raises(RuntimeError):
                m.save_gguf(path, {"w": m.array([1, 0]).astype(getattr(m, t))}, {})
    for error, value in (
        (ValueError, lambda m: m.array([1.0]).astype(m.float16)),
        (ValueError, lambda m: m.array([1.0]).astype(m.bfloat16)),
        (RuntimeError, lambda m: m.zeros((2, 2))),
        (RuntimeError, lambda m: m.zeros((0,))),
        (RuntimeError, lambda m: 1),
        (RuntimeError, lambda m: [1]),
    ):
        for m in (mx, oracle):
            with pytest.raises(error):
                m.save_gguf(path, {}, {"k": value(m)})
    with pytest.raises(TypeError):
        mx.save_gguf(path, [mx.zeros(2)], {})
    with pytest.raises(RuntimeError, match="8 axes"):
        mx.save_gguf(path, {"w": mx.zeros((1,) * 9)})
    for bad in (3, mx.array(3, mx.uint32), mx.array(32), mx.array([32], mx.uint32)):
        with pytest.raises(ValueError, match="power of two"):
            mx.save_gguf(path, {}, {"general.alignment": bad})


def test_names_of_parts_that_are_taken(tmp_path):
    x = np.zeros((1, 32), np.float32)
    path = write(tmp_path / "x.gguf", [("a.weight", gguf.quantize(x, T.Q8_0), T.Q8_0), ("a.scales", x, None)])
    for m in (mx, oracle):
        with pytest.raises(RuntimeError, match=r"(?i)twice|duplicate"):
            m.load(path)
