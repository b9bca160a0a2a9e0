"""A line to a server that can be cut and mended, so that one real server dies and comes back at will."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from threading import Thread


class ShakyLine:
    """Passes bytes between a port of its own and one of a server on this machine.

    Args:
        port: the server's.
    """

    def __init__(self, port: int) -> None:
        self._server_port, self._port = port, 0
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.mend()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def mend(self) -> None:
        """Connections are taken (again)."""
        self._do(self._listen())

    def cut(self) -> None:
        """All connections are broken, and new ones refused."""
        self._do(self._break())

    def close(self) -> None:
        """End it."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._pass, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _break(self) -> None:
        self._listener.close()
        for writer in self._open:
            writer.transport.abort()

    async def _pass(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._open |= {to_near, to_far}
        await asyncio.gather(_copy(near, to_far), _copy(far, to_near))
        self._open -= {to_near, to_far}


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await source.read(1 << 16):
            target.write(part)
            await target.drain()
    target.close()


@contextlib.contextmanager
def shaky_line(port: int) -> Iterator[ShakyLine]:
    """A line to a server's port, ended with the block."""
    line = ShakyLine(port)
    try:
        yield line
    finally:
        line.close()
