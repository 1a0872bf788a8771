"""The command line, as its users run it: output, exit codes, signals, one-line errors."""

import asyncio
import json
import logging
import os
import pty
import signal
import sys
import tomllib
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import structlog
from system.processes import listening

from broker import cli
from broker.client import connect

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def started(*words: str, **options: Any) -> AsyncIterator[Process]:
    """`edgestream` with `words`, running."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "broker", *words,
        **{"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, "cwd": ROOT, **options},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*words: str, given: str = "", **options: Any) -> tuple[int | None, str, str]:
    """The exit code, output and errors of `edgestream` with `words`."""
    async with started(*words, **options) as process:
        out, err = await process.communicate(given.encode())
        return process.returncode, out.decode(), err.decode()


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().rstrip("\n")


async def subscribed(site: Any, count: int = 1) -> None:
    """Wait until so many subscriptions stand at the broker."""
    sessions = site.broker.shared.sessions.live
    while sum(len(s.reader) for s in sessions) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.005)  # the other process says nothing when it is ready


def one_line(err: str) -> bool:
    return err.count("\n") == 1 and err.startswith("edgestream")


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Undo what a command that runs in this process configures."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


# -------------------------------------------------------------------------- publish


async def test_publish_one(site: Any) -> None:
    """BODY is published on TOPIC under KEY; nothing is printed, and the exit code is 0."""
    async with connect(site.server(None)) as client, client.subscribe("workflow.a", "k") as events:
        result = await run(
            "publish", "workflow.a", '{"n": [1, null]}', "--key", "k", "--url", site.server(None)
        )
        assert result == (0, "", "")
        assert (await anext(events)).body == {"n": [1, None]}


@pytest.mark.parametrize("words", [(), ("-",)])
async def test_publish_lines(site: Any, words: tuple[str, ...]) -> None:
    """Each line of standard input is a body, in order; empty lines are none."""
    lines = "".join(f'{{"n": {n}}}\n' for n in range(3000)) + '\n{"n": 3000}'
    async with connect(site.server(None)) as client, client.subscribe("workflow.a", "k") as events:
        publishing = asyncio.create_task(
            run(
                "publish",
                "workflow.a",
                *words,
                "--key",
                "k",
                "--url",
                site.server(None),
                given=lines,
            )
        )
        numbers = [(await anext(events)).body["n"] for _ in range(3001)]
        assert numbers == list(range(3001))
        assert await publishing == (0, "", "")


async def test_publish_from_a_file(site: Any, tmp_path: Path) -> None:
    """Standard input may be a file as well as a pipe."""
    (tmp_path / "lines").write_text('{"n": 1}\n{"n": 2}\n')
    with (tmp_path / "lines").open() as stdin:
        async with started(
            "publish", "workflow.a", "--key", "k", "--url", site.server(None), stdin=stdin
        ) as process:
            assert await process.communicate() == (b"", b"")
            assert process.returncode == 0


async def test_publish_sends_a_line_as_it_comes(site: Any) -> None:
    """A producer that pauses does not hold its last line back."""
    async with (
        connect(site.server(None)) as client,
        client.subscribe("workflow.a", "k") as events,
        started("publish", "workflow.a", "--key", "k", "--url", site.server(None)) as process,
    ):
        assert process.stdin is not None
        for n in range(2):
            process.stdin.write(b'{"n": %d}\n' % n)
            assert (await anext(events)).body == {"n": n}


async def test_publish_tells_which_line_failed(site: Any) -> None:
    """A refused line and one that is no JSON are named; the others are published."""
    given = '{"n": 1}\nnonsense\n{"n": 3}\n'
    code, _, err = await run("publish", "agent.chat.token", "--url", site.server(None), given=given)
    assert code == 1
    assert [told.split(": ")[1] for told in err.splitlines()] == ["line 2", "line 1", "line 3"]
    assert "line 2: not JSON: Expecting value, at character 1: 'nonsense'" in err


async def test_publish_stopped(site: Any) -> None:
    """Ctrl-C while it waits for a line ends it with 130, and no traceback."""
    async with (
        connect(site.server(None)) as client,
        client.subscribe("workflow.a", "k") as events,
        started("publish", "workflow.a", "--key", "k", "--url", site.server(None)) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(b"{}\n")
        await anext(events)
        process.send_signal(signal.SIGINT)
        assert b"Traceback" not in (await process.communicate())[1]
        assert process.returncode == 130


async def test_publish_refused(site: Any) -> None:
    """The broker's reason is one line, and the exit code is 1."""
    code, _, err = await run("publish", "nope.a", "{}", "--url", site.server(None))
    assert code == 1
    assert one_line(err)
    assert "unknown_topic" in err


async def test_over_tls(start: Any, identity: Any) -> None:
    """--cafile says whom to trust; without it, nobody whom this machine does not know."""
    site = await start(listen=identity.listen)
    url, ours = site.server(None), ("--cafile", str(identity.authority))
    async with started("subscribe", "workflow.a", "--json", "--url", url, *ours) as process:
        await subscribed(site)
        assert await run("publish", "workflow.a", "1", "--url", url, *ours) == (0, "", "")
        assert json.loads(await line(process))["body"] == 1
    code, _, err = await run("publish", "workflow.a", "1", "--url", url)
    assert code == 3
    assert one_line(err)
    assert "certificate" in err


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"x"', "BODY is not JSON: Expecting ':' delimiter, at character 5: its end"),
        ("{bad", "BODY is not JSON: Expecting property name enclosed in double quotes, "
         "at character 2: 'bad'"),
        ('["🙂", bad]', "BODY is not JSON: Expecting value, at character 7: 'bad]'"),
        ("[1] 2", "BODY is not JSON: Extra data, at character 5: '2'"),
        ("x" * 500, "at character 1: 'xxx"),
        ("[" * 5000, "BODY is not JSON that can be read: it is nested too deeply"),
        ("1e999", "BODY is not JSON that can be read: Number out of range"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("own_logging")
def test_publish_what_is_no_json(body: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """That is wrong usage, and needs no broker to be found out; it says where."""
    assert cli.main(["publish", "a.b", body, "--url", "ws://127.0.0.1:1/ws"]) == 2
    err = capsys.readouterr().err
    assert one_line(err)
    assert told in err
    assert len(err) < 300


# ------------------------------------------------------------------------ subscribe


async def test_subscribe_readable(site: Any) -> None:
    """A line per event: time, topic, key, body; no colours where it is no terminal."""
    async with (
        started("subscribe", "workflow.>", "--url", site.server(None)) as process,
        connect(site.server(None)) as client,
    ):
        await subscribed(site)
        await client.publish("workflow.a", {"n": 1}, key="k")
        clock, topic, key, body = (await line(process)).split("  ")
        assert len(clock) == len("12:00:00.000")
        assert (topic, key, body) == ("workflow.a", "k", '{"n":1}')


async def test_subscribe_json(site: Any) -> None:
    """--json is for programs: each event with all that it has."""
    async with (
        started("subscribe", "workflow.a", "workflow.b", "--json", "--key", "k",
                "--url", site.server(None)) as process,
        connect(site.server(None)) as client,
    ):  # fmt: skip
        await subscribed(site, 2)
        await client.publish("workflow.b", {"n": 1}, key="k")
        event = json.loads(await line(process))
        assert event.pop("time") > 0
        assert event.pop("cursor")
        assert event == {"topic": "workflow.b", "key": "k", "body": {"n": 1}}


async def test_subscribe_in_a_group(site: Any) -> None:
    """Of two that share a group, each has every other event."""
    words = "subscribe", "workflow.a", "--json", "--group", "g", "--url", site.server(None)
    async with (
        started(*words) as one,
        started(*words) as two,
        connect(site.server(None)) as client,
    ):
        await subscribed(site, 2)
        for n in range(4):
            await client.publish("workflow.a", n)
        got = [json.loads(await line(process))["body"] for process in (one, two, one, two)]
        assert sorted(got) == [0, 1, 2, 3]


async def test_subscribe_in_colours(site: Any) -> None:
    """On a terminal the parts are told apart by colour; NO_COLOR turns that off."""
    for environment, coloured in ({}, True), ({"NO_COLOR": "1"}, False):
        ours, theirs = pty.openpty()
        try:
            async with (
                started("subscribe", "workflow.a", "--url", site.server(None), stdout=theirs,
                        env={**os.environ, **environment}),
                connect(site.server(None)) as client,
            ):  # fmt: skip
                await subscribed(site)
                await client.publish("workflow.a", {"n": 1}, key="k")
                shown = await asyncio.to_thread(os.read, ours, 1000)
                assert (b"\x1b[36mworkflow.a\x1b[0m" in shown) is coloured
        finally:
            os.close(ours)
            os.close(theirs)


async def test_subscribe_replays(site: Any) -> None:
    """--replay begins with what was there."""
    async with connect(site.server(None)) as client:
        await client.publish("workflow.a", {"n": 1}, key="k")
        await client.flush()
        words = "subscribe", "workflow.a", "--key", "k", "--replay", "snapshot", "--json"
        async with started(*words, "--url", site.server(None)) as process:
            assert json.loads(await line(process))["replayed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_subscribe_ends_when_it_is_stopped(site: Any, number: int) -> None:
    """To be stopped is how it is meant to end: exit code 0, no word of it."""
    async with started("subscribe", "workflow.a", "--url", site.server(None)) as process:
        await subscribed(site)
        process.send_signal(number)
        assert await process.communicate() == (b"", b"")
        assert process.returncode == 0


async def test_subscribe_to_a_reader_that_has_seen_enough(site: Any) -> None:
    """A closed pipe, as of `head`, ends it quietly."""
    read, write = os.pipe()
    async with (
        started("subscribe", "workflow.a", "--url", site.server(None), stdout=write) as process,
        connect(site.server(None)) as client,
    ):
        os.close(write)
        os.close(read)
        await subscribed(site)
        await client.publish("workflow.a", {"n": 1}, key="k")
        assert await process.communicate() == (None, b"")
        assert process.returncode == 0


async def test_subscribe_to_what_is_not_there(site: Any) -> None:
    """A refused subscription is one line."""
    code, _, err = await run("subscribe", "nope.a", "--url", site.server(None))
    assert code == 1
    assert one_line(err)


# ---------------------------------------------------------------- serve, config, others


async def test_serve_until_stopped(unused_tcp_port: int) -> None:
    """--port overrides the configuration; SIGTERM ends it with 0."""
    environ = {**os.environ, "EDGESTREAM_LOGGING__FORMAT": "json"}
    async with started("serve", "--port", str(unused_tcp_port), env=environ) as process:
        assert await listening(process) == unused_tcp_port
        async with connect(f"ws://127.0.0.1:{unused_tcp_port}/ws") as client:
            assert client.welcome is not None
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("serve", "--port", "99999"), 2, "--port"),
        (("serve", "--port", "x"), 2, "--port"),
        (("serve", "--server", "chat", "--server", "nope"), 1, "there are: bas, chat"),
        (("serve", "--config", "nowhere.toml"), 1, "nowhere.toml"),
        (("config", "check", "--config", "nowhere.toml"), 1, "nowhere.toml"),
        (("publish", "a.b", "{bad"), 2, "at character 2: 'bad'"),
        (("publish", "a.b", "{}", "--url", "ws://127.0.0.1:1/ws"), 3, "cannot connect"),
        (("publish", "a.b", "{}", "--cafile", "config.toml"), 2, "is for wss"),
        (("subscribe", "a", "--url", "wss://h/", "--cafile", "config.toml"), 2, "no certificate"),
        (("subscribe", "a", "--url", "wss://h/", "--cafile", "nowhere"), 2, "nowhere cannot be"),
        (("subscribe", "a.b", "--url", "nonsense"), 3, "cannot connect"),
        (("demo-agent", "--url", "ws://127.0.0.1:1/ws/chat"), 3, "cannot connect"),
    ],
)
async def test_a_users_mistake_is_one_line(words: tuple[str, ...], code: int, part: str) -> None:
    """It names what is wrong; there is no traceback; the exit code says of which kind it is."""
    told = await run(*words)
    assert told[0] == code
    assert one_line(told[2])
    assert part in told[2]


async def test_a_port_that_is_taken(site: Any) -> None:
    """Two brokers on one port: the second says so."""
    code, _, err = await run("serve", "--port", str(site.broker.port))
    assert code == 1
    assert "Traceback" not in err
    assert str(site.broker.port) in err


async def test_config_check_and_show() -> None:
    """check says that it is good; show is TOML that means the same again."""
    assert await run("config", "check") == (0, "config.toml: good\n", "")
    code, out, _ = await run("config", "show", env={**os.environ, "EDGESTREAM_LISTEN__PORT": "1"})
    assert code == 0
    shown = tomllib.loads(out)
    assert shown["listen"]["port"] == 1
    given = tomllib.loads((ROOT / "config.toml").read_text("utf-8"))
    assert shown["servers"].keys() == given["servers"].keys()
    assert shown["namespaces"].keys() == given["namespaces"].keys()


@pytest.mark.parametrize("words", [("config", "check"), ("serve",)])
async def test_a_certificate_that_is_not_there(words: tuple[str, ...]) -> None:
    """It is told before anything listens."""
    names = {"EDGESTREAM_LISTEN__TLS_CERTIFICATE": "a.pem", "EDGESTREAM_LISTEN__TLS_KEY": "b.pem"}
    code, _, err = await run(*words, env={**os.environ, **names})
    assert code == 1
    assert one_line(err)
    assert f"listen.tls_certificate: {ROOT / 'a.pem'} cannot be read" in err


async def test_what_show_prints_can_be_used(tmp_path: Path) -> None:
    """Its output is a configuration, and shows as itself."""
    _, first, _ = await run("config", "show")
    (tmp_path / "shown.toml").write_text(first)
    code, second, err = await run("config", "show", "--config", str(tmp_path / "shown.toml"))
    assert (code, second, err) == (0, first, "")


async def test_the_demo_agent_answers(site: Any) -> None:
    """`edgestream demo-agent` goes online, answers, and goes offline when stopped."""
    async with (
        connect(site.ws) as client,
        client.subscribe("agent.status") as status,
        started("demo-agent", "--url", site.ws, "--rate", "2000") as process,
    ):
        assert (await anext(status)).body["status"] == "online"
        async with client.subscribe("agent.chat.turnCompleted", "s") as ends:
            message = {"sessionId": "s", "messageId": "m", "text": "What is 6*7?"}
            await client.publish("agent.chat.userMessage", message)
            assert "42" in (await anext(ends)).body["fullText"]
        process.send_signal(signal.SIGINT)
        assert (await anext(status)).body["status"] == "offline"
        await process.communicate()
        assert process.returncode == 0


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command explains itself, and shows how it is used."""
    for command in ("serve", "publish", "subscribe", "config", "demo-agent"):
        with pytest.raises(SystemExit) as caught:
            cli.main([command, "--help"])
        assert caught.value.code == 0
        assert f"  edgestream {command}" in capsys.readouterr().out


@pytest.mark.usefixtures("own_logging")
def test_a_broken_plugin_does_not_break_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that cannot be loaded says why when it is asked for; others still run."""
    broken = EntryPoint("broken", "nowhere.at.all:COMMAND", "edgestream.commands")
    wrong = EntryPoint("wrong", "json:loads", "edgestream.commands")
    monkeypatch.setattr(cli, "entry_points", lambda group: [broken, wrong])
    assert cli.main(["config", "check", "--config", str(ROOT / "config.toml")]) == 0
    assert cli.main(["broken"]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert cli.main(["wrong"]) == 1


@pytest.mark.parametrize("words", [(), ("nonsense",), ("publish",), ("subscribe",)])
def test_wrong_usage(words: tuple[str, ...]) -> None:
    """What cannot be understood ends with 2."""
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
