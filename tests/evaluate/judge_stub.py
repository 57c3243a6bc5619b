"""An OpenAI-compatible endpoint on this machine: it says what a test has it say, and remembers."""

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Says:
    """One response: `text` as a chat completion, or `raw` as the whole body."""

    text: str | None = None
    status: int = 200
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """How long it takes to answer."""

    @property
    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return json.dumps(
            {"choices": [{"message": {"content": self.text}, "finish_reason": "stop"}]}
        ).encode()


@dataclass
class Stub:
    """A running endpoint."""

    base_url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of all requests, with the header `authorization` beside them."""

    @property
    def contents(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.asked]


def verdict(value: Any, reason: str = "because") -> Says:
    return Says(json.dumps({"reason": reason, "verdict": value}))


def judged_answer(content: str, name: str = "answer to judge") -> str:
    """The text that stands in a block of a question."""
    found = re.search(rf"=== {name} \w+\n(.*)\n=== end of {name}", content, re.DOTALL)
    assert found, content
    return found[1]


@contextmanager
def endpoint(answer: Callable[[str, int], Says]):
    """Serve `answer(content, number of the request)` on a free port."""
    lock, stub = threading.Lock(), Stub("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.path == "/v1/chat/completions"
            with lock:
                stub.asked.append({**body, "authorization": self.headers.get("authorization")})
                number = len(stub.asked)
            says = answer(body["messages"][0]["content"], number)
            time.sleep(says.seconds)
            try:
                self.send_response(says.status)
                for name, value in says.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(says.body)))
                self.end_headers()
                self.wfile.write(says.body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # whoever asked has had enough

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
