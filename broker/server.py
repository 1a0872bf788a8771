"""The broker, put together from its configuration; its start, its life and its end."""

import asyncio
import inspect
import os
import signal
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import structlog
import uvicorn
import uvloop

from broker import __version__, config, openapi
from broker.auth import Authenticator
from broker.clock import Clock, SystemClock
from broker.engines.base import Engine
from broker.engines.memory import MemoryEngine
from broker.engines.sqlite import SqliteEngine
from broker.garbage import Garbage
from broker.loading import error_codes, load_plugins
from broker.logs import configure
from broker.metrics import BrokerCollector, LoopLag, exposition
from broker.namespace import Namespace
from broker.router import Router
from broker.scheduler import Scheduler
from broker.sessions import Connected, Sessions
from broker.transports.entrance import Entrance
from broker.transports.gateway import NamespaceGateway
from broker.transports.heartbeat import Heartbeat
from broker.transports.http import application
from broker.transports.listener import HttpServer, bind, check_tls
from broker.transports.port import Port
from broker.transports.streaming import HttpConnection
from broker.transports.websocket import WebSocketConnection

log = structlog.get_logger(__name__)

STREAM_BEAT = 10.0
"""After how many seconds of silence a streaming response says something, at first; it does at
the next visit, so within 15."""

DRAIN_POLL = 0.01


def run(settings: config.Config, servers: Collection[str] = ()) -> int:
    """Serve until SIGINT or SIGTERM. Returns the process's exit code.

    Args:
        servers: serve only these, and leave the others to other processes.
    """
    configure(settings.logging)
    return uvloop.run(serve(settings, servers))


async def serve(settings: config.Config, servers: Collection[str] = ()) -> int:
    """Serve until SIGINT or SIGTERM, inside a running loop.

    Raises:
        ConfigError: the broker cannot be made of `settings`, or its port is not to be had.
    """
    broker = Broker(settings, servers=servers)
    await broker.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, os._exit, 1)  # asked twice: at once
    await broker.stop()
    return 0


class Broker:
    """One broker. `start` it inside a running loop, and `stop` it there.

    Args:
        servers: those of `settings` that it serves; none means all. What the others
            reach, other processes serve.

    Raises:
        ConfigError: it cannot be made of `settings`.
    """

    def __init__(
        self,
        settings: config.Config,
        clock: Clock | None = None,
        *,
        servers: Collection[str] = (),
    ) -> None:
        here = config.part(settings, servers)
        elsewhere = sorted(settings.namespaces.keys() - here.namespaces.keys())
        self.settings = settings = here
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._clock = clock or SystemClock()
        self._plugins = load_plugins(settings)
        check_tls(settings.listen)
        scheduler = Scheduler(self._clock, loop.call_soon)
        groups = {
            name: [self._namespace(n, scheduler) for n in server.namespaces]
            for name, server in settings.servers.items()
        }
        router = Router(groups, elsewhere)
        scheduler.namespaces = router.namespaces
        sessions = Sessions(settings, scheduler, error_codes(self._plugins))
        interval = settings.heartbeat.interval
        heartbeat = Heartbeat(interval, loop.call_later)
        beats = Heartbeat(min(interval, STREAM_BEAT), loop.call_later)
        authenticator = Authenticator(settings.auth.anonymous)
        self.shared = Port(
            settings, self._clock, scheduler, heartbeat, beats, router, sessions, authenticator
        )
        self._lag = LoopLag(self._clock.seconds, loop.call_later)
        self._garbage = Garbage(lambda: sessions.gone, self._clock.seconds, loop.call_later)
        self._http: HttpServer
        self._serving: asyncio.Task[None]

    def _namespace(self, name: str, scheduler: Scheduler) -> Namespace:
        settings, plugin = self.settings.namespaces[name], self._plugins[name]
        wake, call_later = scheduler.wake, self._loop.call_later
        engine: Engine
        if settings.engine == "sqlite":
            post = self._loop.call_soon_threadsafe
            cold = None if plugin.compact_after is None else 2 * plugin.compact_after
            engine = SqliteEngine(settings.storage, settings.history, post, call_later, cold=cold)
        else:
            engine = MemoryEngine(settings.history)
        return Namespace(name, settings, plugin, engine, self._clock, wake, call_later)

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        port: int = self._http.servers[0].sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Go on from what is stored, and listen.

        Raises:
            ConfigError: the address is not to be had, or a file cannot be used.
        """
        listen = self.settings.listen
        bound = bind(listen.host, listen.port)
        try:
            for namespace in self.shared.router.namespaces:
                namespace.restore()
        except BaseException:
            bound.close()
            self._close_engines()
            raise
        self._http = HttpServer(self._uvicorn_config())
        self._serving = self._loop.create_task(self._http.serve([bound]))
        while not self._http.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.001)
        self.shared.heartbeat.start()
        self.shared.beats.start()
        self._lag.start()
        for namespace in self.shared.router.namespaces:
            namespace.upkeep.start()
        self._garbage.start()
        log.info(
            "listening",
            version=__version__,
            compiled=not inspect.getfile(Scheduler).endswith(".py"),
            host=listen.host,
            port=self.port,
            tls=bool(listen.tls_certificate),
            servers={name: server.namespaces for name, server in self.settings.servers.items()},
        )

    async def stop(self) -> None:
        """Accept nothing more, deliver what is queued, say goodbye, and end."""
        self.shared.stopping = True
        deadline = self._clock.seconds() + self.settings.shutdown.drain
        sessions = self.shared.sessions.live
        log.info("stopping", connections=len(sessions))
        for server in self._http.servers:
            server.close()
        for session in sessions:
            session.outbox.wire.stop_reading()
            session.outbox.touch()
        await self._until(self._handled, deadline)
        leaving = set(sessions)
        await self._until(lambda: not self._let_go(leaving), deadline)
        for session in leaving:
            session.end(4100)
        await self._until(lambda: not sessions, deadline)
        left = len(sessions)
        self._http.exit.set()
        await self._serving
        self._close_engines()
        self._garbage.stop()
        log.info("stopped", cut_off=left)

    async def _until(self, condition: Callable[[], bool], deadline: float) -> None:
        while not condition() and self._clock.seconds() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_POLL)  # only while the broker ends: nothing to wake us

    def _handled(self) -> bool:
        """Whether every publish that was read is handled, and stored."""
        return all(namespace.settled for namespace in self.shared.router.namespaces)

    def _close_engines(self) -> None:
        for namespace in self.shared.router.namespaces:
            namespace.engine.close()
            namespace.plugin.close()

    def _let_go(self, leaving: set[Connected]) -> set[Connected]:
        """Say goodbye to those of `leaving` that have got everything; the others are left."""
        for session in [session for session in leaving if session.outbox.empty]:
            leaving.discard(session)
            session.end(4100)
            session.outbox.wire.release("stopping")  # to read how it closes
        return leaving

    def _uvicorn_config(self) -> uvicorn.Config:
        entrance = Entrance(self.shared)
        routes = [
            route
            for namespace in self.shared.router.namespaces
            for route in namespace.plugin.routes(NamespaceGateway(entrance, namespace))
        ]
        collector = BrokerCollector(self.shared, self._lag)
        return uvicorn.Config(
            application(
                self._not_ready,
                lambda: exposition(collector),
                cache(lambda: openapi.document(self.settings, self._plugins)),
                entrance,
                self.settings.auth,
                routes,
            ),
            http=HttpConnection,
            ws=self._websocket,  # type: ignore[arg-type]  # called like a class, and is not one
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ssl_certfile=self.settings.listen.tls_certificate or None,
            ssl_keyfile=self.settings.listen.tls_key or None,
        )

    def _websocket(
        self, config: uvicorn.Config, server_state: Any, app_state: dict[str, Any]
    ) -> WebSocketConnection:
        return WebSocketConnection(self.shared, server_state.connections)

    def _not_ready(self) -> str | None:
        if self.shared.stopping:
            return "shutting down"
        for namespace in self.shared.router.namespaces:
            if namespace.engine.failure is not None:
                return f"{namespace.name} cannot store: {namespace.engine.failure}"
        return None
