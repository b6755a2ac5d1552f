"""A proxy between a client and the server that counts round trips and can make each of them longer.

It understands where the messages of PostgreSQL's protocol end. A round trip is a request that is sent while none is
unanswered: requests that are pipelined, several Syncs in one flush, are one. What a client sends before it *could* have
the answer counts as pipelined, so count with a delay that is longer than the client needs between two sends.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

_UNTYPED = (
    80877103,
    80877104,
    80877102,
)  # SSLRequest, GSSENCRequest, CancelRequest: answered by one byte, or not at all
_ASKS = b"QSFpcf"  # Query, Sync, FunctionCall, a password, CopyDone, CopyFail
_ANSWERED = b"ZGW"  # ReadyForQuery, and CopyIn and CopyBoth, after which it is the client's turn


@dataclass(slots=True)
class Count:
    """What went over the wire since it was asked last."""

    connections: int = 0
    trips: int = 0
    requests: int = 0


class Wire:
    """Listens on `port` while the block lasts; a thread of its own passes everything on.

    :param delay: seconds that a round trip takes longer; half of it on each way.
    """

    def __init__(self, server_port: int, *, delay: float = 0.0) -> None:
        self._server_port = server_port
        self._delay = delay / 2
        self._count = Count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self.port = 0

    def __enter__(self) -> Wire:
        self._thread.start()
        self._listener = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def taken(self) -> Count:
        """What was counted since the last call."""
        count, self._count = self._count, Count()
        return count

    async def _listen(self) -> asyncio.Server:
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        return listener

    async def _end(self) -> None:
        self._listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count.connections += 1
        link = _Link(self)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        await asyncio.gather(
            self._pump(reader, server_writer, link.asked, link.nothing),
            self._pump(server_reader, writer, link.nothing, link.answered),
        )

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        came: Callable[[bytes], None],
        left: Callable[[bytes], None],
    ) -> None:
        """Each piece leaves `delay` after it came, in order, however many are on their way."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                left(data)
                if not data:
                    target.close()
                    return
                target.write(data)

        writing = asyncio.create_task(write())
        data = b"."
        while data:
            try:
                data = await source.read(1 << 16)
            except OSError:
                data = b""
            came(data)
            waiting.put_nowait((loop.time() + self._delay, data))
        await writing

    def asked(self, waits: bool) -> None:
        self._count.requests += 1
        self._count.trips += waits


class _Link:
    """One connection: which of its requests are unanswered."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._open = 0
        self._started = False
        self._from_client = bytearray()
        self._from_server = bytearray()

    def nothing(self, data: bytes) -> None:
        """The same piece of data is looked at once: when it comes from the client, when it leaves to it."""

    def asked(self, data: bytes) -> None:
        self._from_client += data
        while message := _take(self._from_client, typed=self._started):
            if not self._started and struct.unpack_from("!I", message, 4)[0] in _UNTYPED:
                self._wire.asked(True)
                continue
            if not self._started or message[0] in _ASKS:
                self._wire.asked(self._open == 0)
                self._open += 1
            self._started = True

    def answered(self, data: bytes) -> None:
        if not self._started:
            return  # the one byte that answers an SSLRequest
        self._from_server += data
        while message := _take(self._from_server, typed=True):
            asks_password = message[0] == ord("R") and struct.unpack_from("!I", message, 5)[0] not in (0, 12)
            if message[0] in _ANSWERED or asks_password:
                self._open = max(0, self._open - 1)


def _take(data: bytearray, *, typed: bool) -> bytes:
    """The first whole message, taken off; empty when there is none yet."""
    head = 1 if typed else 0
    if len(data) < head + 4:
        return b""
    size = head + int(struct.unpack_from("!I", data, head)[0])
    if len(data) < size:
        return b""
    message = bytes(data[:size])
    del data[:size]
    return message
