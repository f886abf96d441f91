"""Functions in files: what is kept, what is refused, and files that somebody has tampered with."""

from __future__ import annotations

import copy
import io
import json
import pathlib
import random
import re
from collections.abc import Callable
from typing import Any

import mlx.core as oracle
import numpy as np
import pytest
from tests.core.conftest import same

import arrax.core as mx
import arrax.nn as nn
from arrax.core.operation_names import shown_name
from arrax.graph.dtypes import ALL
from arrax.graph.primitive import REGISTRY
from arrax.prims.validity import is_portable
from arrax.runtime import executor
from arrax.transforms import serialization


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "function.arrax")


def close(found: Any, expected: Any) -> None:
    for x, y in zip(found, expected, strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-5, atol=1e-6)


# --- like MLX ---------------------------------------------------------------------------------------------------------
def _x(m: Any) -> Any:
    return m.array([1.0, 2.0])


def _y(m: Any) -> Any:
    return m.array([3.0, 5.0])


def _sub(x: Any, y: Any) -> Any:
    return x - y


def _twice(m: Any, p: str) -> Any:
    with m.exporter(p, lambda *args: sum(args)) as export:
        export(_x(m))
        export(_x(m))


def _after_close(m: Any, p: str) -> Any:
    export = m.exporter(p, lambda *args: sum(args))
    export.close()
    export(_x(m))


# each exports with (m, path) and calls the function with (m, function)
CASES: dict[str, tuple[Callable[[Any, str], Any], Callable[[Any, Any], Any]]] = {
    "positional": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m)), lambda m, f: f(_x(m), _y(m))),
    "tuple": (lambda m, p: m.export_function(p, _sub, (_x(m), _y(m))), lambda m, f: f((_x(m), _y(m)))),
    "list": (lambda m, p: m.export_function(p, _sub, [_x(m), _y(m)]), lambda m, f: f([_x(m), _y(m)])),
    "keyword": (lambda m, p: m.export_function(p, _sub, _x(m), y=_y(m)), lambda m, f: f(_x(m), y=_y(m))),
    "dictionary": (lambda m, p: m.export_function(p, _sub, (_x(m),), {"y": _y(m)}), lambda m, f: f(_x(m), y=_y(m))),
    "called with one": (
        lambda m, p: m.export_function(p, _sub, _x(m), y=_y(m)),
        lambda m, f: f((_x(m),), {"y": _y(m)}),
    ),
    "only a dictionary": (
        lambda m, p: m.export_function(p, lambda **k: k["a"] - k["b"], b=_x(m), a=_y(m)),
        lambda m, f: f({"b": _x(m), "a": _y(m)}),
    ),
    "positional by name": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m)), lambda m, f: f(y=_y(m), x=_x(m))),
    "all by name": (lambda m, p: m.export_function(p, _sub, _x(m), y=_y(m)), lambda m, f: f(x=_x(m), y=_y(m))),
    "keyword by position": (lambda m, p: m.export_function(p, _sub, _x(m), y=_y(m)), lambda m, f: f(_x(m), _y(m))),
    "another name": (lambda m, p: m.export_function(p, _sub, _x(m), y=_y(m)), lambda m, f: f(_x(m), z=_y(m))),
    "more names": (lambda m, p: m.export_function(p, _sub, _x(m), y=_y(m)), lambda m, f: f(_x(m), y=_x(m), z=_y(m))),
    "another shape": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m)), lambda m, f: f(_x(m), m.array(1.0))),
    "another type": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m)), lambda m, f: f(_x(m), m.array([1, 2]))),
    "too few": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m)), lambda m, f: f(_x(m))),
    "none": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m)), lambda m, f: f()),
    "a scalar": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m)), lambda m, f: f(_x(m), 1.0)),
    "a tuple and more": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m)), lambda m, f: f((_x(m),), _y(m))),
    "two dictionaries": (
        lambda m, p: m.export_function(p, _sub, _x(m), _y(m)),
        lambda m, f: f({"x": _x(m)}, {"y": _y(m)}),
    ),
    "no arguments": (lambda m, p: m.export_function(p, lambda: m.zeros((2,))), lambda m, f: f()),
    "a tuple of results": (lambda m, p: m.export_function(p, lambda x: (x, x + 1), _x(m)), lambda m, f: f(_x(m))),
    "a list of results": (lambda m, p: m.export_function(p, lambda x: [x, x + 1], _x(m)), lambda m, f: f(_x(m))),
    "no results": (lambda m, p: m.export_function(p, lambda x: (), _x(m)), lambda m, f: f(_x(m))),
    "a constant result": (lambda m, p: m.export_function(p, lambda x: m.array([7.0]), _x(m)), lambda m, f: f(_x(m))),
    "a dictionary of results": (lambda m, p: m.export_function(p, lambda x: {"a": x}, _x(m)), lambda m, f: f(_x(m))),
    "a number as result": (lambda m, p: m.export_function(p, lambda x: 1.0, _x(m)), lambda m, f: f(_x(m))),
    "nested results": (lambda m, p: m.export_function(p, lambda x: (x, (x,)), _x(m)), lambda m, f: f(_x(m))),
    "nested arguments": (lambda m, p: m.export_function(p, lambda a: a[0], ((_x(m),),)), lambda m, f: f(_x(m))),
    "a scalar as example": (lambda m, p: m.export_function(p, _sub, _x(m), 1.0), lambda m, f: f(_x(m))),
    "no function": (lambda m, p: m.export_function(p, 3, _x(m)), lambda m, f: f(_x(m))),
    "looks at data": (lambda m, p: m.export_function(p, lambda x: x * x.sum().item(), _x(m)), lambda m, f: f(_x(m))),
    "metadata that is none": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m), metadata=3), lambda m, f: None),
    "shapeless that is none": (lambda m, p: m.export_function(p, _sub, _x(m), _y(m), shapeless=1), lambda m, f: None),
    "metadata for a callback": (
        lambda m, p: m.export_function(lambda d: None, _sub, _x(m), _y(m), metadata="a"),
        lambda m, f: None,
    ),
    "twice": (_twice, lambda m, f: f(_x(m))),
    "after the end": (_after_close, lambda m, f: f(_x(m))),
    "an exporter without a function": (lambda m, p: m.exporter(p, 3), lambda m, f: None),
    "an exporter without a path": (lambda m, p: m.exporter(3, _sub), lambda m, f: None),
}


@pytest.mark.parametrize("name", CASES)
def test_behaves_like_mlx(name: str, tmp_path: pathlib.Path) -> None:
    export, call = CASES[name]
    results = []
    for m in (mx, oracle):
        p = str(tmp_path / m.__name__)
        try:
            export(m, p)
            results.append(call(m, m.import_function(p)))
        except Exception as error:
            results.append(type(error))
    ours, theirs = results
    if isinstance(theirs, type):
        assert ours is theirs
    else:
        same(ours, theirs)


def test_several_functions_in_one_file(path: str) -> None:
    def f(*args: mx.array, scale: mx.array | None = None) -> mx.array:
        return sum(args) if scale is None else sum(args) * scale

    x, y = mx.array([1.0, 2.0]), mx.array([3.0, 4.0])
    with mx.exporter(path, f, metadata="several") as export:
        export(x)
        export(x, y)
        export(x, scale=y)
        export(mx.zeros((3,)))
    g, metadata = mx.import_function(path, return_metadata=True)
    assert metadata == "several"
    close([*g(x), *g(x, y), *g(x, scale=y), *g(mx.ones((3,)))], [x, x + y, x * y, mx.ones((3,))])
    with pytest.raises(ValueError, match=r"\(float32\[2\], scale=float32\[2\]\)"):
        g(x, y, x)


def test_nothing_is_written_where_recording_fails(path: str) -> None:
    with pytest.raises(KeyError), mx.exporter(path, lambda x: x) as export:
        export(mx.array(1))
        raise KeyError
    assert not pathlib.Path(path).exists()
    mx.exporter(path, lambda x: x).close()
    with pytest.raises(ValueError, match="nothing"):
        mx.import_function(path)(mx.array(1))


def test_files_that_cannot_be_used(tmp_path: pathlib.Path) -> None:
    x = mx.array([1.0])
    with pytest.raises(RuntimeError, match="expected to write"):
        mx.export_function(str(tmp_path / "no" / "folder"), mx.abs, x)
    with pytest.raises(RuntimeError, match="import_function"):
        mx.import_function(str(tmp_path / "missing"))
    other = tmp_path / "other.safetensors"
    mx.save_safetensors(str(other), {"x": x})
    with pytest.raises(RuntimeError, match="another safetensors file"):
        mx.import_function(other)
    (tmp_path / "text").write_text("no function at all")
    with pytest.raises(RuntimeError, match="import_function"):
        mx.import_function(tmp_path / "text")
    for wrong in (3, None):
        with pytest.raises(TypeError):
            mx.import_function(wrong)


# --- what is recorded -------------------------------------------------------------------------------------------------
def test_networks(path: str) -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Dropout(0.5), nn.Linear(16, 4)).eval()
    x = mx.random.normal((5, 8))
    mx.export_function(path, model, x)
    close(mx.import_function(path)(x), [model(x)])


def test_arrays_from_outside_are_data(path: str) -> None:
    w = mx.random.normal((3, 3)) @ mx.ones((3, 3))
    mx.export_function(path, lambda x: (x @ w + mx.eye(3) * mx.array(2.0), w), mx.zeros((3, 3)))
    arrays, metadata = mx.load(path, format="safetensors", return_metadata=True)
    assert len(arrays) == 1  # w once; the unit matrix is computed
    primitives = [o[0] for o in json.loads(metadata["graph"])["functions"][0]["program"]]
    assert primitives.count("matmul") == 1
    close(mx.import_function(path)(mx.ones((3, 3))), [mx.ones((3, 3)) @ w + 2 * mx.eye(3), w])


def test_transforms_inside_and_outside(path: str) -> None:
    def f(x: mx.array, w: mx.array) -> mx.array:
        inner = mx.compile(lambda a: mx.checkpoint(mx.sin)(a) * w)
        return mx.vmap(lambda row: mx.grad(lambda r: inner(r).sum())(row))(x)

    x, w = mx.random.normal((4, 3)), mx.random.normal((3,))
    mx.export_function(path, f, x, w)
    g = mx.import_function(path)
    close(g(x, w), [mx.cos(x) * w])
    close([mx.grad(lambda x: g(x, w)[0].sum())(x)], [-mx.sin(x) * w])
    close([mx.vmap(lambda w: g(x, w)[0])(mx.stack([w, 2 * w]))], [mx.stack([mx.cos(x) * w, 2 * mx.cos(x) * w])])
    close([mx.compile(lambda x: g(x, w)[0] + 1)(x)], [mx.cos(x) * w + 1])
    mx.export_function(path, lambda x: g(x, w)[0] + 1, x)  # an imported function in an exported one
    close(mx.import_function(path)(x), [mx.cos(x) * w + 1])


def test_numbers_and_types_are_exact(path: str) -> None:
    values = [0.1, float("inf"), float("-inf"), float("nan"), 1e-45, 3]

    def f(x: mx.array) -> list[mx.array]:
        parts = [x * v for v in values]
        parts += [(x.astype(d) + (True if d is mx.bool_ else 1)).astype(mx.float32) for d in ALL]
        return [*parts, mx.imag(x * (1 + 2j))]

    x = mx.array([0.5, 3.0, -1.0])
    mx.export_function(path, f, x)
    for found, expected in zip(mx.import_function(path)(x), f(x), strict=True):
        np.testing.assert_array_equal(np.array(found), np.array(expected))


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_constants_of_all_types(path: str, dtype: Any) -> None:
    c = mx.array([[0, 1], [1, 0]]).astype(dtype)
    mx.export_function(path, lambda x: (c, c + x), mx.zeros((2,), dtype))
    found = mx.import_function(path)(mx.zeros((2,), dtype))
    assert [a.dtype for a in found] == [dtype, dtype]
    assert found[0].tolist() == c.tolist()


def test_a_callback_sees_the_graph() -> None:
    seen: list[dict] = []
    theirs: list[dict] = []
    for m, into in ((mx, seen), (oracle, theirs)):
        c = m.array([5.0, 6.0])
        m.export_function(into.append, lambda x, y: m.exp(x) * c + y, m.array([1.0, 2.0]), y=m.array([3.0, 4.0]))  # noqa: B023
    assert [set(piece) for piece in seen] == [set(piece) for piece in theirs]
    for ours, other in zip(seen, theirs, strict=True):
        for key in ("type", "inputs", "outputs", "keywords"):
            assert str(ours.get(key)).replace("arrax", "mlx") == str(other.get(key))
    assert [piece["name"] for piece in seen if piece["type"] == "primitive"] == ["Exp", "Multiply", "Add"]


def test_every_primitive_can_be_written() -> None:
    """A primitive that is new needs a rule in prims/validity.py."""
    never = ("leaf", "alias", "composite", "call")  # given or opened when a function is traced
    missing = [p.name for p in REGISTRY.values() if p.kind not in never and not is_portable(p)]
    assert not missing


# --- pictures ---------------------------------------------------------------------------------------------------------
def test_export_to_dot(tmp_path: pathlib.Path) -> None:
    x = mx.array([1.0, 2.0])
    y = mx.exp(x + 1).sum()
    file = io.StringIO()
    mx.export_to_dot(file, y, x=x, total=y)
    lines = file.getvalue().splitlines()
    assert lines[0] == "digraph {" and lines[-1] == "}" and '{ rank=source; "x"; }' in lines
    assert '{ rank=sink; "total"; }' in lines and any(line.endswith('-> "total"') for line in lines)
    mx.export_to_dot(str(tmp_path / "g.dot"), [y, {"also": x}])
    assert (tmp_path / "g.dot").read_text().startswith("digraph")
    for wrong in (
        lambda: mx.export_to_dot(3, y),
        lambda: mx.export_to_dot(file, 1.0),
        lambda: mx.export_to_dot(file, y=1),
    ):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(RuntimeError):
        mx.export_to_dot(str(tmp_path / "no" / "folder"), y)


UNARY = (
    "abs negative sign square sqrt rsqrt floor ceil round exp expm1 log log1p log2 log10 sigmoid sin cos tan sinh cosh "
    "tanh arcsin arccos arctan arcsinh arccosh arctanh erf erfinv sum prod min max argmax argmin sort argsort cumsum "
    "cumprod transpose flatten degrees reciprocal softmax"
)
BINARY = (
    "add subtract multiply divide power maximum minimum floor_divide remainder logaddexp arctan2 equal not_equal less "
    "less_equal greater greater_equal outer matmul"
)
OPERATIONS: dict[str, tuple[Callable, int]] = {
    **{name: (lambda m, *a, name=name: getattr(m, name)(*a), 1) for name in UNARY.split()},
    **{name: (lambda m, *a, name=name: getattr(m, name)(*a), 2) for name in BINARY.split()},
    "bits": (lambda m, a, b: (a.astype(m.int32) & 3) | (b.astype(m.int32) << 1), 2),
    "more bits": (lambda m, a, b: (a.astype(m.int32) ^ 3) + (b.astype(m.int32) >> 1), 2),
    "truth": (lambda m, a, b: m.logical_or(m.logical_and(a < b, a > b), a == b), 2),
    "all of truth": (lambda m, a, b: m.all(a < b, axis=0) == m.any(a > b, axis=0), 2),
    "axes": (lambda m, a: m.expand_dims(m.squeeze(a[None], 0), 2), 1),
    "flat axes": (lambda m, a: m.unflatten(m.flatten(m.reshape(a.T, (4, 2))), 0, (2, 4)), 1),
    "where": (lambda m, a, b: m.where(a < b, a, b), 2),
    "types": (lambda m, a: a.astype(m.float16).view(m.int16), 1),
    "parts": (lambda m, a: m.concatenate([a[:1], a[1:]], axis=1), 1),
    "along an axis": (lambda m, a: m.take_along_axis(a, m.argsort(a, axis=1), axis=1), 1),
    "put": (lambda m, a: m.put_along_axis(a, m.argmax(a, axis=1, keepdims=True), a[:, :1], axis=1), 1),
    "scans": (lambda m, a: m.cummax(a, axis=1) + m.cummin(a, axis=0), 1),
    "fourier": (lambda m, a: m.fft.irfft(m.fft.rfft(a)), 1),
    "complex": (lambda m, a: m.conjugate(m.fft.rfft(a)).real, 1),
    "matrices": (lambda m, a: m.linalg.inv(m.linalg.cholesky(a @ a.T, stream=m.cpu), stream=m.cpu), 1),
    "random": (lambda m, a: m.random.split(m.random.key(3)), 1),
    "range": (lambda m, a: a + m.arange(4.0), 1),
}


def names_in_export(m: Any, f: Callable, args: list) -> list[str]:
    seen: list[dict] = []
    m.export_function(seen.append, lambda *a: f(m, *a), *args)
    return [piece["name"] for piece in seen if piece["type"] == "primitive"]


def names_in_picture(m: Any, f: Callable, args: list) -> list[str]:
    file = io.StringIO()
    m.export_to_dot(file, f(m, *args))
    return re.findall(r'label ="([^"]*)"', file.getvalue())


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_have_the_names_of_mlx(name: str) -> None:
    """Where both are made of the same operations; Arrax broadcasts, and splits results, without saying so."""
    f, n = OPERATIONS[name]
    data = [[[1.0, 2.0, 0.5, 0.25], [3.0, 5.0, 4.0, 1.0]], [[2.0, 3.0, 4.0, 1.0], [0.5, 5.0, 1.0, 2.0]]][:n]
    if name == "matmul":
        data = [[[1.0, 2.0], [3.0, 4.0]]] * 2
    for names in (names_in_export, names_in_picture):
        ours, theirs = (
            [word for word in names(m, f, [m.array(d) for d in data]) if word not in ("Broadcast", "StopGradient")]
            for m in (mx, oracle)
        )
        if name == "types" and names is names_in_picture:
            theirs = [word.partition(" ")[0] for word in theirs]  # MLX writes the type on it
        if name == "random":
            ours = ours[:1]  # then an axis is split
        assert ours == theirs


def test_every_primitive_has_a_name_in_the_manner_of_mlx() -> None:
    for prim in REGISTRY.values():
        shown = shown_name(prim.name, ("set",), [((2, 3), mx.float32)], (3, 2))
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", shown), prim.name


# --- tampered files ---------------------------------------------------------------------------------------------------
def _examples(path: str) -> list[tuple[dict, dict]]:
    """Graphs with all kinds of parameters, and their constants."""
    o = mx.random.normal
    index = mx.array([0, 1, 3, 2])
    functions: list[tuple[Callable, list, bool]] = [
        (nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), [o((4, 8))], True),
        (
            lambda x: (x[1:3, ::2], x[::-1], mx.pad(x, 1), mx.concatenate([x, x], 1), x.T.reshape(2, -1)),
            [o((4, 6))],
            True,
        ),
        (
            lambda x, i: (mx.take(x, i, axis=0), mx.take_along_axis(x, i[:, None], axis=1), x.at[i].add(1.0)),
            [o((4, 6)), index],
            False,
        ),
        (
            lambda x: (mx.sort(x, 0), mx.argsort(x, 1), mx.cumsum(x, 1), mx.argmax(x, 0), x.max(), mx.fft.fft(x)),
            [o((4, 6))],
            False,
        ),
        (lambda x: (mx.linalg.inv(x), mx.linalg.qr(x)[0], mx.linalg.svd(x)[1]), [o((3, 3))], False),
        (
            lambda x: (x.astype(mx.bfloat16) * 2, x.astype(mx.int32) << 1, mx.as_strided(x, (3, 3), (1, 2), 1)),
            [o((4, 6))],
            False,
        ),
    ]
    found = []
    for f, args, shapeless in functions:
        mx.export_function(path, f, *args, shapeless=shapeless)
        arrays, metadata = mx.load(path, format="safetensors", return_metadata=True)
        found.append((json.loads(metadata["graph"]), {k: mx.array(np.array(a))._node for k, a in arrays.items()}))
    return found


_INTEGERS = (0, 1, -1, 2, 3, 7, 64, 100, 2**31, 2**62, 2**63 - 1, -(2**63), 2**64)


def _places(tree: Any, at: tuple = ()) -> list[tuple]:
    if not isinstance(tree, dict | list):
        return [at]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [at, *(place for k, v in items for place in _places(v, (*at, k)))]


def _mutated(graph: dict, chance: random.Random) -> dict:
    graph = copy.deepcopy(graph)
    for _ in range(chance.choice((1, 1, 2, 3))):
        *way, last = chance.choice(_places(graph)[1:])
        parent: Any = graph
        for k in way:
            parent = parent[k]
        old = parent[last]
        if isinstance(old, int):
            new: Any = chance.choice((old + 1, old - 1, -old, chance.choice(_INTEGERS), chance.randrange(20), None))
        elif isinstance(old, str):
            names = list(REGISTRY) if old in REGISTRY else [d.name for d in ALL] if last != "y" else [""]
            new = chance.choice([*names, "nan", "0x1p+99999"])
        elif isinstance(old, list):
            new = (
                [*old, chance.choice(_INTEGERS)] if chance.random() < 0.3 else old[1:] if chance.random() < 0.5 else []
            )
        else:
            new = chance.choice((0, [], {}, "a"))
        parent[last] = new
    return graph


def _tamper(path: str, count: int, seed: int) -> int:
    """Reads mutated graphs; those that are accepted are called. How many that were."""
    examples = _examples(path)
    chance = random.Random(seed)
    accepted = 0
    for _ in range(count):
        graph, constants = chance.choice(examples)
        mutant = _mutated(graph, chance)
        try:
            functions = serialization.from_text(json.dumps(mutant), constants)
        except ValueError:
            continue
        accepted += mutant != graph
        for f in functions:
            if sum(np.prod(o.type[0], dtype=object) for o in f.program) > 1e6:
                continue
            nodes = [mx.zeros(s, d)._node for s, d in f.inputs]
            try:
                executor.evaluate(f(nodes))
            except RuntimeError as error:  # no inverse
                assert "expected matrices" in str(error)
    return accepted


def test_tampered_graphs_are_refused_or_work(path: str) -> None:
    assert _tamper(path, 1500, 0) > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_tampered_graphs_at_length(path: str, seed: int) -> None:
    _tamper(path, 20_000, seed)


def _damage(path: str, count: int, seed: int) -> None:
    mx.export_function(path, nn.Linear(4, 4), mx.zeros((2, 4)), shapeless=True)
    whole = pathlib.Path(path).read_bytes()
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        pathlib.Path(path).unlink()  # what was imported before may still be a view into the file
        pathlib.Path(path).write_bytes(bytes(data))
        try:
            f = mx.import_function(path)
        except RuntimeError as error:
            assert str(error).startswith("[import_function]") and "\n" not in str(error)
            continue
        try:
            mx.eval(f(mx.ones((2, 4))))
        except ValueError:
            assert data != whole


def test_damaged_files_are_refused_or_work(path: str) -> None:
    _damage(path, 300, 0)


@pytest.mark.slow
def test_damaged_files_at_length(path: str) -> None:
    _damage(path, 10_000, 1)


HOSTILE = {
    "deep": "[" * 100_000 + "]" * 100_000,
    "version": '{"version":2,"functions":[]}',
    "version as truth": '{"version":true,"functions":[]}',
    "no list": '{"version":1,"functions":{}}',
    "more": '{"version":1,"functions":[],"code":"print()"}',
    "number": '{"version":1,"functions":[NaN]}',
    "digits": '{"version":1,"functions":[' + "9" * 10_000 + "]}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(name: str) -> None:
    with pytest.raises(ValueError):
        serialization.from_text(HOSTILE[name], {})


OUTSIDE = {
    "slice": ["slice", [0], [[2], [3], [1]], "float32", [2]],
    "slice before": ["slice", [0], [[2], [-1], [1]], "float32", [2]],
    "reshape": ["reshape", [0], [[5]], "float32", [5]],
    "broadcast": ["broadcast", [0], [[8]], "float32", [8]],
    "window": ["as_strided", [0], [[2], [4], 0], "float32", [2]],
    "window before": ["as_strided", [0], [[2], [-1], 0], "float32", [2]],
    "permutation": ["transpose", [0], [[1]], "float32", [4]],
    "axis": ["sum", [0], [[1]], "float32", [4]],
    "later": ["neg", [1], [], "float32", [4]],
    "itself": ["neg", [-1], [], "float32", [4]],
    "arity": ["add", [0], [], "float32", [4]],
    "type": ["neg", [0], [], "float64", [4]],
    "shape": ["neg", [0], [], "float32", [5]],
    "call": ["call", [0], [], "bool", []],
    "leaf": ["leaf", [], [], "float32", [4]],
    "placeholder": ["placeholder", [], [], "float32", [4]],
    "unknown": ["__import__", [0], [], "float32", [4]],
    "scalar": ["const", [], [{"float": "0x1p0"}], "int32", []],
    "huge": ["broadcast", [0], [[2**60, 4]], "float32", [2**60, 4]],
    "ranks": ["broadcast", [0], [[1] * 40 + [4]], "float32", [1] * 40 + [4]],
    "bits of floats": ["bitwise_and", [0, 0], [], "float32", [4]],
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_would_touch_other_memory_is_refused(name: str) -> None:
    function = {
        "inputs": [["float32", [4]]], "names": [None], "keywords": [], "constants": [],
        "program": [OUTSIDE[name]], "results": [1], "sizes": None,
    }  # fmt: skip
    with pytest.raises(ValueError):
        serialization.from_text(json.dumps({"version": 1, "functions": [function]}), {})
    function["program"] = [["neg", [0], [], "float32", [4]]]
    (f,) = serialization.from_text(json.dumps({"version": 1, "functions": [function]}), {})
    assert executor.to_numpy(f([mx.ones((4,))._node])[0]).tolist() == [-1] * 4


RULES: dict[str, tuple[list, list]] = {
    "none for a size": ([], []),
    "unknown": ([["size"], ["eval", 1, 2]], []),
    "operands": ([["size"], ["add", 1]], []),
    "later": ([["size"], ["neg", [1]]], []),
    "text": ([["size"], ["add", "a", 1]], []),
    "truth": ([["size"], ["add", True, 1]], []),
    "size of nothing": ([["size"], ["size"]], []),
    "guard of nothing": ([["size"]], [[1, True]]),
    "guard of text": ([["size"]], [[0, "4"]]),
    "guard that does not hold": ([["size"], ["eq", [0], 5]], [[1, True]]),
    "division by zero": ([["size"], ["floordiv", [0], 0]], []),
    "power": ([["size"], ["pow", 9, 2**62]], []),
    "large": ([["size"], ["mul", 2**61, [0]]], []),
    "root of less than nothing": ([["size"], ["neg", [0]], ["pow", [1], {"float": "0x1p-1"}]], []),
    "number": ([["size"], ["truediv", [0], 2]], []),
}


@pytest.mark.parametrize("name", RULES)
def test_rules_that_are_none(name: str) -> None:
    rules, guards = RULES[name]
    function = {
        "inputs": [["float32", [4]]], "names": [None], "keywords": [], "constants": [],
        "program": [["reshape", [0], [[{"rule": len(rules) - 1}]], "float32", [4]]], "results": [1],
        "sizes": {"rules": rules, "guards": guards},
    }  # fmt: skip
    with pytest.raises(ValueError):
        serialization.from_text(json.dumps({"version": 1, "functions": [function]}), {})
    function["sizes"] = {"rules": [["size"], ["mul", [0], 2], ["floordiv", [1], 2]], "guards": [[2, 4]]}
    function["program"] = [["reshape", [0], [[{"rule": 2}]], "float32", [4]]]
    (f,) = serialization.from_text(json.dumps({"version": 1, "functions": [function]}), {})
    assert f.fits([((4,), ALL[0])]) and not f.fits([((6,), ALL[0])])
    assert executor.to_numpy(f([mx.ones((4,))._node])[0]).tolist() == [1] * 4
