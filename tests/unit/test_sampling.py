"""The f of a round, against scipy's hypergeometric tail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from fedguard.errors import InvalidParameter
from fedguard.sampling import f_of_sample


@given(st.integers(1, 300), st.data(), st.floats(1e-6, 0.5))
def test_it_is_the_least_f_that_holds(clients: int, data: st.DataObject, risk: float) -> None:
    malicious = data.draw(st.integers(0, clients))
    sampled = data.draw(st.integers(1, clients))
    f = f_of_sample(clients, malicious, sampled, risk)
    assert hypergeom.sf(f, clients, malicious, sampled) <= risk * (1 + 1e-9)
    if f:
        assert hypergeom.sf(f - 1, clients, malicious, sampled) > risk * (1 - 1e-9)


@pytest.mark.parametrize("given", [(10, 11, 5), (10, -1, 5), (10, 2, 0), (10, 2, 11)])
def test_what_makes_no_sense_is_refused(given: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidParameter, match="malicious"):
        f_of_sample(*given)
    with pytest.raises(InvalidParameter, match="risk"):
        f_of_sample(10, 2, 5, risk=0.0)
