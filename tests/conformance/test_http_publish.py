"""`POST /publish`: one message, an array, or lines; answered as over WebSocket."""

import asyncio

import httpx
import msgspec
import pytest

from .agent import CHAT, started, token
from .client import connect
from .sse import until

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
ONE = {"topic": "workflow.x", "key": "k", "body": {"a": 1}}


@pytest.fixture
async def http(site):
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        yield client


@pytest.fixture
async def reader(site):
    async with connect(site.server(None)) as peer:
        await peer.subscribe("workflow.>")
        await peer.subscribe(CHAT + ">")
        yield peer


async def test_one_message(http, reader):
    """Accepted is 200 and an `ack`; its body goes out as it came in."""
    answer = await http.post("/publish", json=ONE)
    assert (answer.status_code, answer.json()) == (200, {"op": "ack", "id": 1})
    event = await reader.get("event")
    assert (event["topic"], event["key"], event["body"]) == ("workflow.x", "k", {"a": 1})


async def test_an_array_is_answered_one_by_one(http, reader):
    """In order; one that is refused holds up none of the others."""
    messages = [
        ONE,
        {"topic": "workflow.x"},
        {"topic": "nobody.x", "body": 1},
        7,
        {"topic": CHAT + "token", "body": token(0)},
        {"topic": CHAT + "turnStarted", "body": {**started(), "agentId": 5}},
        {"topic": CHAT + "turnStarted", "body": started()},
        {"topic": CHAT + "token", "body": token(0)},
    ]
    answer = await http.post("/publish", json=messages)
    assert answer.status_code == 200
    answers = answer.json()
    assert [each["id"] for each in answers] == list(range(1, 9))
    codes = [each.get("code", each["op"]) for each in answers]
    assert codes == [
        "ack", "bad_message", "unknown_topic", "bad_message", "turn_not_started", "bad_body",
        "ack", "ack",
    ]  # fmt: skip
    assert answers[1]["detail"] == {"field": "body"}
    assert answers[5]["detail"] == {"path": "$.agentId"}
    assert [event["topic"] for event in await reader.events(3)] == [
        "workflow.x", CHAT + "turnStarted", CHAT + "token",
    ]  # fmt: skip
    assert (await http.post("/publish", json=[])).json() == []


async def test_lines(http, reader):
    """NDJSON in, NDJSON out; a bad line is one answer."""
    lines = (
        b'{"topic":"workflow.x","body":1}\r\n\n \t\r\n{"topic":\n{"topic":\r"workflow.x","body":2}'
    )
    answer = await http.post("/publish", content=lines, headers=NDJSON)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    answers = [msgspec.json.decode(line) for line in answer.content.splitlines()]
    assert [each["op"] for each in answers] == ["ack", "error", "ack"]
    assert [event["body"] for event in await reader.events(2)] == [1, 2]


async def test_an_encoded_body_is_not_read(http):
    """415, and says so; `identity` is none."""
    for encoding, status in (("gzip", 415), ("identity, br", 415), ("Identity", 200)):
        headers = {"Content-Encoding": encoding}
        answer = await http.post("/publish", json=ONE, headers=headers)
        assert answer.status_code == status
        if status == 415:
            assert answer.json()["code"] == "unsupported_type"
            assert "content-encoding" in answer.json()["message"]


async def test_more_than_a_namespace_holds_is_only_later(start):
    """A full namespace delays the answer; nothing is dropped."""
    site = await start(namespaces={"workflow": {"queue": {"messages": 10}}})
    async with (
        httpx.AsyncClient(base_url=site.url, trust_env=False) as http,
        connect(site.server("bas")) as reader,
    ):
        await reader.subscribe("workflow.>")
        groups = [
            [{"topic": "workflow.x", "key": str(group), "body": i} for i in range(1000)]
            for group in range(4)
        ]
        answers = await asyncio.gather(*[http.post("/publish", json=group) for group in groups])
        for answer in answers:
            assert [each["op"] for each in answer.json()] == ["ack"] * 1000
        got = {}
        for event in await reader.events(4000):
            got.setdefault(event["key"], []).append(event["body"])
        assert got == {str(group): list(range(1000)) for group in range(4)}


async def test_a_turn_goes_on_over_requests(http):
    """Each request is a connection of its own; the next one takes the turn over."""
    for topic, body in (("turnStarted", started()), ("token", token(0)), ("token", token(1))):
        answer = await http.post("/publish/chat", json={"topic": CHAT + topic, "body": body})
        assert answer.status_code == 200
    repeated = await http.post("/publish", json={"topic": CHAT + "token", "body": token(0)})
    assert repeated.json()["op"] == "ack"
    gap = await http.post("/publish", json={"topic": CHAT + "token", "body": token(9)})
    assert (gap.status_code, gap.json()["code"]) == (409, "token_gap")
    assert gap.json()["detail"] == {"expected": 2}


async def test_a_name_is_accepted_once(http, reader):
    """`dedupe` is that of `publish`."""
    for _ in range(2):
        answer = await http.post("/publish", json={**ONE, "dedupe": "n"})
        assert answer.json()["op"] == "ack"
    await http.post("/publish", json={**ONE, "body": 2})
    assert [event["body"] for event in await reader.events(2)] == [{"a": 1}, 2]


@pytest.mark.parametrize(
    ("content", "status", "code", "detail"),
    [
        (b"", 400, "bad_message", None),
        (b"{", 400, "bad_message", None),
        (b'{"topic":"workflow.x","body":"\xff"}', 400, "bad_message", None),
        (b'{"topic":"workflow.x","body":' + b"[" * 100_000, 400, "bad_message", None),
        (b"7", 422, "bad_message", {"field": "$"}),
        (b'"x"', 422, "bad_message", {"field": "$"}),
        (b'{"body":1}', 422, "bad_message", {"field": "topic"}),
        (b'{"topic":3,"body":1}', 422, "bad_message", {"field": "topic"}),
        (b'{"topic":"workflow.x","body":1,"key":null}', 422, "bad_message", {"field": "key"}),
        (b'{"topic":"workflow.x","body":1,"dedupe":""}', 422, "bad_message", {"field": "dedupe"}),
        (b'{"topic":"workflow..x","body":1}', 422, "bad_topic", {"field": "topic"}),
        (b'{"topic":"workflow.x","body":1,"key":""}', 422, "bad_message", {"field": "key"}),
        (b'{"topic":"nobody","body":1}', 404, "unknown_topic", None),
        (
            b'{"topic":"agent.chat.token","body":{}}', 422, "bad_body", {"path": "$.sessionId"},
        ),
        (b'{"topic":"workflow.x","body":"' + b"x" * 300_000 + b'"}', 413, "too_large", None),
        (b" " * (1 << 20) + b"{}", 413, "too_large", None),
    ],
)  # fmt: skip
async def test_what_is_refused(http, content, status, code, detail):
    """The status of a single message's error, and the error with what is wrong."""
    answer = await http.post(
        "/publish", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    error = answer.json()
    assert (error["op"], error["code"]) == ("error", code)
    if detail:
        assert error["detail"] == detail


async def test_a_body_without_a_length_has_the_same_limit(http):
    """Chunks are counted as they come."""

    async def chunks():
        for _ in range(20):
            yield b" " * (1 << 16)

    headers = {"Content-Type": "application/json"}
    assert (await http.post("/publish", content=chunks(), headers=headers)).status_code == 413


async def test_other_methods_types_and_servers(http):
    """405, 415, 406, 404."""
    answer = await http.get("/publish")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    answer = await http.post("/publish", content=b"a=1", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_type")
    answer = await http.post("/publish", json=ONE, headers={"Accept": "text/html"})
    assert answer.status_code == 406
    answer = await http.post("/publish/nope", json=ONE)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_server")
    assert answer.json()["message"] == "unknown server 'nope'; there are: bas, chat"
    answer = await http.post("/publish/chat", json=ONE)
    assert (answer.status_code, answer.json()["code"]) == (404, "namespace_not_here")


async def test_a_page_of_the_web_publishes_nothing(http, reader):
    """Also without a preflight: the origin is looked at first."""
    answer = await http.post("/publish", json=ONE, headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    await http.post("/publish", json={**ONE, "body": 2})
    assert (await reader.get("event"))["body"] == 2


async def test_who_hangs_up_leaves_nothing_behind(site, reader):
    """A request whose body never comes ends with its connection."""
    lines = ["Content-Type: application/json", "Content-Length: 99"]
    path = "POST /publish HTTP/1.1"
    _, writer = await asyncio.open_connection("127.0.0.1", site.broker.port)
    writer.write("\r\n".join([path, "Host: x", *lines, "", '{"topic"']).encode())
    await until(lambda: len(site.broker.shared.sessions.live) == 2)
    writer.close()
    await until(lambda: len(site.broker.shared.sessions.live) == 1)


@pytest.mark.parametrize("lines", [False, True])
async def test_a_body_that_is_no_messages_at_all(site, http, reader, lines):
    """Half a million of nothing is one answer; others have their turns meanwhile."""
    good = msgspec.json.encode(ONE)
    if lines:
        content, headers = good + b"\n" + b"0\n" * 500_000, NDJSON
    else:
        content, headers = b"[" + good + b",0" * 500_000 + b"]", JSON
    answer = await http.post("/publish", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_message")
    await http.post("/publish", json={**ONE, "body": 2})
    assert (await reader.get("event"))["body"] == 2, "some of it was published"
    few = [ONE, *[0] * 100]
    assert [each["op"] for each in (await http.post("/publish", json=few)).json()] == [
        "ack", *["error"] * 100,
    ]  # fmt: skip
