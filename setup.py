"""What setuptools needs to know; the build system and the settings of the tools are in pyproject.toml."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


def version() -> str:
    """The version that stratuslab/version.py states, read as text: what asks for it need not import the package."""
    stated = re.search(r'^__version__ = "(.+)"$', (HERE / "stratuslab" / "version.py").read_text("utf-8"), re.MULTILINE)
    if stated is None:
        raise SystemExit("stratuslab/version.py states no __version__")
    return stated[1]


class Build(build_py):
    """The package, and what is made from its commands' parsers: man pages, and completions for shells."""

    def run(self) -> None:
        super().run()
        sys.path.insert(0, str(HERE))  # the parsers need nothing but the standard library
        from stratuslab.commands import completion_scripts
        from stratuslab.commands.man_page import man_page, statuses

        pages = Path(self.get_finalized_command("build").build_base, "man1")  # type: ignore[attr-defined]
        pages.mkdir(parents=True, exist_ok=True)
        commands = completion_scripts.commands()
        names = [command.prog for command in commands]
        exit_statuses = statuses((HERE / "docs" / "exit-statuses.rst").read_text("utf-8"))
        stated = os.environ.get("SOURCE_DATE_EPOCH") or (HERE / "CHANGELOG.rst").stat().st_mtime
        date = time.strftime("%Y-%m-%d", time.gmtime(float(stated)))
        for command in commands:
            pages.joinpath(f"{command.prog}.1").write_text(man_page(command, names, exit_statuses, date), "utf-8")
        self.distribution.data_files = [("share/man/man1", sorted(map(str, pages.glob("*.1"))))]
        if self.editable_mode:
            return
        ready = Path(self.build_lib, "stratuslab", "commands", completion_scripts.READY.name)
        ready.mkdir(parents=True, exist_ok=True)
        for shell in completion_scripts.SHELLS:
            with contextlib.suppress(ImportError):  # built without isolation, where there is no shtab
                ready.joinpath(shell).write_text(completion_scripts.make(shell), "utf-8")


VERIFY = ["signxml>=5.1"]
# pyone is OpenNebula's own client: the embedded cloud must be able to serve it.
TEST = [
    "hypothesis>=6.75",
    "jsonschema>=4.18",
    "pexpect>=4.9; sys_platform != 'win32'",
    "pyone>=6.8",
    "pytest>=8.0",
    "pytest-timeout>=2.2",
    "pytest-xdist>=3.5",
    "shtab>=1.9",
    *VERIFY,
    "trustme>=1.1",
]
DOCS = ["codespell[toml]>=2.3", "furo>=2024.1.29", "sphinx>=7.2", "sphinx-copybutton>=0.5.2"]
TYPES = ["lxml-stubs", "mypy>=1.13", "types-jsonschema", "types-paramiko", "types-requests", "types-setuptools", "types-tabulate"]
DEV = [*TEST, *DOCS, *TYPES, "build>=1.0", "codespell[toml]>=2.3", "pre-commit>=3.5", "ruff>=0.9", "tox>=4.12"]

setup(
    name="stratuslab-client",
    version=version(),
    cmdclass={"build_py": Build},
    description="Start, watch, reach and stop virtual machines on StratusLab and OpenNebula clouds, or on an embedded one",
    long_description=(HERE / "README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["cloud", "IaaS", "OpenNebula", "StratusLab", "virtual machines", "XML-RPC"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: System :: Clustering",
        "Topic :: System :: Distributed Computing",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["stratuslab", "stratuslab.*"]),
    package_data={
        "stratuslab": ["py.typed"],
        "stratuslab.local.api": ["catalogue.css"],
        "stratuslab.local.tiny": ["guest/*", "guest/**/*"],
    },
    entry_points={"pytest11": ["stratuslab.testing.pytest_plugin = stratuslab.testing.pytest_plugin"]},
    scripts=sorted(str(path.relative_to(HERE)) for path in HERE.glob("bin/stratus-*")),
    python_requires=">=3.10",
    # The lowest versions that the tests pass with on Python 3.10 (tox -e lowest).
    install_requires=[
        "lxml>=5.2.1",
        "paramiko>=3.5.1",
        "pycdlib>=1.14",
        "requests>=2.28",
        "tabulate[widechars]>=0.9",
    ],
    extras_require={
        "keyring": ["keyring>=23"],
        "verify": VERIFY,
        "testing": ["pytest>=8.0"],
        "test": TEST,
        "docs": DOCS,
        "types": TYPES,
        "dev": DEV,
    },
    zip_safe=False,
)
