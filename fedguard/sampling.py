"""How many of a round's clients may be malicious when a round asks some of the federation."""

from __future__ import annotations

from math import comb

from fedguard.errors import InvalidParameter

__all__ = ["f_of_sample"]


def f_of_sample(clients: int, malicious: int, sampled: int, risk: float = 1e-3) -> int:
    """The f that a round of `sampled` clients exceeds with probability `risk` at most.

    `malicious` of the federation's `clients` are; samples are drawn without replacement. Over R
    rounds the federation's f holds in all of them with probability 1 - R risk at least. Exact.

    >>> f_of_sample(clients=1000, malicious=100, sampled=50)
    12
    >>> f_of_sample(clients=20, malicious=4, sampled=20)
    4

    Source: the upper tail of the hypergeometric distribution
    """
    if not 0 <= malicious <= clients or not 0 < sampled <= clients:
        raise InvalidParameter(
            f"need 0 <= malicious <= clients and 0 < sampled <= clients, got {malicious} malicious "
            f"and {sampled} sampled of {clients}"
        )
    if not 0 < risk < 1:
        raise InvalidParameter(f"risk must lie in (0, 1), got {risk}")
    whole, beyond = comb(clients, sampled), 0
    for f in range(min(malicious, sampled), 0, -1):
        beyond += comb(malicious, f) * comb(clients - malicious, sampled - f)
        if beyond > risk * whole:
            return f
    return 0
