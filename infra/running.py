"""The whole system on this machine, and a receiver of its messages, for as long as a check takes. For the scripts beside it."""

import contextlib
import hashlib
import http.server
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

START_DEADLINE = 600  # seconds; `cargo run` may have to compile


@contextlib.contextmanager
def running(binary, folder):
    """`local` with its demo reports. Gives what it wrote for scripts."""
    data = folder / "data"
    with (folder / "local.log").open("wb") as log:
        process = subprocess.Popen(
            [*command(binary), "--port", "0", "--data", data, "--retry-every", "20s", "--no-limits"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        # It writes the file when it answers, in one piece but for a moment in which the file is empty.
        written = data / "local.env"
        wait_for(lambda: written.exists() and "ADMIN_TOKEN=" in written.read_text(), START_DEADLINE, process, folder)
        yield dict(line.split("=", 1) for line in written.read_text().splitlines())
        if process.poll() is not None:
            end_of(folder, "has ended")
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def command(binary):
    return [binary] if binary else ["cargo", "run", "--quiet", "--package", "local", "--"]


def wait_for(holds, seconds, process, folder):
    deadline = time.monotonic() + seconds
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            end_of(folder, "does not start")
        time.sleep(0.1)


def end_of(folder, what):
    sys.exit("\n".join([*log_of(folder)[-40:], f"{Path(sys.argv[0]).name}: `local` {what}."]))


def log_of(folder):
    return (folder / "local.log").read_text(errors="replace").splitlines()


@contextlib.contextmanager
def receiver():
    """A receiver of messages, which answers as receivers do: well, badly, and with what is no text. Gives its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()


class Receiver(http.server.BaseHTTPRequestHandler):
    ANSWERS = [(200, b"thank you"), (204, b""), (500, b"\xff\x00" * 4000), (503, b""), (302, b""), (404, "nö".encode())]

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        # The root always takes what it gets.
        at = int(hashlib.sha256(self.path.encode()).hexdigest(), 16) if self.path != "/" else 0
        status, body = self.ANSWERS[at % len(self.ANSWERS)]
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nobody reads it."""
