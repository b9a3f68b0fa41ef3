"""Texts of a megabyte from a hostile server, in every output form: the time grows with the text and not faster."""

from __future__ import annotations

import time
from xml.sax.saxutils import escape

import pytest

from tests.fakes.opennebula_answers import failure, machine, pool, success
from tests.fakes.scripted_server import Conversation, Scripted, head
from tests.harness import Shell

# What each pattern of redaction, message cleaning, diagnosis and layout takes longest for, when it is repeated.
UNITS = (
    *(" ", "\n", "a", "a.", "a-", "PASS", "aPWDa", "token ", "password", 'PASS="\\', "a://b:", "-----BEGIN ", "-----END A", "'"),
    *('"', "\\", "<", "|", "M|password|", "authorization ", "Error parsing: ", "ERROR MESSAGE --8<--", "[HOST] ", "LOG I 1 "),
    *("DEPLOY ", "image ", "kvm ", "limit of 1 ", "1,", "\u0301", "\u3042", "\u200b", "\xad", "See VM log "),
)
LENGTH = 1 << 20
LONG = "".join((unit * LENGTH)[: LENGTH // len(UNITS)] for unit in UNITS)
LIMIT = 5.0  # seconds of CPU, the server's included; about 0.5 are needed

FORMS = (
    "",
    "-v",
    "-vv",
    "-vvv",
    "--format json",
    "--format csv --columns name,reason,message,owner,networks,labels",
    "--columns name,cause,reason --sort name --filter name~x",
)
PLACES = ("NAME", "UNAME", "USER_TEMPLATE/ERROR", "TEMPLATE/CONTEXT/NOTE", "TEMPLATE/NIC/NETWORK")


def document(place: str) -> str:
    tags = place.split("/")
    element = "".join(f"<{tag}>" for tag in tags) + f"x{escape(LONG)}" + "".join(f"</{tag}>" for tag in reversed(tags))
    return machine(7, lcm=36).replace("<UID>", f"{element}<UID>", 1)  # the first of several elements counts


@pytest.mark.parametrize("place", PLACES)
def test_a_machine_is_shown_in_linear_time(place: str, shell: Shell, scripted: Scripted) -> None:
    shown = document(place)

    def answer(conversation: Conversation) -> None:
        call = conversation.read_request().body
        body = success("7.4.0") if b"system.version" in call else pool([shown]) if b"vmpool" in call else success(shown)
        conversation.send(head(Content_Length=len(body)) + body)

    shell.environ.update(STRATUSLAB_ENDPOINT=f"{scripted(answer).url}/RPC2", STRATUSLAB_USERNAME="a", STRATUSLAB_PASSWORD="b")
    for terminal in (False, True):
        shell.terminal = terminal
        for form in FORMS:
            begin = time.process_time()
            ran = shell("describe", *form.split())
            seconds = time.process_time() - begin
            assert ran.status == 0, (form, ran.err[-500:])
            assert seconds < LIMIT, f"{form}: {seconds:.1f} s"


def test_a_refusal_is_shown_in_linear_time(shell: Shell, scripted: Scripted) -> None:
    def answer(conversation: Conversation) -> None:
        body = success("7.4.0") if b"system.version" in conversation.read_request().body else failure(LONG, 2048)
        conversation.send(head(Content_Length=len(body)) + body)

    shell.environ.update(STRATUSLAB_ENDPOINT=f"{scripted(answer).url}/RPC2", STRATUSLAB_USERNAME="a", STRATUSLAB_PASSWORD="b")
    begin = time.process_time()
    ran = shell("kill", "7")
    assert time.process_time() - begin < LIMIT
    assert (ran.status, len(ran.err) < 1 << 17) == (1, True)
