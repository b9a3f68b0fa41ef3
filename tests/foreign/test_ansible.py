"""Ansible's modules and inventory for OpenNebula as clients of the embedded cloud. ``tox -e foreign`` runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stratuslab.testing import EmbeddedOpenNebula
from tests.harness import CHECKOUT, TTYLINUX

pytestmark = pytest.mark.foreign

_BESIDE_PYTHON = str(Path(sys.executable).parent)


def program(name: str) -> str:
    """One of Ansible's programs. Without it the test is skipped, or fails where $STRATUSLAB_TESTS_NEED_ANSIBLE is set."""
    found = shutil.which(name, path=_BESIDE_PYTHON)
    if found is None:
        if os.environ.get("STRATUSLAB_TESTS_NEED_ANSIBLE"):
            pytest.fail(f"{name} is not installed beside {sys.executable}")
        pytest.skip("Ansible is not installed")
    return found


def environment(served: EmbeddedOpenNebula) -> dict[str, str]:
    return {
        **served.environ,
        "HOME": str(served.directory),
        "LANG": "C.UTF-8",
        "PATH": f"{_BESIDE_PYTHON}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_HOME": str(served.directory / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
    }


def ran(name: str, served: EmbeddedOpenNebula, *arguments: str) -> Any:
    """What one of Ansible's programs printed, read as JSON."""
    words, environ, place = [program(name), *arguments], environment(served), served.directory
    done = subprocess.run(words, capture_output=True, text=True, env=environ, cwd=place, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def played(served: EmbeddedOpenNebula, *tasks: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What each of a playbook's tasks, a module with its arguments, returned. ``{{ made }}`` holds the first one's ids."""
    steps = []
    for place, (module, arguments) in enumerate(tasks):
        step = {f"community.general.{module}": arguments, "register": f"step{place}"}
        steps.append({**step, "vars": {"made": "{{ step0.instances_ids }}"}} if place else step)
    playbook = served.directory / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": steps}]))
    answer = ran("ansible-playbook", served, str(playbook))
    return [task["hosts"]["localhost"] for task in answer["plays"][0]["tasks"]]


def states(step: dict[str, Any]) -> list[str]:
    return [machine["lcm_state"] or machine["state"] for machine in step["instances"]]


def test_a_machine_s_life(served: EmbeddedOpenNebula) -> None:
    def vm(state: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        return "one_vm", {"instance_ids": "{{ made }}", "state": state, **arguments}

    made, asked, off, off_again, on, rebooted, gone = played(
        served,
        ("one_vm", {"template_name": "tiny", "labels": ["blue", "night shift"], "attributes": {"name": "one", "team": "x"}}),
        vm("present"),
        vm("poweredoff"),
        vm("poweredoff", hard=True),
        vm("running"),
        vm("rebooted"),
        vm("absent"),
    )
    (machine,) = made["instances"]
    assert (machine["vm_id"], machine["vm_name"], machine["template_id"]) == (1, "one", 0)
    assert (machine["owner_name"], machine["labels"], machine["attributes"]["TEAM"]) == (
        served.username,
        ["blue", "night shift"],
        "x",
    )
    assert (machine["vcpu"], machine["memory"], machine["disk_size"]) == ("1", "128 MB", ["64 MB"])
    assert [nic["name"] for nic in machine["networks"]] == ["public"]
    assert [step["changed"] for step in (made, asked, off, off_again, on, rebooted, gone)] == [
        *(True, False, True, False, True, True, True)
    ]
    assert list(map(states, (made, asked, off, off_again, on, rebooted, gone))) == [
        *(["RUNNING"], ["RUNNING"], ["POWEROFF"], ["POWEROFF"], ["RUNNING"], ["RUNNING"], ["DONE"])
    ]


def test_as_many_as_are_wanted(served: EmbeddedOpenNebula) -> None:
    named = {"template_id": 0, "wait": False, "attributes": {"name": "node-##"}, "count_attributes": {"name": "node-##"}}
    labelled = {"template_id": 1, "hard": True, "labels": ["batch"], "count_labels": ["batch"], "attributes": {"name": "b"}}
    two, on_hold, three, same, one, labels, none = played(
        served,
        ("one_vm", {"template_id": 0, "count": 2, "disk_size": ["1 GB"]}),
        ("one_vm", {"template_id": 0, "vm_start_on_hold": True, "networks": [{"NETWORK_ID": 2}], "memory": "64 MB"}),
        ("one_vm", {**named, "exact_count": 3}),
        ("one_vm", {**named, "exact_count": 3}),
        ("one_vm", {**named, "exact_count": 1, "hard": True}),
        ("one_vm", {**labelled, "exact_count": 1}),
        ("one_vm", {**labelled, "exact_count": 0}),
    )
    assert [machine["disk_size"] for machine in two["instances"]] == [["1024 MB"]] * 2
    assert (states(on_hold), on_hold["instances"][0]["memory"]) == (["HOLD"], "64 MB")
    assert [nic["name"] for nic in on_hold["instances"][0]["networks"]] == ["private"]
    assert [machine["vm_name"] for machine in three["instances"]] == ["node-00", "node-01", "node-02"]
    assert (same["changed"], len(same["tagged_instances"])) == (False, 3)
    assert (one["changed"], len(one["tagged_instances"]), len(one["instances"])) == (True, 1, 2)
    assert (labels["instances"][0]["labels"], labels["instances"][0]["template_id"]) == (["batch"], 1)
    assert (none["changed"], none["tagged_instances"]) == (True, [])


def test_images(served: EmbeddedOpenNebula) -> None:
    everything, ttylinux, by_number = played(
        served,
        ("one_image_info", {}),
        ("one_image_info", {"name": "ttylinux"}),
        ("one_image_info", {"ids": "{{ step1.images | map(attribute='id') }}"}),
    )
    assert ttylinux["images"] == by_number["images"]
    assert [(image["name"], image["source"]) for image in ttylinux["images"]] == [("ttylinux", TTYLINUX)]
    assert len(everything["images"]) > 1


def test_the_inventory(served: EmbeddedOpenNebula) -> None:
    tiny = {"template_id": 0, "labels": ["web", "night shift"]}
    (made,) = played(served, ("one_vm", {**tiny, "attributes": {"name": "front"}}))
    source = served.directory / "mine.opennebula.yml"
    source.write_text(json.dumps({"plugin": "community.general.opennebula", "group_by_labels": True}))
    inventory = ran("ansible-inventory", served, "-i", str(source), "--list")
    address = made["instances"][0]["networks"][0]["ip"]
    assert inventory["web"]["hosts"] == inventory["night_shift"]["hosts"] == ["front"]
    known = inventory["_meta"]["hostvars"]["front"]
    # What came from elsewhere is marked so by Ansible.
    assert known["ansible_host"] in (address, {"__ansible_unsafe": address})
    assert known["id"] == 1


def test_the_playbook_of_the_manual(tmp_path: Path) -> None:
    program("ansible-playbook")
    page = (CHECKOUT / "docs" / "testing-against-a-fake-opennebula.rst").read_text("utf-8")
    found = re.search(r"code-block:: yaml\n\n((?:    .*\n|\n)+)\.\. code-block:: text\n\n((?:    .*\n|\n)+)", page)
    assert found is not None
    playbook, test = (re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found.groups())
    (tmp_path / "playbook.yml").write_text(playbook)
    (tmp_path / "test_mine.py").write_text(f"import os\nimport subprocess\n\n\n{test}")
    names = ("STRATUSLAB_LOCAL_ADDRESSES",)
    environ = {"HOME": str(tmp_path), "LANG": "C.UTF-8", "PYTHONPATH": str(CHECKOUT)} | {name: os.environ[name] for name in names}
    environ["PATH"] = f"{_BESIDE_PYTHON}{os.pathsep}{os.environ['PATH']}"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "stratuslab.testing.pytest_plugin", "test_mine.py"]
    done = subprocess.run(words, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
