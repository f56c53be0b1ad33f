"""A program with two hosts: network namespaces with a Dask worker each. One is lost during a call.

``python -m tests.engines.two_hosts FOLDER``, in user, network, mount and process namespaces of its
own, which `test_dask_hosts` makes. It prints what the calls returned, as JSON.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.engines.places import recipe
from tests.files import mark, marks
from tests.limits import seconds, until

from pmap import Failure, WorkerLost, pmap


def shell(command: str) -> None:
    """Run a command; raise if it fails."""
    subprocess.run(command, shell=True, check=True)


@contextmanager
def host(number: int, port: int, folder: Path) -> Generator[str]:
    """Begin a host with a Dask worker; yield its name; end the worker.

    It has a network, a name and a temporary folder of its own.
    """
    name, net = f"host{number}", f"10.77.{number}"
    shell(
        f"ip netns add {name} && ip link add to{number} type veth peer name eth0 netns {name} && "
        f"ip addr add {net}.1/24 dev to{number} && ip link set to{number} up && "
        f"ip -n {name} addr add {net}.2/24 dev eth0 && ip -n {name} link set eth0 up && "
        f"ip -n {name} link set lo up"
    )
    command = f"{sys.executable} -m distributed.cli.dask_worker tcp://{net}.1:{port}"
    options = f"--nthreads 1 --no-nanny --no-dashboard --host {net}.2 --name {name}"
    own = folder / name
    own.mkdir()
    alone = ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c"]
    worker = subprocess.Popen(
        [*alone, f"hostname {name} && exec {command} {options} --local-directory {own}"],
        env={**os.environ, "TMPDIR": str(own)},
        stdin=subprocess.DEVNULL,
    )
    try:
        yield name
    finally:
        worker.kill()
        worker.wait()


def hold(folder: str, x: int) -> tuple[int, str, str]:
    """Run until the program says so; return where this was."""
    mark(folder, f"{x}:{socket.gethostname()}")
    until((Path(folder) / "go").exists, "the word")
    return x, socket.gethostname(), tempfile.gettempdir()


def lost_during(engine: Any, folder: Path, victim: int, **options: Any) -> dict[str, Any]:
    """Return what is left of a call during which the network of a host goes."""
    folder.mkdir()
    verb = pmap.using(backend=engine, processes=2, chunksize=2, **options).collecting
    later = verb.async_(partial(hold, str(folder)), range(12))
    until(lambda: len(marks(folder)) == 2, "both hosts being busy")
    hosts = sorted(entry.partition(":")[2] for entry in marks(folder))
    shell(f"ip link set to{victim} down")
    (folder / "go").touch()
    results = later.get(seconds(90))
    failures = [one for one in results if isinstance(one, Failure)]
    arrived = [one for one in results if not isinstance(one, Failure)]
    return {
        "hosts": hosts,
        "lost": [one.index for one in failures],
        "errors": [f"{type(one.error).__name__}: {one.error}" for one in failures],
        "are losses": all(isinstance(one.error, WorkerLost) for one in failures),
        "arrived": [x for x, _, _ in arrived],
        "folders": sorted({Path(place).name for _, _, place in arrived}),
        "begun": Counter(entry.partition(":")[0] for entry in marks(folder)),
    }


def main(folder: Path) -> None:
    """Run two calls, during each of which a host is lost."""
    distributed: Any = import_module("distributed")
    dask: Any = import_module("dask")
    shell("mount -t tmpfs none /run && ip link set lo up")
    told: dict[str, Any] = {}
    with ExitStack() as stack:
        # A worker that is not heard for this long is lost: Dask waits five minutes.
        stack.enter_context(dask.config.set({"distributed.scheduler.worker-ttl": "10s"}))
        cluster = distributed.LocalCluster(n_workers=0, host="0.0.0.0", dashboard_address=None)
        stack.enter_context(cluster)
        port = cluster.scheduler.port
        client = stack.enter_context(distributed.Client(f"tcp://127.0.0.1:{port}"))
        engine = recipe("dask")["DaskEngine"](client)
        stack.enter_context(host(1, port, folder))
        stack.enter_context(host(2, port, folder))
        client.wait_for_workers(2)
        told["once"] = lost_during(engine, folder / "once", 1)
        stack.enter_context(host(3, port, folder))
        client.wait_for_workers(2)
        told["again"] = lost_during(engine, folder / "again", 2, retries=1)
        print(json.dumps(told), flush=True)
        os._exit(0)  # the client would wait for hosts that do not answer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
