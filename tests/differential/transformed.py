"""Operations of random programs that transform a function: derivatives, batching, compilation, checkpoints."""

from __future__ import annotations

from tests.differential.generator import Generator, Rejected, Value, operation
from tests.differential.programs import FLOATS, Function, Statement

import arrax.core as arrax


def _function(g: Generator, inner: Generator, count: int, *, floating: bool) -> tuple[str, Function]:
    """The last result that depends on an argument, and the function that computes it."""
    arguments = [v.name for v in inner.values[:count]]
    dependent = set(arguments)
    for s in inner.statements:
        if dependent & set(s.uses):
            dependent.add(s.name)
    types = {v.name: v.dtype for v in inner.values}
    fitting = [s.name for s in inner.statements if s.name in dependent and (not floating or types[s.name] in FLOATS)]
    result = fitting[-1] if fitting else ""
    if not result:
        raise Rejected
    wanted, kept = {result}, []
    for s in reversed(inner.statements):
        if s.name in wanted:
            wanted.update(s.uses)
            kept.append(s)
    name = f"f{inner.prefix}".rstrip("_")
    return result, Function(name, tuple(arguments), tuple(kept[::-1]), result)


def _ulps(statements: tuple[Statement, ...]) -> float:
    """How much the results of a function depend on what else is computed: rules may magnify what its parts do."""
    largest = max((max(s.ulps, _ulps(s.function.statements) if s.function else 0) for s in statements), default=0)
    return 64 * largest


def _floats(v: Value) -> bool:
    return v.is_float and v.size > 0 and v.dtype != "float64"


def _arguments(g: Generator, *, floating: bool) -> list[Value]:
    count = g.pick((1, 1, 2))
    first = g.value(lambda v: v.size > 0 and (_floats(v) or not floating))
    return [first, *(g.value(_floats if floating else lambda v: v.size > 0) for _ in range(count - 1))]


def _names(count: int) -> str:
    return ", ".join(f"{{{i}}}" for i in range(count))


def _length(g: Generator) -> int:
    return g.pick((1, 2, 3, 4, 5))


@operation(5, inner=False, grows=True)
def derivative(g: Generator) -> None:
    """Derivatives of a function, in both modes and through other transforms."""
    picked = _arguments(g, floating=True)
    inner = g.inside(picked, _length(g), smooth=True, limit=g.limit)
    _, f = _function(g, inner, len(picked), floating=True)
    k, names, given = g.rng.randrange(len(picked)), ", ".join(f.parameters), _names(len(picked))
    scalar = f"weighted(mx, {f.name}({names}))"
    total, slope = f"lambda {names}: {scalar}", f"mx.grad(lambda {names}: {scalar}, argnums={k})"
    template = g.pick(
        (f"{slope}({given})", f"mx.value_and_grad({total}, argnums={k})({given})[1]", f"mx.compile({slope})({given})",
         f"mx.vjp({f.name}, [{given}], [direction(mx, {f.name}({given}))])[1][{k}]",
         f"mx.jvp({f.name}, [{given}], [{', '.join(f'direction(mx, {{{i}}})' for i in range(len(picked)))}])[1][0]",
         f"mx.grad(lambda {names}: weighted(mx, mx.checkpoint({f.name})({names})), argnums={k})({given})",
         f"mx.grad(lambda {names}: weighted(mx, {slope}({names})), argnums={k})({given})",
         f"mx.grad(lambda {names}: weighted(mx, mx.compile({f.name})({names})), argnums={k})({given})")
    )  # fmt: skip
    alike = f"{slope}({given})" if "grad" in template and "weighted(mx, mx.grad" not in template else None
    g.add(template, picked, ulps=_ulps(f.statements), oracle="derivative", function=f, alike=alike)


@operation(4, inner=False, grows=True)
def batched(g: Generator) -> None:
    """A function mapped over an axis, or its derivative, against a loop over the entries."""
    picked = _arguments(g, floating=False)
    if not picked[0].ndim:
        raise Rejected
    axes: list[int | None] = [g.rng.randrange(picked[0].ndim)]
    count = picked[0].shape[axes[0] or 0]
    if not 0 < count <= 9:
        raise Rejected
    for v in picked[1:]:
        fitting = [i for i, n in enumerate(v.shape) if n == count]
        axes.append(g.pick(fitting) if fitting and g.chance(0.7) else None)
    entries = [v.array if a is None else arrax.take(v.array, 0, axis=a) for v, a in zip(picked, axes, strict=True)]
    samples = [Value(v.name, e, v.exact, v.certain) for v, e in zip(picked, entries, strict=True)]
    smooth = g.chance(0.4)
    inner = g.inside(samples, _length(g), smooth=smooth, limit=max(20, g.limit // count))
    result, f = _function(g, inner, len(picked), floating=smooth)
    called, out = f.name, 0
    if smooth:
        names = ", ".join(f.parameters)
        called = f"mx.grad(lambda {names}: weighted(mx, {f.name}({names})))"
    else:
        ndim = next(v.ndim for v in inner.values if v.name == result)
        out = g.rng.randint(0, ndim)
    given = _names(len(picked))
    places = [f"{{{i}}}" if a is None else f"mx.take({{{i}}}, i, axis={a})" for i, a in enumerate(axes)]
    loop = f"mx.stack([{called}({', '.join(places)}) for i in range({count})], axis={out})"
    template = f"mx.vmap({called}, in_axes={tuple(axes)}, out_axes={out})({given})"
    oracle = "derivative" if smooth else "loose"
    g.add(template, picked, ulps=_ulps(f.statements), oracle=oracle, function=f, alike=loop)


@operation(3, inner=False)
def compiled(g: Generator) -> None:
    """A compiled or checkpointed function, called once or again."""
    picked = _arguments(g, floating=False)
    inner = g.inside(picked, _length(g), smooth=False, limit=g.limit)
    _, f = _function(g, inner, len(picked), floating=False)
    given = _names(len(picked))
    template = g.pick(
        (f"mx.compile({f.name})({given})", f"mx.compile({f.name}, shapeless=True)({given})",
         f"mx.checkpoint({f.name})({given})",
         f"[g({given}) for g in [mx.compile({f.name})] for _ in range(2)][1]")
    )  # fmt: skip
    g.add(template, picked, ulps=_ulps(f.statements), oracle="loose", function=f, alike=f"{f.name}({given})")
