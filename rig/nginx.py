"""A real nginx before a test server, with Debian's defaults: HTTP/1.0 towards the server, answers
buffered, a read time-out of a minute."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.postgres import START_SECONDS, free_port, wait_for_port

CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 768; }}
http {{
    access_log off;
    gzip on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{server_port};
            {more}
        }}
    }}
}}
"""


@contextmanager
def nginx_before(server_port: int, more: str = "") -> Iterator[int]:
    """The port of an nginx before the server on ``server_port``; ``more`` are directives of its
    location."""
    folder, port = Path(tempfile.mkdtemp(prefix="orderfood-nginx-")), free_port()
    folder.chmod(0o755)  # the workers are another user
    text = CONFIGURATION.format(folder=folder, port=port, server_port=server_port, more=more)
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", f"{folder}/error.log"],
        cwd=folder,
    )
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
