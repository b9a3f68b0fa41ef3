"""Which hypervisor an instance gets, and what its disks become: by image, template, setting, and what the computer has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stratuslab.local.engine.scheduler import FreeCapacity, _free_memory_mib
from stratuslab.local.images.builtin_images import add_builtin_images
from stratuslab.local.images.embedded_marketplace import MarketplaceEntries
from stratuslab.local.machines.driver import DiskKind
from stratuslab.local.store.volumes import Volumes
from stratuslab.marketplace.identifier import identifier_from_sha1, sha1_from_identifier
from stratuslab.opennebula.template_grammar import render
from tests.fakes.staged_cloud import Stage, configure
from tests.harness import TTYLINUX, Shell, leaves
from tests.local.conftest import Caller
from tests.local.engine.test_engine import refused, shown, started
from tests.local.templates import SMALL

CONTENT = "E" + TTYLINUX[1:]
ELSEWHERE = "https://marketplace.example.org/metadata"


def program(directory: Path, name: str = "qemu-system-x86_64") -> dict[str, str]:
    """An environment in which the program is there, though it does nothing."""
    directory.mkdir()
    path = directory / name
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    return {"PATH": str(directory)}


@pytest.fixture
def stage(tmp_path: Path, clock) -> Stage:
    return Stage(tmp_path / "cloud", clock, program(tmp_path / "bin"))


def image(stage: Stage, entry: bytes, location: str = "", kept: bool = False) -> str:
    """An image of the embedded Marketplace; its identifier."""
    document = entry.replace(b"GOaxJFdoEXvqAm9ArJgnZ0_ky6F", CONTENT.encode())
    document = document.replace(b"639ac4915da045efa809bd02b2609d9d3f932e85", sha1_from_identifier(CONTENT).encode())
    if location:
        document = document.replace(b"</slterms:os>", f"</slterms:os><slterms:location>{location}</slterms:location>".encode())
    MarketplaceEntries(stage.engine.store, stage.engine.now).add(document)
    if kept:
        place = stage.engine.store.directory / "images" / CONTENT
        place.mkdir(parents=True)
        (place / "image").write_bytes(b"\1" * 100)
    return CONTENT


class TestChoice:
    def chosen(self, stage: Stage, call: Caller, image: str, requirements: str = "") -> tuple[str, str]:
        """The hypervisor, and why the instance failed."""
        wanted = render([("SCHED_REQUIREMENTS", requirements)])
        number = started(call, f'{SMALL}{wanted}\nDISK=[SOURCE="{image}"]')
        found = dict(leaves(shown(call, number).document))
        assert found["HISTORY_RECORDS/HISTORY/VM_MAD"] == stage.engine.machine(number).hypervisor
        return stage.engine.machine(number).hypervisor, shown(call, number).message.partition("script: ")[2]

    def test_an_image_without_content_is_simulated(self, stage: Stage, call: Caller) -> None:
        assert self.chosen(stage, call, TTYLINUX) == ("simulated", "")

    def test_an_image_with_content_is_real(self, stage: Stage, call: Caller, entry: bytes) -> None:
        assert self.chosen(stage, call, image(stage, entry, kept=True)) == ("qemu", "")

    def test_an_image_that_can_be_downloaded_is_real(self, stage: Stage, call: Caller, entry: bytes) -> None:
        assert self.chosen(stage, call, image(stage, entry, "http://images.example.org/a.img")) == ("qemu", "")

    def test_an_image_whose_location_is_its_metadata_only_is_simulated(self, stage: Stage, call: Caller, entry: bytes) -> None:
        assert self.chosen(stage, call, image(stage, entry, "local://images/x")) == ("simulated", "")

    def test_an_image_of_another_marketplace_is_fetched_by_a_real_machine(self, stage: Stage, call: Caller) -> None:
        number = started(call, f'{SMALL}DISK=[SOURCE="{ELSEWHERE}/{CONTENT}"]')
        (disk,) = stage.engine.machine(number).disks
        assert not stage.engine.machine(number).stranger
        assert stage.engine.machine(started(call, SMALL, user="alice")).stranger
        assert (disk.image, disk.metadata_url) == (CONTENT, f"{ELSEWHERE}/{CONTENT}")
        assert stage.engine.machine(number).hypervisor == "qemu"

    def test_a_template_that_asks_for_one(self, stage: Stage, call: Caller, entry: bytes) -> None:
        kept = image(stage, entry, kept=True)
        assert self.chosen(stage, call, kept, 'HYPERVISOR = "simulated"') == ("simulated", "")
        assert self.chosen(stage, call, kept, '(CLUSTER_ID = 0) & HYPERVISOR="kvm"') == ("qemu", "")
        assert self.chosen(stage, call, kept, 'HYPERVISOR="vcenter"') == ("qemu", "")
        name, why = self.chosen(stage, call, TTYLINUX, 'HYPERVISOR = "qemu"')
        assert name == "qemu"
        assert why == f"the image {TTYLINUX} has no known content, so a real machine cannot boot from it"

    def test_without_qemu_all_is_simulated_unless_it_is_asked_for(self, tmp_path: Path, clock, entry: bytes) -> None:
        stage = Stage(tmp_path / "other", clock)
        kept = image(stage, entry, kept=True)
        call = Caller(stage)
        assert self.chosen(stage, call, kept) == ("simulated", "")
        missing = "qemu-system-x86_64 is not installed on this computer"
        assert self.chosen(stage, call, kept, 'HYPERVISOR = "qemu"') == ("qemu", missing)

    def test_the_environment_asks_where_the_template_does_not(self, tmp_path: Path, clock, entry: bytes) -> None:
        environ = {**program(tmp_path / "there"), "STRATUSLAB_HYPERVISOR": "simulated"}
        stage = Stage(tmp_path / "other", clock, environ)
        call = Caller(stage)
        kept = image(stage, entry, kept=True)
        assert self.chosen(stage, call, kept) == ("simulated", "")
        assert self.chosen(stage, call, kept, 'HYPERVISOR = "qemu"') == ("qemu", "")


def test_a_machine_that_is_simulated_although_it_could_be_real(alice: Shell, stage: Stage, entry: bytes, tmp_path: Path) -> None:
    kept = image(stage, entry, kept=True)
    assert alice("run", kept).err == ""
    (tmp_path / "bin" / "qemu-system-x86_64").unlink()
    assert alice("run", "-q", TTYLINUX).err == ""
    said = alice("run", "-q", "-n", "2", kept).err
    assert said == (
        "stratus-run-instance: not a real machine: qemu-system-x86_64 is not installed on this computer, so it is simulated "
        "(--hypervisor simulated, if that is meant)\n"
    )
    for number in range(1, 5):
        stage.runs(number)
    listed = alice("describe", "--columns", "id,hypervisor", "--no-header").out.split()
    assert listed == ["1", "qemu", "2", "simulated", "3", "simulated", "4", "simulated"]
    facts = alice("describe", "-vv", "1", "2", "3").out
    assert "  hypervisor qemu\n" in facts
    assert "  hypervisor simulated\n" in facts
    assert "  hypervisor simulated, because qemu-system-x86_64 is not installed on this computer\n" in facts


class TestDisks:
    def test_in_the_order_in_which_the_guest_sees_them(self, stage: Stage, call: Caller, entry: bytes) -> None:
        kept = image(stage, entry, kept=True)
        volume = self.volume(stage)
        template = f"""{SMALL}DISK=[SOURCE="{kept}"] DISK=[TYPE=swap, SIZE=256] DISK=[TYPE=fs, SIZE=1024, FORMAT=raw]
            DISK=[SOURCE="pdisk:localhost:8445:{volume}", TYPE=block]
            DISK=[SOURCE="{kept}", READONLY=YES]"""
        number = started(call, template)
        spec = stage.engine.machine(number)
        assert [(disk.kind, disk.size_mib, disk.read_only) for disk in spec.disks] == [
            (DiskKind.IMAGE, 0, False),
            (DiskKind.SWAP, 256, False),
            (DiskKind.VOLATILE, 1024, False),
            (DiskKind.VOLUME, 64, False),
            (DiskKind.IMAGE, 0, True),
        ]
        assert spec.disks[3].file == stage.engine.store.directory / "volumes" / volume
        found = [value for path, value in leaves(shown(call, number).document) if path.endswith("DISK/TARGET")]
        assert found == ["vda", "vdb", "vdc", "vdd", "vde"]

    def volume(self, stage: Stage) -> str:
        return Volumes(stage.engine.store).create(64, "", stage.engine.now).uuid

    def test_of_the_original_client(self, stage: Stage, call: Caller, entry: bytes) -> None:
        """It names the devices itself, and leaves one out for the context."""
        kept = image(stage, entry, kept=True)
        number = started(call, f'{SMALL}DISK=[SOURCE="{kept}", TARGET=hda] DISK=[TYPE=swap, SIZE=64, TARGET=hdb, READONLY=no]')
        assert [disk.read_only for disk in stage.engine.machine(number).disks] == [False, False]


class TestRoom:
    @pytest.fixture
    def kept(self, stage: Stage, entry: bytes) -> str:
        return image(stage, entry, kept=True)

    def reason(self, call: Caller, number: int) -> str:
        return dict(leaves(shown(call, number).document)).get("USER_TEMPLATE/SCHED_MESSAGE", "").partition(": ")[2]

    def test_more_memory_than_the_computer_has_waits(self, stage: Stage, call: Caller, kept: str) -> None:
        configure(stage.engine, capacity=_boundless())
        number = started(call, f'CPU=1 MEMORY=100000000 DISK=[SOURCE="{kept}"]')
        assert shown(call, number).state_label == "Pending"
        assert self.reason(call, number) == "[HOST] Not enough MEMORY on this computer: 100000160 MiB are not free"

    def test_more_disk_than_the_computer_has_waits(self, stage: Stage, call: Caller, kept: str, tmp_path: Path) -> None:
        free_mib = shutil.disk_usage(tmp_path).free >> 20
        number = started(call, f'{SMALL}DISK=[SOURCE="{kept}"] DISK=[TYPE=fs, SIZE={free_mib * 2}]')
        assert shown(call, number).state_label == "Pending"
        assert self.reason(call, number).startswith("[SYSTEM_DS] Not enough free space on this computer's disk: ")

    def test_what_is_promised_is_not_free(self, stage: Stage, call: Caller, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stratuslab.local.engine.scheduler._free_memory_mib", lambda: 1000)
        monkeypatch.setattr("stratuslab.local.engine.scheduler.free_bytes", lambda directory: 1000 << 20)
        first, second, third = (
            started(call, f'CPU=1 MEMORY={memory} DISK=[SOURCE="{kept}"] DISK=[TYPE=fs, SIZE={disk}]')
            for memory, disk in ((400, 100), (400, 100), (10, 900))
        )
        assert [shown(call, number).state_label for number in (first, second, third)] == ["Prolog", "Pending", "Pending"]
        assert "MEMORY" in self.reason(call, second)
        assert "space" in self.reason(call, third)
        # What the first one uses by now is taken of what is free anyway.
        stage.runs(first)
        stage.polled(first, 1, 500 << 10)
        assert shown(call, second).state_label == "Prolog"
        call("one.vm.action", "terminate-hard", first)
        call("one.vm.action", "terminate-hard", second)
        assert shown(call, third).state_label == "Prolog"

    def test_a_copy_of_an_image_may_become_as_large_as_its_disk(
        self, stage: Stage, call: Caller, kept: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (stage.engine.store.directory / "images" / kept / "image").open("r+b") as content:
            content.truncate(900 << 20)
        monkeypatch.setattr("stratuslab.local.engine.scheduler.free_bytes", lambda directory: 1000 << 20)
        read_only = started(call, f'{SMALL}DISK=[SOURCE="{kept}", READONLY=YES]')
        first, second = (started(call, f'{SMALL}DISK=[SOURCE="{kept}"]') for _ in range(2))
        assert [shown(call, number).state_label for number in (read_only, first, second)] == ["Prolog", "Prolog", "Pending"]

    def test_a_volume_may_be_filled(self, stage: Stage, call: Caller, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stratuslab.local.engine.scheduler.free_bytes", lambda directory: 1000 << 20)
        volumes = Volumes(stage.engine.store)
        large, small = volumes.create(900, "", 0), volumes.create(100, "", 0)
        first, second = (
            started(call, f'{SMALL}DISK=[SOURCE="{kept}"] DISK=[SOURCE="pdisk:{volume.uuid}"]') for volume in (large, small)
        )
        assert [shown(call, number).state_label for number in (first, second)] == ["Prolog", "Pending"]
        call("one.vm.action", "terminate-hard", first)
        assert shown(call, second).state_label == "Prolog"

    def test_a_machine_that_was_off_needs_its_memory_again(
        self, stage: Stage, call: Caller, kept: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("stratuslab.local.engine.scheduler._free_memory_mib", lambda: 1000)
        first, second = (started(call, f'CPU=1 MEMORY=600 DISK=[SOURCE="{kept}"]') for _ in range(2))
        stage.runs(first)
        call("one.vm.action", "poweroff-hard", first)
        assert shown(call, second).state_label == "Prolog"
        message, *_ = refused(call("one.vm.action", "resume", first))
        assert f"VM {first} cannot be started again: [HOST] Not enough MEMORY on this computer: 760 MiB are not free" in message
        call("one.vm.action", "terminate-hard", second)
        assert call("one.vm.action", "resume", first)[0] is True

    def test_in_a_container_its_limit_counts_but_not_its_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stratuslab.local.engine.scheduler._CGROUP", tmp_path)
        for name, text in (
            ("memory.max", 300 << 20),
            ("memory.current", 250 << 20),
            ("memory.stat", f"anon 1\ninactive_file {200 << 20}\n"),
        ):
            (tmp_path / name).write_text(str(text))
        assert _free_memory_mib() == 250
        (tmp_path / "memory.max").write_text("max\n")
        assert _free_memory_mib() > 250

    def test_simulated_machines_need_none(self, stage: Stage, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FreeCapacity, "left", lambda *arguments: pytest.fail("the computer was looked at"))
        number = started(call, f'CPU=1 MEMORY=1000 DISK=[SOURCE="{TTYLINUX}"] DISK=[TYPE=fs, SIZE=100000000]')
        assert shown(call, number).state_label == "Prolog"


def _boundless():
    from stratuslab.local.engine.scheduler import Capacity

    return Capacity(1000, 2**40)


class TestCommand:
    @pytest.fixture
    def shell(self, tmp_path: Path) -> Shell:
        return Shell(tmp_path)

    def plan(self, shell: Shell, *arguments: str) -> str:
        ran = shell("run", "--endpoint", "local", "--dry-run", *arguments, TTYLINUX)
        assert ran.status == 0, ran.err
        return ran.out

    def test_the_option_is_asked_for_in_the_template(self, shell: Shell) -> None:
        assert 'SCHED_REQUIREMENTS = "HYPERVISOR = \\"qemu\\""' in self.plan(shell, "--hypervisor", "qemu")
        both = self.plan(shell, "--hypervisor", "simulated", "--vm-requirements", "A = 1 | B = 2")
        assert 'SCHED_REQUIREMENTS = "(A = 1 | B = 2) & HYPERVISOR = \\"simulated\\""' in both

    def test_the_setting_as_well(self, shell: Shell) -> None:
        shell.environ["STRATUSLAB_HYPERVISOR"] = "simulated"
        assert 'HYPERVISOR = \\"simulated\\"' in self.plan(shell)
        assert 'HYPERVISOR = \\"qemu\\"' in self.plan(shell, "--hypervisor", "qemu")

    def test_a_setting_that_is_none(self, shell: Shell) -> None:
        shell.environ["STRATUSLAB_HYPERVISOR"] = "xen"
        ran = shell("run", "--endpoint", "local", TTYLINUX)
        assert ran.status == 2
        assert 'unknown hypervisor "xen" (STRATUSLAB_HYPERVISOR)' in ran.err

    def test_elsewhere_the_option_is_refused(self, shell: Shell) -> None:
        ran = shell("run", "--endpoint", "cloud.example.org", "-u", "a", "-p", "b", "--hypervisor", "qemu", TTYLINUX)
        assert ran.status == 2
        assert "--hypervisor works only with the embedded cloud" in ran.err

    def test_status_says_which_and_why(self, shell: Shell, tmp_path: Path) -> None:
        def told(**environ: str) -> str:
            shell.environ = environ
            ran = shell("local_cloud", "status")
            assert ran.status == 0
            return dict(line.split(maxsplit=1) for line in ran.out.splitlines())["hypervisor"]

        there = program(tmp_path / "bin")["PATH"]
        shell.environ = {"STRATUSLAB_HYPERVISOR": "xen"}
        assert shell("local_cloud", "status").status == 2
        assert told(PATH="/nowhere") == "simulated (qemu-system-x86_64 is not installed on this computer)"
        assert told(PATH="/nowhere", STRATUSLAB_HYPERVISOR="qemu").startswith("qemu, as requested, but qemu-system")
        assert told(PATH=there, STRATUSLAB_HYPERVISOR="simulated") == "simulated (as requested)"
        assert told(PATH=there).startswith("qemu (")
        assert told(PATH=there).endswith(", simulated for images that cannot boot")


def test_the_own_images_are_marked_as_having_no_content(stage: Stage, call: Caller) -> None:
    add_builtin_images(stage.engine.store, stage.engine.now)
    assert identifier_from_sha1(sha1_from_identifier(TTYLINUX)) == TTYLINUX
    started(call, f'{SMALL}DISK=[IMAGE="alpine-base-simulated", IMAGE_UNAME=oneadmin]')
    assert stage.engine.machine(1).hypervisor == "simulated"


def test_a_volume_that_is_not_there_fails_in_the_prolog(stage: Stage, call: Caller) -> None:
    number = started(call, SMALL + 'DISK=[SOURCE="pdisk:a:1:00000000-0000-4000-8000-000000000000"]')
    instance = shown(call, number)
    assert instance.state_label == "Prolog_Failure"
    assert instance.message.endswith("the embedded cloud has no volume 00000000-0000-4000-8000-000000000000")
