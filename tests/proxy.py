"""A proxy between a program and its server, that can be made to do what networks do."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Passes on what comes to its port. ``cut`` is asked about what a client sends: when it says
    so, the connection ends there and then. While ``stalls`` is set connections are accepted, and
    nothing more happens on any of them."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.target = (parts.hostname or "", parts.port or 5432)
        self.cut: Callable[[bytes], bool] = lambda sent: False
        self.stalls = False
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        login = parts.netloc.rpartition("@")[0]
        port = self._listening.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self._open.add(client)
            with socket.create_connection(self.target) as server:
                self._open.add(server)
                self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data or (source is client and self.cut(data)):
                        return
                    while self.stalls:
                        threading.Event().wait(0.01)
                    key.data.sendall(data)

    def close(self) -> None:
        """Ends everything."""
        self.stalls = False
        self._listening.close()
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_before(url: str) -> Iterator[Proxy]:
    """A proxy before the server that a URL names."""
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()


def once(text: bytes) -> Callable[[bytes], bool]:
    """Whether this text is sent for the first time."""
    seen: list[bytes] = []

    def look(sent: bytes) -> bool:
        if text in sent and not seen:
            seen.append(sent)
            return True
        return False

    return look
