"""A real SMTP server on loopback that records the mails it accepts."""

import email
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage


class MailServer(socketserver.ThreadingTCPServer):
    """The recipients and mails that were accepted, in order; `answer` is the reply to the end of each mail."""

    daemon_threads = True

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.answer = "250 accepted"
        super().__init__(("127.0.0.1", 0), _Session)
        self.port = self.server_address[1]

    @contextmanager
    def running(self) -> Iterator["MailServer"]:
        """Serves until the block ends."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Session(socketserver.StreamRequestHandler):
    """One connection: the commands of RFC 5321 that `smtplib` sends without a login."""

    server: MailServer

    def handle(self) -> None:
        self._reply("220 loopback")
        recipients: list[str] = []
        while line := self.rfile.readline().decode().strip():
            command = line[:4].upper()
            if command == "RCPT":
                recipients.append(line.partition(":")[2].strip("<> "))
            if command == "DATA":
                self._reply("354 end with a dot")
                self._take_mail(recipients)
                continue
            self._reply("221 bye" if command == "QUIT" else "250 ok")
            if command == "QUIT":
                return

    def _take_mail(self, recipients: list[str]) -> None:
        lines = []
        while (line := self.rfile.readline()).rstrip(b"\r\n") != b".":
            lines.append(line.removeprefix(b"."))
        if self.server.answer.startswith("2"):
            mail = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
            assert isinstance(mail, EmailMessage)
            self.server.mails.append((recipients, mail))
        self._reply(self.server.answer)

    def _reply(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
