"""The wire between runner and server: a proxy that understands where PostgreSQL's messages begin and end.

It counts the requests a runner sends (whatever the server answers with ReadyForQuery), can hold one of them before the
server has it, or its answer before the runner has it, and can cut the line: with a reset, or in silence.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Side = Literal["before", "after"]

_CANCEL = 80877102
_WAKE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Point:
    """A moment on the wire: before the server has a request, or before the runner has its answer."""

    request: int
    """Counted from 1 over all the connections since the proxy was armed; logging in is one."""
    side: Side


@dataclass(eq=False)
class _Link:
    """One connection of a runner and the one to the server that belongs to it."""

    client: socket.socket
    server: socket.socket
    greeted: bool = False
    asked: bytearray = field(default_factory=bytearray)
    request: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)
    open_requests: deque[int] = field(default_factory=deque)
    client_over: bool = False


class Wire:
    """Listens on a port of its own and passes on to the server. One thread does it all."""

    def __init__(self, server_port: Callable[[], int]) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._orders: deque[Callable[[], None]] = deque()
        self._links: list[_Link] = []
        self._point: Point | None = None
        self._held: tuple[_Link, Side, bytes] | None = None
        self._silent = self._over = False
        self.reached = threading.Event()
        self.texts: list[str] = []
        """The SQL of every request since the proxy was armed, in order; of logging in `login`."""
        self.held_text = ""
        """The SQL of the request at which it held last."""
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._thread.start()

    # Orders, from any thread; each returns when it is carried out

    def arm(self, point: Point | None) -> None:
        """Forget what was; from now on count anew and hold at this point."""

        def do() -> None:
            self._drop_all(reset=True)
            self._point, self._held, self._silent = point, None, False
            self.texts = []
            self.reached.clear()

        self._order(do)

    def release(self) -> None:
        """Pass on what is held, and hold nothing more."""

        def do() -> None:
            self._point = None
            held, self._held = self._held, None
            if held is not None and held[0] in self._links and not self._silent:
                link, side, data = held
                self._send(link, link.server if side == "before" else link.client, data)
                if side == "before" and link in self._links:
                    self._watch(link.client, link)
                    self._take_requests(link)

        self._order(do)

    def reset(self) -> None:
        """Cut every connection at once, on both ends, with whatever is held."""
        self._order(lambda: self._drop_all(reset=True))

    def silence(self) -> None:
        """Pass on nothing any more in either direction, tell nobody, and let nobody in."""

        def do() -> None:
            self._silent = True
            for link in self._links:
                self._unwatch(link.client)
                self._unwatch(link.server)

        self._order(do)

    def give_up_server_side(self) -> None:
        """What the server's keepalive does after a silence: it ends its side. The runner is told nothing."""

        def do() -> None:
            for link in self._links:
                self._unwatch(link.server)
                _reset(link.server)

        self._order(do)

    def close(self) -> None:
        self._over = True
        with contextlib.suppress(OSError):
            self._waker.send(b".")
        self._thread.join(5)

    def _order(self, do: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            try:
                do()
            finally:
                done.set()

        self._orders.append(run)
        self._waker.send(b".")
        if not done.wait(10):
            raise TimeoutError("the wire does not answer")

    # The thread

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(_WAKE_SECONDS):
                if key.fileobj is self._wake:
                    self._wake.recv(4096)
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._links:
                    self._pass(key.data, key.fileobj)
            while self._orders:
                self._orders.popleft()()
        self._drop_all(reset=False)
        self._selector.close()
        for end in (self._listener, self._wake, self._waker):
            end.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket()
        link = _Link(client, server)
        self._links.append(link)
        if self._silent:
            return
        try:
            server.connect(("127.0.0.1", self._server_port()))
        except OSError:
            self._drop(link, reset=True)
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._watch(end, link)

    def _pass(self, link: _Link, end: object) -> None:
        if end is link.client:
            if self._held is not None and self._held[0] is link and self._held[1] == "before":
                return
            data = _received(link.client)
            if data:
                link.asked += data
                self._take_requests(link)
            else:
                self._drop(link, reset=False)
            return
        data = _received(link.server)
        if data:
            link.answered += data
            self._take_answers(link)
            return
        if link.answered and not (self._held and self._held[0] is link):
            self._send(link, link.client, bytes(link.answered))
        self._drop(link, reset=False)

    def _take_requests(self, link: _Link) -> None:
        """Whole messages; a request ends with Query or Sync."""
        while link in self._links:
            head = 4 if not link.greeted else 5
            if len(link.asked) < head:
                return
            (length,) = struct.unpack_from("!I", link.asked, head - 4)
            size = length + head - 4
            if len(link.asked) < size:
                return
            message = bytes(link.asked[:size])
            del link.asked[:size]
            link.request += message
            if not link.greeted:
                (code,) = struct.unpack_from("!I", message, 4)
                if code == _CANCEL:
                    self._send(link, link.server, bytes(link.request))
                    link.request.clear()
                    return
                link.greeted, ends = True, True
            else:
                ends = message[:1] in (b"Q", b"S", b"X", b"F")
            if ends and self._holds_request(link, message):
                return

    def _holds_request(self, link: _Link, last: bytes) -> bool:
        data = bytes(link.request)
        link.request.clear()
        if last[:1] != b"X":
            self.texts.append(_text(data))
            link.open_requests.append(len(self.texts))
            if self._point == Point(len(self.texts), "before"):
                self._held, self.held_text = (link, "before", data), self.texts[-1]
                self._unwatch(link.client)
                self.reached.set()
                return True
        self._send(link, link.server, data)
        return False

    def _take_answers(self, link: _Link) -> None:
        """An answer is passed on when it is whole, which is when ReadyForQuery ends it; others at once."""
        at = 0
        while len(link.answered) >= at + 5:
            (length,) = struct.unpack_from("!I", link.answered, at + 1)
            if len(link.answered) < at + 1 + length:
                return
            kind = bytes(link.answered[at : at + 1])
            at += 1 + length
            if kind in (b"Z", b"G", b"H"):
                data = bytes(link.answered[:at])
                del link.answered[:at]
                at = 0
                if kind == b"Z" and link.open_requests:
                    number = link.open_requests.popleft()
                    if self._point == Point(number, "after"):
                        self._held, self.held_text = (link, "after", data), self.texts[number - 1]
                        self.reached.set()
                        return
                self._send(link, link.client, data)

    # Small things

    def _send(self, link: _Link, to: socket.socket, data: bytes) -> None:
        try:
            to.sendall(data)
        except OSError:
            self._drop(link, reset=False)

    def _watch(self, end: socket.socket, link: _Link) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.register(end, selectors.EVENT_READ, link)

    def _unwatch(self, end: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(end)

    def _drop(self, link: _Link, *, reset: bool) -> None:
        if link in self._links:
            self._links.remove(link)
        for end in (link.client, link.server):
            self._unwatch(end)
            if reset:
                _reset(end)
            else:
                end.close()

    def _drop_all(self, *, reset: bool) -> None:
        for link in [*self._links]:
            self._drop(link, reset=reset)


def _reset(end: socket.socket) -> None:
    """Without a farewell: the other end sees `connection reset by peer`."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except OSError:
        return b""


def _text(data: bytes) -> str:
    """The SQL of a request: of a Query message, or of the Parse message an extended one begins with."""
    if data[:1] == b"Q":
        return data[5:-1].decode(errors="replace")
    if data[:1] == b"P":
        return data[5:].split(b"\0", 2)[1].decode(errors="replace")
    return "login"
