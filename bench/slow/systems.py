"""How each system is started on the slow link's address, in the clear and with TLS."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from bench.environment import HOME, MODULES, PYTHON, Unavailable
from bench.systems import BUN, RIVALS_HOME, SYSTEMS, module

HERE = Path(__file__).resolve().parent

NGINX = """
pid {folder}/nginx.pid;
error_log stderr warn;
daemon off;
master_process off;

events {{ worker_connections 256; }}

# As docs/examples/nginx.conf has it.
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ''      '';
    }}
    server {{
        listen {host}:{port};
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host $http_host;
        proxy_buffering off;
        proxy_read_timeout 75s;
        proxy_send_timeout 75s;
        send_timeout 75s;
        location / {{
            proxy_pass http://127.0.0.1:{backend};
        }}
    }}
}}
"""

NATS = """
host: "127.0.0.1"
port: -1
websocket {{
  host: "{host}"
  port: {port}
  {tls}
}}
"""


class Place(Struct, frozen=True, kw_only=True):
    """Where a system has to listen.

    Attributes:
        folder: for what it needs while it runs.
        certificate, key: PEM files, if it has to speak TLS.
    """

    host: str
    port: int
    folder: Path
    certificate: str = ""
    key: str = ""


Started = tuple[tuple[str, ...], Mapping[str, str]]
"""A command, and what to add to its environment."""


class System(Struct, frozen=True, kw_only=True):
    """One system of `bench.systems` on the slow link.

    Attributes:
        paths: of the reader, of chat's publishers, of the bystander's.
        no_tls: why it is not measured with TLS, if it is not.
    """

    start: Callable[[Place], Started]
    dialect: str = "relay"
    paths: tuple[str, str, str] = ("/", "/", "/")
    no_tls: str = ""


def edgestream(place: Place) -> Started:
    environ = {
        "EDGESTREAM_LISTEN__HOST": place.host,
        "EDGESTREAM_LISTEN__PORT": str(place.port),
        "EDGESTREAM_AUTH__ANONYMOUS": "everyone",  # the reader is not on loopback
        "EDGESTREAM_LOGGING__LEVEL": "warning",
    }
    if place.key:
        environ["EDGESTREAM_LISTEN__TLS_CERTIFICATE"] = place.certificate
        environ["EDGESTREAM_LISTEN__TLS_KEY"] = place.key
    return module("broker", "serve", "--config", "config.toml"), environ


def nats(place: Place) -> Started:
    files = f'tls {{ cert_file: "{place.certificate}", key_file: "{place.key}" }}'
    text = NATS.format(host=place.host, port=place.port, tls=files if place.key else "no_tls: true")
    config = place.folder / "nats.conf"
    config.write_text(text)
    return (str(HOME / "venv/bin/nats-server"), "-c", str(config)), {}


def bun(place: Place) -> Started:
    program = str(MODULES / BUN / "bin/bun")
    environ = {"HOST": place.host, "CERTIFICATE": place.certificate, "KEY": place.key}
    return (program, str(HERE / "rivals/relay.bun.mjs"), str(place.port)), environ


def socketio(place: Place) -> Started:
    environ = {"HOST": place.host, "NODE_PATH": str(MODULES)}
    return ("node", str(HERE / "rivals/relay.socketio.cjs"), str(place.port)), environ


def fastapi(place: Place) -> Started:
    command = [
        *(str(PYTHON), "-m", "uvicorn", "relay_fastapi:app", "--app-dir", str(RIVALS_HOME)),
        *("--host", place.host, "--port", str(place.port), "--log-level", "warning"),
        *("--no-access-log", "--ws-per-message-deflate", "false"),
    ]
    if place.key:
        command += ["--ssl-certfile", place.certificate, "--ssl-keyfile", place.key]
    return tuple(command), {}


def naive(place: Place) -> Started:
    files = (place.certificate, place.key) if place.key else ()
    return module("bench.slow.rivals.naive", place.host, str(place.port), *files), {}


def nginx(place: Place, backend: int) -> Started:
    """nginx, in front of a system on `backend`.

    Raises:
        Unavailable: there is none.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not program:
        raise Unavailable("there is no nginx")
    config = place.folder / "nginx.conf"
    config.write_text(
        NGINX.format(folder=place.folder, host=place.host, port=place.port, backend=backend)
    )
    return (program, "-c", str(config), "-e", "stderr"), {}


def certificate(host: str, folder: Path) -> tuple[str, str]:
    """A certificate of `host` and its key, by OpenSSL's command.

    Raises:
        Unavailable: that failed.
    """
    files = str(folder / "certificate.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=slow", "-addext", f"subjectAltName=IP:{host}"]
    command += ["-out", files[0], "-keyout", files[1]]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"no certificate: {error}") from error
    return files


MEASURED: Mapping[str, System] = {
    "edgestream": System(
        start=edgestream, dialect="edgestream", paths=("/ws", "/ws/chat", "/ws/bas")
    ),
    "nats-server": System(start=nats, dialect="nats"),
    "bun": System(start=bun),
    "socket.io": System(
        start=socketio,
        dialect="socketio",
        paths=("/socket.io/?EIO=4&transport=websocket",) * 3,
        no_tls="its relay has no TLS",
    ),
    "fastapi": System(start=fastapi),
    "naive": System(start=naive),
}
assert set(MEASURED) <= set(SYSTEMS)
