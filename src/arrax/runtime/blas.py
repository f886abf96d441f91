"""Matrix products by OpenBLAS, called from the thread pool: each thread does a tile with a single-threaded call."""

from __future__ import annotations

import ctypes
import functools
import importlib
import os

from arrax.codegen import cpu
from arrax.graph.dtypes import Dtype, float32

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
  br label %head
head:
  %u = phi i64 [ %lo, %entry ], [ %u.next, %next ]
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
  %la = trunc i64 %w10 to i32
  %lb = trunc i64 %w11 to i32
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
  %a.p = getelementptr TYPE, ptr %a, i64 %ta.off
  %b.p = getelementptr TYPE, ptr %b, i64 %tb.off
  %first = icmp eq i64 %t, 0
  %beta = select i1 %first, TYPE 0.0, TYPE 1.0
  call void %f(i32 101, i32 %ta, i32 %tb, i32 %m32, i32 %n32, i32 %k32,
    TYPE 1.0, ptr %a.p, i32 %la, ptr %b.p, i32 %lb, TYPE %beta, ptr %c.p, i32 %lc)
  %t.next = add i64 %t, 1
  br label %terms
next:
  %u.next = add i64 %u, 1
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


@functools.cache
def product(dtype: Dtype) -> tuple[int, int]:
    """Addresses: of the native loop over a product's tiles, and of the BLAS function that it calls."""
    single = dtype is float32
    bases = []
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
    loads = [
        f"%w{i}.at = getelementptr i64, ptr %args, i64 {i}\n  %w{i} = load i64, ptr %w{i}.at" for i in range(7, 21)
    ]
    source = _SOURCE.replace("BASES", "\n  ".join(bases)).replace("LOADS", "\n  ".join(loads))
    source = source.replace("TYPE", "float" if single else "double")
    loop = cpu.function(source, lambda name: source.replace("NAME", name))
    library = _library()
    function = library.scipy_cblas_sgemm if single else library.scipy_cblas_dgemm
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return loop, address
