"""The verifier accepts a correct kernel, and each planted defect is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from arrax.compiler.kernel import (
    INDEX,
    Buffer,
    Kernel,
    Loop,
    Register,
    Reset,
    Store,
    Update,
    Value,
    cast,
    const,
    load,
    op,
    read,
    select,
    var,
)
from arrax.compiler.verify import verify
from arrax.graph.dtypes import bfloat16, bool_, float32, int32


class Parts:
    """A kernel that sums rows, and the pieces of it that a defect needs."""

    def __init__(self) -> None:
        self.a, self.out = Buffer("a", float32), Buffer("out", float32, written=True)
        self.n, self.s = Value("arg", (), INDEX, "n0"), Value("scalar", (), float32, "s0")
        self.p, self.j = var("p"), var("j")
        self.r = Register("r0", float32, "add", 0)
        self.reset = Reset(self.r)
        self.update = Update(self.r, load(self.a, self.p * self.n + self.j) * self.s)
        self.inner = Loop(self.j, const(0, INDEX), self.n, "vector", [self.update], 16)
        self.store = Store(self.out, self.p, read(self.r))
        self.outer = Loop(self.p, const(0, INDEX), self.n, "parallel", [self.reset, self.inner, self.store])
        self.kernel = Kernel("k", [self.a, self.out], [self.s], [self.n], [self.outer])


def test_a_correct_kernel_passes() -> None:
    verify(Parts().kernel)


def _declared_but_not_written(k: Parts) -> None:
    k.a.written = True


def _written_but_not_declared(k: Parts) -> None:
    k.out.written = False


def _no_reset(k: Parts) -> None:
    k.outer.body.remove(k.reset)


def _reset_in_a_loop_that_may_not_run(k: Parts) -> None:
    k.outer.body.remove(k.reset)
    k.inner.body.insert(0, k.reset)


def _variable_out_of_scope(k: Parts) -> None:
    k.store.index = k.j


def _one_variable_for_two_loops(k: Parts) -> None:
    k.inner.body = [Loop(k.j, const(0, INDEX), k.n, "serial", [k.update])]


def _two_parallel_loops(k: Parts) -> None:
    k.kernel.body.append(Loop(var("q"), const(0, INDEX), k.n, "parallel", []))


def _parallel_inside(k: Parts) -> None:
    k.inner.kind = "parallel"


def _no_parallel_loop(k: Parts) -> None:
    k.outer.kind = "serial"


def _vector_in_vector(k: Parts) -> None:
    k.inner.body = [Loop(var("i"), const(0, INDEX), k.n, "vector", [k.update])]


def _unknown_loop(k: Parts) -> None:
    k.inner.kind = "backwards"


def _index_of_another_type(k: Parts) -> None:
    k.store.index = cast(k.p, int32)


def _stored_type(k: Parts) -> None:
    k.store.value = cast(k.store.value, int32)


def _condition_type(k: Parts) -> None:
    k.store.inside = k.p


def _updated_type(k: Parts) -> None:
    k.update.value = cast(k.update.value, int32)


def _position_without_index(k: Parts) -> None:
    k.update.position = k.j


def _unknown_buffer(k: Parts) -> None:
    k.update.value = load(Buffer("other", float32), k.j)


def _loaded_type(k: Parts) -> None:
    k.update.value = cast(Value("load", (k.j,), int32, k.a), float32)


def _unknown_argument(k: Parts) -> None:
    k.inner.end = Value("arg", (), INDEX, "n1")


def _two_buffers_of_one_name(k: Parts) -> None:
    k.a.name = k.out.name


def _operands_of_two_types(k: Parts) -> None:
    k.store.value = Value("add", (read(k.r), const(1, int32)), float32)


def _arity(k: Parts) -> None:
    k.store.value = Value("add", (read(k.r),), float32)


def _unknown_operation(k: Parts) -> None:
    k.store.value = op("gamma", read(k.r))


def _comparison_type(k: Parts) -> None:
    k.store.value = Value("lt", (read(k.r), read(k.r)), float32)


def _select_condition(k: Parts) -> None:
    k.store.value = select(read(k.r), read(k.r), read(k.r))


def _arithmetic_in_half_precision(k: Parts) -> None:
    half = cast(read(k.r), bfloat16)
    k.store.value = cast(half + half, float32)


def _bitcast_width(k: Parts) -> None:
    k.store.value = Value("bitcast", (const(True, bool_),), float32)


DEFECTS: dict[Callable[[Parts], None], str] = {
    _declared_but_not_written: "written or declared",
    _written_but_not_declared: "written or declared",
    _no_reset: "updated before",
    _reset_in_a_loop_that_may_not_run: "read before",
    _variable_out_of_scope: "var j is not known",
    _one_variable_for_two_loops: "in use",
    _two_parallel_loops: "one parallel loop",
    _parallel_inside: "one parallel loop",
    _no_parallel_loop: "one parallel loop",
    _vector_in_vector: "inside a vector loop",
    _unknown_loop: "kind of loop",
    _index_of_another_type: "index of out",
    _stored_type: "is stored to",
    _condition_type: "condition",
    _updated_type: "updated with",
    _position_without_index: "belong together",
    _unknown_buffer: "no buffer",
    _loaded_type: "is loaded as",
    _unknown_argument: "n1 is not known",
    _two_buffers_of_one_name: "one name",
    _operands_of_two_types: "add float32, int32",
    _arity: "1 operands",
    _unknown_operation: "unknown operation",
    _comparison_type: "lt float32",
    _select_condition: "select float32",
    _arithmetic_in_half_precision: "type of storage",
    _bitcast_width: "bitcast bool",
}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda f: f.__name__)
def test_a_defect_is_found(defect: Callable[[Parts], None]) -> None:
    parts = Parts()
    defect(parts)
    with pytest.raises(AssertionError, match=DEFECTS[defect]):
        verify(parts.kernel)
