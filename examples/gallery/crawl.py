"""Crawl a web site: what waits for a network runs in threads, many at a time.

The site is a server in this program: a page for each module of the standard library, with links to
what that imports. Each answer takes 20 ms, as from far away. Modules that are written in C have no
page: a link to one is broken, which is a `Failure` and stops nothing.

    python examples/gallery/crawl.py [pages at most]
"""

import re
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pmap import Failure, failed, pmap

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 100
TREE = Path(sysconfig.get_path("stdlib"))
AWAY = 0.02  # seconds


class Site(BaseHTTPRequestHandler):
    """Serves a page for each module that is a file or a package."""

    def do_GET(self) -> None:
        time.sleep(AWAY)
        name = self.path[1:].replace(".", "/")
        places = TREE / f"{name}.py", TREE / name / "__init__.py"
        sources = [place.read_text(encoding="utf-8") for place in places if place.is_file()]
        if not sources:
            self.send_error(404)
            return
        names = re.findall(r"^(?:import|from) (\w[\w.]*)", sources[0], re.MULTILINE)
        self.send_response(200)
        self.end_headers()
        self.wfile.write("".join(f'<a href="/{name}">' for name in names).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


ThreadingHTTPServer.request_queue_size = 64  # five are usual: others would wait for a second
server = ThreadingHTTPServer(("127.0.0.1", 0), Site)


def links(page: str) -> list[str]:
    """Return where a page links to."""
    connection = HTTPConnection("127.0.0.1", server.server_port)
    try:
        connection.request("GET", page)
        with connection.getresponse() as answer:
            if answer.status != 200:
                raise LookupError(f"{page}: {answer.status} {answer.reason}")
            return re.findall(r'href="(.*?)"', answer.read().decode())
    finally:
        connection.close()


def crawl(read: Callable[[Sequence[str]], Sequence[list[str] | Failure]]) -> dict[str, int | None]:
    """Return how many links each page has; None if it cannot be had. Level by level."""
    known: dict[str, int | None] = {}
    level = ["/pydoc"]
    while level and len(known) < COUNT:
        level = level[: COUNT - len(known)]
        following: dict[str, None] = {}
        for page, targets in zip(level, read(level), strict=True):
            known[page] = None if failed(targets) else len(targets)
            following |= {} if failed(targets) else dict.fromkeys(targets)
        level = [page for page in following if page not in known]
    return known


def main() -> None:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    many = pmap.using(backend="threads", processes=16, chunksize=1)

    begin = time.perf_counter()
    serial = crawl(lambda pages: pmap.using(backend="serial").collecting(links, pages))
    middle = time.perf_counter()
    parallel = crawl(lambda pages: many.collecting(links, pages))
    end = time.perf_counter()
    server.shutdown()
    server.server_close()

    broken = [page for page, count in parallel.items() if count is None]
    print(f"{len(parallel)} pages, {sum(count or 0 for count in parallel.values())} links")
    print(f"{len(broken)} are broken: {', '.join(broken[:4])}")
    print(f"one by one {middle - begin:.2f} s, 16 threads {end - middle:.2f} s")
    if list(parallel.items()) != list(serial.items()):
        sys.exit("the pages are not those of the serial crawl")


main()
