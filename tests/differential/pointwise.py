"""Operations of random programs that take one element of each operand: arithmetic, functions, comparisons, types."""

from __future__ import annotations

from tests.differential.generator import Generator, Rejected, Value, is_unsigned, operation
from tests.differential.programs import DTYPES, FLOATS, HALVES, INTEGERS, UNSIGNED

# Functions, and what their arguments are made of, so that they are defined and do not overflow at once.
FUNCTIONS = (
    *("mx.tanh({0})", "mx.sin({0})", "mx.cos({0})", "mx.sigmoid({0})", "mx.erf({0})", "mx.arctan({0})"),
    *("mx.arcsinh({0})", "mx.degrees({0})", "mx.radians({0})", "mx.exp(mx.minimum({0}, 2))"),
    *("mx.expm1(mx.minimum({0}, 2))", "mx.log(mx.abs({0}) + 0.5)", "mx.log1p(mx.abs({0}))", "mx.sqrt(mx.abs({0}))"),
    *("mx.log2(mx.abs({0}) + 0.5)", "mx.log10(mx.abs({0}) + 0.5)", "mx.rsqrt(mx.abs({0}) + 1)"),
    *("mx.reciprocal(mx.abs({0}) + 0.5)", "mx.sinh(mx.clip({0}, -2, 2))", "mx.cosh(mx.clip({0}, -2, 2))"),
    *("mx.arcsin(mx.clip({0}, -0.9, 0.9))", "mx.arccos(mx.clip({0}, -0.9, 0.9))", "mx.tan(mx.clip({0}, -1, 1))"),
    *("mx.arctanh(mx.clip({0}, -0.9, 0.9))", "mx.erfinv(mx.clip({0}, -0.9, 0.9))", "mx.arccosh(mx.abs({0}) + 1.5)"),
)
UNBOUNDED = (
    *("mx.exp({0})", "mx.expm1({0})", "mx.log({0})", "mx.log1p({0})", "mx.sqrt({0})", "mx.rsqrt({0})"),
    *("mx.reciprocal({0})", "mx.arcsin({0})", "mx.arctanh({0})", "mx.arccosh({0})", "mx.erfinv({0})", "mx.sinh({0})"),
)
NUMBERS = ("0.1", "2", "-1", "0.5", "3.0", "1e-3", "7", "1 / 3", "1000", "-0.0")


def real(g: Generator) -> Value:
    return g.value(lambda v: v.dtype not in ("bool", "complex64"))


@operation(8, smooth=True)
def function(g: Generator) -> None:
    template = g.pick(FUNCTIONS)
    # MLX's error functions are near 0 as far off as elsewhere; angles beyond 1e13 are nobody's
    rough = any(f in template for f in ("erf", "sin(", "cos(", "tan("))
    g.add(template, [g.floating()], oracle="absolute" if rough else "near")


@operation(1.5)
def unbounded_function(g: Generator) -> None:
    g.add(g.pick(UNBOUNDED), [g.floating()])


@operation(3, smooth=True)
def simple_function(g: Generator) -> None:
    a = real(g)
    names = ["abs", "square", "stop_gradient", "negative"]
    if is_unsigned(a):
        names.remove("negative")
    g.add(f"mx.{g.pick(names)}({{0}})", [a], certain=True, oracle="exact", numpy=True)


@operation(2)
def jump(g: Generator) -> None:
    a = g.sure(lambda v: v.is_float)
    template = g.pick(
        ("mx.floor({0})", "mx.ceil({0})", "mx.round({0})", "mx.sign({0})", "mx.isnan({0})", "mx.isinf({0})",
         "mx.isfinite({0})", "mx.isposinf({0})", "mx.isneginf({0})", "mx.trunc({0})", "{0} // 2",
         "{0} % 3", "mx.logical_not({0})", "mx.divmod({0}, 0.75)[1]")
    )  # fmt: skip
    g.add(template, [a], certain=True, oracle=None if "sign(" in template else "near")  # NaN has none in MLX


@operation(5, smooth=True, grows=True)
def with_number(g: Generator) -> None:
    a = g.floating()
    template = g.pick(
        ("{0} + K", "K + {0}", "{0} - K", "K - {0}", "{0} * K", "K * {0}", "{0} / K", "mx.maximum({0}, K)",
         "mx.minimum(K, {0})", "mx.clip({0}, -K, K)")
    )  # fmt: skip
    k = g.pick(NUMBERS)
    if k == "-0.0" and "/" in template:
        raise Rejected
    if template == "mx.clip({0}, -K, K)":
        k = k.removeprefix("-")
    g.add(template.replace("K", k), [a], certain=True, oracle="exact")


@operation(1.5)
def number_over(g: Generator) -> None:
    g.add(g.pick(("2 ** mx.clip({0}, -3, 3)", "{0} ** 2", "{0} ** 3", "1 / {0}", "mx.abs({0}) ** 0.5")), [g.floating()])


@operation(6, smooth=True, grows=True)
def arithmetic(g: Generator) -> None:
    a = g.floating()
    b = g.partner(a, lambda v: v.dtype not in ("bool", "complex64"))
    if g.chance(0.5):
        a, b = b, a
    name = g.pick(("add", "subtract", "multiply", "add", "multiply", "maximum", "minimum"))
    g.add(f"mx.{name}({{0}}, {{1}})", [a, b], certain=True, oracle="exact", numpy=True)


@operation(3, smooth=True, grows=True)
def function_of_two(g: Generator) -> None:
    a = g.floating()
    b = g.partner(a, lambda v: v.is_float)
    template = g.pick(
        ("{0} / (mx.abs({1}) + 0.5)", "mx.logaddexp({0}, {1})", "mx.arctan2({0}, mx.abs({1}) + 0.5)",
         "mx.power(mx.abs({0}) + 0.5, mx.clip({1}, 0, 2))")
    )  # fmt: skip
    g.add(template, [a, b], oracle="absolute")


@operation(1)
def division(g: Generator) -> None:
    a = g.sure(lambda v: v.is_float)
    b = g.partner(a, lambda v: g.is_sure(v) and v.is_float)
    g.add(g.pick(("{0} / {1}", "{0} // {1}", "{0} % {1}", "mx.arctan2({0}, {1})")), [a, b])


@operation(3)
def integer_function(g: Generator) -> None:
    a = g.sure(lambda v: v.is_integer)
    template = g.pick(
        ("mx.bitwise_invert({0})", "{0} // 3", "{0} % 5", "{0} & 6", "{0} | 1", "{0} ^ 5", "{0} >> 1", "{0} << 2",
         "{0} + 1", "{0} * 3", "7 - {0}", "mx.sign({0})", "mx.clip({0}, 1, 5)", "mx.maximum({0}, 2)", "{0} / 4",
         "mx.tanh({0})", "{0} * 0.5")
    )  # fmt: skip
    certain = not template.startswith(("mx.tanh", "{0} /"))
    g.add(template, [a], certain=certain, oracle="exact" if certain else "near")


@operation(4)
def integer_arithmetic(g: Generator) -> None:
    a = g.sure(lambda v: v.is_integer)
    b = g.partner(a, lambda v: v.is_integer and g.is_sure(v))
    if g.chance(0.5):
        a, b = b, a
    template = g.pick(
        ("{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} // mx.maximum({1}, 1)", "{0} % mx.maximum({1}, 1)", "{0} & {1}",
         "{0} | {1}", "{0} ^ {1}", "mx.left_shift({0}, mx.clip({1}, 0, 3))", "mx.right_shift({0}, mx.clip({1}, 0, 3))",
         "mx.power({0}, mx.clip({1}, 0, 3))", "mx.maximum({0}, {1})", "mx.minimum({0}, {1})")
    )  # fmt: skip
    mixed = {"uint64"} < {a.dtype, b.dtype} and not {a.dtype, b.dtype} <= set(UNSIGNED)  # floats, which overflow
    if mixed and any(f in template for f in ("&", "|", "^", "shift")):
        raise Rejected
    g.add(template, [a, b], certain=not mixed, oracle=None if mixed else "exact")


@operation(4)
def comparison(g: Generator) -> None:
    a = g.sure(lambda v: v.dtype != "complex64")
    if g.chance(0.3):
        template = g.pick(("{0} == K", "{0} > K", "K <= {0}", "{0} != K"))
        g.add(template.replace("K", g.pick(NUMBERS)), [a], certain=True, oracle="exact")
        return
    b = g.partner(a, lambda v: g.is_sure(v) and v.dtype != "complex64")
    names = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or")
    g.add(f"mx.{g.pick(names)}({{0}}, {{1}})", [a, b], certain=True, oracle="exact")


@operation(1)
def truth(g: Generator) -> None:
    a = g.value(lambda v: v.dtype == "bool")
    b = g.partner(a, lambda v: v.dtype == "bool")
    template = g.pick(
        ("mx.logical_and({0}, {1})", "mx.logical_xor({0}, {1})", "{0} & {1}", "{0} | {1}", "mx.logical_not({0})",
         "{0} + {1}", "{0} * 2.5", "{0} * {1}", "{0} == {1}")
    )  # fmt: skip
    g.add(template, [a, b], certain=True, oracle="exact")


@operation(4, smooth=True)
def selection(g: Generator) -> None:
    c = g.sure()
    a = g.partner(c, lambda v: v.is_float or not g.smooth)
    if g.chance(0.3):
        k = g.pick(("0", "0.1", "-1")) if a.is_float else "0"
        condition = "{0}" if c.dtype == "bool" else "{0} > 1"
        g.add(f"mx.where({condition}, {{1}}, {k})", [c, a], certain=True, oracle="exact")
        return
    b = g.partner(a)
    conditions = ["{0}"] if c.dtype == "bool" else ["{0} > 1", "{0} <= 0.5", "{0} != 0"]
    condition = "{0}" if not g.smooth and g.chance(0.3) else g.pick(conditions)
    g.add(f"mx.where({condition}, {{1}}, {{2}})", [c, a, b], certain=True, oracle="exact")


@operation(4)
def conversion(g: Generator) -> None:
    a = g.value()
    to = g.pick((*g.dtypes, *FLOATS, g.pick(DTYPES)))
    name = "mx.bool_" if to == "bool" else f"mx.{to}"
    if a.dtype == "complex64":
        if to != "complex64":
            g.add(g.pick(("mx.real({0})", "mx.imag({0})")), [a], certain=True, oracle="exact")
            return
    elif a.is_float and to not in (*FLOATS, "complex64"):
        if not g.is_sure(a):
            raise Rejected
        if to in INTEGERS:  # what does not fit is not defined
            low = 0 if to in UNSIGNED else -100
            g.add(f"mx.clip(mx.where({{0}} == {{0}}, {{0}}, 1), {low}, 100).astype({name})", [a], certain=True)
            return
    g.add(f"{{0}}.astype({name})", [a], certain=True, oracle="exact")


@operation(1)
def bits(g: Generator) -> None:
    a = g.sure(lambda v: v.ndim > 0 and v.dtype not in ("bool", "complex64"))
    same = {"float32": "int32", "float16": "uint16", "bfloat16": "int16", "float64": "uint64"}
    to = same.get(a.dtype) or g.pick(("uint8", "int16", a.dtype))
    if a.is_float:  # the bits of "no number" are nobody's
        g.add(f"mx.where({{0}} == {{0}}, {{0}}, 0).view(mx.{to})", [a], certain=True, oracle="exact")
    else:
        g.add(f"{{0}}.view(mx.{to})", [a], certain=True, oracle="exact")


@operation(2)
def close(g: Generator) -> None:
    a = g.sure(lambda v: v.is_float)
    b = g.partner(a, lambda v: v.is_float and g.is_sure(v))
    g.add(g.pick(("mx.isclose({0}, {1})", "mx.isclose({0}, {1}, atol=0.5)", "mx.array_equal({0}, {1})")), [a, b])


@operation(1)
def finite(g: Generator) -> None:
    a = g.value(lambda v: v.dtype in ("float32", *HALVES))
    g.add(g.pick(("mx.nan_to_num({0})", "mx.nan_to_num({0}, nan=2.0, posinf=3.0)")), [a], certain=True, oracle="exact")


@operation(1.5)
def complex_arithmetic(g: Generator) -> None:
    a = g.value(lambda v: v.dtype == "complex64")
    b = g.partner(a, lambda v: v.dtype != "float64")
    template = g.pick(
        ("{0} + {1}", "{0} * {1}", "{1} - {0}", "mx.exp(0.3 * {0}) + {1}", "mx.abs({0}) * {1}", "mx.conjugate({0})",
         "mx.abs({0})", "mx.real({0}) * {1}", "{0} * (0.5 + 2j)")
    )  # fmt: skip
    g.add(template, [a, b])
