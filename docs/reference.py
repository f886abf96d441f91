"""The table of contents of the reference: which public name stands on which page.

``docs/generate.py`` makes the pages from it when the site is built, and ``tests/test_docs.py`` looks that no public
name is missing. A page has sections; a section lists names as they are written in programs (``linalg.inv`` for
``mx.linalg.inv``), in the order of the page. ``name=other`` says that ``other`` is one more name of the same thing, and
``name.*`` that the public members of a class stand on the page too.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

# How programs write the modules.
MODULES = {
    "mx": "arrax.core",
    "nn": "arrax.nn",
    "optim": "arrax.optimizers",
    "utils": "arrax.utils",
    "arrax": "arrax",
}


@dataclass(frozen=True)
class Section:
    """Names under a heading, with some words before them; ``values`` are not documented one by one but said at once."""

    title: str
    names: str = ""
    text: str = ""
    values: dict[str, str] = field(default_factory=dict)
    module: str = "mx"

    def entries(self) -> Iterator[tuple[str, list[str]]]:
        """Each name with its other names, ``.*`` included."""
        for entry in self.names.split():
            name, *others = entry.split("=")
            yield name, others

    def covers(self) -> Iterator[str]:
        """Full dotted names of all that the section documents."""
        written = [name.removesuffix(".*") for entry, others in self.entries() for name in (entry, *others)]
        for name in (*written, *self.values):
            yield f"{MODULES[self.module]}.{name}"


@dataclass(frozen=True)
class Page:
    """One page of the reference."""

    slug: str
    title: str
    text: str
    sections: tuple[Section, ...]


def find(path: str) -> Any:
    """The object with a full dotted name."""
    parts = path.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        # A submodule that a class or function of the same name hides, such as core.array: the attribute counts.
        if n > 1:
            found = getattr(importlib.import_module(".".join(parts[: n - 1])), parts[n - 1])
        for part in parts[n:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(path)


def public(module: ModuleType) -> list[str]:
    """The public names of a module: those in ``__all__``, or what it defines itself."""
    if hasattr(module, "__all__"):
        names = [name for name in module.__all__ if not name.startswith("_")]
        return [name for name in names if not isinstance(getattr(module, name), ModuleType)]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


PAGES = (
    Page(
        "arrays",
        "Arrays and types",
        "`mx.array` holds numbers of one type in a rectangular shape. Arrays are lazy: an operation records what is to "
        "be done, and the numbers are computed when somebody looks at them, or at `mx.eval`.",
        (
            Section("The array", "array.* ArrayAt.* ArrayIterator ArrayLike"),
            Section("Evaluation", "eval async_eval depends"),
            Section(
                "Element types",
                "Dtype astype view can_cast result_type isdtype issubdtype finfo.* iinfo.* DtypeCategory",
                "A type is an object, not a string. The categories at the end of the list are for `mx.issubdtype`.",
                {
                    "bool_": "true or false; also `mx.bool`",
                    "bool": "another name of `mx.bool_`",
                    "int8": "integers from -128 to 127",
                    "int16": "integers from -32768 to 32767",
                    "int32": "integers of 32 bits: the type of Python's integers",
                    "int64": "integers of 64 bits",
                    "uint8": "integers from 0 to 255",
                    "uint16": "integers from 0 to 65535",
                    "uint32": "integers of 32 bits from 0: the type of indices that functions return",
                    "uint64": "integers of 64 bits from 0",
                    "float16": "half precision: 5 bits of exponent, 10 of mantissa",
                    "bfloat16": "half precision: 8 bits of exponent, 7 of mantissa",
                    "float32": "single precision: the type of Python's floats",
                    "float64": "double precision",
                    "complex64": "pairs of float32: the type of Python's complex numbers",
                    "complex128": "pairs of float64",
                    "generic": "category of all types",
                    "number": "category of all but booleans",
                    "integer": "category of integers",
                    "signedinteger": "category of integers with a sign",
                    "unsignedinteger": "category of integers without one",
                    "inexact": "category of floats and complex numbers",
                    "floating": "category of floats",
                    "complexfloating": "category of complex numbers",
                },
            ),
            Section(
                "Constants",
                values={
                    "pi": "3.14159...",
                    "e": "2.71828...",
                    "euler_gamma": "0.57721...",
                    "inf": "infinity",
                    "nan": "not a number",
                    "newaxis": "None: a new axis of size 1 in an index",
                },
            ),
            Section("Printing", "PrintOptions set_printoptions get_printoptions printoptions"),
        ),
    ),
    Page(
        "creation",
        "Creation",
        "Arrays of constants, ranges and grids. What is made by these functions costs no memory until it has to be "
        "stored: a kernel computes it where it is used.",
        (
            Section("From other data", "asarray from_dlpack"),
            Section("Constants", "zeros zeros_like ones ones_like full full_like empty empty_like"),
            Section("Ranges and grids", "arange linspace logspace geomspace meshgrid tril_indices triu_indices"),
            Section("Matrices", "eye identity tri tril triu diag diagonal"),
            Section("Windows", "bartlett blackman hamming hanning"),
        ),
    ),
    Page(
        "arithmetic",
        "Arithmetic and logic",
        "Functions of each element. Arguments broadcast against each other; integers become float32 where the result "
        "is no integer; a Python scalar takes the type of the array. All of them fuse: a chain of these functions is "
        "one pass over memory.",
        (
            Section(
                "Arithmetic",
                "add subtract multiply divide floor_divide remainder fmod divmod power=pow negative positive abs sign "
                "square sqrt rsqrt cbrt reciprocal hypot gcd lcm copysign nextafter",
            ),
            Section("Exponentials and logarithms", "exp exp2 expm1 log log2 log10 log1p logaddexp sigmoid"),
            Section(
                "Trigonometry",
                "sin cos tan arcsin=asin arccos=acos arctan=atan arctan2=atan2 sinh cosh tanh arcsinh=asinh "
                "arccosh=acosh arctanh=atanh degrees radians sinc",
            ),
            Section("Special functions", "erf erfc erfinv lgamma digamma heaviside"),
            Section("Rounding and bounds", "round floor ceil trunc clip maximum minimum fmax fmin nan_to_num"),
            Section("Complex numbers", "real imag conj=conjugate"),
            Section("Comparison", "equal not_equal less less_equal greater greater_equal isclose allclose array_equal"),
            Section("Classification", "isnan isinf isposinf isneginf isfinite signbit"),
            Section("Logic", "logical_and logical_or logical_xor logical_not where select piecewise"),
            Section(
                "Bits",
                "bitwise_and bitwise_or bitwise_xor bitwise_invert left_shift=bitwise_left_shift "
                "right_shift=bitwise_right_shift",
            ),
            Section("Numerical methods", "gradient interp trapezoid polyval"),
        ),
    ),
    Page(
        "reductions",
        "Reductions, scans, sorting",
        "`axis` is a number, several, or nothing for all axes; `keepdims` keeps the reduced axes with size 1. Several "
        "reductions along one axis, and the arithmetic before, between and after them, share a kernel.",
        (
            Section(
                "Reductions",
                "sum prod mean var std max min minmax argmax argmin all any count_nonzero logsumexp softmax median "
                "trace",
            ),
            Section("Statistics", "average cov corrcoef quantile percentile ptp"),
            Section(
                "What is not NaN",
                "nansum nanprod nanmean nanvar nanstd nanmax nanmin nanargmax nanargmin nanmedian nanquantile "
                "nanpercentile nancumsum nancumprod",
            ),
            Section(
                "Scans", "cumsum=cumulative_sum cumprod=cumulative_prod cummax cummin logcumsumexp diff"
            ),
            Section("Sorting", "sort argsort partition argpartition topk searchsorted"),
            Section(
                "Sets",
                "unique unique_values unique_counts unique_inverse unique_all union1d intersect1d setdiff1d setxor1d "
                "isin",
                "How many elements a set has depends on the data: most of these functions evaluate their arguments, "
                "and cannot be used inside of `mx.compile` and `mx.vmap`.",
            ),
            Section("Histograms", "histogram histogram_bin_edges bincount digitize"),
        ),
    ),
    Page(
        "indexing",
        "Indexing",
        "Brackets take integers, slices, `None`, `...`, integer arrays and boolean masks, as in NumPy. An array index "
        "outside of the bounds is an error only where finding out costs nothing; see the functions. `x[i] = y` makes "
        "`x` another array: what was computed from the old one keeps it. `x.at[i].add(y)` counts repeated indices.",
        (
            Section("Taking", "take take_along_axis slice compress extract"),
            Section("Putting", "put_along_axis slice_update"),
            Section(
                "Positions",
                "nonzero argwhere flatnonzero",
                "How many there are depends on the data: these functions evaluate their argument.",
            ),
        ),
    ),
    Page(
        "shape",
        "Shape",
        "Most of these functions move nothing: they say how the result's coordinates lie in the argument, and the "
        "kernel that uses the result reads the argument there.",
        (
            Section("Shape", "reshape flatten=ravel unflatten squeeze expand_dims atleast_1d atleast_2d atleast_3d"),
            Section(
                "Order of axes and elements",
                "transpose permute_dims matrix_transpose swapaxes moveaxis flip fliplr flipud rot90 roll",
            ),
            Section("Broadcasting and repeating", "broadcast_to broadcast_arrays broadcast_shapes repeat tile"),
            Section("Joining", "concatenate=concat stack hstack vstack dstack column_stack append"),
            Section("Splitting", "split array_split unstack"),
            Section("Padding and strides", "pad as_strided contiguous"),
        ),
    ),
    Page(
        "linalg",
        "Linear algebra",
        "Products of matrices, convolutions, and `mx.linalg`: factorisations, equations, norms. Leading axes are "
        "batches.",
        (
            Section(
                "Products",
                "matmul addmm dot vdot inner outer vecdot tensordot kron einsum einsum_path cross "
                "block_masked_mm gather_mm segmented_mm hadamard_transform",
                "`x @ y` is `mx.matmul(x, y)`.",
            ),
            Section(
                "Convolutions",
                "conv1d conv2d conv3d conv_general conv_transpose1d conv_transpose2d conv_transpose3d convolve",
                "Channels are last: images have the shape `(N, H, W, C)`, filters `(outputs, h, w, inputs)`.",
            ),
            Section("Factorisations", "linalg.cholesky linalg.qr linalg.lu linalg.lu_factor linalg.svd linalg.svdvals"),
            Section("Eigenvalues", "linalg.eig linalg.eigvals linalg.eigh linalg.eigvalsh"),
            Section(
                "Equations and inverses",
                "linalg.solve linalg.solve_triangular linalg.inv linalg.tri_inv linalg.cholesky_inv linalg.pinv",
            ),
            Section(
                "Norms and numbers",
                "linalg.norm=matrix_norm linalg.matrix_norm linalg.vector_norm linalg.det linalg.slogdet "
                "linalg.matrix_rank linalg.matrix_power",
            ),
            Section(
                "The standard's names",
                text="The Python array API standard has these in `linalg`. But for `diagonal` and `trace`, whose axes "
                "are the last two there, they are the functions of `mx`.",
                names="linalg.diagonal linalg.trace",
                values={
                    "linalg.cross": "`mx.cross`",
                    "linalg.matmul": "`mx.matmul`",
                    "linalg.matrix_transpose": "`mx.matrix_transpose`",
                    "linalg.outer": "`mx.outer`",
                    "linalg.tensordot": "`mx.tensordot`",
                    "linalg.vecdot": "`mx.vecdot`",
                },
            ),
        ),
    ),
    Page(
        "fft",
        "Fourier transforms",
        "`mx.fft`: discrete Fourier transforms in single precision, and spectrograms.",
        (
            Section("Complex", "fft.fft fft.ifft fft.fft2 fft.ifft2 fft.fftn fft.ifftn"),
            Section("Real", "fft.rfft fft.irfft fft.rfft2 fft.irfft2 fft.rfftn fft.irfftn fft.hfft fft.ihfft"),
            Section("Frequencies", "fft.fftfreq fft.rfftfreq fft.fftshift fft.ifftshift"),
            Section("Short-time transforms", "fft.stft fft.istft"),
        ),
    ),
    Page(
        "random",
        "Random numbers",
        "Numbers come from a key: the same key gives the same numbers, whatever the number of threads, and they are "
        "MLX's. Without a key a global state is split for each call; it is `mx.random.state`, which `mx.compile` takes "
        "among `inputs` and `outputs` where a compiled function draws numbers.",
        (
            Section("Keys and state", "random.key random.split random.seed", values={
                "random.state": "a list that holds the global key",
            }),
            Section(
                "Distributions",
                "random.uniform random.normal random.truncated_normal random.multivariate_normal random.laplace "
                "random.gumbel random.randint random.bernoulli random.categorical random.permutation",
            ),
        ),
    ),
    Page(
        "fast",
        "Fast functions",
        "`mx.fast` has MLX's functions for language models. They are compositions that the compiler makes few kernels "
        "of, and have derivatives of all orders.",
        (
            Section(
                "Functions",
                "fast.rms_norm fast.layer_norm fast.rope fast.scaled_dot_product_attention fast.cross_entropy "
                "fast.gated_delta_update",
            ),
            Section(
                "Kernels of your own",
                "fast.metal_kernel fast.cuda_kernel fast.precompiled_cuda_kernel",
                "Sources for graphics processors cannot run on a CPU: these functions are here so that programs can be "
                "imported, and say so when the kernel is needed.",
            ),
        ),
    ),
    Page(
        "transforms",
        "Transforms",
        "Functions of functions. They nest in any order: `mx.vmap(mx.grad(f))`, `mx.compile(mx.grad(mx.grad(f)))`.",
        (
            Section("Derivatives", "grad value_and_grad vjp jvp stop_gradient custom_function.* checkpoint"),
            Section("Batches", "vmap"),
            Section("Compilation", "compile enable_compile disable_compile"),
            Section("Export", "export_function import_function exporter FunctionExporter.* export_to_dot",
                    "The format of the files is described in [its own page](../export-format.md)."),
        ),
    ),
    Page(
        "files",
        "Files",
        "Arrays in files: NumPy's `.npy` and `.npz`, safetensors, GGUF. Functions in files: see [transforms]"
        "(transforms.md#export).",
        (Section("Saving and loading", "load save savez savez_compressed save_safetensors save_gguf"),),
    ),
    Page(
        "devices",
        "Devices, streams, memory",
        "There is one device, the CPU; `async_eval` works in the background. Functions take a `stream` argument "
        "wherever MLX's do; it is checked and has no effect.",
        (
            Section(
                "Devices",
                "Device.* DeviceType default_device set_default_device device_count device_info is_available",
                values={"cpu": "the kind of device that is here", "gpu": "the kind of device that is not"},
            ),
            Section(
                "Streams",
                "Stream.* ThreadLocalStream.* StreamContext stream default_stream set_default_stream new_stream "
                "new_thread_local_stream new_thread_unsafe_stream clear_streams synchronize",
            ),
            Section(
                "Memory",
                "get_active_memory get_peak_memory reset_peak_memory get_cache_memory set_cache_limit clear_cache "
                "get_memory_limit set_memory_limit set_wired_limit get_array_buffer_size",
                "In bytes. Memory that arrays give back is kept for arrays to come, up to a bound.",
            ),
            Section(
                "Metal",
                "metal.is_available metal.device_info metal.start_capture metal.stop_capture",
                "Apple's graphics processors are not here; the functions on memory that MLX has in `mx.metal` are "
                "those above.",
                {f"metal.{name}": f"`mx.{name}`" for name in (
                    "get_active_memory", "get_peak_memory", "reset_peak_memory", "get_cache_memory", "set_cache_limit",
                    "clear_cache", "set_memory_limit", "set_wired_limit",
                )},
            ),
            Section("CUDA", "cuda.is_available"),
        ),
    ),
    Page(
        "quantization",
        "Quantization",
        "Matrices of 1 to 8 bits an element with scales for groups of elements, and products with them. `nn.quantize` "
        "quantizes the layers of a model.",
        (
            Section("Conversion", "quantize dequantize to_fp8 from_fp8"),
            Section("Products", "quantized_matmul gather_qmm qqmm gather_qqmm"),
        ),
    ),
    Page(
        "layers",
        "Layers",
        "`arrax.nn` has modules: parameters with a function. A subclass of `nn.Module` sets arrays and modules as "
        "attributes in its `__init__` and computes in `__call__`; its parameters are found in the attributes.",
        (
            Section("Modules", "Module.* Sequential Identity", module="nn"),
            Section("Linear", "Linear Bilinear Embedding QuantizedLinear QQLinear QuantizedEmbedding", module="nn"),
            Section("Convolutions",
                    "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d", module="nn"),
            Section("Pooling and scaling",
                    "MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d Upsample", module="nn"),
            Section("Normalization and dropout",
                    "LayerNorm RMSNorm BatchNorm InstanceNorm GroupNorm Dropout Dropout2d Dropout3d", module="nn"),
            Section("Recurrent", "RNN LSTM GRU", module="nn"),
            Section("Attention",
                    "MultiHeadAttention Transformer TransformerEncoder TransformerEncoderLayer TransformerDecoder "
                    "TransformerDecoderLayer RoPE SinusoidalPositionalEncoding ALiBi", module="nn"),
            Section("Activations",
                    "ReLU ReLU2 ReLU6 LeakyReLU PReLU ELU SELU CELU GELU SiLU Mish GLU Sigmoid LogSigmoid Tanh "
                    "HardTanh Hardswish HardShrink Softshrink Softplus Softsign Softmax Softmin LogSoftmax "
                    "Step", module="nn"),
            Section("Distributed",
                    "AllToShardedLinear ShardedToAllLinear QuantizedAllToShardedLinear QuantizedShardedToAllLinear "
                    "FullyShardedModule fully_shard", module="nn"),
            Section("Training and conversion",
                    "value_and_grad quantize average_gradients utils.checkpoint utils.clip_grad_norm_sharded",
                    module="nn"),
        ),
    ),
    Page(
        "functions",
        "Functions, losses, initial values",
        "The functions of the layers that have no parameters, losses, and functions that fill parameters.",
        (
            Section("Functions",
                    "relu relu2 relu6 leaky_relu prelu elu selu celu gelu gelu_approx gelu_fast_approx silu mish glu "
                    "sigmoid log_sigmoid tanh hard_tanh hardswish hard_shrink softshrink softplus softsign softmax "
                    "softmin log_softmax step", module="nn"),
            Section("Losses",
                    "losses.cross_entropy losses.binary_cross_entropy losses.nll_loss losses.gaussian_nll_loss "
                    "losses.kl_div_loss losses.mse_loss losses.l1_loss losses.smooth_l1_loss losses.huber_loss "
                    "losses.log_cosh_loss losses.hinge_loss losses.triplet_loss losses.cosine_similarity_loss "
                    "losses.margin_ranking_loss", module="nn"),
            Section("Initial values",
                    "init.constant init.normal init.uniform init.identity init.glorot_normal init.glorot_uniform "
                    "init.he_normal init.he_uniform init.sparse init.orthogonal",
                    "Each returns a function that makes an array of the shape and type of another one.", module="nn"),
        ),
    ),
    Page(
        "optimizers",
        "Optimizers",
        "An optimizer changes the parameters of a model along their gradients: `optimizer.update(model, gradients)`.",
        (
            Section("Base", "Optimizer.* MultiOptimizer clip_grad_norm", module="optim"),
            Section("Optimizers", "SGD RMSprop Adagrad AdaDelta Adam AdamW Adamax Lion Adafactor Muon", module="optim"),
            Section("Schedules",
                    "cosine_decay exponential_decay linear_schedule step_decay join_schedules",
                    "A schedule is a function from the number of the step to the learning rate, and stands for it.",
                    module="optim"),
        ),
    ),
    Page(
        "utils",
        "Trees",
        "`arrax.utils`: lists, tuples and dictionaries of arrays, however nested, such as the parameters of a model.",
        (
            Section("Functions",
                    "tree_map tree_map_with_path tree_flatten tree_unflatten tree_reduce tree_merge", module="utils"),
        ),
    ),
    Page(
        "distributed",
        "Distributed",
        "`mx.distributed` has MLX's functions for a program that runs in several processes. There is one process here: "
        "programs that do the same in one process run, and collectives return their argument.",
        (
            Section("Groups", "distributed.init distributed.is_available distributed.Group.*"),
            Section("Communication",
                    "distributed.all_sum distributed.all_max distributed.all_min distributed.all_gather "
                    "distributed.sum_scatter distributed.send distributed.recv distributed.recv_like"),
        ),
    ),
    Page(
        "explain",
        "Explaining and debugging",
        "What will be computed, and what was. `ARRAX_DEBUG=1` in the environment prints a line for each kernel that "
        "runs, with its time; `ARRAX_DEBUG=2` its IR as well; `ARRAX_DISABLE_COMPILE=1` makes `mx.compile` return "
        "functions as they are.",
        (
            Section("Explaining", "explain", module="arrax"),
            Section("The name mlx", "alias.install alias.uninstall alias.installed alias.inherit", module="arrax"),
        ),
    ),
)  # fmt: skip
