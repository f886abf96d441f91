"""Operations of random programs that combine elements: reductions, scans, sorts, products, layers, random numbers."""

from __future__ import annotations

import math

from tests.differential.generator import Generator, Rejected, Value, operation
from tests.differential.programs import FLOATS, HALVES


def axes_text(g: Generator, a: Value) -> str:
    if not a.ndim or g.chance(0.15):
        return "None"
    return str(g.axes(a)) if g.chance(0.25) else str(g.rng.randrange(-a.ndim, a.ndim))


@operation(6, smooth=True, grows=True)
def reduction(g: Generator) -> None:
    a = g.floating(lambda v: v.size > 0)
    name = g.pick(("sum", "sum", "mean", "mean", "max", "min", "var", "std", "logsumexp", "prod"))
    axes = axes_text(g, a)
    rest = f"axis={axes}, keepdims={g.chance(0.5)}"
    if name == "std":  # its derivative has no bound at 0
        g.add(f"mx.sqrt(mx.var({{0}}, {rest}) + 0.1)", [a], oracle="sum")
    elif name == "prod":
        g.add(f"mx.prod(mx.tanh({{0}}) + 0.8, {rest})", [a], oracle="sum" if a.size <= 64 else None)
    elif name in ("max", "min"):
        g.add(f"mx.{name}({{0}}, {rest})", [a], certain=True, oracle="exact", numpy=True)
    else:
        g.add(f"mx.{name}({{0}}, {rest})", [a], oracle="sum", numpy=name != "logsumexp")


@operation(4)
def whole_reduction(g: Generator) -> None:
    """A reduction whose order does not matter."""
    a = g.sure(lambda v: v.dtype != "complex64")
    names = ["all", "any"]
    if a.size:
        names += ["max", "min"]
        if not a.is_float:
            names += ["sum", "prod"]
    name = g.pick(names)
    g.add(f"mx.{name}({{0}}, axis={axes_text(g, a)}, keepdims={g.chance(0.5)})", [a], certain=True, oracle="exact")


@operation(3)
def position(g: Generator) -> None:
    a = g.sure(lambda v: v.size > 0 and v.dtype != "complex64")
    axis = g.axis(a) if a.ndim and g.chance(0.8) else None
    name = g.pick(("argmax", "argmin"))
    g.add(f"mx.{name}({{0}}, axis={axis}, keepdims={g.chance(0.5)})", [a], certain=True, oracle="exact")


@operation(4, smooth=True, grows=True)
def scan(g: Generator) -> None:
    a = g.value(lambda v: v.ndim > 0 and v.size > 0 and v.dtype not in ("bool", "complex64"))
    name = g.pick(("cumsum", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"))
    if name == "logcumsumexp" and not a.is_float:
        name = "cumsum"
    if g.smooth and name == "cumprod":
        raise Rejected
    order_matters = a.is_float and name not in ("cummax", "cummin")
    operand = "mx.tanh({0})" if name == "cumprod" and a.is_float else "{0}"
    inclusive = name not in ("cumsum", "cumprod") or g.chance(0.7)
    rest = f"axis={g.axis(a)}, reverse={g.chance(0.5)}, inclusive={inclusive}"
    near: str | None = "sum" if order_matters else "exact"
    if a.is_half:
        near = None  # MLX rounds at every step, and forgets what is not a number
    g.add(f"mx.{name}({operand}, {rest})", [a], certain=not order_matters, oracle=near)


@operation(3)
def sorting(g: Generator) -> None:
    a = g.sure(lambda v: v.ndim > 0 and v.size > 0 and v.dtype != "complex64")
    axis = g.axis(a, 2)
    k = g.rng.randint(1, a.shape[axis] - 1)
    template = g.pick(
        (f"mx.sort({{0}}, axis={axis})", f"mx.argsort({{0}}, axis={axis})",
         f"mx.sort(mx.topk({{0}}, {k}, axis={axis}), axis={axis})", f"mx.median({{0}}, axis={axis})",
         f"mx.sort(mx.partition({{0}}, {k}, axis={axis}), axis={axis})",
         f"mx.sort(mx.take_along_axis({{0}}, mx.argpartition({{0}}, {k}, axis={axis}), axis={axis}), axis={axis})")
    )  # fmt: skip
    g.add(template, [a], certain="median" not in template, oracle="near" if "median" in template else "exact")


@operation(1, smooth=True)
def smooth_sorting(g: Generator) -> None:
    a = g.floating(lambda v: v.ndim > 0 and v.size > 0)
    g.add(f"mx.sort({{0}}, axis={g.axis(a)})", [a], certain=True, oracle="exact")


@operation(1)
def searching(g: Generator) -> None:
    a = g.sure(lambda v: v.ndim == 1 and v.size > 0 and v.dtype != "complex64")
    b = g.sure(lambda v: v.dtype == a.dtype)
    g.add(f"mx.searchsorted(mx.sort({{0}}), {{1}}, side='{g.pick(('left', 'right'))}')", [a, b], certain=True)


@operation(4, smooth=True)
def normalisation(g: Generator) -> None:
    a = g.floating(lambda v: v.ndim > 0 and v.size > 0)
    n, axis = a.shape[-1], g.axis(a)
    weight = f"(mx.cos(mx.arange({n})) + 1.2).astype({{0}}.dtype)"
    first, second = (weight if g.chance(0.5) else "None" for _ in range(2))
    templates = [
        f"mx.softmax({{0}}, axis={axes_text(g, a)})", f"mx.softmax({{0}}, axis={axis}, precise=True)",
        f"{{0}} - mx.logsumexp({{0}}, axis={axis}, keepdims=True)",
        f"{{0}} - mx.mean({{0}}, axis={axis}, keepdims=True)",
        f"{{0}} * mx.rsqrt(mx.mean(mx.square({{0}}), axis={axis}, keepdims=True) + 0.5)",
    ]  # fmt: skip
    if a.dtype != "float64":
        templates += [f"mx.fast.rms_norm({{0}}, {first}, 0.01)", f"mx.fast.layer_norm({{0}}, {first}, {second}, 0.01)"]
    g.add(g.pick(templates), [a], oracle="sum")


# --- products ---------------------------------------------------------------------------------------------------------
def _product(g: Generator, template: str, a: Value, b: Value, terms: int) -> None:
    """A sum of so many products: a library adds them up in an order of its own."""
    g.add(template, [a, b], ulps=2.0 + math.sqrt(terms), oracle="sum")


def _real_number(v: Value) -> bool:
    return v.is_float and v.size > 0


@operation(5, smooth=True, grows=True)
def product(g: Generator) -> None:
    a = g.floating(lambda v: v.ndim > 0 and v.size > 0)
    n = a.shape[-1]
    if g.chance(0.3) and not g.depth:
        before = a.shape[:-2] if g.chance(0.3) else ()
        g.new_input(g.pick((a.dtype, a.dtype, *g.dtypes[:3])), (*before, n, g.pick(g.sizes) or 3), "plain")
    fitting = [v for v in g.values if _real_number(v) and v.ndim > 0 and v.shape[-min(2, v.ndim)] == n]
    flipped = [v for v in g.values if _real_number(v) and v.ndim > 1 and v.shape[-1] == n]
    if fitting and g.chance(0.6):
        b = g.pick(fitting)
        template = "mx.inner({0}, {1}.T)" if b.ndim == 2 and a.ndim > 1 and g.chance(0.2) else "{0} @ {1}"
    else:
        b = g.pick(flipped)
        template = "{0} @ mx.swapaxes({1}, -1, -2)"
    if a.size * (b.size // n) > 20 * g.limit:
        raise Rejected
    _product(g, template, a, b, n)


@operation(2, smooth=True, grows=True)
def product_and_sum(g: Generator) -> None:
    a = g.floating(lambda v: v.ndim == 2 and v.size > 0)
    rows, n = a.shape
    b = g.value(lambda v: _real_number(v) and v.ndim == 2 and v.shape[0] == n)
    if rows * b.shape[1] > g.limit:
        raise Rejected
    template = g.pick(
        ("mx.addmm(mx.ones((1,), {0}.dtype), {0}, {1}, alpha=0.5, beta=2.0)", "mx.einsum('ij,jk->ik', {0}, {1})",
         "mx.einsum('ij,jk->ki', {0}, {1})", "mx.einsum('ij,jk->k', {0}, {1})", "mx.einsum('ij,jk->', {0}, {1})",
         "mx.tensordot({0}, {1}, 1)", "mx.einsum('ij,jk->i', {0}, {1})")
    )  # fmt: skip
    _product(g, template, a, b, n)


@operation(1)
def integer_product(g: Generator) -> None:
    a = g.sure(lambda v: v.is_integer and v.ndim > 0 and v.size > 0)
    b = g.sure(lambda v: v.dtype == a.dtype and v.ndim in (1, 2) and v.shape[0] == a.shape[-1] and v.size > 0)
    g.add("{0} @ {1}", [a, b], certain=True, oracle="exact", numpy=True)


@operation(1, smooth=True, grows=True)
def outer_product(g: Generator) -> None:
    a = g.floating(lambda v: v.ndim == 1)
    b = g.floating(lambda v: v.ndim == 1 and v.size * a.size <= g.limit)
    g.add("mx.outer({0}, {1})", [a, b], certain=True, oracle="exact")


@operation(1, grows=True)
def complex_product(g: Generator) -> None:
    a = g.value(lambda v: v.dtype == "complex64" and v.ndim > 0 and v.size > 0)
    if not g.depth and g.chance(0.7):
        g.new_input("complex64", (a.shape[-1], g.pick(g.sizes) or 3), "plain")
    b = g.value(lambda v: v.dtype == "complex64" and v.ndim in (1, 2) and v.shape[0] == a.shape[-1] and v.size > 0)
    _product(g, "{0} @ {1}", a, b, a.shape[-1])


@operation(2, smooth=True, grows=True)
def convolution(g: Generator) -> None:
    if not g.depth and g.chance(0.7):
        shape = (g.pick((1, 2)), *g.pick(((5,), (9,), (4, 6), (7, 3))), g.pick((1, 2, 3, 4, 8)))
        g.new_input(g.pick(("float32", *HALVES)), shape, "plain")
    a = g.floating(lambda v: v.ndim in (3, 4) and v.size > 0 and min(v.shape[1:-1]) >= 3 and v.dtype != "float64")
    channels, spatial = a.shape[-1], a.ndim - 2
    k, out = g.pick((1, 2, 3)), g.pick((1, 2, 3))
    if math.prod(a.shape[:-1]) * out > g.limit:
        raise Rejected
    groups = channels if channels in (2, 3, 4, 8) and g.chance(0.3) else 1
    shape = (out * groups, *[k] * spatial, channels // groups)
    weight = f"mx.sin(mx.arange({math.prod(shape)})).reshape({shape}).astype({{0}}.dtype)"
    dilation = g.pick((1, 2)) if min(a.shape[1:-1]) > 5 else 1
    rest = f"stride={g.pick((1, 1, 2))}, padding={g.pick((0, 1))}, dilation={dilation}, groups={groups}"
    template = f"mx.conv{spatial}d({{0}}, {weight}, {rest})"
    if g.chance(0.2) and groups == 1:
        template = f"mx.conv_transpose{spatial}d({{0}}, {weight}, stride={g.pick((1, 2))}, padding={min(k - 1, 1)})"
    _product(g, template, a, a, k**spatial * channels)


@operation(2, smooth=True)
def attention(g: Generator) -> None:
    length, heads = g.pick((1, 5, 17)), g.pick((1, 2))
    if not g.depth and g.chance(0.7):
        g.new_input(g.pick(("float32", *HALVES)), (g.pick((1, 2)), heads, length, g.pick((8, 16))), "plain")

    def fits(v: Value) -> bool:
        return v.ndim == 4 and v.size > 0 and v.dtype != "float64" and v.size * v.shape[2] < 20 * g.limit

    q = g.floating(fits)
    n = q.shape[2]
    pattern = f"(mx.arange({n * n}) % 3 > 0).reshape({n}, {n}) | mx.eye({n}).astype(mx.bool_)"
    mask = g.pick(("None", "'causal'", pattern, f"mx.sin(mx.arange({n})).astype({{0}}.dtype)"))
    if n > 40 and mask == pattern:
        mask = "None"
    template = "mx.fast.scaled_dot_product_attention({0}, mx.sin({0}), {0} * 0.5, scale=%s, mask=%s)"
    _product(g, template % (g.pick((0.3, 1.0)), mask), q, q, max(n, q.shape[3]))


@operation(1, smooth=True)
def rotation(g: Generator) -> None:
    a = g.floating(lambda v: v.ndim > 2 and v.size > 0 and v.shape[-1] >= 4 and v.dtype != "float64")
    rest = f"traditional={g.chance(0.5)}, base=100.0, scale=1.0, offset={g.pick((0, 3))}"
    g.add(f"mx.fast.rope({{0}}, {a.shape[-1] // 2 * 2}, {rest})", [a], oracle="sum")


@operation(1.5)
def quantized_product(g: Generator) -> None:
    bits, group, transposed = g.pick((2, 3, 4, 5, 6, 8)), g.pick((32, 64)), g.chance(0.6)
    columns = group * g.pick((1, 2))
    rows = g.pick((8, 16, 24)) if transposed else columns
    n = columns if transposed else rows
    if not g.depth and g.chance(0.7):
        g.new_input(g.pick(("float32", *HALVES)), (g.pick((1, 3, 9)), n), "plain")
    a = g.floating(lambda v: v.ndim > 0 and v.size > 0 and v.shape[-1] == n and v.dtype != "float64")
    weight = f"mx.sin(mx.arange({rows * columns})).reshape({rows}, {columns}).astype({{0}}.dtype)"
    options = f"group_size={group}, bits={bits}"
    template = f"mx.quantized_matmul({{0}}, *mx.quantize({weight}, {options}), transpose={transposed}, {options})"
    _product(g, template, a, a, n)


@operation(1)
def matrix_function(g: Generator) -> None:
    def fits(v: Value) -> bool:
        return v.ndim > 1 and v.shape[-1] == v.shape[-2] and 0 < v.shape[-1] < 20 and v.size > 0

    if not g.depth and g.chance(0.7):
        size = g.pick((1, 2, 3, 7))
        g.new_input(g.pick(("float32", "float64")), (*g.pick(((), (2,))), size, size), "plain")
    a = g.value(lambda v: v.dtype in ("float32", "float64") and fits(v))
    n = a.shape[-1]
    regular = f"mx.tanh(mx.where({{0}} == {{0}}, {{0}}, 1)) + {n + 2} * mx.eye({n}, dtype={{0}}.dtype)"
    template = g.pick(
        (f"mx.linalg.inv({regular})", f"mx.linalg.solve({regular}, {{0}})", f"mx.linalg.det({regular} / {n + 2})",
         f"mx.linalg.cholesky(({regular}) + mx.swapaxes({regular}, -1, -2))", f"mx.linalg.qr({regular})[1]",
         f"mx.linalg.svd({regular}, compute_uv=False)")
    )  # fmt: skip
    g.add(template, [a], oracle=None if "qr" in template else "loose")


@operation(1, smooth=True, grows=True)
def norm(g: Generator) -> None:
    a = g.floating(lambda v: v.ndim > 0 and v.size > 0)
    g.add(f"mx.linalg.norm({{0}}, axis={g.axis(a)}, keepdims={g.chance(0.5)})", [a], oracle="sum")


@operation(1, grows=True)
def fourier_transform(g: Generator) -> None:
    a = g.value(lambda v: v.ndim > 0 and v.size > 0 and v.dtype in ("float32", "complex64"))
    axis = g.axis(a, 2)
    names = ["fft", "ifft"] if a.dtype == "complex64" else ["fft", "ifft", "rfft"]
    g.add(f"mx.fft.{g.pick(names)}({{0}}, axis={axis})", [a], oracle="loose")


@operation(1, smooth=True, grows=True)
def hadamard(g: Generator) -> None:
    a = g.floating(
        lambda v: v.ndim > 0 and v.size > 0 and v.shape[-1] in (2, 4, 8, 16, 32, 64) and v.dtype != "float64"
    )
    _product(g, "mx.hadamard_transform({0})", a, a, a.shape[-1])


@operation(2, inner=False)
def random_numbers(g: Generator) -> None:
    key, shape = f"key=mx.random.key({g.rng.randrange(1000)})", g.shape()
    name = g.pick(FLOATS[:1] + HALVES)
    template, oracle = g.pick(
        ((f"mx.random.uniform(-1, 1, {shape}, mx.{name}, {key})", "random"),
         (f"mx.random.normal({shape}, mx.{name}, {key})", "random"),
         (f"mx.random.randint(-5, 9, {shape}, {key})", "exact"),
         (f"mx.random.bernoulli(0.4, {shape}, {key})", "exact"), (f"mx.random.gumbel({shape}, {key})", "random"),
         (f"mx.random.truncated_normal(-1, 1, {shape}, {key})", "random"),
         (f"mx.random.permutation({max(1, g.sizes[0])}, {key})", "exact"))
    )  # fmt: skip
    g.add(template, [], certain=oracle == "exact", oracle=oracle)
