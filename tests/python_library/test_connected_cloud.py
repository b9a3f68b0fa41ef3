"""The library as a program uses it, against a served cloud whose machines the test moves."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stratuslab
from stratuslab.python_library.python_hints import for_program
from tests.commands.test_search_image import small_entry
from tests.fakes.faulty_proxy import FaultyProxy
from tests.fakes.mishaps import lost, refused
from tests.fakes.scripted_server import Scripted, document
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Shell


@pytest.fixture
def home(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program's home, in which nothing is configured."""
    monkeypatch.setenv("HOME", str(shell.home))
    for name in ("STRATUSLAB_ENDPOINT", "STRATUSLAB_LOCAL_DIR", "ONE_XMLRPC", "ONE_AUTH"):
        monkeypatch.delenv(name, raising=False)
    return shell.home


def connected(endpoint: str, marketplace: str) -> stratuslab.ConnectedCloud:
    return stratuslab.connect(endpoint, username="alice", password="secret", marketplace_endpoint=marketplace)


@pytest.fixture
def cloud(home: Path, serve: Serve) -> Iterator[stratuslab.ConnectedCloud]:
    urls = serve()
    with connected(urls.rpc, urls.marketplace) as cloud:
        yield cloud


def test_what_was_asked_for_is_what_the_machine_has(cloud: stratuslab.ConnectedCloud):
    vm = cloud.run(TTYLINUX, type="m1.large", ram="1G", name="web", labels=["a", "b"], context={"MOTTO": "1#2=3"})
    assert (vm.name, vm.labels, vm.vcpu, vm.memory_requested) == ("web", ("a", "b"), 2, "1024")
    assert vm.context["MOTTO"] == "1#2=3"
    assert [one.id for one in cloud.instances(label="a", state="prolog")] == [vm.id]
    assert cloud.instances("name~^x") == []
    assert cloud.instance("web").id == cloud.instance(vm.id).id == vm.id


def test_a_catalogue_of_a_marketplace_that_is_gone(home: Path, scripted: Scripted, caplog: pytest.LogCaptureFixture):
    server = scripted(document(b"<metadata>" + small_entry(1) + b"</metadata>"))
    marketplace = stratuslab.open_marketplace(server.url)
    found = list(marketplace.search(stratuslab.ImageQuery()))
    assert [entry.identifier for entry in found] == [f"A{1:026}"]
    assert marketplace.as_of is None
    server.close()
    assert list(marketplace.search(stratuslab.ImageQuery())) == found
    assert marketplace.as_of is not None
    assert f"using its catalogue as of {marketplace.as_of:%Y-%m-%d}" in caplog.text


def test_an_image_that_must_be_signed(cloud: stratuslab.ConnectedCloud, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(stratuslab.StratusLabError) as refused:
        cloud.run(TTYLINUX, verify_image=True)
    assert refused.value.message == f"image {TTYLINUX}: its metadata is not signed"
    assert refused.value.hint == "to start it all the same, add verify_image=False"
    monkeypatch.setenv("STRATUSLAB_VERIFY_IMAGE", "yes")
    assert cloud.run(TTYLINUX, verify_image=False).id == 1


def test_actions_follow_each_other(cloud: stratuslab.ConnectedCloud, stage: Stage):
    vm = cloud.run(TTYLINUX)
    stage.runs(vm.id)
    vm.wait()
    vm.rename("db")
    vm.label("x", "y")
    vm.label(remove=["x"])
    vm.stop(wait=False)
    assert (vm.name, vm.labels, vm.state_label) == ("db", ("y",), "Poweroff")
    assert vm.wait("poweroff", timeout=5) is vm
    assert vm.why().startswith("has been powered off for ")
    assert [one.id for one in cloud.instances("reason~powered off")] == [vm.id]
    vm.start(wait=False)
    stage.runs(vm.id)
    vm.wait("running", timeout=5)
    assert vm.state_label == "Running"
    vm.kill()
    assert vm.done


def test_those_of_a_batch_that_are_there_come_with_the_error(home: Path, serve: Serve):
    urls = serve()
    proxy = FaultyProxy(urls.rpc, {"one.vm.allocate": [None, refused]})
    try:
        with connected(proxy.url, urls.marketplace) as cloud:
            with pytest.raises(stratuslab.BatchFailed) as failed:
                cloud.run(TTYLINUX, count=2)
            assert [vm.id for vm in failed.value.machines] == [vm.id for vm in cloud.instances()]
            assert [type(cause) for cause in failed.value.causes] == [stratuslab.Refused]
    finally:
        proxy.close()


@pytest.mark.usefixtures("hurried")
def test_a_machine_whose_answer_was_lost_is_found(home: Path, serve: Serve):
    urls = serve()
    proxy = FaultyProxy(urls.rpc, {"one.vm.allocate": [lost]})
    try:
        with connected(proxy.url, urls.marketplace) as cloud:
            vm = cloud.run(TTYLINUX)
            assert [one.id for one in cloud.instances()] == [vm.id]
    finally:
        proxy.close()


def test_waiting_says_which_did_not_get_there(cloud: stratuslab.ConnectedCloud, stage: Stage):
    machines = cloud.run(TTYLINUX, count=2)
    stage.runs(machines[0].id)
    with pytest.raises(stratuslab.BatchFailed) as failed:
        cloud.wait(machines, "running", timeout=0.3)
    assert failed.value.machines == [machines[0]]
    (cause,) = failed.value.causes
    assert isinstance(cause, stratuslab.TimedOut)
    assert cause.hint == "wait longer with timeout="
    with pytest.raises(stratuslab.TimedOut):
        machines[1].wait("running", timeout=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cpu": 0}, 'cpu: invalid value "0": expected a whole number from 1 to 1024'),
        ({"labels": ["a,b"]}, 'labels: invalid label "a,b": expected text without commas'),
        ({"context": {"A B": "c"}}, "--context"),
        ({"cpus": 2}, None),
    ],
)
def test_what_cannot_be_meant_is_an_error(cloud: stratuslab.ConnectedCloud, arguments: Any, message: str | None):
    with pytest.raises(TypeError if message is None else stratuslab.UsageError) as failed:
        cloud.run(TTYLINUX, **arguments)
    if message and "--" not in message:
        assert str(failed.value) == message


def test_hints_name_methods_and_arguments():
    error = stratuslab.NotFound("no machine 5", "kill it: stratus-kill-instance 5, or see --network and --wait-timeout")
    assert for_program(error).hint == "kill it: cloud.instance(5).kill(), or see networks= and timeout="
    untouched = "an administrator can run onevm recover --delete 5; stratus-describe-instance --console 5 shows its console"
    assert for_program(stratuslab.TimedOut("late", untouched)).hint == untouched


def test_nothing_is_printed_and_signals_stay(
    cloud: stratuslab.ConnectedCloud,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    caplog.set_level(logging.DEBUG, "stratuslab")
    handlers: list[object] = []
    with monkeypatch.context() as changed:
        changed.setattr(signal, "signal", lambda *given: handlers.append(given))
        cloud.run(TTYLINUX, count=3, name="same")
    assert capfd.readouterr() == ("", "")
    assert handlers == []
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ['all 3 machines will be called "same": use their ids, or name_prefix=']
    assert "secret" not in caplog.text
    assert any(record.name == "stratuslab.wire" and "one.vm.allocate" in record.message for record in caplog.records)


def test_the_package_names_what_it_has_and_loads_nothing():
    assert set(stratuslab.__all__) <= set(dir(stratuslab))
    assert all(getattr(stratuslab, name) is not None for name in stratuslab.__all__)
    program = "import stratuslab, sys; print(*(name for name in sys.modules if name.startswith(('stratuslab.', 'logging'))))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ran.stdout == "stratuslab.version\n"
