"""The files of TLS and of nginx."""

import shutil
import subprocess
from pathlib import Path

from bench.environment import Unavailable

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


def nginx(folder: Path, host: str, port: int, backend: int) -> list[str]:
    """The command of an nginx at `host` and `port`, in front of a system on `backend`.

    Raises:
        Unavailable: there is none.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not program:
        raise Unavailable("there is no nginx")
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, host=host, port=port, backend=backend))
    return [program, "-c", str(config), "-e", "stderr"]


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
