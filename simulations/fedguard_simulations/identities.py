"""Clients that come back under a new key once the server no longer counts the old one."""

from __future__ import annotations

from fedguard import Reputation, StateStore
from fedguard_simulations.federation import Federation

__all__ = ["Identities", "client_of"]

AGAIN = "~"


class Identities:
    """Names under which malicious clients take part: client-03, then client-03~2 and so on."""

    def __init__(self, federation: Federation, store: StateStore) -> None:
        self._store = store
        self._times = {federation.name(client): 1 for client in federation.malicious}

    def __call__(self, client: str) -> str:
        if client not in self._times:
            return client
        known = self._store.load().reputations
        while not known.get(name := self._name(client), Reputation()).standing.counts:
            self._times[client] += 1
        return name

    def _name(self, client: str) -> str:
        times = self._times[client]
        return client if times == 1 else f"{client}{AGAIN}{times}"


def client_of(name: str) -> str:
    """The client behind a name."""
    return name.partition(AGAIN)[0]
