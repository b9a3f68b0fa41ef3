"""Reading a long listing: time and memory of our streaming reader, against the standard library's XML-RPC and ElementTree.

    python benchmarks/long_listing.py [MACHINES]

Each reader runs in a process of its own on the same answer; memory is the process's peak, less that of one machine.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.sax.saxutils import escape

CHECKOUT = Path(__file__).parents[1]
RECORDING = CHECKOUT / "tests/wire/opennebula-7.4.0/60-vmpool.info-1vm.inner.xml"

HEAD = '<?xml version="1.0" encoding="UTF-8"?><methodResponse><params><param><value><array><data>'
HEAD += "<value><boolean>1</boolean></value><value><string>"
TAIL = "</string></value><value><i4>0</i4></value></data></array></value></param></params></methodResponse>"


def write_answer(path: Path, machines: int) -> None:
    machine = RECORDING.read_text().partition("<VM_POOL>")[2].partition("</VM_POOL>")[0]
    with path.open("w") as file:
        file.write(HEAD + escape("<VM_POOL>"))
        for _ in range(machines):
            file.write(escape(machine))
        file.write(escape("</VM_POOL>") + TAIL)


def ours(path: Path) -> int:
    from stratuslab.cloud.reply import documents
    from stratuslab.opennebula.instance import Instance

    with path.open("rb") as file:
        answer = documents(iter(lambda: file.read(1 << 16), b""), "VM")
        return sum(1 for machine in map(Instance, answer) if machine.state_label and machine.addresses and machine.name)


def standard(path: Path) -> int:
    from xml.etree import ElementTree
    from xmlrpc.client import loads

    from stratuslab.opennebula.instance import Instance

    pool = ElementTree.fromstring(loads(path.read_bytes())[0][0][1])  # type: ignore[index]
    return sum(1 for machine in map(Instance, pool) if machine.state_label and machine.addresses and machine.name)


def measured(reader: str, path: Path) -> tuple[float, int]:
    done = subprocess.run([sys.executable, __file__, reader, str(path)], capture_output=True, text=True, check=True)
    taken, peak = done.stdout.split()
    return float(taken), int(peak)


def main() -> None:
    machines = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as directory:
        one, many = Path(directory, "one"), Path(directory, "many")
        write_answer(one, 1)
        write_answer(many, machines)
        print(f"{machines} machines, {many.stat().st_size >> 20} MB")
        for reader in ("ours", "standard"):
            taken, peak = min(measured(reader, many) for _ in range(3))
            _, least = measured(reader, one)
            print(f"{reader:10} {taken:6.2f} s   {(peak - least) / 1024:7.1f} MB more than for one machine")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.path.insert(0, str(CHECKOUT))
        begin = time.perf_counter()
        assert {"ours": ours, "standard": standard}[sys.argv[1]](Path(sys.argv[2])) > 0
        print(time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    else:
        main()
