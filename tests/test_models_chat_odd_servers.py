"""Servers that answer, but not as they should. Oracle: what each of them was made to send, and how often it was asked."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from limbeck.errors import EndpointError, EndpointUnreachable
from limbeck.models import chat_endpoint
from limbeck.models.chat_endpoint import EndpointChat


def said(content: object) -> web.Response:
    return web.json_response({"choices": [{"message": {"content": content}}]})


async def odd(kind: str, request: web.Request) -> web.StreamResponse:
    await request.read()
    plain = {"content_type": "application/json"}
    match kind:
        case "blocks":
            return said([{"type": "text", "text": "a "}, {"type": "text", "text": "house"}])
        case "nothing":
            return said(None)
        case "number":
            return said(5)
        case "page":
            return web.Response(text="<html>Bad gateway</html>", content_type="text/html")
        case "list":
            return web.json_response([1, 2])
        case "empty":
            return web.json_response({"choices": []})
        case "half":
            return web.Response(text='{"choices": [{"mess', **plain)
        case "bytes":
            return web.Response(body=b'{"choices": "\xff\xfe"}', **plain)
        case "gzip":
            return web.Response(body=b"no gzip", headers={"Content-Encoding": "gzip"}, **plain)
        case "gone":
            request.transport.close()
            return web.Response()
        case "silent":
            await asyncio.sleep(30)
    response = web.StreamResponse()
    if kind == "cut":
        response.headers["Content-Length"] = "1000"
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(b'{"choices": [{"message": {"content": "')
    if kind == "cut":
        request.transport.close()
        return response
    try:
        while True:  # without an end: slowly, or fast
            await response.write(b"x" if kind == "drip" else b"x" * 10**6)
            await asyncio.sleep(0.05 if kind == "drip" else 0)
    except ConnectionError:
        return response


async def ask(kind: str, **settings):
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(1)
        return await odd(kind, request)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    chat = EndpointChat(f"http://127.0.0.1:{port}/v1", "m", tries=2, **settings)
    try:
        return await chat.complete([{"role": "user", "content": "hi"}]), len(asked)
    finally:
        await chat.aclose()
        await runner.cleanup()


@pytest.mark.parametrize(("kind", "text"), [("blocks", "a house"), ("nothing", "")])
def test_odd_but_an_answer(kind, text):
    answer, asked = asyncio.run(ask(kind))
    assert (answer.text, asked) == (text, 1)


@pytest.mark.parametrize("kind", ["number", "page", "list", "empty"])
def test_another_shape_is_this_rows_error_and_isnt_asked_again(kind):
    with pytest.raises(EndpointError, match=r"expected an OpenAI chat completion\. Check `base_url`"):
        asyncio.run(ask(kind))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("half", "a body that is no JSON"),
        ("bytes", "a body that is no JSON"),
        ("gzip", "incorrect header check"),
        ("cut", "Not enough data"),
        ("gone", "Server disconnected"),
        ("silent", "no word within 0.4 s"),
        ("drip", "no end within 0.8 s"),
        ("flood", "more than 1 MiB without an end"),
    ],
)
def test_no_answer_is_asked_for_again_and_then_said(kind, words, monkeypatch):
    monkeypatch.setattr(chat_endpoint, "_MOST_BYTES", 2**20)
    with pytest.raises(EndpointUnreachable, match=f"no answer in 2 tries over .*; the last got .*{words}"):
        asyncio.run(ask(kind, timeout=20.0 if kind == "flood" else 0.4))


def test_nobody_there_is_said_in_plain_words():
    chat = EndpointChat("http://127.0.0.1:9/v1", "m", tries=2)
    with pytest.raises(EndpointUnreachable) as caught:
        asyncio.run(chat.complete([{"role": "user", "content": "hi"}]))
    assert "the last got Connect call failed ('127.0.0.1', 9). Check that the server is running" in str(caught.value)
