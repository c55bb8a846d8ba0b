"""Whether a federation's store can be used, told over HTTP and by gRPC's health service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import grpc
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from fedguard.errors import FedguardError, NoStore
from fedguard.state.opening import open_to_read
from fedguard.state.queries import rounds_of

__all__ = ["SERVICE", "Health", "health_of", "http_app", "serve"]

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


def http_app(look: Callable[[], Health]) -> FastAPI:
    """`/healthz`: the process lives. `/readyz`: the store can be used, or 503 and why."""
    app = FastAPI(title="fedguard", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def lives() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def ready() -> JSONResponse:
        found = look()
        return JSONResponse(asdict(found), status_code=200 if found.ready else 503)

    return app


class _GrpcHealth:
    """grpc.health.v1.Health, which looks at the store every few seconds."""

    def __init__(self, host: str, port: int, look: Callable[[], Health]) -> None:
        self._look, self._over = look, threading.Event()
        self._servicer = health.HealthServicer()
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._tell(False)  # until somebody looked
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        if not self._server.add_insecure_port(f"{host}:{port}"):
            raise FedguardError(f"port {port} of {host} cannot be listened on")
        self._thread = threading.Thread(target=self._watch, daemon=True)

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


def serve(host: str, http_port: int, grpc_port: int, look: Callable[[], Health]) -> None:
    """Answer until the process is told to end."""
    config = uvicorn.Config(http_app(look), host, http_port, log_level="warning")
    with _GrpcHealth(host, grpc_port, look):
        uvicorn.Server(config).run()
