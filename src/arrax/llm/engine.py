"""One thread that generates text for many requests at once."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from arrax.llm.batch import Batch, Text
from arrax.llm.checkpoint import Checkpoint
from arrax.llm.generation import check_request
from arrax.llm.tokenizer import TextStream, Tokenizer

MOST_WAITING = 64  # requests; more are turned away
BATCH = 16  # requests at a time
CACHE_TOKENS = 2**15  # positions of all texts at a time, rounded up to those of the longest


@dataclass(frozen=True)
class Piece:
    """What a request gets, again and again: some text, and in the last one why it ends.

    Attributes:
        reason: "stop" at the end of the text, "length" after the most tokens, "error", "closed" when the engine ends;
            None while there is more.
        tokens: how many were generated so far.
    """

    text: str
    tokens: int
    reason: str | None = None


@dataclass(eq=False)
class Job:
    """A request: the arguments of `generate`, strings that end the text, and where the pieces go.

    Attributes:
        send: called in the engine's thread, which it must not hold up.
        cancelled: to be set where nobody wants more.
    """

    prompt: Sequence[int]
    send: Callable[[Piece], None]
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    cancelled: threading.Event = field(default_factory=threading.Event)


class StopStrings:
    """Passes text on up to the first of some strings, and holds back what may be the beginning of one.

    >>> filter = StopStrings(["END"])
    >>> [filter.add("some E"), filter.add("N"), filter.add("D of it"), filter.found]
    ['some ', '', '', True]
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = strings
        self._held = ""
        self.found = False

    def add(self, text: str) -> str:
        """Return what can be passed on now; nothing is to be added once one is found."""
        held = self._held + text
        places = [at for string in self._strings if (at := held.find(string)) >= 0]
        if places:
            self.found, self._held = True, ""
            return held[: min(places)]
        lengths = ((string, range(1, min(len(string), len(held) + 1))) for string in self._strings)
        beginnings = (n for string, some in lengths for n in some if held.endswith(string[:n]))
        passed = len(held) - max(beginnings, default=0)
        self._held = held[passed:]
        return held[:passed]

    def finish(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return held


class Answer:
    """A job that is being worked on: its tokens become pieces of text."""

    def __init__(self, job: Job, text: Text, tokenizer: Tokenizer) -> None:
        self.job = job
        self.text = text
        self._stream = TextStream(tokenizer)
        self._strings = StopStrings(job.stop)

    def send(self) -> bool:
        """Send what the latest token adds; return whether that was the last piece."""
        text, strings = self.text, self._strings
        new = "" if text.token is None else strings.add(self._stream.add(text.token))
        if text.reason is None and not strings.found:
            if new:
                self.job.send(Piece(new, text.count))
            return False
        if not strings.found:
            new += strings.add(self._stream.finish())
        new += strings.finish()
        self.job.send(Piece(new, text.count, "stop" if strings.found else text.reason))
        return True


class Engine:
    """Works in a thread of its own on as many requests at a time as there is room for, in the order in which they come.

    Args:
        checkpoint: the model.
        tokenizer: its tokenizer.
        batch: the most requests at a time.
        cache_tokens: the most positions in the model's cache: requests wait while, with the longest texts that they
            and the running ones may become, it would need more.
    """

    def __init__(
        self, checkpoint: Checkpoint, tokenizer: Tokenizer, batch: int = BATCH, cache_tokens: int = CACHE_TOKENS
    ) -> None:
        self._checkpoint = checkpoint
        self._tokenizer = tokenizer
        context = checkpoint.model.config.context
        self._cache_tokens = cache_tokens
        self._longest = cache_tokens if context is None else min(context, cache_tokens)
        self._batch = Batch(checkpoint.model, batch)
        self._waiting: deque[Job] = deque()
        self._answers: dict[Text, Answer] = {}
        self._reading: deque[Text] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="arrax-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Take a request.

        Raises:
            ValueError: if one of its arguments is out of range.
            queue.Full: if too many are waiting.
            RuntimeError: if the thread has failed.
        """
        check_request(self._checkpoint.model, job.prompt, job.max_tokens, job.temperature, job.top_p)
        if len(job.prompt) >= self._longest:
            raise ValueError(
                f"[serve] expected a prompt of less than {self._longest} tokens, got {len(job.prompt)}: shorten it"
            )
        with self._changed:
            if self._failure is not None:
                raise RuntimeError(
                    f"[serve] expected the engine to run, got {_described(self._failure)}: start the server again"
                ) from self._failure
            if len(self._waiting) >= MOST_WAITING or self._closing:
                raise queue.Full
            self._waiting.append(job)
            self._changed.notify()

    def close(self) -> None:
        """End the thread after its current step, and whatever runs or waits with an error."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        text, reason = "the server is closing", "closed"
        try:
            while self._wait():
                while (job := self._next()) is not None:
                    self._begin(job)
                self._read()
                self._decode()
        except BaseException as error:
            text, reason = _described(error), "error"
            with self._changed:  # from here on there are no new requests
                self._failure = error
            raise
        finally:
            counts = {answer.job: answer.text.count for answer in self._answers.values()}
            for job in [*counts, *self._waiting]:
                _send(job, Piece(text, counts.get(job, 0), reason))

    def _wait(self) -> bool:
        """Let those go that are cancelled, and wait for others if there are none; return whether to go on."""
        for answer in list(self._answers.values()):
            if answer.job.cancelled.is_set():
                self._drop(answer)
        with self._changed:
            self._waiting = deque(job for job in self._waiting if not job.cancelled.is_set())
            while not (self._waiting or self._answers or self._closing):
                self._changed.wait()
            return not self._closing

    def _next(self) -> Job | None:
        """The first job that waits, if there is room for it now."""
        with self._changed:
            if not self._waiting or len(self._answers) == self._batch.size:
                return None
            lengths = [len(text.prompt) + text.max_tokens for text in self._answers]
            lengths.append(len(self._waiting[0].prompt) + self._most_tokens(self._waiting[0]))
            fits = self._batch.positions(lengths) <= self._cache_tokens
            return self._waiting.popleft() if fits or not self._answers else None

    def _most_tokens(self, job: Job) -> int:
        return min(job.max_tokens, self._longest - len(job.prompt))

    def _begin(self, job: Job) -> None:
        try:
            text = Text(
                job.prompt,
                max_tokens=self._most_tokens(job),
                temperature=job.temperature,
                top_p=job.top_p,
                seed=job.seed,
                stop=self._checkpoint.stop,
            )
            answer = Answer(job, text, self._tokenizer)
        except Exception as error:
            _send(job, Piece(_described(error), 0, "error"))
            return
        self._answers[text] = answer
        self._reading.append(text)

    def _read(self) -> None:
        """A part of one prompt; long ones take turns with others."""
        if not self._reading:
            return
        text = self._reading.popleft()
        try:
            if self._batch.read(text):
                self._deliver(text)
            else:
                self._reading.append(text)
        except Exception as error:
            self._fail(error)

    def _decode(self) -> None:
        if not self._batch.running:
            return
        try:
            for text in self._batch.decode():
                self._deliver(text)
        except Exception as error:
            self._fail(error)

    def _deliver(self, text: Text) -> None:
        """Send on what came. If that fails, it is the failure of this request alone."""
        answer = self._answers[text]
        try:
            ended = answer.send()
        except Exception as error:
            ended = True
            _send(answer.job, _failure(error, text))
        if ended:
            self._drop(answer)

    def _fail(self, error: Exception) -> None:
        """End the requests whose texts are lost."""
        going_on = {*self._reading, *self._batch.running}
        for text, answer in list(self._answers.items()):
            if text not in going_on:
                _send(answer.job, _failure(error, text))
                self._drop(answer)

    def _drop(self, answer: Answer) -> None:
        del self._answers[answer.text]
        if answer.text in self._reading:
            self._reading.remove(answer.text)
        self._batch.remove(answer.text)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _failure(error: Exception, text: Text) -> Piece:
    return Piece(_described(error), text.count, "error")


def _send(job: Job, piece: Piece) -> None:
    """Send a last piece, to somebody who may be gone."""
    with contextlib.suppress(Exception):
        job.send(piece)
