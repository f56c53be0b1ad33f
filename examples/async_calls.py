"""Heavy calls beside an event loop: it goes on while the workers compute.

Output:
    97 is prime, 91 is not
    primes below 10000: 1229
    the loop was free: True
"""

import asyncio

from pmap import papply_async, pmap_async


def is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


def count_primes(*, below: int) -> int:
    return sum(map(is_prime, range(below)))


async def count_turns(turns: list[int]) -> None:
    while True:
        turns.append(len(turns))
        await asyncio.sleep(0)


async def main() -> None:
    turns: list[int] = []
    counting = asyncio.create_task(count_turns(turns))
    heavy = papply_async(count_primes, below=10_000)
    first, second = await pmap_async(is_prime, [97, 91])
    print(f"97 is {'prime' if first else 'none'}, 91 is {'one' if second else 'not'}")
    print("primes below 10000:", await heavy)
    print("the loop was free:", len(turns) > 1)
    counting.cancel()


asyncio.run(main())
