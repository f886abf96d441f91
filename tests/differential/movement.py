"""Operations of random programs that move elements: views, arrangements, gathers, updates, scatters."""

from __future__ import annotations

import math

import numpy as np
from tests.differential.generator import LARGE, Generator, Rejected, Value, operation


def slice_text(g: Generator, n: int) -> str:
    """The text of a slice of an axis of ``n`` elements; it may be empty."""
    if g.chance(0.3):
        return g.pick((":", "::-1", "::2", "::-2", "1:", ":-1"))
    low, high = sorted((g.rng.randrange(n + 1), g.rng.randrange(n + 1)))
    if low == high and g.chance(0.8):
        low, high = 0, n
    step = g.pick((1, 1, 1, 2, 3, -1, -2))
    if step < 0:
        low, high = high - 1, low - 1
        return f"{low}:{high if high >= 0 else ''}:{step}" if low >= 0 else "0:0"
    low_text = low - n if low < n and g.chance(0.2) else low
    return f"{low_text}:{high}" + (f":{step}" if step > 1 else "")


def positions(g: Generator, n: int, shape: tuple[int, ...], *, distinct: bool = False) -> str:
    """The text of an array of valid positions below ``n``."""
    count = math.prod(shape)
    if not n or count > 600:
        raise Rejected
    if distinct:
        chosen = g.rng.sample(range(n), min(n, count))
        shape = (len(chosen),)
    else:
        low = -n if g.chance(0.3) else 0
        chosen = [g.rng.randrange(low, n) for _ in range(count)]
    return f"mx.array({np.array(chosen, int).reshape(shape).tolist()}, mx.{g.pick(('int32', 'int32', 'int64'))})"


def computed_positions(g: Generator, n: int, most: int) -> tuple[str, Value] | None:
    """The text of positions below ``n`` that are computed from a value ``{1}``, and the value."""
    found = [v for v in g.values if v.is_integer and g.is_sure(v) and v.ndim <= 2 and v.size <= most]
    if not found or not n:
        return None
    return f"({{1}} % {min(n, 100)}).astype(mx.int32)", g.pick(found)


def key(g: Generator, a: Value, *, fancy: float, distinct: bool = False) -> str:
    """The text of an index of ``a``."""
    parts: list[str] = []
    arrays, count = 0, g.pick((1, 2, 3, 5))
    for n in a.shape[: g.pick((a.ndim, a.ndim, g.rng.randint(0, a.ndim)))]:
        if n and n not in LARGE and arrays < 2 and g.chance(fancy) and not (distinct and arrays):
            parts.append(positions(g, n, (count,), distinct=distinct))
            arrays += 1
        elif n and g.chance(0.12):
            parts.append(str(g.rng.randrange(-n, n)))
        else:
            parts += (["None"] if g.chance(0.08) and not distinct else []) + [slice_text(g, n)]
    if g.chance(0.1) and not arrays:
        parts.append("...")
    return ", ".join(parts) if parts else "..."


@operation(4, smooth=True)
def reshaping(g: Generator) -> None:
    a = g.value()
    shape = list(a.shape)
    way = g.rng.randrange(4)
    if way == 0 or not shape:
        shape = [a.size]
    elif way == 1 and a.ndim > 1:
        i = g.rng.randrange(a.ndim - 1)
        shape[i : i + 2] = [shape[i] * shape[i + 1]]
    elif way == 2:
        i = g.rng.randrange(a.ndim)
        k = g.pick([k for k in (2, 3, 4, 5, 8, 1) if shape[i] % k == 0])
        shape[i : i + 1] = [k, shape[i] // k] if g.chance(0.5) else [shape[i] // k, k]
    else:
        shape.reverse()
    g.add(f"mx.reshape({{0}}, {tuple(shape)})", [a], certain=True, oracle="exact", numpy=True)


@operation(5, smooth=True)
def transposition(g: Generator) -> None:
    a = g.value(lambda v: v.ndim > 1)
    axes = g.rng.sample(range(a.ndim), a.ndim)
    template = g.pick(
        ("{0}.T", f"mx.transpose({{0}}, {axes})", f"mx.moveaxis({{0}}, {axes[0]}, {axes[1] - a.ndim})",
         f"mx.swapaxes({{0}}, {axes[0]}, {axes[1]})")
    )  # fmt: skip
    g.add(template, [a], certain=True, oracle="exact", numpy=True)


@operation(6, smooth=True)
def slicing(g: Generator) -> None:
    a = g.value()
    g.add(f"{{0}}[{key(g, a, fancy=0)}]", [a], certain=True, oracle="exact", numpy=True)


@operation(3, smooth=True)
def dimensions(g: Generator) -> None:
    a = g.value()
    broadcast = tuple(g.pick(g.sizes) if n == 1 else n for n in a.shape)
    template = g.pick(
        (f"mx.expand_dims({{0}}, {g.rng.randint(-a.ndim - 1, a.ndim)})", "mx.squeeze({0})",
         f"mx.broadcast_to({{0}}, {(*g.pick(((), (2,), (3,))), *broadcast)})", "mx.contiguous({0})", "mx.flatten({0})",
         "mx.atleast_2d({0})")
    )  # fmt: skip
    g.add(template, [a], certain=True, oracle="exact")


@operation(4, smooth=True)
def arrangement(g: Generator) -> None:
    a = g.value(lambda v: v.ndim > 0)
    axis = g.axis(a)
    n = a.shape[axis]
    widths = [(g.pick((0, 0, 1, 2)), g.pick((0, 0, 1, 3))) for _ in a.shape]
    cut = g.rng.randint(1, n - 1) if n > 1 else 1
    templates = [
        f"mx.roll({{0}}, {g.pick((1, -1, 3, -7))}, axis={axis})", f"mx.flip({{0}}, {axis})",
        f"mx.pad({{0}}, {widths})", f"mx.repeat({{0}}, {g.pick((1, 2, 3))}, axis={axis})",
        f"mx.tile({{0}}, {[g.pick((1, 1, 2, 3)) for _ in range(a.ndim)]})",
        f"mx.split({{0}}, [{cut}], axis={axis})[{g.rng.randrange(2)}]",
    ]  # fmt: skip
    if a.size and a.dtype != "bool":
        templates += [f"mx.pad({{0}}, {widths}, mode='edge')", f"mx.pad({{0}}, {widths}, constant_values=1)"]
    if a.ndim > 1:
        templates += [f"mx.tril({{0}}, {g.rng.randint(-2, 2)})", f"mx.triu({{0}}, {g.rng.randint(-2, 2)})"]
        if min(a.shape[-2:]) > 3:
            templates.append(f"mx.diagonal({{0}}, {g.rng.randint(-2, 2)}, -2, -1)")
    if a.ndim == 1 and n < 40:
        templates.append("mx.diag({0})")
    if a.size > 3 and not g.depth:
        width, step = g.pick((1, 2, 3)), g.pick((1, 2))
        templates.append(f"mx.as_strided({{0}}, ({(a.size - width) // step + 1}, {width}), ({step}, 1), 0)")
    g.add(g.pick(templates), [a], certain=True, oracle="exact")


@operation(4, smooth=True)
def joining(g: Generator) -> None:
    a = g.value()
    if g.chance(0.4) or not a.ndim:
        b = g.value(lambda v: v.shape == a.shape)
        axis = g.rng.randint(-a.ndim - 1, a.ndim)
        g.add(f"mx.stack([{{0}}, {{1}}], axis={axis})", [a, b], certain=True, oracle="exact")
        return
    axis = g.axis(a, 0)
    rest = tuple(n for i, n in enumerate(a.shape) if i != axis % a.ndim)

    def fits(v: Value) -> bool:
        return v.ndim == a.ndim and tuple(n for i, n in enumerate(v.shape) if i != axis % a.ndim) == rest

    parts = [a] + [g.value(fits) for _ in range(g.pick((1, 1, 2)))]
    listed = ", ".join(f"{{{i}}}" for i in range(len(parts)))
    g.add(f"mx.concatenate([{listed}], axis={axis})", parts, certain=True, oracle="exact")


@operation(3, smooth=True)
def gathering(g: Generator) -> None:
    a = g.value(lambda v: v.ndim > 0 and v.size > 0)
    g.add(f"{{0}}[{key(g, a, fancy=0.5)}]", [a], certain=True, oracle="exact")


@operation(4, smooth=True)
def taking(g: Generator) -> None:
    a = g.value(lambda v: v.ndim > 0 and v.size > 0)
    axis = g.axis(a)
    n = a.shape[axis]
    computed = computed_positions(g, n, max(1, g.limit * n // a.size)) if g.chance(0.5) else None
    if computed:
        text, v = computed
        g.add(f"mx.take({{0}}, {text}, axis={axis})", [a, v], certain=True, oracle="exact")
    else:
        shape = g.pick(((), (1,), (3,), (n,), (2, 2)))
        g.add(f"mx.take({{0}}, {positions(g, n, shape)}, axis={axis})", [a], certain=True, oracle="exact")


@operation(3, smooth=True)
def taking_along(g: Generator) -> None:
    a = g.value(lambda v: v.ndim > 0 and v.size > 0)
    axis = g.axis(a)
    if g.is_sure(a) and a.dtype != "complex64" and g.chance(0.5):
        index = g.pick((f"mx.argsort({{0}}, axis={axis})", f"mx.argmax({{0}}, axis={axis}, keepdims=True)"))
    else:
        shape = list(a.shape)
        shape[axis] = g.pick((1, 2, 3))
        n = a.shape[axis]
        index = f"(mx.arange({math.prod(shape)}) * 5 % {n}).reshape({tuple(shape)})"
    g.add(f"mx.take_along_axis({{0}}, {index}, axis={axis})", [a], certain=True, oracle="exact")


def _region(a: Value, index: str) -> tuple[int, ...] | None:
    """The shape of what an index of ``a`` selects."""
    try:
        array: np.ndarray = eval(f"array[{index}]".replace("mx.", "np."), {"array": np.empty(a.shape), "np": np})
    except IndexError:
        return None
    return array.shape


@operation(4, smooth=True)
def update(g: Generator) -> None:
    a = g.value(lambda v: v.ndim > 0 and v.size > 0)
    index = key(g, a, fancy=0.3, distinct=True)
    shape = _region(a, index)
    if shape is None:
        raise Rejected
    found = [v for v in g.values if v.dtype == a.dtype and _fits(v.shape, shape)]
    if found and g.chance(0.7):
        b, text = g.pick(found), "{1}"
    else:
        b, text = a, g.pick(("False", "True") if a.dtype == "bool" else ("0", "1", "2"))
    if g.chance(0.6) or a.dtype in ("bool", "complex64"):
        template = f"$ = mx.array({{0}})\n$[{index}] = {text}"
    else:
        how = g.pick(("add", "subtract", "maximum", "minimum", "multiply"))
        template = f"{{0}}.at[{index}].{how}({text})"
    # MLX may crash where nothing is updated
    g.add(template, [a, b], certain=True, oracle="exact" if math.prod(shape) else None)


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


@operation(3, smooth=True)
def scattering(g: Generator) -> None:
    """Updates of places that may be the same: what is added up there, or is the largest."""
    a = g.value(lambda v: v.ndim > 0 and v.size > 0 and v.dtype not in ("bool", "complex64"))
    n = a.shape[0]
    if n in LARGE:
        raise Rejected
    count = g.pick((1, 2, 5, 9))
    shape = (count, *a.shape[1:])
    found = [v for v in g.values if v.dtype == a.dtype and _fits(v.shape, shape)]
    b, text = (g.pick(found), "{1}") if found and g.chance(0.7) else (a, g.pick(("1", "2")))
    how = g.pick(("add", "add", "subtract", "maximum", "minimum"))
    near = "sum" if a.is_float and how in ("add", "subtract") else "exact"
    g.add(f"{{0}}.at[{positions(g, n, (count,))}].{how}({text})", [a, b], certain=near == "exact", oracle=near)


@operation(1.5, smooth=True)
def putting_along(g: Generator) -> None:
    a = g.value(lambda v: v.ndim > 0 and v.size > 0)
    axis = g.axis(a)
    shape = list(a.shape)
    shape[axis] = 1
    index = f"(mx.arange({math.prod(shape)}) * 5 % {a.shape[axis]}).reshape({tuple(shape)})"
    values = f"mx.ones({tuple(shape)}, {{0}}.dtype)"
    g.add(f"mx.put_along_axis({{0}}, {index}, {values}, axis={axis})", [a], certain=True, oracle="exact")


@operation(1)
def starting_somewhere(g: Generator) -> None:
    """A window whose place is computed."""
    a = g.value(lambda v: v.ndim > 0 and v.size > 0)
    axis = g.axis(a) % a.ndim
    n = a.shape[axis]
    shape = list(a.shape)
    shape[axis] = g.rng.randint(1, n)
    start = g.rng.randrange(n - shape[axis] + 1)
    if g.chance(0.5):
        g.add(f"mx.slice({{0}}, mx.array([{start}]), ({axis},), {tuple(shape)})", [a], certain=True, oracle="exact")
    else:
        patch = f"mx.ones({tuple(shape)}, {{0}}.dtype)"
        g.add(f"mx.slice_update({{0}}, {patch}, mx.array([{start}]), ({axis},))", [a], certain=True, oracle="exact")


@operation(1.5, inner=False)
def creation(g: Generator) -> None:
    n, m = g.sizes[0], max(1, g.sizes[-1])
    shape = g.shape()
    template = g.pick(
        (f"mx.arange({n})", f"mx.arange(0, {n}, 0.5)", f"mx.linspace(-1, 1, {n + 1})", f"mx.eye({n % 80}, {m % 80})",
         f"mx.zeros({shape})", f"mx.ones({shape}, mx.int8)", f"mx.full({shape}, 0.1, mx.{g.pick(g.dtypes[:2])})",
         f"mx.tri({n % 80}, {m % 80}, 1)")
    )  # fmt: skip
    if "bool" in template:
        raise Rejected
    g.add(template, [], certain="linspace" not in template)
