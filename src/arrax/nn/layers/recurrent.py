"""Recurrent layers. Inputs have the shape ``(N, L, D)`` or ``(L, D)``: batch, position in the sequence, feature."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import integer, shown
from arrax.nn.layers.activations import tanh
from arrax.nn.layers.base import Module


def _random(bound: float, *shape: int) -> mx.array:
    return mx.random.uniform(low=-bound, high=bound, shape=shape)


def _project(x: mx.array, weight: mx.array, bias: mx.array | None) -> mx.array:
    return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)


# From the gates, from what else comes in at a position, and from the states before it: the states after it.
Cell = Callable[[list[mx.array], list[mx.array], list[mx.array]], list[mx.array]]


def _recurrence(cell: Cell, n_gates: int) -> Callable:
    """A function that carries states along a sequence.

    The function takes the inputs to the gates, shape ``(..., L, n_gates * H)``; a list of other inputs of the shape
    ``(..., L, H)``; the recurrent weights, ``(n_gates * H, H)``, whose product with the first of the states is added
    to the gates; and a list of the first states, ``(..., H)``. It returns the states at all positions, ``(..., L, H)``.

    Its derivative is not what would be recorded step by step: all gates are computed again by one product, and the
    gradient of the weights is one product too.
    """

    @mx.custom_function
    def run(inputs: mx.array, others: list[mx.array], weight: mx.array, states: list[mx.array]) -> list[mx.array]:
        steps = []
        for t in range(inputs.shape[-2]):
            gates = mx.addmm(inputs[..., t, :], states[0], weight.T)
            states = cell(mx.split(gates, n_gates, axis=-1), [x[..., t, :] for x in others], states)
            steps.append(states)
        return [mx.stack(list(states), axis=-2) for states in zip(*steps, strict=True)]

    @run.vjp
    def run_vjp(primals: Sequence, cotangents: list[mx.array], outputs: list[mx.array]) -> tuple:
        inputs, others, weight, first = primals
        before = [
            mx.concatenate([mx.expand_dims(x, -2), y[..., :-1, :]], axis=-2)
            for x, y in zip(first, outputs, strict=True)
        ]
        gates = mx.split(mx.addmm(inputs, before[0], weight.T), n_gates, axis=-1)
        n_inputs = n_gates + len(others)

        def flat_cell(*values: mx.array) -> list[mx.array]:
            return cell(list(values[:n_gates]), list(values[n_gates:n_inputs]), list(values[n_inputs:]))

        carried = [mx.zeros_like(x) for x in first]
        steps = []
        for t in reversed(range(inputs.shape[-2])):
            values = [x[..., t, :] for x in (*gates, *others, *before)]
            wanted = [x[..., t, :] + y for x, y in zip(cotangents, carried, strict=True)]
            gradients: list[Any] = mx.vjp(flat_cell, values, wanted)[1]
            of_gates = mx.concatenate(gradients[:n_gates], axis=-1)
            carried = gradients[n_inputs:]
            carried[0] = carried[0] + of_gates @ weight
            steps.append([of_gates, *gradients[n_gates:n_inputs]])
        of_inputs, *of_others = (mx.stack(list(step[::-1]), axis=-2) for step in zip(*steps, strict=True))
        of_weight = of_inputs.reshape(-1, weight.shape[0]).T @ before[0].reshape(-1, weight.shape[1])
        return of_inputs, of_others, of_weight, carried

    return run


def _start(inputs: mx.array, size: int, *states: mx.array | None) -> tuple[mx.array, list[mx.array]]:
    """The inputs and the first states, zeros where they are not given, with the same axes before the sequence's.

    Raises:
        ValueError: the sequence is empty.
    """
    if inputs.shape[-2] == 0:
        raise ValueError("[recurrent] expected a sequence of at least one position, got an empty one.")
    batch = mx.broadcast_shapes(inputs.shape[:-2], *(state.shape[:-1] for state in states if state is not None))
    first = [
        mx.zeros((*batch, size), inputs.dtype) if state is None else mx.broadcast_to(state, (*batch, size))
        for state in states
    ]
    return mx.broadcast_to(inputs, (*batch, *inputs.shape[-2:])), first


def _gru_cell(gates: list[mx.array], others: list[mx.array], states: list[mx.array]) -> list[mx.array]:
    r, z, recurrent = mx.sigmoid(gates[0]), mx.sigmoid(gates[1]), gates[2]
    n = mx.tanh(others[0] + r * recurrent)
    return [(1 - z) * n + z * states[0]]


def _lstm_cell(gates: list[mx.array], others: list[mx.array], states: list[mx.array]) -> list[mx.array]:
    i, f, g, o = gates
    cell = mx.sigmoid(f) * states[1] + mx.sigmoid(i) * mx.tanh(g)
    return [mx.sigmoid(o) * mx.tanh(cell), cell]


_run_gru = _recurrence(_gru_cell, 3)
_run_lstm = _recurrence(_lstm_cell, 4)


class RNN(Module):
    """The Elman network ``h[t + 1] = f(Wxh @ x[t] + Whh @ h[t] + bias)``.

    Args:
        input_size: the number of input features.
        hidden_size: the size of the hidden state.
        bias: whether to add a bias.
        nonlinearity: ``f``; the hyperbolic tangent by default.

    Raises:
        ValueError: ``nonlinearity`` cannot be called.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: Callable | None = None
    ) -> None:
        super().__init__()
        self.nonlinearity = tanh if nonlinearity is None else nonlinearity
        if not callable(self.nonlinearity):
            raise ValueError(f"[RNN] nonlinearity must be a function but is {shown(nonlinearity)}.")
        hidden_size = integer("RNN", "hidden_size", hidden_size, least=1)
        bound = 1 / math.sqrt(hidden_size)
        self.hidden_size = hidden_size
        self.Wxh = _random(bound, hidden_size, input_size)
        self.Whh = _random(bound, hidden_size, hidden_size)
        self.bias = _random(bound, hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self.Wxh.shape[1]}, hidden_size={self.hidden_size}, nonlinearity={self.nonlinearity}, "
            f"bias={self.bias is not None}"
        )

    def __call__(self, x: mx.array, hidden: mx.array | None = None) -> mx.array:
        """The hidden states of all positions, from the first state ``hidden`` (zero by default)."""
        x = _project(x, self.Wxh, self.bias)
        run = _recurrence(lambda gates, others, states: [self.nonlinearity(gates[0])], 1)
        x, first = _start(x, self.hidden_size, hidden)
        return run(x, [], self.Whh, first)[0]


class GRU(Module):
    """The gated recurrent unit.

    With a reset gate ``r``, an update gate ``z`` and a candidate ``n``, whose weights are stacked in this order::

        r = sigmoid(Wxr @ x[t] + Whr @ h[t] + br)
        z = sigmoid(Wxz @ x[t] + Whz @ h[t] + bz)
        n = tanh(Wxn @ x[t] + bn + r * (Whn @ h[t] + bhn))
        h[t + 1] = (1 - z) * n + z * h[t]

    Args:
        input_size: the number of input features.
        hidden_size: the size of the hidden state.
        bias: whether to add biases.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        hidden_size = integer("GRU", "hidden_size", hidden_size, least=1)
        bound = 1 / math.sqrt(hidden_size)
        self.hidden_size = hidden_size
        self.Wx = _random(bound, 3 * hidden_size, input_size)
        self.Wh = _random(bound, 3 * hidden_size, hidden_size)
        self.b = _random(bound, 3 * hidden_size) if bias else None
        self.bhn = _random(bound, hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, bias={self.b is not None}"

    def __call__(self, x: mx.array, hidden: mx.array | None = None) -> mx.array:
        """The hidden states of all positions, from the first state ``hidden`` (zero by default)."""
        x, first = _start(_project(x, self.Wx, self.b), self.hidden_size, hidden)
        gates, candidate = mx.split(x, [2 * self.hidden_size], axis=-1)
        # The candidate's product with the hidden state is not added to its input but has its own bias.
        own = mx.zeros_like(candidate) if self.bhn is None else mx.broadcast_to(self.bhn, candidate.shape)
        gates = mx.concatenate([gates, own], axis=-1)
        return _run_gru(gates, [candidate], self.Wh, first)[0]


class LSTM(Module):
    """The long short-term memory.

    With an input gate ``i``, a forget gate ``f``, a candidate ``g`` and an output gate ``o``, whose weights are
    stacked in this order::

        i = sigmoid(Wxi @ x[t] + Whi @ h[t] + bi)
        f = sigmoid(Wxf @ x[t] + Whf @ h[t] + bf)
        g = tanh(Wxg @ x[t] + Whg @ h[t] + bg)
        o = sigmoid(Wxo @ x[t] + Who @ h[t] + bo)
        c[t + 1] = f * c[t] + i * g
        h[t + 1] = o * tanh(c[t + 1])

    Args:
        input_size: the number of input features.
        hidden_size: the size of the hidden state and of the cell state.
        bias: whether to add a bias.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        hidden_size = integer("LSTM", "hidden_size", hidden_size, least=1)
        bound = 1 / math.sqrt(hidden_size)
        self.hidden_size = hidden_size
        self.Wx = _random(bound, 4 * hidden_size, input_size)
        self.Wh = _random(bound, 4 * hidden_size, hidden_size)
        self.bias = _random(bound, 4 * hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, bias={self.bias is not None}"

    def __call__(
        self, x: mx.array, hidden: mx.array | None = None, cell: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        """The hidden states and the cell states of all positions, from the first ones (zero by default)."""
        x, first = _start(_project(x, self.Wx, self.bias), self.hidden_size, hidden, cell)
        hiddens, cells = _run_lstm(x, [], self.Wh, first)
        return hiddens, cells
