"""What is bound to graphics processors exists and says that there is none; what arrays hold; what stands for arrays."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import mlx.core
import numpy as np
import pytest

import arrax.core as mx
from arrax.core import cuda, metal

KERNEL = {"name": "k", "input_names": ["a"], "output_names": ["b"], "source": "b[0] = a[0];"}
PRECOMPILED: dict[str, Any] = {
    "name": "k",
    "compiled_source": b"",
    "inputs": [],
    "output_shapes": [],
    "output_dtypes": [],
    "scalars": [],
    "grid": (1, 1, 1),
    "threadgroup": (1, 1, 1),
}


def test_there_is_no_back_end() -> None:
    assert not metal.is_available()
    assert not cuda.is_available()
    assert metal.device_info() == mlx.core.metal.device_info() == {}
    metal.start_capture("trace.gputrace")
    metal.stop_capture()
    with pytest.raises(TypeError, match=r"^\[start_capture\] expected a str"):
        metal.start_capture(3)  # type: ignore[arg-type]


def test_functions_on_memory() -> None:
    assert metal.get_active_memory() == mx.get_active_memory()
    former = metal.set_cache_limit(1 << 20)
    assert mx.set_cache_limit(former) == 1 << 20


def test_under_the_name_of_mlx() -> None:
    program = "import arrax.alias; arrax.alias.install(); import mlx.core.metal, mlx.core.cuda, arrax.core as mx; "
    program += "assert mlx.core.metal is mx.metal and mlx.core.cuda is mx.cuda"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_kernels() -> None:
    kernel: Any = mx.fast.metal_kernel(**KERNEL)  # type: ignore[arg-type]
    call = {"grid": (1, 1, 1), "threadgroup": (1, 1, 1), "output_shapes": [(3,)], "output_dtypes": [mx.float32]}
    with pytest.raises(RuntimeError, match=r"^\[metal_kernel\] expected Metal") as raised:
        kernel(inputs=[mx.ones(3)], template=[], **call)
    assert "\n" not in str(raised.value)
    for make in (mx.fast.cuda_kernel, mlx.core.fast.cuda_kernel):
        with pytest.raises(RuntimeError, match=r"^\[cuda_kernel\]"):
            make(**KERNEL)  # type: ignore[arg-type]
    for run in (mx.fast.precompiled_cuda_kernel, mlx.core.fast.precompiled_cuda_kernel):
        with pytest.raises(RuntimeError, match=r"^\[(precompiled_)?cuda_kernel\]"):
            run(**PRECOMPILED)


@pytest.mark.parametrize("change", [{"source": 3}, {"name": None}, {"input_names": 3}, {"output_names": [1]}])
def test_kernels_of_wrong_kinds(change: dict[str, Any]) -> None:
    for m in (mx, mlx.core):
        for make in (m.fast.metal_kernel, m.fast.cuda_kernel):
            with pytest.raises(TypeError):
                make(**{**KERNEL, **change})
        with pytest.raises(ValueError, match="compile_options"):
            m.fast.metal_kernel(**KERNEL, compile_options=3)


def test_sizes_of_buffers() -> None:
    x, y = mx.zeros((1000,)), mx.ones((3, 3))
    mx.eval(x, y)
    assert mx.get_array_buffer_size() == 0
    one, other = mx.get_array_buffer_size(x), mx.get_array_buffer_size(y)
    assert 4000 <= one < 5000
    assert 36 <= other < 100
    assert mx.get_array_buffer_size(x, [y, {"again": x}], 3, "word", None) == one + other
    assert mx.get_array_buffer_size(mx.array(1.0)) == 4
    with pytest.raises(ValueError, match=r"^\[get_array_buffer_size\] expected evaluated arrays"):
        mx.get_array_buffer_size(x + 1)


def test_what_stands_for_an_array() -> None:
    class Holder:
        def __mlx_array__(self) -> Any:
            return mx.array([1.0, 2.0])

    assert (mx.array([1.0, 1.0]) + mx.ArrayLike(Holder())).tolist() == [2.0, 3.0]
    with pytest.raises(TypeError):
        mx.ArrayLike()  # type: ignore[call-arg]


def test_matrix_norm_is_norm() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert mx.matrix_norm(mx.array(x)).item() == pytest.approx(mlx.core.matrix_norm(mlx.core.array(x)).item())


@pytest.mark.parametrize("name", ["uint8", "int32", "float16", "float32"])
def test_bytes_as_truth_values(name: str) -> None:
    values = np.array([[0, 1, 258, 3], [4, 0, 0, 7]], np.float32)
    ours = mx.array(values).astype(getattr(mx, name)).view(mx.bool_)
    theirs = mlx.core.array(values).astype(getattr(mlx.core, name)).view(mlx.core.bool_)
    assert ours.shape == theirs.shape
    # a byte that is neither 0 nor 1 is no truth value in MLX either, but both keep it
    assert ours.view(mx.uint8).tolist() == np.array(theirs).view(np.uint8).tolist()
    assert mx.logical_not(ours).tolist() == (np.array(theirs).view(np.uint8) == 0).tolist()
