"""Continuing several texts at once: one pass through the model gives each of them its next token.

All texts share one cache for each layer. A text has a row of it to itself and is as long as it is, so that texts join
and leave between two passes. The numbers of rows and of positions are rounded up: they change seldom, and a pass with
the same ones costs no recording of its operations.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import arrax.core as mx
from arrax.llm.llama import Llama
from arrax.llm.sampling import sample

PROMPT_CHUNK = 256  # tokens of a prompt that are read at once: others wait for them, and attention takes memory
SHORTEST_CHUNK = 32  # tokens to which a chunk is filled up, or a power of two above
ROOM_STEP = 256  # positions by which a cache grows, or a quarter of the power of two below its length


class Text:
    """A prompt, how to continue it, and how far that is.

    Args:
        prompt: token ids, at least one.
        max_tokens: the number of tokens after which it ends.
        temperature: divides the logits; 0 takes the likeliest token each time.
        top_p: sample among the likeliest tokens that together have at least this probability.
        seed: makes the result reproducible; None draws one.
        stop: tokens that end the text; they are not part of it.

    Attributes:
        token: the latest one, None before the first and behind the end.
        count: how many there are besides the prompt.
        reason: why it has ended: "stop" at one of those tokens, "length" after the most tokens; else None.
        length: how many positions are in the cache.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: frozenset[int] = frozenset(),
    ) -> None:
        self.prompt = list(prompt)
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.top_p = top_p
        self.stop = stop
        self.token: int | None = None
        self.count = 0
        self.reason: str | None = None
        self.length = 0
        self.key: list[int] = mx.random.key(secrets.randbits(32) if seed is None else seed).tolist()

    def accept(self, token: int) -> None:
        """Take the next token."""
        if token in self.stop:
            self.token, self.reason = None, "stop"
            return
        self.token, self.count = token, self.count + 1
        if self.count == self.max_tokens:
            self.reason = "length"


class Batch:
    """Texts that one model continues together.

    A text is read first, then it takes part in each pass until it ends or is removed. What it becomes does not depend
    on the others, up to the order in which products are summed.

    Args:
        model: the model.
        size: the most texts at a time.
    """

    def __init__(self, model: Llama, size: int = 1) -> None:
        self.size = size
        self._model = model
        # The weights are inputs, and data: constants would be transposed beforehand, which takes as much memory again,
        # and what is still to be computed keeps a compiled function from going the short way.
        mx.eval(model.parameters())
        self._forward = mx.compile(self._record, inputs=model.state)
        self._choose = mx.compile(_choose)
        self._reading: dict[Text, _Buffers] = {}
        self._rows: list[Text | None] = []
        self._buffers = _Buffers(model)

    @property
    def running(self) -> list[Text]:
        """The texts that have been read and have not ended."""
        return [text for text in self._rows if text is not None]

    def positions(self, lengths: Sequence[int]) -> int:
        """Return how many positions the cache has, in all rows, for texts of these lengths."""
        return self._row_count(len(lengths)) * _room(max(lengths, default=0))

    def read(self, text: Text) -> bool:
        """Read the next part of a text's prompt; return whether that was all, which also gives the first token.

        After an error this text does not run; nor do the others if their cache has been lost.
        """
        buffers = self._reading.pop(text, None) or _Buffers(self._model)
        chunk = text.prompt[text.length : text.length + PROMPT_CHUNK]
        filled = max(SHORTEST_CHUNK, 1 << (len(chunk) - 1).bit_length())
        buffers.arrange([0], 1, _room(text.length + filled))
        logits = self._pass([chunk + [0] * (filled - len(chunk))], [text.length], len(chunk) - 1, buffers)
        text.length += len(chunk)
        if text.length < len(text.prompt):
            buffers.evaluate()
            self._reading[text] = buffers
            return False
        self._accept([text], logits, buffers)
        if text.reason is None:
            self._join(text, buffers)
        return True

    def decode(self) -> list[Text]:
        """Give each running text its next token, and return them. After an error none runs."""
        texts = self.running
        with self._consistent():
            self._arrange(texts)
            tokens = [[0 if text is None or text.token is None else text.token] for text in self._rows]
            lengths = [0 if text is None else text.length for text in self._rows]
            logits = self._pass(tokens, lengths, 0, self._buffers)
            self._accept(self._rows, logits, self._buffers)
        for text in texts:
            text.length += 1
            if text.reason is not None:
                self.remove(text)
        return texts

    def remove(self, text: Text) -> None:
        """Let go of a text, wherever it is."""
        self._reading.pop(text, None)
        if text in self._rows:
            self._rows[self._rows.index(text)] = None
        if not self.running:
            self._rows, self._buffers = [], _Buffers(self._model)

    @contextmanager
    def _consistent(self) -> Iterator[None]:
        """Where the shared cache is changed, array by array: an error leaves none."""
        try:
            yield
        except BaseException:
            self._rows, self._buffers = [], _Buffers(self._model)
            raise

    def _join(self, text: Text, buffers: _Buffers) -> None:
        if not self._rows:
            self._rows, self._buffers = [text], buffers
            return
        with self._consistent():
            self._arrange([*self.running, text])
            row = self._rows.index(None)
            buffers.arrange([0], 1, self._buffers.room)
            self._buffers.put(row, buffers)
            self._rows[row] = text

    def _arrange(self, texts: list[Text]) -> None:
        """Make the shared cache large enough for the next token of these texts, and not much larger."""
        rows, room = self._row_count(len(texts)), _room(max(text.length for text in texts) + 1)
        if (rows, room) != (len(self._rows), self._buffers.room):
            kept = [i for i, text in enumerate(self._rows) if text is not None]
            self._buffers.arrange(kept, rows, room)
            self._rows = [self._rows[i] for i in kept] + [None] * (rows - len(kept))

    def _row_count(self, texts: int) -> int:
        """A power of two, or all."""
        return min(1 << max(texts - 1, 0).bit_length(), self.size)

    def _pass(self, tokens: list[list[int]], lengths: list[int], last: int, buffers: _Buffers) -> mx.array:
        """Record a pass through the model, which writes into the buffers; return the logits of each row."""
        logits, buffers.keys, buffers.values = self._forward(
            mx.array(tokens), mx.array(lengths), mx.array([last]), buffers.room, buffers.keys, buffers.values
        )
        return logits

    def _record(
        self,
        tokens: mx.array,
        lengths: mx.array,
        last: mx.array,
        room: int,
        keys: list[mx.array | None],
        values: list[mx.array | None],
    ) -> tuple[mx.array, list[mx.array | None], list[mx.array | None]]:
        places = lengths[:, None] + mx.arange(tokens.shape[1])
        seen = (mx.arange(room) <= places[..., None])[:, None]
        caches = [_Rows(k, v, lengths, places, seen) for k, v in zip(keys, values, strict=True)]
        hidden = self._model.model(tokens, caches)
        if tokens.shape[1] > 1:
            hidden = mx.take(hidden, last, axis=1)
        logits = self._model.logits(hidden[:, 0])
        return logits, [cache.keys for cache in caches], [cache.values for cache in caches]

    def _accept(self, rows: Sequence[Text | None], logits: mx.array, buffers: _Buffers) -> None:
        """Choose the next token of each row."""
        mx.eval(logits, buffers.keys, buffers.values)
        temperature, top_p = (
            [0.0 if t is None else getattr(t, name) for t in rows] for name in ("temperature", "top_p")
        )
        keys = mx.array([[0, 0] if text is None else text.key for text in rows], mx.uint32)
        draws = max(temperature) > 0
        nucleus = draws and min(top_p) < 1
        tokens, keys = self._choose(logits, mx.array(temperature), mx.array(top_p), keys, draws, nucleus)
        mx.eval(tokens, keys)
        for text, token, key in zip(rows, tokens.tolist(), keys.tolist(), strict=True):
            if text is not None:
                text.key = key
                text.accept(token)


def _choose(
    logits: mx.array, temperature: mx.array, top_p: mx.array, keys: mx.array, draws: bool, nucleus: bool
) -> tuple[mx.array, mx.array]:
    """The next tokens and keys, for texts some of which are drawn at random."""
    if not draws:
        return mx.argmax(logits, axis=-1), keys
    pairs = mx.vmap(mx.random.split)(keys)
    return sample(logits, temperature, top_p, pairs[:, 1], nucleus=nucleus), pairs[:, 0]


def _room(length: int) -> int:
    """The positions of a cache that holds `length`."""
    step = max(ROOM_STEP, 1 << max(length.bit_length() - 3, 0))
    return -(-length // step) * step


class _Buffers:
    """The keys and the values of each layer: shape (rows, heads, room, head_dim), or None before the first pass."""

    def __init__(self, model: Llama) -> None:
        self.keys: list[mx.array | None] = [None for _ in model.model.layers]
        self.values = list(self.keys)
        self.room = 0

    def evaluate(self) -> None:
        """Compute them."""
        mx.eval(self.keys, self.values)

    def arrange(self, kept: list[int], rows: int, room: int) -> None:
        """Keep some rows, in this order, and make it so many rows and positions. What is new holds anything finite."""
        # One array at a time, so that no more than one is there twice.
        for buffers in (self.keys, self.values):
            for i, buffer in enumerate(buffers):
                if buffer is not None:
                    buffers[i] = _arranged(buffer, kept, rows, room)
                    mx.eval(buffers[i])
        self.room = room

    def put(self, row: int, other: _Buffers) -> None:
        """Overwrite a row with the only one of others that have as much room."""
        for mine, new in ((self.keys, other.keys), (self.values, other.values)):
            for buffer, source in zip(mine, new, strict=True):
                assert buffer is not None and source is not None
                buffer[row : row + 1] = source
                mx.eval(buffer)


def _arranged(buffer: mx.array, kept: list[int], rows: int, room: int) -> mx.array:
    if rows != buffer.shape[0] or kept != list(range(len(kept))):
        buffer = mx.take(buffer, mx.array(kept + kept[:1] * (rows - len(kept))), axis=0)
    more = room - buffer.shape[2]
    if more == 0:
        return buffer
    if more < 0:
        return buffer[:, :, :room]
    return mx.concatenate([buffer, mx.zeros((*buffer.shape[:2], more, buffer.shape[3]), buffer.dtype)], axis=2)


class _Rows:
    """The cache of one layer in a pass that is recorded. Its rows are of different lengths.

    Attributes:
        length: how many positions each row had before, shape (rows,).
    """

    def __init__(
        self, keys: mx.array | None, values: mx.array | None, length: mx.array, places: mx.array, seen: mx.array
    ) -> None:
        self.keys = keys
        self.values = values
        self.length = length
        self._places = places  # (rows, new positions)
        self._seen = seen  # (rows, 1, new positions, room)

    def append(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Write new positions, and return all that there is room for."""
        self.keys, self.values = self._written(self.keys, keys), self._written(self.values, values)
        return self.keys, self.values

    def mask(self, length: int) -> mx.array:
        """Each new position sees those up to its own."""
        return self._seen

    def _written(self, buffer: mx.array | None, new: mx.array) -> mx.array:
        if buffer is None:
            rows, heads, _, dims = new.shape
            buffer = mx.zeros((rows, heads, self._seen.shape[-1], dims), new.dtype)
        places = mx.broadcast_to(self._places[:, None, :, None], new.shape)
        return mx.put_along_axis(buffer, places, new, axis=2)
