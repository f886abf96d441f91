"""One thread that generates text for many requests, one after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from arrax.llm.checkpoint import Checkpoint
from arrax.llm.generation import check_request, generate
from arrax.llm.tokenizer import TextStream, Tokenizer

MOST_WAITING = 64  # requests; more are turned away


@dataclass(frozen=True)
class Piece:
    """What a request gets, again and again: some text, and in the last one why it ends.

    Attributes:
        reason: "stop" at the end of the text, "length" after the most tokens, "error"; None while there is more.
        tokens: how many were generated so far.
    """

    text: str
    tokens: int
    reason: str | None = None


@dataclass
class Job:
    """A request: the arguments of `generate`, strings that end the text, and where the pieces go.

    Attributes:
        send: called in the engine's thread.
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
        beginnings = (n for string in self._strings for n in range(1, len(string)) if held.endswith(string[:n]))
        passed = len(held) - max(beginnings, default=0)
        self._held = held[passed:]
        return held[:passed]

    def finish(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return held


class Engine:
    """Generates in a thread of its own, in the order in which the requests come."""

    def __init__(self, checkpoint: Checkpoint, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._checkpoint = checkpoint
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="arrax-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Take a request.

        Raises:
            ValueError: if one of its arguments is out of range.
            queue.Full: if too many are waiting.
        """
        check_request(self._checkpoint.model, job.prompt, job.max_tokens, job.temperature, job.top_p)
        if self._jobs.qsize() >= MOST_WAITING:
            raise queue.Full
        self._jobs.put(job)

    def close(self) -> None:
        """Finish what was taken, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._generate(job)
            except Exception as error:  # the request's failure must not be that of the others
                job.send(Piece(f"{type(error).__name__}: {error}", 0, "error"))

    def _generate(self, job: Job) -> None:
        stream, strings = TextStream(self.tokenizer), StopStrings(job.stop)
        arguments: dict[str, Any] = {
            name: getattr(job, name) for name in ("max_tokens", "temperature", "top_p", "seed")
        }
        context = self._checkpoint.model.config.context
        most = job.max_tokens if context is None else min(job.max_tokens, context - len(job.prompt))
        count = 0
        if job.cancelled.is_set():
            return
        for token in generate(self._checkpoint.model, job.prompt, stop=self._checkpoint.stop, **arguments):
            if job.cancelled.is_set():
                return
            count += 1
            if text := strings.add(stream.add(token)):
                job.send(Piece(text, count))
            if strings.found:
                break
        rest = "" if strings.found else strings.add(stream.finish()) + strings.finish()
        job.send(Piece(rest, count, "stop" if strings.found or count < most else "length"))
