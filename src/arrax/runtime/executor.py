"""Evaluation of recorded graphs."""

from __future__ import annotations

import functools
import operator
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from arrax.codegen import cpu
from arrax.compiler.scalar import has_equal_reference
from arrax.graph.dtypes import Dtype, from_numpy
from arrax.graph.node import Node, Shape, topological
from arrax.graph.template import Call, Result, Template, bits, inlined, is_at_hand, needed, opened, other_results
from arrax.prims import leaf
from arrax.prims.call import variable_p
from arrax.runtime import buffer as memory
from arrax.runtime import debug, threads
from arrax.runtime.cpu import Bound, BoundCall
from arrax.runtime.plans import bound_plan
from arrax.runtime.run import ALONE, Run, references

SMALL = 16  # elements of all arrays of a graph together, up to which NumPy takes no longer than a kernel
BOUND = 4096
STREAMS = 8  # threads for what runs in the background
AHEAD = 4  # graphs of one stream that are computed or wait for it
_UNKNOWN: Any = object()
_TRACED = (leaf.placeholder, variable_p)  # arguments of a trace
_NUMBER = operator.attrgetter("number")

_lock = threading.RLock()

_bound: OrderedDict[tuple, Bound | None] = OrderedDict()


class _Job(NamedTuple):
    """What runs in the background.

    Attributes:
        stream, future, run: where it runs, what ends when it does, and what it does.
        wanted, shown: who gets the results when it has ended, see ``_hand_out``; nobody where they were given already.
        writes, uses: the ids of the buffers with its results, and of all that it refers to.
    """

    stream: int
    future: Future
    run: Run
    wanted: list[Node]
    shown: list[tuple[Node, Node]]
    writes: frozenset[int]
    uses: frozenset[int]


_jobs: list[_Job] = []  # in the order in which they were started
# By stream, the first failure of its jobs that nobody has been told of, and the numbers of the nodes not computed
_failures: dict[int, tuple[BaseException, frozenset[int]]] = {}
_background: ThreadPoolExecutor | None = None


def _before_fork() -> None:
    # no other thread may be changing what the child gets a copy of
    _lock.acquire()
    _end(list(_jobs))
    for lock in (cpu.lock, memory.pool.lock):
        lock.acquire()


def _after_fork() -> None:
    for lock in (memory.pool.lock, cpu.lock, _lock):
        lock.release()


def _in_child() -> None:
    global _background
    _background = None  # its thread is the parent's
    _failures.clear()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


class _Tracing(threading.local):
    """How many transforms are tracing in this thread: while one does, evaluated nodes keep their inputs.

    The last one to end makes leaves of the nodes in ``kept``.
    """

    depth = 0

    def __init__(self) -> None:
        self.kept: list[Node] = []


tracing = _Tracing()


class _Computed:
    """What has been computed already, as if it were still to run."""

    finished = True
    inputs = overwritten = ()

    def __init__(self, results: list[memory.Buffer]) -> None:
        self.results = results

    def __call__(self) -> list[memory.Buffer]:
        return self.results


def evaluate(outputs: list[Node]) -> None:
    """Computes the given nodes, so that each has a buffer.

    Nodes change under the lock only: it is held while the graph is read, and again while the results are handed out.
    Raises ValueError where one depends on an argument of a trace, RuntimeError where that has ended, MemoryError where
    there is not enough memory; then nothing has changed.
    """
    with _lock:
        pending = _pending(outputs)
        if pending:
            run, wanted, shown = _prepare(pending)
            before = _before(run) if _jobs else []
            if run.overwritten:  # nobody may look at data that are being overwritten
                try:
                    _wait(before)
                    run()
                    _hand_out(run, wanted, shown)
                except BaseException:
                    if run.finished:  # interrupted since: what is overwritten cannot be computed again
                        _hand_out(run, wanted, shown)
                    raise
                pending = []
    if pending:
        _wait(before)
        run()
        with _lock:
            _hand_out(run, wanted, shown)
    if _jobs:
        arrive(outputs)


def evaluate_later(outputs: list[Node], stream: int = 0) -> None:
    """Starts to compute the given nodes in the background; who wants data, whichever, waits until they are there.

    The graphs of one stream run one after the other, those of several streams at the same time; a graph that needs the
    results of another one starts when that has ended. The nodes have their buffers at once: the next graph is made
    ready while this one runs. Where a library has a part they get them when somebody wants data, since that may fail:
    the graph stays as it was then, and who wants its data does the work again; if nobody has, ``synchronize`` raises
    what has failed.
    """
    global _background
    if tracing.depth and any(n.prim in _TRACED for n in topological([n for n in outputs if n.buffer is None])):
        raise ValueError(
            "[async_eval] Not allowed inside a graph transformation. "
            "Call it outside of the function that is traced, or on arrays that do not depend on its arguments"
        )
    if tracing.depth or debug.level:
        evaluate(outputs)
        return
    with _lock:
        pending = _pending(outputs)
        if not pending:
            return
        ahead = [job for job in _jobs if job.stream == stream]
        if len(ahead) >= AHEAD:
            _end(ahead[:1])
        run, wanted, shown = _prepare(pending)
        if isinstance(run, _Computed):
            _hand_out(run, wanted, shown)
            return
        if _background is None:
            _background = ThreadPoolExecutor(STREAMS, "arrax-background")
        before = _before(run) + [job.future for job in ahead[-1:]]
        threads.pool()  # what could fail about it does so here
        run.in_background = True
        uses, writes = run.hold(), frozenset(map(id, run.results))
        future = _background.submit(_run_after, before, run)
        if run.is_native:
            job = _Job(stream, future, run, [], [], writes, uses)
            _jobs.append(job)
            _hand_out(run, wanted, shown)
            future.add_done_callback(lambda _: _forget(job))
        else:
            _jobs.append(_Job(stream, future, run, wanted, shown, writes, uses))


def _forget(job: _Job) -> None:
    """Lets go of the memory of a job that has ended and has nothing to hand out; later, where that would have to wait.

    Whoever has the lock may be waiting for jobs that need the thread that this is called in.
    """
    if _lock.acquire(blocking=False):
        try:
            if job in _jobs and job.future.exception() is None:
                _end([job])
        finally:
            _lock.release()


def arrive(nodes: Sequence[Node]) -> None:
    """Waits for the data of nodes that have buffers, and are being computed in the background."""
    wanted = {id(n.buffer) for n in nodes}
    jobs = [job for job in list(_jobs) if not job.writes.isdisjoint(wanted)]
    _wait([job.future for job in jobs])
    with _lock:
        _end([job for job in jobs if job in _jobs])


def _before(run: Run | _Computed) -> list[Future]:
    """What must have ended before a run begins: what computes its inputs, or looks at what it writes over."""
    inputs, overwritten = frozenset(map(id, run.inputs)), frozenset(map(id, run.overwritten))
    return [job.future for job in _jobs if not (job.writes.isdisjoint(inputs) and job.uses.isdisjoint(overwritten))]


def _wait(futures: list[Future]) -> None:
    for future in futures:
        future.exception()


def _pending(outputs: list[Node]) -> list[Node]:
    """Those that are still to be computed, once they and what they need have the buffers that they can have."""
    if _jobs:
        _end([job for job in _jobs if job.future.done()])
        if any(job.wanted for job in _jobs):
            _settle_behind(outputs)
    if _failures:
        again = {n.number for n in needed(outputs)}  # what fails once more is raised then
        for stream in [s for s, (_, failed) in _failures.items() if not failed.isdisjoint(again)]:
            del _failures[stream]
    return [n for n in outputs if n.buffer is None and not memory.is_window(n)]


def _run_after(before: list[Future], run: Run) -> None:
    _wait(before)  # those have been started earlier, so they do not wait for this one
    run()


def synchronize(stream: int | None = None) -> None:
    """Waits for what runs in the background, on all streams or on one, and hands out its results.

    Raises what has failed there since the last time.
    """
    with _lock:
        try:
            _end([job for job in _jobs if stream is None or job.stream == stream])
        finally:  # what is raised here is not raised once more
            failed = [s for s in _failures if stream is None or s == stream]
            failures = [_failures.pop(s)[0] for s in failed]
    if failures:
        raise failures[0]


def _settle_behind(outputs: list[Node]) -> None:
    """Waits for what runs in the background, has not given its results yet, and a graph needs."""
    jobs = [job for job in _jobs if job.wanted]
    computed = {id(n): job for job in jobs for n in (*job.wanted, *(n for n, _ in job.shown))}
    others = {id(job) for job in jobs}
    seen: set[int] = set()
    stack = list(outputs)
    while stack and others:  # in depth: what is needed is often far down
        node = stack.pop()
        if node.buffer is not None or id(node) in seen:
            continue
        seen.add(id(node))
        job = computed.get(id(node))
        if job is None:
            stack.extend(node.inputs)
        else:
            others.discard(id(job))
    _end([job for job in jobs if id(job) not in others])


def _end(jobs: list[_Job]) -> None:
    for job in jobs:
        error = job.future.exception()  # waits
        if error is not None:
            nodes = (*job.wanted, *(n for n, _ in job.shown))
            _failures.setdefault(job.stream, (error, frozenset(n.number for n in nodes)))
        elif job.wanted:
            _hand_out(job.run, job.wanted, job.shown)
        job.run.release()  # the thread may not have let go of it yet
        _jobs.remove(job)  # not before: what is interrupted is done again
        if error is not None and not job.wanted:
            raise error  # which native code has never done: the results have been handed out


def _hand_out(run: Run | _Computed, wanted: list[Node], shown: list[tuple[Node, Node]]) -> None:
    """Gives the results to the wanted nodes, then to those for which others were computed."""
    for node, buffer in zip(wanted, run.results, strict=True):
        if node.buffer is None:
            finish(node, buffer)
    for node, target in shown:
        if node.buffer is None:
            finish(node, target.buffer)


def _prepare(pending: list[Node]) -> tuple[Run | _Computed, list[Node], list[tuple[Node, Node]]]:
    """What computes the nodes and others whose time has come; those all; (node, the one computed in its place)."""
    first = pending[0]
    if len(pending) == 1:
        single = _single(first)
        if single is not None:
            short, known, operands = single
            once = None if tracing.depth else dict.fromkeys(map(id, operands), 1)
            return _start(short, known, pending, once), pending, []
    if type(first) is Result:
        found = _call(pending)
        if found is not None:
            bound, wanted, left = found
            return bound.start(first.inputs[0].inputs, donate=not left), wanted, []
    order, key, uses = _linearise(pending)
    others, left = other_results(order)
    if others:
        pending = [*pending, *others]
        order, key, uses = _linearise(pending)
    keeps = tracing.depth > 0 or left  # then nothing is overwritten
    if not tracing.depth:
        kept = _kept(order, pending, uses)
        if kept:
            pending = [*pending, *kept]
            places = {id(n): i for i, n in enumerate(order)}
            key = key and (*key, tuple([places[id(n)] for n in kept]))
    if key and not any(n.prim is leaf.const for n in pending):
        return _start(order, key, pending, None if keeps else uses), pending, []
    shown = [i for i, n in uses.items() if n < 0]
    targets, seen = inlined(pending)
    for node in targets:
        if node.prim is leaf.const and node.buffer is None:
            finish(node, memory.from_array(node.prim.reference(node.params, node.shape, node.dtype)))
    pairs = list(zip(pending, targets, strict=True))
    wanted = [n for n in targets if n.buffer is None]
    if not wanted:
        return _Computed([]), [], pairs
    order, key, _ = _linearise(wanted)
    assert key is not None
    uses = {**references([*order, *seen]), **dict.fromkeys(shown, -1)}
    return _start(order, key, wanted, None if keeps else uses, seen), wanted, pairs


def _kept(order: list[Node], wanted: list[Node], uses: dict[int, int]) -> list[Node]:
    """Results on the way that somebody outside of the graph holds: computed now, they need not be computed again.

    Without this a loop that carries an array along without ever evaluating it (a KV cache) would start from its
    beginning at every step. A view stands for what it shows, but for one that is wanted itself: of that the part that
    it shows will do. Data that a held view shows get -1 as their uses.
    """
    seen = {id(n) for n in wanted}
    kept = []
    for i in range(len(order)):
        node = order[i]  # one reference more
        if node.buffer is None and node.inputs and sys.getrefcount(order[i]) > uses.get(id(node), 0) + ALONE + 1:
            while node.prim.kind in ("view", "alias") and node.buffer is None:
                node = node.inputs[0]
            if node.buffer is not None:
                uses[id(node)] = -1
            elif node.inputs and not {id(node), id(order[i])} & seen and type(node) is not Call:
                seen.add(id(node))
                kept.append(node)
    return kept


def _start(
    order: list[Node], key: tuple, wanted: list[Node], uses: dict[int, int] | None, others: Sequence[Node] = ()
) -> Run | _Computed:
    """What computes the wanted nodes' buffers. ``uses``, ``others``: see ``Bound.start``."""
    bound = _bound.get(key, _UNKNOWN)
    if bound is _UNKNOWN:
        bound = _bind(order, wanted, key)
    else:
        _bound.move_to_end(key)
    if bound is not None:
        return bound.start(order, uses, others)
    if _jobs:
        arrive([n for n in order if n.buffer is not None])
    return _Computed(by_reference(order, wanted))


def _single(node: Node) -> tuple[list[Node], tuple, tuple[Node, ...]] | None:
    """The graph of one operation on data, or of a view of its result, if the node is that; its key, and the operands.

    It is the common case of results that are looked at one by one.
    """
    inputs, order = node.inputs, [node]
    key: tuple = (node.prim, node.params)
    if node.prim.kind == "view" and inputs[0].buffer is None:
        inner = inputs[0]
        # held by the view and the variable: whoever else holds it wants it as well
        if len(inputs) > 1 or sys.getrefcount(inputs[0]) > ALONE + 1:
            return None
        inputs, key = inner.inputs, (*key, inner.prim, inner.params)
        order = [inner, node]
    if order[0].prim.kind in ("alias", "call"):
        return None
    if len(inputs) == 1:
        (a,) = inputs
        if a.buffer is not None:
            return [a, *order], (*key, a.shape, a.dtype), inputs
    elif len(inputs) == 2:
        a, b = inputs
        if a is b:
            return None
        if a.buffer is not None:
            if b.buffer is not None:
                return [a, b, *order], (*key, a.shape, a.dtype, b.shape, b.dtype), inputs
            if b.prim is leaf.const:
                return [a, b, *order], (*key, a.shape, a.dtype, b.dtype), inputs
        elif a.prim is leaf.const and b.buffer is not None:
            return [a, b, *order], (*key, None, a.dtype, b.shape, b.dtype), inputs
    return None


def _call(pending: list[Node]) -> tuple[BoundCall, list[Node], bool] | None:
    """The plan of one call of a compiled function whose arguments are data, if the nodes are results of that.

    With it those nodes, and the call's other results that somebody holds; whether some of these are left.
    """
    call = pending[0].inputs[0] if pending[0].inputs else None
    if type(call) is not Call or call.expansion is not None:
        return None
    inputs = call.inputs
    for node in pending:
        if not node.inputs or node.inputs[0] is not call:
            return None
    template = call.template
    others, left = other_results([call, *pending])
    wanted = [*pending, *others]
    key = tuple([n.params[0] for n in wanted])
    known = template.plans.get(key)
    used = known[0] if known else bits(functools.reduce(operator.or_, [template.needs[i] for i in key]))
    for i in used:
        if i < template.arity and inputs[i].buffer is None:
            return None
    if known is None:
        known = template.plans[key] = used, _bind_call(template, inputs, key, used)
    return (known[1], wanted, left) if known[1] is not None else None


def _bind_call(
    template: Template, inputs: tuple[Node, ...], wanted: tuple[int, ...], used: tuple[int, ...]
) -> BoundCall | None:
    """A plan for certain results of a template, which use some inputs; None where the ordinary way must do."""
    constants = [template.constants[i - template.arity] for i in used if i >= template.arity]
    unknown = [n for n in constants if n.buffer is None and n.inputs]
    if unknown and not any(_depends_on_placeholder(n) for n in unknown):
        evaluate(unknown)
    # distinct leaves, although the caller may have passed one array twice
    leaves = [Node(leaf.leaf, (), (), n.shape, n.dtype, n.buffer) for n in inputs[: template.arity]]
    outputs = template.instantiate(leaves)
    targets, _ = inlined([outputs[i] for i in wanted])
    for i, node in enumerate(targets):
        if node.buffer is None and node.prim is leaf.const:
            value = node.prim.reference(node.params, node.shape, node.dtype)
            targets[i] = data(memory.from_array(value), node.shape, node.dtype)
    pending = list({id(n): n for n in targets if n.buffer is None}.values())
    if not pending:
        return None
    order, key, _ = _linearise(pending)
    assert key is not None
    bound = _bound.get(key, _UNKNOWN)
    if bound is _UNKNOWN:
        bound = _bind(order, pending, key)
    if bound is None:
        return None
    found = BoundCall(bound, order, leaves, pending, targets)
    for node in leaves:  # the plan must not hold on to data
        node.buffer = None
    return found


def _depends_on_placeholder(node: Node) -> bool:
    return any(n.prim is leaf.placeholder for n in needed([node]))


def _linearise(outputs: list[Node]) -> tuple[list[Node], tuple | None, dict[int, int]]:
    """The graph, inputs first, and a key, equal for equal graphs of equal sizes; None if that does not tell.

    That is so where there are aliases in it, or calls of which only a part is needed.

    Third how often each node is the input of another.
    """
    found = {id(n): n for n in outputs}
    uses: dict[int, int] = {}
    calls: dict[int, tuple[Call, int, int]] = {}  # with what the results in the graph need, and risk
    stack = list(found.values())
    while stack:
        node = stack.pop()
        if node.buffer is None:
            inputs = node.inputs
            if node.prim.kind == "call":
                if type(node) is Call:  # its results say what they need of it
                    continue
                inputs = _through(node, calls)
            for x in inputs:
                i = id(x)
                if i in uses:
                    uses[i] += 1
                else:
                    uses[i] = 1
                    if i not in found:
                        found[i] = x
                        stack.append(x)
    order = sorted(found.values(), key=_NUMBER)
    if any(_is_partial(*c) for c in calls.values()):
        return order, None, uses
    position = {id(n): i for i, n in enumerate(order)}
    key: list[Any] = []
    add = key.append
    for node in order:
        if node.buffer is not None:
            add(node.shape)
            add(node.dtype)
        elif node.inputs:
            if node.prim.kind == "alias" or (type(node) is Result and _passes_through(node)):
                return order, None, uses
            add(node.prim)  # which knows the result's shape and type
            add(node.params)
            for x in node.inputs:
                add(position[id(x)])
        elif node.prim is leaf.const:
            add(node.dtype)
        elif node.prim is leaf.placeholder:
            raise _no_data()
        else:
            add(node.prim)
            add(node.params)
    add(tuple([position[id(n)] for n in outputs]))
    return order, tuple(key), uses


def _no_data() -> Exception:
    """What to raise where data are wanted of an array that stands for an argument."""
    if tracing.depth:
        return ValueError(
            "[eval] Attempting to eval an array during function transformations like compile or vmap is not allowed. "
            "It is an array that a transform is tracing: move what looks at its data (eval, item, tolist, print, if) "
            "out of the transformed function"
        )
    return RuntimeError(
        "[eval] Attempting to eval an array without a primitive. It is left over from a function that a transform "
        "traced: return it from there or, for compile, capture what the function changes by inputs and outputs"
    )


def _through(result: Node, calls: dict[int, tuple[Call, int, int]]) -> tuple[Node, ...]:
    """The call of a result, and those of its inputs that the result needs and no earlier one did."""
    call = result.inputs[0]
    assert isinstance(call, Call)
    which, template = result.params[0], call.template
    more = template.needs[which]
    if id(call) not in calls:
        for i, x in enumerate(call.inputs):
            if is_at_hand(x):
                more |= 1 << i
    _, need, risk = calls.get(id(call), (call, 0, 0))
    calls[id(call)] = call, need | more, risk | template.risks[which]
    return (call, *[call.inputs[i] for i in bits(more & ~need)])


def _is_partial(call: Call, need: int, risk: int) -> bool:
    """Whether results need a part of the call's inputs, or of its operations that may fail; see ``Template``."""
    return need != (1 << len(call.inputs)) - 1 or functools.reduce(operator.or_, call.template.risks) != risk


def _passes_through(result: Result) -> bool:
    """Whether a result of a call is one of its inputs."""
    call = result.inputs[0]
    return isinstance(call, Call) and not call.template.computes[result.params[0]]


def _bind(order: list[Node], outputs: list[Node], key: tuple) -> Bound | None:
    """A bound plan for the graph, out of the cache of plans where its structure has been seen."""
    work = sum(node.size for node in order if node.prim is not leaf.const)
    small = work <= SMALL and all(has_equal_reference(node.prim) for node in order)
    bound: Bound | None = None  # small graphs whose references are as exact, and those of nothing: the references
    if not small and any(node.size for node in outputs):
        bound = bound_plan(order, outputs)
    _bound[key] = bound
    if len(_bound) > BOUND:
        _bound.popitem(last=False)
    return bound


def by_reference(order: list[Node], outputs: list[Node]) -> list[memory.Buffer]:
    """Evaluates a graph with the primitives' NumPy references: the results' buffers."""
    values: dict[int, np.ndarray] = {}
    results: dict[int, list[Node]] = {}  # of calls
    keep: list[Node] = []
    pending = list(reversed(order))
    while pending:
        node = pending.pop()
        if id(node) in values:
            continue
        if node.buffer is not None:
            values[id(node)] = memory.as_numpy(node.buffer, node.shape, node.dtype)
        elif node.prim.kind in ("composite", "call"):
            if type(node) is Result:
                values[id(node)] = values[id(results[id(node.inputs[0])][node.params[0]])]
            elif id(node) not in results:
                inner, results[id(node)] = opened(node, node.inputs)
                keep += inner
                pending += [node, *reversed(inner)]
            elif type(node) is not Call:
                values[id(node)] = values[id(results[id(node)][0])]
        else:
            values[id(node)] = node.prim.reference(
                node.params, node.shape, node.dtype, *[values[id(i)] for i in node.inputs]
            )
    return [memory.from_array(np.asarray(values[id(n)], n.dtype.np).reshape(n.shape)) for n in outputs]


def finish(node: Node, buffer: memory.Buffer) -> None:
    """Gives a node its data; from now on it is a leaf, unless a transform still needs its history."""
    node.buffer = memory.apart(buffer, node.size * node.dtype.size) if memory.views else buffer
    if tracing.depth:
        tracing.kept.append(node)
    else:
        node.prim, node.inputs, node.params = leaf.leaf, (), ()


def to_numpy(node: Node) -> np.ndarray:
    """The node's data as a read-only NumPy array on the same memory; evaluates it first where needed."""
    if node.buffer is None:
        evaluate([node])
    elif _jobs:
        arrive([node])
    return memory.of_node(node)


def from_numpy_array(array: np.ndarray) -> Node:
    """A leaf with a copy of the array. The array's type must be one of ours."""
    dtype = from_numpy(array.dtype)
    assert dtype is not None
    return data(memory.from_array(array), array.shape, dtype)


def data(buffer: Any, shape: Shape, dtype: Dtype) -> Node:
    """A leaf on an existing buffer (row-contiguous)."""
    return Node(leaf.leaf, (), (), shape, dtype, buffer)
