"""A server's message without its noise."""

from __future__ import annotations

import pytest

from stratuslab.diagnosis.message_cleaning import ServerMessage, clean

DATE = (2026, 11, 22, 6, 39, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ServerMessage()),
        ("no space left", ServerMessage("no space left")),
        (
            "Sun Nov 22 06:39:10 2026: DEPLOY: Error: Failed to create domain from /var/lib/one//datastores/0/2/deployment.0 "
            "(dummy driver:... see more details in VM log",
            ServerMessage(
                "Failed to create domain from /var/lib/one//datastores/0/2/deployment.0 (dummy driver:...", "BOOT", DATE
            ),
        ),
        (
            "Sun Nov 22 06:39:10 2026: [HOST] Not enough CPU on hosts: 0,1,2",
            ServerMessage("Not enough CPU on hosts: 0,1,2", "", DATE),
        ),
        (
            "Sun Nov  1 06:39:10 2026 : Error executing image transfer script: ERROR MESSAGE --8<------\n"
            "Image sha1 checksum check failed.\nERROR MESSAGE ------>8--\n",
            ServerMessage("Image sha1 checksum check failed.", "TRANSFER", (2026, 11, 1, 6, 39, 10)),
        ),
        ("Error executing image transfer script: no such image", ServerMessage("no such image", "TRANSFER")),
        ("Error executing image transfer script:", ServerMessage("", "TRANSFER")),
        (
            "DEPLOY: INFO: ERROR MESSAGE --8<------ virsh failed ERROR MESSAGE ------>8--  ExitCode: 1",
            ServerMessage("virsh failed", "BOOT"),
        ),
        ("MIGRATE: Could not migrate", ServerMessage("Could not migrate", "MIGRATE")),
        ("two\n  lines", ServerMessage("two lines")),
        ("Sun Foo 99 06:39:10 2026: x", ServerMessage("Sun Foo 99 06:39:10 2026: x")),
        ("DEPLOYMENT: of something", ServerMessage("DEPLOYMENT: of something")),
    ],
)
def test_noise(text: str, message: ServerMessage) -> None:
    assert clean(text) == message
