"""The operations that random programs are made of: each appends one statement, or raises ``Rejected``."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import mlx.core as mlx
import numpy as np
from tests.differential.programs import (
    DIGITS,
    FLOATS,
    LARGEST,
    SIZES,
    UNSIGNED,
    Grower,
    Program,
    Rejected,
    Value,
)


def _exact(*values: Value) -> bool:
    return all(v.grain is not None for v in values)


def unary_exact(g: Grower) -> None:
    a = g.value(lambda v: v.dtype != "bool")
    name = g.pick(("negative", "abs", "square", "sign", "positive"))
    if name == "negative" and a.dtype in UNSIGNED:
        raise Rejected
    grain = None if a.grain is None else {"square": a.grain**2, "sign": 1.0}.get(name, a.grain)
    if name == "sign" and not a.is_exact:
        raise Rejected
    g.add(f"mx.{name}({{0}})", [a], grain)


SMOOTHS = (
    "mx.exp(mx.minimum({0}, 3))", "mx.sin({0})", "mx.cos({0})", "mx.tanh({0})", "mx.sigmoid({0})",
    "mx.sqrt(mx.abs({0}) + 1)", "mx.rsqrt(mx.square({0}) + 0.5)", "mx.log(mx.square({0}) + 0.5)",
    "mx.log1p(mx.abs({0}))",
    "mx.erf({0})", "mx.arctan({0})", "mx.reciprocal(mx.square({0}) + 1)", "mx.expm1(mx.minimum({0}, 2))",
    "mx.arcsinh({0})", "mx.logaddexp({0}, 0)", "mx.maximum({0}, 0)", "{0} * 0.5", "{0} + 1.5", "2 - {0}",
    "1 / (mx.square({0}) + 2)",
    "mx.sinh(mx.tanh({0}))", "mx.arcsin(mx.tanh({0}) * 0.9)", "mx.log2(mx.square({0}) + 1)", "mx.clip({0}, -1.5, 2)",
    "{0} * mx.sigmoid({0})", "mx.cosh(mx.sin({0}))", "{0} ** 2",
    "(mx.square({0}) + 0.25) ** 0.5", "mx.stop_gradient({0})",
)  # fmt: skip


SATURATING = ("tanh", "sigmoid", "erf", "logaddexp")


def unary_smooth(g: Grower) -> None:
    a = g.float_value()
    text = g.pick(SMOOTHS)
    if any(f in text for f in SATURATING) and np.abs(a.array).max() > 4:
        raise Rejected  # the derivative is a difference of nearly equal numbers
    g.add(text, [a])


def binary(g: Grower) -> None:
    a = g.value(lambda v: v.dtype != "bool")
    b = g.partner(a, lambda v: v.dtype != "bool")
    name = g.pick(("add", "subtract", "multiply", "maximum", "minimum", "add", "multiply"))
    grain = None
    if _exact(a, b):
        grain = a.grain * b.grain if name == "multiply" else min(a.grain, b.grain)
    elif a.is_exact and b.is_exact and (a.grain or b.grain):
        grain = a.grain or b.grain
    g.add(f"mx.{name}({{0}}, {{1}})", [a, b], grain)


def binary_smooth(g: Grower) -> None:
    a = g.float_value()
    b = g.partner(a, lambda v: v.is_float)
    text = g.pick(
        ("{0} / (mx.abs({1}) + 1)", "mx.arctan2({0}, mx.square({1}) + 1)", "mx.logaddexp({0}, {1})",
         "mx.power(mx.square({0}) + 0.5, mx.tanh({1}))", "{0} * {1} + {0}", "mx.where({0} * 0 == 0, {0}, {1})")
    )  # fmt: skip
    if ("tanh" in text and np.abs(b.array).max() > 4) or (
        "logadd" in text and max(np.abs(a.array).max(), np.abs(b.array).max()) > 8
    ):
        raise Rejected
    g.add(text, [a, b])


def scalars(g: Grower) -> None:
    a = g.value(lambda v: v.dtype != "bool")
    k = g.pick((1, 2, 3))
    text = g.pick(
        ("{0} + K", "{0} * K", "K - {0}", "{0} - K", "mx.maximum({0}, K)", "mx.minimum(K, {0})", "mx.clip({0}, 0, K)")
    )
    g.add(text.replace("K", str(k)), [a], a.grain)


def compare(g: Grower) -> None:
    a = g.value(lambda v: v.is_exact)
    b = g.partner(a, lambda v: v.is_exact)
    name = g.pick(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"))
    g.add(f"mx.{name}({{0}}, {{1}})", [a, b])


def logical(g: Grower) -> None:
    a = g.value(lambda v: v.dtype == "bool")
    b = g.partner(a, lambda v: v.dtype == "bool")
    name = g.pick(("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or"))
    g.add(g.pick((f"mx.{name}({{0}}, {{1}})", "mx.logical_not({0})")), [a, b])


def integers(g: Grower) -> None:
    a = g.value(lambda v: v.is_integer)
    b = g.partner(a, lambda v: v.is_integer)
    text = g.pick(
        ("mx.bitwise_and({0}, {1})", "mx.bitwise_or({0}, {1})", "mx.bitwise_xor({0}, {1})", "mx.left_shift({0}, 2)",
         "mx.right_shift({0}, 1)", "{0} // mx.maximum({1}, 1)", "{0} % mx.maximum({1}, 1)", "{0} % 3",
         "{0} // 2", "{0} / 4")
    )  # fmt: skip
    g.add(text, [a, b])


def rounding(g: Grower) -> None:
    a = g.value(lambda v: v.is_float and v.is_exact)
    text, grain = g.pick(
        (("mx.floor({0})", 1), ("mx.ceil({0})", 1), ("mx.round({0})", 1), ("{0} // 0.5", 1), ("{0} % 2", a.grain))
    )
    g.add(text, [a], grain)


def select(g: Grower) -> None:
    a = g.value()
    c = g.partner(a, lambda v: v.is_exact)
    b = g.partner(a)
    grain = min(a.grain, b.grain) if _exact(a, b) else None
    if c.dtype == "bool" and g.chance(0.7):
        g.add("mx.where({0}, {1}, {2})", [c, a, b], grain)
    else:
        text = g.pick(("mx.where({0} > 1, {1}, {2})", "mx.where({0} > 0, {1}, 0)", "mx.where({0} <= 2, 1, {2})"))
        g.add(text, [c, a, b], grain if "{1}, {2}" in text else (b if "{2}" in text else a).grain)


def convert(g: Grower) -> None:
    a = g.value()
    to = g.pick(("float32", "float32", "float16", "bfloat16", "int32", "int8", "uint8", "int64", "bool", "uint32"))
    if to not in FLOATS and not a.is_exact:
        raise Rejected
    if to in UNSIGNED and a.array.min() < 0:
        raise Rejected
    if to in ("int8", "uint8") and np.abs(a.array.astype(np.float64)).max() > 100:
        raise Rejected
    grain = (a.grain if a.is_float else 1.0) if to in FLOATS and a.is_exact else None
    g.add(f"{{0}}.astype(mx.{to if to != 'bool' else 'bool_'})", [a], grain)


def view(g: Grower) -> None:
    a = g.value()
    kind = g.rng.randrange(10)
    if kind == 0:
        axes = list(range(a.ndim))
        g.rng.shuffle(axes)
        text = f"mx.transpose({{0}}, {axes})"
    elif kind == 1:
        text = f"mx.reshape({{0}}, {_factors(g, a.array.size)})"
    elif kind == 2:
        text = f"mx.expand_dims({{0}}, {g.rng.randrange(a.ndim + 1)})"
    elif kind == 3:
        text = "mx.squeeze({0})"
    elif kind == 4:
        text = f"mx.flatten({{0}}, {g.axis(a)}, -1)"
    elif kind == 5:
        text = f"mx.swapaxes({{0}}, {g.axis(a)}, {g.axis(a)})"
    elif kind == 6:
        skip = tuple(g.pick((2, 3, 5)) for _ in range(g.rng.randrange(3)))
        text = f"mx.broadcast_to({{0}}, {(*skip, *[n if n > 1 else g.pick((1, 3, 6)) for n in a.shape])})"
    elif kind == 7:
        text = f"mx.moveaxis({{0}}, {g.axis(a)}, {g.axis(a)})"
    else:
        text = f"{{0}}[{_region(g, a)}]"
    g.add(text, [a], a.grain)


def _factors(g: Grower, n: int) -> tuple[int, ...]:
    result = []
    while n > 1 and len(result) < 3 and g.chance(0.8):
        divisors = [d for d in range(1, n + 1) if n % d == 0]
        d = g.pick(divisors)
        result.append(d)
        n //= d
    result.append(n)
    return tuple(result)


def _slice(g: Grower, n: int) -> str:
    lo, hi = sorted((g.rng.randrange(n + 1), g.rng.randrange(n + 1)))
    if lo == hi:
        lo, hi = 0, n
    step = g.pick((1, 1, 1, 2, 3, -1, -2))
    if step > 0:
        lo_text = str(lo - n if g.chance(0.2) and lo < n else lo) if lo or g.chance(0.3) else ""
        hi_text = str(hi) if hi < n or g.chance(0.3) else ""
    else:
        lo_text = str(hi - 1) if hi < n else ""
        hi_text = str(lo - 1) if lo > 0 else ""
    return f"{lo_text}:{hi_text}" + (f":{step}" if step != 1 else "")


def _region(g: Grower, a: Value) -> str:
    """The text of a basic index."""
    parts = []
    for n in a.shape:
        kind = g.rng.randrange(6)
        if kind == 0:
            parts.append(str(g.rng.randrange(-n, n)))
        elif kind == 1:
            parts.append(":")
        else:
            parts.append(_slice(g, n))
    if g.chance(0.15):
        parts.insert(g.rng.randrange(len(parts) + 1), "None")
    if parts and g.chance(0.2):
        parts[-1] = "..."
    return ", ".join(parts) if parts else "..."


def layout(g: Grower) -> None:
    a = g.value(lambda v: v.ndim > 0)
    grain = a.grain
    kind = g.rng.randrange(9)
    if kind == 0:
        text = f"mx.tile({{0}}, {tuple(g.pick((1, 2, 3)) for _ in a.shape)})"
    elif kind == 1:
        text = f"mx.repeat({{0}}, {g.pick((2, 3))}, {g.axis(a)})"
    elif kind == 2:
        widths = [(g.rng.randrange(3), g.rng.randrange(3)) for _ in a.shape]
        text = f"mx.pad({{0}}, {widths}{g.pick(('', ', 1'))})" if a.dtype != "bool" else f"mx.pad({{0}}, {widths})"
    elif kind == 3:
        text = f"mx.roll({{0}}, {g.rng.randint(-3, 3)}, {g.axis(a)})"
    elif kind == 4:
        axis = g.axis(a)
        n = g.pick([k for k in (1, 2, 3, 5) if a.shape[axis] % k == 0])
        text = f"mx.split({{0}}, {n}, {axis})[{g.rng.randrange(n)}]"
    elif kind == 5 and a.ndim >= 2:
        text = g.pick((f"mx.tril({{0}}, {g.rng.randint(-1, 1)})", f"mx.triu({{0}}, {g.rng.randint(-1, 1)})"))
        if a.dtype == "bool":
            raise Rejected
    elif kind == 6 and a.ndim == 2:
        text = "mx.diag({0})"
    elif kind == 7 and a.ndim >= 2:
        text = "mx.diagonal({0})"
    else:
        text = f"mx.flip({{0}}, {g.axis(a)})" if hasattr(mlx, "flip") else "mx.contiguous({0})"
    g.add(text, [a], grain)


def join(g: Grower) -> None:
    a = g.value()
    if g.chance(0.4):
        b = g.value(lambda v: v.shape == a.shape)
        grain = min(a.grain, b.grain) if _exact(a, b) else None
        g.add(f"mx.stack([{{0}}, {{1}}], {g.rng.randrange(a.ndim + 1)})", [a, b], grain)
        return
    if not a.ndim:
        raise Rejected
    axis = g.axis(a) % a.ndim

    def fits(v: Value) -> bool:
        return v.ndim == a.ndim and all(
            i == axis or m == n for i, (m, n) in enumerate(zip(v.shape, a.shape, strict=True))
        )

    if g.chance(0.3):
        shape = tuple(g.pick(g.sizes[:8]) if i == axis else n for i, n in enumerate(a.shape))
        if math.prod(shape) <= LARGEST:
            g.new_input(a.dtype, shape)
    parts = [a] + [g.value(fits) for _ in range(g.pick((1, 1, 2)))]
    grain = min(v.grain for v in parts) if _exact(*parts) else None
    g.add(f"mx.concatenate([{', '.join(f'{{{i}}}' for i in range(len(parts)))}], {axis})", parts, grain)


def reduction(g: Grower) -> None:
    a = g.value(lambda v: v.dtype != "bool")
    keep = g.pick(("", ", keepdims=True"))
    axes: Any = None if g.chance(0.2) else g.axes(a)
    if axes is not None and len(axes) == 1:
        axes = axes[0]
    count = a.array.size if axes is None else int(np.prod([a.shape[i] for i in np.atleast_1d(np.array(axes, int))]))
    name = g.pick(
        ("sum", "sum", "mean", "max", "min", "logsumexp", "var", "prod", "std", "argmax", "argmin", "all", "any")
    )
    text = f"mx.{name}({{0}}, {axes}{keep})"
    if name in ("argmax", "argmin"):
        if not a.is_exact or isinstance(axes, tuple) or not a.ndim:
            raise Rejected
        g.add(text, [a])
    elif name in ("all", "any"):
        if not a.is_exact or g.smooth:
            raise Rejected
        g.add(text, [a])
    elif name in ("max", "min"):
        g.add(text, [a], a.grain)
    elif name == "sum":
        exact = a.grain is not None and np.abs(a.array).sum() / a.grain < 1 << (DIGITS[a.dtype] - 1)
        if a.is_float and not exact and a.dtype != "float32":
            raise Rejected
        g.add(text, [a], a.grain if exact else None)
    elif not a.is_float:
        raise Rejected
    elif name == "prod":
        if count > 64:
            raise Rejected
        g.add(f"mx.prod(mx.sin({{0}}) + 1.25, {axes}{keep})" if g.chance(0.5) else text, [a])
    else:
        if a.dtype != "float32" and count > 64:
            raise Rejected
        if name == "std":
            text = f"mx.sqrt(mx.var({{0}}, {axes}{keep}) + 0.5)"
        g.add(text, [a])


def normalise(g: Grower) -> None:
    a = g.value(lambda v: v.is_float and v.ndim > 0)
    axis = g.axis(a)
    text = g.pick(
        (f"mx.softmax({{0}}, {axis})", f"mx.softmax({{0}}, {axis}, precise=True)",
         f"{{0}} - mx.logsumexp({{0}}, {axis}, keepdims=True)", f"{{0}} - mx.mean({{0}}, {axis}, keepdims=True)",
         f"({{0}} - mx.mean({{0}}, {axis}, keepdims=True)) * mx.rsqrt(mx.var({{0}}, {axis}, keepdims=True) + 0.5)",
         f"{{0}} * mx.rsqrt(mx.mean(mx.square({{0}}), {axis}, keepdims=True) + 0.5)",
         "mx.fast.rms_norm({0}, None, 0.5)", "mx.fast.layer_norm({0}, None, None, 0.5)",
         f"{{0}} / (1 + mx.sum(mx.abs({{0}}), {axis}, keepdims=True))")
    )  # fmt: skip
    g.add(text, [a])


def call(g: Grower) -> None:
    """A compiled function, or one of those that are recorded whole."""
    a = g.value(lambda v: v.is_float and v.ndim > 0 and v.array.size > 0)
    n, kind = a.shape[-1], g.rng.randrange(7)
    if kind == 0:
        g.add(f"mx.compile(lambda a: (mx.tanh(a) * 2, a + 1))({{0}})[{g.pick((0, 1))}]", [a])
    elif kind == 1:
        g.add("sum(mx.compile(lambda a: (a * 0.5, mx.mean(a, axis=-1, keepdims=True), a[..., ::-1]))({0}))", [a])
    elif kind == 2:
        b = g.partner(a, lambda v: v.is_float)
        g.add(f"mx.compile(lambda a, b: (a * mx.sin(b), a - b))({{0}}, {{1}})[{g.pick((0, 1))}]", [a, b])
    elif kind == 3:
        w = g.new_input(a.dtype, (n,))
        g.add(g.pick(("mx.fast.rms_norm({0}, {1}, 0.5)", "mx.fast.layer_norm({0}, {1}, None, 0.5)")), [a, w])
    elif kind == 4 and n > 1:
        form = f"{n // 2 * 2}, traditional={g.chance(0.5)}, base=100.0, scale=0.5, offset={g.pick((0, 3))}"
        g.add(f"mx.fast.rope(mx.reshape({{0}}, (1, -1, {n})), {form}).reshape({a.shape})", [a])
    elif kind == 5 and a.array.size // n <= 64 and a.dtype == "float32":
        x = f"mx.reshape({{0}}, (1, 1, -1, {n}))"
        mask = g.pick(("None", "'causal'"))
        g.add(
            f"mx.fast.scaled_dot_product_attention({x}, mx.sin({x}), {x}, scale=0.3, mask={mask}).reshape({a.shape})",
            [a],
        )
    else:
        times = g.pick((2, 3, 4, 8))
        g.add(f"mx.expand_dims({{0}}, -1) * (mx.arange({times}) + 1).astype({{0}}.dtype)", [a])


def scan(g: Grower) -> None:
    a = g.value(lambda v: v.dtype != "bool" and v.ndim > 0)
    axis = g.axis(a)
    flags = g.pick(("", "", ", reverse=True", ", inclusive=False", ", reverse=True, inclusive=False"))
    name = g.pick(("cumsum", "cumsum", "cummax", "cummin", "cumprod", "logcumsumexp"))
    if name in ("cummax", "cummin") and "inclusive" in flags:
        raise Rejected  # infinite where nothing has been seen yet
    if name in ("cumprod", "logcumsumexp"):
        if not a.is_float or a.shape[axis] > 33 or "inclusive" in flags:
            raise Rejected
        g.add(f"mx.{name}(mx.sin({{0}}) + 1.25, axis={axis}{flags})", [a])
        return
    exact = a.grain is not None and np.abs(a.array).sum() / a.grain < 1 << (DIGITS[a.dtype] - 1)
    if a.is_float and not exact and a.dtype != "float32" and name == "cumsum":
        raise Rejected
    g.add(f"mx.{name}({{0}}, axis={axis}{flags})", [a], a.grain if exact or name != "cumsum" else None)


def product(g: Grower) -> None:
    a = g.value(lambda v: v.is_float and v.ndim > 0)
    n = a.shape[-1]
    fitting = [v for v in g.values if v.is_float and v.ndim > 0 and v.shape[-min(2, v.ndim)] == n]
    if fitting and g.chance(0.5):
        b, text = g.pick(fitting), "{0} @ {1}"
    elif g.chance(0.4):
        b = g.value(lambda v: v.is_float and v.ndim > 1 and v.shape[-1] == n)
        text = "{0} @ mx.swapaxes({1}, -1, -2)"
    elif g.chance(0.3) and a.ndim > 1:
        b, text = a, g.pick(("mx.swapaxes({0}, -1, -2) @ {1}", "{0} @ mx.swapaxes({1}, -1, -2)", "mx.inner({0}, {1})"))
    elif g.chance(0.2):
        b, text = g.value(lambda v: v.is_float and v.ndim == 1), "mx.outer({0}, {1})"
        if a.ndim > 1:
            raise Rejected
    else:
        b = g.new_input(a.dtype, (n, g.pick(g.sizes[:12])))
        text = g.pick(("{0} @ {1}", "{0} @ {1}", "mx.addmm(mx.sum({0}), {0}, {1})", "mx.tensordot({0}, {1}, 1)"))
    largest = np.abs(a.array).max() * np.abs(b.array).max() * n
    if {a.dtype, b.dtype} != {"float32"} and (n > 64 or largest > 1000):
        raise Rejected
    exact = _exact(a, b) and "addmm" not in text
    if exact:
        exact = largest / (a.grain * b.grain) < 1 << 23
    g.add(text, [a, b], a.grain * b.grain if exact else None)


def _indices(g: Grower, n: int, shape: tuple[int, ...]) -> str:
    """The text of an array of valid indices, data of the program's own or computed from some integer value."""
    integers = [
        v
        for v in g.values
        if v.is_integer and v.dtype not in ("int8", "uint8") and v.array.size <= 64 and v.shape == shape
    ]
    if integers and g.chance(0.7):
        return f"{g.pick(integers).name} % {n}"
    low = -n if g.chance(0.3) else 0
    flat = [g.rng.randrange(low, n) for _ in range(math.prod(shape))]
    return f"mx.array({np.array(flat).reshape(shape).tolist()})"


def gather(g: Grower) -> None:
    a = g.value(lambda v: v.ndim > 0)
    axis = g.axis(a)
    n = a.shape[axis]
    kind = g.rng.randrange(5)
    if kind == 0:
        shape = tuple(g.pick((1, 2, 3, 5)) for _ in range(g.pick((0, 1, 1, 2))))
        text = f"mx.take({{0}}, {_indices(g, n, shape)}, {axis})"
    elif kind == 1:
        shape = list(a.shape)
        shape[axis] = g.pick((1, 2, 3, 7))
        if math.prod(shape) > 64:
            integers = [
                v for v in g.values if v.is_integer and v.dtype not in ("int8", "uint8") and v.shape == tuple(shape)
            ]
            if not integers:
                v = g.new_input("int32", tuple(shape))
                integers = [v]
            i = g.pick(integers)
            g.add(f"mx.take_along_axis({{0}}, {{1}} % {n}, {axis})", [a, i], a.grain)
            return
        text = f"mx.take_along_axis({{0}}, {_indices(g, n, tuple(shape))}, {axis})"
    elif kind == 2:
        i = g.value(lambda v: v.is_integer and v.dtype not in ("int8", "uint8"))
        g.add(f"{{0}}[{{1}} % {a.shape[0]}]", [a, i], a.grain)
        return
    elif kind == 3 and a.ndim >= 2:
        k = g.pick((1, 3, 4))
        text = f"{{0}}[{_indices(g, a.shape[0], (k,))}, {_indices(g, a.shape[1], (k,))}]"
    elif kind == 4 and a.ndim >= 2:
        text = f"{{0}}[{_slice(g, a.shape[0])}, {_indices(g, a.shape[1], (g.pick((2, 5)),))}]"
    else:
        text = f"{{0}}[{_indices(g, a.shape[0], (3,))}]"
    uses = [a] + [v for v in g.values if f"{v.name} %" in text]
    g.add(text, uses, a.grain)


def update(g: Grower) -> None:
    a = g.value(lambda v: v.ndim > 0 and v.dtype != "bool")
    region = _region(g, a)
    kind = g.rng.randrange(7)
    if "None" in region or (kind >= 3 and g.chance(0.4)):
        region = _indices(g, a.shape[0], (g.pick((1, 3, 5)),))
        indexed = True
    else:
        indexed = False
    used = [v for v in g.values if f"{v.name} %" in region]
    try:
        target = g.live[a.name][eval(region_expression(region), {"mx": mlx, **g.live})]
    except (ValueError, IndexError) as error:
        raise Rejected from error
    shape = tuple(target.shape)

    def fits(v: Value) -> bool:
        try:
            return v.dtype == a.dtype and np.broadcast_shapes(v.shape, shape) == shape
        except ValueError:
            return False

    if kind == 0:
        value, uses, grain = "2", [], a.grain
    else:
        if g.chance(0.4):
            g.new_input(a.dtype, tuple(n if g.chance(0.7) else 1 for n in shape)[g.pick((0, 0, 1)) :])
        v = g.value(fits)
        value, uses = "{1}", [v]
        grain = min(a.grain, v.grain) if _exact(a, v) else None
    if kind < 3:
        if indexed and kind:  # which one of several values for one place stays is not defined
            raise Rejected
        lines = ["$ = mx.array({0})", f"$[{region}] = {value}"]
    else:
        how = g.pick(("add", "add", "subtract", "maximum", "minimum", "multiply"))
        if how == "multiply":
            grain = None
        lines = [f"$ = {{0}}.at[{region}].{how}({value})"]
    g.add(lines, [a, *uses, *used], grain)


def region_expression(region: str) -> str:
    return f"(lambda: __import__('numpy').s_[{region}])()"


def sorting(g: Grower) -> None:
    a = g.value(lambda v: v.is_exact and v.ndim > 0 and v.dtype != "bool")
    axis = g.axis(a)
    g.add(g.pick((f"mx.sort({{0}}, {axis})", f"mx.topk({{0}}, 1, {axis})")), [a], a.grain)


def source(g: Grower) -> None:
    shape = g.shape()
    text, grain = g.pick(
        ((f"mx.zeros({shape})", 1.0), (f"mx.full({shape}, 1.5)", 0.5), (f"mx.ones({shape}, mx.float16)", 1.0),
         (f"mx.arange({g.pick(g.sizes)})", None), (f"mx.arange({g.pick(g.sizes)}, dtype=mx.float32)", 1.0),
         (f"mx.eye({g.pick((1, 4, 17))})", 1.0))
    )  # fmt: skip
    g.add(text, [], grain)


SMOOTH = (
    unary_smooth, unary_smooth, unary_smooth, binary, binary, binary_smooth, scalars, select, view, view, view, layout,
    join,    reduction, reduction, normalise, normalise, call, call, scan, product, product, gather, update,
)  # fmt: skip
ALL = (
    *SMOOTH, unary_exact, binary, view, compare, logical, integers, rounding, select, convert, reduction, sorting,
    source,
)  # fmt: skip


def grow(seed: int, *, smooth: bool = False, length: int | None = None, sizes: Sequence[int] = SIZES) -> Program:
    """The program of a number; the same at every call."""
    rng = random.Random(seed)
    while True:
        try:
            grower = Grower(rng, smooth=smooth, sizes=sizes)
            return grower.grow(length or rng.choice((3, 5, 8, 12, 18, 25)), SMOOTH if smooth else ALL)
        except Rejected:
            continue
