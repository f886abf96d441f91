"""The arrays of Arrax and the functions on them, usually imported as ``mx``.

Functions record what is to be computed; ``eval``, printing and conversion to Python compute it.
"""

from arrax import __version__
from arrax.core import cuda, distributed, fast, fft, linalg, metal, random
from arrax.core.array import array
from arrax.core.convert import ArrayLike
from arrax.core.device import (
    Device,
    DeviceType,
    Stream,
    StreamContext,
    ThreadLocalStream,
    clear_streams,
    cpu,
    default_device,
    default_stream,
    device_count,
    device_info,
    gpu,
    is_available,
    new_stream,
    new_thread_local_stream,
    new_thread_unsafe_stream,
    set_default_device,
    set_default_stream,
    stream,
    synchronize,
)
from arrax.core.dtypes import (
    Dtype,
    DtypeCategory,
    bfloat16,
    bool_,
    can_cast,
    complex64,
    complex128,
    complexfloating,
    finfo,
    float16,
    float32,
    float64,
    floating,
    generic,
    iinfo,
    inexact,
    int8,
    int16,
    int32,
    int64,
    integer,
    isdtype,
    issubdtype,
    number,
    result_type,
    signedinteger,
    uint8,
    uint16,
    uint32,
    uint64,
    unsignedinteger,
)
from arrax.core.evaluation import async_eval, eval
from arrax.core.export import FunctionExporter, export_function, export_to_dot, exporter, import_function
from arrax.core.indexing import ArrayAt, ArrayIterator
from arrax.core.io import load, save, save_gguf, save_safetensors, savez, savez_compressed
from arrax.core.memory import (
    clear_cache,
    get_active_memory,
    get_array_buffer_size,
    get_cache_memory,
    get_memory_limit,
    get_peak_memory,
    reset_peak_memory,
    set_cache_limit,
    set_memory_limit,
    set_wired_limit,
)
from arrax.core.namespace import API_VERSION as __array_api_version__
from arrax.core.namespace import __array_namespace_info__
from arrax.core.ops.arrangement import (
    append,
    array_split,
    column_stack,
    dstack,
    fliplr,
    flipud,
    hstack,
    piecewise,
    rot90,
    select,
    tril_indices,
    triu_indices,
    vstack,
)
from arrax.core.ops.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_general,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    convolve,
)
from arrax.core.ops.create import (
    arange,
    asarray,
    bartlett,
    blackman,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    hamming,
    hanning,
    identity,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from arrax.core.ops.einsum import einsum, einsum_path
from arrax.core.ops.hadamard import hadamard_transform
from arrax.core.ops.histograms import (
    bincount,
    digitize,
    histogram,
    histogram_bin_edges,
)
from arrax.core.ops.indexed import (
    diag,
    diagonal,
    pad,
    put_along_axis,
    slice,
    slice_update,
    take,
    take_along_axis,
    tri,
    tril,
    triu,
)
from arrax.core.ops.math import (
    abs,
    add,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    bitwise_and,
    bitwise_invert,
    bitwise_or,
    bitwise_xor,
    ceil,
    conj,
    cos,
    cosh,
    degrees,
    divide,
    divmod,
    equal,
    erf,
    erfinv,
    exp,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    imag,
    isclose,
    isfinite,
    isinf,
    isnan,
    isneginf,
    isposinf,
    left_shift,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    positive,
    power,
    radians,
    real,
    reciprocal,
    remainder,
    right_shift,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    stop_gradient,
    subtract,
    tan,
    tanh,
    trunc,
)
from arrax.core.ops.products import (
    addmm,
    block_masked_mm,
    dot,
    gather_mm,
    inner,
    kron,
    matmul,
    outer,
    segmented_mm,
    tensordot,
    vdot,
    vecdot,
)
from arrax.core.ops.reductions import (
    all,
    allclose,
    any,
    argmax,
    argmin,
    array_equal,
    count_nonzero,
    logsumexp,
    max,
    mean,
    median,
    min,
    minmax,
    prod,
    softmax,
    std,
    sum,
    trace,
    var,
)
from arrax.core.ops.sampling import (
    geomspace,
    gradient,
    interp,
    logspace,
    polyval,
    trapezoid,
)
from arrax.core.ops.scans import cummax, cummin, cumprod, cumsum, diff, logcumsumexp
from arrax.core.ops.selection import clip, nan_to_num, where
from arrax.core.ops.sets import (
    argwhere,
    compress,
    extract,
    flatnonzero,
    intersect1d,
    isin,
    setdiff1d,
    setxor1d,
    union1d,
)
from arrax.core.ops.shape import (
    as_strided,
    astype,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    broadcast_arrays,
    broadcast_shapes,
    broadcast_to,
    concatenate,
    contiguous,
    depends,
    expand_dims,
    flatten,
    flip,
    matrix_transpose,
    meshgrid,
    moveaxis,
    permute_dims,
    repeat,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    transpose,
    unflatten,
    unstack,
    view,
)
from arrax.core.ops.sorting import argpartition, argsort, partition, searchsorted, sort, topk, unique
from arrax.core.ops.special import (
    cbrt,
    digamma,
    erfc,
    exp2,
    fmax,
    fmin,
    fmod,
    gcd,
    heaviside,
    lcm,
    lgamma,
    sinc,
)
from arrax.core.ops.standard import (
    copysign,
    hypot,
    nextafter,
    nonzero,
    signbit,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from arrax.core.ops.statistics import (
    average,
    corrcoef,
    cov,
    nanargmax,
    nanargmin,
    nancumprod,
    nancumsum,
    nanmax,
    nanmean,
    nanmedian,
    nanmin,
    nanpercentile,
    nanprod,
    nanquantile,
    nanstd,
    nansum,
    nanvar,
    percentile,
    ptp,
    quantile,
)
from arrax.core.printing import PrintOptions, get_printoptions, printoptions, set_printoptions
from arrax.core.quantization import dequantize, from_fp8, gather_qmm, quantize, quantized_matmul, to_fp8
from arrax.core.quantized_products import gather_qqmm, qqmm
from arrax.transforms import (
    checkpoint,
    compile,
    custom_function,
    disable_compile,
    enable_compile,
    grad,
    jvp,
    value_and_grad,
    vjp,
    vmap,
)

acos = arccos
acosh = arccosh
asin = arcsin
asinh = arcsinh
atan = arctan
atan2 = arctan2
atanh = arctanh
bitwise_left_shift = left_shift
bitwise_right_shift = right_shift
bool = bool_
concat = concatenate
conjugate = conj
cross = linalg.cross
cumulative_prod = cumprod
cumulative_sum = cumsum
matrix_norm = linalg.norm
pow = power
ravel = flatten

e: float = 2.718281828459045
euler_gamma: float = 0.5772156649015329
inf: float = float("inf")
nan: float = float("nan")
newaxis: None = None
pi: float = 3.141592653589793

# fmt: off
__all__ = [
    "ArrayAt", "ArrayIterator", "ArrayLike", "Device", "DeviceType", "Dtype", "DtypeCategory", "FunctionExporter",
    "PrintOptions", "Stream", "StreamContext", "ThreadLocalStream", "__array_api_version__", "__array_namespace_info__",
    "__version__", "abs", "acos", "acosh", "add", "addmm", "all", "allclose", "any", "append", "arange", "arccos",
    "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "argmax", "argmin", "argpartition", "argsort",
    "argwhere", "array", "array_equal", "array_split", "as_strided", "asarray", "asin", "asinh", "astype", "async_eval",
    "atan", "atan2", "atanh", "atleast_1d", "atleast_2d", "atleast_3d", "average", "bartlett", "bfloat16", "bincount",
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "blackman", "block_masked_mm", "bool", "bool_", "broadcast_arrays", "broadcast_shapes", "broadcast_to", "can_cast",
    "cbrt", "ceil", "checkpoint", "clear_cache", "clear_streams", "clip", "column_stack", "compile", "complex64",
    "complex128", "complexfloating", "compress", "concat", "concatenate", "conj", "conjugate", "contiguous", "conv1d",
    "conv2d", "conv3d", "conv_general", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolve",
    "copysign", "corrcoef", "cos", "cosh", "count_nonzero", "cov", "cpu", "cross", "cuda", "cummax", "cummin",
    "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "custom_function", "default_device", "default_stream",
    "degrees", "depends", "dequantize", "device_count", "device_info", "diag", "diagonal", "diff", "digamma",
    "digitize", "disable_compile", "distributed", "divide", "divmod", "dot", "dstack", "e", "einsum", "einsum_path",
    "empty", "empty_like", "enable_compile", "equal", "erf", "erfc", "erfinv", "euler_gamma", "eval", "exp", "exp2",
    "expand_dims", "expm1", "export_function", "export_to_dot", "exporter", "extract", "eye", "fast", "fft", "finfo",
    "flatnonzero", "flatten", "flip", "fliplr", "flipud", "float16", "float32", "float64", "floating", "floor",
    "floor_divide", "fmax", "fmin", "fmod", "from_dlpack", "from_fp8", "full", "full_like", "gather_mm", "gather_qmm",
    "gather_qqmm", "gcd", "generic", "geomspace", "get_active_memory", "get_array_buffer_size", "get_cache_memory",
    "get_memory_limit", "get_peak_memory", "get_printoptions", "gpu", "grad", "gradient", "greater", "greater_equal",
    "hadamard_transform", "hamming", "hanning", "heaviside", "histogram", "histogram_bin_edges", "hstack", "hypot",
    "identity", "iinfo", "imag", "import_function", "inexact", "inf", "inner", "int8", "int16", "int32", "int64",
    "integer", "interp", "intersect1d", "is_available", "isclose", "isdtype", "isfinite", "isin", "isinf", "isnan",
    "isneginf", "isposinf", "issubdtype", "jvp", "kron", "lcm", "left_shift", "less", "less_equal", "lgamma", "linalg",
    "linspace", "load", "log", "log1p", "log2", "log10", "logaddexp", "logcumsumexp", "logical_and", "logical_not",
    "logical_or", "logical_xor", "logspace", "logsumexp", "matmul", "matrix_norm", "matrix_transpose", "max", "maximum",
    "mean", "median", "meshgrid", "metal", "min", "minimum", "minmax", "moveaxis", "multiply", "nan", "nan_to_num",
    "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin", "nanpercentile",
    "nanprod", "nanquantile", "nanstd", "nansum", "nanvar", "negative", "new_stream", "new_thread_local_stream",
    "new_thread_unsafe_stream", "newaxis", "nextafter", "nonzero", "not_equal", "number", "ones", "ones_like", "outer",
    "pad", "partition", "percentile", "permute_dims", "pi", "piecewise", "polyval", "positive", "pow", "power",
    "printoptions", "prod", "ptp", "put_along_axis", "qqmm", "quantile", "quantize", "quantized_matmul", "radians",
    "random", "ravel", "real", "reciprocal", "remainder", "repeat", "reset_peak_memory", "reshape", "result_type",
    "right_shift", "roll", "rot90", "round", "rsqrt", "save", "save_gguf", "save_safetensors", "savez",
    "savez_compressed", "searchsorted", "segmented_mm", "select", "set_cache_limit", "set_default_device",
    "set_default_stream", "set_memory_limit", "set_printoptions", "set_wired_limit", "setdiff1d", "setxor1d", "sigmoid",
    "sign", "signbit", "signedinteger", "sin", "sinc", "sinh", "slice", "slice_update", "softmax", "sort", "split",
    "sqrt", "square", "squeeze", "stack", "std", "stop_gradient", "stream", "subtract", "sum", "swapaxes",
    "synchronize", "take", "take_along_axis", "tan", "tanh", "tensordot", "tile", "to_fp8", "topk", "trace",
    "transpose", "trapezoid", "tri", "tril", "tril_indices", "triu", "triu_indices", "trunc", "uint8", "uint16",
    "uint32", "uint64", "unflatten", "union1d", "unique", "unique_all", "unique_counts", "unique_inverse",
    "unique_values", "unsignedinteger", "unstack", "value_and_grad", "var", "vdot", "vecdot", "view", "vjp", "vmap",
    "vstack", "where", "zeros", "zeros_like",
]
# fmt: on

for _module in (fast, fft, linalg, random):  # nothing that they are made of
    vars(_module)["__dir__"] = lambda names=_module.__all__: list(names)
