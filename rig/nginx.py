"""A real nginx before test servers, one or several, with Debian's defaults: HTTP/1.0 towards the
servers, answers buffered, a read time-out of a minute."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.ports import free_port
from rig.postgres import START_SECONDS, wait_for_port

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
    upstream shop {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://shop;
            {more}
        }}
    }}
}}
"""


@contextmanager
def nginx_before(*server_ports: int, more: str = "") -> Iterator[int]:
    """The port of an nginx before the servers on ``server_ports``, which it asks in turn; ``more``
    are directives of its location."""
    folder, port = Path(tempfile.mkdtemp(prefix="orderfood-nginx-")), free_port()
    folder.chmod(0o755)  # the workers are another user
    # one that was away is asked again at once, and not only ten seconds later
    servers = " ".join(f"server 127.0.0.1:{each} max_fails=0;" for each in server_ports)
    text = CONFIGURATION.format(folder=folder, port=port, servers=servers, more=more)
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
