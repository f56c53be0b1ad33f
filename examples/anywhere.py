"""One program on one core, on the processors of this machine, and on a Dask cluster.

The environment variable RUN_ON says where: ``serial``, ``dask`` (which needs the package
``distributed``), or ``processes``, as without the variable. Neither calls nor results change.

Output:
    of 1000 numbers 168 are prime, the last of them is 997
"""

import os
from contextlib import ExitStack

from pmap import defaults, pmap


def is_prime(number: int) -> bool:
    return number > 1 and all(number % each for each in range(2, int(number**0.5) + 1))


def choose_place(stack: ExitStack, place: str) -> None:
    """Let all calls run at `place` until `stack` is closed."""
    if place == "dask":
        from distributed import Client, LocalCluster

        # To use an existing cluster, give its address to Client.
        cluster = stack.enter_context(LocalCluster(n_workers=2, dashboard_address=None))
        client = stack.enter_context(Client(cluster))
        stack.enter_context(defaults(backend=client.get_executor(pure=False), processes=2))
    elif place == "serial":
        stack.enter_context(defaults(backend="serial"))


def main() -> None:
    with ExitStack() as stack:
        choose_place(stack, os.environ.get("RUN_ON", "processes"))
        numbers = range(1000)
        primes = [n for n, prime in zip(numbers, pmap(is_prime, numbers), strict=True) if prime]
    print(f"of {len(numbers)} numbers {len(primes)} are prime, the last of them is {primes[-1]}")


# Dask starts its workers as new interpreters, which import this module.
if __name__ == "__main__":
    main()
