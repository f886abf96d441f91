"""Files damaged at random: arrays that can be used to the last element, or one line of a known exception.

Each case has a number, and the number makes the case: what fails can be repeated alone.
"""

import io
import random
import struct
import tracemalloc

import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime.executor import to_numpy

NUMBERS = (
    0, 1, 2, 7, 8, 9, 31, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**60, 2**63 - 1, 2**63,
    2**64 - 8, 2**64 - 1,
)  # fmt: skip
TOKENS = (
    b"0", b"-1", b"9" * 30, b"1e999", b"null", b"true", b"[", b"{" * 50, b"]", b"(", b"'", b'"', b"\\ud800", b",",
    b"\n", b"\xff", b"F32", b"BOOL", b"BF16", b"<f8", b">i2", b"|O", b"|V2", b"True", b"shape", b"dtype",
    b"data_offsets", b"__metadata__", b"PK\1\2", b"PK\3\4", b"PK\5\6", b"GGUF",
)  # fmt: skip


def intact():
    """Valid files of every format: (format, bytes)."""
    arrays = {
        "a": mx.arange(6).reshape(2, 3),
        "b.weight": mx.array([1.5, -2.0], mx.bfloat16),
        "c": mx.array([True, False]),
        "d": mx.zeros((0, 2), mx.float16),
        "e": mx.array(1 + 2j),
    }
    found = []

    def add(kind, save, *args, **kwargs):
        file = io.BytesIO()
        save(file, *args, **kwargs)
        found.append((kind, file.getvalue()))

    for key in "abc":
        add("npy", mx.save, arrays["b.weight" if key == "b" else key])
    add("npy", np.save, np.asfortranarray(np.arange(12, dtype=">f4").reshape(3, 4)))
    add("npz", mx.savez, **arrays)
    add("npz", mx.savez_compressed, mx.zeros(500), **arrays)
    add("safetensors", mx.save_safetensors, arrays, {"k": "v"})
    plain = {"a": arrays["a"], "f": mx.arange(40.0).astype(mx.float16), "g": mx.zeros((2, 0))}
    values = {"s": "text", "n": mx.array(3), "l": ["a", "bc"], "v": mx.array([1.0, 2.0]), "t": mx.array(True)}
    add("gguf", mx.save_gguf, plain, values)
    for kind, size in ((2, 18), (3, 20), (8, 34), (6, 22), (10, 84), (14, 210), (30, 2)):  # quantized tensors
        columns = 256 if size > 34 else 32
        head = b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 8) + b"x.weight" + struct.pack("<IQQIQ", 2, columns, 3, kind, 0)
        blocks = 3 * (columns if kind == 30 else 1)
        found.append(("gguf", head + bytes(-len(head) % 32) + random.Random(kind).randbytes(blocks * size)))
    return found


INTACT = intact()


def damaged(case):
    """Format and bytes of a case."""
    rng = random.Random(case)
    kind, data = rng.choice(INTACT)
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        # the first bytes say most, in archives the last ones
        near = rng.choice((16, 64, 256, len(data) + 1))
        at = min(rng.randrange(near), len(data))
        if kind == "npz" and rng.random() < 0.5:
            at = len(data) - at
        how = rng.randrange(7)
        if how == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1 and at < len(data):
            data[at] = rng.randrange(256)
        elif how == 2:
            del data[at : at + rng.choice((1, 2, 8, 50, len(data)))]
        elif how == 3:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 50)))
        elif how == 4:
            form = rng.choice(("<B", "<H", "<I", "<Q"))
            field = struct.pack("<Q", rng.choice(NUMBERS))[: struct.calcsize(form)]
            data[at : at + len(field)] = field
        elif how == 5:
            token = rng.choice(TOKENS)
            data[at : at + rng.choice((0, 1, len(token)))] = token
        else:  # a piece of this file or of another one
            source = data if rng.random() < 0.5 else rng.choice(INTACT)[1]
            start = rng.randrange(len(source) + 1)
            piece = bytes(source[start : start + rng.choice((4, 16, 64, 400))])
            data[at : at + rng.choice((0, len(piece)))] = piece
    return kind, bytes(data)


def attempt(kind, data, path=None):
    """Loads, and uses every element; whether that went well. Raises AssertionError where it went wrong."""
    try:
        if kind in ("npy", "npz"):
            result, metadata = mx.load(path or io.BytesIO(data), format=kind), {}
        else:
            result, metadata = mx.load(path or io.BytesIO(data), format=kind, return_metadata=True)
        mx.eval(result)
    except (ValueError, RuntimeError) as error:
        message = str(error)
        assert type(error) in (ValueError, RuntimeError), repr(error)
        assert message.startswith("[load] expected") and "\n" not in message and len(message) < 1000, message
        message.encode()
        return False
    arrays = list(result.values()) if isinstance(result, dict) else [result]
    total = 0
    for x in [*arrays, *[x for x in metadata.values() if isinstance(x, mx.array)]]:
        values = to_numpy(x._node)  # not by a kernel, whose compilation takes memory
        assert values.shape == x.shape
        total += len(values.tobytes())
        if x.dtype == mx.bool_ and values.size:
            assert values.view(np.uint8).max() <= 1
    # deflated data, and quantized tensors
    assert total <= {"npz": 1032, "gguf": 8}.get(kind, 1) * len(data)
    return True


def run(cases, path):
    """How many of the cases gave arrays. Some are read as files, which are mapped, the others as streams."""
    good = 0
    for case in cases:
        kind, data = damaged(case)
        if case % 3 == 0:
            path.write_bytes(data)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            good += attempt(kind, data, path if case % 3 == 0 else None)
            # headers become objects, many times their size; nothing may be as large as a number in the file says
            assert tracemalloc.get_traced_memory()[1] - before < 2_000_000 + 1100 * len(data)
        except AssertionError as error:
            raise AssertionError(f"case {case}, {kind}: {error}") from error
        except Exception as error:
            raise AssertionError(f"case {case}, {kind}: {error!r}") from error
    return good


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_what_is_intact_is_read(tmp_path):
    for kind, data in INTACT:
        assert attempt(kind, data)
        (tmp_path / "x").write_bytes(data)
        assert attempt(kind, data, tmp_path / "x")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage(tmp_path, traced):
    good = run(range(4000), tmp_path / "x")
    assert 400 < good < 3600  # the damage is neither too mild nor too wild


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_much_damage(tmp_path, traced):
    run(range(10_000, 110_000), tmp_path / "x")


@pytest.mark.parametrize("index", range(len(INTACT)), ids=lambda i: f"{i}-{INTACT[i][0]}")
def test_every_cut(index):
    kind, data = INTACT[index]
    for n in range(len(data)):
        assert not attempt(kind, data[:n]) or kind in ("gguf", "safetensors")  # empty arrays at the end need no bytes


@pytest.mark.parametrize("index", range(len(INTACT)), ids=lambda i: f"{i}-{INTACT[i][0]}")
def test_every_bit(index):
    kind, data = INTACT[index]
    header = min(len(data), 400)
    for i in random.Random(index).sample(range(8 * header), min(8 * header, 600)):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        attempt(kind, bytes(flipped))
