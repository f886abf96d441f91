"""The base class of the optimizers, a combination of several, and gradient clipping."""

from collections.abc import Callable
from typing import Any

import arrax.core as mx
from arrax.nn import Module
from arrax.utils import tree_flatten, tree_map, tree_merge, tree_reduce, tree_unflatten

# A learning rate: a number, or a schedule from the number of the step to a number.
Rate = float | Callable[[mx.array], Any]


class Optimizer:
    """The base class: it applies a rule for one parameter to a tree of parameters and keeps the state.

    The state is a tree: ``"step"``, every scheduled hyperparameter (``"learning_rate"``), and for each parameter, at
    its place in the model, a dict of arrays. Subclasses define :meth:`init_single` and :meth:`apply_single`.

    Args:
        schedulers: functions from the step to the value of a hyperparameter, by name.
    """

    def __init__(self, schedulers: dict[str, Callable] | None = None) -> None:
        self._initialized = False
        self._state: dict[str, Any] = {"step": mx.array(0, mx.uint64)}
        self._schedulers = dict(schedulers or {})

    @property
    def state(self) -> dict[str, Any]:
        """The state as a tree. A tree assigned to it is taken over, e.g. to continue training."""
        return self._state

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._initialized = False
        self._state = state

    @property
    def step(self) -> mx.array:
        """The number of updates so far."""
        return self.state["step"]

    @property
    def learning_rate(self) -> mx.array:
        """The learning rate. One that is assigned holds until a schedule, if there is one, sets the next."""
        return self.state["learning_rate"]

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | mx.array) -> None:
        self.state["learning_rate"] = mx.array(learning_rate)

    def _maybe_schedule(self, name: str, param: Rate) -> None:
        """Put a hyperparameter into the state, on a schedule if it is a function."""
        value: Any = param
        if callable(param):
            self._schedulers[name] = param
            value = param(self.step)
        self.state[name] = mx.array(value)

    def init(self, parameters: dict) -> None:
        """Create the state of parameters that have none yet. The first update does this by itself.

        Args:
            parameters: a tree of arrays, such as the trainable parameters of a model.
        """

        def init_new(parameter: mx.array, state: dict) -> None:
            if not state:
                self.init_single(parameter, state)

        _grow(self._state, parameters)
        tree_map(init_new, parameters, self._state)
        self._initialized = True

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Create the state of one parameter; subclasses define it.

        Args:
            parameter: the parameter.
            state: the dict to fill.
        """
        raise NotImplementedError(f"[Optimizer] {type(self).__name__} must define init_single.")

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Compute the new value of one parameter and change its state; subclasses define it.

        Args:
            gradient: the gradient of the loss with respect to the parameter.
            parameter: the parameter.
            state: its state.
        """
        raise NotImplementedError(f"[Optimizer] {type(self).__name__} must define apply_single.")

    def apply_gradients(self, gradients: dict, parameters: dict) -> dict:
        """Make one step and return the new parameters.

        Args:
            gradients: a tree of gradients.
            parameters: a tree of parameters that has at least what ``gradients`` has.

        Returns:
            The parameters after the step, in a tree of the structure of ``gradients``.
        """
        if not self._initialized:
            self.init(gradients)
        for name, schedule in self._schedulers.items():
            value = schedule(self.step)
            self.state[name] = value if isinstance(value, mx.array) else mx.array(value)
        self.state["step"] = self.step + 1
        return tree_map(self.apply_single, gradients, parameters, self.state)

    def update(self, model: Module, gradients: dict) -> None:
        """Make one step and put the new parameters into the model.

        Args:
            model: the model.
            gradients: the gradients of its parameters, see :func:`arrax.nn.value_and_grad`.
        """
        model.update(self.apply_gradients(gradients, model))


def _grow(state: Any, parameters: Any) -> None:
    """Extend the tree of states, in place, to the structure of the parameters, with an empty dict for each of them."""
    if isinstance(parameters, dict):
        for key, value in parameters.items():
            if key in state:
                _grow(state[key], value)
            else:
                state[key] = tree_map(lambda _: {}, value)
    elif isinstance(parameters, (list, tuple)):
        for known, value in zip(state, parameters, strict=False):
            _grow(known, value)
        if len(state) < len(parameters):
            state.extend(tree_map(lambda _: {}, value) for value in parameters[len(state) :])


class MultiOptimizer(Optimizer):
    """Several optimizers, each for a part of the parameters.

    Args:
        optimizers: the optimizers.
        filters: for each optimizer but the last, whether it is the one for a parameter, given the parameter's path and
            gradient. A parameter goes to the first optimizer that wants it, or to the last one.

    Raises:
        ValueError: there is not one filter less than optimizers.
    """

    def __init__(self, optimizers: list[Optimizer], filters: list[Callable[[str, mx.array], bool]] = []) -> None:  # noqa: B006
        super().__init__()
        if not all(isinstance(optimizer, Optimizer) for optimizer in optimizers):
            raise TypeError("[MultiOptimizer] optimizers must be a list of optimizers.")
        if len(filters) != len(optimizers) - 1:
            raise ValueError(
                f"[MultiOptimizer] {len(optimizers)} optimizers need {len(optimizers) - 1} filters, not {len(filters)}."
            )
        self.optimizers = optimizers
        self.filters = [*filters, lambda path, gradient: True]

    def _split(self, tree: dict) -> list[Any]:
        parts: list[list[tuple[str, mx.array]]] = [[] for _ in self.optimizers]
        for path, leaf in tree_flatten(tree):
            chosen = next(i for i, wants in enumerate(self.filters) if wants(path, leaf))
            parts[chosen].append((path, leaf))
        return [tree_unflatten(part) if part else {} for part in parts]

    @property
    def state(self) -> dict[str, Any]:
        """The states of the optimizers, in a list under ``"states"``."""
        return {"states": [optimizer.state for optimizer in self.optimizers]}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        if len(state.get("states", ())) != len(self.optimizers):
            raise ValueError(f"[MultiOptimizer] the state must hold {len(self.optimizers)} states under 'states'.")
        for optimizer, part in zip(self.optimizers, state["states"], strict=True):
            optimizer.state = part

    @property
    def learning_rate(self) -> mx.array:
        """The learning rate of the first optimizer. One that is assigned is set in all of them."""
        return self.optimizers[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | mx.array) -> None:
        for optimizer in self.optimizers:
            optimizer.learning_rate = learning_rate

    def init(self, parameters: dict) -> None:
        """See :meth:`Optimizer.init`."""
        for optimizer, part in zip(self.optimizers, self._split(parameters), strict=True):
            optimizer.init(part)

    def apply_gradients(self, gradients: dict, parameters: dict) -> dict:
        """See :meth:`Optimizer.apply_gradients`."""
        result: dict = {}
        for optimizer, part in zip(self.optimizers, self._split(gradients), strict=True):
            result = tree_merge(result, optimizer.apply_gradients(part, parameters))
        return result


def clip_grad_norm(grads: Any, max_norm: float) -> tuple[Any, mx.array]:
    """Scale gradients down, all by the same factor, if their norm is larger than ``max_norm``.

    Args:
        grads: a tree of gradients.
        max_norm: the largest norm of the result.

    Returns:
        The gradients, and their norm before: the root of the sum of all squares, in float32.

    Raises:
        ValueError: ``max_norm`` is negative.

    >>> import arrax.core as mx
    >>> clipped, norm = clip_grad_norm({"w": mx.array([3.0, 4.0])}, max_norm=1.0)
    >>> norm.item()
    5.0
    """
    if max_norm < 0:
        raise ValueError(f"[clip_grad_norm] max_norm must be at least 0 but is {max_norm}.")
    for path, g in tree_flatten(grads):
        if not isinstance(g, mx.array):
            raise TypeError(
                f"[clip_grad_norm] grads must be a tree of arrays but has a {type(g).__name__} at {path!r:.60}."
            )
    square = tree_reduce(lambda total, g: total + mx.sum(mx.square(g.astype(mx.float32))), grads, mx.array(0.0))
    norm = mx.sqrt(square)
    factor = mx.minimum(max_norm / (norm + 1e-6), 1.0)

    def scaled(g: mx.array) -> mx.array:
        return (g * factor).astype(g.dtype) if mx.issubdtype(g.dtype, mx.floating) else g * factor

    return tree_map(scaled, grads), norm
