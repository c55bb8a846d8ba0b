"""Log lines as JSON or for people, all of a round with its number, none with a secret."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, merge_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["in_round", "set_up"]

FLOWER = "flwr"
"""Flower's logger, and ours within its rounds."""
HIDDEN = "***"
SECRETS = (
    re.compile(r"(?<=://)([^/\s:@]+):[^/\s@]+(?=@)"),  # of a URL, the password
    re.compile(r"(?i)\b(bearer)\s+\S+"),
    re.compile(r"(?i)\b(password|token|secret)(\s*[=:]\s*)\S+"),
)
FORGING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What would begin a new line, colour a terminal, or turn the direction of reading."""
LONGEST = 4_000


def in_round(number: int) -> None:
    """Give the lines that follow, in this thread, the round's number."""
    bind_contextvars(round=number)


def set_up(form: str, federation: str) -> None:
    """Write all log lines to stderr, as `json` or for the `console`, in place of Flower's own."""
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _cleaned,
    ]
    last: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root, flower = logging.getLogger(), logging.getLogger(FLOWER)
    root.handlers, flower.handlers = [handler], []
    for logger in (root, flower):
        logger.setLevel(logging.INFO)
    flower.propagate = True
    bind_contextvars(federation=federation)


def _cleaned(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """No secrets, and no text of a client's that looks like a line of ours."""
    return {name: _clean(value) for name, value in event.items()}


def _clean(value: Any) -> Any:
    """
    >>> _clean("postgresql://u:hunter2@db/x refused\\nBearer abc")
    'postgresql://u:***@db/x refused\\\\nBearer ***'
    """
    if not isinstance(value, str):
        return value
    url, bearer, named = SECRETS
    value = url.sub(rf"\1:{HIDDEN}", value[:LONGEST])
    value = named.sub(rf"\1\2{HIDDEN}", bearer.sub(rf"\1 {HIDDEN}", value))
    return FORGING.sub(lambda found: ascii(found[0])[1:-1], value)
