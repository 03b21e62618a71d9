"""The real rpc.Server on a socket, in a thread of its own, with whatever operations a test hands in."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from barbossad.config import Access, Clients, Config
from barbossad.operations.registry import Operation
from barbossad.operations.services import Services
from barbossad.rpc.connection import STALL_SECONDS
from barbossad.rpc.dispatch import Dispatcher
from barbossad.rpc.server import Server, own_socket
from barbossad.security.access import AccessTable


@contextlib.contextmanager
def serving(
    folder: Path,
    operations: Mapping[str, Operation],
    *,
    clients: int = 100,
    stall_seconds: float = STALL_SECONDS,
    access: Access | None = None,
    mode: int = 0o600,
) -> Iterator[Path]:
    """Serve ``operations``, which ask for no services, until the end of ``with``; yield the socket's path."""
    path = folder / "rpc.sock"
    config = Config(
        state_dir=folder,
        runtime_dir=folder,
        socket=path,
        workflows_dir=folder,
        secrets_dir=folder,
        clients=Clients(limit=clients),
    )
    services = cast("Services", SimpleNamespace(config=config))
    ready, failure = threading.Event(), []
    ending: list[Any] = []

    async def serve() -> None:
        stop = asyncio.Event()
        ending.extend((asyncio.get_running_loop(), stop))
        server = Server(services, Dispatcher(operations), AccessTable(access or Access()), stall_seconds=stall_seconds)
        async with own_socket(path, mode=mode, group=None) as listening:
            server.listen([listening])
            ready.set()
            await stop.wait()
            await server.close(1.0)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 (raised where the test is)
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="rpc-server")
    thread.start()
    assert ready.wait(30), "the server does not listen"
    try:
        if not failure:
            yield path
    finally:
        if not failure:
            loop, stop = ending
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive(), "the server did not end"
    if failure:
        raise failure[0]
