# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A link to a server that breaks at a chosen word, before the server hears it or before the client hears the answer."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class FlakyLink:
    """Forwards to the port while entered; ``break_at`` arms it for one connection."""

    def __init__(self, port):
        self._target = ("127.0.0.1", port)
        self._word, self._is_heard = b"", False
        self.breaks = 0

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc):
        self.close()

    def close(self):
        """Take no more connections; those that there are go on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def break_at(self, word, *, is_heard):
        """Break at the next message of a client that holds the word; ``is_heard`` lets the server have it first."""
        self._word, self._is_heard = word, is_heard

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client):
        with client, socket.create_connection(self._target) as server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _events in ready.select():
                    text = key.fileobj.recv(65536)
                    if not text or (key.fileobj is client and self._breaks(text, server)):
                        return
                    key.data.sendall(text)

    def _breaks(self, text, server):
        if not self._word or self._word not in text:
            return False
        self._word = b""
        self.breaks += 1
        if self._is_heard:
            server.sendall(text)
            server.recv(65536)
        return True
