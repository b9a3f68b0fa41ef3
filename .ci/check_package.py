"""Install each built distribution of a directory into an empty environment of its own, and run every script it brings.

Usage: check_package.py DIRECTORY
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
SCRIPTS = sorted(path.name for path in (CHECKOUT / "bin").iterdir())


def call(*command: str, directory: str) -> str:
    """What the command writes, run away from the checkout; a failure of it is ours."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, env=environ, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} gave {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def guest_files(package: Path) -> list[str]:
    """The files that the tiny image's guest is made of."""
    guest = package / "local" / "tiny" / "guest"
    return sorted(str(path.relative_to(guest)) for path in guest.rglob("*") if path.is_file())


def check(distribution: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        programs = Path(directory, "bin")
        call(str(programs / "pip"), "install", "-q", str(distribution), directory=directory)
        version = call(str(programs / "python"), "-c", "import stratuslab; print(stratuslab.__version__)", directory=directory)
        call(
            str(programs / "python"),
            "-c",
            "from importlib.resources import files as f; f('stratuslab').joinpath('py.typed').read_text()",
            directory=directory,
        )
        where = call(str(programs / "python"), "-c", "import stratuslab; print(stratuslab.__path__[0])", directory=directory)
        assert guest_files(Path(where.strip())) == guest_files(CHECKOUT / "stratuslab"), "files of the tiny image are missing"
        for script in SCRIPTS:
            usage = call(str(programs / script), "--help", directory=directory)
            assert script in usage, usage
            shown = call(str(programs / script), "--version", directory=directory)
            assert version.strip() in shown, shown
            page = Path(directory, "share", "man", "man1", f"{script}.1").read_text("utf-8")
            assert script.replace("-", "\\-") in page, page
        for shell in ("bash", "zsh", "fish"):
            completion = call(str(programs / "stratus-config"), "--completion", shell, directory=directory)
            assert all(script in completion for script in SCRIPTS), completion
        types = call(str(programs / "stratus-run-instance"), "--list-types", directory=directory)
        assert "m1.small" in types, types
    print(f"{distribution.name}: installs, and its {len(SCRIPTS)} scripts run, with man pages and completions")


def main() -> None:
    built = sorted(Path(sys.argv[1]).resolve().iterdir())
    assert {path.name.rpartition(".")[2] for path in built} == {"whl", "gz"}, built
    for distribution in built:
        check(distribution)


main()
