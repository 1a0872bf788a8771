"""Each dialect says what its front end knows: field for field, and nothing else."""

import json

import pytest

from plugins.agent.dialects import DIALECTS
from plugins.agent.dialects.asking import Unfit
from plugins.agent.messages import (
    ChatError,
    MessageSaved,
    Progress,
    Thinking,
    ToolCallCompleted,
    ToolCallStarted,
    Transcription,
    TurnStarted,
)

from .front_ends import (
    ASKED,
    BEGAN,
    OF,
    at,
    completed,
    encoder,
    incoming,
    read,
    recorded,
    split,
    tokens,
    written,
)

PIECES = [("Good", 1), (" day,\n", 3), ("Zoë", 1)]
TEXT = "Good day,\nZoë"
BROKEN = ChatError(
    sessionId="s-1", turnId="t-1", code="publisher_lost", message="Gone.", retryable=True
)

RESPONSE = {
    "type": "agent_response",
    "content": TEXT,
    "chatInstanceId": "s-1",
    "turnId": "t-1",
    "agentId": "a",
    "toolCallsUsed": ["search"],
    "suggestedQuestions": ["More?\n", "Why?"],
    "inputTokens": 7,
    "outputTokens": 5,
    "durationMs": 900,
    "finishReason": "stop",
}


def said(name, events=None, **changes):
    """What the front end `name` has read of a turn."""
    return read(name, written(encoder(name, **changes), events or recorded(PIECES))).events


def test_octopus():
    """Named events, with its times and its total."""
    assert said("octopus") == [
        ("turn_start", {"turn_id": "t-1", "agent_id": "a"}),
        ("tool_call", {"tool_name": "search", "tool_call_id": "c-1"}),
        ("tool_result", {"tool_call_id": "c-1", "elapsed_ms": 40}),
        ("token", {"text": "Good"}),
        ("token", {"text": " day,\n"}),
        ("token", {"text": "Zoë"}),
        ("turn_end", {"turn_id": "t-1", "total_tokens": 12, "elapsed_ms": 900}),
    ]


def test_guide():
    """Typed data; what is saved is told after the answer, and the end is the end."""
    assert said("guide") == [
        {"type": "stream_start", "chatInstanceId": "s-1"},
        {"type": "thinking", "content": "Hm.\n"},
        {
            "type": "tool_call",
            "toolCallId": "c-1",
            "toolName": "search",
            "arguments": {"q": "é\n"},
        },
        {
            "type": "tool_result",
            "toolCallId": "c-1",
            "toolName": "search",
            "result": {"hits": 3},
        },
        {"type": "token", "content": "Good"},
        {"type": "token", "content": " day,\n"},
        {"type": "token", "content": "Zoë"},
        RESPONSE,
        {"type": "message_saved", "messageId": "answer-1"},
        {"type": "stream_end"},
    ]


def test_opshub():
    """Typed data with times, progress and tools; no thinking, no suggestions."""
    assert said("opshub") == [
        {"type": "tool_start", "tool": "search", "args": {"q": "é\n"}},
        {"type": "progress", "percent": 50, "message": "half\r\nway"},
        {"type": "tool_result", "tool": "search", "result": {"hits": 3}},
        {"type": "text_delta", "content": "Good", "timestamp": BEGAN + 300},
        {"type": "text_delta", "content": " day,\n", "timestamp": BEGAN + 301},
        {"type": "text_delta", "content": "Zoë", "timestamp": BEGAN + 304},
        {"type": "done", "finalMessage": TEXT},
    ]


def test_strakly():
    """Data of one key each: the conversation first, suggestions after the answer, then the end."""
    assert said("strakly") == [
        ("conversation_id", "s-1"),
        ("tools_used", ["search"]),
        ("token", "Good"),
        ("token", " day,\n"),
        ("token", "Zoë"),
        ("action", {"type": "change_theme", "value": "dark"}),
        ("suggested_questions", ["More?\n", "Why?"]),
    ]
    assert written(encoder("strakly"), recorded(PIECES))[-1].endswith(b"\n\ndata: [DONE]\n\n")


def test_the_bytes_of_an_event():
    """LF alone, a space behind each colon, one blank line; the name comes before the data."""
    token = tokens(PIECES)[0]
    assert encoder("octopus").event(token) == b'event: token\ndata: {"text":"Good"}\n\n'
    assert encoder("guide").event(token) == b'data: {"type":"token","content":"Good"}\n\n'
    assert encoder("strakly").event(token) == b'data: {"token":"Good"}\n\n'


@pytest.mark.parametrize("name", DIALECTS)
def test_every_write_is_whole_events(name):
    """Nothing is left for a next write; where events have no names, data comes first."""
    for bytes_ in filter(None, written(encoder(name), recorded(PIECES))):
        assert bytes_.endswith(b"\n\n")
        assert b"\r" not in bytes_
        for block in bytes_[:-2].split(b"\n\n"):
            assert block.startswith(b"event: " if name == "octopus" else b"data: ")


@pytest.mark.parametrize("name", ["octopus", "strakly"])
def test_who_buffers_may_get_any_chunks(name):
    """Cut at every byte, also within a letter, they read the same."""
    whole = written(encoder(name), recorded(PIECES))
    assert read(name, split(whole)).events == read(name, whole).events


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("octopus", [("turn_end", {"turn_id": "t-1", "total_tokens": 5, "elapsed_ms": 305})]),
        (
            "guide",
            [
                {"type": "error", "code": "publisher_lost", "message": "Gone.", "retryable": True},
                {"type": "stream_end"},
            ],
        ),
        ("opshub", [{"type": "error", "message": "Gone."}]),
        ("strakly", []),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_a_turn_that_fails(name, end, told):
    """It ends in the dialect's own way, once: by its error, or because nothing more comes."""
    way = encoder(name)
    events = [at(TurnStarted(**OF, agentId="a")), *tokens(PIECES)]
    before = written(way, events)
    last = way.event(at(BROKEN)) if told else way.failed("publisher_lost", "Gone.", True)
    assert way.ended
    assert read(name, [last]).events == end
    assert (last == b"data: [DONE]\n\n") is (name == "strakly")
    assert read(name, before).text == TEXT
    assert way.failed("other", "Late.", False) == b""
    assert way.event(completed(TEXT)) == b""


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("octopus", ["turn_end"]),
        ("guide", ["error", "stream_end"]),
        ("opshub", ["error"]),
        ("strakly", []),
    ],
)
def test_a_turn_whose_own_end_says_that_it_failed(name, kinds):
    """That is no success: all of its text, and then as any other failure."""
    way = encoder(name)
    chunks = written(way, [at(TurnStarted(**OF, agentId="a")), *tokens(PIECES[:1])])
    last = way.event(completed(TEXT, "error"))
    assert way.ended
    assert read(name, [*chunks, last]).text == TEXT
    ended = [e[0] if isinstance(e, tuple) else e["type"] for e in read(name, [last]).events]
    assert ended[len(ended) - len(kinds) :] == kinds
    assert "agent_response" not in ended


def test_octopus_tells_the_counts_of_an_end_that_failed():
    """As of any other: what the agent says itself."""
    ends = [
        encoder("octopus").event(completed(TEXT, reason))
        for reason in ("stop", "cancelled", "error")
    ]
    counts = {"turn_id": "t-1", "total_tokens": 12, "elapsed_ms": 900}
    for end in ends:
        assert read("octopus", [end]).events[-1] == ("turn_end", counts)


@pytest.mark.parametrize("name", ["guide", "strakly"])
def test_a_json_answer_of_a_turn_that_says_that_it_failed(name):
    """It is 502, and no answer."""
    changes = {"query": {"stream": "false"}} if name == "guide" else {"accept": "application/json"}
    way = encoder(name, **changes)
    written(way, [at(TurnStarted(**OF, agentId="a")), completed(TEXT, "error")])
    status, document = way.answer()
    assert (status, json.loads(document)["error"]["code"]) == (502, "agent_failed")


@pytest.mark.parametrize("name", DIALECTS)
def test_a_turn_that_fails_before_it_has_begun(name):
    """Also then the stream has its end."""
    way = encoder(name)
    assert way.failed("agent_unresponsive", "Nobody answers.", True).endswith(b"\n\n")
    assert way.ended


@pytest.mark.parametrize("name", DIALECTS)
def test_text_that_no_token_brought(name):
    """Whoever comes late, or has an agent that does not stream, gets all of the text too."""
    late = [at(TurnStarted(**OF, agentId="a")), *tokens(PIECES[:1])[:-1], completed(TEXT)]
    assert read(name, written(encoder(name), late)).text == TEXT


@pytest.mark.parametrize("name", DIALECTS)
def test_a_turn_that_was_stopped(name):
    """It ends as it would have ended, with the text so far."""
    way = encoder(name)
    events = [at(TurnStarted(**OF, agentId="a")), *tokens(PIECES), completed(TEXT, "cancelled")]
    assert read(name, [*written(way, events), way.closed()]).text == TEXT
    assert way.ended


def test_the_guide_waits_for_what_is_saved():
    """It may be told after the turn's end: until then, or until it lingered, it has not ended."""
    start = at(TurnStarted(**OF, agentId="a"))
    for saved in (True, False):
        way = encoder("guide")
        written(way, [start, completed(TEXT)])
        assert not way.ended
        assert DIALECTS["guide"].lingers > 0
        last = way.event(at(MessageSaved(**OF, messageId="x"))) if saved else way.closed()
        assert way.ended
        kinds = [event["type"] for event in read("guide", [last]).events]
        assert kinds == ["message_saved", "stream_end"][not saved :]


def test_the_guide_without_tokens():
    """`includeTokens=false` leaves the tokens out, and nothing else; the query wins."""
    body = {**ASKED["guide"], "includeTokens": True}
    events = said("guide", body=body, query={"includeTokens": "false"})
    assert events == [event for event in said("guide") if event["type"] != "token"]


def test_the_guide_tells_first_what_was_heard():
    """The transcription comes before the stream's start."""
    heard = at(Transcription(sessionId="s-1", messageId="m-1", text="Hello"))
    events = said("guide", events=[heard, *recorded(PIECES)])
    assert [event["type"] for event in events][:2] == ["transcription", "stream_start"]
    assert events[0] == {"type": "transcription", "text": "Hello"}


def test_whole_numbers_are_whole():
    """50 stays 50: front ends that know of integers alone do not read 50.0. A half stays a half."""
    for given, written_ in ((50, b"50"), (50.0, b"50"), (0.5, b"0.5")):
        shown = encoder("opshub").event(at(Progress(**OF, percent=given, message="m")))
        assert shown == b'data: {"type":"progress","percent":%b,"message":"m"}\n\n' % written_
        way = encoder("guide")
        assert b'"durationMs":%b,' % written_ in way.event(completed("", durationMs=given))


def test_a_tool_that_fails():
    """Who knows of results learns of the error in its place."""
    call = {**OF, "toolCallId": "c-9"}
    events = [
        at(ToolCallStarted(**call, toolName="search", arguments={}), 10),
        at(ToolCallCompleted(**call, error="no network"), 25),
    ]
    assert said("octopus", events)[1] == ("tool_result", {"tool_call_id": "c-9", "elapsed_ms": 15})
    assert said("opshub", events)[1]["result"] == {"error": "no network"}
    assert said("opshub", events)[1]["tool"] == "search"
    failed = {"type": "tool_result", "toolCallId": "c-9", "error": "no network"}
    assert said("guide", events)[1] == failed


def test_a_tool_without_a_start_or_a_result():
    """What is not known of it is not made up."""
    events = [at(ToolCallCompleted(**OF, toolCallId="c-9"))]
    assert said("octopus", events) == [("tool_result", {"tool_call_id": "c-9", "elapsed_ms": 0})]
    assert said("opshub", events) == [{"type": "tool_result", "tool": "c-9", "result": None}]
    assert said("guide", events) == [{"type": "tool_result", "toolCallId": "c-9"}]


@pytest.mark.parametrize("name", ["octopus", "opshub", "strakly"])
def test_what_a_front_end_does_not_know_is_left_out(name):
    """Not every system has words for a thought."""
    assert encoder(name).event(at(Thinking(**OF, text="Hm."))) == b""


# ------------------------------------------------------------------ one JSON answer


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("guide", {"query": {"stream": "false"}}, RESPONSE),
        (
            "strakly",
            {"accept": "application/json"},
            {
                "response": TEXT,
                "conversation_id": "s-1",
                "suggested_questions": ["More?\n", "Why?"],
            },
        ),
    ],
)
def test_a_json_answer(name, changes, expected):
    """The same turn in one document; and an error with a status and what it was."""
    way = encoder(name, **changes)
    assert not way.ask.stream
    written(way, recorded(PIECES))
    assert way.ended
    status, document = way.answer()
    assert (status, json.loads(document)) == (200, expected)

    way = encoder(name, **changes)
    way.event(at(BROKEN))
    status, document = way.answer()
    error = {"code": "publisher_lost", "message": "Gone.", "retryable": True}
    assert (status, json.loads(document)) == (502, {"error": error})


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("turn_stalled", 504),
        ("shutting_down", 503),
        ("slow_consumer", 503),
        ("no_worker", 503),
        ("internal", 502),
    ],
)
def test_the_status_of_what_ends_an_answer(code, status):
    """503 is the broker's own, and 504 took too long."""
    way = encoder("strakly", accept="application/json")
    way.failed(code, "No.", True)
    assert way.answer()[0] == status


# ------------------------------------------------------------------ what is asked


def ask(name, **changes):
    return DIALECTS[name].ask(incoming(name, **changes))


def test_what_is_asked():
    """The session, the text, and what else came with them."""
    for name in DIALECTS:
        asked = ask(name)
        assert (asked.session, asked.text, asked.stream) == ("s-1", "Hi", True)
    assert ask("opshub", body={**ASKED["opshub"], "userId": "u"}).user == "u"
    assert ask("opshub", body={**ASKED["opshub"], "userId": None}).user is None
    assert ask("guide").metadata == {"chatModelId": "m-1"}
    assert ask("strakly", body={**ASKED["strakly"], "branch_id": "b"}).metadata == {
        "branch_id": "b"
    }


def test_strakly_makes_up_a_conversation():
    """Each request without one has its own, and is told."""
    one, other = (encoder("strakly", body={"message": "Hi"}) for _ in range(2))
    assert one.ask.session != other.ask.session
    told = read("strakly", [one.accepted()]).events
    assert told == [("conversation_id", one.ask.session)]


def test_flags_of_the_guide():
    """The query, or else the body, or else the default."""
    plain = {key: value for key, value in ASKED["guide"].items() if key != "stream"}
    assert not ask("guide", body=plain).stream
    assert not ask("guide", body={**plain, "stream": None}).stream
    assert ask("guide", accept="application/json").stream
    assert ask("guide", body=plain, query={"stream": "True"}).stream
    assert not ask("guide", query={"stream": "false"}).stream
    assert not ask("guide", body={**plain, "includeTokens": False}).tokens
    assert ask("guide", body=plain).tokens
    assert ask("guide", body={**plain, "stream": None, "includeTokens": None}).tokens


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        ("", False),
        ("*/*", False),
        ("text/event-stream", True),
        ("text/event-stream;q=0.2, application/json", False),
        ("text/event-stream;q=0, */*", False),
        ("text/*", True),
    ],
)
def test_accept_chooses_for_strakly(accept, streams):
    """By its weights."""
    assert ask("strakly", accept=accept).stream is streams


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("octopus", "message", None),
        ("octopus", "message", 5),
        ("octopus", "message", " \n"),
        ("guide", "chatInstanceId", None),
        ("guide", "chatModelId", ""),
        ("guide", "stream", "maybe"),
        ("guide", "includeTokens", 1),
        ("opshub", "sessionId", "a\x00b"),
        ("opshub", "sessionId", "é" * 128),
        ("opshub", "userId", 7),
        ("strakly", "message", []),
        ("strakly", "conversation_id", {}),
        ("strakly", "branch_id", 1),
    ],
)
def test_what_does_not_fit_is_named(name, field, value):
    """By the front end's own word for it; None is to leave it out."""
    body = {**ASKED[name], field: value}
    if value is None:
        del body[field]
    with pytest.raises(Unfit) as raised:
        ask(name, body=body)
    assert raised.value.field == field
    assert field in str(raised.value)
