"""A server on this machine that misbehaves as it is told."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

BODY = np.random.default_rng(0).bytes(400_000)


class Server(ThreadingHTTPServer):
    """Serves ``body``, or what ``files`` has at an address, and misbehaves once for each word in ``plan``."""

    daemon_threads = True

    def __init__(self, body: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.files, self.plan, self.asked = body, {}, [], []
        self.stop = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the tests


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        trick = server.plan.pop(0) if server.plan else ""
        body = server.files.get(self.path, server.body)
        if trick.isdigit() or body is None:
            return self.send_error(int(trick or 404))
        if trick.startswith("to "):
            self.send_response(302)
            self.send_header("Location", trick[3:])
            self.end_headers()
            return None
        self.send_response(200)
        if trick == "corrupt":
            body = body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]
        length = {"says less": len(body) // 2, "says more": len(body) + 50, "says huge": 10**13}.get(trick, len(body))
        if trick != "no length":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if trick in ("truncate", "stall") else body)
        self.wfile.flush()
        if trick == "stall":
            server.stop.wait(5)
        return None
