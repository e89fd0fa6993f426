"""A real HTTP server on loopback with responses chosen by the test: good ones, and all kinds of bad ones."""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler", bytes], None]
"""Answers one request for the given bytes."""


class Site:
    """The server. `files`: path → bytes. `answers`: path → answers to its first requests; then `serve` answers."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stopped = threading.Event()
        handler = type("Bound", (Handler,), {"site": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def offer(self, path: str, content: bytes, *answers: Answer) -> str:
        """Have a file at `path`, whose first requests get `answers`; return its URL."""
        self.files[path] = content
        self.answers[path] += answers
        return self.address + path

    def close(self) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        path = re.sub(r"^http://[^/]*", "", self.path)  # as a proxy is asked
        self.site.requests.append((self.path, dict(self.headers)))
        answers = self.site.answers[path]
        answer = answers.pop(0) if answers else serve
        if path in self.site.files:
            answer(self, self.site.files[path])
        else:
            status(404)(self, b"")

    def head(self, code: int, **headers: Any) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass

    def start(self, content: bytes) -> int:
        """The first byte that the request asks for, if it is of the version that is here."""
        found = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        return int(found[1]) if found and self.headers.get("If-Range", TAG) == TAG else 0


TAG = '"v1"'


def serve(handler: Handler, content: bytes, stop: int | None = None, tag: str = TAG) -> None:
    """As a good server does. stop: byte before which the connection breaks."""
    start = handler.start(content)
    if start and start >= len(content):
        handler.head(416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
        return
    if start:
        ranged = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        handler.head(206, Content_Length=len(content) - start, ETag=tag, **ranged)
    else:
        handler.head(200, Content_Length=len(content), ETag=tag)
    handler.wfile.write(content[start:stop])


def drop(at: int) -> Answer:
    """The connection breaks before byte `at` of the file."""
    return lambda handler, content: serve(handler, content, stop=at)


def stall(at: int) -> Answer:
    """Nothing comes any more after byte `at`, and the connection stays."""

    def answer(handler: Handler, content: bytes) -> None:
        serve(handler, content, stop=at)
        handler.wfile.flush()
        handler.site.stopped.wait(20)

    return answer


def status(code: int, **headers: Any) -> Answer:
    return lambda handler, _: handler.head(code, Content_Length=0, **headers)


def redirect(url: str) -> Answer:
    return status(302, Location=url)


def claim(length: int) -> Answer:
    """All bytes under a wrong Content-Length."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.head(200, Content_Length=length)
        handler.wfile.write(content)

    return answer


def without_length(handler: Handler, content: bytes) -> None:
    handler.head(200)
    handler.wfile.write(content)


def without_ranges(stop: int | None = None) -> Answer:
    """All of the file, whatever is asked for."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.head(200, Content_Length=len(content))
        handler.wfile.write(content[:stop])

    return answer


def as_encoding(handler: Handler, content: bytes) -> None:
    """As servers do that take the ending `.tgz` for an encoding."""
    handler.head(200, Content_Length=len(content), Content_Encoding="x-gzip", Content_Type="application/x-tar")
    handler.wfile.write(content)


def wrong_byte(handler: Handler, content: bytes) -> None:
    serve(handler, b"!" + content[1:])


def wrong_range(handler: Handler, content: bytes) -> None:
    handler.head(206, Content_Length=len(content), Content_Range=f"bytes 0-{len(content) - 1}/{len(content)}")
    handler.wfile.write(content)


def slowly(handler: Handler, content: bytes) -> None:
    time.sleep(0.3)
    serve(handler, content)
