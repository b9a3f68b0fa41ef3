"""The engine: lifecycle, scheduling, leases, owners, and OpenNebula's words for what it refuses."""

from __future__ import annotations

import errno
import os
import re
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stratuslab.errors import NotFound, StratusLabError
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.scheduler import Capacity
from stratuslab.local.engine.status_and_reset import reset, status
from stratuslab.local.machines.driver import DiskKind
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Lcm, State
from tests.fakes.staged_cloud import Actors, Stage, configure
from tests.fakes.stopped_clock import StoppedClock
from tests.harness import TTYLINUX, leaves
from tests.local.conftest import Caller
from tests.local.templates import RECORDED, SMALL, STRATUSLAB


def shown(call: Caller, number: int, **options: str) -> Instance:
    ok, document, *_ = call("one.vm.info", number, **options)
    assert ok, document
    return Instance(ElementTree.fromstring(document))


def pool(call: Caller, *arguments: int, method: str = "one.vmpool.info", **options: str) -> list[Instance]:
    ok, document, *_ = call(method, *(arguments or (-3, -1, -1, -1)), **options)
    assert ok, document
    return [Instance(element) for element in ElementTree.fromstring(document)]


def started(call: Caller, template: str = STRATUSLAB, **options: str) -> int:
    ok, number, code = call("one.vm.allocate", template, **options)
    assert (ok, code) == (True, 0), number
    assert isinstance(number, int)
    return number


def refused(answer: object) -> tuple[str, int, int]:
    """Message, error number and object of a failure as OpenNebula 7 sends it."""
    assert isinstance(answer, list)
    ok, message, code, number, replication = answer
    assert (ok, replication) == (False, -1)
    return message, code, number


class TestLifecycle:
    def test_from_allocation_to_the_end(self, call: Caller, stage: Stage, clock: StoppedClock) -> None:
        number = started(call)
        assert number == 1
        assert shown(call, 1).state_label == "Prolog"
        assert stage.actors.living == {1}
        for step, label in ((Lcm.PROLOG, "Prolog"), (Lcm.BOOT, "Boot"), (Lcm.RUNNING, "Running")):
            clock.now += 10
            assert stage.engine.machine_reached(1, step)
            assert shown(call, 1).state_label == label
        stage.polled(1, 1.25, 131072)
        running = shown(call, 1)
        assert (running.cpu_percent, running.memory_kib, running.vcpu, running.name) == (1.25, 131072, 2, "one-1")
        stage.halts(1)
        unknown = shown(call, 1)
        assert (unknown.state_label, unknown.last_cpu_percent, unknown.last_memory_kib) == ("Unknown", 0.0, 131072)
        clock.now += 5
        assert call("one.vm.action", "terminate-hard", 1) == [True, 1, 0]
        done = shown(call, 1)
        assert (done.state_label, done.last_memory_kib, done.addresses) == ("Done", 131072, ("127.101.0.1",))
        times = {path: int(text) for path, text in leaves(done.document) if text.isdigit()}
        assert times["STIME"] < times["HISTORY_RECORDS/HISTORY/PETIME"] < times["ETIME"] == int(clock.now)

    def test_what_the_supervisor_is_told(self, call: Caller, stage: Stage) -> None:
        spec = stage.engine.machine(started(call))
        assert (spec.id, spec.name, spec.vcpu, spec.memory_mib) == (1, "one-1", 2, 128)
        assert (spec.size_mib(DiskKind.SWAP), spec.size_mib(DiskKind.VOLATILE), spec.image) == (1024, 2048, TTYLINUX)
        assert spec.addresses == ("127.101.0.1",)
        assert spec.authorized_keys == "ssh-ed25519 AAAA alice@example.org\nssh-ed25519 BBBB bob@example.org"
        assert spec.context["TARGET"] == "hdd"
        assert spec.directory.stat().st_mode & 0o777 == 0o700
        with pytest.raises(NotFound):
            stage.engine.machine(99)

    def test_keys_of_cloud_init_and_of_both_names(self, call: Caller, stage: Stage) -> None:
        context = 'CONTEXT=[SSH_PUBLIC_KEY="a b", PUBLIC_KEY="a b", CLOUD_INIT_AUTHORIZED_KEYS="YyBkCg=="]'
        assert stage.engine.machine(started(call, SMALL + context)).authorized_keys == "a b\nc d"

    def test_terminate_asks_the_guest_first(self, call: Caller, stage: Stage) -> None:
        stage.runs(started(call))
        stage.actors.halt = lambda instance: None  # type: ignore[method-assign]  # a guest that takes its time
        assert call("one.vm.action", "terminate", 1) == [True, 1, 0]
        assert shown(call, 1).state_label == "Shutdown"
        message = '[one.vm.action] Error performing action "terminate": Could not terminate VM 1, wrong state SHUTDOWN.'
        assert refused(call("one.vm.action", "terminate", 1)) == (message, 2048, -1)
        stage.halts(1)
        assert shown(call, 1).state_label == "Done"

    def test_terminate_hard_overrides_a_guest_that_does_not_shut_down(self, call: Caller, stage: Stage) -> None:
        stage.runs(started(call))
        stage.actors.halt = lambda instance: None  # type: ignore[method-assign]
        call("one.vm.action", "terminate", 1)
        assert call("one.vm.action", "terminate-hard", 1) == [True, 1, 0]
        assert shown(call, 1).state_label == "Done"
        assert stage.actors.living == set()

    @pytest.mark.parametrize("steps", [(), (Lcm.PROLOG,), (Lcm.PROLOG, Lcm.BOOT)])
    def test_terminate_hard_at_any_moment(self, call: Caller, stage: Stage, steps: tuple[Lcm, ...]) -> None:
        number = started(call)
        for step in steps:
            stage.engine.machine_reached(number, step)
        assert call("one.vm.action", "terminate-hard", number) == [True, 1, 0]
        assert shown(call, number).state_label == "Done"
        assert not stage.engine.machine_reached(number, Lcm.RUNNING)
        assert shown(call, number).state_label == "Done"

    def test_killing_what_is_done_succeeds_silently(self, call: Caller) -> None:
        number = started(call)
        for name in ("terminate-hard", "terminate-hard", "terminate"):
            assert call("one.vm.action", name, number) == [True, number, 0]

    def test_a_killed_supervisor_shows_unknown(self, call: Caller, stage: Stage) -> None:
        stage.runs(started(call))
        stage.actors.living.clear()
        assert pool(call)[0].state_label == "Unknown"
        assert shown(call, 1).state_label == "Unknown"

    @pytest.mark.parametrize(("step", "label"), [(Lcm.PROLOG, "Prolog_Failure"), (Lcm.BOOT, "Boot_Failure")])
    def test_a_supervisor_that_dies_early_is_a_failure(self, call: Caller, stage: Stage, step: Lcm, label: str) -> None:
        started(call)
        for reached in (Lcm.PROLOG, step):
            stage.engine.machine_reached(1, reached)
        stage.actors.living.clear()
        instance = shown(call, 1)
        assert instance.state_label == label
        assert instance.message.endswith("the machine's process ended unexpectedly")

    def test_failures_tell_why(self, call: Caller, stage: Stage, clock: StoppedClock) -> None:
        started(call), started(call)
        stage.engine.machine_failed(1, Lcm.PROLOG, "no space left")
        stage.engine.machine_reached(2, Lcm.BOOT)
        stage.engine.machine_failed(2, Lcm.BOOT, "no port is free")
        date = time.asctime(time.localtime(clock.now))
        prolog, boot = shown(call, 1), shown(call, 2)
        assert (prolog.state_label, prolog.message) == (
            "Prolog_Failure",
            f"{date}: Error executing image transfer script: no space left",
        )
        assert (boot.state_label, boot.message) == ("Boot_Failure", f"{date}: DEPLOY: no port is free")
        assert prolog.failed
        assert boot.failed
        assert [instance.message for instance in pool(call)] == [boot.message, prolog.message]

    def test_a_process_that_cannot_be_started_is_a_failure(self, call: Caller, stage: Stage) -> None:
        def full(instance: int) -> None:
            raise OSError(11, "Resource temporarily unavailable")

        stage.actors.spawn = full  # type: ignore[method-assign]
        instance = shown(call, started(call))
        assert instance.state_label == "Prolog_Failure"
        assert "resource temporarily unavailable" in instance.message

    def test_poweroff_resume_and_reboot(self, call: Caller, stage: Stage) -> None:
        stage.runs(started(call))
        call("one.vm.action", "poweroff", 1)
        assert shown(call, 1).state == State.POWEROFF
        call("one.vm.action", "resume", 1)
        assert shown(call, 1).state_label == "Boot_Poweroff"
        stage.runs(1)
        call("one.vm.action", "reboot", 1)
        assert (shown(call, 1).state_label, stage.actors.rebooted) == ("Running", {1})
        call("one.vm.action", "reboot-hard", 1)
        assert shown(call, 1).state_label == "Boot_Unknown"
        assert stage.actors.living == {1}
        stage.runs(1)
        call("one.vm.action", "poweroff-hard", 1)
        assert (shown(call, 1).state, stage.actors.living) == (State.POWEROFF, set())
        call("one.vm.action", "terminate", 1)
        assert shown(call, 1).state == State.DONE

    @pytest.mark.parametrize(
        ("name", "profile", "number"),
        [
            ("terminate", "local", 27),
            ("terminate-hard", "opennebula-7", 28),
            ("poweroff", "local", 19),
            ("poweroff-hard", "local", 20),
            ("reboot", "local", 15),
            ("reboot-hard", "local", 16),
            ("suspend", "local", 10),
            ("stop", "local", 9),
            ("shutdown", "opennebula-4", 3),
            ("shutdown-hard", "opennebula-4", 4),
            ("delete", "opennebula-4", 13),
            ("delete-recreate", "opennebula-4", 14),
        ],
    )
    def test_the_history_has_opennebula_s_number_of_the_action(
        self, call: Caller, stage: Stage, name: str, profile: str, number: int
    ) -> None:
        stage.runs(started(call))
        assert call("one.vm.action", name, 1, profile=profile) == [True, 1, 0]
        first = shown(call, 1).history[0]
        assert (first.action, first.user_id) == (number, 0)

    def test_poweroff_asks_the_guest_and_kills_what_has_none(self, call: Caller, stage: Stage) -> None:
        for number in (1, 2):
            stage.runs(started(call))
            stage.actors.halt = stage.actors.halted.add  # type: ignore[method-assign, assignment]  # a guest that takes its time
            if number == 2:
                stage.engine.machine_ended(2)
                assert shown(call, 2).state_label == "Unknown"
            call("one.vm.action", "poweroff", number)
        assert stage.actors.halted == {1}
        assert [shown(call, number).state_label for number in (1, 2)] == ["Shutdown_Poweroff", "Poweroff"]

    def test_resume_after_the_guest_halted_itself(self, call: Caller, stage: Stage) -> None:
        stage.runs(started(call))
        stage.halts(1)
        call("one.vm.action", "resume", 1)
        stage.runs(1)
        assert shown(call, 1).state_label == "Running"

    def test_hold_and_release(self, call: Caller, stage: Stage) -> None:
        assert call("one.vm.allocate", SMALL, True) == [True, 1, 0]
        assert shown(call, 1).state_label == "Hold"
        assert stage.actors.living == set()
        call("one.vm.action", "release", 1)
        assert shown(call, 1).state_label == "Prolog"
        message = '[one.vm.action] Error performing action "hold": This action is not available for state PROLOG'
        assert refused(call("one.vm.action", "hold", 1)) == (message, 2048, -1)

    def test_wrong_state_and_unsupported(self, call: Caller, stage: Stage) -> None:
        stage.runs(started(call))
        message = '[one.vm.action] Error performing action "resume": This action is not available for state RUNNING'
        assert refused(call("one.vm.action", "resume", 1)) == (message, 2048, -1)
        for name in ("finalize", "shutdown", "cancel", "", "TERMINATE"):
            assert refused(call("one.vm.action", name, 1)) == (f'[one.vm.action] Action "{name}" is not supported', 2048, -1)
        message = '[one.vm.action] Error performing action "undeploy": This action is not available for state RUNNING'
        assert refused(call("one.vm.action", "undeploy", 1)) == (message, 2048, -1)
        assert shown(call, 1).state_label == "Running"

    def test_a_kill_that_was_interrupted_is_finished(self, call: Caller, stage: Stage) -> None:
        stage.runs(started(call))

        def die(instance: int) -> None:
            raise KeyboardInterrupt

        kill, stage.actors.kill = stage.actors.kill, die  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            call("one.vm.action", "terminate-hard", 1)
        stage.actors.kill = kill  # type: ignore[method-assign]
        assert shown(call, 1).state_label == "Done"
        assert stage.actors.living == set()

    def test_a_spawner_that_was_killed_leaves_the_instance_waiting(self, tmp_path: Path) -> None:
        class Dies(Actors):
            def spawn(self, instance: int) -> None:
                super().spawn(instance)
                raise KeyboardInterrupt

        actors = Dies()
        engine = Engine(tmp_path / "cloud", actors)
        user = engine.user("oneadmin")
        with pytest.raises(KeyboardInterrupt):
            engine.allocate(user, SMALL)
        assert engine.store.instance(1).state == State.PENDING  # type: ignore[union-attr]
        # Its supervisor lives and goes on; nobody starts a second one.
        assert engine.machine_reached(1, Lcm.PROLOG)
        assert engine.instance(user, 1).lcm_state == Lcm.PROLOG

    def test_files_go_with_the_instance(self, call: Caller, stage: Stage) -> None:
        directory = stage.engine.machine(started(call)).directory
        (directory / "console.log").write_text("hello")
        stage.runs(1)
        stage.halts(1)
        assert directory.exists()
        call("one.vm.action", "terminate-hard", 1)
        assert not directory.exists()

    def test_files_that_a_killed_process_left_are_removed_by_the_next(self, call: Caller, stage: Stage) -> None:
        directory = stage.engine.machine(started(call)).directory
        stage.runs(1)
        call("one.vm.action", "terminate-hard", 1)
        directory.mkdir()
        (directory / "console.log").write_text("hello")
        shown(call, 1)
        assert not directory.exists()

    def test_where_ssh_listens(self, call: Caller, stage: Stage) -> None:
        started(call), started(call)
        stage.engine.machine_listens(1, "127.101.0.1", 22)
        stage.engine.machine_listens(2, "127.0.0.1", 40022)
        own, forwarded = shown(call, 1), shown(call, 2)
        assert own.nics[0].external_port_range == ""
        assert forwarded.nics[0].external_port_range == "40001:40022"
        assert pool(call)[0].nics[0].external_port_range == "40001:40022"
        # OpenNebula's own command line reads both.
        assert dict(leaves(forwarded.document))["TEMPLATE/NIC/INTERNAL_PORT_RANGE"] == "1-22/40001"
        stage.runs(2)
        assert shown(call, 2).hostname == "localhost"


class TestTemplates:
    @pytest.mark.parametrize(
        ("template", "message"),
        [
            ("CPU=1 MEMORY=[", "Parse error: syntax error"),
            ("CPU=1", "MEMORY attribute must be a positive integer value."),
            ("CPU=1\nMEMORY=-5", "MEMORY attribute must be a positive integer value."),
            ("CPU=1\nMEMORY=abc", "MEMORY attribute must be a positive integer value."),
            ("MEMORY=64", "CPU attribute must be a positive float or integer value."),
            ("CPU=nan\nMEMORY=64", "CPU attribute must be a positive float or integer value."),
            ("CPU=0\nMEMORY=64", "CPU attribute must be a positive float or integer value."),
            ("CPU=1\nVCPU=0\nMEMORY=64", "VCPU attribute must be a positive integer value."),
            (
                SMALL + 'DISK=[IMAGE="nosuch"]',
                "DISK 0: User 2 does not own an image with name: nosuch . Set IMAGE_UNAME or IMAGE_UID of owner in DISK.",
            ),
            (SMALL + "DISK=[IMAGE_ID=99]", "DISK 0: Image with ID: 99 does not exist"),
            (SMALL + "DISK=[TYPE=file]", "DISK 0: Unknown disk type FILE"),
            (SMALL + "DISK=[TYPE=fs,SIZE=1e9]", "DISK 0: SIZE attribute must be a positive integer value."),
            (
                SMALL + "DISK=[TYPE=fs,SIZE=1,TARGET=hdc]\nDISK=[TYPE=swap,SIZE=1,TARGET=hdc]",
                "Two disks have defined the same target hdc.",
            ),
            (
                SMALL + 'NIC=[NETWORK="nosuch"]',
                "User 2 does not own a network with name: nosuch . Set NETWORK_UNAME or NETWORK_UID of owner in NIC.",
            ),
            (
                SMALL + 'NIC=[NETWORK="public"]',
                "User 2 does not own a network with name: public . Set NETWORK_UNAME or NETWORK_UID of owner in NIC.",
            ),
            (SMALL + "NIC=[NETWORK_ID=9]", "Virtual network with ID: 9 does not exist"),
            (SMALL + "NAME=" + "x" * 129, "Invalid NAME, max length is 128 chars"),
            (SMALL + "1ABC=x", 'Parse error: "1ABC" cannot be the name of an attribute'),
            (SMALL + "NOTE=[2=x]", 'Parse error: "2" cannot be the name of an attribute'),
            ("<VM><CPU>1</CPU><a:b>1</a:b></VM>", "Parse error: unbound prefix"),
            ("<VM><CPU>1</CPU>", "Parse error: no element found"),
            ('<!DOCTYPE VM [<!ENTITY a "b">]><VM><CPU>1</CPU></VM>', "Parse error: a template cannot have a document type"),
        ],
    )
    def test_what_is_refused(self, call: Caller, stage: Stage, template: str, message: str) -> None:
        text, code, number = refused(call("one.vm.allocate", template, user="alice"))
        assert text.startswith(f"[one.vm.allocate] {message}")
        assert (code, number) == (8192, -1)
        assert pool(call, -2, -1, -1, -2) == []
        assert stage.engine.leases.leased(stage.engine.leases.networks()[-1]) == []
        assert started(call, SMALL) == 1, "a number is lost to a template that was refused"

    def test_a_restricted_attribute(self, call: Caller) -> None:
        template = SMALL + 'NIC=[NETWORK_ID=0,MAC="02:00:00:00:00:01"]'
        message = "[one.vm.allocate] User [2] : VM Template includes a restricted attribute MAC."
        assert refused(call("one.vm.allocate", template, user="alice")) == (message, 512, -1)
        assert started(call, template) == 1

    def test_an_image_in_each_dialect(self, call: Caller, stage: Stage) -> None:
        for disk in (
            "IMAGE_ID=1",
            'IMAGE="ttylinux", IMAGE_UNAME="oneadmin"',
            f'SOURCE="https://marketplace.stratuslab.eu/marketplace/metadata/{TTYLINUX}"',
            f'SOURCE="{TTYLINUX}"',
            f'SOURCE="local://marketplace/metadata/{TTYLINUX}/images@stratuslab.eu/2012-04-24T12:00:00Z"',
        ):
            number = started(call, f"{SMALL}DISK=[{disk}]", user="alice")
            assert stage.engine.machine(number).image == TTYLINUX
            found = dict(leaves(shown(call, number).document))
            assert (found["TEMPLATE/DISK/IMAGE"], found["TEMPLATE/DISK/IMAGE_ID"]) == ("ttylinux", "1")

    def test_an_image_that_the_marketplace_lacks_fails_in_the_prolog(self, call: Caller, stage: Stage) -> None:
        other = "MMZu9WvwKIro-rtBQfDk4PsKO7_"
        number = started(call, f'{SMALL}DISK=[SOURCE="https://marketplace.stratuslab.eu/metadata/{other}"]')
        instance = shown(call, number)
        assert instance.state_label == "Prolog_Failure"
        assert instance.message.endswith(
            f"Error executing image transfer script: the image {other} is not in this cloud's Marketplace"
        )
        assert stage.actors.living == set()

    @pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-16", "gbk", "no-such"])
    def test_xml_is_text_whatever_encoding_it_declares(self, call: Caller, stage: Stage, encoding: str) -> None:
        document = f"<?xml version='1.0' encoding='{encoding}'?><VM><CPU>1</CPU><MEMORY>64</MEMORY><NAME>caf\u00e9</NAME></VM>"
        assert stage.engine.instance(ADMINISTRATOR, started(call, document)).name == "caf\u00e9"

    def test_xml_is_taken_as_well(self, call: Caller, stage: Stage) -> None:
        number = started(
            call,
            '<VM xmlns="urn:x"><NAME>a &lt;b&gt;</NAME><CPU>0.5</CPU><MEMORY>64</MEMORY><NIC><NETWORK>local</NETWORK></NIC>'
            "<NOTE>x]]&gt;y</NOTE></VM>",
        )
        instance = shown(call, number)
        assert (instance.name, instance.addresses) == ("a <b>", ("127.102.0.1",))
        assert dict(leaves(instance.document))["USER_TEMPLATE/NOTE"] == "x]]>y"

    def test_unknown_attributes_come_back(self, call: Caller) -> None:
        text = "quotes 'and' <angle> & amp \N{LATIN SMALL LETTER E WITH ACUTE} a\\b\nsecond line"
        number = started(call, STRATUSLAB + f'DESCRIPTION = "{text}"\nOTHER=[A=1]\nTM_MAD_SYSTEM=forged\n')
        for instance in (shown(call, number), pool(call, method="one.vmpool.infoextended")[0]):
            found = dict(leaves(instance.document))
            assert instance.token == "f00d"
            assert found["USER_TEMPLATE/DESCRIPTION"] == text
            assert found["USER_TEMPLATE/OTHER/A"] == "1"
            assert "USER_TEMPLATE/TM_MAD_SYSTEM" not in found


@pytest.mark.parametrize("profile", ["opennebula-7", "opennebula-4", "stratuslab-3"])
def test_listings_tell_of_the_last_stay_only(call: Caller, stage: Stage, profile: str) -> None:
    number = started(call)
    stage.runs(number)
    call("one.vm.action", "poweroff-hard", number)
    call("one.vm.action", "resume", number)
    methods = ["one.vmpool.info", *(["one.vmpool.infoextended"] if profile == "opennebula-7" else [])]
    for method in methods:
        document = call(method, -3, -1, -1, -1, profile=profile)[1]
        assert [stay.text for stay in ElementTree.fromstring(document).iterfind(".//HISTORY/SEQ")] == ["1"]
    document = call("one.vm.info", number, profile=profile)[1]
    assert [stay.text for stay in ElementTree.fromstring(document).iterfind(".//HISTORY/SEQ")] == ["0", "1"]


class TestEdits:
    def test_another_name(self, call: Caller) -> None:
        number = started(call, user="alice")
        assert call("one.vm.rename", number, "front", user="alice") == [True, number, 0]
        assert shown(call, number).name == "front"
        for name, words in (("", "empty"), ("a/b", "char '/' is not allowed"), ("\u00e9" * 65, "max length is 128")):
            message, code, _ = refused(call("one.vm.rename", number, name))
            assert (words in message, code) == (True, 2048)
        assert refused(call("one.vm.rename", number, "mine", user="bob"))[1] == 512
        assert refused(call("one.vm.rename", 77, "mine"))[1] == 1024
        assert shown(call, number).name == "front"

    def test_other_attributes(self, call: Caller) -> None:
        number = started(call, SMALL + 'A="1"\nB="2"\n', user="alice")

        def attributes() -> dict[str, str]:
            found = leaves(shown(call, number).document)
            return {path.removeprefix("USER_TEMPLATE/"): text for path, text in found if path.startswith("USER_TEMPLATE/")}

        assert call("one.vm.update", number, 'B="3"\nLABELS="x,y"\nERROR="old"', 1, user="alice") == [True, number, 0]
        assert attributes() == {"A": "1", "B": "3", "LABELS": "x,y"}
        assert call("one.vm.update", number, "C=[D=1]", 0, user="alice") == [True, number, 0]
        assert attributes() == {"C/D": "1"}
        assert refused(call("one.vm.update", number, "C=[", 1))[0].startswith("[one.vm.update] Parse error")
        assert refused(call("one.vm.update", number, "C=1", 1, user="bob"))[1] == 512
        assert attributes() == {"C/D": "1"}


class TestInstantiate:
    def test_what_is_left_out_and_which_template_it_was(self, call: Caller) -> None:
        optional: tuple[list[object], ...] = ([], [False], [False, ""], [False, "", False])
        for place, arguments in enumerate(optional, 1):
            assert call("one.template.instantiate", 0, "mine", *arguments) == [True, place, 0]
            assert dict(leaves(shown(call, place).document))["TEMPLATE/TEMPLATE_ID"] == "0"

    def test_a_template_that_is_not_named_is_not_shown(self, call: Caller) -> None:
        assert "TEMPLATE/TEMPLATE_ID" not in dict(leaves(shown(call, started(call)).document))

    def test_persistent_copies_are_refused(self, call: Caller) -> None:
        message, code, _ = refused(call("one.template.instantiate", 0, "", False, "", True))
        assert ("persistent" in message, code) == (True, 2048)
        assert pool(call) == []

    @pytest.mark.parametrize(("size", "shows", "grows_to"), [("512", "512", 512), ("1", "1", 0), ("0", "", 0), ("x", "", 0)])
    def test_a_size_above_the_image_s_grows_the_disk(
        self, call: Caller, stage: Stage, size: str, shows: str, grows_to: int
    ) -> None:
        disk = f'DISK=[IMAGE="ttylinux",IMAGE_UNAME="oneadmin",SIZE="{size}"]'
        ok, number, *_ = call("one.template.instantiate", 0, "", False, disk)
        assert ok, number
        told = dict(leaves(shown(call, number).document))
        assert told["TEMPLATE/DISK/SIZE"] == (shows or told["TEMPLATE/DISK/ORIGINAL_SIZE"])
        assert stage.engine.machine(number).disks[0].size_mib == grows_to


class TestScheduling:
    def test_what_does_not_fit_waits_with_the_reason(self, call: Caller, stage: Stage, clock: StoppedClock) -> None:
        configure(stage.engine, capacity=Capacity(2, 256))
        first, second, third = (started(call, SMALL) for _ in range(3))
        date = time.asctime(time.localtime(clock.now))
        assert shown(call, third).state_label == "Pending"
        assert shown(call, third).message == f"{date}: [HOST] Not enough CPU on hosts: 0"
        clock.now += 3600
        assert pool(call)[0].message == f"{date}: [HOST] Not enough CPU on hosts: 0"
        stage.runs(first)
        stage.halts(first)
        assert shown(call, third).state_label == "Pending", "an instance that is Unknown keeps what it has"
        call("one.vm.action", "terminate-hard", first)
        instance = shown(call, third)
        assert (instance.state_label, instance.message) == ("Prolog", "")
        assert stage.actors.living == {second, third}

    def test_stratuslab_s_own_server_says_why_too(self, call: Caller) -> None:
        number = started(call, SMALL.replace("CPU=1", "CPU=1000"))
        waiting = shown(call, number, profile="stratuslab-3")
        assert (waiting.state_label, waiting.message) == ("Pending", "[HOST] Not enough CPU on hosts: 0")
        call("one.vm.action", "finalize", number, profile="stratuslab-3")
        assert shown(call, number, profile="stratuslab-3").message == ""

    def test_memory_counts_and_smaller_ones_pass(self, call: Caller, stage: Stage) -> None:
        configure(stage.engine, capacity=Capacity(16, 256))
        big, small = started(call, "CPU=1\nMEMORY=999"), started(call, SMALL)
        assert shown(call, big).message.endswith("[HOST] Not enough MEMORY on hosts: 0. No host is that large")
        assert shown(call, small).state_label == "Prolog"

    def test_room_is_used_when_a_guest_has_shut_down(self, call: Caller, stage: Stage) -> None:
        configure(stage.engine, capacity=Capacity(1, 256))
        first, second = started(call, SMALL), started(call, SMALL)
        stage.runs(first)
        call("one.vm.action", "terminate", first)
        stage.halts(first)
        assert stage.actors.living == {second}

    def test_decimals_fill_the_host_exactly(self, call: Caller, stage: Stage) -> None:
        configure(stage.engine, capacity=Capacity(1, 4096))
        for _ in range(10):
            started(call, "CPU=0.1\nMEMORY=1")
        assert len(stage.actors.living) == 10

    def test_a_reading_writes_nothing(self, call: Caller, stage: Stage) -> None:
        configure(stage.engine, capacity=Capacity(1, 256))
        started(call, SMALL), started(call, SMALL)
        stage.runs(1)
        changes = "SELECT total_changes()"
        before = stage.engine.store.query(changes)
        pool(call), shown(call, 1), shown(call, 2)
        assert stage.engine.store.query(changes) == before


class TestLeases:
    def test_networks_and_macs(self, call: Caller) -> None:
        nics = "".join(f'NIC=[NETWORK="{name}"]\n' for name in ("public", "local", "private"))
        instance = shown(call, started(call, SMALL + nics))
        assert instance.addresses == ("127.101.0.1", "127.102.0.1", "127.103.0.1")
        macs = [text for path, text in leaves(instance.document) if path == "TEMPLATE/NIC/MAC"]
        assert macs == ["02:00:7f:65:00:01", "02:00:7f:66:00:01", "02:00:7f:67:00:01"]

    def test_a_requested_address(self, call: Caller) -> None:
        asked = SMALL + 'NIC=[NETWORK="public",IP="127.101.0.77"]'
        assert shown(call, started(call, asked)).addresses == ("127.101.0.77",)
        for template in (asked, asked.replace("101", "109"), asked.replace("127.101.0.77", "rubbish")):
            message = "[one.vm.allocate] Cannot get IP/MAC lease from virtual network 0."
            assert refused(call("one.vm.allocate", template)) == (message, 8192, -1)
        call("one.vm.action", "terminate-hard", 1)
        assert shown(call, started(call, asked)).addresses == ("127.101.0.77",)

    def test_an_exhausted_range(self, call: Caller, stage: Stage) -> None:
        configure(stage.engine, ranges={"public": ("134.158.75.201", 2)}, first_instance=165)
        nic = SMALL + 'NIC=[NETWORK="public"]'
        assert [started(call, nic), started(call, nic)] == [165, 166]
        assert [shown(call, number).addresses for number in (165, 166)] == [("134.158.75.201",), ("134.158.75.202",)]
        assert refused(call("one.vm.allocate", nic))[1] == 8192
        call("one.vm.action", "terminate-hard", 165)
        assert shown(call, started(call, nic)).addresses == ("134.158.75.201",)

    def test_a_freed_address_rests(self, call: Caller) -> None:
        nic = SMALL + 'NIC=[NETWORK="public"]'
        call("one.vm.action", "terminate-hard", started(call, nic))
        assert shown(call, started(call, nic)).addresses == ("127.101.0.2",)

    def test_the_address_is_known_while_pending(self, call: Caller, stage: Stage) -> None:
        configure(stage.engine, capacity=Capacity(0.5, 64))
        instance = shown(call, started(call))
        assert (instance.state_label, instance.addresses) == ("Pending", ("127.101.0.1",))


class TestOwners:
    def test_rights(self, call: Caller) -> None:
        number = started(call, RECORDED, user="alice")
        assert shown(call, number, user="alice").owner == "alice"
        message = "[one.vm.info] User [3] : Not authorized to perform USE VM [1]."
        assert refused(call("one.vm.info", number, user="bob")) == (message, 512, -1)
        message = "[one.vm.action] User [3] : Not authorized to perform MANAGE VM [1]."
        assert refused(call("one.vm.action", "terminate", number, user="bob")) == (message, 512, -1)
        message = "[one.vm.action] User [2] : Not authorized to perform ADMIN VM [1]."
        assert refused(call("one.vm.action", "delete", number, user="alice")) == (message, 512, -1)
        assert call("one.vm.action", "delete", number)[1] == '[one.vm.action] Action "delete" is not supported'
        assert call("one.vm.action", "terminate-hard", number) == [True, 1, 0]

    def test_unknown_ids(self, call: Caller) -> None:
        for number in (0, 99999, -1, 2**31 - 1):
            answer = refused(call("one.vm.info", number))
            assert answer == (f"[one.vm.info] Error getting virtual machine [{number}].", 1024, number)
        assert refused(call("one.vm.action", "terminate", 7))[1:] == (1024, 7)

    def test_filters(self, call: Caller) -> None:
        mine, others = started(call, SMALL, user="alice"), started(call, SMALL, user="bob")
        third = started(call, SMALL)

        def ids(owner: int, user: str = "oneadmin") -> list[int]:
            return [instance.id for instance in pool(call, owner, -1, -1, -1, user=user)]

        assert ids(-2) == [third, others, mine]
        assert (ids(-3), ids(-1)) == ([third], [third])
        assert (ids(2), ids(3), ids(77)) == ([mine], [others], [])
        assert (ids(-3, "alice"), ids(-2, "alice"), ids(2, "alice"), ids(3, "alice")) == ([mine], [mine], [mine], [])
        assert refused(call("one.vmpool.info", -5, -1, -1, -1))[:2] == ("[one.vmpool.info] Incorrect filter_flag", 4096)
        assert refused(call("one.vmpool.info", -3, -1, -1, -3))[1] == 4096

    def test_states_and_pages(self, call: Caller) -> None:
        for _ in range(7):
            started(call, SMALL)
        call("one.vm.action", "terminate-hard", 4)

        def ids(start: int, end: int, state: int) -> list[int]:
            return [instance.id for instance in pool(call, -2, start, end, state)]

        assert ids(-1, -1, -1) == [7, 6, 5, 3, 2, 1]
        assert ids(-1, -1, -2) == [7, 6, 5, 4, 3, 2, 1]
        assert (ids(-1, -1, 6), ids(-1, -1, 3), ids(-1, -1, 1)) == ([4], [7, 6, 5, 3, 2, 1], [])
        assert (ids(0, -5, -1), ids(5, -5, -1), ids(10, -5, -1)) == ([7, 6, 5, 3, 2], [1], [])
        assert (ids(2, 5, -1), ids(3, -1, -1)) == ([5, 3, 2], [7, 6, 5, 3])

    def test_many_are_read_in_pieces(self, call: Caller, stage: Stage) -> None:
        configure(stage.engine, capacity=Capacity(0.001, 1))
        for _ in range(450):
            stage.engine.allocate(stage.engine.user("oneadmin"), SMALL, hold=True)
        numbers = list(range(450, 0, -1))
        assert [instance.id for instance in pool(call)] == numbers
        assert [instance.id for instance in pool(call, -3, 10, -300, -1)] == numbers[10:310]
        legacy = pool(call, -3, -1, -1, -1, profile="stratuslab-3")
        assert [instance.id for instance in legacy] == numbers[::-1]

    def test_a_set_of_ids(self, call: Caller) -> None:
        started(call, SMALL, user="alice"), started(call, SMALL, user="bob"), started(call, SMALL, user="alice")

        def ids(text: str, user: str) -> list[int]:
            ok, document, *_ = call("one.vmpool.infoset", text, True, user=user)
            assert ok
            return [int(element.findtext("ID", "")) for element in ElementTree.fromstring(document)]

        assert ids("1,2,3,99", "alice") == [1, 3]
        assert ids("", "alice") == []
        assert refused(call("one.vmpool.infoset", "1,x", True))[1] == 4096


class TestProfiles:
    def test_what_stratuslab_s_own_server_says(self, call: Caller, stage: Stage) -> None:
        started(call), started(call)
        stage.runs(1)
        stage.polled(1, 3.7, 131072)
        stage.engine.machine_failed(2, Lcm.PROLOG, "Image sha1 checksum check failed.")
        running, failed = pool(call, profile="stratuslab-3")
        assert (running.state_label, running.memory_kib, running.cpu_percent) == ("Running", 131072, 4.0)
        assert running.document.find("MONITORING") is None
        assert running.document.find("USER_TEMPLATE") is None
        assert (running.token, failed.state_label) == ("f00d", "Failed")
        assert failed.message == "Error executing image transfer script: Image sha1 checksum check failed."
        assert [one.id for one in pool(call, -3, -1, -1, 7, profile="stratuslab-3")] == [2]
        assert [one.id for one in pool(call, -3, -1, -1, 3, profile="stratuslab-3")] == [1]
        assert call("one.system.version", profile="stratuslab-3").faultCode == -506

    @pytest.mark.parametrize(("profile", "version"), [("opennebula-7", "7.4.0"), ("opennebula-4", "4.14.2")])
    def test_versions(self, call: Caller, profile: str, version: str) -> None:
        assert call("one.system.version", profile=profile) == [True, version, 0]

    def test_failures_have_the_length_of_their_time(self, call: Caller) -> None:
        text = "Error getting virtual machine [9]."
        assert call("one.vm.info", 9, profile="opennebula-4") == [False, f"[VirtualMachineInfo] {text}", 1024]
        assert call("one.vm.info", 9, profile="stratuslab-3") == [False, f"[VirtualMachineInfo] {text}", 1024]
        assert call("one.vm.info", 9) == [False, f"[one.vm.info] {text}", 1024, 9, -1]
        refusal = call("one.vm.allocate", "CPU=1", profile="stratuslab-3")
        message = "Error allocating a new virtual machine. MEMORY attribute must be a positive integer value."
        assert refusal == [False, f"[VirtualMachineAllocate] {message}", 8192]

    @pytest.mark.parametrize("profile", ["opennebula-4", "stratuslab-3"])
    def test_old_names_of_actions(self, call: Caller, stage: Stage, profile: str) -> None:
        for number, name in enumerate(("finalize", "cancel", "shutdown"), 1):
            stage.runs(started(call))
            assert call("one.vm.action", name, number, profile=profile) == [True, number, 0]
        assert [shown(call, number).state_label for number in (1, 2, 3)] == ["Done", "Done", "Done"]
        assert call("one.vm.action", "finalize", 1, profile=profile) == [True, 1, 0]
        stage.runs(started(call))
        assert call("one.vm.action", "terminate", 4, profile=profile)[2] == (8192 if profile == "stratuslab-3" else 2048)
        if profile == "stratuslab-3":
            answer = call("one.vm.action", "resume", 4, profile=profile)
            assert answer == [False, "[VirtualMachineAction] Wrong state to perform action", 2048]


class TestAdministration:
    def test_status(self, call: Caller, stage: Stage) -> None:
        configure(stage.engine, capacity=Capacity(2, 1024))
        for _ in range(4):
            started(call, SMALL)
        stage.runs(1)
        call("one.vm.action", "terminate-hard", 2)
        now = status(stage.engine)
        assert now.instances == {"Done": 1, "Pending": 1, "Prolog": 1, "Running": 1}
        assert (now.used, now.capacity) == (Capacity(2, 256), Capacity(2, 1024))
        assert (now.supervisors, now.images, now.volumes) == (2, 4, 0)
        assert now.directory == stage.engine.store.directory

    def test_one_folder_that_cannot_be_read_does_not_hide_the_others(self, call: Caller, stage: Stage) -> None:
        for _ in range(2):
            stage.runs(started(call))
        alive = stage.actors.alive

        def unreadable(instance: int) -> bool:
            if instance == 1:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return alive(instance)

        stage.actors.alive = unreadable  # type: ignore[method-assign]
        stage.actors.living.clear()
        assert {number: shown(call, number).state_label for number in (1, 2)} == {1: "Running", 2: "Unknown"}
        assert status(stage.engine).instances == {"Running": 1, "Unknown": 1}
        with pytest.raises(StratusLabError, match="cannot control the process of machine 1 of the embedded cloud: permission"):
            stage.engine.reconciler.alive(1)

    @pytest.mark.parametrize("machines", [4, 40])
    def test_calls_about_one_instance_look_after_no_other(self, call: Caller, stage: Stage, machines: int) -> None:
        configure(stage.engine, capacity=Capacity(machines, 1 << 20))
        for _ in range(machines):
            stage.runs(started(call, SMALL))
        asked: list[int] = []
        alive = stage.actors.alive
        stage.actors.alive = lambda instance: asked.append(instance) or alive(instance)  # type: ignore[method-assign,func-returns-value]
        shown(call, 2)
        call("one.vm.action", "terminate-hard", 3)
        assert set(asked) == {2, 3}
        assert len(asked) <= 4

    def test_reset(self, call: Caller, stage: Stage) -> None:
        configure(stage.engine, capacity=Capacity(2, 1024))
        for _ in range(3):
            started(call, STRATUSLAB)
        directory = stage.engine.machine(1).directory
        assert reset(stage.engine) == 3
        assert stage.actors.living == set()
        assert pool(call, -2, -1, -1, -2) == []
        assert not directory.exists()
        assert not stage.engine.machine_reached(1, Lcm.RUNNING)
        assert started(call) == 4, "a number was given twice"
        assert shown(call, 4).addresses == ("127.101.0.1",)
        assert reset(stage.engine) == 1
        assert reset(stage.engine) == 0

    def test_reset_gives_up_when_instances_never_end_to_come(self, call: Caller, stage: Stage) -> None:
        started(call)
        kill = stage.actors.kill

        def busy(instance: int) -> None:
            kill(instance)
            stage.actors.kill = kill  # type: ignore[method-assign]
            started(call)
            stage.actors.kill = busy  # type: ignore[method-assign]

        stage.actors.kill = busy  # type: ignore[method-assign]
        with pytest.raises(StratusLabError, match="keep starting machines"):
            reset(stage.engine)

    def test_default_capacity(self, stage: Stage) -> None:
        capacity = Capacity.read(stage.engine.store)
        assert capacity.cpu >= 16
        assert capacity.memory_mib >= 8192


def test_users_are_numbered_from_two(stage: Stage) -> None:
    assert [stage.engine.user(name).id for name in ("alice", "bob", "alice", "oneadmin")] == [2, 3, 2, 0]


def test_dates_are_opennebula_s(call: Caller, stage: Stage) -> None:
    configure(stage.engine, capacity=Capacity(0.1, 1))
    message = shown(call, started(call)).message
    assert re.match(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}: \[HOST\]", message)
