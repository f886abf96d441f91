"""Only what is used of a file is read, once, and it stays readable; what is written takes no second copy."""

import io
import os
import subprocess
import sys
import threading
import tracemalloc

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx
from arrax.core.files import content, streams
from arrax.core.files.content import Deferred

MEASURE = """
import os, sys
import arrax.core as mx

def resident(what):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(what))

mx.eval(mx.sum(mx.ones((1024, 1024))))
mx.clear_cache()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before, size = resident("VmRSS"), os.path.getsize(sys.argv[1])
arrays = mx.load(sys.argv[1])
print((resident("VmRSS") - before) / size)
mx.eval(mx.sum(arrays["t0"]))
print((resident("VmRSS") - before) / size)
for x in arrays.values():
    mx.eval(mx.sum(x))
print((resident("VmHWM") - before) / size)
"""


@pytest.mark.parametrize("name", ("x.safetensors", "x.gguf"))
@pytest.mark.parametrize("library", (mx, oracle), ids=("aligned", "not aligned"))
def test_memory(tmp_path, name, library):
    """A file of the oracle's begins its elements anywhere; they are then read to where they can be used."""
    path, arrays = str(tmp_path / name), {f"t{i}": library.ones((1024, 2048)) for i in range(16)}
    if name == "x.gguf":
        library.save_gguf(path, arrays, {})
    else:
        library.save_safetensors(path, arrays)
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    loaded, one, everything = map(float, done.stdout.split())
    assert loaded < 0.02 and one < 0.1 and everything < 1.1


def test_views_and_reads(tmp_path):
    """Aligned elements are mapped; booleans, and what lies where no kernel could read past it, are read."""
    path = tmp_path / "x.safetensors"
    arrays = {"f": mx.arange(2000.0), "b": mx.array([True, False]), "e": mx.zeros((0, 3)), "i": mx.arange(7)}
    shortest = 0  # length of the file with the shortest "z"
    for end in (0, -2, 0, 2, -60):  # of the file, from the end of a page
        arrays["z"] = mx.zeros(1000 + (end - shortest) % 4096, mx.int8)
        mx.save_safetensors(path, arrays)
        shortest = os.path.getsize(path) - arrays["z"].size + 1000
        loaded = mx.load(path)
        assert isinstance(loaded["b"]._node.buffer, Deferred)
        assert not isinstance(loaded["f"]._node.buffer, Deferred)
        for key, value in arrays.items():
            assert loaded[key].shape == value.shape
            assert np.array(loaded[key]).tobytes() == np.array(value).tobytes()
        total = mx.sum(loaded["i"] + 1) + mx.sum(loaded["f"][::-3])
        assert total.item() == 28 + sum(range(1999, -1, -3))
    assert os.path.getsize(path) % 4096 == 4096 - 60
    assert isinstance(loaded["z"]._node.buffer, Deferred)


def test_a_file_may_go(tmp_path):
    for library in (mx, oracle):
        path = str(tmp_path / "x.safetensors")
        library.save_safetensors(path, {"x": library.arange(1000)})
        x = mx.load(path)["x"]
        mx.save_safetensors(path, {"x": mx.zeros(1000)})  # another file under the same name
        os.unlink(path)
        assert mx.array_equal(x, mx.arange(1000)).item()


def test_a_file_that_was_shortened(tmp_path):
    path = str(tmp_path / "x.safetensors")
    oracle.save_safetensors(path, {"x": oracle.arange(100_000), "abc": oracle.zeros(3)})
    x = mx.load(path)["x"]
    if not isinstance(x._node.buffer, Deferred):  # by chance aligned: the oracle's header has one byte more or less
        oracle.save_safetensors(path, {"x": oracle.arange(100_000), "abcd": oracle.zeros(3)})
        x = mx.load(path)["x"]
    os.truncate(path, 1000)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shortened"):
            mx.eval(x + 1)


@pytest.mark.parametrize("use", (mx.eval, mx.async_eval, np.array, lambda x: x.tolist(), lambda x: mx.eval(x + 1)))
def test_an_npy_file_is_read_when_it_is_used(tmp_path, use):
    path = str(tmp_path / "x.npy")
    oracle.save(path, oracle.arange(100_000))
    x, cut_later = mx.load(path), mx.load(path)
    assert isinstance(x._node.buffer, Deferred) and x._node.buffer._fill is not None
    use(x)
    assert x._node.buffer._fill is None
    os.truncate(path, 1000)
    cut = mx.load(path)
    assert (cut.shape, cut.dtype) == ((100_000,), mx.int32)
    for broken, told in ((cut, "cut off"), (cut_later, "shortened")):
        for _ in range(2):
            with pytest.raises(RuntimeError, match=told):
                use(broken)
    oracle.save(path, oracle.arange(100_000))
    x = mx.load(path)
    os.unlink(path)
    np.testing.assert_array_equal(x, np.arange(100_000))


def test_a_result_is_written_over_what_was_read_for_it(tmp_path):
    path = str(tmp_path / "x.npy")
    oracle.save(path, oracle.arange(100_000.0))
    mx.synchronize()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    y = mx.load(path) * 2
    mx.eval(y)
    assert mx.get_peak_memory() - before < 1.2 * y.nbytes
    x = mx.load(path)
    y = x * 2
    mx.eval(y)
    np.testing.assert_array_equal(y, 2 * np.arange(100_000))
    np.testing.assert_array_equal(x, np.arange(100_000))
    del x, y
    assert mx.get_active_memory() == before


@pytest.mark.parametrize("form", ("<f4", ">f4", ">i2", "?", "<c8", ">c16", "V2"))
@pytest.mark.parametrize("order", "CF")
def test_npy_files_of_other_forms(tmp_path, form, order):
    values = np.random.default_rng(0).integers(0, 2 if form == "?" else 100, (3, 4, 5))
    values = values.astype(np.uint16).view(form) if form == "V2" else values.astype(form)
    path = tmp_path / "x.npy"
    np.save(path, np.asarray(values, order=order))
    for source in (path, io.BytesIO(path.read_bytes())):
        x = mx.load(source, format="npy")
        if form == "V2":
            assert x.dtype == mx.bfloat16
            x, expected = x.view(mx.uint16), values.view(np.uint16)
        else:
            expected = values
        np.testing.assert_array_equal(np.array(x), expected)


def test_many_files_at_a_time(tmp_path, monkeypatch):
    """No more are held open than a process may have: others are read at once."""
    monkeypatch.setattr(content, "FILES", content._Descriptor.alive + 10)
    arrays = []
    for i in range(30):
        mx.save(tmp_path / f"{i}.npy", mx.full((50,), i))
        before = len(os.listdir("/proc/self/fd"))
        arrays.append(mx.load(tmp_path / f"{i}.npy"))
        assert len(os.listdir("/proc/self/fd")) == before + (2 if i < 10 else 0)
    assert [x[7].item() for x in arrays] == list(range(30))
    mx.save(tmp_path / "next.npy", mx.full((50,), 1))
    assert mx.load(tmp_path / "next.npy")._node.buffer._fill is not None


def test_arrays_are_written_to_without_harm(tmp_path):
    path = tmp_path / "x.safetensors"
    mx.save_safetensors(path, {"x": mx.zeros(1000)})
    before = path.read_bytes()
    x = mx.load(path)["x"]
    other = np.from_dlpack(x)
    other = np.lib.stride_tricks.as_strided(other, writeable=True) if other.flags.writeable else other
    if other.flags.writeable:
        other[:] = 1
    x[3] = 7
    mx.eval(x)
    assert path.read_bytes() == before


def test_open_files_and_where_they_stand(tmp_path):
    path = tmp_path / "x.bin"
    content = io.BytesIO()
    mx.save_safetensors(content, {"x": mx.arange(500)})
    for junk in (b"", b"junk" * 4, b"odd"):
        path.write_bytes(junk + content.getvalue())
        for buffering in (-1, 0):
            with open(path, "rb", buffering=buffering) as file:
                file.read(len(junk))
                x = mx.load(file, format="safetensors")["x"]
            assert mx.array_equal(x, mx.arange(500)).item()


def test_descriptors_are_closed(tmp_path):
    oracle.save_safetensors(str(tmp_path / "x.safetensors"), {"x": oracle.arange(500)})
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        x = mx.load(tmp_path / "x.safetensors")["x"]
        mx.eval(x + 1)
    del x
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_threads_read_one_array(tmp_path):
    oracle.save_safetensors(str(tmp_path / "x.safetensors"), {"ab": oracle.arange(300_000), "c": oracle.zeros(3)})
    for _ in range(10):
        x = mx.load(tmp_path / "x.safetensors")["ab"]
        sums: list[int] = []

        def work(x=x, sums=sums):
            sums.append(mx.sum(x[1:]).item())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(sums) == 4 and len(set(sums)) == 1


def test_saving_takes_no_copy(tmp_path):
    x = mx.ones((1 << 23,))  # 32 MB
    mx.eval(x)
    for save in (
        lambda: mx.save(tmp_path / "x.npy", x),
        lambda: mx.savez(tmp_path / "x.npz", x),
        lambda: mx.save_safetensors(tmp_path / "x.safetensors", {"x": x}),
        lambda: mx.save_gguf(tmp_path / "x.gguf", {"x": x}),
    ):
        tracemalloc.start()
        save()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4_000_000


def test_an_interrupted_save_leaves_what_was_there(tmp_path):
    """Ctrl-C in the middle of writing, from a stream that stops."""
    path = tmp_path / "x.safetensors"
    mx.save_safetensors(path, {"x": mx.array([1])})
    before = path.read_bytes()

    def stopped(stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streams.save("save", path, ".safetensors", stopped, RuntimeError)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.safetensors"]
