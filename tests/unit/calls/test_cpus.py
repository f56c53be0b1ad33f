"""How many CPUs this process may use: affinity and quotas."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pmap._calls import cpus
from pmap._calls.cpus import cpu_count, parse_quota


@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [
        ("max", "100000", None),
        ("200000", "100000", 2.0),
        ("50000\n", "100000\n", 0.5),
        ("-1", "100000", None),
        ("0", "100000", None),
        ("100000", "0", None),
        ("", "", None),
    ],
)
def test_a_quota(quota: str, period: str, cpus: float | None) -> None:
    assert parse_quota(quota, period) == cpus


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="ascii")


QUOTAS: Callable[[Path, Path], list[float]] = cpus._quotas


def test_quotas_of_version_2_hold_for_the_groups_inside(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/outer/inner\n", encoding="ascii")
    root = tmp_path / "cgroup"
    write(root / "outer", cpu__max="150000 100000\n")
    write(root / "outer/inner", cpu__max="max 100000\n")
    write(root / "other", cpu__max="1000 100000\n")
    write(tmp_path, cpu__max="1000 100000\n")  # above the tree
    assert QUOTAS(tmp_path / "self", root) == [1.5]


def test_the_quota_of_a_container_that_sees_only_its_own_top(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/docker/abc\n", encoding="ascii")
    write(tmp_path / "cgroup", cpu__max="300000 100000\n")
    assert QUOTAS(tmp_path / "self", tmp_path / "cgroup") == [3.0]


def test_quotas_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("5:cpuacct,cpu:/a\n2:memory:/b\n", encoding="ascii")
    write(
        tmp_path / "cgroup/cpuacct,cpu/a",
        cpu__cfs_quota_us="250000\n",
        cpu__cfs_period_us="100000\n",
    )
    assert QUOTAS(tmp_path / "self", tmp_path / "cgroup") == [2.5]


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert QUOTAS(tmp_path / "none", tmp_path) == []


def test_cpu_count_heeds_affinity_and_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    def affinity(_pid: int) -> set[int]:
        return set(range(6))

    def quotas(_membership: Path, _root: Path) -> list[float]:
        return [3.5]

    monkeypatch.setattr("os.sched_getaffinity", affinity, raising=False)
    monkeypatch.setattr(cpus, "_quotas", quotas)
    assert cpu_count() == 4


def test_cpu_count_of_this_process() -> None:
    import os

    assert 1 <= cpu_count() <= (os.cpu_count() or 1)
