"""Price an Asian option by Monte Carlo: with a seed, the same price for any number of workers.

Each item has a generator of its own, `pmap.rng()`. It is a function of the seed and the item's
index alone, so neither the number of workers nor the chunks change a digit, and the serial loop can
have the same generators: those that NumPy's SeedSequence spawns.

    python examples/gallery/monte_carlo.py [number of batches]
"""

import sys
import time

import numpy as np

from pmap import pmap, rng

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 100
SEED = 20_240_229
PATHS = 4000  # simulated courses of the share, in a batch
DAYS = 252
START, STRIKE, RATE, VOLATILITY = 100.0, 100.0, 0.03, 0.2


def batch(generator: np.random.Generator) -> float:
    """Return what the option pays, on average over some random courses: discounted."""
    step = 1 / DAYS
    shocks = generator.standard_normal((PATHS, DAYS))
    drift = (RATE - VOLATILITY**2 / 2) * step
    courses = START * np.exp(np.cumsum(drift + VOLATILITY * step**0.5 * shocks, axis=1))
    payoffs = np.maximum(courses.mean(axis=1) - STRIKE, 0.0)
    return float(payoffs.mean() * np.exp(-RATE))


def main() -> None:
    begin = time.perf_counter()
    children = np.random.SeedSequence(SEED).spawn(COUNT)
    serial = [batch(np.random.default_rng(child)) for child in children]
    middle = time.perf_counter()
    parallel = pmap(lambda _: batch(rng()), range(COUNT), seed=SEED)
    end = time.perf_counter()
    again = pmap(lambda _: batch(rng()), range(COUNT), seed=SEED, processes=3, chunksize=1)

    price, error = np.mean(parallel), np.std(parallel) / COUNT**0.5
    print(f"price {price:.4f}, standard error {error:.4f}, of {COUNT * PATHS} courses")
    print(f"the same in {COUNT} batches of 3 workers: {again == parallel}")
    print(f"serial loop {middle - begin:.2f} s, pmap {end - middle:.2f} s")
    if not serial == parallel == again:
        sys.exit("the prices are not those of the serial loop")


main()
