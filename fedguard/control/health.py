"""A federation's health over HTTP and by gRPC's health service, and its metrics."""

from __future__ import annotations

import hmac
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from fedguard.deploy.settings import ServeSettings
from fedguard.errors import ConfigError, FedguardError, NoStore
from fedguard.state.opening import open_to_read
from fedguard.state.queries import rounds_of
from fedguard.telemetry.exposition import Metrics

__all__ = ["SERVICE", "Health", "answering", "health_of", "http_app", "serve"]

SERVICE = "fedguard"
"""The name that gRPC's health service knows it by; the empty name answers the same."""
LOOK_EVERY = 2.0
"""Seconds between looks at the store for gRPC, which tells of changes."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a federation's store is: `ready` when it can be read; its last round, if it has one."""

    ready: bool
    why: str = ""
    rounds: int = 0
    last_round_at: float | None = None
    held: str | None = None


def health_of(where: str, federation: str, files: Any = None) -> Health:
    """Look at the store. One that is to be made by the first run is ready."""
    try:
        with open_to_read(where, federation, files=files) as store:
            done, last = store.done, rounds_of(store, 1)
    except NoStore:
        return Health(True, "no round yet")
    except (FedguardError, OSError) as error:
        return Health(False, str(error))
    if not last:
        return Health(True, rounds=done)
    return Health(True, "", done, last[0].committed_at, last[0].held)


def http_app(
    look: Callable[[], Health], metrics: Metrics | None = None, token: str | None = None
) -> FastAPI:
    """`/healthz`: the process lives. `/readyz`: the store can be used, or 503 and why.

    `/metrics` wants the `token`, if there is one, as `Authorization: Bearer TOKEN`.
    """
    app = FastAPI(title="fedguard", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def lives() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def ready() -> JSONResponse:
        found = look()
        return JSONResponse(asdict(found), status_code=200 if found.ready else 503)

    if metrics:

        @app.get("/metrics")
        def scraped(request: Request) -> Response:
            if token and not _bears(request.headers.get("authorization", ""), token):
                told = {"WWW-Authenticate": 'Bearer realm="fedguard"'}
                return PlainTextResponse("a valid token is needed\n", 401, told)
            text, kind = metrics.text(request.headers.get("accept", ""))
            return Response(text, media_type=kind)

    return app


def _token_in(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token for /metrics cannot be read: {error}") from None
    if not token:
        raise ConfigError(f"the token for /metrics in {path} is empty")
    return token


def _bears(header: str, token: str) -> bool:
    scheme, _, given = header.partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    return scheme.lower() == "bearer" and same


class _GrpcHealth:
    """grpc.health.v1.Health, which looks at the store every few seconds."""

    def __init__(self, host: str, port: int, look: Callable[[], Health]) -> None:
        self._look, self._over = look, threading.Event()
        self._servicer = health.HealthServicer()
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._tell(False)  # until somebody looked
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        with suppress(RuntimeError):  # of a port that somebody has
            if self._server.add_insecure_port(f"{host}:{port}"):
                self._thread = threading.Thread(target=self._watch, daemon=True)
                return
        raise ConfigError(f"port {port} of {host} cannot be listened on: serve.grpc_port")

    def __enter__(self) -> None:
        self._server.start()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.stop(1.0)

    def _watch(self) -> None:
        while not self._over.is_set():
            self._tell(self._look().ready)
            self._over.wait(LOOK_EVERY)

    def _tell(self, ready: bool) -> None:
        status = health_pb2.HealthCheckResponse
        for name in ("", SERVICE):
            self._servicer.set(name, status.SERVING if ready else status.NOT_SERVING)


@contextmanager
def answering(app: FastAPI, host: str, port: int) -> Iterator[None]:
    """Answer from a thread of this process until this is left. Raises `ConfigError`."""
    listening = _listening(host, port, "take another port")
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def serve(
    own: ServeSettings, folder: Path, look: Callable[[], Health], metrics: Metrics | None = None
) -> None:
    """Answer until the process is told to end. Paths are relative to `folder`."""
    token = _token_in(folder / own.token_file) if own.token_file else None
    app = http_app(look, metrics, token)
    config = uvicorn.Config(
        app,
        log_level="warning",
        ssl_certfile=folder / own.certificate if own.certificate else None,
        ssl_keyfile=folder / own.key if own.key else None,
    )
    with (
        _listening(own.host, own.http_port, "serve.http_port") as http,
        _GrpcHealth(own.host, own.grpc_port, look),
    ):
        uvicorn.Server(config).run([http])


def _listening(host: str, port: int, setting: str) -> socket.socket:
    """A socket of a port. Raises `ConfigError`."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        told = f"port {port} of {host} cannot be listened on: {error.strerror}: {setting}"
        raise ConfigError(told) from None
