"""An OpenNebula 7.4.0 that answers from recordings, so that an answer costs next to nothing: for measuring clients.

    python benchmarks/replay_server.py [--machines N] [--latency S] [--serial]

It prints its endpoint. ``--latency`` is how long each call takes, ``--serial`` lets calls wait for each other.
"""

from __future__ import annotations

import argparse
import re
import socket
import threading
import time
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from xml.sax.saxutils import escape, unescape

RECORDINGS = Path(__file__).parents[1] / "tests" / "wire" / "opennebula-7.4.0"
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><methodResponse><params><param><value><array><data><value><boolean>1</boolean></value>'
)
TAIL = "<value><i4>0</i4></value></data></array></value></param></params></methodResponse>"

LABELS = "<USER_TEMPLATE><LABELS><![CDATA[batch,nightly]]></LABELS></USER_TEMPLATE>"


class Replay:
    """The answers, for so many machines."""

    def __init__(self, machines: int) -> None:
        self._machines = machines
        self._ids = count(machines)
        page = unescape((RECORDINGS / "64-vmpool.info-page-0-5.response.xml").read_text())
        machine = page[page.index("<VM>") : page.index("</VM>") + 5].replace("<USER_TEMPLATE/>", LABELS)
        disk = machine[machine.index("<DISK>") : machine.index("</DISK>") + 7]
        machine = machine.replace(disk, disk + disk.replace("[0]", "[1]", 1))  # root and swap, as most have
        self._machine = escape(machine)
        monitoring = (RECORDINGS / "vmpool.monitoring.response.xml").read_text()
        self._record = monitoring[monitoring.index("&lt;MONITORING&gt;") : monitoring.index("&lt;/MONITORING&gt;") + 19]
        whole = (RECORDINGS / "14-vm.info-RUNNING.response.xml").read_text()
        self._whole = whole[whole.index("&lt;VM&gt;") : whole.index("&lt;/VM&gt;") + len("&lt;/VM&gt;")]

    def answer(self, method: str, numbers: tuple[int, ...]) -> bytes:
        match method, numbers:
            case "one.system.version", _:
                return _text("7.4.0")
            case "one.vmpool.info", (_, start, end, _):
                first, size = (0, self._machines) if start < 0 else (start, -end)
                return self._page(first, size)
            case "one.vmpool.infoextended", _:  # a run looks for machines that started late
                return _text("&lt;VM_POOL/&gt;")
            case "one.vmpool.monitoring", _:
                return self._monitoring
            case "one.vm.info", (number,):
                return _text(re.sub(r"&lt;ID&gt;\d+", f"&lt;ID&gt;{number}", self._whole, count=1))
            case "one.vm.allocate", _:
                return _integer(next(self._ids))
            case "one.vm.action", _:
                return _integer(numbers[-1])
        raise SystemExit(f"no answer to {method}{numbers}")

    @cache  # noqa: B019
    def _page(self, first: int, size: int) -> bytes:
        numbers = range(self._machines - 1 - first, max(self._machines - 1 - first - size, -1), -1)
        machines = (
            self._machine.replace("&lt;ID&gt;18", f"&lt;ID&gt;{number}")
            .replace("pend-2", f"worker-{number}")
            .replace("10.0.0.13", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
            for number in numbers
        )
        return _text(f"&lt;VM_POOL&gt;{''.join(machines)}&lt;/VM_POOL&gt;")

    @cached_property
    def _monitoring(self) -> bytes:
        records = (re.sub(r"(ID&gt;&lt;!\[CDATA\[)\d+", rf"\g<1>{number}", self._record) for number in range(self._machines))
        return _text(f"&lt;MONITORING_DATA&gt;{''.join(records)}&lt;/MONITORING_DATA&gt;")


def _text(escaped: str) -> bytes:
    return f"{HEAD}<value><string>{escaped}</string></value>{TAIL}".encode()


def _integer(number: int) -> bytes:
    return f"{HEAD}<value><i4>{number}</i4></value>{TAIL}".encode()


def serve(connection: socket.socket, replay: Replay, latency: float, turn: threading.Lock | None) -> None:
    with connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            headers = [line.lower(), *iter(lambda: stream.readline().lower().strip(), b"")]
            length = next(int(header.partition(b":")[2]) for header in headers if header.startswith(b"content-length"))
            body = stream.read(length)
            method = re.search(rb"<methodName>([\w.]+)", body)
            assert method is not None
            answer = replay.answer(method[1].decode(), tuple(map(int, re.findall(rb"<(?:int|i4)>(-?\d+)<", body))))
            if latency and turn is not None:
                with turn:
                    time.sleep(latency)
            elif latency:
                time.sleep(latency)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            if b"connection: close" in headers:
                return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--serial", action="store_true")
    options = parser.parse_args()
    replay = Replay(options.machines)
    turn = threading.Lock() if options.serial else None
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/RPC2", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(connection, replay, options.latency, turn), daemon=True).start()


if __name__ == "__main__":
    main()
