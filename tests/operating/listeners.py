"""Listeners that hear what Airflow sends: mail, StatsD datagrams, OTLP over HTTP."""

from __future__ import annotations

import email
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import wait_until


@dataclass
class Mailbox:
    """An SMTP server that keeps what it is given."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))
        return "250 taken"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]).replace("\n", "") for mail in self.mails]

    def text(self, number: int = -1) -> str:
        mail = self.mails[number]
        return "\n".join(
            str(part.get_content())
            for part in mail.walk()
            if part.get_content_maintype() == "text"  # type: ignore[attr-defined]
        )


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    from aiosmtpd.controller import Controller

    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        box.port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def smtp_notifier(**more: Any) -> Any:
    """One that writes to the mailbox."""
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return SmtpNotifier(to="duty@example.com", **more)


@dataclass
class Datagrams:
    port: int
    lines: list[str] = field(default_factory=list)

    def names(self) -> set[str]:
        return {line.partition(":")[0] for line in self.lines}

    def hear_out(self) -> None:
        """Until all that was sent by now is here: on one machine datagrams come in the order in which they went."""
        last = f"the last of {len(self.lines)}:0|c"
        self.send(last.encode())
        wait_until(lambda: last in self.lines)

    def send(self, datagram: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(datagram, ("127.0.0.1", self.port))


@contextmanager
def statsd() -> Iterator[Datagrams]:
    """Every datagram a StatsD client sends, one line per metric."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        heard = Datagrams(listener.getsockname()[1])

        def hear() -> None:
            while data := listener.recv(65536):
                heard.lines.extend(data.decode().splitlines())

        thread = threading.Thread(target=hear, daemon=True)
        thread.start()
        yield heard
        heard.send(b"")
        thread.join(5)


@dataclass
class Exports:
    """What an OpenTelemetry exporter posted."""

    port: int
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    def metrics(self) -> dict[str, list[Any]]:
        """Data points by the metric's name."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        found: dict[str, list[Any]] = {}
        for path, body in self.bodies:
            if path == "/v1/metrics":
                request = ExportMetricsServiceRequest.FromString(body)
                for scope in (s for r in request.resource_metrics for s in r.scope_metrics):
                    for metric in scope.metrics:
                        data = getattr(metric, metric.WhichOneof("data"))
                        found.setdefault(metric.name, []).extend(data.data_points)
        return found

    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        requests = [ExportTraceServiceRequest.FromString(b) for path, b in self.bodies if path == "/v1/traces"]
        return [span for q in requests for r in q.resource_spans for s in r.scope_spans for span in s.spans]


@contextmanager
def otlp() -> Iterator[Exports]:
    """An OpenTelemetry collector that keeps what it is given."""
    import gzip

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            heard.bodies.append((self.path, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        heard = Exports(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield heard
        server.shutdown()
