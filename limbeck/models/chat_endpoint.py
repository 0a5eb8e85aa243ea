"""The chat role over any OpenAI-compatible endpoint: vLLM, LMDeploy, llama.cpp, Ollama, a cloud.

    complete ──> slot (at most `concurrency` requests) ──> POST chat/completions ──> ChatAnswer
       ^                                                          │
       └── sleep outside the slot <── 408 409 429 5xx, timeouts, lost connections

A stray error delays its own row only; there is no throttle that every error tightens. Only when most recent answers
were 429 does the whole client wait. What would fail for every row (401, 404, a 403 before any answer, nobody there) stops the run.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import time
from collections import deque
from collections.abc import AsyncGenerator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai

from limbeck.errors import EndpointError, EndpointRefused, EndpointUnreachable, LimbeckError
from limbeck.models.roles import ChatAnswer, Usage

if TYPE_CHECKING:
    from limbeck.models.spec import ModelSpec

log = logging.getLogger(__name__)

_RETRIED = frozenset({408, 409, 429})
_FATAL = {
    401: "the key was refused",
    402: "the account has no credit",
    403: "the key has no access",
    404: "there is no such model or path",
}
_MOST_BYTES = 16 * 2**20
"""Of an answer: 100 times what the longest have."""
_LONG_S = 10.0
"""Waits from this on are told."""
_OPTIONAL = ("response_format", "max_tokens", "temperature", "seed")
_MODERATED = ("content_filter", "content_policy", "moderation", "flagged")
_UNKNOWN_PARAMETER = ("support", "unknown", "unrecognized", "unexpected", "not permitted", "not allowed", "extra")


class EndpointChat:
    """Chat completions of one model behind one endpoint.

    Attributes:
        fingerprint: endpoint and model.
        sees: whether `image_url` blocks may be sent.
        requests: HTTP requests made so far, retries included.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 64,
        timeout: float = 300.0,
        tries: int = 9,
        max_wait: float = 60.0,
        prices: tuple[float, float] | None = None,
        sees: bool = False,
    ) -> None:
        """Connects to nothing yet.

        Args:
            base_url: address up to and including `/v1`.
            model: name the server knows the model by.
            api_key_env: environment variable that holds the key; a server that wants none gets a placeholder.
            concurrency: most requests in flight at once.
            timeout: seconds without a byte after which a request counts as lost.
            tries: requests per answer, the first included; the waits between them start at 0.1 s, which is enough for
                a stray error, and grow by 2.5 to 30 s, so that nine tries outlast a limit by the minute.
            max_wait: longest `Retry-After` that is honoured, in seconds.
            prices: for a million tokens, (prompt, completion), in the recipe's currency; None: costs are unknown.
            sees: whether the model takes pictures.
        """
        self.base_url, self.model, self.api_key_env = base_url.rstrip("/"), model, api_key_env
        self.concurrency, self.timeout, self.tries, self.max_wait = concurrency, timeout, tries, max_wait
        self.prices, self.sees = prices, sees
        self.fingerprint = f"endpoint:{self.base_url}:{model}"
        self.requests = 0
        self._unsupported: set[str] = set()
        self._answered = self._refused = 0
        self._limited: deque[bool] = deque(maxlen=32)
        self._resume_at = 0.0
        self._told = -math.inf
        self._fatal: LimbeckError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> EndpointChat:
        """The backend of a recipe's `{ base_url = ..., model = ... }`."""
        priced = spec.price_in is not None and spec.price_out is not None
        return cls(
            spec.base_url,
            spec.model,
            api_key_env=spec.api_key_env,
            concurrency=spec.concurrency,
            timeout=spec.timeout_s,
            tries=spec.tries,
            prices=(spec.price_in, spec.price_out) if priced else None,
            sees=spec.sees,
        )

    async def complete(
        self,
        messages: list[dict[str, Any]],
        *,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.7,
        max_tokens: int = 256,
        seed: int | None = None,
    ) -> ChatAnswer:
        """Answers one conversation (see `ChatModel.complete`).

        Raises:
            EndpointRefused: the key or the model is refused (401, 404, or 403 before any answer): no row can succeed.
            EndpointUnreachable: there was not one answer so far, and this one had none in `tries` requests.
            EndpointError: this one got no answer in `tries` requests, or its content was refused (400, 403, 413, 422).
        """
        wanted: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
        if seed is not None:
            wanted["seed"] = seed & 0x7FFFFFFF  # what every server can hold
        if schema is not None:
            shape = {"name": schema.get("title", "answer"), "schema": schema, "strict": True}
            wanted["response_format"] = {"type": "json_schema", "json_schema": shape}
        tried, begun = 0, time.monotonic()
        while True:
            tried += 1
            try:
                return self._read(await self._ask(messages, wanted))
            except (openai.APIConnectionError, TimeoutError, _NoAnswer) as error:
                wait, why = self._backoff(tried), error
            except openai.APIStatusError as error:
                if self._adapt(error, wanted):
                    tried -= 1
                    continue
                if _is_moderated(error):
                    return ChatAnswer("", finish_reason="content_filter", model=self.model)
                wait, why = self._wait_after(error, tried), error
            if tried >= self.tries or (not self._answered and tried >= 4 and not _is_limited(why)):
                raise self._given_up(why, tried, time.monotonic() - begun) from why
            self._tell_of_waiting(why, wait)
            await asyncio.sleep(wait)

    async def _ask(self, messages: list[dict[str, Any]], wanted: dict[str, Any]) -> Any:
        """One request, once there is a slot; the slot is free again before anybody sleeps."""
        if self._loop is not asyncio.get_running_loop():
            await self._connect()
        async with self._slots:
            if self._fatal is not None:
                raise self._fatal
            while (pause := self._resume_at - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            body = {"model": self.model, "messages": messages}
            for name, value in wanted.items():
                if name not in self._unsupported:
                    body[name] = value
                elif name == "max_tokens":
                    body["max_completion_tokens"] = value
            self.requests += 1
            # `post` sends a plain dict and gives one back: the typed `chat.completions.create` spends about half
            # of a call's CPU on checking both against its models.
            async with asyncio.timeout(2 * self.timeout):  # an answer that drips is never silent
                try:
                    return await self._client.post("/chat/completions", cast_to=object, body=body)
                except ValueError as error:  # the client parses the body outside its own errors
                    raise _NoAnswer(f"a body that is no JSON ({error})") from None

    async def _connect(self) -> None:
        """A client for the running loop: aiohttp's connections can't move to another one."""
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(self.concurrency)
        local = urlsplit(self.base_url).hostname in {"127.0.0.1", "localhost", "::1"}
        self._client = openai.AsyncOpenAI(
            base_url=self.base_url,
            api_key=os.environ.get(self.api_key_env) or "none",
            max_retries=0,
            timeout=self.timeout,
            http_client=openai.DefaultAioHttpClient(
                trust_env=not local,  # no proxy to this machine
                event_hooks={"response": [_bounded]},
            ),
        )
        self._closing = _closed_with_the_loop(self._client)
        await anext(self._closing)

    async def aclose(self) -> None:
        """Closes the connections of the running loop; the end of `asyncio.run` does so too."""
        if self._loop is asyncio.get_running_loop():
            self._loop = None
            await self._closing.aclose()

    def _read(self, reply: Any) -> ChatAnswer:
        try:
            choice = reply["choices"][0]
            text, finish = _text(choice["message"].get("content")), choice.get("finish_reason") or "stop"
            if refusal := choice["message"].get("refusal"):
                text, finish = str(refusal), "content_filter"
        except (KeyError, IndexError, TypeError, AttributeError):
            raise EndpointError(
                f"answered {str(reply)[:120]!r}",
                expected="an OpenAI chat completion",
                where=self._where(),
                remedy="check `base_url`, which usually ends in /v1",
            ) from None
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # half a surrogate pair fits into no file
        self._answered += 1
        self._limited.append(False)
        used = reply.get("usage") or {}
        prompt, completion = used.get("prompt_tokens") or 0, used.get("completion_tokens") or 0
        cost = None
        if self.prices is not None:
            cost = (prompt * self.prices[0] + completion * self.prices[1]) / 1e6
        return ChatAnswer(text, finish, Usage(prompt, completion, cost), reply.get("model") or self.model)

    def _adapt(self, error: openai.APIStatusError, wanted: dict[str, Any]) -> bool:
        """Whether a 400 says that the server lacks a parameter that we can go without; it is not sent again."""
        said = error.message.lower()
        if error.status_code not in (400, 422) or not any(word in said for word in _UNKNOWN_PARAMETER):
            return False
        lacking = next((n for n in _OPTIONAL if n in wanted and (error.param == n or n in said)), None)
        if lacking is None and "json_schema" in said and "response_format" in wanted:
            lacking = "response_format"
        if lacking is None:
            return False
        value = wanted.pop(lacking)  # so that a conversation comes here at most once for each
        if lacking == "max_tokens":
            wanted["max_completion_tokens"] = value
        if lacking not in self._unsupported:
            self._unsupported.add(lacking)
            log.warning("%s has no `%s`; going on without it (answers are checked in any case)", self.model, lacking)
        return True

    def _wait_after(self, error: openai.APIStatusError, tried: int) -> float:
        """Seconds until the next try of a row whose request got an HTTP error.

        Raises:
            EndpointRefused: an error that every row would get.
            EndpointError: an error of this row that another try would get again.
        """
        code = error.status_code
        if error.code == "insufficient_quota":  # OpenAI's 429 that no waiting helps
            code = 402
        if code in _FATAL and not (code == 403 and self._answered):  # the key has access: it is this row
            remedy = f"set the environment variable {self.api_key_env} to a key that is valid there"
            if code == 402:
                remedy = f"add credit to the account of the key in {self.api_key_env}, or use another key"
            if code == 404:
                remedy = f"check `model` and `base_url`; GET {self.base_url}/models lists what is served"
            said = f"{_FATAL[code]} (HTTP {code}: {_told(error)})"
            self._fatal = EndpointRefused(said, where=self._where(), remedy=remedy)
            raise self._fatal from error
        if code < 500 and code not in _RETRIED:
            self._refused += 1
            what = f"HTTP {code}: {_told(error)}"
            if not self._answered and self._refused >= 8:
                what += f" (so were the first {self._refused} requests; none was answered)"
                self._fatal = EndpointRefused(what, where=self._where())
                raise self._fatal from error
            raise EndpointError(what, status=code, where=self._where()) from error
        wait = max(self._backoff(tried), min(_retry_after(error), self.max_wait))
        self._limited.append(code == 429)
        if code == 429 and len(self._limited) == self._limited.maxlen and sum(self._limited) * 2 > len(self._limited):
            self._resume_at = time.monotonic() + wait  # a real limit: everybody waits
            self._limited.clear()
        return wait

    @staticmethod
    def _backoff(tried: int) -> float:
        return min(30.0, 0.1 * 2.5 ** (tried - 1)) * random.uniform(0.75, 1.25)

    def _tell_of_waiting(self, why: Exception, wait: float) -> None:
        """A line now and then while rows wait long, so that waiting can be told from hanging."""
        if wait >= _LONG_S and time.monotonic() >= self._told + wait:
            self._told = time.monotonic()
            log.warning("%s got %s; trying again in %.0f s", self._where(), self._said(why), wait)

    def _said(self, error: Exception) -> str:
        """What came in an answer's place, in a few words."""
        if isinstance(error, openai.APIStatusError):
            return f"HTTP {error.status_code}: {_told(error)}"
        return self._unanswered(error)

    def _given_up(self, error: Exception, tried: int, seconds: float) -> LimbeckError:
        status = error.status_code if isinstance(error, openai.APIStatusError) else None
        what = f"no answer in {tried} tries over {seconds:.0f} s; the last got {self._said(error)}"
        if self._answered:
            return EndpointError(what, status=status, where=self._where())
        remedy = "check that the server is running and that `base_url` is right"
        if status == 429:
            remedy = "wait for the limit to pass, or lower `concurrency`"
        self._fatal = EndpointUnreachable(what, where=self._where(), remedy=remedy)
        return self._fatal

    def _unanswered(self, error: BaseException) -> str:
        """Why a request got no answer, in the words of whatever noticed it first."""
        if isinstance(error, TimeoutError):
            return f"no end within {2 * self.timeout:g} s"
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
            if type(cause).__name__ == "ReadTimeout":  # of the HTTP library, whichever it is
                return f"no word within {self.timeout:g} s"
        said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
        return " ".join(said.split())[:200]

    def _where(self) -> str:
        return f"model {self.model!r} at {self.base_url}"


class _NoAnswer(Exception):
    """What came is no answer: it has no end, or is no JSON."""


async def _bounded(response: Any) -> None:
    """Ends a body that is, or grows, longer than any answer; it would fill the memory."""
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) <= _MOST_BYTES:
        return
    inner = response.stream

    class Bounded(type(inner)):  # the HTTP library's own kind of stream, whichever library it is
        def __init__(self) -> None:
            pass

        async def __aiter__(self) -> AsyncGenerator[bytes]:
            size = 0
            async for chunk in inner:
                size += len(chunk)
                if size > _MOST_BYTES:
                    raise _NoAnswer(f"more than {_MOST_BYTES // 2**20} MiB without an end")
                yield chunk

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Bounded()


def _text(content: Any) -> str:
    """The text of a message's content: a string, nothing, or a list of typed blocks, as some servers send.

    >>> _text("a"), _text(None), _text([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])
    ('a', '', 'ab')

    Raises:
        TypeError: it is something else.
    """
    if isinstance(content, list):
        content = "".join(_text(block.get("text")) for block in content)
    if not isinstance(content, str | None):
        raise TypeError(f"content is a {type(content).__name__}")
    return content or ""


async def _closed_with_the_loop(client: openai.AsyncOpenAI) -> AsyncGenerator[None]:
    """A started generator is closed when `asyncio.run` shuts its loop down: the only hook that a loop has."""
    try:
        yield
    finally:
        await client.close()


def _told(error: openai.APIStatusError) -> str:
    """A server's own words, without what the client puts before them."""
    return " ".join(error.message.removeprefix(f"Error code: {error.status_code} - ").split())[:200]


def _is_limited(error: openai.APIError) -> bool:
    return isinstance(error, openai.RateLimitError)


def _is_moderated(error: openai.APIStatusError) -> bool:
    said = f"{error.code} {error.message}".lower()
    return error.status_code in (400, 403) and any(word in said for word in _MODERATED)


def _retry_after(error: openai.APIStatusError) -> float:
    """Seconds that the server asks to wait, 0 if it doesn't; the header holds seconds or a date."""
    headers = error.response.headers
    if (milliseconds := headers.get("retry-after-ms", "")).isdecimal():
        return int(milliseconds) / 1000
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0
