"""The base class of all layers and models."""

import os
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import shown
from arrax.utils import tree_flatten, tree_unflatten

# What an attribute must be to belong to the state of a module; everything else is an ordinary Python attribute.
_STATE = (mx.array, dict, list, tuple)


def _identity(x: Any) -> Any:
    return x


def _is_plain_leaf(module: "Module", key: str, value: Any) -> bool:
    return not isinstance(value, (dict, list))


class Module(dict):
    """A layer or a model: arrays, other modules, and a ``__call__`` that uses them.

    A module is a dict of its state. Attributes that are arrays, dicts, lists or tuples are kept as its items, so that
    modules, arrays and containers of them nest freely and the whole state is one tree; other attributes are ordinary
    Python attributes. Names that begin with an underscore are state but no parameters.

    A parameter is trainable unless it is frozen; :func:`arrax.nn.value_and_grad` and the optimizers only see the
    trainable ones.

    >>> import arrax.core as mx
    >>> import arrax.nn as nn
    >>> class Affine(nn.Module):
    ...     def __init__(self, dims):
    ...         super().__init__()
    ...         self.scale = mx.ones((dims,))
    ...         self.shift = mx.zeros((dims,))
    ...
    ...     def __call__(self, x):
    ...         return x * self.scale + self.shift
    >>> sorted(Affine(3).parameters())
    ['scale', 'shift']
    """

    __call__: Callable[..., Any]

    def __init__(self) -> None:
        self._no_grad: set[str] = set()
        self._training = True

    @property
    def training(self) -> bool:
        """Whether the module is in training mode; see :meth:`train`."""
        return self._training

    @property
    def state(self) -> "Module":
        """The state: the module itself, seen as the dict of its arrays and submodules. Changes are shared."""
        return self

    # Attributes

    def __getattr__(self, key: str) -> Any:
        if key in self:
            return self[key]
        # Raises the usual AttributeError, or runs a property once more to show its own error.
        return super().__getattribute__(key)

    def __setattr__(self, key: str, val: Any) -> None:
        if not isinstance(val, _STATE):
            super().__setattr__(key, val)
            self.pop(key, None)
        elif not hasattr(type(self), key):
            self.__dict__.pop(key, None)
            self[key] = val
        elif key in self or not hasattr(self, key):
            # A property, or another descriptor, that has nothing to give: reading falls back on the item.
            self[key] = val
        elif isinstance(getattr(type(self), key), property):
            super().__setattr__(key, val)
        else:
            # The attribute of the class would be found first, and the array never.
            raise AttributeError(
                f"[Module] {type(self).__name__!r} has a class attribute or method {key!r}; choose another name."
            )

    def __delattr__(self, name: str) -> None:
        if name in self:
            del self[name]
        else:
            super().__delattr__(name)

    # Printing

    def _extra_repr(self) -> str:
        """What to print between the brackets; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        children = tree_flatten(self.children(), is_leaf=self.is_module)
        body = "".join("\n" + textwrap.indent(f"({name}): {child!r}", "  ") for name, child in children)
        return f"{type(self).__name__}({self._extra_repr()}{body}" + ("\n)" if children else ")")

    # Reading the tree

    @staticmethod
    def is_module(value: Any) -> bool:
        """Whether ``value`` is a module."""
        return isinstance(value, Module)

    @staticmethod
    def valid_child_filter(module: "Module", key: str, value: Any) -> bool:
        """A filter for :meth:`filter_and_map` that keeps modules and the containers that may hold them."""
        return isinstance(value, (dict, list))

    @staticmethod
    def valid_parameter_filter(module: "Module", key: str, value: Any) -> bool:
        """A filter for :meth:`filter_and_map` that keeps all parameters."""
        return isinstance(value, (dict, list, mx.array)) and not key.startswith("_")

    @staticmethod
    def trainable_parameter_filter(module: "Module", key: str, value: Any) -> bool:
        """A filter for :meth:`filter_and_map` that keeps the parameters that are not frozen."""
        return Module.valid_parameter_filter(module, key, value) and key not in module._no_grad

    def filter_and_map(
        self,
        filter_fn: Callable[["Module", str, Any], bool],
        map_fn: Callable | None = None,
        is_leaf_fn: Callable[["Module", str, Any], bool] | None = None,
    ) -> dict[str, Any]:
        """Select a part of the state and map its leaves.

        All three functions see the containing module, the name of the value in it (the path, for a value in a list or
        dict of the module) and the value.

        Args:
            filter_fn: whether to keep a value and what it contains. Items of lists and dicts that are not kept become
                ``{}``, so that places do not shift.
            map_fn: maps a leaf to what the result holds in its place; the leaf itself by default.
            is_leaf_fn: whether a value is a leaf; by default all but modules, dicts and lists.

        Raises:
            RuntimeError: something that is no container is not a leaf.
        """
        map_fn = map_fn or _identity
        is_leaf_fn = is_leaf_fn or _is_plain_leaf

        def select(module: Module, key: str, value: Any) -> Any:
            if is_leaf_fn(module, key, value):
                return map_fn(value)
            if isinstance(value, Module):
                return {k: select(value, k, v) for k, v in value.items() if filter_fn(value, k, v)}
            if isinstance(value, dict):
                return {k: item(module, f"{key}.{k}", v) for k, v in value.items()}
            if isinstance(value, list):
                return [item(module, f"{key}.{i}", v) for i, v in enumerate(value)]
            raise RuntimeError(
                f"[filter_and_map] {shown(key)} is a {type(value).__name__} but is_leaf_fn says no leaf."
            )

        def item(module: Module, key: str, value: Any) -> Any:
            return select(module, key, value) if filter_fn(module, key, value) else {}

        return {k: select(self, k, v) for k, v in self.items() if filter_fn(self, k, v)}

    def parameters(self) -> dict[str, Any]:
        """All arrays of the module and its submodules, as a tree of dicts and lists."""
        return self.filter_and_map(self.valid_parameter_filter)

    def trainable_parameters(self) -> dict[str, Any]:
        """All arrays that are not frozen, as a tree of dicts and lists."""
        return self.filter_and_map(self.trainable_parameter_filter)

    def children(self) -> dict[str, Any]:
        """The modules that this one contains directly, as a tree."""
        return self.filter_and_map(self.valid_child_filter, is_leaf_fn=lambda m, k, v: isinstance(v, Module))

    def leaf_modules(self) -> dict[str, Any]:
        """The modules, at any depth, that contain no others, as a tree."""

        def is_leaf_module(module: Module, key: str, value: Any) -> bool:
            return isinstance(value, Module) and len(tree_flatten(value.children())) == 0

        return self.filter_and_map(self.valid_child_filter, is_leaf_fn=is_leaf_module)

    def named_modules(self) -> list[tuple[str, "Module"]]:
        """This module and all that it contains, each with its path; the path of this one is empty."""
        found: list[tuple[str, Module]] = []
        pending: list[tuple[str, Module]] = [("", self)]
        while pending:
            name, module = pending.pop()
            found.append((name, module))
            # The prefix loses its first character, so that children of the root get no dot.
            prefix = f".{name}" if name else ""
            pending.extend(tree_flatten(module.children(), prefix=prefix, is_leaf=self.is_module))
        return found

    def modules(self) -> list["Module"]:
        """This module and all that it contains."""
        return [module for _, module in self.named_modules()]

    # Changing the tree

    def update(self, parameters: dict, strict: bool = True) -> "Module":  # type: ignore[override]
        """Replace parameters.

        Args:
            parameters: a tree of new arrays, of the structure of :meth:`parameters` or of a part of it. Shapes and
                dtypes are not compared.
            strict: raise if there is anything in ``parameters`` that is no parameter of the module.

        Returns:
            The module.

        Raises:
            ValueError: the trees do not fit and ``strict`` is set.
        """
        _update_parameters(self, parameters, strict)
        return self

    def update_modules(self, modules: dict, strict: bool = True) -> "Module":
        """Replace submodules.

        Args:
            modules: a tree of new modules, of the structure of :meth:`children` or :meth:`leaf_modules` or of a part
                of it.
            strict: raise if there is anything in ``modules`` that is no module of this one.

        Returns:
            The module.

        Raises:
            ValueError: the trees do not fit and ``strict`` is set.
        """
        _update_modules(self, modules, strict)
        return self

    def apply(
        self,
        map_fn: Callable[[mx.array], mx.array],
        filter_fn: Callable[["Module", str, Any], bool] | None = None,
    ) -> "Module":
        """Replace every parameter by a function of it.

        Args:
            map_fn: maps an array to the new one.
            filter_fn: selects the parameters; all by default.

        Returns:
            The module.
        """
        return self.update(self.filter_and_map(filter_fn or Module.valid_parameter_filter, map_fn))

    def apply_to_modules(self, apply_fn: Callable[[str, "Module"], Any]) -> "Module":
        """Call ``apply_fn`` with the path and the module, for this module and all that it contains.

        Returns:
            The module.
        """
        for name, module in self.named_modules():
            apply_fn(name, module)
        return self

    def set_dtype(
        self,
        dtype: mx.Dtype,
        predicate: Callable[[mx.Dtype], bool] | None = lambda dtype: mx.issubdtype(dtype, mx.floating),
    ) -> None:
        """Cast the parameters.

        Args:
            dtype: the new dtype.
            predicate: given the dtype of a parameter, whether to cast it; floating-point ones by default, all if it is
                ``None``.
        """
        self.apply(lambda x: x.astype(dtype) if predicate is None or predicate(x.dtype) else x)

    # Training

    def train(self, mode: bool = True) -> "Module":
        """Put the module and all that it contains in training mode, or out of it.

        The mode matters to layers such as :class:`Dropout` and :class:`BatchNorm`.

        Returns:
            The module.
        """
        return self.apply_to_modules(lambda name, module: module._set_training_mode(mode))

    def eval(self) -> "Module":
        """Put the module in evaluation mode, see :meth:`train`."""
        return self.train(False)

    def _set_training_mode(self, mode: bool) -> None:
        """Set the mode of this module alone; subclasses that prepare for a mode override it."""
        self._training = mode

    def freeze(self, *, recurse: bool = True, keys: str | list[str] | None = None, strict: bool = False) -> "Module":
        """Exclude parameters from training.

        Args:
            recurse: also in all submodules.
            keys: the names of the parameters to freeze; all by default.
            strict: raise if no module has a parameter of such a name.

        Returns:
            The module.

        Raises:
            KeyError: a name does not exist and ``strict`` is set.
        """
        names = self._frozen_names(keys, strict, recurse)
        for module in self.modules() if recurse else [self]:
            module._no_grad.update(module._own_parameter_names() if names is None else names)
        return self

    def unfreeze(self, *, recurse: bool = True, keys: str | list[str] | None = None, strict: bool = False) -> "Module":
        """Include frozen parameters in training again.

        A submodule with an ``unfreeze`` of its own decides for itself: the running statistics of :class:`BatchNorm`
        stay frozen.

        Args:
            recurse: also in all submodules.
            keys: the names of the parameters to unfreeze; all by default.
            strict: raise if no module has a parameter of such a name.

        Returns:
            The module.

        Raises:
            KeyError: a name does not exist and ``strict`` is set.
        """
        names = self._frozen_names(keys, strict, recurse)
        if names is None:
            self._no_grad.clear()
        else:
            self._no_grad.difference_update(names)
        if recurse:
            for module in self.modules()[1:]:
                module.unfreeze(recurse=False, keys=names)
        return self

    def _frozen_names(self, keys: str | list[str] | None, strict: bool, recurse: bool) -> list[str] | None:
        if keys is None:
            return None
        names = list(keys) if isinstance(keys, (list, tuple, set)) else [keys]
        if strict:
            modules = self.modules() if recurse else [self]
            for name in names:
                if not any(name in module for module in modules):
                    raise KeyError(f"[Module] there is no parameter {shown(name)} in {type(self).__name__}.")
        return names

    def _own_parameter_names(self) -> list[str]:
        """The paths of the parameters of this module without those of its submodules."""
        own = self.filter_and_map(
            lambda module, key, value: (
                not isinstance(value, Module) and Module.valid_parameter_filter(module, key, value)
            )
        )
        return [name for name, _ in tree_flatten(own)]

    # Files

    def load_weights(
        self,
        file_or_weights: str | os.PathLike | list[tuple[str, mx.array]] | dict[str, mx.array],
        strict: bool = True,
    ) -> "Module":
        """Replace the parameters by those of a file or a list.

        Args:
            file_or_weights: the path of an ``.npz`` or ``.safetensors`` file, or pairs of a parameter's path and an
                array.
            strict: require exactly the module's parameters, in their shapes. Otherwise names that the module lacks
                are passed over, and shapes are not compared.

        Returns:
            The module.

        Raises:
            ValueError: names or shapes do not fit and ``strict`` is set, or the file format is unknown.
        """
        weights: Any = file_or_weights
        if isinstance(weights, (str, os.PathLike)):
            weights = mx.load(os.fspath(weights))
        weights = dict(weights)
        if strict:
            _check_weights(weights, tree_flatten(self.parameters(), destination={}))
        if weights:
            self.update(tree_unflatten(weights), strict=False)
        return self

    def save_weights(self, file: str | os.PathLike) -> None:
        """Write all parameters to a file, under their paths.

        Args:
            file: the path; its suffix, ``.npz`` or ``.safetensors``, decides the format.

        Raises:
            ValueError: the suffix is another one.
        """
        path = os.fspath(file)
        weights = tree_flatten(self.parameters(), destination={})
        if path.endswith(".npz"):
            mx.savez(path, **weights)
        elif path.endswith(".safetensors"):
            mx.save_safetensors(path, weights)
        else:
            raise ValueError(f"[save_weights] the file name must end in .npz or .safetensors but is {shown(path)}.")


def _items_at(destination: Any, new: dict | list, what: str, strict: bool) -> Iterable[tuple[Any, Any]]:
    """The keys (or indices) and values of ``new`` that have a place in ``destination``."""
    for key, value in new.items() if isinstance(new, dict) else enumerate(new):
        if isinstance(new, dict):
            exists = isinstance(destination, dict) and key in destination
        else:
            exists = isinstance(destination, (list, tuple)) and key < len(destination)
        if exists:
            yield key, value
        elif strict and isinstance(new, dict):
            raise ValueError(f"[Module] there is no {what} {shown(key)} to update.")
        elif strict:
            size = f"of length {len(destination)}" if isinstance(destination, (list, tuple)) else "no list"
            raise ValueError(f"[Module] there is no {what} at index {key} to update: the destination is {size}.")


def _reject(value: Any, what: str, strict: bool) -> None:
    if strict:
        raise ValueError(f"[Module] to update a {what} received an object of type {type(value).__name__}.")


def _update_parameters(destination: Any, new: Any, strict: bool) -> None:
    if not isinstance(new, (dict, list)):
        return _reject(new, "tree of parameters", strict)
    for key, value in _items_at(destination, new, "parameter", strict):
        current = destination[key]
        if not isinstance(current, mx.array):
            _update_parameters(current, value, strict)
        elif isinstance(value, mx.array) or not strict:
            destination[key] = value
        else:
            _reject(value, "parameter", strict)


def _update_modules(destination: Any, new: Any, strict: bool) -> None:
    if not isinstance(new, (dict, list)):
        return _reject(new, "tree of modules", strict)
    for key, value in _items_at(destination, new, "module", strict):
        current = destination[key]
        if isinstance(current, Module) and isinstance(value, Module):
            destination[key] = value
        elif isinstance(current, (dict, list)):
            _update_modules(current, value, strict)
        elif value != {}:
            _reject(value, "module", strict)


def _check_weights(new: dict[str, Any], current: dict[str, mx.array]) -> None:
    # Programs match the words that MLX has for these two.
    if extra := sorted(new.keys() - current.keys()):
        raise ValueError(f"[load_weights] Received {len(extra)} parameters not in model: {', '.join(extra)}.")
    if missing := sorted(current.keys() - new.keys()):
        raise ValueError(f"[load_weights] Missing {len(missing)} parameters: {', '.join(missing)}.")
    for name, value in current.items():
        if not isinstance(new[name], mx.array):
            raise ValueError(
                f"[load_weights] Expected mx.array but received {type(new[name]).__name__} for parameter {name}."
            )
        if new[name].shape != value.shape:
            raise ValueError(
                f"[load_weights] Expected shape {value.shape} but received shape {new[name].shape} "
                f"for parameter {name}."
            )
