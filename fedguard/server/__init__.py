"""A round, as a pure function, and the shell that makes it durable before anyone sees it."""

from __future__ import annotations

from fedguard.server.judged import overruled
from fedguard.server.policy import Policy, rehearse
from fedguard.server.replay import Inputs, replayed
from fedguard.server.shell import commit_round
from fedguard.server.step import step

__all__ = ["Inputs", "Policy", "commit_round", "overruled", "rehearse", "replayed", "step"]
