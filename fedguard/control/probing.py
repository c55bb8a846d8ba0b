"""Ask a health service how it is: for containers that have no curl."""

from __future__ import annotations

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["grpc_answer", "http_answer"]


def http_answer(url: str, patience: float) -> tuple[bool, str]:
    """Whether the answer is 2xx, and what it says."""
    try:
        answer = httpx.get(url, timeout=patience)
    except httpx.HTTPError as error:
        return False, str(error)
    return answer.is_success, answer.text[:500]


def grpc_answer(address: str, service: str, patience: float) -> tuple[bool, str]:
    """Whether the standard health service says SERVING, and what it says."""
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=patience)
        except grpc.RpcError as error:
            return False, str(error.code())
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return serving, health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
