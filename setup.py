"""What setuptools needs to know; the build system and the settings of the tools are in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """The version that stratuslab/__init__.py states, read as text: nothing of the package may be imported to build it."""
    stated = re.search(r'^__version__ = "(.+)"$', (HERE / "stratuslab" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    if stated is None:
        raise SystemExit("stratuslab/__init__.py states no __version__")
    return stated[1]


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
    "trustme>=1.1",
]
DOCS = ["sphinx>=7.2"]
TYPES = ["lxml-stubs", "mypy>=1.13", "types-jsonschema", "types-paramiko", "types-requests", "types-setuptools", "types-tabulate"]
DEV = [*TEST, *DOCS, *TYPES, "build>=1.0", "ruff>=0.9", "tox>=4.12"]

setup(
    name="stratuslab-client",
    version=version(),
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
    package_data={"stratuslab": ["py.typed"]},
    scripts=[
        "bin/stratus-config",
        "bin/stratus-connect-instance",
        "bin/stratus-copy-config",
        "bin/stratus-describe-instance",
        "bin/stratus-kill-instance",
        "bin/stratus-local-cloud",
        "bin/stratus-run-instance",
        "bin/stratus-shutdown-instance",
    ],
    python_requires=">=3.10",
    # The lowest versions that the tests pass with on Python 3.10 (tox -e lowest).
    install_requires=[
        "lxml>=4.9",
        "paramiko>=3.5.1",
        "requests>=2.28",
        "tabulate>=0.9",
    ],
    extras_require={"test": TEST, "docs": DOCS, "types": TYPES, "dev": DEV},
    zip_safe=False,
)
