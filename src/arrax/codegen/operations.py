"""Operations on values as LLVM instructions: arithmetic, comparisons, casts, rounding to bfloat16, literals."""

from __future__ import annotations

import math
import struct
from typing import Any

from arrax.codegen.text import Writer
from arrax.compiler.kernel import COMPARE, Value
from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype, bfloat16, bool_, float16, float32, float64, through_integer, uint64

_FLOAT_TYPES = {float16: "half", float32: "float", float64: "double"}
_FLOAT_OPS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INT_OPS = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_BOOL_OPS = {"add": "or", "mul": "and", "max": "or", "min": "and", "and": "and", "or": "or", "xor": "xor", "sub": "xor"}
_FLOAT_COMPARE = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_INTRINSIC_1 = {"floor": "floor", "ceil": "ceil", "rint": "rint", "trunc": "trunc", "sqrt": "sqrt", "abs": "fabs"}


def element(dtype: Dtype) -> str:
    """The LLVM type of a value in a register."""
    if dtype is bool_:
        return "i1"
    return _FLOAT_TYPES.get(dtype) or f"i{dtype.size * 8}"


def stored(dtype: Dtype) -> str:
    """The LLVM type of a value in memory."""
    return "i8" if dtype is bool_ else element(dtype)


def literal(value: Any, dtype: Dtype) -> str:
    """A constant as LLVM writes it."""
    if dtype is bool_:
        return "true" if value else "false"
    if dtype.is_float:
        # LLVM writes floats as the bits of a double
        number = (
            struct.unpack("<f", struct.pack("<f", value))[0] if dtype is not float64 and math.isfinite(value) else value
        )
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    bits = dtype.size * 8
    value = int(value) & ((1 << bits) - 1)
    return str(value - (1 << bits) if value >> (bits - 1) else value)


def vector_of(dtype: Dtype, lanes: int) -> str:
    """The LLVM type of a vector of values; of one value for one lane."""
    return element(dtype) if lanes == 1 else f"<{lanes} x {element(dtype)}>"


def every(n: int, lanes: int, kind: str) -> str:
    """A small integer in every lane."""
    text = ("true" if n else "false") if kind == "i1" else str(n)
    return text if lanes == 1 else f"splat ({kind} {text})"


def operation(out: Writer, v: Value, args: list[str], lanes: int, depth: int) -> str:
    """Writes what computes ``v`` from its operands, whose names are given; returns its name."""
    operand_dtype = v.args[-1].dtype if v.op == "select" else v.args[0].dtype
    kind = vector_of(operand_dtype, lanes)
    suffix = f"v{lanes}" if lanes > 1 else ""
    name = v.op
    is_float, is_bool = operand_dtype.is_float, operand_dtype is bool_
    signed = operand_dtype.is_signed
    if name == "select":
        return out.let(f"select {vector_of(bool_, lanes)} {args[0]}, {kind} {args[1]}, {kind} {args[2]}", depth)
    if name == "cast":
        return _cast(out, args[0], operand_dtype, v.dtype, lanes, depth)
    if name == "bitcast":
        return out.let(f"bitcast {kind} {args[0]} to {vector_of(v.dtype, lanes)}", depth)
    if name in COMPARE:
        if is_float:
            return out.let(f"fcmp {_FLOAT_COMPARE[name]} {kind} {args[0]}, {args[1]}", depth)
        order = name if name in ("eq", "ne") else ("s" if signed else "u") + name
        return out.let(f"icmp {order} {kind} {args[0]}, {args[1]}", depth)
    if is_float:
        bits = f"{suffix}f{operand_dtype.size * 8}"
        if name in _FLOAT_OPS:
            return out.let(f"{_FLOAT_OPS[name]} {kind} {args[0]}, {args[1]}", depth)
        if name == "neg":
            return out.let(f"fneg {kind} {args[0]}", depth)
        if name == "fma":
            return out.intrinsic(f"llvm.fma.{bits}", kind, [(kind, a) for a in args], depth)
        if name in _INTRINSIC_1:
            return out.intrinsic(f"llvm.{_INTRINSIC_1[name]}.{bits}", kind, [(kind, args[0])], depth)
        if name == "copysign":
            return out.intrinsic(f"llvm.copysign.{bits}", kind, [(kind, a) for a in args], depth)
        if name in ("min", "max"):
            test = out.let(f"fcmp {'olt' if name == 'min' else 'ogt'} {kind} {args[0]}, {args[1]}", depth)
            return out.let(f"select {vector_of(bool_, lanes)} {test}, {kind} {args[0]}, {kind} {args[1]}", depth)
        raise AssertionError(f"[codegen] {name} on {operand_dtype.name}")
    if is_bool:
        if name == "not":
            return out.let(f"xor {kind} {args[0]}, {every(1, lanes, 'i1')}", depth)
        if name in ("neg", "abs"):
            return args[0]
        return out.let(f"{_BOOL_OPS[name]} {kind} {args[0]}, {args[1]}", depth)
    return _integer(out, v, name, args, kind, lanes, depth)


def _integer(out: Writer, v: Value, name: str, args: list[str], kind: str, lanes: int, depth: int) -> str:
    dtype = v.args[0].dtype
    bits, signed = dtype.size * 8, dtype.is_signed
    scalar = element(dtype)
    suffix = f"v{lanes}" if lanes > 1 else ""
    if name in _INT_OPS:
        return out.let(f"{_INT_OPS[name]} {kind} {args[0]}, {args[1]}", depth)
    if name == "neg":
        return out.let(f"sub {kind} {every(0, lanes, scalar)}, {args[0]}", depth)
    if name == "not":
        return out.let(f"xor {kind} {args[0]}, {every(-1, lanes, scalar)}", depth)
    if name in ("min", "max"):
        intrinsic = f"llvm.{'s' if signed else 'u'}{name}.{suffix}i{bits}"
        return out.intrinsic(intrinsic, kind, [(kind, a) for a in args], depth)
    if name == "abs":
        intrinsic = f"llvm.abs.{suffix}i{bits}"
        return out.intrinsic(intrinsic, kind, [(kind, args[0]), ("i1", "false")], depth)
    if name in ("shl", "shr"):
        shift = "shl" if name == "shl" else "ashr" if signed else "lshr"
        if v.args[1].op == "const" and 0 <= v.args[1].attr < bits:
            return out.let(f"{shift} {kind} {args[0]}, {args[1]}", depth)
        near = out.let(f"icmp ult {kind} {args[1]}, {every(bits, lanes, scalar)}", depth)
        mask = vector_of(bool_, lanes)
        last = every(bits - 1, lanes, scalar)
        amount = out.let(f"select {mask} {near}, {kind} {args[1]}, {kind} {last}", depth)
        shifted = out.let(f"{shift} {kind} {args[0]}, {amount}", depth)
        if shift == "ashr":
            return shifted
        return out.let(f"select {mask} {near}, {kind} {shifted}, {kind} {every(0, lanes, scalar)}", depth)
    if name in ("div", "rem"):
        order = f"{'s' if signed else 'u'}{name}"
        divisor = v.args[1]
        if divisor.op == "const" and divisor.attr not in (0, -1):
            return out.let(f"{order} {kind} {args[0]}, {args[1]}", depth)
        if v.attr == "index" and lanes == 1:  # coordinates and sizes: not negative, not by zero
            return out.let(f"u{name} {kind} {args[0]}, {args[1]}", depth)
        # by zero, and the most negative number by -1: neither may trap
        mask = vector_of(bool_, lanes)
        zero, one = every(0, lanes, scalar), every(1, lanes, scalar)
        by_zero = out.let(f"icmp eq {kind} {args[1]}, {zero}", depth)
        safe = out.let(f"select {mask} {by_zero}, {kind} {one}, {kind} {args[1]}", depth)
        if signed:
            by_minus = out.let(f"icmp eq {kind} {args[1]}, {every(-1, lanes, scalar)}", depth)
            safe = out.let(f"select {mask} {by_minus}, {kind} {one}, {kind} {safe}", depth)
        result = out.let(f"{order} {kind} {args[0]}, {safe}", depth)
        if signed:
            negated = out.let(f"sub {kind} {zero}, {args[0]}", depth) if name == "div" else zero
            result = out.let(f"select {mask} {by_minus}, {kind} {negated}, {kind} {result}", depth)
        return out.let(f"select {mask} {by_zero}, {kind} {zero}, {kind} {result}", depth)
    raise AssertionError(f"[codegen] {name} on {dtype.name}")


def _cast(out: Writer, x: str, source: Dtype, target: Dtype, lanes: int, depth: int) -> str:
    if source is target:
        return x
    kind, to = vector_of(source, lanes), vector_of(target, lanes)
    if source is bfloat16:
        i32 = vector_of(dtypes.uint32, lanes)
        wide = out.let(f"zext {kind} {x} to {i32}", depth)
        high = out.let(f"shl {i32} {wide}, {every(16, lanes, 'i32')}", depth)
        single = out.let(f"bitcast {i32} {high} to {vector_of(float32, lanes)}", depth)
        return _cast(out, single, float32, target, lanes, depth)
    if target in (bfloat16, float16) and source is not float32 and source is not float16:
        return _cast(out, _cast(out, x, source, float32, lanes, depth), float32, target, lanes, depth)
    if source is float16 and target is not float32:
        return _cast(out, _cast(out, x, source, float32, lanes, depth), float32, target, lanes, depth)
    if target is bfloat16:
        return _to_bfloat16(out, x, lanes, depth)
    if target is bool_:
        zero = literal(0, source) if lanes == 1 else "zeroinitializer"
        return out.let(f"{'fcmp une' if source.is_float else 'icmp ne'} {kind} {x}, {zero}", depth)
    if source is float64 and target is float32:
        # a sign that is taken from what becomes half precision after this must not be looked up in the double: LLVM
        # would convert that by a function of its run-time library, which is not there
        single = out.let(f"fptrunc {kind} {x} to {to}", depth)
        suffix = f"v{lanes}" if lanes > 1 else ""
        return out.intrinsic(f"llvm.arithmetic.fence.{suffix}f32", to, [(to, single)], depth)
    if source.is_float and target.is_float:
        return out.let(f"{'fpext' if target.size > source.size else 'fptrunc'} {kind} {x} to {to}", depth)
    if source.is_float:
        return _to_integer(out, x, source, target, lanes, depth)
    if target.is_float:
        sign = "s" if source.is_signed else "u"
        return out.let(f"{sign}itofp {kind} {x} to {to}", depth)
    if source.size == target.size and source is not bool_:
        return x
    if source is bool_ or target.size > source.size:
        return out.let(f"{'sext' if source.is_signed else 'zext'} {kind} {x} to {to}", depth)
    return out.let(f"trunc {kind} {x} to {to}", depth)


def _to_integer(out: Writer, x: str, source: Dtype, target: Dtype, lanes: int, depth: int) -> str:
    """Truncates to the low bits of a signed integer, which is its least number where it cannot hold the float."""
    through = through_integer(target)
    kind, mask, integer = (vector_of(d, lanes) for d in (source, bool_, through))
    suffix = f"v{lanes}" if lanes > 1 else ""

    def every_float(value: float) -> str:
        return literal(value, source) if lanes == 1 else f"splat ({element(source)} {literal(value, source)})"

    limit = every_float(2.0 ** (8 * through.size - 1))
    if target is uint64:
        high = out.let(f"fcmp oge {kind} {x}, {limit}", depth)
        lowered = out.let(f"fsub {kind} {x}, {limit}", depth)
        x = out.let(f"select {mask} {high}, {kind} {lowered}, {kind} {x}", depth)
    size = out.intrinsic(f"llvm.fabs.{suffix}f{source.size * 8}", kind, [(kind, x)], depth)
    held = out.let(f"fcmp olt {kind} {size}, {limit}", depth)
    whole = out.let(f"fptosi {kind} {x} to {integer}", depth)
    least = every(-(2 ** (8 * through.size - 1)), lanes, element(through))
    result = out.let(f"select {mask} {held}, {integer} {whole}, {integer} {least}", depth)
    if target is uint64:
        top = out.let(f"select {mask} {high}, {integer} {least}, {integer} {every(0, lanes, element(through))}", depth)
        result = out.let(f"xor {integer} {result}, {top}", depth)
    return _cast(out, result, through, target, lanes, depth)


def _to_bfloat16(out: Writer, x: str, lanes: int, depth: int) -> str:
    """Rounds to the nearest, ties to even; NaN stays NaN."""
    f32, i32, i1 = vector_of(float32, lanes), vector_of(dtypes.uint32, lanes), vector_of(bool_, lanes)
    bits = out.let(f"bitcast {f32} {x} to {i32}", depth)
    high = out.let(f"lshr {i32} {bits}, {every(16, lanes, 'i32')}", depth)
    odd = out.let(f"and {i32} {high}, {every(1, lanes, 'i32')}", depth)
    bias = out.let(f"add {i32} {odd}, {every(0x7FFF, lanes, 'i32')}", depth)
    rounded = out.let(f"add {i32} {bits}, {bias}", depth)
    quiet = out.let(f"or {i32} {bits}, {every(0x400000, lanes, 'i32')}", depth)
    nan = out.let(f"fcmp uno {f32} {x}, {x}", depth)
    chosen = out.let(f"select {i1} {nan}, {i32} {quiet}, {i32} {rounded}", depth)
    top = out.let(f"lshr {i32} {chosen}, {every(16, lanes, 'i32')}", depth)
    return out.let(f"trunc {i32} {top} to {vector_of(bfloat16, lanes)}", depth)
