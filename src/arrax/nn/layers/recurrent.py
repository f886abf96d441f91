"""Recurrent layers. Inputs have the shape ``(N, L, D)`` or ``(L, D)``: batch, position in the sequence, feature."""

import math
from collections.abc import Callable

import arrax.core as mx
from arrax.nn.layers.activations import tanh
from arrax.nn.layers.base import Module


def _random(bound: float, *shape: int) -> mx.array:
    return mx.random.uniform(low=-bound, high=bound, shape=shape)


def _project(x: mx.array, weight: mx.array, bias: mx.array | None) -> mx.array:
    return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)


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
            raise ValueError(f"[RNN] nonlinearity must be a function but is {nonlinearity!r}.")
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
        states = []
        for t in range(x.shape[-2]):
            inputs = x[..., t, :]
            hidden = self.nonlinearity(inputs if hidden is None else mx.addmm(inputs, hidden, self.Whh.T))
            states.append(hidden)
        return mx.stack(states, axis=-2)


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
        x = _project(x, self.Wx, self.b)
        n_gates = 2 * self.hidden_size
        states = []
        for t in range(x.shape[-2]):
            gates, candidate = x[..., t, :n_gates], x[..., t, n_gates:]
            recurrent = self.bhn
            if hidden is not None:
                projected = hidden @ self.Wh.T
                gates = gates + projected[..., :n_gates]
                recurrent = projected[..., n_gates:]
                if self.bhn is not None:
                    recurrent = recurrent + self.bhn
            r, z = mx.split(mx.sigmoid(gates), 2, axis=-1)
            n = mx.tanh(candidate if recurrent is None else candidate + r * recurrent)
            hidden = (1 - z) * n if hidden is None else (1 - z) * n + z * hidden
            states.append(hidden)
        return mx.stack(states, axis=-2)


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
        x = _project(x, self.Wx, self.bias)
        hiddens, cells = [], []
        for t in range(x.shape[-2]):
            gates = x[..., t, :]
            if hidden is not None:
                gates = mx.addmm(gates, hidden, self.Wh.T)
            i, f, g, o = mx.split(gates, 4, axis=-1)
            update = mx.sigmoid(i) * mx.tanh(g)
            cell = update if cell is None else mx.sigmoid(f) * cell + update
            hidden = mx.sigmoid(o) * mx.tanh(cell)
            hiddens.append(hidden)
            cells.append(cell)
        return mx.stack(hiddens, axis=-2), mx.stack(cells, axis=-2)
