"""The options of commands that log in to instances: as whom, with which key, at which address."""

from __future__ import annotations

import argparse
from typing import Any

from stratuslab.commands.command_declaration import add_wait_timeout

SSH_OPTION = "--ssh-option"
LOGIN_PATIENCE = 120.0
"""Seconds that an instance is waited for, where --wait-timeout says nothing else."""


def add_login_options(parser: argparse.ArgumentParser) -> None:
    """Add the options. ``-p`` is the port's, as in ssh, so the password has no short option."""
    login = parser.add_argument_group("login")
    add = login.add_argument
    add("-k", "--key", metavar="FILE", help="private SSH key (default: the one that it was started with)")
    add("-l", "--login", metavar="USER", help="user on the machine (default: the template's, or root)")
    add("--ssh-client", choices=("openssh", "paramiko"), help="SSH client to use (default: ssh if installed)")
    add(
        SSH_OPTION,
        nargs=argparse.REMAINDER,
        action=_SSHWords,
        default=[],
        metavar="ARG",
        help="pass all following words, up to --, to ssh",
    )
    add("--forget-host-key", action="store_true", help="accept a changed host key")
    add_wait_timeout(login, LOGIN_PATIENCE)
    where = parser.add_argument_group("address and port")
    add = where.add_argument
    add("-p", "--port", type=_port, metavar="N", help="port of the SSH server on the machine (default 22)")
    add("-J", dest="jump", default="", metavar="HOST", help="go through [USER@]HOST[:PORT], several separated by commas")
    add = where.add_mutually_exclusive_group().add_argument
    add("--nic", type=count, metavar="N", help="use network interface N only, counted from 0")
    add("--address", metavar="HOST", help="use this address or name instead of the cloud's")
    add = where.add_argument
    add("--pat-enable", action="store_true", help="look the port up in StratusLab's port translation")
    add("--pat-service-host", metavar="HOST", help="port translation service (default: the endpoint's host)")
    add("--pat-gateway-host", metavar="HOST", help="gateway host (default: the endpoint's host)")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536):
        # The text is not shown: -p is the password's with the other commands.
        raise argparse.ArgumentTypeError("expected a port from 1 to 65535 (the option for a password is --password here)")
    return int(text)


def count(text: str) -> int:
    """A number from 0 on."""
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number")
    return int(text)


class _SSHWords(argparse._ExtendAction):
    """The words for ssh: the first --ssh-option takes all words that follow, including further --ssh-option."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *option: Any) -> None:
        words = [word.removeprefix(f"{SSH_OPTION}=") for word in values if word != SSH_OPTION]
        super().__call__(parser, namespace, words, *option)
