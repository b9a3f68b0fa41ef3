"""stratus-run-instance: what is sent, what is told, and what happens to bad input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.stored_records import ADMINISTRATOR
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage, configure
from tests.harness import TTYLINUX, Shell

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q user@example.org"


def vectors(stage: Stage, number: int, name: str) -> list[dict[str, str]]:
    return stage.engine.instance(ADMINISTRATOR, number).vectors(name)


def attribute(stage: Stage, number: int, name: str) -> str:
    return stage.engine.instance(ADMINISTRATOR, number).text(name)


def test_quiet_is_for_scripts(alice: Shell, stage: Stage) -> None:
    configure(stage.engine, first_instance=5507, ranges={"public": ("134.158.75.75", 25)})
    ran = alice("run", "-q", "-n", "2", TTYLINUX)
    assert (ran.status, ran.err) == (0, "")
    # The machines are started side by side, so that either may be the first.
    assert sorted(ran.out.splitlines()) == ["5507, 134.158.75.75", "5508, 134.158.75.76"]


def test_several_machines_are_told_in_order(alice: Shell, stage: Stage, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    ran = alice("run", "-n", "20", "-o", str(ids), TTYLINUX)
    assert ran.status == 0
    told = [line for line in ran.out.splitlines() if "Machine" in line]
    assert [line.split()[2] for line in told] == [str(place) for place in range(1, 21)]
    numbers = [int(line.rstrip(")").split()[-1]) for line in told]
    assert sorted(numbers) == list(range(1, 21))
    assert sorted(int(line) for line in ids.read_text().splitlines()) == sorted(numbers)
    assert ran.out.splitlines()[3] == " :: Starting 20 machines"


def test_type_and_options_reach_the_cloud(alice: Shell, stage: Stage) -> None:
    ran = alice(
        "run", "-t", "c1.xlarge", "--ram", "4096", "--swap", "0", "--vm-cpu-amount", "0.5", "--vm-name", "a (b) é", TTYLINUX
    )
    assert ran.status == 0
    assert stage.engine.instance(ADMINISTRATOR, 1).name == "a (b) é"
    assert (attribute(stage, 1, "VCPU"), attribute(stage, 1, "CPU"), attribute(stage, 1, "MEMORY")) == ("4", "0.5", "4096")
    assert [disk.get("TYPE") for disk in vectors(stage, 1, "DISK")].count("swap") == 0


def test_the_public_key_and_the_context_reach_the_cloud(alice: Shell, stage: Stage, tmp_path: Path) -> None:
    pairs = tmp_path / "context"
    pairs.write_text('\nPLACE=Orsay = 91\nGREETING=it\'s "hot"\n')
    assert alice("run", "--context-file", str(pairs), "--context", "PLACE=Lyon#EMPTY=#PERCENT=100%", TTYLINUX).status == 0
    (context,) = vectors(stage, 1, "CONTEXT")
    assert context["SSH_PUBLIC_KEY"] == PUBLIC_KEY
    assert (context["PLACE"], context["GREETING"], context["PERCENT"]) == ("Lyon", 'it\'s "hot"', "100%")


def test_disks_never_share_a_target(alice: Shell, stage: Stage, serve: Serve) -> None:
    # Volumes are StratusLab's.
    alice.environ["STRATUSLAB_ENDPOINT"] = serve(profile="stratuslab-3").rpc
    ran = alice(
        "run",
        "--volatile-disk",
        "2",
        "--persistent-disk",
        "9ab1a1c1-0000-4000-8000-123456789abc",
        "--readonly-disk",
        TTYLINUX,
        TTYLINUX,
    )
    assert (ran.status, "has no volume" in ran.err) == (ExitStatus.INSTANCE_FAILED, True)
    targets = [disk["TARGET"] for disk in vectors(stage, 1, "DISK")]
    assert len(targets) == len(set(targets)) == 5


@pytest.mark.parametrize(("option", "network"), [((), "Public"), (("--local-ip",), "Local"), (("--private-ip",), "Private")])
def test_networks(alice: Shell, option: tuple[str, ...], network: str) -> None:
    ran = alice("run", *option, TTYLINUX)
    assert ran.status == 0
    assert f"     {network} ip: 127." in ran.out


def test_requested_address(alice: Shell) -> None:
    assert "     Public ip: 127.101.0.77\n" in alice("run", "--address", "127.101.0.77", TTYLINUX).out
    taken = alice("run", "--address", "127.101.0.77", TTYLINUX)
    assert taken.status == ExitStatus.FAILED
    assert "127.101.0.77" in taken.err


def test_a_key_pair_is_made_where_there_is_none(alice: Shell, stage: Stage) -> None:
    (alice.home / ".ssh" / "id_ed25519.pub").unlink()
    ran = alice("run", TTYLINUX)
    private = alice.home / ".stratuslab" / "id_ed25519"
    assert ran.status == 0
    assert ran.err.count("\n") == 1
    assert str(private) in ran.err
    assert private.stat().st_mode & 0o777 == 0o600
    (context,) = vectors(stage, 1, "CONTEXT")
    assert context["SSH_PUBLIC_KEY"] == private.with_suffix(".pub").read_text().strip()
    again = alice("run", TTYLINUX)
    assert (again.status, again.err) == (0, "")
    assert vectors(stage, 2, "CONTEXT")[0]["SSH_PUBLIC_KEY"] == context["SSH_PUBLIC_KEY"]


def test_one_question_to_the_marketplace_and_no_call_twice(alice: Shell) -> None:
    ran = alice("run", "-n", "3", "-vvv", TTYLINUX)
    assert ran.err.count("> GET ") == 1
    calls = [line.partition("(")[0] for line in ran.err.splitlines() if line.startswith("> one.")]
    assert calls.count("> one.system.version") == 1
    assert calls.count("> one.vm.allocate") == 3
    assert "secret" not in ran.err


def test_vv_shows_the_template_without_its_secrets(alice: Shell) -> None:
    ran = alice("run", "-vv", "--context", 'DB_PASSWORD=hun"ter2#PLACE=Orsay', TTYLINUX)
    assert 'DB_PASSWORD = "***"' in ran.err
    assert 'PLACE = "Orsay"' in ran.err
    assert "ter2" not in ran.err


def test_failure_in_the_middle_reports_what_was_started(alice: Shell, stage: Stage, tmp_path: Path) -> None:
    configure(stage.engine, ranges={"public": ("127.101.0.1", 2)})
    ids = tmp_path / "ids"
    ran = alice("run", "-n", "8", "-o", str(ids), TTYLINUX)
    assert ran.status == ExitStatus.PARTIAL
    assert ran.out.count("(vm ID: ") == 2
    assert len(ids.read_text().split()) == 2
    assert "machines failed" in ran.err
    assert "Done!" not in ran.out


def test_ids_into_a_pipe(alice: Shell, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert alice("run", "-o", str(pipe), TTYLINUX).status == 0
    assert os.read(reader, 100) == b"1\n"
    os.close(reader)


def test_start_that_fails_keeps_the_old_ids_file(alice: Shell, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    ids.write_text("7\n")
    assert alice("run", "--address", "10.9.9.9", "-o", str(ids), TTYLINUX).status == ExitStatus.FAILED
    assert ids.read_text() == "7\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "image"),
        (("AAAAAAAAAAAAAAAAAAAAAAAAAAA",), 4, "AAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        (("no such image",), 4, "no such image"),
        (("-t", "m9.huge", TTYLINUX), 2, "m1.small"),
        (("--cpu", "0", TTYLINUX), 2, "--cpu"),
        (("--ram", "-5", TTYLINUX), 2, "--ram"),
        (("--ram", "abc", TTYLINUX), 2, "abc"),
        (("--swap", "1_0", TTYLINUX), 2, "--swap"),
        (("--volatile-disk", "1e9", TTYLINUX), 2, "--volatile-disk"),
        (("-n", "0", TTYLINUX), 2, "--number"),
        (("--vm-cpu-amount", "nan", TTYLINUX), 2, "--vm-cpu-amount"),
        (("--vm-cpu-amount", "2", TTYLINUX), 2, "--vm-cpu-amount"),
        (("--address", "300.1.1.1", TTYLINUX), 2, "--address"),
        (("--vnc-listen", "here", TTYLINUX), 2, "--vnc-listen"),
        (("--vm-disks-bus", "usb", TTYLINUX), 2, "virtio"),
        (("--persistent-disk", "mine", TTYLINUX), 4, "mine"),
        (("--pdisk-endpoint", "https://[bad", "--persistent-disk", "9ab1a1c1-0000-4000-8000-123456789abc", TTYLINUX), 2, "[bad"),
        (("--vm-name", "bell\a", TTYLINUX), 2, "U+0007"),
        (("--vm-name", "a]]>b", TTYLINUX), 2, "]]>"),
        *((("--vm-name", name, TTYLINUX), 2, "invalid name") for name in ("97", "9 7", "", " a", "a\t", "a\nb", "a\u200bb")),
        (("--name-prefix", "9", TTYLINUX), 2, "take it for an id"),
        (("--local-ip", "--private-ip", TTYLINUX), 2, "not allowed with"),
        (("--password", "x", "--password-file", "x", TTYLINUX), 2, "not allowed with"),
        (("--context", "NO-EQUALS", TTYLINUX), 2, "KEY=VALUE"),
        (("--context-file", "/nonexistent/file", TTYLINUX), 2, "/nonexistent/file"),
        (("-o", "/nonexistent/ids", TTYLINUX), 2, "/nonexistent/ids"),
        (("-k", "/nonexistent/key.pub", TTYLINUX), 2, "/nonexistent/key.pub"),
        (("-S", "elsewhere", TTYLINUX), 2, "elsewhere"),
        (("--timeout", "soon", TTYLINUX), 2, "soon"),
        (("--cloud-init", "ssh", TTYLINUX), 2, "--cloud-init"),
        (("--bogus", TTYLINUX), 2, "--bogus"),
    ],
)
def test_bad_input(alice: Shell, stage: Stage, arguments: tuple[str, ...], status: int, words: str) -> None:
    ran = alice("run", *arguments)
    assert ran.status == status, ran.err
    assert ran.err.count("\n") == 1, "one line"
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert ":: Machine" not in ran.out
    assert started(stage.engine) == 0


def started(engine: Engine) -> int:
    return len(list(engine.store.query("SELECT id FROM instances")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nsecretsecret\n-----END OPENSSH PRIVATE KEY-----\n", "private key"),
        ("hello\n", "key"),
    ],
)
def test_bad_key_files(alice: Shell, tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    ran = alice("run", "-k", str(path), TTYLINUX)
    assert ran.status == 2
    assert words in ran.err
    assert "secretsecret" not in ran.err


def test_wrong_password(alice: Shell) -> None:
    alice.environ["STRATUSLAB_PASSWORD"] = "wrong-password"
    ran = alice("run", TTYLINUX)
    assert ran.status == ExitStatus.DENIED
    assert '"alice"' in ran.err
    assert "STRATUSLAB_USERNAME" in ran.err
    assert "wrong-password" not in ran.err


def test_own_types(alice: Shell, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\n[instance_types]\nm1.small = (2, 300, 0)\nmine = 3, 400, 500\n")
    ran = alice("run", "-c", str(config), "-t", "mine", "-l")
    assert "* mine            3 CPU     400 MB     500 MB\n" in ran.out
    assert "  m1.small        2 CPU     300 MB       0 MB\n" in ran.out


def test_listing_types_needs_no_cloud(shell: Shell) -> None:
    shell.environ["STRATUSLAB_ENDPOINT"] = "http://127.0.0.1:1"
    assert shell("run", "--list-types").status == 0


@pytest.mark.parametrize("arguments", [("--help",), ("--list-types",), ("--version",)])
def test_light_commands_load_nothing_heavy(shell: Shell, arguments: tuple[str, ...]) -> None:
    import subprocess
    import sys

    heavy = ["requests", "paramiko", "tabulate", "cryptography", "sqlite3", "http.client", "ssl"]
    program = (
        "import sys\nfrom stratuslab.commands import run\n"
        f"sys.argv = ['stratus-run-instance', *{list(arguments)!r}]\n"
        "try:\n    run('run_instance')\nexcept SystemExit as end:\n"
        f"    print(sorted(set({heavy!r}) & set(sys.modules)), int(end.code), file=sys.stderr)\n"
    )
    done: Any = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=shell.environment(), check=True
    )
    assert done.stderr == "[] 0\n"


# --- names ----------------------------------------------------------------------------------------------------------------


def test_name_means_the_whole_name(alice: Shell) -> None:
    assert alice("run", "--name", "web1", TTYLINUX).err == ""
    assert alice("describe", "--columns", "name", "--no-header").out == "web1\n"


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_names_that_other_commands_will_refuse(alice: Shell, more: tuple[str, ...]) -> None:
    twice = 'stratus-run-instance: all 2 machines will be called "x": use their ids, or --name-prefix\n'
    assert alice("run", "-q", "-n", "2", "--vm-name", "x", *more, TTYLINUX).err == twice
    alice("run", "--vm-name", "web1", TTYLINUX)
    taken = alice("run", "-q", "--vm-name", "web1", *more, TTYLINUX)
    assert (taken.status, "web1" in taken.err, taken.err.count("\n")) == (0, True, 1)
    assert 'is called "web1", too' in alice("run", "-q", "-n", "2", "--name-prefix", "web", *more, TTYLINUX).err
    assert alice("run", "-n", "2", "--name-prefix", "node", TTYLINUX).err == ""


# --- what is given several times ------------------------------------------------------------------------------------------


def test_disks_keys_and_contexts_add_up(alice: Shell) -> None:
    keys = []
    for name in ("one", "two"):
        path = alice.home / f"{name}.pub"
        path.write_text((alice.home / ".ssh" / "id_ed25519.pub").read_text().replace("user@", f"{name}@"))
        (alice.home / f"{name}.env").write_text(f"IN_{name.upper()}=1\n")
        keys += ["--key", str(path), "--context-file", str(alice.home / f"{name}.env"), "--context", f"{name}=1"]
    disks = ["--volatile-disk", "1", "--volatile-disk", "2", "--readonly-disk", "http://x/a", "--readonly-disk", "http://x/b"]
    sent = alice("run", "--dry-run", *keys, *disks, TTYLINUX).out
    assert sent.count("one@example.org") == sent.count("two@example.org") == 1
    assert all(f"{name} = " in sent for name in ("ONE", "TWO", "IN_ONE", "IN_TWO"))
    assert all(f'SIZE = "{size}"' in sent for size in (1024, 2048))
    assert all(f'SOURCE = "http://x/{name}"' in sent for name in "ab")
