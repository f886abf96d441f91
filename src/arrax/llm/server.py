"""An HTTP server with the interface of OpenAI: ``/v1/completions``, ``/v1/chat/completions`` and ``/v1/models``."""

from __future__ import annotations

import asyncio
import json
import queue
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from arrax.llm.chat import ChatTemplate
from arrax.llm.checkpoint import Checkpoint
from arrax.llm.engine import Engine, Job, Piece
from arrax.llm.tokenizer import Tokenizer

LONGEST_BODY = 2**24  # bytes
# What would change the result and is not there.
UNSUPPORTED = (
    "best_of", "echo", "frequency_penalty", "functions", "logit_bias", "logprobs", "presence_penalty",
    "response_format", "suffix", "tools",
)  # fmt: skip
_NUMBER = (int, float)


class BadRequest(HTTPException):
    """A request that cannot be answered, and why."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(status, reason)


def make_app(checkpoint: Checkpoint) -> Starlette:
    """Return the application that serves a model. Its engine runs from startup to shutdown.

    Raises:
        FileNotFoundError: if the checkpoint has no tokenizer.
        ImportError: if the package `tokenizers` is not installed.
    """
    service = Service(checkpoint)
    routes = [
        Route("/v1/completions", service.completions, methods=["POST"]),
        Route("/v1/chat/completions", service.chat_completions, methods=["POST"]),
        Route("/v1/models", service.models, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=service.lifespan, exception_handlers={HTTPException: _error})


class Service:
    """What answers the requests for one model."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._name = checkpoint.path.resolve().name
        self._tokenizer = Tokenizer(checkpoint.path / "tokenizer.json")
        self._engine: Engine | None = None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Run the engine."""
        self._engine = Engine(self._checkpoint, self._tokenizer)
        yield
        await asyncio.to_thread(self._engine.close)

    async def models(self, request: Request) -> Response:
        """Tell which model there is."""
        return JSONResponse({"object": "list", "data": [{"id": self._name, "object": "model", "owned_by": "arrax"}]})

    async def completions(self, request: Request) -> Response:
        """Continue a text, given as a string or as token ids."""
        body = await _read(request)
        prompt = body.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
            prompt = prompt[0]
        if isinstance(prompt, str):
            tokens = self._tokenizer.encode(prompt)
        elif isinstance(prompt, list) and all(type(token) is int for token in prompt):
            tokens = prompt
        else:
            raise BadRequest("prompt must be one string or a list of token ids")
        return await self._answer(request, body, tokens, Texts("cmpl", "text_completion", "text_completion"))

    async def chat_completions(self, request: Request) -> Response:
        """Answer the last message of a conversation."""
        body = await _read(request)
        try:
            text = ChatTemplate(self._checkpoint.path).prompt(_messages(body.get("messages")))
        except ValueError as error:
            raise BadRequest(str(error)) from None
        tokens = self._tokenizer.encode(text, special=False)  # the template has them
        return await self._answer(request, body, tokens, Chats("chatcmpl", "chat.completion", "chat.completion.chunk"))

    async def _answer(self, request: Request, body: dict[str, Any], prompt: list[int], form: Texts) -> Response:
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Piece]()

        def send(piece: Piece) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        job = Job(prompt, send, **_options(body))
        streams = _take(body, "stream", (bool,), False)
        usage_too = bool((_take(body, "stream_options", (dict,), None) or {}).get("include_usage"))
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
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        text = ""
        async with aclosing(_pieces(job, pieces)) as all_pieces:
            async for piece in all_pieces:
                if piece.reason == "error":
                    raise HTTPException(500, piece.text)
                text += piece.text
                if await request.is_disconnected():
                    return Response(status_code=499)
        return JSONResponse(form.whole(head, text, piece.reason) | {"usage": _usage(len(prompt), piece.tokens)})


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
                if piece.reason == "error":
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


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _usage(prompt: int, generated: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}


def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    value = {"error": {"message": error.detail, "type": kind, "param": None, "code": None}}
    return JSONResponse(value, error.status_code, headers=error.headers)


async def _read(request: Request) -> dict[str, Any]:
    """The JSON object that came. A page elsewhere cannot send this content type without asking first."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadRequest("Content-Type must be application/json", 415)
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LONGEST_BODY:
            raise BadRequest(f"the body must not be longer than {LONGEST_BODY} bytes", 413)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise BadRequest("the body must be JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def _take(body: dict[str, Any], name: str, types: tuple[type, ...], default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise BadRequest(f"{name} must be of type {' or '.join(x.__name__ for x in types)}")
    return value


def _options(body: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a job that are in the request."""
    if unsupported := [name for name in UNSUPPORTED if body.get(name)]:
        raise BadRequest(f"not supported: {', '.join(unsupported)}")
    if _take(body, "n", (int,), 1) != 1:
        raise BadRequest("n must be 1")
    stop = _take(body, "stop", (str, list), [])
    stop = [stop] if isinstance(stop, str) else stop
    if not all(isinstance(string, str) and string for string in stop):
        raise BadRequest("stop must be a string or a list of strings, none of them empty")
    seed = _take(body, "seed", (int,), None)
    if seed is not None and not 0 <= seed < 2**64:
        raise BadRequest("seed must be from 0 to 2**64 - 1")
    return {
        "max_tokens": _take(body, "max_completion_tokens", (int,), _take(body, "max_tokens", (int,), 256)),
        "temperature": _take(body, "temperature", _NUMBER, 1.0),
        "top_p": _take(body, "top_p", _NUMBER, 1.0),
        "seed": seed,
        "stop": tuple(stop),
    }


def _messages(messages: Any) -> list[dict[str, str]]:
    """The messages with their contents as strings."""
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message")
    return [_message(message) for message in messages]


def _message(message: Any) -> dict[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise BadRequest("each message must be an object with a role and a content")
    content = message.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise BadRequest("each part of a content must be text")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise BadRequest("the content of a message must be a string or a list of texts")
    return {"role": message["role"], "content": content}
