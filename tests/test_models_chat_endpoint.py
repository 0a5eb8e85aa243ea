"""EndpointChat against the loopback server: the server's own counts are the oracle."""

from __future__ import annotations

import asyncio
import gc
import socket
import time

import pytest

from limbeck.errors import EndpointError, EndpointRefused, EndpointUnreachable
from limbeck.loopback import Faults, LoopbackServer
from limbeck.models import chat_endpoint
from limbeck.models.chat_endpoint import EndpointChat

SCHEMA = {"type": "object", "properties": {"edit": {"type": "string"}}, "required": ["edit"]}


def ask(server_or_url, n=1, *, schema=None, **settings):
    """Answers (or errors) of n conversations asked at once, and the client."""
    url = getattr(server_or_url, "base_url", server_or_url)
    chat = EndpointChat(url, "m", **settings)

    async def everything():
        calls = [
            chat.complete([{"role": "user", "content": f"caption {i}"}], schema=schema, seed=2**63 + i)
            for i in range(n)
        ]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await chat.aclose()
        return answers

    return asyncio.run(everything()), chat


def test_an_answer_carries_text_tokens_and_money():
    with LoopbackServer(answer=lambda body: "hello") as server:
        (answer,), _ = ask(server, prices=(2.0, 10.0))
    assert (answer.text, answer.finish_reason) == ("hello", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (60, 30)  # what the server says
    assert answer.usage.cost == pytest.approx(60 * 2e-6 + 30 * 10e-6)


def test_no_price_no_cost():
    with LoopbackServer() as server:
        (answer,), _ = ask(server)
    assert answer.usage.cost is None


def test_concurrency_is_bounded_and_used():
    with LoopbackServer(Faults(latency=0.3)) as server:
        ask(server, 30, concurrency=10)
        assert server.stats()["peak_in_flight"] == 10


def test_stray_errors_are_retried_and_nothing_is_paid_twice():
    with LoopbackServer(Faults(error_rate=0.2)) as server:
        answers, _ = ask(server, 60)
        stats = server.stats()
    assert all(answer.text for answer in answers)
    assert stats["answers"] == 60
    assert stats["answers_repeated"] == 0
    assert stats["requests"] == 60 + stats["status"]["429"] + stats["status"]["500"] > 60


def test_a_waiting_row_holds_no_slot():
    with LoopbackServer() as server:
        inner = server._reply

        def reply(body, key, attempt):
            if attempt == 1 and body["messages"][0]["content"] == "first":
                return server._error(429, "rate limit", {"Retry-After": "1.5"})
            return inner(body, key, attempt)

        server._reply = reply
        chat = EndpointChat(server.base_url, "m", concurrency=1)

        async def finished_at(text, begun):
            await chat.complete([{"role": "user", "content": text}])
            return time.monotonic() - begun

        async def everything():
            begun = time.monotonic()
            times = await asyncio.gather(*(finished_at(text, begun) for text in ("first", "second", "third")))
            await chat.aclose()
            return times

        first, second, third = asyncio.run(everything())
    assert first >= 1.5 > max(second, third)


def test_retry_after_is_honoured_and_capped():
    with LoopbackServer(Faults(error_rate=1.0, retry_after=30.0)) as server:
        start = time.monotonic()
        answers, _ = ask(server, 4, tries=2, max_wait=0.5)
        spent = time.monotonic() - start
    assert all(isinstance(a, EndpointUnreachable | EndpointError) for a in answers)
    assert spent < 3
    assert any(code in server.stats()["status"] for code in ("429", "500"))


def test_a_server_that_asks_for_an_hour_is_told_and_given_up(caplog, monkeypatch):
    """Waiting can be told from hanging; rows that wait together are one line."""
    monkeypatch.setattr(chat_endpoint, "_LONG_S", 0.2)
    with LoopbackServer(Faults(status=429)) as server:
        answers, _ = ask(server, 8, tries=3)
    assert all("8 tries" not in str(a) and "Wait for the limit to pass" in str(a) for a in answers)
    assert all("got HTTP 429: refused on demand" in str(a) for a in answers), "without the client's own words"
    told = [record.getMessage() for record in caplog.records if "trying again in" in record.getMessage()]
    assert 1 <= len(told) <= 3
    assert "HTTP 429: refused on demand" in told[0]


def test_a_limit_that_most_meet_makes_everybody_wait():
    with LoopbackServer(Faults(status=429)) as server:
        answers, chat = ask(server, 64, tries=3, concurrency=64)
    assert all(isinstance(a, EndpointUnreachable) for a in answers)
    assert chat.requests <= 64 * 3


@pytest.mark.parametrize(
    ("status", "words"), [(401, "MY_KEY"), (402, "Add credit"), (403, "MY_KEY"), (404, "base_url")]
)
def test_what_every_row_would_get_stops_at_once(status, words):
    with LoopbackServer(Faults(status=status)) as server:
        answers, _ = ask(server, 30, concurrency=4, api_key_env="MY_KEY")
        stats = server.stats()
    assert all(isinstance(a, EndpointRefused) and words in str(a) and str(status) in str(a) for a in answers)
    assert all("refused on demand" in str(a) for a in answers), "the server's own words"
    assert stats["requests"] <= 4  # those in flight; the others never left


class Forbidding(LoopbackServer):
    """Answers all conversations but two, which it refuses with HTTP 403, as gateways and OpenRouter do."""

    def _reply(self, body, key, attempt):
        said = body["messages"][0]["content"]
        if said == "caption 3":
            return self._error(403, "your input was flagged")
        return self._error(403, "not for you") if said == "caption 5" else super()._reply(body, key, attempt)


def test_a_row_that_is_forbidden_leaves_the_others_alone():
    """Oracle: the two conversations that the server refuses; nothing was wrong with the key."""
    with Forbidding(answer=lambda body: "hello") as server:
        answers, _ = ask(server, 8, concurrency=1)
    assert [getattr(a, "text", None) for a in answers] == ["hello"] * 3 + ["", "hello", None, "hello", "hello"]
    assert answers[3].finish_reason == "content_filter"
    assert type(answers[5]) is EndpointError
    assert "HTTP 403: not for you" in str(answers[5])


def test_nobody_there():
    with socket.socket() as held:  # bound, never listening: connections are refused
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        answers, _ = ask(url, 3)
    assert all(isinstance(a, EndpointUnreachable) and url in str(a) for a in answers)


def test_nothing_but_500_stops_the_run():
    with LoopbackServer(Faults(status=500)) as server:
        answers, _ = ask(server, 3)
    assert all(isinstance(a, EndpointUnreachable) and "500" in str(a) for a in answers)


def test_a_server_that_once_answered_fails_the_row_only():
    with LoopbackServer() as server:
        chat = EndpointChat(server.base_url, "m", tries=2)

        async def good_then_bad():
            await chat.complete([{"role": "user", "content": "a"}])
            server.faults = Faults(status=500)
            with pytest.raises(EndpointError) as caught:
                await chat.complete([{"role": "user", "content": "b"}])
            await chat.aclose()
            return caught.value

        assert asyncio.run(good_then_bad()).status == 500


def test_a_server_without_structured_output_is_asked_without_it():
    with LoopbackServer(Faults(has_schema=False)) as server:
        answers, _ = ask(server, 20, schema=SCHEMA, concurrency=2)
        stats = server.stats()
    assert all(a.text for a in answers)
    assert stats["status"]["400"] <= 2  # learnt from the first ones in flight, then never sent again


def test_a_parameter_the_model_renamed():
    with LoopbackServer() as server:
        inner = server._reply

        def reply(body, key, attempt):
            if "max_tokens" in body:
                return server._error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
            return inner(body, key, attempt)

        server._reply = reply
        (answer,), _ = ask(server)
        assert answer.text
        assert server.bodies[-1]["max_completion_tokens"] == 256


def test_a_server_that_rejects_every_parameter_is_not_asked_for_ever():
    with LoopbackServer() as server:
        server._reply = lambda body, key, attempt: server._error(400, "seed, temperature, max_tokens: unsupported")
        (error,), chat = ask(server)
    assert isinstance(error, EndpointError)
    assert chat.requests == 4  # one without each of the three, then it is the row's error


def test_an_endless_answer_says_length():
    with LoopbackServer(Faults(endless_rate=1.0)) as server:
        (answer,), _ = ask(server)
    assert answer.finish_reason == "length"


def test_pictures_travel_as_they_are():
    block = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with LoopbackServer() as server:
        chat = EndpointChat(server.base_url, "m", sees=True)

        async def one():
            await chat.complete([{"role": "user", "content": [{"type": "text", "text": "what?"}, block]}])
            await chat.aclose()

        asyncio.run(one())
        assert server.bodies[-1]["messages"][0]["content"][1] == block


def test_the_key_comes_from_the_environment_and_enters_no_message(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with LoopbackServer(Faults(status=401)) as server:
        (error,), chat = ask(server, api_key_env="MY_KEY")
    assert "sk-secret" not in f"{error} {error!r} {chat.fingerprint}"


def test_half_a_surrogate_pair_can_be_stored():
    with LoopbackServer(answer=lambda body: "a \ud83d b") as server:
        (answer,), _ = ask(server)
    assert answer.text == "a ? b"


def test_another_event_loop_gets_connections_of_its_own_and_none_stays_open(caplog):
    with LoopbackServer() as server:
        chat = EndpointChat(server.base_url, "m")
        for _ in range(2):
            assert asyncio.run(chat.complete([{"role": "user", "content": "a"}])).text
    del chat
    gc.collect()
    assert "Unclosed" not in caplog.text
