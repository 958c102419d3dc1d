"""What an operator runs beside the service: takes spans over OTLP, and keeps them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENCE = 30.0


class Collector:
    """An OTLP receiver on a free port."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._came = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def trace(self, trace_id: bytes, n_spans: int) -> list[Span]:
        """Wait until a trace has that many spans; all that came of it."""
        end = time.monotonic() + PATIENCE
        with self._came:
            while True:
                found = [span for span in self._spans if span.trace_id == trace_id]
                left = end - time.monotonic()
                if len(found) >= n_spans or left <= 0:
                    return found
                self._came.wait(left)

    def _take(self, request: ExportTraceServiceRequest) -> None:
        with self._came:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self._spans += scope.spans
            self._came.notify_all()


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector that takes spans until the block ends."""
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        thread.join()
        collector.server.server_close()
