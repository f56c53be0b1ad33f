"""A web service that factorises numbers: the event loop stays free, and hanging up stops the work.

asyncio's own server speaks a little HTTP. Each request is a call in a worker, which is awaited. A
client that closes its connection cancels that: the worker is ended, and another takes its place.
The clients are in this program, too; one asks for what would take minutes, and hangs up.

    python examples/gallery/web_service.py [number of requests]
"""

import asyncio
import sys
import time
from asyncio import StreamReader, StreamWriter

from pmap import papply_async

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 24
LARGE = 10**14 if COUNT > 8 else 10**8
NUMBERS = [LARGE + 2 * number + 1 for number in range(COUNT)]
ENDLESS = 2**61 - 1  # a prime: minutes

cancelled: list[int] = []
some_cancelled = asyncio.Event()
pauses: list[float] = []


def factors(number: int) -> list[int]:
    """Return the prime factors of an odd number, found by trying."""
    found: list[int] = []
    divisor = 3
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 2
    return [*found, number] if number > 1 else found


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer one request, unless its client goes away before the answer is there."""
    number = int((await reader.readuntil(b"\r\n\r\n")).split()[1].strip(b"/"))
    work = asyncio.ensure_future(papply_async(factors, number))
    gone = asyncio.create_task(reader.read())  # a client that waits sends nothing more
    await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        body = " ".join(map(str, work.result())).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        gone.cancel()
    else:
        work.cancel()  # ends the item that runs
        cancelled.append(number)
        some_cancelled.set()
    writer.close()


async def ask(port: int, number: int, seconds: float | None = None) -> list[int]:
    """Return what the service says of a number; hang up after so many seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /%d HTTP/1.1\r\n\r\n" % number)
        answer = await asyncio.wait_for(reader.read(), seconds)
        return list(map(int, answer.partition(b"\r\n\r\n")[2].split()))
    finally:
        writer.close()


async def watch() -> None:
    """Note for how long the event loop was not free."""
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(0.005)
        pauses.append(time.perf_counter() - begin - 0.005)


async def ask_all() -> list[list[int]]:
    """Run the service and its clients; return the answers."""
    watching = asyncio.create_task(watch())
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        impatient = asyncio.create_task(ask(port, ENDLESS, seconds=0.3))
        answers = await asyncio.gather(*(ask(port, number) for number in NUMBERS))
        await asyncio.gather(impatient, return_exceptions=True)
        await some_cancelled.wait()  # the service hears of it a moment later
    watching.cancel()
    return answers


def main() -> None:
    begin = time.perf_counter()
    serial = [factors(number) for number in NUMBERS]
    papply_async(factors, 15).get()  # the first call starts the workers: before there are clients
    middle = time.perf_counter()
    answers = asyncio.run(ask_all())
    end = time.perf_counter()

    print(f"{NUMBERS[0]} = {' * '.join(map(str, answers[0]))}")
    print(f"{len(answers)} requests answered, {len(cancelled)} cancelled: its client hung up")
    print(f"the event loop was never held for longer than {max(pauses) * 1000:.0f} ms")
    print(f"serial loop {middle - begin:.2f} s, service {end - middle:.2f} s")
    if answers != serial or cancelled != [ENDLESS]:
        sys.exit("the answers are not those of the serial loop")


main()
