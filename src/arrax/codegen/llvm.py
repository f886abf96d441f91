"""Kernel IR to LLVM IR, as text.

A kernel becomes ``void name(i64* table, i64* args, i64 lo, i64 hi)``: ``table`` holds addresses and the bits of scalars,
``args`` where the kernel's own stand in it (slot and byte offset of each buffer, slot of each scalar) and its integers;
``lo..hi`` are the iterations of its parallel loop that this call is to do.

A vector loop of ``step`` lanes is emitted twice: whole vectors, then what remains under a mask. Registers that it updates
become vectors, combined over their lanes when it ends. Every value is emitted into the outermost loop where all that it
needs is known: each open loop has a list of the lines before it, and hoisting is appending to the right list.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

from arrax.compiler.kernel import (
    COMPARE,
    INDEX,
    Buffer,
    Kernel,
    Loop,
    Register,
    Reset,
    Statement,
    Store,
    Update,
    Value,
    const,
    expressions,
    operands,
    select,
    walk,
)
from arrax.compiler.lower import STRIDED
from arrax.compiler.scalar import better, combine
from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype, bfloat16, bool_, float16, float32, float64

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
    if dtype is bool_:
        return "true" if value else "false"
    if dtype.is_float:
        # LLVM writes floats as the bits of a double
        number = struct.unpack("<f", struct.pack("<f", value))[0] if dtype is not float64 and math.isfinite(value) else value
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    bits = dtype.size * 8
    value = int(value) & ((1 << bits) - 1)
    return str(value - (1 << bits) if value >> (bits - 1) else value)


class _Scope:
    """One open loop: the lines emitted in it so far, and the values known in it."""

    __slots__ = ("lines", "values")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[Any, str] = {}


class _Vector:
    """The vector loop that is open: its variable, lanes, first iteration, and the mask of lanes that count."""

    __slots__ = ("base", "depth", "lanes", "mask", "var")

    def __init__(self, var: Value, lanes: int, base: str, depth: int, mask: str | None) -> None:
        self.var = var
        self.lanes = lanes
        self.base = base
        self.depth = depth
        self.mask = mask


class Emitter:
    """Emits one kernel."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.counter = 0
        self.scopes = [_Scope()]
        self.allocas: list[str] = []
        self.declared: set[str] = set()
        self.vector: _Vector | None = None
        self.var_depth: dict[int, int] = {}
        self.register_depth: dict[int, int] = {}
        self.register_lanes: dict[int, int] = {}
        self.register_slot: dict[int, str] = {}
        self.open_updates: list[set[int]] = [set()]
        self.updates: dict[int, set[int]] = {}
        self.written = {id(s.buffer) for s, _ in walk(kernel.body) if isinstance(s, Store)}
        self._depths: dict[int, int] = {}
        self._varying: dict[int, bool] = {}
        self._affine: dict[int, tuple[Value, Value] | None] = {}
        self._keep: list[Value] = []
        self._transposed: dict[int, tuple[str, Loop]] = {}

    # --- small things -------------------------------------------------------------------------------------------------
    def _fresh(self, prefix: str = "t") -> str:
        self.counter += 1
        return f"%{prefix}{self.counter}"

    def _line(self, text: str, depth: int | None = None) -> None:
        self.scopes[-1 if depth is None else depth].lines.append("  " + text)

    def _let(self, text: str, depth: int | None = None) -> str:
        name = self._fresh()
        self._line(f"{name} = {text}", depth)
        return name

    def _declare(self, signature: str) -> None:
        self.declared.add(signature)

    def _intrinsic(self, name: str, result: str, args: list[tuple[str, str]], depth: int) -> str:
        self._declare(f"declare {result} @{name}({', '.join(t for t, _ in args)})")
        return self._let(f"call {result} @{name}({', '.join(f'{t} {v}' for t, v in args)})", depth)

    def _alloca(self, kind: str) -> str:
        name = self._fresh("a")
        self.allocas.append(f"  {name} = alloca {kind}, align 64")
        return name

    # --- where a value belongs ----------------------------------------------------------------------------------------
    def _leaf_depth(self, value: Value) -> int:
        if value.op == "var":
            return self.var_depth[id(value)]
        if value.op == "reg":
            register = id(value.attr)
            deepest = self.register_depth[register]
            for depth, updated in enumerate(self.open_updates):
                if register in updated:
                    deepest = max(deepest, depth)
            return deepest
        if value.op == "load" and id(value.attr) in self.written:
            return len(self.scopes) - 1
        if value.op == "ssa":
            return len(self.scopes) - 1
        return 0

    def _depth(self, value: Value) -> int:
        found = self._depths.get(id(value))
        if found is None:
            for v in _unknown(value, self._depths):
                self._keep.append(v)
                own = self._leaf_depth(v)
                self._depths[id(v)] = max([own, *(self._depths[id(a)] for a in v.args)])
            found = self._depths[id(value)]
        return found

    def _varies(self, value: Value) -> bool:
        """Whether lanes of the open vector loop see different values."""
        if self.vector is None:
            return False
        found = self._varying.get(id(value))
        if found is None:
            for v in _unknown(value, self._varying):
                if v.op == "var":
                    own = v is self.vector.var
                elif v.op == "reg":
                    own = self.register_lanes.get(id(v.attr), 1) > 1
                elif v.op == "ssa":
                    own = bool(v.attr)
                else:
                    own = any(self._varying[id(a)] for a in v.args)
                self._varying[id(v)] = own
            found = self._varying[id(value)]
        return found

    # --- values -------------------------------------------------------------------------------------------------------
    def _lookup(self, value: Value) -> str | None:
        for scope in self.scopes:
            found = scope.values.get(id(value))
            if found is not None:
                return found
        return None

    def emit(self, value: Value) -> str:
        """The LLVM name of a value; a vector where lanes differ."""
        found = self._lookup(value)
        if found is not None:
            return found
        pending = [value]
        while pending:
            v = pending[-1]
            if self._lookup(v) is not None:
                pending.pop()
                continue
            if v.op == "load" and self.vector is not None and self._varies(v.args[0]) and self._split(v.args[0]) is not None:
                pending.pop()
                self._remember(v, self._load(v))
                continue
            missing = [a for a in v.args if self._lookup(a) is None]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            self._remember(v, self._compute(v))
        found = self._lookup(value)
        assert found is not None
        return found

    def _remember(self, value: Value, name: str) -> None:
        self._keep.append(value)
        self.scopes[self._depth(value)].values[id(value)] = name

    def _kind(self, dtype: Dtype, lanes: int) -> str:
        return element(dtype) if lanes == 1 else f"<{lanes} x {element(dtype)}>"

    def operand(self, value: Value, lanes: int) -> str:
        """A value as a vector of the given number of lanes (or a scalar for 1)."""
        if lanes == 1:
            return self.emit(value)
        if self._varies(value):
            return self.emit(value)
        if value.op == "const":
            text = literal(value.attr, value.dtype)
            kind = element(value.dtype)
            return f"splat ({kind} {text})"
        scalar = self.emit(value)
        depth = self._depth(value)
        key = (id(value), lanes)
        for scope in self.scopes:
            if key in scope.values:
                return scope.values[key]
        self.scopes[depth].values[key] = name = self._splat(scalar, element(value.dtype), lanes, depth)
        return name

    def _splat(self, scalar: str, kind: str, lanes: int, depth: int) -> str:
        one = self._let(f"insertelement <{lanes} x {kind}> poison, {kind} {scalar}, i32 0", depth)
        return self._let(
            f"shufflevector <{lanes} x {kind}> {one}, <{lanes} x {kind}> poison, <{lanes} x i32> zeroinitializer", depth
        )

    def _compute(self, v: Value) -> str:
        depth = self._depth(v)
        if v.op == "const":
            return literal(v.attr, v.dtype)
        if v.op == "var":
            assert self.vector is not None and v is self.vector.var
            lanes = self.vector.lanes
            base = self._splat(self.vector.base, "i64", lanes, depth)
            iota = "<" + ", ".join(f"i64 {i}" for i in range(lanes)) + ">"
            return self._let(f"add <{lanes} x i64> {base}, {iota}", depth)
        if v.op == "reg":
            lanes = self.register_lanes[id(v.attr)]
            kind = self._kind(v.dtype, lanes)
            return self._let(f"load {kind}, ptr {self.register_slot[id(v.attr)]}, align 64", depth)
        lanes = self.vector.lanes if self._varies(v) else 1  # type: ignore[union-attr]
        if v.op == "load":
            return self._load(v)
        return self._operation(v, [self.operand(a, lanes) for a in v.args], lanes, depth)

    def _operation(self, v: Value, args: list[str], lanes: int, depth: int) -> str:
        operand_dtype = v.args[-1].dtype if v.op == "select" else v.args[0].dtype
        kind = self._kind(operand_dtype, lanes)
        suffix = f"v{lanes}" if lanes > 1 else ""
        name = v.op
        is_float, is_bool = operand_dtype.is_float, operand_dtype is bool_
        signed = operand_dtype.is_signed
        if name == "select":
            return self._let(
                f"select {self._kind(bool_, lanes)} {args[0]}, {kind} {args[1]}, {kind} {args[2]}", depth
            )
        if name == "cast":
            return self._cast(args[0], operand_dtype, v.dtype, lanes, depth)
        if name == "bitcast":
            return self._let(f"bitcast {kind} {args[0]} to {self._kind(v.dtype, lanes)}", depth)
        if name in COMPARE:
            if is_float:
                return self._let(f"fcmp {_FLOAT_COMPARE[name]} {kind} {args[0]}, {args[1]}", depth)
            order = name if name in ("eq", "ne") else ("s" if signed else "u") + name
            return self._let(f"icmp {order} {kind} {args[0]}, {args[1]}", depth)
        if is_float:
            bits = f"{suffix}f{operand_dtype.size * 8}"
            if name in _FLOAT_OPS:
                return self._let(f"{_FLOAT_OPS[name]} {kind} {args[0]}, {args[1]}", depth)
            if name == "neg":
                return self._let(f"fneg {kind} {args[0]}", depth)
            if name == "fma":
                return self._intrinsic(f"llvm.fma.{bits}", kind, [(kind, a) for a in args], depth)
            if name in _INTRINSIC_1:
                return self._intrinsic(f"llvm.{_INTRINSIC_1[name]}.{bits}", kind, [(kind, args[0])], depth)
            if name == "copysign":
                return self._intrinsic(f"llvm.copysign.{bits}", kind, [(kind, a) for a in args], depth)
            if name in ("min", "max"):
                test = self._let(f"fcmp {'olt' if name == 'min' else 'ogt'} {kind} {args[0]}, {args[1]}", depth)
                return self._let(f"select {self._kind(bool_, lanes)} {test}, {kind} {args[0]}, {kind} {args[1]}", depth)
            raise AssertionError(f"[codegen] {name} on {operand_dtype.name}")
        if is_bool:
            if name == "not":
                return self._let(f"xor {kind} {args[0]}, {self._all(1, lanes, 'i1')}", depth)
            if name in ("neg", "abs"):
                return args[0]
            return self._let(f"{_BOOL_OPS[name]} {kind} {args[0]}, {args[1]}", depth)
        return self._integer(v, name, args, kind, lanes, depth)

    def _all(self, n: int, lanes: int, kind: str) -> str:
        text = ("true" if n else "false") if kind == "i1" else str(n)
        return text if lanes == 1 else f"splat ({kind} {text})"

    def _integer(self, v: Value, name: str, args: list[str], kind: str, lanes: int, depth: int) -> str:
        dtype = v.args[0].dtype
        bits, signed = dtype.size * 8, dtype.is_signed
        scalar = element(dtype)
        suffix = f"v{lanes}" if lanes > 1 else ""
        if name in _INT_OPS:
            return self._let(f"{_INT_OPS[name]} {kind} {args[0]}, {args[1]}", depth)
        if name == "neg":
            return self._let(f"sub {kind} {self._all(0, lanes, scalar)}, {args[0]}", depth)
        if name == "not":
            return self._let(f"xor {kind} {args[0]}, {self._all(-1, lanes, scalar)}", depth)
        if name in ("min", "max"):
            intrinsic = f"llvm.{'s' if signed else 'u'}{name}.{suffix}i{bits}"
            return self._intrinsic(intrinsic, kind, [(kind, a) for a in args], depth)
        if name == "abs":
            intrinsic = f"llvm.abs.{suffix}i{bits}"
            return self._intrinsic(intrinsic, kind, [(kind, args[0]), ("i1", "false")], depth)
        if name in ("shl", "shr"):
            shift = "shl" if name == "shl" else "ashr" if signed else "lshr"
            if v.args[1].op == "const" and 0 <= v.args[1].attr < bits:
                return self._let(f"{shift} {kind} {args[0]}, {args[1]}", depth)
            near = self._let(f"icmp ult {kind} {args[1]}, {self._all(bits, lanes, scalar)}", depth)
            mask = self._kind(bool_, lanes)
            last = self._all(bits - 1, lanes, scalar)
            amount = self._let(f"select {mask} {near}, {kind} {args[1]}, {kind} {last}", depth)
            shifted = self._let(f"{shift} {kind} {args[0]}, {amount}", depth)
            if shift == "ashr":
                return shifted
            return self._let(f"select {mask} {near}, {kind} {shifted}, {kind} {self._all(0, lanes, scalar)}", depth)
        if name in ("div", "rem"):
            order = f"{'s' if signed else 'u'}{name}"
            divisor = v.args[1]
            if divisor.op == "const" and divisor.attr not in (0, -1):
                return self._let(f"{order} {kind} {args[0]}, {args[1]}", depth)
            if v.attr == "index" and lanes == 1:  # coordinates and sizes: not negative, not by zero
                return self._let(f"u{name} {kind} {args[0]}, {args[1]}", depth)
            # by zero, and the most negative number by -1: neither may trap
            mask = self._kind(bool_, lanes)
            zero, one = self._all(0, lanes, scalar), self._all(1, lanes, scalar)
            by_zero = self._let(f"icmp eq {kind} {args[1]}, {zero}", depth)
            safe = self._let(f"select {mask} {by_zero}, {kind} {one}, {kind} {args[1]}", depth)
            if signed:
                by_minus = self._let(f"icmp eq {kind} {args[1]}, {self._all(-1, lanes, scalar)}", depth)
                safe = self._let(f"select {mask} {by_minus}, {kind} {one}, {kind} {safe}", depth)
            result = self._let(f"{order} {kind} {args[0]}, {safe}", depth)
            if signed:
                negated = self._let(f"sub {kind} {zero}, {args[0]}", depth) if name == "div" else zero
                result = self._let(f"select {mask} {by_minus}, {kind} {negated}, {kind} {result}", depth)
            return self._let(f"select {mask} {by_zero}, {kind} {zero}, {kind} {result}", depth)
        raise AssertionError(f"[codegen] {name} on {dtype.name}")

    def _cast(self, x: str, source: Dtype, target: Dtype, lanes: int, depth: int) -> str:
        if source is target:
            return x
        kind, to = self._kind(source, lanes), self._kind(target, lanes)
        if source is bfloat16:
            i32 = self._kind(dtypes.uint32, lanes)
            wide = self._let(f"zext {kind} {x} to {i32}", depth)
            high = self._let(f"shl {i32} {wide}, {self._all(16, lanes, 'i32')}", depth)
            single = self._let(f"bitcast {i32} {high} to {self._kind(float32, lanes)}", depth)
            return self._cast(single, float32, target, lanes, depth)
        if target in (bfloat16, float16) and source is not float32 and source is not float16:
            return self._cast(self._cast(x, source, float32, lanes, depth), float32, target, lanes, depth)
        if source is float16 and target is not float32:
            return self._cast(self._cast(x, source, float32, lanes, depth), float32, target, lanes, depth)
        if target is bfloat16:
            return self._to_bfloat16(x, lanes, depth)
        if target is bool_:
            zero = literal(0, source) if lanes == 1 else "zeroinitializer"
            return self._let(f"{'fcmp une' if source.is_float else 'icmp ne'} {kind} {x}, {zero}", depth)
        if source.is_float and target.is_float:
            return self._let(f"{'fpext' if target.size > source.size else 'fptrunc'} {kind} {x} to {to}", depth)
        if source.is_float:
            sign = "s" if target.is_signed else "u"
            suffix = f"v{lanes}" if lanes > 1 else ""
            name = f"llvm.fpto{sign}i.sat.{suffix}i{target.size * 8}.{suffix}f{source.size * 8}"
            return self._intrinsic(name, to, [(kind, x)], depth)
        if target.is_float:
            sign = "s" if source.is_signed else "u"
            return self._let(f"{sign}itofp {kind} {x} to {to}", depth)
        if source.size == target.size and source is not bool_:
            return x
        if source is bool_ or target.size > source.size:
            return self._let(f"{'sext' if source.is_signed else 'zext'} {kind} {x} to {to}", depth)
        return self._let(f"trunc {kind} {x} to {to}", depth)

    def _to_bfloat16(self, x: str, lanes: int, depth: int) -> str:
        """Rounds to the nearest, ties to even; NaN stays NaN."""
        f32, i32, i1 = self._kind(float32, lanes), self._kind(dtypes.uint32, lanes), self._kind(bool_, lanes)
        bits = self._let(f"bitcast {f32} {x} to {i32}", depth)
        high = self._let(f"lshr {i32} {bits}, {self._all(16, lanes, 'i32')}", depth)
        odd = self._let(f"and {i32} {high}, {self._all(1, lanes, 'i32')}", depth)
        bias = self._let(f"add {i32} {odd}, {self._all(0x7FFF, lanes, 'i32')}", depth)
        rounded = self._let(f"add {i32} {bits}, {bias}", depth)
        quiet = self._let(f"or {i32} {bits}, {self._all(0x400000, lanes, 'i32')}", depth)
        nan = self._let(f"fcmp uno {f32} {x}, {x}", depth)
        chosen = self._let(f"select {i1} {nan}, {i32} {quiet}, {i32} {rounded}", depth)
        top = self._let(f"lshr {i32} {chosen}, {self._all(16, lanes, 'i32')}", depth)
        return self._let(f"trunc {i32} {top} to {self._kind(bfloat16, lanes)}", depth)

    # --- memory -------------------------------------------------------------------------------------------------------
    def _split(self, index: Value) -> tuple[Value, Value] | None:
        """index = base + step · variable of the vector loop, with base and step the same for all lanes."""
        if id(index) in self._affine:
            return self._affine[id(index)]
        assert self.vector is not None
        zero = const(0, INDEX)
        for v in _unknown(index, self._affine):
            self._keep.append(v)
            parts: tuple[Value, Value] | None = None
            if not self._varies(v):
                parts = (v, zero)
            elif v is self.vector.var:
                parts = (zero, const(1, INDEX))
            elif v.op in ("add", "sub", "mul") and v.dtype is INDEX:
                a, b = (self._affine.get(id(x)) for x in v.args)
                if a is not None and b is not None:
                    parts = _affine_of(v.op, a, b)
            self._affine[id(v)] = parts
        return self._affine[id(index)]

    def _pointer(self, buffer: Buffer) -> str:
        return f"%{buffer.name}"

    def _address(self, buffer: Buffer, index: str, depth: int | None = None) -> str:
        return self._let(f"getelementptr inbounds {stored(buffer.dtype)}, ptr {self._pointer(buffer)}, i64 {index}", depth)

    def _lane0(self, base: Value, depth: int) -> str:
        """The index of the first lane of a unit-stride access."""
        assert self.vector is not None
        if base.op == "const" and base.attr == 0:
            return self.vector.base
        return self._let(f"add i64 {self.emit(base)}, {self.vector.base}", depth)

    def _lane_pointers(self, buffer: Buffer, index: Value, lanes: int, depth: int) -> str:
        split = self._split(index)
        if split is None:
            positions = self.operand(index, lanes)
        else:
            base, step = split
            steps = Value("mul", (self.vector.var, step), INDEX) if step.attr != 1 or step.op != "const" else self.vector.var  # type: ignore[union-attr]
            positions = self.emit(Value("add", (steps, base), INDEX))
        return self._let(
            f"getelementptr inbounds {stored(buffer.dtype)}, ptr {self._pointer(buffer)}, <{lanes} x i64> {positions}",
            depth,
        )

    def _load(self, v: Value) -> str:
        buffer, index = v.attr, v.args[0]
        kind = stored(buffer.dtype)
        align = buffer.dtype.size
        if not self._varies(v):
            depth = self._depth(v)
            at = self._address(buffer, self.emit(index), depth)
            raw = self._let(f"load {kind}, ptr {at}, align {align}", depth)
            return self._let(f"icmp ne i8 {raw}, 0", depth) if buffer.dtype is bool_ else raw
        assert self.vector is not None
        lanes, mask = self.vector.lanes, self.vector.mask
        depth = self._depth(v)
        if id(v) in self._transposed:
            at, tile = self._transposed[id(v)]
            row = self._let(f"sub i64 {self.emit(tile.var)}, {self.emit(tile.begin)}", depth)
            place = self._let(f"getelementptr <{lanes} x {kind}>, ptr {at}, i64 {row}", depth)
            raw = self._let(f"load <{lanes} x {kind}>, ptr {place}, align 64", depth)
            return self._let(f"icmp ne <{lanes} x i8> {raw}, zeroinitializer", depth) if buffer.dtype is bool_ else raw
        vector_kind = f"<{lanes} x {kind}>"
        tag = _tag(buffer.dtype, lanes)
        split = self._split(index)
        if split is not None and split[1].op == "const" and split[1].attr == 1:
            at = self._address(buffer, self._lane0(split[0], depth), depth)
            if mask is None:
                raw = self._let(f"load {vector_kind}, ptr {at}, align {align}", depth)
            else:
                raw = self._masked("load", tag, vector_kind, at, "ptr", lanes, mask, align, depth)
        elif (step := _small_step(split)) is not None:
            raw = self._strided_load(buffer, split[0], step, lanes, mask, depth)  # type: ignore[index]
        else:
            pointers = self._lane_pointers(buffer, index, lanes, depth)
            everywhere = mask or self._all(1, lanes, "i1")
            raw = self._masked("gather", tag, vector_kind, pointers, f"<{lanes} x ptr>", lanes, everywhere, align, depth)
        if buffer.dtype is bool_:
            return self._let(f"icmp ne {vector_kind} {raw}, zeroinitializer", depth)
        return raw

    def _strided_load(self, buffer: Buffer, base: Value, step: int, lanes: int, mask: str | None, depth: int) -> str:
        """Reads all that lies between the first and the last lane, and picks the lanes' elements."""
        kind, align, all_lanes = stored(buffer.dtype), buffer.dtype.size, lanes * abs(step)
        at, picks = self._span(buffer, base, step, lanes, depth)
        whole_kind = f"<{all_lanes} x {kind}>"
        if mask is None:
            whole = self._let(f"load {whole_kind}, ptr {at}, align {align}", depth)
        else:
            wide = self._spread(mask, picks, all_lanes, lanes, depth)
            whole = self._masked("load", _tag(buffer.dtype, all_lanes), whole_kind, at, "ptr", all_lanes, wide, align, depth)
        order = ", ".join(f"i32 {i}" for i in picks)
        return self._let(f"shufflevector {whole_kind} {whole}, {whole_kind} poison, <{lanes} x i32> <{order}>", depth)

    def _span(self, buffer: Buffer, base: Value, step: int, lanes: int, depth: int) -> tuple[str, list[int]]:
        """The address of the lowest element that a strided access touches, and where each lane is from there."""
        assert self.vector is not None
        first = self._let(f"mul i64 {self.vector.base}, {step}", depth)
        if not (base.op == "const" and base.attr == 0):
            first = self._let(f"add i64 {first}, {self.emit(base)}", depth)
        if step < 0:
            first = self._let(f"add i64 {first}, {step * (lanes - 1)}", depth)
        picks = [abs(step) * (i if step > 0 else lanes - 1 - i) for i in range(lanes)]
        return self._address(buffer, first, depth), picks

    def _spread(self, lane_values: str, picks: list[int], all_lanes: int, lanes: int, depth: int, kind: str = "i1") -> str:
        """Lane values at their places among all elements of a span; elsewhere nothing (for a mask: false)."""
        places = {at: i for i, at in enumerate(picks)}
        order = ", ".join(f"i32 {places.get(i, lanes)}" for i in range(all_lanes))
        other = "zeroinitializer" if kind == "i1" else "poison"
        source = f"<{lanes} x {kind}>"
        return self._let(f"shufflevector {source} {lane_values}, {source} {other}, <{all_lanes} x i32> <{order}>", depth)

    def _masked(
        self, what: str, tag: str, kind: str, at: str, at_kind: str, lanes: int, mask: str, align: int, depth: int
    ) -> str:
        pointer_tag = "p0" if at_kind == "ptr" else f"v{lanes}p0"
        name = f"llvm.masked.{what}.{tag}.{pointer_tag}"
        self._declare(f"declare {kind} @{name}({at_kind}, i32, <{lanes} x i1>, {kind})")
        return self._let(
            f"call {kind} @{name}({at_kind} {at}, i32 {align}, <{lanes} x i1> {mask}, {kind} zeroinitializer)", depth
        )

    def _store(self, s: Store) -> None:
        buffer = s.buffer
        kind, align = stored(buffer.dtype), buffer.dtype.size
        if self.vector is None:
            self._scalar_store(s, kind, align)
            return
        lanes, mask = self.vector.lanes, self.vector.mask
        split = self._split(s.index)
        if split is not None and split[1].op == "const" and split[1].attr == 0:
            # all lanes write the same place: only sound where they hold the same value
            self._scalar_store(s, kind, align)
            return
        value = self.operand(s.value, lanes)
        if buffer.dtype is bool_:
            value = self._let(f"zext <{lanes} x i1> {value} to <{lanes} x i8>")
        if s.inside is not None:
            condition = self.operand(s.inside, lanes)
            mask = condition if mask is None else self._let(f"and <{lanes} x i1> {mask}, {condition}")
        vector_kind = f"<{lanes} x {kind}>"
        tag = _tag(buffer.dtype, lanes)
        if split is not None and split[1].op == "const" and split[1].attr == 1:
            at = self._address(buffer, self._lane0(split[0], len(self.scopes) - 1))
            if mask is None:
                self._line(f"store {vector_kind} {value}, ptr {at}, align {align}")
                return
            name, at_kind = f"llvm.masked.store.{tag}.p0", "ptr"
        elif (step := _small_step(split)) is not None and step != -1:
            depth = len(self.scopes) - 1
            all_lanes = lanes * abs(step)
            at, picks = self._span(buffer, split[0], step, lanes, depth)  # type: ignore[index]
            value = self._spread(value, picks, all_lanes, lanes, depth, kind)
            mask = self._spread(mask or self._all(1, lanes, "i1"), picks, all_lanes, lanes, depth)
            name, at_kind, lanes = f"llvm.masked.store.{_tag(buffer.dtype, all_lanes)}.p0", "ptr", all_lanes
            vector_kind = f"<{lanes} x {kind}>"
        else:
            at = self._lane_pointers(buffer, s.index, lanes, len(self.scopes) - 1)
            mask = mask or self._all(1, lanes, "i1")
            name, at_kind = f"llvm.masked.scatter.{tag}.v{lanes}p0", f"<{lanes} x ptr>"
        self._declare(f"declare void @{name}({vector_kind}, {at_kind}, i32, <{lanes} x i1>)")
        self._line(f"call void @{name}({vector_kind} {value}, {at_kind} {at}, i32 {align}, <{lanes} x i1> {mask})")

    def _scalar_store(self, s: Store, kind: str, align: int) -> None:
        value, index = self.emit(s.value), self.emit(s.index)
        if s.buffer.dtype is bool_:
            value = self._let(f"zext i1 {value} to i8")
        done = None
        if s.inside is not None:
            done = self._fresh("skip")[1:]
            then = self._fresh("then")[1:]
            self._line(f"br i1 {self.emit(s.inside)}, label %{then}, label %{done}")
            self.scopes[-1].lines.append(f"{then}:")
        at = self._address(s.buffer, index)
        self._line(f"store {kind} {value}, ptr {at}, align {align}")
        if done is not None:
            self._line(f"br label %{done}")
            self.scopes[-1].lines.append(f"{done}:")

    def _transpose(self, loop: Loop) -> None:
        """Before a tile loop: what it will read across the vector loop's lanes is read along them, row by row.

        Row k of the tile holds what lane k reads; turning rows into columns takes log2(lanes) rounds of exchanges
        between rows whose numbers differ in one bit.
        """
        vector = self.vector
        assert vector is not None
        lanes = vector.lanes
        seen: set[int] = set()
        for s in loop.body:
            for v in expressions(operands(s), seen):
                split = self._split(v.args[0]) if v.op == "load" and self._varies(v.args[0]) else None
                if split is None or split[1].op == "const" or id(v.attr) in self.written:
                    continue
                inner = _coefficient(split[0], loop.var)
                if inner is None:
                    continue
                rest, along = inner
                if along == 1 and not _mentions(split[1], loop.var):
                    self._read_tile(v, loop, rest, split[1], lanes)

    def _read_tile(self, v: Value, loop: Loop, base: Value, step: Value, lanes: int) -> None:
        vector = self.vector
        assert vector is not None
        buffer: Buffer = v.attr
        kind = stored(buffer.dtype)
        row_kind = f"<{lanes} x {kind}>"
        begin, end = self.emit(loop.begin), self.emit(loop.end)
        width = self._let(f"sub i64 {end}, {begin}")
        width = self._let(f"trunc i64 {width} to i32")
        depth = len(self.scopes) - 1
        limit = self._splat(width, "i32", lanes, depth)
        iota = "<" + ", ".join(f"i32 {i}" for i in range(lanes)) + ">"
        columns = self._let(f"icmp slt <{lanes} x i32> {iota}, {limit}")
        start = self._let(f"mul i64 {vector.base}, {self.emit(step)}")
        start = self._let(f"add i64 {start}, {begin}")
        start = self._let(f"add i64 {start}, {self.emit(base)}")
        rows = []
        for k in range(lanes):
            mask = columns
            if vector.mask is not None:
                alive = self._let(f"extractelement <{lanes} x i1> {vector.mask}, i32 {k}")
                everyone = self._splat(alive, "i1", lanes, depth)
                mask = self._let(f"and <{lanes} x i1> {columns}, {everyone}")
            at = self._address(buffer, start)
            rows.append(
                self._masked("load", _tag(buffer.dtype, lanes), row_kind, at, "ptr", lanes, mask, buffer.dtype.size, depth)
            )
            start = self._let(f"add i64 {start}, {self.emit(step)}")
        bit = lanes // 2
        while bit:
            for i in range(lanes):
                if i & bit:
                    continue
                a, b = rows[i], rows[i + bit]
                low = ", ".join(f"i32 {j if not j & bit else lanes + j - bit}" for j in range(lanes))
                high = ", ".join(f"i32 {j + bit if not j & bit else lanes + j}" for j in range(lanes))
                rows[i] = self._let(f"shufflevector {row_kind} {a}, {row_kind} {b}, <{lanes} x i32> <{low}>")
                rows[i + bit] = self._let(f"shufflevector {row_kind} {a}, {row_kind} {b}, <{lanes} x i32> <{high}>")
            bit //= 2
        slot = self._alloca(f"[{lanes} x {row_kind}]")
        for k, row in enumerate(rows):
            at = self._let(f"getelementptr {row_kind}, ptr {slot}, i64 {k}")
            self._line(f"store {row_kind} {row}, ptr {at}, align 64")
        self._transposed[id(v)] = (slot, loop)

    # --- registers ----------------------------------------------------------------------------------------------------
    def _reset(self, register: Register) -> None:
        lanes = self.vector.lanes if self.vector is not None else 1
        self.register_depth[id(register)] = len(self.scopes) - 1
        self.register_lanes[id(register)] = lanes
        kind = self._kind(register.dtype, lanes)
        slot = self.register_slot[id(register)] = self._alloca(kind)
        self._line(f"store {kind} {self._neutral(register, lanes)}, ptr {slot}, align 64")

    def _neutral(self, register: Register, lanes: int) -> str:
        text = literal(register.init, register.dtype)
        kind = element(register.dtype)
        return text if lanes == 1 else f"splat ({kind} {text})"

    def _ssa(self, name: str, dtype: Dtype, lanes: int) -> Value:
        value = Value("ssa", (), dtype, lanes > 1)
        self._remember(value, name)
        return value

    def _update(self, s: Update) -> None:
        register = s.register
        lanes = self.register_lanes[id(register)]
        values = [(register, s.value)]
        if register.index is not None:
            assert s.position is not None
            values.append((register.index, s.position))
        news = [self._ssa(self.operand(v, lanes), v.dtype, lanes) for _, v in values]
        olds = []
        for r, _ in values:
            kind = self._kind(r.dtype, lanes)
            olds.append(self._ssa(self._let(f"load {kind}, ptr {self.register_slot[id(r)]}, align 64"), r.dtype, lanes))
        for (r, _), result in zip(values, _merge(register, olds, news), strict=True):
            name = self.operand(result, lanes)
            kind = self._kind(r.dtype, lanes)
            if self.vector is not None and self.vector.mask is not None and lanes > 1:
                old = self.emit(olds[0] if r is register else olds[1])
                name = self._let(f"select <{lanes} x i1> {self.vector.mask}, {kind} {name}, {kind} {old}")
            self._line(f"store {kind} {name}, ptr {self.register_slot[id(r)]}, align 64")

    def _fold(self, register: Register, wide: list[str], lanes: int, narrow: list[str]) -> None:
        """Combines a register's lanes, half with half, and the result with what it held before the loop."""
        registers = [register] + ([register.index] if register.index is not None else [])
        names = [
            self._let(f"load {self._kind(r.dtype, lanes)}, ptr {slot}, align 64")
            for r, slot in zip(registers, wide, strict=True)
        ]
        while lanes > 1:
            half = lanes // 2
            sides: list[list[Value]] = []
            for first in (0, half):
                picks = ", ".join(f"i32 {first + i}" for i in range(half))
                side = []
                for r, name in zip(registers, names, strict=True):
                    kind = self._kind(r.dtype, lanes)
                    if half > 1:
                        part = self._let(f"shufflevector {kind} {name}, {kind} poison, <{half} x i32> <{picks}>")
                    else:
                        part = self._let(f"extractelement {kind} {name}, i32 {first}")
                    side.append(self._ssa(part, r.dtype, half))
                sides.append(side)
            names = [self._narrow(v, half) for v in _merge(register, sides[0], sides[1])]
            lanes = half
        olds = [
            self._ssa(self._let(f"load {element(r.dtype)}, ptr {slot}, align 64"), r.dtype, 1)
            for r, slot in zip(registers, narrow, strict=True)
        ]
        news = [self._ssa(name, r.dtype, 1) for r, name in zip(registers, names, strict=True)]
        for r, slot, result in zip(registers, narrow, _merge(register, olds, news), strict=True):
            self._line(f"store {element(r.dtype)} {self._narrow(result, 1)}, ptr {slot}, align 64")

    def _narrow(self, value: Value, lanes: int) -> str:
        """Emits a value whose lanes are fewer than the vector loop's."""
        saved = self.vector
        self.vector = _Vector(Value("var", (), INDEX, "none"), lanes, "0", len(self.scopes) - 1, None) if lanes > 1 else None
        self._varying.clear()
        name = self.operand(value, lanes)
        self.vector = saved
        self._varying.clear()
        return name

    # --- statements ---------------------------------------------------------------------------------------------------
    def _statements(self, statements: list[Statement]) -> None:
        for s in statements:
            if isinstance(s, Store):
                self._store(s)
            elif isinstance(s, Reset):
                self._reset(s.register)
            elif isinstance(s, Update):
                self._update(s)
            elif s.kind == "vector":
                self._vector_loop(s)
            elif s.kind == "parallel":
                self._loop(s, "%lo", "%hi", 1, None)
            else:
                if s.kind == "tile":
                    self._transpose(s)
                self._loop(s, self.emit(s.begin), self.emit(s.end), 1, None)
                self._transposed.clear()

    def _updated_in(self, loop: Loop) -> list[Register]:
        """Registers that a loop changes but does not begin."""
        begun = {id(s.register) for s, _ in walk(loop.body) if isinstance(s, Reset)}
        found = {id(s.register): s.register for s, _ in walk(loop.body) if isinstance(s, Update)}
        return [r for key, r in found.items() if key not in begun]

    def _loop(self, loop: Loop, begin: str, end: str, step: int, vector: _Vector | None) -> None:
        """A counting loop; for a vector loop over whole vectors ``vector`` describes it."""
        slot = self._alloca("i64")
        head, body, done = (self._fresh(p)[1:] for p in ("head", "body", "done"))
        outer = self.scopes[-1].lines
        updated = {id(r) for r in self._updated_in(loop)}
        for r in self._updated_in(loop):
            if r.index is not None:
                updated.add(id(r.index))
        self.scopes.append(_Scope())
        self.open_updates.append(updated)
        depth = len(self.scopes) - 1
        self.var_depth[id(loop.var)] = depth
        self._keep.append(loop.var)
        i = self._let(f"load i64, ptr {slot}")
        if vector is None:
            self.scopes[-1].values[id(loop.var)] = i
        else:
            vector.base = i
            vector.depth = depth
            self.vector = vector
            self._forget()
        self._depths.clear()
        self._statements(loop.body)
        if vector is not None:
            self.vector = None
            self._forget()
        self._depths.clear()
        following = self._let(f"add nsw i64 {i}, {step}")
        self._line(f"store i64 {following}, ptr {slot}")
        self._line(f"br label %{head}")
        lines = self.scopes.pop().lines
        self.open_updates.pop()
        for r in updated:  # what was read of them before has changed
            self._drop_reads(r)
        self._depths.clear()
        outer.append(f"  store i64 {begin}, ptr {slot}")
        outer.append(f"  br label %{head}")
        outer.append(f"{head}:")
        now = self._fresh()
        test = self._fresh()
        outer.append(f"  {now} = load i64, ptr {slot}")
        outer.append(f"  {test} = icmp slt i64 {now}, {end}")
        outer.append(f"  br i1 {test}, label %{body}, label %{done}")
        outer.append(f"{body}:")
        outer.extend(lines)
        outer.append(f"{done}:")

    def _forget(self) -> None:
        self._varying.clear()
        self._affine.clear()

    def _drop_reads(self, register: int) -> None:
        for scope in self.scopes:
            for v in [v for v in self._keep if v.op == "reg" and id(v.attr) == register]:
                scope.values.pop(id(v), None)

    def _vector_loop(self, loop: Loop) -> None:
        lanes = loop.step
        begin, end = self.emit(loop.begin), self.emit(loop.end)
        registers = self._updated_in(loop)
        outer_slots = dict(self.register_slot)
        for r in registers:
            for part in (r, r.index):
                if part is not None:
                    kind = self._kind(part.dtype, lanes)
                    self.register_slot[id(part)] = self._alloca(kind)
                    self.register_lanes[id(part)] = lanes
                    self._line(f"store {kind} {self._neutral(part, lanes)}, ptr {self.register_slot[id(part)]}, align 64")
        count = self._let(f"sub i64 {end}, {begin}")
        whole = self._let(f"and i64 {count}, {-lanes}")
        positive = self._let(f"icmp sgt i64 {count}, 0")
        kept = self._let(f"select i1 {positive}, i64 {whole}, i64 0")
        middle = self._let(f"add i64 {begin}, {kept}")
        self._loop(loop, begin, middle, lanes, _Vector(loop.var, lanes, "", 0, None))
        self._tail(loop, middle, end, lanes)
        for r in registers:
            parts = [p for p in (r, r.index) if p is not None]
            wide = [self.register_slot[id(p)] for p in parts]
            for p in parts:
                self.register_slot[id(p)] = outer_slots[id(p)]
                self.register_lanes[id(p)] = 1
                self._drop_reads(id(p))
            self._forget()
            self._fold(r, wide, lanes, [outer_slots[id(p)] for p in parts])

    def _tail(self, loop: Loop, middle: str, end: str, lanes: int) -> None:
        """The last, incomplete vector: a loop of at most one iteration."""
        rest = self._let(f"sub i64 {end}, {middle}")
        number = self._let(f"trunc i64 {rest} to i32")
        limit = self._splat(number, "i32", lanes, len(self.scopes) - 1)
        iota = "<" + ", ".join(f"i32 {i}" for i in range(lanes)) + ">"
        mask = self._let(f"icmp slt <{lanes} x i32> {iota}, {limit}")
        self._loop(loop, middle, end, lanes, _Vector(loop.var, lanes, "", 0, mask))

    # --- the whole ----------------------------------------------------------------------------------------------------
    def run(self) -> str:
        """The module's text."""
        entry = self.scopes[0]
        word = 0

        def argument(number: int) -> str:
            at = self._let(f"getelementptr inbounds i64, ptr %args, i64 {number}", 0)
            return self._let(f"load i64, ptr {at}, align 8", 0)

        for b in self.kernel.buffers:
            slot, offset = argument(word), argument(word + 1)
            word += 2
            at = self._let(f"getelementptr inbounds ptr, ptr %table, i64 {slot}", 0)
            base = self._let(f"load ptr, ptr {at}, align 8", 0)
            entry.lines.append(f"  %{b.name} = getelementptr inbounds i8, ptr {base}, i64 {offset}")
        for s in self.kernel.scalars:
            slot = argument(word)
            word += 1
            at = self._let(f"getelementptr inbounds i64, ptr %table, i64 {slot}", 0)
            kind = stored(s.dtype)
            value = self._let(f"load {kind}, ptr {at}, align 8", 0)
            entry.values[id(s)] = self._let(f"icmp ne i8 {value}, 0", 0) if s.dtype is bool_ else value
        for a in self.kernel.args:
            entry.values[id(a)] = argument(word)
            word += 1
        self._statements(self.kernel.body)
        header = f"define void @{self.name}(ptr noalias nocapture %table, ptr noalias nocapture %args, i64 %lo, i64 %hi) #0 {{"
        return "\n".join(
            [
                header,
                "entry:",
                *self.allocas,
                *entry.lines,
                "  ret void",
                "}",
                *sorted(self.declared),
                'attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }',
            ]
        )


def _tag(dtype: Dtype, lanes: int) -> str:
    """How the names of LLVM's intrinsics spell a vector in memory."""
    letter = "f" if dtype.is_float and dtype is not bfloat16 else "i"
    return f"v{lanes}{letter}{dtype.size * 8}"


def _small_step(split: tuple[Value, Value] | None) -> int | None:
    """The stride of an access, where it is a small constant."""
    if split is None or split[1].op != "const":
        return None
    step = split[1].attr
    return step if step == -1 or 1 < abs(step) <= STRIDED else None


def _unknown(root: Value, known: dict[int, Any]) -> Iterator[Value]:
    """The sub-expressions of a value that are not in ``known`` yet, operands first."""
    stack = [root]
    while stack:
        v = stack[-1]
        if id(v) in known:
            stack.pop()
            continue
        missing = [a for a in v.args if id(a) not in known]
        if missing:
            stack.extend(missing)
        else:
            stack.pop()
            yield v


def _merge(register: Register, olds: list[Value], news: list[Value]) -> list[Value]:
    """A register (and its companion) combined with a new value."""
    if register.index is None:
        return [combine(register.combine, olds[0], news[0])]
    wins = better(register.combine, news[0], olds[0], news[1], olds[1])
    return [select(wins, news[0], olds[0]), select(wins, news[1], olds[1])]


def _affine_of(name: str, a: tuple[Value, Value], b: tuple[Value, Value]) -> tuple[Value, Value] | None:
    def is_const(v: Value, n: int) -> bool:
        return v.op == "const" and v.attr == n

    def plus(x: Value, y: Value) -> Value:
        return y if is_const(x, 0) else x if is_const(y, 0) else _fold_const("add", x, y)

    def times(x: Value, y: Value) -> Value:
        if is_const(x, 0) or is_const(y, 0):
            return const(0, INDEX)
        return y if is_const(x, 1) else x if is_const(y, 1) else _fold_const("mul", x, y)

    if name == "add":
        return plus(a[0], b[0]), plus(a[1], b[1])
    if name == "sub":
        minus = const(-1, INDEX)
        return plus(a[0], times(b[0], minus)), plus(a[1], times(b[1], minus))
    if is_const(a[1], 0):
        return times(a[0], b[0]), times(a[0], b[1])
    if is_const(b[1], 0):
        return times(a[0], b[0]), times(a[1], b[0])
    return None


def _mentions(value: Value, var: Value) -> bool:
    return any(v is var for v in expressions((value,), set()))


def _coefficient(value: Value, var: Value) -> tuple[Value, int] | None:
    """value = rest + n · var, if n is a number and rest does not depend on var."""
    if value is var:
        return const(0, INDEX), 1
    if not _mentions(value, var):
        return value, 0
    if value.op in ("add", "sub"):
        a, b = (_coefficient(x, var) for x in value.args)
        if a is None or b is None:
            return None
        sign = 1 if value.op == "add" else -1
        return Value(value.op, (a[0], b[0]), INDEX), a[1] + sign * b[1]
    return None


def _fold_const(name: str, x: Value, y: Value) -> Value:
    if x.op == "const" and y.op == "const":
        return const(x.attr + y.attr if name == "add" else x.attr * y.attr, INDEX)
    return Value(name, (x, y), INDEX)


def generate(kernel: Kernel, name: str) -> str:
    """The LLVM IR of a kernel, as a module with one function of the given name."""
    return Emitter(kernel, name).run()
