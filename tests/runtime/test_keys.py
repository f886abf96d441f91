"""Caches: two graphs, functions or kernels that differ in one part of a key, and in their results."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import arrax.core as mx
from arrax.compiler import kernel as ir
from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.graph.primitive import bind
from arrax.graph.template import Template
from arrax.prims import blocks, gather, leaf, view
from arrax.prims import pointwise as p
from arrax.prims.reduce import max_p, reduce, sum_p
from arrax.runtime import executor, plans
from arrax.runtime.buffer import Buffer, pool

Make = Callable[[], list[Node]]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plans, and no memory with what an earlier evaluation left there."""
    take = pool.take

    def spoiled(size: int) -> Buffer:
        block = take(size)
        ctypes.memset(block.ptr, 0xA5, size)
        return block

    monkeypatch.setattr(plans, "_plans", OrderedDict())
    monkeypatch.setattr(executor, "_bound", OrderedDict())
    monkeypatch.setattr(pool, "take", spoiled)


def forget() -> None:
    plans._plans.clear()
    executor._bound.clear()


def data(*shape: int, dtype: Dtype = dtypes.float32) -> Node:
    """An array of the same numbers at every call."""
    values = np.random.default_rng(0).normal(size=shape) * 9 + 0.5
    return executor.from_numpy_array(values.astype(dtype.np))


def evaluated(make: Make) -> list[np.ndarray]:
    nodes = make()
    executor.evaluate(nodes)
    return [np.array(executor.to_numpy(n)) for n in nodes]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return [(x.dtype, x.shape, x.tobytes()) for x in a] == [(x.dtype, x.shape, x.tobytes()) for x in b]


def differing(a: tuple, b: tuple) -> list[tuple[Any, Any]]:
    """Where the keys of two graphs differ."""
    assert len(a) == len(b)
    return [(x, y) for x, y in zip(a, b, strict=True) if x != y]


ENTRIES = {2: ("type", "sizes"), 5: ("operation", "parameters", "type", "sizes", "operands")}


def differing_kinds(a: tuple, b: tuple) -> set[str]:
    """What the keys of two plans differ in."""
    kinds: set[str] = set()
    assert len(a) == len(b)
    for first, second in zip(a[:-1], b[:-1], strict=True):
        assert len(first) == len(second)
        names = ENTRIES[len(first)]
        if type(first[0]) is int or (len(first) == 2 and type(first[0]) is tuple):  # of a composite or a call
            names = ("number", "operands")
        kinds |= {name for name, x, y in zip(names, first, second, strict=True) if x != y}
    return kinds | ({"outputs"} if a[-1] != b[-1] else set())


def check(first: Make, second: Make, keys: OrderedDict) -> tuple[tuple, tuple]:
    """Each gives the same after the other one as alone, to the bit, and that is not the same. Returns their keys."""
    alone, found = [], []
    for make in (first, second):
        forget()
        alone.append(evaluated(make))
        found.append(next(reversed(keys)))
    assert not same(*alone)
    for order in ((0, 1), (1, 0)):
        forget()
        for k in order:
            assert same(evaluated((first, second)[k]), alone[k])
    return found[0], found[1]


# --- graphs -----------------------------------------------------------------------------------------------------------
def of(function: Callable[..., Any], *options: dict[str, Any]) -> tuple[Make, Make]:
    """A function with one option, and with another one."""

    def make(option: dict[str, Any]) -> Make:
        def call() -> list[Node]:
            found = function(**option)
            return found if isinstance(found, list) else [found]

        return call

    first, second = options
    return make(first), make(second)


def exp(a: Node) -> Node:
    return bind(p.exp_p, (a,))


def of_two(last: int) -> Node:
    operands = data(40), view.flip(data(40), (0,))
    inner = exp(p.div(p.mul(*operands), leaf.constant(100, dtypes.float32)))
    return p.sub(inner, operands[last])


def outputs(reverse: bool) -> list[Node]:
    inner = exp(p.neg(data(40)))
    found = [inner, p.mul(inner, inner)]
    return found[::-1] if reverse else found


def called(kind: Callable[[Node], Node], which: int = 0) -> Node:
    f = mx.compile(lambda x: (wrap(kind(x._node)), wrap(p.neg(x._node))))
    results = f(wrap(data(40)))
    return exp(p.minimum(results[which]._node, leaf.constant(3, dtypes.float32)))


def full(value: float, dtype: Dtype) -> Node:
    return view.broadcast(leaf.constant(value, dtype), (40,))


def sine(a: Node) -> Node:
    return bind(p.sin_p, (a,))


def cosine(a: Node) -> Node:
    return bind(p.cos_p, (a,))


def widened(dtype: Dtype) -> Node:
    return p.cast(data(40, dtype=dtype), dtypes.float32)


def uneven(dtype: Dtype) -> Node:
    """An index with numbers that not every type has."""
    values = np.arange(50) * 7
    return executor.from_numpy_array(values.astype(dtype.np))


HALVES = {"dtype": dtypes.float16}, {"dtype": dtypes.bfloat16}
SQUARE = {"axes": (0,)}, {"axes": (1,)}
FUNCTIONS = {"f": sine}, {"f": cosine}

GRAPHS = {
    "shape of data": of(lambda shape: exp(sine(data(*shape))), {"shape": (20, 30)}, {"shape": (30, 20)}),
    "type of data": of(lambda dtype: exp(p.neg(widened(dtype))), *HALVES),
    "operation": of(lambda f: exp(f(data(40))), *FUNCTIONS),
    "parameters": of(lambda axes: exp(reduce(max_p, sine(data(20, 20)), axes)), *SQUARE),
    "operands": of(of_two, {"last": 0}, {"last": 1}),
    "type of a scalar": of(lambda dtype: full(7, dtype), {"dtype": dtypes.int32}, {"dtype": dtypes.float32}),
    "parameters of a source": of(
        lambda axis: p.mul(leaf.iota((20, 20), axis, dtypes.int32), leaf.constant(3, dtypes.int32)),
        {"axis": 0},
        {"axis": 1},
    ),
    "order of results": of(outputs, {"reverse": False}, {"reverse": True}),
    "what is called": of(lambda f: called(f), *FUNCTIONS),
    "which result": of(lambda which: called(sine, which), {"which": 0}, {"which": 1}),
    "parameters of a composite": of(
        lambda eps: exp(mx.fast.rms_norm(wrap(data(20, 20)), None, eps)._node), {"eps": 1e-5}, {"eps": 10.0}
    ),
    # graphs of one operation
    "one operation: operation": of(lambda f: f(data(40)), *FUNCTIONS),
    "one operation: parameters": of(
        lambda axes: reduce(max_p, data(20, 20), axes), *SQUARE
    ),
    "one operation: shape": of(lambda shape: sine(data(*shape)), {"shape": (20, 30)}, {"shape": (30, 20)}),
    "one operation: type": of(lambda dtype: widened(dtype), *HALVES),
    "one operation: result's type": of(
        lambda dtype: p.cast(data(40), dtype), {"dtype": dtypes.int32}, {"dtype": dtypes.int8}
    ),
    "one operation: second operand's shape": of(
        lambda shape: gather.take(data(40), data(*shape, dtype=dtypes.int32), 0), {"shape": (50,)}, {"shape": (60,)}
    ),
    "one operation: second operand's type": of(
        lambda dtype: gather.take(data(400), uneven(dtype), 0),
        {"dtype": dtypes.int32},
        {"dtype": dtypes.uint8},
    ),
    "one operation: first operand's shape": of(
        lambda shape: p.sub(data(*shape), data(20)), {"shape": (20, 20)}, {"shape": (20, 1)}
    ),
    "one operation: first operand's type": of(
        lambda dtype: gather.take(data(40, dtype=dtype), data(50, dtype=dtypes.int32), 0),
        {"dtype": dtypes.float32},
        {"dtype": dtypes.float64},
    ),
    "one operation: scalar's type": of(
        lambda value, dtype: gather.take(data(40, 50), leaf.constant(value, dtype), 0),
        {"value": 5, "dtype": dtypes.int32},
        {"value": -2, "dtype": dtypes.int8},
    ),
    "one operation with a scalar: shape": of(
        lambda shape: p.sub(data(*shape), leaf.constant(3, dtypes.float32)), {"shape": (20, 30)}, {"shape": (30, 20)}
    ),
    "one operation with a scalar: type": of(
        lambda dtype: gather.take(data(40, 50, dtype=dtype), leaf.constant(-2, dtypes.int32), 0),
        {"dtype": dtypes.float32},
        {"dtype": dtypes.float64},
    ),
    "one operation with a scalar before: shape": of(
        lambda shape: p.sub(leaf.constant(3, dtypes.float32), data(*shape)), {"shape": (20, 30)}, {"shape": (30, 20)}
    ),
    "one operation, a view: its parameters": of(
        lambda order: view.transpose(sine(data(9, 10, 11)), order), {"order": (1, 0, 2)}, {"order": (2, 0, 1)}
    ),
    "one operation, a view: operation": of(lambda f: view.flip(f(data(40)), (0,)), *FUNCTIONS),
    "one operation, a view: parameters": of(
        lambda axes: view.reshape(reduce(max_p, data(20, 20), axes), (4, 5)), *SQUARE
    ),
}  # fmt: skip


@pytest.mark.parametrize("part", GRAPHS)
def test_graphs(part: str) -> None:
    found = differing(*check(*GRAPHS[part], executor._bound))
    assert len(found) == 1, found


def test_a_scalar_on_either_side() -> None:
    """Data and a scalar of their type are no graph of one key."""
    forget()
    for _ in range(2):
        for order in (1, -1):
            values = np.array(executor.to_numpy(data(40)))
            operands = [data(40), leaf.constant(3, dtypes.float32)][::order]
            (found,) = evaluated(lambda operands=operands: [p.sub(*operands)])
            np.testing.assert_array_equal(found, order * (values - 3))
    assert len(executor._bound) == 2


def test_what_is_held_on_the_way() -> None:
    """It is computed with the rest if, and only if, somebody has it."""
    for held in (False, True, True, False, True):
        inner = exp(p.neg(data(40)))
        outer = [p.mul(inner, inner)]
        holder = inner if held else None
        expected = np.exp(-np.array(executor.to_numpy(data(40))))
        del inner
        np.testing.assert_allclose(evaluated(lambda outer=outer: outer)[0], expected**2, rtol=1e-5)
        if holder is not None:
            assert holder.buffer is not None
            np.testing.assert_allclose(executor.to_numpy(holder), expected, rtol=1e-5)
    assert len(executor._bound) == 2


# --- plans ------------------------------------------------------------------------------------------------------------
def summed(rows: int) -> Node:
    """A reduction of a handful is written out where it is used."""
    return exp(reduce(sum_p, p.mul(data(rows, 50), leaf.constant(0.01, dtypes.float32)), (0,)))


def repeated(rows: int) -> Node:
    lines = view.broadcast(view.reshape(data(50), (1, 50)), (rows, 50))
    return exp(p.neg(reduce(sum_p, lines, (0,))))


def regrouped(shape: tuple[int, int]) -> Node:
    """The runs of axes that hold the same elements are other ones."""
    return reduce(sum_p, view.reshape(data(10, 12, 14, 15), shape), (1,))


def window(strides: tuple[int, int]) -> Node:
    return exp(p.neg(gather.as_strided(data(500), (20, 9), strides, 2)))


def written(strides: tuple[int, int]) -> Node:
    return gather.strided_update(data(500), data(20, 9), strides, 2)


def cut(start: int, step: int) -> Node:
    return exp(p.neg(view.slice_(data(100), (40,), (start,), (step,))))


def into(step: int) -> Node:
    return view.slice_update(data(100), data(40), (3,), (step,))


def weighted(weight: bool) -> Node:
    """A composite to which one array is a weight or a bias."""
    return exp(bind(blocks.layer_norm_p, (data(20, 30), data(30)), (1e-5, dtypes.float32, weight)))


def turned(axes: tuple[int, int, int]) -> Node:
    return exp(view.transpose(sine(data(20, 20, 20)), axes))


def normalised(last: int) -> Node:
    a, b = wrap(data(20, 20)), wrap(view.flip(data(20, 20), (0,)))
    mx.eval(b)
    found = mx.fast.rms_norm((a, b)[last], None, 1e-5)
    return exp(p.neg(p.add(found._node, p.mul(a._node, b._node))))


# the part that they differ in, and for what it stands
PLANS = {
    ("type", "data"): of(lambda dtype: exp(p.neg(widened(dtype))), *HALVES),
    ("sizes", "data"): of(summed, {"rows": 3}, {"rows": 4}),
    ("sizes", "data, the largest that are tiny"): of(summed, {"rows": 7}, {"rows": 8}),
    ("sizes", "data, the smallest that are not"): of(summed, {"rows": 8}, {"rows": 9}),
    ("sizes", "data, short ones"): of(summed, {"rows": 32}, {"rows": 33}),
    ("operation", ""): of(lambda f: exp(f(data(40))), *FUNCTIONS),
    ("parameters", ""): of(turned, {"axes": (1, 0, 2)}, {"axes": (2, 1, 0)}),
    ("type", "a source"): of(
        lambda dtype: exp(p.mul(p.cast(leaf.iota((400,), 0, dtype), dtypes.float32), data(400))),
        {"dtype": dtypes.int32},
        {"dtype": dtypes.uint8},
    ),
    ("type", "a scalar"): of(
        lambda value, dtype: exp(p.cast(full(value, dtype), dtypes.float64)),
        {"value": 7, "dtype": dtypes.int32},
        {"value": 2.5, "dtype": dtypes.float32},
    ),
    ("sizes", "a view"): of(repeated, {"rows": 5}, {"rows": 6}),
    ("sizes", "a view, the smallest that are not tiny"): of(repeated, {"rows": 8}, {"rows": 9}),
    ("operands", ""): of(of_two, {"last": 0}, {"last": 1}),
    ("outputs", ""): of(outputs, {"reverse": False}, {"reverse": True}),
    ("number", "a call"): of(called, {"kind": sine}, {"kind": cosine}),
    ("number", "which result"): of(lambda which: called(sine, which), {"which": 0}, {"which": 1}),
    ("number", "a composite"): of(weighted, {"weight": True}, {"weight": False}),
    ("operands", "a composite"): of(normalised, {"last": 0}, {"last": 1}),
    ("parameters", "a source"): of(
        lambda axis: p.mul(leaf.iota((20, 20), axis, dtypes.int32), leaf.constant(3, dtypes.int32)),
        {"axis": 0},
        {"axis": 1},
    ),
    ("parameters", "a reshape"): of(regrouped, {"shape": (120, 210)}, {"shape": (140, 180)}),
    ("parameters", "a slice's steps"): of(cut, {"start": 3, "step": 1}, {"start": 3, "step": 2}),
    ("parameters", "whether a slice begins at 0"): of(cut, {"start": 0, "step": 1}, {"start": 5, "step": 1}),
    ("parameters", "an update's steps"): of(into, {"step": 1}, {"step": 2}),
    ("parameters", "strides"): of(window, {"strides": (9, 1)}, {"strides": (1, 9)}),
    ("parameters", "strides of what is written"): of(written, {"strides": (9, 1)}, {"strides": (1, 20)}),
}


@pytest.mark.parametrize("part", PLANS, ids=" ".join)
def test_plans(part: tuple[str, str]) -> None:
    assert differing_kinds(*check(*PLANS[part], plans._plans)) == {part[0]}


def joined(length: int) -> Node:
    """Sizes that nobody sees outside of the call."""
    f = mx.compile(lambda x: mx.concatenate([x[:40], x[50 : 50 + length]]))
    return exp(p.neg(f(wrap(data(200)))._node))


def test_sizes_inside_of_calls() -> None:
    """One structure: but in one of the two sizes are equal that are not in the other."""
    assert not differing_kinds(*check(*of(joined, {"length": 40}, {"length": 45}), plans._plans))


# --- compiled functions -----------------------------------------------------------------------------------------------
class Named(NamedTuple):
    a: Any


class OtherNamed(NamedTuple):
    a: Any


def array(*shape: int, dtype: mx.Dtype = mx.float32) -> mx.array:
    return mx.zeros(shape, dtype)


A = array(20)
# (arguments, keywords) that differ in one thing
CALLS: dict[str, tuple[tuple, tuple]] = {
    "shape": (((array(20, 30),), {}), ((array(30, 20),), {})),
    "type": (((array(20),), {}), ((array(20, dtype=mx.int32),), {})),
    "number": (((A,), {}), ((A, A), {})),
    "list or tuple": ((([A],), {}), (((A,),), {})),
    "class of a tuple": (((Named(A),), {}), ((OtherNamed(A),), {})),
    "class of a dictionary": ((({"a": A},), {}), ((OrderedDict(a=A),), {})),
    "length": ((([[A], A],), {}), (([[A, A]],), {})),
    "nesting": ((([A, [A]],), {}), (([[A], A],), {})),
    "names": ((({"a": A},), {}), (({"b": A},), {})),
    "order of names": ((({"a": A, "b": A},), {}), (({"b": A, "a": A},), {})),
    "value": (((A, 1), {}), ((A, 2), {})),
    "number or truth": (((A, 1), {}), ((A, True), {})),
    "integer or float": (((A, 1), {}), ((A, 1.0), {})),
    "number or text": (((A, 1), {}), ((A, "1"), {})),
    "nothing": (((A, 0), {}), ((A, None), {})),
    "sign of zero": (((A, 0.0), {}), ((A, -0.0), {})),
    "value of a float": (((A, 0.1), {}), ((A, 0.1 + 2**-55), {})),
    "not a number": (((A, float("nan")), {}), ((A, float("inf")), {})),
    "keyword": (((A,), {"a": 1}), ((A,), {"b": 1})),
    "keyword or dictionary": (((A, {"a": 1}), {}), ((A,), {"a": 1})),
    "keyword or dictionary of arrays": (((A, {"a": A}), {}), ((A,), {"a": A})),
}


@pytest.mark.parametrize("part", CALLS)
def test_arguments_of_compiled_functions(part: str) -> None:
    traces: list[None] = []

    def traced(*args: Any, **kwargs: Any) -> mx.array:
        traces.append(None)
        return mx.zeros(20) + float(len(traces))

    for order in (CALLS[part], CALLS[part][::-1]):
        traces.clear()
        f = mx.compile(traced)
        found = [f(*args, **kwargs)[0].item() for args, kwargs in (*order, *order)]
        assert found == [1, 2, 1, 2]


# what is captured, and the same with one thing changed
STATES: dict[str, tuple[Any, Any]] = {
    "shape": ({"a": array(20, 30)}, {"a": array(30, 20)}),
    "type": ({"a": array(20)}, {"a": array(20, dtype=mx.int32)}),
    "names": ({"a": A}, {"b": A}),
    "number": ({"a": A}, {"a": A, "b": A}),
    "nesting": ({"a": [A, [A]]}, {"a": [[A], A]}),
    "names inside": ({"a": {"b": A}}, {"a": {"c": A}}),
    "names of containers": ({"a": {"b": A}}, {"c": {"b": A}}),
    "length inside": ({"a": [[A], A]}, {"a": [[A, A]]}),
}


@pytest.mark.parametrize("part", STATES)
def test_captured_state_of_compiled_functions(part: str) -> None:
    traces: list[None] = []
    state: dict[str, Any] = {}

    def traced(x: mx.array) -> mx.array:
        traces.append(None)
        return x + float(len(traces))

    f = mx.compile(traced, inputs=state)
    found = []
    for content in (*STATES[part], *STATES[part]):
        state.clear()
        state.update(content)
        found.append(f(A)[0].item())
    assert found == [1, 2, 1, 2]


def stand_in(*shape: int, dtype: Dtype = dtypes.float32) -> Node:
    return Node(leaf.placeholder, (), (), shape, dtype)


def template(part: str = "", other: bool = False) -> Template:
    """A recorded function; another one that differs in the part."""

    def when(name: str, first: Any, second: Any) -> Any:
        return second if other and part == name else first

    x, y = stand_in(20, 20), stand_in(20, 20)
    scale = leaf.constant(2, when("type of a constant", dtypes.float32, dtypes.float64))
    inner = when("operation", sine, cosine)(x)
    added = p.sub(*when("operands", (inner, y), (y, inner)))
    sliced = view.slice_(added, (10, 10), when("parameters", (1, 2), (2, 1)))
    wide = p.mul(p.cast(sliced, scale.dtype), scale)
    results = when("results", [wide, added], [added, wide])
    return Template([x, y], [*results, *when("one result more", [], [added])])


TEMPLATES = ("operation", "operands", "parameters", "type of a constant", "results", "one result more")


def test_equal_templates_have_one_number() -> None:
    assert template().number == template("none", other=True).number


@pytest.mark.parametrize("part", TEMPLATES)
def test_templates(part: str) -> None:
    assert template(part).number != template(part, other=True).number


def test_which_results_of_a_call_are_wanted() -> None:
    f = mx.compile(lambda x: (x + 1, x * 2, x))
    x = mx.arange(40.0)
    expected = [np.arange(40) + 1, np.arange(40) * 2, np.arange(40)]
    for _ in range(2):
        for wanted in ((0,), (1,), (2,), (0, 1), (1, 0), (2, 1), (0, 1, 2), (2, 1, 0), (1, 1)):
            results = f(x)
            chosen = [results[k] for k in wanted]
            del results
            mx.eval(chosen)
            for found, k in zip(chosen, wanted, strict=True):
                np.testing.assert_array_equal(found, expected[k])


def test_constants_of_functions_that_share_a_plan() -> None:
    for value in (2.0, 3.0, -0.0, 0.0, 2.0):
        f = mx.compile(lambda x, value=value: x * value)
        x = mx.arange(1.0, 41.0)
        with np.errstate(divide="ignore"):
            expected = 1 / (np.arange(1, 41, dtype=np.float32) * np.float32(value))
            np.testing.assert_array_equal(1 / np.array(f(x)), expected)  # alone, and inside of a graph
        np.testing.assert_array_equal(1 / mx.stack([f(x), x])[0], expected)


# --- kernels ----------------------------------------------------------------------------------------------------------
def kernel(part: str = "") -> ir.Kernel:
    """A kernel with statements of each kind; it does not have to make sense."""

    def when(name: str, first: Any, second: Any) -> Any:
        return second if part == name else first

    f4, i4 = dtypes.float32, dtypes.int32
    source = ir.Buffer("b0", when("type of a buffer", f4, dtypes.float64))
    other = ir.Buffer("b1", source.dtype)
    target = ir.Buffer("b2", f4, written=True)
    count, size = ir.Value("arg", (), ir.INDEX, "n0"), ir.Value("arg", (), ir.INDEX, "n1")
    scalar = ir.Value("scalar", (), f4, "s0")
    first, second = (ir.Value("scalar", (), when("type of scalars", f4, i4), name) for name in ("s1", "s2"))
    row, column, lane = ir.var("p"), ir.var("v1"), ir.var("v2")
    place = ir.Register("i0", ir.INDEX, "index", 2**62)
    register = ir.Register(
        "r0",
        when("type of a register", f4, dtypes.float64),
        when("combination", "argmax", "argmin"),
        when("initial value", float("-inf"), 0.0),
        place,
    )
    at = when("operands", row - column, column - row)
    value = ir.load(when("buffer that is read", source, other), at)
    value = ir.op(when("operation", "add", "mul"), value, ir.cast(scalar, source.dtype))
    value = ir.cast(value, when("type of an operation", dtypes.float64, i4))
    less = ir.lt(first, second)
    divided = when("kind of a quotient", ir.quotient(row, size), ir.op("div", row, size))
    constant = ir.const(when("constant", 1, 2), when("type of a constant", i4, dtypes.int64))
    zeros = ir.const(when("sign of zero", 0.0, -0.0), f4)
    inner = [
        ir.Update(register, ir.select(less, value, value), when("position", column, row)),
        ir.Store(
            target,
            when("where it is stored", row, column),
            when("what is stored", ir.read(register), zeros),
            when("condition", None, less),
        ),
        ir.Store(target, divided, ir.cast(constant, f4)),
        ir.Store(target, row, zeros),
    ]
    vector = ir.Loop(
        lane,
        ir.const(when("beginning", 0, 1), ir.INDEX),
        when("end", count, size),
        when("kind of a loop", "vector", "serial"),
        inner,
        when("lanes", 16, 64),
    )
    outer = ir.Loop(column, ir.const(0, ir.INDEX), size, "serial", [vector])
    resets: list[ir.Statement] = [ir.Reset(register), ir.Reset(place)]
    body = when("order", [*resets, outer], [outer, *resets])
    if part == "place in a loop":
        body = [ir.Loop(column, ir.const(0, ir.INDEX), size, "serial", [*resets, vector])]
    top = ir.Loop(row, ir.const(0, ir.INDEX), count, "parallel", body)
    return ir.Kernel(
        when("name", "k", "l"),
        when("order of buffers", [source, other, target], [other, source, target]),
        [scalar, first, second],
        when("order of arguments", [count, size], [size, count]),
        [top],
        when("streaming", False, True),
    )


KERNELS = (
    "type of a buffer", "type of scalars", "type of a register", "combination", "initial value", "operands",
    "buffer that is read", "operation", "type of an operation", "kind of a quotient", "constant", "type of a constant",
    "sign of zero", "position", "where it is stored", "what is stored", "condition", "beginning", "end",
    "kind of a loop", "lanes", "order", "place in a loop", "name", "order of buffers", "order of arguments",
    "streaming",
)  # fmt: skip


def test_texts_of_kernels() -> None:
    """Equal texts are taken for equal code."""
    assert ir.format_kernel(kernel()) == ir.format_kernel(kernel("none"))
    texts = {part: ir.format_kernel(kernel(part)) for part in ("", *KERNELS)}
    for part in KERNELS:
        assert [other for other, text in texts.items() if text == texts[part]] == [part]
