"""Matrix products by OpenBLAS, called from the thread pool: each thread does a tile with a single-threaded call.

An operand of half precision is widened tile by tile, into memory that stays in the cache: the whole of it in float32
would take twice the memory, and the time to write and to read it.

LAPACK is NumPy's, which brings an OpenBLAS of its own; how many threads that starts is bounded here (``restrained``).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterator

from arrax.codegen import cpu
from arrax.graph.dtypes import Dtype, float16, float32

# Words of the arguments: 0 BLAS function, 1-6 slot and byte offset of A, B and C, 7 M, 8 N, 9 K, 10-12 row lengths of
# A, B and C, 13 and 14 whether A and B are transposed (111 no, 112 yes), 15 whether tiles are of columns, 16 rows or
# columns of a tile, 17 tiles, 18 batch axes, 19 products that are added up, 20 the axes of those; then for each batch
# axis, innermost first: size, element strides of A, B, C; and for each axis that is summed: size, those of A and B.
_SOURCE = """
define void @NAME(ptr %table, ptr %args, i64 %lo, i64 %hi) {
entry:
  %f.at = getelementptr i64, ptr %args, i64 0
  %f = load ptr, ptr %f.at
  BASES
  LOADS
  %column = icmp ne i64 %w15, 0
  %batch.words = mul i64 %w18, 4
  %sums = add i64 %batch.words, 21
  SCRATCH
  br label %begin
begin:
  br label %head
head:
  %u = phi i64 [ %lo, %begin ], [ %u.next, %next ]
  %more = icmp slt i64 %u, %hi
  br i1 %more, label %body, label %done
body:
  %tile = urem i64 %u, %w17
  %index = udiv i64 %u, %w17
  br label %axes
axes:
  %d = phi i64 [ 0, %body ], [ %d.next, %axis ]
  %rest = phi i64 [ %index, %body ], [ %rest.next, %axis ]
  %oa = phi i64 [ 0, %body ], [ %oa.next, %axis ]
  %ob = phi i64 [ 0, %body ], [ %ob.next, %axis ]
  %oc = phi i64 [ 0, %body ], [ %oc.next, %axis ]
  %deeper = icmp slt i64 %d, %w18
  br i1 %deeper, label %axis, label %call
axis:
  %d4 = mul i64 %d, 4
  %at = add i64 %d4, 21
  %n.at = getelementptr i64, ptr %args, i64 %at
  %sa.at = getelementptr i64, ptr %n.at, i64 1
  %sb.at = getelementptr i64, ptr %n.at, i64 2
  %sc.at = getelementptr i64, ptr %n.at, i64 3
  %n = load i64, ptr %n.at
  %sa = load i64, ptr %sa.at
  %sb = load i64, ptr %sb.at
  %sc = load i64, ptr %sc.at
  %i = urem i64 %rest, %n
  %rest.next = udiv i64 %rest, %n
  %ia = mul i64 %i, %sa
  %ib = mul i64 %i, %sb
  %ic = mul i64 %i, %sc
  %oa.next = add i64 %oa, %ia
  %ob.next = add i64 %ob, %ib
  %oc.next = add i64 %oc, %ic
  %d.next = add i64 %d, 1
  br label %axes
call:
  %start = mul i64 %tile, %w16
  %whole = select i1 %column, i64 %w8, i64 %w7
  %left = sub i64 %whole, %start
  %short = icmp slt i64 %left, %w16
  %length = select i1 %short, i64 %left, i64 %w16
  %m = select i1 %column, i64 %w7, i64 %length
  %n.t = select i1 %column, i64 %length, i64 %w8
  %row = select i1 %column, i64 0, i64 %start
  %col = select i1 %column, i64 %start, i64 0
  %a.t = icmp eq i64 %w13, 112
  %b.t = icmp eq i64 %w14, 112
  %a.step = select i1 %a.t, i64 1, i64 %w10
  %b.step = select i1 %b.t, i64 %w11, i64 1
  %a.skip = mul i64 %row, %a.step
  %b.skip = mul i64 %col, %b.step
  %c.row = mul i64 %row, %w12
  %c.skip = add i64 %c.row, %col
  %a.off = add i64 %oa, %a.skip
  %b.off = add i64 %ob, %b.skip
  %c.off = add i64 %oc, %c.skip
  %c.p = getelementptr TYPE, ptr %c, i64 %c.off
  %m32 = trunc i64 %m to i32
  %n32 = trunc i64 %n.t to i32
  %k32 = trunc i64 %w9 to i32
  %lc = trunc i64 %w12 to i32
  %ta = trunc i64 %w13 to i32
  %tb = trunc i64 %w14 to i32
  br label %terms
terms:
  %t = phi i64 [ 0, %call ], [ %t.next, %term ]
  %some = icmp slt i64 %t, %w19
  br i1 %some, label %places, label %next
places:
  %e = phi i64 [ 0, %terms ], [ %e.next, %place ]
  %t.rest = phi i64 [ %t, %terms ], [ %t.rest.next, %place ]
  %ta.off = phi i64 [ %a.off, %terms ], [ %ta.next, %place ]
  %tb.off = phi i64 [ %b.off, %terms ], [ %tb.next, %place ]
  %further = icmp slt i64 %e, %w20
  br i1 %further, label %place, label %term
place:
  %e3 = mul i64 %e, 3
  %e.at = add i64 %e3, %sums
  %tn.at = getelementptr i64, ptr %args, i64 %e.at
  %tsa.at = getelementptr i64, ptr %tn.at, i64 1
  %tsb.at = getelementptr i64, ptr %tn.at, i64 2
  %tn = load i64, ptr %tn.at
  %tsa = load i64, ptr %tsa.at
  %tsb = load i64, ptr %tsb.at
  %ti = urem i64 %t.rest, %tn
  %t.rest.next = udiv i64 %t.rest, %tn
  %tia = mul i64 %ti, %tsa
  %tib = mul i64 %ti, %tsb
  %ta.next = add i64 %ta.off, %tia
  %tb.next = add i64 %tb.off, %tib
  %e.next = add i64 %e, 1
  br label %places
term:
  OPERANDS
  %first = icmp eq i64 %t, 0
  %beta = select i1 %first, TYPE 0.0, TYPE 1.0
  call void %f(i32 101, i32 %ta, i32 %tb, i32 %m32, i32 %n32, i32 %k32,
    TYPE 1.0, ptr %a.p, i32 %a.ld, ptr %b.p, i32 %b.ld, TYPE %beta, ptr %c.p, i32 %lc)
  %t.next = add i64 %t, 1
  br label %terms
next:
  %u.next = add i64 %u, 1
  br label %head
done:
  FREE
  ret void
}
"""

_PLAIN = """%x.p = getelementptr TYPE, ptr %x, i64 %tx.off
  %x.ld = trunc i64 %LENGTH to i32"""

_TILE = """%x.from = getelementptr i16, ptr %x, i64 %tx.off
  %x.rows = select i1 %x.t, i64 %ROWS, i64 %COLUMNS
  %x.cols = select i1 %x.t, i64 %COLUMNS, i64 %ROWS
  call void @NAME_widen(ptr %x.from, ptr %scratch, i64 %x.rows, i64 %x.cols, i64 %LENGTH)
  %x.p = getelementptr float, ptr %scratch, i64 0
  %x.ld = trunc i64 %x.cols to i32"""

# There is memory for a tile where there is memory for the result: if others have just taken it, they give it back.
_SCRATCH = """%tile.size = mul i64 %w16, %w9
  %tile.bytes = mul i64 %tile.size, 4
  br label %allocate
allocate:
  %scratch = call ptr @malloc(i64 %tile.bytes)
  %none = icmp eq ptr %scratch, null
  br i1 %none, label %allocate, label %begin"""

_WIDEN = """
declare ptr @malloc(i64)
declare void @free(ptr)

define internal void @NAME_widen(ptr %from, ptr %to, i64 %rows, i64 %cols, i64 %length) {
entry:
  %whole = and i64 %cols, -16
  br label %head
head:
  %r = phi i64 [ 0, %entry ], [ %r.next, %end ]
  %more = icmp slt i64 %r, %rows
  br i1 %more, label %row, label %done
row:
  %from.skip = mul i64 %r, %length
  %to.skip = mul i64 %r, %cols
  %from.row = getelementptr i16, ptr %from, i64 %from.skip
  %to.row = getelementptr float, ptr %to, i64 %to.skip
  br label %vectors
vectors:
  %c = phi i64 [ 0, %row ], [ %c.next, %vector ]
  %another = icmp slt i64 %c, %whole
  br i1 %another, label %vector, label %singles
vector:
  %v.from = getelementptr i16, ptr %from.row, i64 %c
  %v.to = getelementptr float, ptr %to.row, i64 %c
  WIDE16
  store <16 x float> %v.wide, ptr %v.to, align 4
  %c.next = add i64 %c, 16
  br label %vectors
singles:
  %d = phi i64 [ %whole, %vectors ], [ %d.next, %single ]
  %left = icmp slt i64 %d, %cols
  br i1 %left, label %single, label %end
single:
  %s.from = getelementptr i16, ptr %from.row, i64 %d
  %s.to = getelementptr float, ptr %to.row, i64 %d
  WIDE1
  store float %s.wide, ptr %s.to, align 4
  %d.next = add i64 %d, 1
  br label %singles
end:
  %r.next = add i64 %r, 1
  br label %head
done:
  ret void
}
"""


@functools.cache
def _library() -> ctypes.CDLL:
    """OpenBLAS; looked for when it is first used, which lets programs start sooner."""
    folder = importlib.import_module("scipy_openblas32").get_lib_dir()
    names = sorted(n for n in os.listdir(folder) if n.startswith("libscipy_openblas") and not n.endswith(".a"))
    library = ctypes.CDLL(os.path.join(folder, names[0]))
    library.scipy_openblas_set_num_threads(1)
    return library


# --- threads of libraries ---------------------------------------------------------------------------------------------
@functools.cache
def _libraries() -> list[tuple[Callable[[], int], Callable[[int], None]]]:
    """Of each OpenBLAS in the process the functions that tell and that set how many threads it uses."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split(maxsplit=5)[-1].rstrip("\n") for line in maps if "openblas" in line}
    except OSError:  # another system
        return []
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(path)
            for form in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
                names = [form.format(name) for name in ("get_num_threads", "set_num_threads")]
                if all(hasattr(library, name) for name in names):
                    get, set_ = (getattr(library, name) for name in names)
                    found.append((get, set_))
                    break
    return found


_lock = threading.Lock()
_inside = 0  # threads that are in ``restrained``
_before: list[int] = []


@contextlib.contextmanager
def restrained(most: int) -> Iterator[None]:
    """A context in which OpenBLAS uses at most so many threads of its own; the number of the first one to enter holds.

    Their threads wait for each other without rest: where others want the cores as well that takes a hundred times as
    long. The number belongs to the process, and is as it was when the last one has left the context.
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = [get() for get, _ in _libraries()]
            for (_, set_), n in zip(_libraries(), _before, strict=True):
                set_(min(n, most))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                for (_, set_), n in zip(_libraries(), _before, strict=True):
                    set_(n)


def _in_child() -> None:
    global _lock, _inside
    _lock, _inside = threading.Lock(), 0  # those inside are in the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


# --- products ---------------------------------------------------------------------------------------------------------


def _widening(dtype: Dtype) -> str:
    """The function that copies rows of half precision as float32."""
    source = _WIDEN
    for name, lanes in (("v", "<16 x {}>"), ("s", "{}")):
        narrow = (
            f"%{name}.narrow = load {lanes.format('half' if dtype is float16 else 'i16')}, ptr %{name}.from, align 2"
        )
        if dtype is float16:
            steps = [f"%{name}.wide = fpext {lanes.format('half')} %{name}.narrow to {lanes.format('float')}"]
        else:  # the upper half of the bits
            word = lanes.format("i32")
            by = f"<{', '.join(['i32 16'] * 16)}>" if name == "v" else "16"
            steps = [
                f"%{name}.word = zext {lanes.format('i16')} %{name}.narrow to {word}",
                f"%{name}.high = shl {word} %{name}.word, {by}",
                f"%{name}.wide = bitcast {word} %{name}.high to {lanes.format('float')}",
            ]
        source = source.replace("WIDE16" if name == "v" else "WIDE1", "\n  ".join([narrow, *steps]))
    return source


@functools.cache
def product(dtype: Dtype, narrow: int = -1, half: Dtype | None = None) -> tuple[int, int]:
    """Addresses: of the native loop over a product's tiles, and of the BLAS function that it calls.

    Args:
        dtype: float32 or float64.
        narrow: 0 or 1 where that operand is of the type ``half``; the tiles are those of its rows or columns.
    """
    single = dtype is float32
    bases, operands = [], []
    for name, word in (("a", 1), ("b", 3), ("c", 5)):
        bases += [
            f"%{name}.s.at = getelementptr i64, ptr %args, i64 {word}",
            f"%{name}.s = load i64, ptr %{name}.s.at",
            f"%{name}.o.at = getelementptr i64, ptr %args, i64 {word + 1}",
            f"%{name}.o = load i64, ptr %{name}.o.at",
            f"%{name}.p0 = getelementptr ptr, ptr %table, i64 %{name}.s",
            f"%{name}.b = load ptr, ptr %{name}.p0",
            f"%{name} = getelementptr i8, ptr %{name}.b, i64 %{name}.o",
        ]
    for number, (name, length, rows, columns) in enumerate((("a", "w10", "w9", "m"), ("b", "w11", "n.t", "w9"))):
        text = _TILE if number == narrow else _PLAIN
        text = text.replace("%x", f"%{name}").replace("%tx", f"%t{name}")
        operands.append(text.replace("LENGTH", length).replace("ROWS", rows).replace("COLUMNS", columns))
    loads = [
        f"%w{i}.at = getelementptr i64, ptr %args, i64 {i}\n  %w{i} = load i64, ptr %w{i}.at" for i in range(7, 21)
    ]
    source = _SOURCE.replace("BASES", "\n  ".join(bases)).replace("LOADS", "\n  ".join(loads))
    source = source.replace("OPERANDS", "\n  ".join(operands))
    if half is None:
        source = source.replace("  SCRATCH\n", "").replace("  FREE\n", "")
    else:
        source = source.replace("  SCRATCH\n  br label %begin", f"  {_SCRATCH}").replace(
            "FREE", "call void @free(ptr %scratch)"
        )
        source += _widening(half)
    source = source.replace("TYPE", "float" if single else "double")
    loop = cpu.function(source, lambda name: source.replace("NAME", name))
    library = _library()
    function = library.scipy_cblas_sgemm if single else library.scipy_cblas_dgemm
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return loop, address
