"""The loss of a host, with Dask workers in network namespaces: run by ``nox -s engines``."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.limits import seconds
from tests.scripts import environment

# Users, networks, mounts and processes of their own, which end with the program.
APART: Final = ["unshare", "-Urnmpf", "--mount-proc", "--kill-child"]


def can_have_hosts() -> bool:
    """Return whether there can be network namespaces here."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    inside = "mount -t tmpfs none /run && ip netns add one && ip link add to1 type veth"
    done = subprocess.run([*APART, "sh", "-c", inside], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.engines
def test_a_lost_host_costs_a_chunk_at_most(tmp_path: Path) -> None:
    if not can_have_hosts():
        pytest.skip("needs network namespaces: unshare and ip, and the right to use them")
    done = subprocess.run(
        [*APART, sys.executable, "-m", "tests.engines.two_hosts", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds(240),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    once, again = told["once"], told["again"]
    assert once["hosts"] == ["host1", "host2"]
    assert once["are losses"]
    first, second = once["lost"]
    assert second == first + 1
    assert once["arrived"] == [x for x in range(12) if x not in once["lost"]]
    assert once["folders"] == ["host2"]  # each host has a temporary folder of its own
    # On the lost host the rest of the chunk goes on, unheard. Nothing begins twice.
    assert once["begun"].items() >= {str(x): 1 for x in range(12) if x != second}.items()
    assert {*once["begun"].values()} == {1}
    assert again["hosts"] == ["host2", "host3"]
    assert again["lost"] == []
    assert again["arrived"] == [*range(12)]
    assert again["folders"] == ["host3"]
