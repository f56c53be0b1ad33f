"""How many CPUs this process may use, for any quota and any text of a cgroup file."""

from hypothesis import given
from hypothesis import strategies as st

from pmap._calls.cpus import at_most, parse_cgroups


@given(st.integers(1, 512), st.lists(st.floats(0.001, 512)))
def test_a_quota_can_only_cut_and_never_below_one(count: int, quotas: list[float]) -> None:
    allowed = at_most(count, quotas)
    assert 1 <= allowed <= count
    assert allowed == count or allowed - 1 < min(quotas) <= allowed or allowed == 1
    assert at_most(count, []) == count


@given(st.text())
def test_any_membership_is_read(text: str) -> None:
    assert all(path.startswith("/") for _, path in parse_cgroups(text))
