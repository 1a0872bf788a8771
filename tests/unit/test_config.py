"""The configuration: what is wrong in it is named by its path, with a reason."""

import shutil
from pathlib import Path
from unittest.mock import ANY

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from broker import config
from broker.errors import ConfigError
from broker.loading import check, load_plugins

GOOD = """
[servers.chat]
namespaces = ["agent.chat"]
[namespaces."agent.chat"]
plugin = "agent.chat"
"""

OPEN = """
[servers.x]
namespaces = ["w"]
[namespaces.w]
plugin = "open"
"""


def load(tmp_path, text, **environ):
    path = tmp_path / "config.toml"
    path.write_text(text, "utf-8")
    return config.load(path, environ)


def mistake(tmp_path, text, **environ):
    """Where a configuration is wrong, and why."""
    with pytest.raises(ConfigError) as error:
        check(load(tmp_path, text, **environ))
    return error.value.where, error.value.why


def test_the_shipped_file_is_good():
    """`config.toml` at the root makes a broker."""
    shipped = config.load(Path(__file__).parents[2] / "config.toml", {})
    assert sorted(load_plugins(shipped)) == ["agent.chat", "agent.status", "workflow"]


def test_defaults_fill_in(tmp_path):
    """A short file is enough, and what it does not say has a default."""
    loaded = load(tmp_path, GOOD)
    assert loaded.listen.host == "127.0.0.1"
    assert config.as_toml_like(loaded)["namespaces"]["agent.chat"]["queue"]["messages"] > 0


@pytest.mark.parametrize(
    ("more", "where", "why"),
    [
        ("[listen]\nprot = 1", "listen.prot", "is not a setting"),
        ("[lisen]\nport = 1", "lisen", "is not a setting"),
        ("[listen]\nport = '80'", "listen.port", "expected `int`"),
        ("[listen]\nport = 70000", "listen.port", "65535"),
        ("[heartbeat]\ninterval = 0", "heartbeat.interval", ">= 0.01"),
        ("[heartbeat]\ninterval = inf", "heartbeat.interval", "<="),
        ("[heartbeat]\ninterval = nan", "heartbeat.interval", "0.01"),
        (
            "[logging]\nlevel = 'loud'", "logging.level",
            "'loud' is none of 'debug', 'error', 'info', 'warning'",
        ),
        ("[servers.x]\nnamespaces = [1]", "servers.x.namespaces[0]", "expected `str`"),
        ("[servers.x]\ncompression = true", "servers.x.namespaces", "is missing"),
        ("[servers.x]\nnamespaces = ['nope']", "servers.x.namespaces", "no namespace 'nope'"),
        ("[servers.'a b']\nnamespaces = []", "servers.a b", "letters"),
        ("[namespaces.w]\nplugin = 'open'", "namespaces.w", "no server has it"),
        ("[servers.x]\nnamespaces = ['agent.chat']", "namespaces.agent.chat", "several servers"),
        ("[namespaces.w]\nweight = 1", "namespaces.w.plugin", "is missing"),
        (
            "[namespaces.w]\nplugin = 'open'\nqueue = {messages = 0}",
            "namespaces.w.queue.messages", ">= 1",
        ),
        (
            "[namespaces.w]\nplugin = 'open'\nengine = 'paper'", "namespaces.w.engine",
            "'paper' is none of 'memory', 'sqlite'",
        ),
        (
            "[namespaces.w]\nplugin = 'open'\nengine = 'sqlite'\nstorage = {sync = 'some'}",
            "namespaces.w.storage.sync", "'some' is none of 'full', 'normal'",
        ),
        (
            "[servers.x]\nnamespaces = ['w']\n"
            "[namespaces.w]\nplugin = 'open'\noptions = {slow_reader = 'wait'}",
            "namespaces.w.options.slow_reader", "'wait' is none of 'disconnect', 'latest'",
        ),
        (
            "[limits]\nmax_message_bytes = 200000", "namespaces.agent.chat.max_body_bytes",
            "262144 is more than limits.max_message_bytes, 200000: such a body could never come",
        ),
        (OPEN + "weight = 0", "namespaces.w.weight", ">= 1"),
        (OPEN + "weight = 1000000000", "namespaces.w.weight", "<= 100"),
        (
            OPEN + "history = {bytes = 1}", "namespaces.w.history.bytes",
            "1 is less than max_body_bytes, 262144: such a body would be gone",
        ),
        (
            OPEN + "max_body_bytes = 1000\nhistory = {bytes = 999}", "namespaces.w.history.bytes",
            "999 is less than max_body_bytes, 1000",
        ),
        (
            OPEN + "history = {events = 1}", "namespaces.w.history.events",
            "1 is less than 32: a reader that is a moment behind would have a gap",
        ),
    ],
)  # fmt: skip
def test_every_mistake_has_a_path_and_a_reason(tmp_path, more, where, why):
    """Unknown settings, wrong types and values out of range."""
    told = mistake(tmp_path, f"{GOOD}\n{more}\n")
    assert told[0] == where
    assert why in told[1]


PAIR = """
[servers.s]
namespaces = ["{0}", "{1}"]
[namespaces."{0}"]
plugin = "open"
[namespaces."{1}"]
plugin = "open"
"""


def test_two_owners_of_one_topic(tmp_path):
    """Overlapping namespaces stop the start, with both owners named."""
    for first, second in (("a", "a.b"), ("a.b.c", "a"), ("a", "a.b-c")):
        where, why = mistake(tmp_path, PAIR.format(first, second))
        assert where.startswith("namespaces.")
        assert repr(first) in why
        assert repr(second) in why


def test_neighbours_do_not_overlap(tmp_path):
    """A name that only begins like another is another topic."""
    for first, second in (("a", "ab"), ("a.b", "a.bc"), ("a-b", "a"), ("a.b", "a-b")):
        check(load(tmp_path, PAIR.format(first, second)))


def test_a_third_between_two_owners(tmp_path):
    """An overlap is found also where another name sorts in between."""
    text = PAIR.format("a", "a.b").replace('"a.b"]', '"a.b", "a-x"]', 1)
    text += '[namespaces."a-x"]\nplugin = "open"\n'
    assert "two owners" in mistake(tmp_path, text)[1]


def test_no_such_plugin(tmp_path):
    """The error lists those that there are."""
    where, why = mistake(tmp_path, GOOD.replace('plugin = "agent.chat"', 'plugin = "nope"'))
    assert where == "namespaces.agent.chat.plugin"
    assert "agent.status" in why


def test_wrong_options_of_a_plugin(tmp_path):
    """A plugin's own table is checked too."""
    where, _ = mistake(tmp_path, GOOD + "options = {x = 1}\n")
    assert where.startswith("namespaces.agent.chat.options")


def test_a_namespace_has_to_be_a_topic(tmp_path):
    """A namespace that no topic can be in is a mistake."""
    for name in ("a..b", "a b", "a.*", ">", ""):
        text = GOOD.replace('["agent.chat"]', f'["agent.chat", "{name}"]')
        text += f'[namespaces."{name}"]\nplugin = "open"\n'
        where, _ = mistake(tmp_path, text)
        assert "namespaces" in where


def test_the_environment_overrides(tmp_path):
    """Two underscores go down; dots and dashes are one; values take the setting's type."""
    loaded = load(
        tmp_path,
        GOOD,
        EDGESTREAM_LISTEN__PORT="9000",
        EDGESTREAM_HEARTBEAT__INTERVAL="2",
        EDGESTREAM_NAMESPACES__AGENT_CHAT__QUEUE__MESSAGES="7",
        EDGESTREAM_SERVERS__CHAT__COMPRESSION="true",
        EDGESTREAM_AUTH__ORIGINS='["https://a.example"]',
        EDGESTREAM_TOKEN="the command line's",
        EDGESTREAM_PORT="tcp://10.0.0.1:80",
        EDGESTREAM_SERVICE_PORT="80",
        PATH="/bin",
    )
    assert (loaded.listen.port, loaded.heartbeat.interval) == (9000, 2.0)
    assert loaded.namespaces["agent.chat"].queue.messages == 7
    assert loaded.servers["chat"].compression is True
    assert loaded.auth.origins == ["https://a.example"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EDGESTREAM_LISTEN__PROT", "1"),
        ("EDGESTREAM_LISTEN__PORT", "many"),
        ("EDGESTREAM_NAMESPACES__NOPE__WEIGHT", "1"),
        ("EDGESTREAM_LISTEN__PORT__X", "1"),
        ("EDGESTREAM_AUTH__ORIGINS", "[oops"),
        ("EDGESTREAM_LISTEN__", "1"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path, variable, value):
    """What the environment says wrongly is told under the variable's name."""
    assert mistake(tmp_path, GOOD, **{variable: value})[0] == variable


def test_a_variable_that_is_none_of_the_choices(tmp_path):
    """They are listed, as for the file."""
    where, why = mistake(tmp_path, GOOD, EDGESTREAM_AUTH__ANONYMOUS="nobody")
    assert where == "EDGESTREAM_AUTH__ANONYMOUS"
    assert "'nobody' is none of 'everyone', 'loopback'" in why


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("EDGESTREAM_LISTEN_PORT", "EDGESTREAM_LISTEN__PORT"),
        ("EDGESTREAM_AUTH_ANONYMOUS", "EDGESTREAM_AUTH__ANONYMOUS"),
        ("EDGESTREAM_LIMITS_MAX_MESSAGE_BYTES", "EDGESTREAM_LIMITS__MAX_MESSAGE_BYTES"),
        ("EDGESTREAM_LIMITS__MAX__MESSAGE_BYTES", "EDGESTREAM_LIMITS__MAX_MESSAGE_BYTES"),
        (
            "EDGESTREAM_NAMESPACES__AGENT_CHAT_QUEUE__BYTES",
            "EDGESTREAM_NAMESPACES__AGENT_CHAT__QUEUE__BYTES",
        ),
    ],
)
def test_underscores_that_are_too_few_or_too_many(tmp_path, variable, meant):
    """What would be a setting, but for its underscores, is not silently left out."""
    where, why = mistake(tmp_path, GOOD, **{variable: "1"})
    assert where == variable
    assert meant in why


def test_a_value_out_of_range_in_the_environment(tmp_path):
    """A limit holds wherever the value comes from."""
    where, _ = mistake(tmp_path, GOOD, EDGESTREAM_LISTEN__PORT="70000")
    assert where in ("EDGESTREAM_LISTEN__PORT", "listen.port")


@pytest.mark.parametrize("content", [b"\xff", b"x = ", b"[servers]\n[servers]\n"])
def test_a_file_that_is_no_toml(tmp_path, content):
    """The file is named."""
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        config.load(path, {})
    assert error.value.where == str(path)


def test_no_file(tmp_path):
    """The file is named that is not there."""
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "none.toml", {})


def test_a_part_for_one_process(tmp_path):
    """It has the chosen servers with their namespaces; without a choice it is everything."""
    whole = load(tmp_path, GOOD + PAIR.format("a", "b"))
    assert config.part(whole, []) is whole
    chosen = config.part(whole, ["s", "s"])
    assert (list(chosen.servers), list(chosen.namespaces)) == (["s"], ["a", "b"])
    assert config.part(whole, ["s", "chat"]) == whole


def test_a_part_that_is_not_there(tmp_path):
    """The error lists those that there are."""
    with pytest.raises(ConfigError, match="there are: chat, s") as error:
        config.part(load(tmp_path, GOOD + PAIR.format("a", "b")), ["chat", "Chat"])
    assert error.value.where == "servers.Chat"


TLS = (
    GOOD
    + """
[listen]
tls_certificate = "certificate.pem"
tls_key = "sub/key.pem"
"""
)


def test_tls_files_are_beside_the_configuration(tmp_path):
    """Relative names, the environment's too, mean the file's folder; whole paths stay."""
    listen = load(tmp_path, TLS, EDGESTREAM_LISTEN__TLS_KEY="other.pem").listen
    assert listen.tls_certificate == str(tmp_path / "certificate.pem")
    assert listen.tls_key == str(tmp_path / "other.pem")
    assert load(tmp_path, TLS.replace("sub/", "/")).listen.tls_key == "/key.pem"


def test_tls_takes_both_files(tmp_path):
    """One without the other is a mistake, whichever it is."""
    for line, missing in (
        ('tls_key = "sub/key.pem"', "listen.tls_key"),
        ('tls_certificate = "certificate.pem"', "listen.tls_certificate"),
    ):
        assert mistake(tmp_path, TLS.replace(line, "")) == (missing, ANY)


def test_tls_can_be_turned_off_by_the_environment(tmp_path):
    """Empty names are none."""
    off = {"EDGESTREAM_LISTEN__TLS_CERTIFICATE": "", "EDGESTREAM_LISTEN__TLS_KEY": ""}
    check(load(tmp_path, TLS, **off))


@pytest.mark.parametrize(
    ("certificate", "key", "where", "why"),
    [
        ("none.pem", "key.pem", "tls_certificate", "none.pem cannot be read: No such file"),
        ("certificate.pem", "none.pem", "tls_key", "none.pem cannot be read: No such file"),
        (".", "key.pem", "tls_certificate", "cannot be read: Is a directory"),
        ("key.pem", "key.pem", "tls_certificate", "key.pem holds no certificate"),
        ("certificate.pem", "certificate.pem", "tls_key", "certificate.pem holds no key"),
        ("certificate.pem", "other.pem", "tls_key", "other.pem is not the key of"),
        ("certificate.pem", "locked.pem", "tls_key", "is encrypted"),
    ],
)
def test_tls_files_that_cannot_be_used(tmp_path, identity, certificate, key, where, why):
    """The file is named, and what is wrong with it, before anything listens."""
    shutil.copy(identity.certificate, tmp_path / "certificate.pem")
    shutil.copy(identity.key, tmp_path / "key.pem")
    other = trustme.CA().private_key_pem.bytes()
    (tmp_path / "other.pem").write_bytes(other)
    locked = serialization.BestAvailableEncryption(b"secret")
    (tmp_path / "locked.pem").write_bytes(
        serialization.load_pem_private_key(other, None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked
        )
    )
    text = TLS.replace("certificate.pem", certificate).replace("sub/key.pem", key)
    told = mistake(tmp_path, text)
    assert told[0] == f"listen.{where}"
    assert why in told[1]


STORED = """
[servers.s]
namespaces = ["a", "b"]
[namespaces.a]
plugin = "open"
engine = "sqlite"
[namespaces.a.storage]
file = "a.db"
[namespaces.b]
plugin = "open"
engine = "sqlite"
[namespaces.b.storage]
file = "sub/b.db"
"""


def test_storage_files_are_beside_the_configuration(tmp_path):
    """Each namespace has one of its own, in a folder that is there; checking makes none."""
    (tmp_path / "sub").mkdir()
    loaded = load(tmp_path, STORED)
    check(loaded)
    assert loaded.namespaces["a"].storage.file == str(tmp_path / "a.db")
    assert loaded.namespaces["b"].storage.file == str(tmp_path / "sub" / "b.db")
    assert not (tmp_path / "a.db").exists()


@pytest.mark.parametrize(
    ("old", "new", "where", "why"),
    [
        ("sub/b.db", "./sub/../a.db", "b.storage.file", "the file of 'a' already"),
        ("sub/b.db", "", "b.storage.file", "is missing"),
        ("sub/b.db", "none/b.db", "b.storage.file", "there is no folder"),
        ("sub/b.db", "sub", "b.storage.file", "Is a directory"),
        ("sub/b.db", "config.toml", "b.storage.file", "no SQLite database"),
        ('"sqlite"', '"memory"', "a.storage.file", 'is nothing without engine = "sqlite"'),
        ('"sqlite"', '"postgres"', "a.engine", "is none of 'memory', 'sqlite'"),
        ('file = "a.db"', 'file = "a.db"\nsync = "off"', "a.storage.sync", "none of"),
    ],
)
def test_storage_that_cannot_be(tmp_path, old, new, where, why):
    """The setting is named, and what is wrong with it."""
    (tmp_path / "sub").mkdir()
    told = mistake(tmp_path, STORED.replace(old, new))
    assert told[0] == f"namespaces.{where}"
    assert why in told[1]
