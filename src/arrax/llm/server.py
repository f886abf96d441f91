"""An HTTP server with the interface of OpenAI: ``/v1/completions``, ``/v1/chat/completions`` and ``/v1/models``."""

from __future__ import annotations

import asyncio
import json
import queue
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from arrax.llm.body import BadRequest, read_body, read_messages, read_options, take
from arrax.llm.chat import ChatTemplate
from arrax.llm.checkpoint import Checkpoint
from arrax.llm.engine import BATCH, CACHE_TOKENS, Engine, Job, Piece
from arrax.llm.tokenizer import Tokenizer

# By the reasons of answers that end otherwise than they should.
STATUS = {"error": 500, "closed": 503, "gone": 499}
GONE = Piece("the client is gone", 0, "gone")


def make_app(checkpoint: Checkpoint, batch: int = BATCH, cache_tokens: int = CACHE_TOKENS) -> Starlette:
    """Return the application that serves a model. Its engine runs from startup to shutdown.

    Args:
        checkpoint: the model.
        batch: the most requests that are worked on at a time.
        cache_tokens: the most positions that the model's cache may have for them.

    Raises:
        FileNotFoundError: if the checkpoint has no tokenizer.
        ImportError: if the package `tokenizers` is not installed.
    """
    service = Service(checkpoint, batch, cache_tokens)
    routes = [
        Route("/v1/completions", service.completions, methods=["POST"]),
        Route("/v1/chat/completions", service.chat_completions, methods=["POST"]),
        Route("/v1/models", service.models, methods=["GET"]),
    ]
    handlers = {HTTPException: _error, ClientDisconnect: _gone}
    return Starlette(routes=routes, lifespan=service.lifespan, exception_handlers=handlers)


class Service:
    """What answers the requests for one model."""

    def __init__(self, checkpoint: Checkpoint, batch: int, cache_tokens: int) -> None:
        self._checkpoint = checkpoint
        self._sizes = (batch, cache_tokens)
        self._name = checkpoint.path.resolve().name
        self._tokenizer = Tokenizer(checkpoint.path / "tokenizer.json")
        self._engine: Engine | None = None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Run the engine."""
        self._engine = Engine(self._checkpoint, self._tokenizer, *self._sizes)
        yield
        await asyncio.to_thread(self._engine.close)

    async def models(self, request: Request) -> Response:
        """Tell which model there is."""
        return JSONResponse({"object": "list", "data": [{"id": self._name, "object": "model", "owned_by": "arrax"}]})

    async def completions(self, request: Request) -> Response:
        """Continue a text, given as a string or as token ids."""
        body = await read_body(request)
        prompt = body.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
            prompt = prompt[0]
        if isinstance(prompt, str):
            tokens = await self._encode(prompt)
        elif isinstance(prompt, list) and all(type(token) is int for token in prompt):
            tokens = prompt
        else:
            raise BadRequest("prompt must be one string or a list of token ids")
        return await self._answer(request, body, tokens, Texts("cmpl", "text_completion", "text_completion"))

    async def chat_completions(self, request: Request) -> Response:
        """Answer the last message of a conversation."""
        body = await read_body(request)
        messages = read_messages(body.get("messages"))
        try:
            text = self._template.prompt(messages)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        tokens = await self._encode(text, special=False)  # the template has them
        return await self._answer(request, body, tokens, Chats("chatcmpl", "chat.completion", "chat.completion.chunk"))

    @cached_property
    def _template(self) -> ChatTemplate:
        return ChatTemplate(self._checkpoint.path)

    async def _encode(self, text: str, special: bool = True) -> list[int]:
        """A text's tokens, while others are answered."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadRequest("the text must be Unicode: it has half a surrogate pair") from None
        return await asyncio.to_thread(self._tokenizer.encode, text, special)

    async def _answer(self, request: Request, body: dict[str, Any], prompt: list[int], form: Texts) -> Response:
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Piece]()

        def send(piece: Piece) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        job = Job(prompt, send, **read_options(body))
        streams = take(body, "stream", (bool,), False)
        usage_too = bool((take(body, "stream_options", (dict,), None) or {}).get("include_usage"))
        assert self._engine is not None, "the application has not started"
        try:
            self._engine.submit(job)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        except queue.Full:
            raise BadRequest("too many requests are waiting: try again later", 429) from None
        head = {"id": f"{form.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": self._name}
        if streams:
            events = form.events(head, _pieces(job, pieces), len(prompt) if usage_too else None)
            return EventStream(events, job.cancelled.set)
        text = ""
        watching = asyncio.create_task(_watch(request, lambda: pieces.put_nowait(GONE)))
        try:
            async with aclosing(_pieces(job, pieces)) as all_pieces:
                async for piece in all_pieces:
                    if piece.reason in STATUS:
                        raise HTTPException(STATUS[piece.reason], piece.text)
                    text += piece.text
        finally:
            watching.cancel()
        return JSONResponse(form.whole(head, text, piece.reason) | {"usage": _usage(len(prompt), piece.tokens)})


class EventStream(StreamingResponse):
    """Server-sent events; `end` is called when there is nobody to send them to, even before the first."""

    def __init__(self, events: AsyncIterator[str], end: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


class Texts:
    """The form of the answers of ``/v1/completions``."""

    def __init__(self, prefix: str, name: str, chunk_name: str) -> None:
        self.prefix, self.name, self.chunk_name = prefix, name, chunk_name

    def whole(self, head: dict[str, Any], text: str, reason: str | None) -> dict[str, Any]:
        """An answer in one piece."""
        return head | {"object": self.name, "choices": [self.choice(text, reason)]}

    def choice(self, text: str, reason: str | None) -> dict[str, Any]:
        """The whole text."""
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}

    def part(self, text: str, reason: str | None, first: bool) -> dict[str, Any]:
        """A piece of the text."""
        return self.choice(text, reason)

    async def events(
        self, head: dict[str, Any], pieces: AsyncGenerator[Piece, None], prompt_tokens: int | None
    ) -> AsyncIterator[str]:
        """The answer as server-sent events; the last but one tells the usage if the prompt's tokens are given."""
        head = head | {"object": self.chunk_name}
        first = True
        async with aclosing(pieces):
            async for piece in pieces:
                if piece.reason in STATUS:
                    yield _event({"error": {"message": piece.text, "type": "server_error"}})
                    return
                yield _event(head | {"choices": [self.part(piece.text, piece.reason, first)]})
                first = False
        if prompt_tokens is not None:
            yield _event(head | {"choices": [], "usage": _usage(prompt_tokens, piece.tokens)})
        yield "data: [DONE]\n\n"


class Chats(Texts):
    """The form of the answers of ``/v1/chat/completions``."""

    def choice(self, text: str, reason: str | None) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}

    def part(self, text: str, reason: str | None, first: bool) -> dict[str, Any]:
        delta = ({"role": "assistant"} if first else {}) | {"content": text}
        return {"index": 0, "delta": delta, "finish_reason": reason}


async def _pieces(job: Job, pieces: asyncio.Queue[Piece]) -> AsyncGenerator[Piece, None]:
    """All that the engine sends; the engine stops where nobody asks for more."""
    try:
        while True:
            piece = await pieces.get()
            yield piece
            if piece.reason is not None:
                return
    finally:
        job.cancelled.set()


async def _watch(request: Request, leave: Callable[[], None]) -> None:
    """Wait until the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    leave()


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _usage(prompt: int, generated: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}


def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    message = error.detail.encode(errors="replace").decode()  # it may quote what is no Unicode
    value = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return JSONResponse(value, error.status_code, headers=error.headers)


def _gone(request: Request, error: Exception) -> Response:
    """For a client that left while it was sending."""
    return Response(status_code=STATUS["gone"])
