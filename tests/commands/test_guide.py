"""The transcripts of the StratusLab user guide, byte for byte, given the guide's facts from the cloud."""

from __future__ import annotations

import pytest

from stratuslab.local.engine.scheduler import Capacity
from tests.fakes.staged_cloud import Stage, configure
from tests.harness import TTYLINUX, Ran, Shell

RUN = """\
 :::::::::::::::::::::::::
 :: Starting machine(s) ::
 :::::::::::::::::::::::::
 :: Starting 1 machine
 :: Machine 1 (vm ID: 165)
     Public ip: 134.158.75.201
 :: Done!
"""

DESCRIBE_ALL = """\
id  state     vcpu memory    cpu% host/ip                  name
165 Running   1    0         0    vm-201.lal.stratuslab.eu one-165
166 Pending   1    0         0    vm-202.lal.stratuslab.eu one-166
"""

DESCRIBE_RUNNING = """\
id  state     vcpu memory    cpu% host/ip                  name
165 Running   1    131072    1    vm-201.lal.stratuslab.eu one-165
"""

DESCRIBE_UNKNOWN = """\
id  state     vcpu memory    cpu% host/ip                  name
165 Unknown   1    131072    0    vm-201.lal.stratuslab.eu one-165
"""

DESCRIBE_DONE = """\
id  state     vcpu memory    cpu% host/ip                  name
166 Done      1    131072    0    vm-202.lal.stratuslab.eu one-166
"""

LIST_TYPE = """\
  Type              CPU        RAM       SWAP
  c1.medium       1 CPU     256 MB    1024 MB
  c1.xlarge       4 CPU    2048 MB    2048 MB
  m1.large        2 CPU     512 MB    1024 MB
* m1.small        1 CPU     128 MB    1024 MB
  m1.xlarge       2 CPU    1024 MB    1024 MB
  t1.micro        1 CPU     128 MB     512 MB
"""


def guide_name(address: str) -> str:
    return f"vm-{address.rpartition('.')[2]}.lal.stratuslab.eu"


@pytest.fixture
def guide(alice: Shell, stage: Stage) -> Shell:
    """The guide's cloud: the next id is 165, addresses begin at 134.158.75.201, and one small machine fits at a time."""
    configure(
        stage.engine, first_instance=165, ranges={"public": ("134.158.75.201", 54)}, capacity=Capacity(cpu=1, memory_mib=4096)
    )
    alice.names = guide_name
    return alice


def test_the_whole_story(guide: Shell, stage: Stage) -> None:
    assert guide("run", TTYLINUX) == Ran(0, RUN, "")
    assert guide("run", TTYLINUX).status == 0
    stage.runs(165)
    assert guide("describe") == Ran(0, DESCRIBE_ALL, "")

    stage.polled(165, cpu_percent=1, memory_kib=131072)
    assert guide("describe", "165") == Ran(0, DESCRIBE_RUNNING, "")

    stage.halts(165)
    assert guide("describe", "165") == Ran(0, DESCRIBE_UNKNOWN, "")
    assert guide("kill", "165") == Ran(0, "", "")

    assert guide("describe").out.splitlines()[1].startswith("166 Prolog"), "there is room for the second machine now"
    stage.runs(166)
    stage.polled(166, cpu_percent=0, memory_kib=131072)
    assert guide("kill", "166") == Ran(0, "", "")
    assert guide("describe", "166") == Ran(0, DESCRIBE_DONE, "")
    assert guide("describe") == Ran(0, DESCRIBE_ALL.splitlines(keepends=True)[0].replace("  name", " name"), "")


@pytest.mark.parametrize("option", ["--list-type", "--list-types", "-l"])
def test_list_of_types(shell: Shell, option: str) -> None:
    assert shell("run", option) == Ran(0, LIST_TYPE, "")
