"""Answers in other forms than the guide's: JSON by its schema, CSV, ids; columns, order, filters; terminals."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import jsonschema
import pytest

from stratuslab.errors import ExitStatus
from stratuslab.opennebula.states import Lcm
from stratuslab.output.image_columns import CATALOGUE, IMAGE_DETAILS, NETWORKS
from stratuslab.output.local_cloud_columns import CLOUD_STATUS, IMAGES, VOLUMES
from stratuslab.output.result_columns import COPIES, INSTANCES, SECTIONS, SETTINGS, TYPES, Column, RowKind
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Ran, Shell

KINDS = (INSTANCES, TYPES, SETTINGS, SECTIONS, COPIES, CATALOGUE, IMAGE_DETAILS, NETWORKS, IMAGES, VOLUMES, CLOUD_STATUS)
SCHEMA = json.loads((CHECKOUT / "docs" / "answers.schema.json").read_text("utf-8"))


def document(ran: Ran) -> dict[str, Any]:
    """The JSON that a command answered, which must be by the schema."""
    found: dict[str, Any] = json.loads(ran.out)
    jsonschema.validate(found, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert found["status"] == ran.status
    assert bool(found["errors"]) == bool(ran.status)
    assert found.keys() <= SCHEMA["properties"].keys()
    return found


@pytest.fixture
def reconciler(alice: Shell, stage: Stage) -> Shell:
    """Three machines: one runs, one failed, one is on its way."""
    for number in "123":
        assert alice("run", "--vm-name", f"node-{number}", "--label", "batch", "--label", "night", TTYLINUX).status == 0
    stage.runs(1)
    stage.polled(1, cpu_percent=12.4, memory_kib=131072)
    stage.engine.machine_reached(2, Lcm.PROLOG)
    stage.engine.machine_failed(2, Lcm.PROLOG, "no space left")
    return alice


def test_the_schema_is_one_and_has_the_columns() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for kind in KINDS:
        row = SCHEMA["properties"][kind.name]["items"]["$ref"].rpartition("/")[2]
        assert list(SCHEMA["$defs"][row]["properties"]) == [column.name for column in kind.columns]


def test_every_column_is_in_the_manual() -> None:
    page = (CHECKOUT / "docs" / "answers.rst").read_text("utf-8")
    assert [column.name for column in INSTANCES.columns if f"   * - ``{column.name}``\n" not in page] == []
    rows = dict(re.findall(r"^   \* - (.+)\n     - (``.*(?:\n       .*)*)", page, re.MULTILINE))
    documented = [re.findall("``([a-z_]+)``", columns) for about, columns in rows.items() if "(``stratus-" in about]
    assert documented == [[column.name for column in _usual_first(kind)] for kind in KINDS if kind is not INSTANCES]


def _usual_first(kind: RowKind) -> list[Column]:
    return [*kind.usual, *(column for column in kind.columns if not column.usual)]


def test_json_is_laid_out_as_by_json_itself(reconciler: Shell) -> None:
    for arguments in (["--format", "json"], ["--format", "json", "--columns", "addresses,name,vcpu"], ["--format=json", "77"]):
        out = reconciler("describe", *arguments).out
        assert out == json.dumps(json.loads(out), indent=2) + "\n"


def test_describe_as_json(reconciler: Shell) -> None:
    first, second, third = document(reconciler("describe", "--format", "json"))["instances"]
    assert (first["id"], first["state"], first["memory_kib"], first["cpu_percent"]) == (1, "Running", 131072, 12.4)
    assert first["addresses"] == first["host_ip"] == ["127.101.0.1"]
    assert first["labels"] == ["batch", "night"]
    assert (first["owner"], first["networks"], first["host"]) == ("alice", ["public"], "localhost")
    assert first["ended"] is None
    assert (second["state"], second["failed"]) == ("Prolog_Failure", True)
    assert "no space left" in second["message"]
    assert third["message"] is None


def test_the_same_columns_before_and_after(alice: Shell, stage: Stage) -> None:
    started = document(alice("run", "-n", "2", "--format", "json", TTYLINUX))["instances"]
    described = document(alice("describe", "--format", "json"))["instances"]
    stage.runs(1)
    stage.runs(2)
    killed = document(alice("kill", "1", "2", "--format", "json"))["instances"]
    assert [list(row) for row in started] == [list(row) for row in described] == [list(row) for row in killed]
    assert [row["state"] for row in killed] == ["Done", "Done"]
    assert all(row["ended"] >= row["started"] for row in killed)


def test_types_as_json(shell: Shell) -> None:
    types = document(shell("run", "--list-types", "--format", "json"))["types"]
    assert {"name": "m1.small", "cpu": 1, "ram_mib": 128, "swap_mib": 1024, "selected": True} in types


def test_plan_as_json(alice: Shell, stage: Stage) -> None:
    ran = alice(
        "run", "--dry-run", "-n", "2", "--name-prefix", "n", "--context", "DB_PASSWORD=hunter2", "--format=json", TTYLINUX
    )
    plan = document(ran)["plan"]
    assert (plan["count"], plan["names"]) == (2, ["n1", "n2"])
    assert 'NAME = "n2"' in plan["templates"][1]
    assert "hunter2" not in ran.out + ran.err
    assert list(stage.engine.store.query("SELECT id FROM instances")) == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("describe", "99"), ExitStatus.NOT_FOUND),
        (("describe", "1", "99"), ExitStatus.PARTIAL),
        (("describe", "--colums", "id"), ExitStatus.USAGE),
        (("describe", "--columns", "nosuch"), ExitStatus.USAGE),
        (("describe", "--endpoint", "http://127.0.0.1:1"), ExitStatus.UNREACHABLE),
        (("describe", "-p", "wrong"), ExitStatus.DENIED),
        (("kill", "99", "98"), ExitStatus.NOT_FOUND),
        (("kill",), ExitStatus.USAGE),
        (("shutdown", "99"), ExitStatus.NOT_FOUND),
        (("run", "--address", "10.9.8.7", TTYLINUX), ExitStatus.FAILED),
        (("run",), ExitStatus.USAGE),
        (("config", "--check", "-p", "wrong"), ExitStatus.DENIED),
    ],
)
def test_failures_as_json(reconciler: Shell, arguments: tuple[str, ...], status: int) -> None:
    ran = reconciler(*arguments, "--format", "json")
    assert ran.status == status
    found = document(ran)
    assert ran.err
    for error in found["errors"]:
        assert error["message"] in ran.err


def test_each_of_several_errors_is_told(reconciler: Shell) -> None:
    found = document(reconciler("kill", "99", "1", "98", "--format", "json"))
    assert [error["status"] for error in found["errors"]] == [ExitStatus.NOT_FOUND, ExitStatus.NOT_FOUND]
    assert [(row["id"], row["state"]) for row in found["instances"]] == [(1, "Done")]


def test_csv(reconciler: Shell) -> None:
    ran = reconciler("describe", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert list(rows[0]) == ["id", "state", "vcpu", "memory_kib", "cpu_percent", "host_ip", "name"]
    assert (rows[0]["cpu_percent"], rows[1]["state"], rows[2]["name"]) == ("12.4", "Prolog_Failure", "node-3")
    assert reconciler("describe", "--format", "csv", "--no-header").out.count("\n") == 3
    assert (
        reconciler("describe", "--format", "csv", "--filter", "id>9").out == "id,state,vcpu,memory_kib,cpu_percent,host_ip,name\n"
    )
    assert reconciler("describe", "--format", "csv", "--columns", "id,labels").out.splitlines()[1] == '1,"batch,night"'
    assert reconciler("describe", "--format", "csv", "99").out == ""


def test_ids(reconciler: Shell, stage: Stage) -> None:
    assert reconciler("describe", "--format", "ids") == Ran(0, "1\n2\n3\n", "")
    assert sorted(reconciler("run", "--format", "ids", "-n", "2", TTYLINUX).out.split()) == ["4", "5"]
    stage.runs(4)
    stage.runs(5)
    assert reconciler("kill", "--format", "ids", "4", "5") == Ran(0, "4\n5\n", "")
    assert reconciler("run", "--list-types", "--format", "ids", "--filter", "ram>1000").out == "c1.xlarge\nm1.xlarge\n"


@pytest.mark.parametrize(
    ("tests", "ids"),
    [
        (("state=Running",), "1"),
        (("state=running",), "1"),
        (("state!=running",), "2 3"),
        (("name=node-2",), "2"),
        (("name=NODE-2",), ""),
        (("name~^node-[12]$",), "1 2"),
        (("state~fail",), "2"),
        (("label=night",), "1 2 3"),
        (("label=nigh",), ""),
        (("label~^nigh",), "1 2 3"),
        (("id>1",), "2 3"),
        (("id>1", "id<3"), "2"),
        (("cpu%>12",), "1"),
        (("memory_kib=131072",), "1"),
        (("failed=yes",), "2"),
        (("started>2020-01-01",), "1 2 3"),
        (("started>2100",), ""),
        (("ended=",), "1 2 3"),
        (("address=127.101.0.3",), "3"),
    ],
)
def test_filters(reconciler: Shell, tests: tuple[str, ...], ids: str) -> None:
    options = [word for test in tests for word in ("--filter", test)]
    assert reconciler("describe", "--format", "ids", *options).out.split() == ids.split()


def test_order(reconciler: Shell) -> None:
    reconciler("run", "-n", "8", "--name-prefix", "node-1", TTYLINUX)

    def names(column: str) -> list[str]:
        return reconciler("describe", f"--sort={column}", "--columns", "name", "--no-header").out.split()

    assert names("name")[:4] == ["node-1", "node-2", "node-3", "node-11"]
    assert names("-name")[0] == "node-18"
    assert names("-cpu_percent")[0] == "node-1"
    assert names("host")[:2] == ["node-1", "node-2"], "what is not known comes last"


def test_columns(reconciler: Shell) -> None:
    ran = reconciler("describe", "--columns", "id,label,failed,address", "2")
    assert ran.out == "id  label       failed address\n2   batch,night yes    127.101.0.2\n"
    assert reconciler("describe", "--columns", "host/ip", "--no-header", "1").out == "127.101.0.1\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--columns", "id,stat"), ('"stat"', 'did you mean "state"?', "labels")),
        (("--sort", "nam"), ('"nam"', 'did you mean "name"?')),
        (("--filter", "labl=x"), ('"labl"', 'did you mean "label"?')),
        (("--filter", "state"), ("COL=VALUE",)),
        (("--filter", "name~("), ("regular expression",)),
        (("--filter", "id>many"), ("numbers", '"many"')),
        (("--colums", "id"), ('did you mean "--columns"?',)),
        (("--format", "jsn"), ('did you mean "json"?',)),
    ],
)
def test_typing_errors(reconciler: Shell, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    ran = reconciler("describe", *arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (ExitStatus.USAGE, "", 1)
    assert all(word in ran.err for word in words), ran.err


def test_a_wrong_column_starts_nothing(alice: Shell, stage: Stage) -> None:
    assert alice("run", "--columns", "nosuch", TTYLINUX).status == ExitStatus.USAGE
    assert list(stage.engine.store.query("SELECT id FROM instances")) == []


def test_a_type_that_is_nearly_one(alice: Shell) -> None:
    assert 'did you mean "m1.small"?' in alice("run", "--type", "m1.smal", TTYLINUX).err


def test_a_long_name_is_cut_at_a_terminal_only(alice: Shell) -> None:
    name = "a-name-that-goes-on-and-on-and-on-and-on"
    alice("run", "--vm-name", name, TTYLINUX)
    alice.environ["COLUMNS"] = "80"
    assert alice("describe").out.splitlines()[1].endswith(name)
    alice.terminal = True
    line = alice("describe").out.splitlines()[1]
    assert len(line) == 80
    assert line.endswith(" a-name-that-goes-on-a\u2026")
    assert alice("describe", "--wide").out.splitlines()[1].endswith(name)
    alice.environ["COLUMNS"] = "20"
    assert alice("describe").out.splitlines()[1].endswith("a-name-\u2026")


def test_a_plan_shows_no_secret_of_a_url(alice: Shell) -> None:
    for url in ("https://jane:hunter2@example.org/a.img", "https://example.org/a.img?token=hunter2&sig=hunter2"):
        for form in ("json", "table"):
            ran = alice("run", "-vvv", "--dry-run", "--format", form, "--readonly-disk", url, "--context", "DB_KEY=hunter2", url)
            assert ran.status == 0
            assert "example.org/a.img" in ran.out
            assert "hunter2" not in ran.out + ran.err


def test_csv_is_exact_and_a_spreadsheet_takes_no_cell_for_a_formula(alice: Shell, stage: Stage) -> None:
    names = ["=1+1", "+1", "-a,b", "@x, y", "\uff1d1", "plain, x"]
    for name in names:
        assert alice("run", f"--vm-name={name}", TTYLINUX).status == 0
    for form, apostrophes in (("csv", [""] * 6), ("spreadsheet", [*["'"] * 5, ""])):
        ran = alice("describe", "--format", form, "--columns", "cpu_percent,name")
        expected = [["", f"{before}{name}"] for before, name in zip(apostrophes, names, strict=True)]
        assert list(csv.reader(io.StringIO(ran.out))) == [["cpu_percent", "name"], *expected]


def test_what_servers_say_is_harmless_in_csv(alice: Shell, stage: Stage) -> None:
    alice("run", TTYLINUX)
    stage.engine.machine_reached(1, Lcm.PROLOG)
    stage.engine.machine_failed(1, Lcm.PROLOG, "red \x1b[31m alert")
    for form in ("csv", "json", "table"):
        assert "\x1b" not in alice("describe", "--format", form, "--columns", "message").out


class TestTheEmbeddedCloud:
    """What stratus-local-cloud lists, in every format."""

    @pytest.fixture
    def volume(self, shell: Shell) -> str:
        assert shell("local_cloud", "volumes", "create", "500M").status == 0
        return shell("local_cloud", "volumes", "create", "2", "--name", "da\x1b[31mta").out.strip()

    def test_images(self, shell: Shell) -> None:
        ran = shell("local_cloud", "images", "--columns", "identifier,size,title", "--sort=-size", "--filter", "size<2200000000")
        assert (ran.status, ran.err) == (0, "")
        assert ran.out == (
            "identifier                   size     title\n"
            "PyJQQWzmy-hfETQePvTsUbbrXeq  2.15 GB  debian-base-simulated\n"
            "EE11wnvooFb11APjtbu2PBbpg0m  268 MB   alpine-base-simulated\n"
            "BN1EEkPiBx87_uLj2-sdybSI-Xb  67.1 MB  ttylinux\n"
        )
        first, *_ = document(shell("local_cloud", "images", "--format", "json"))["images"]
        assert first == {
            "identifier": TTYLINUX,
            "size_bytes": 67108864,
            "content": "none",
            "kind": "simulated",
            "title": "ttylinux",
            "names": [],
        }
        ids = shell("local_cloud", "images", "--format", "ids", "--filter", "title~^tty")
        assert ids == Ran(0, f"{TTYLINUX}\n", "")
        ran = shell("local_cloud", "images", "--format", "csv", "--no-header", "--filter", "content=here")
        assert ran == Ran(0, "", "")

    def test_volumes(self, shell: Shell, volume: str) -> None:
        header, small, large = shell("local_cloud", "volumes").out.splitlines()
        assert header.split() == ["uuid", "size", "instance", "created", "name"]
        assert (small[38:44], small[-1]) == ("500 MB", "-")
        assert large.startswith(f"{volume}  2 GB    -         ")
        assert large.endswith("  da?[31mta")
        found = document(shell("local_cloud", "volumes", "--format", "json", "--filter", "size>1000"))["volumes"]
        assert [(row["uuid"], row["size_mib"], row["instance"]) for row in found] == [(volume, 2048, None)]
        ran = shell("local_cloud", "volumes", "list", "--format", "csv", "--columns", "name,size_mib", "--sort", "size")
        assert ran.out == "name,size_mib\n,500\nda?[31mta,2048\n"

    def test_options_before_the_verb_count(self, shell: Shell, volume: str) -> None:
        ran = shell("local_cloud", "volumes", "--filter", "size>1000", "--format", "ids", "list")
        assert ran == Ran(0, f"{volume}\n", "")

    def test_status(self, alice: Shell, stage: Stage) -> None:
        for _ in range(2):
            alice("run", "--vm-cpu-amount", "0.1", TTYLINUX)
        alice.environ["STRATUSLAB_LOCAL_DIR"] = str(stage.engine.store.directory)
        (found,) = document(alice("local_cloud", "status", "--format", "json"))["clouds"]
        assert (found["cpu_used"], found["cpu_total"] >= 16, found["memory_used_mib"], found["images"]) == (0.2, True, 256, 4)
        assert (found["instances"], found["states"]) == (2, ["2 Prolog_Failure"]), "no process runs them"
        assert found["directory"] == str(stage.engine.store.directory)
        ran = alice("local_cloud", "status", "--columns", "cpu,instances,memory_used_mib")
        assert ran.out.splitlines()[0].startswith("cpu        0.2 of ")
        assert ran.out.splitlines()[1] == "instances  2 (2 Prolog_Failure)"
        assert alice("local_cloud", "status", "--columns", "images", "--no-header").out == "4\n"
        assert alice("local_cloud", "status", "--filter", "volumes>0") == Ran(0, "", "")
        ran = alice("local_cloud", "status", "--format", "csv", "--columns", "instances,cpu_used")
        assert ran.out == "instances,cpu_used\n2,0.2\n"

    @pytest.mark.parametrize("action", ["status", "images", "volumes"])
    def test_a_wrong_column(self, shell: Shell, action: str) -> None:
        ran = shell("local_cloud", action, "--columns", "nosuch", "--format", "json")
        assert ran.status == ExitStatus.USAGE
        assert 'unknown column "nosuch"' in document(ran)["errors"][0]["message"]
        assert not (shell.home / "cloud").exists()

    def test_a_long_line_is_cut_at_a_terminal_only(self, shell: Shell) -> None:
        shell.environ["COLUMNS"] = "50"
        shell.terminal = True
        lines = shell("local_cloud", "images").out.splitlines()
        assert [len(line) for line in lines[1:3]] == [50, 50]
        assert lines[2].startswith("PyJQQWzmy-hfETQePvTsUbbrXeq  2.15 GB  none ")
        assert lines[2].endswith("\u2026")
        assert shell("local_cloud", "images", "--wide").out.splitlines()[2].endswith("debian-base-simulated")


def test_a_check_is_printed_before_chosen_columns(alice: Shell) -> None:
    ran = alice("config", "--check", "--columns", "value", "--no-header", "--filter", "key=username")
    assert ran.out.splitlines()[0].startswith("Cloud: ")
    assert ran.out.splitlines()[1] == "alice"
