"""Templates as clients send them."""

from __future__ import annotations

from stratuslab.opennebula.instance import TOKEN_ATTRIBUTE
from tests.harness import TTYLINUX

SMALL = "CPU=1\nMEMORY=128\n"

STRATUSLAB = f"""CPU = 1
VCPU = 2
MEMORY = 128
RANK = "- RUNNING_VMS"
DISK=[ source="https://marketplace.stratuslab.eu/metadata/{TTYLINUX}",
  target = "hda", save = "no", readonly = "no", driver = "raw" ]
DISK=[ type = "swap", size = "1024", target = "hdb", readonly = "no" ]
DISK=[ FORMAT=ext3, READONLY=no, SAVE=no, SIZE=2048, TARGET=hdc, TYPE=fs ]
NIC = [ network_uname=oneadmin, network="public" ]
GRAPHICS = [ port = "-1", type = "vnc", keymap = "en-us" ]
CONTEXT = [ public_key="ssh-ed25519 AAAA alice@example.org
ssh-ed25519 BBBB bob@example.org", target="hdd", files="" ]
{TOKEN_ATTRIBUTE} = "f00d"
"""
"""What the original client sends, with a token as ours adds it."""

RECORDED = """NAME   = "one-sample"
CPU    = "0.5"
VCPU   = "1"
MEMORY = "256"
DISK   = [ TYPE = "fs", FORMAT = "raw", SIZE = "1024" ]
NIC    = [ NETWORK = "public", NETWORK_UNAME = "oneadmin" ]
"""
"""The template of the recordings."""
