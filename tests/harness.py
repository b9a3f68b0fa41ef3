"""Running commands as tests do: in-process, with streams and an environment of their own, or as the installed scripts."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from xml.etree.ElementTree import Element

from stratuslab.commands.completion_scripts import MODULES
from stratuslab.commands.main import main
from stratuslab.environment import Environment

CHECKOUT = Path(__file__).parents[1]
TTYLINUX = "BN1EEkPiBx87_uLj2-sdybSI-Xb"


@dataclass(frozen=True)
class Ran:
    """What a command did: its exit status and what it wrote."""

    status: int
    out: str
    err: str


def no_name(address: str) -> str:
    """A name service that knows nobody."""
    raise OSError(f"no name for {address}")


class Terminal(io.StringIO):
    """A stream that a person reads or writes."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@dataclass
class Shell:
    """A home directory and an environment, in which commands are run.

    Calling it runs a command in-process: ``shell("describe", "165")``. Everything of the real environment that could leak in
    is left out.
    """

    home: Path
    environ: dict[str, str] = field(default_factory=dict)
    names: Callable[[str], str] = no_name
    clock: Callable[[], float] = time.time
    terminal: bool = False

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "STRATUSLAB_LOCAL_DIR": str(self.home / "cloud"),
            "STRATUSLAB_LOCAL_ADDRESSES": os.environ.get("STRATUSLAB_LOCAL_ADDRESSES", str(self.home / "addresses")),
            **self.environ,
        }

    def __call__(self, command: str, *arguments: str, stdin: str = "") -> Ran:
        stream = Terminal if self.terminal else io.StringIO
        out, err = stream(), stream()
        environment = Environment(stream(stdin), out, err, self.environment(), self.clock, self.names)
        module = f"{command}_instance" if f"{command}_instance" in MODULES else command
        status = main(import_module(f"stratuslab.commands.{module}").COMMAND, list(arguments), environment)
        return Ran(status, out.getvalue(), err.getvalue())

    def script(
        self, name: str, *arguments: str, stdin: str | None = None, environ: Mapping[str, str] | None = None, timeout: float = 60
    ) -> Ran:
        """Run a script of bin/ as a process: with this Python, and the package of this checkout."""
        environment = {**self.environment(), "PYTHONPATH": str(CHECKOUT), **(environ or {})}
        done = subprocess.run(
            [sys.executable, str(CHECKOUT / "bin" / name), *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env=environment,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def begin(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """A script of bin/ that runs beside the test, without standard input."""
        return subprocess.Popen(
            [sys.executable, str(CHECKOUT / "bin" / name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environment(), "PYTHONPATH": str(CHECKOUT)},
        )


def leaves(element: Element, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of a document as its path (``TEMPLATE/NIC/IP``) and text, in order; repeated elements stay apart."""
    for child in element:
        below = f"{path}{child.tag}"
        if len(child):
            yield from leaves(child, f"{below}/")
        else:
            yield below, (child.text or "").strip()


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until the condition is met, and fail after that time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


def lives(process: int) -> bool:
    """Whether there is such a process that has not ended; one that nobody has waited for has ended."""
    try:
        os.kill(process, 0)
        return Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()
