"""State that a trace must not ruin: as it was before, if the traced function raises or is interrupted."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FunctionType, MethodType, ModuleType, TracebackType
from typing import Any

from arrax.graph.handle import Handle
from arrax.graph.node import Node
from arrax.graph.template import needed, resolve
from arrax.prims.leaf import placeholder

_HOLDERS = (Handle, list, tuple, dict)
_DEPTH = 2
_LARGEST = 10_000  # items of a container: what is larger is data, not the state of a model


class Snapshot:
    """A context that puts state back if an exception ends it.

    That is captured state, and whatever else the function keeps in its closure, its object or its module, if an array
    is found there that stands for an argument of the trace: nobody could evaluate it any more.

    Args:
        *captured: trees.
        fun: the function that is traced.
    """

    def __init__(self, *captured: Any, fun: Callable[..., Any] | None = None) -> None:
        self._captured = _State(captured)
        self._others = [] if fun is None else [_State([root], _LARGEST) for root in held_by(fun)]

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            for state in [self._captured, *[s for s in self._others if s.is_lost()]]:
                state.restore()


class _State:
    """The lists, dicts and arrays of trees, with what is in them now; but for containers beyond a number of items."""

    def __init__(self, roots: Sequence[Any], largest: int = sys.maxsize) -> None:
        self._roots = roots
        self._largest = largest
        self._items: dict[int, tuple[list | dict, list | dict]] = {}
        self._nodes: dict[int, tuple[Handle, Node]] = {}
        for value in _walk(roots, largest):
            if isinstance(value, Handle):
                self._nodes[id(value)] = value, value._node
            elif isinstance(value, dict):
                self._items[id(value)] = value, dict.copy(value)
            elif isinstance(value, list):
                self._items[id(value)] = value, list.copy(value)

    def is_lost(self) -> bool:
        """Whether there is an array now that depends on an argument of a trace."""
        nodes = [resolve(v._node) for v in _walk(self._roots, self._largest) if isinstance(v, Handle)]
        return any(n.prim is placeholder for n in needed([n for n in nodes if n.buffer is None]))

    def restore(self) -> None:
        for container, items in self._items.values():
            if isinstance(container, dict):
                dict.clear(container)
                dict.update(container, items)
            else:
                list.__setitem__(container, slice(None), items)
        for handle, node in self._nodes.values():
            handle._node = node


def _walk(roots: Sequence[Any], largest: int) -> Iterator[Any]:
    """The containers and arrays in trees, each once; what is in containers that are too large is left out."""
    stack, seen = list(roots), set()
    while stack:
        value = stack.pop()
        if isinstance(value, _HOLDERS) and id(value) not in seen:
            if not isinstance(value, Handle) and len(value) > largest:
                continue
            seen.add(id(value))
            yield value
            if not isinstance(value, Handle):
                stack += dict.values(value) if isinstance(value, dict) else value


def held_by(fun: Any) -> list[Any]:
    """The containers and arrays that a function uses besides its arguments, as far as one can see.

    They are in its closure, its defaults, the object whose method it is, and what its module calls by names that it
    uses; likewise for functions in these places. An object with attributes is a tuple of itself and these; what they
    are themselves is looked at as well, to a depth of ``_DEPTH`` objects.
    """
    found: list[Any] = []
    stack, seen = [(fun, 0)], set()

    def look(values: Iterable[Any], depth: int) -> None:
        stack.extend([(v, depth) for v in values])

    while stack:
        value, depth = stack.pop()
        if id(value) in seen or isinstance(value, type | ModuleType):
            continue
        seen.add(id(value))
        if isinstance(value, functools.partial):
            look([value.func, *value.args, *value.keywords.values()], depth)
        elif isinstance(value, MethodType):
            look([value.__self__, value.__func__], depth)
        elif isinstance(value, FunctionType):
            look(value.__defaults__ or (), depth)
            for cell in value.__closure__ or ():
                with contextlib.suppress(ValueError):  # it may be empty
                    look([cell.cell_contents], depth)
            module = value.__globals__
            if not str(module.get("__name__")).startswith("arrax."):
                names = [name for name in value.__code__.co_names if name in module]
                look([module[n] for n in names if getattr(module[n], "__globals__", module) is module], depth)
        elif hasattr(value, "__dict__"):
            found.append((value, vars(value)))
            if depth < _DEPTH:
                look(list(vars(value).values()), depth + 1)
        elif isinstance(value, _HOLDERS):
            found.append(value)
    return found
