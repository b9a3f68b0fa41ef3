"""Known causes of failing and waiting, as a table: patterns in a server's message, their meaning, what to do.

The first row that matches counts, so special causes come before general ones. Messages are those of OpenNebula 3.2 to 7.x,
its drivers, and StratusLab's image scripts.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Cause(NamedTuple):
    """A known cause: its ``name`` for programs, what it ``means`` and the ``advice``, as sentences without a full stop.

    A message has this cause if one of the ``patterns`` matches: its parts, separated by ``.*``, occur in order. They are
    searched for one after another, so the time is linear in the length of the message.
    """

    name: str
    patterns: tuple[str, ...]
    means: str
    advice: str

    def fits(self, message: str) -> bool:
        return any(_fits(pattern, message) for pattern in self.patterns)


def _fits(pattern: str, message: str) -> bool:
    at = 0
    for part in pattern.split(".*"):
        found = re.compile(part, re.IGNORECASE).search(message, at)
        if found is None:
            return False
        at = found.end()
    return True


LOCKED = Cause(
    "locked",
    (),
    "it was locked so that nobody changes or deletes it by mistake",
    'unlock it with "onevm unlock", or ask who locked it',
)
"""A cause that an element of the document shows, not a message."""

DISKS_NOT_SAVED = Cause(
    "disks not saved",
    (),
    "its disks could not be saved or removed",
    "kill it, and tell the cloud's administrator; what it wrote on a persistent disk may be lost",
)
"""What failed in an epilog, where the message says no more."""

CAUSES = (
    Cause(
        "quota",
        ("quota", r"limit of \d+ .*(?:reached|exceeded)", "exceeds the limit"),
        "your quota on this cloud is used up",
        "kill machines that you no longer need, request a smaller one (--type), or ask the cloud's administrator for more",
    ),
    Cause(
        "bad requirements",
        (r"error in (?:sched_)?(?:ds_|nic_)?requirements", "error evaluating expres"),
        "the scheduler cannot read the requirements that the machine was started with",
        "kill it, and start it with --vm-requirements in OpenNebula's syntax",
    ),
    Cause(
        "no hosts",
        (r"no existing hosts", r"there are no (?:enabled )?hosts", r"no hosts? (?:found|enabled|available)"),
        "no host of the cloud is enabled",
        "wait, and tell the cloud's administrator",
    ),
    Cause(
        "affinity",
        (r"affin",),
        "no host satisfies the rules of its VM group",
        "wait until other machines of the group end or move, or kill it and start it without the group",
    ),
    Cause(
        "requirements or capacity",
        (r"no host meets capacity and sched_requirements",),
        "no host that meets its requirements has enough free capacity",
        "check --vm-requirements first: if no host can meet them, waiting does not help; else wait, or request a smaller machine "
        "(--type, --cpu, --ram)",
    ),
    Cause(
        "no datastore",
        (r"no system datastore", r"not enough capacity on datastores", r"not enough space in (?:any )?datastore"),
        "no datastore of the cloud has enough room for its disks, or meets its requirements",
        "request smaller disks (--volatile-disk, --swap), wait until other machines end, or tell the cloud's administrator",
    ),
    Cause(
        "leases exhausted",
        (
            r"unavailable leases",
            r"not enough free leases",
            r"no network (?:with enough capacity|meets? leases)",
            r"no networks found",
            r"cannot get ip/mac lease",
            r"no (?:free|more) (?:ip )?address",
        ),
        "the network has no free address left",
        "choose another network (--network, --local-ip), leave --address out, or kill machines that hold addresses",
    ),
    Cause(
        "dispatch limit",
        (r"\] dispatch limit reached",),
        "the scheduler starts only so many machines at a time",
        "wait: the scheduler tries again within about a minute",
    ),
    Cause(
        "no authorization",
        (r"not authorized to use any",),
        "you may not use any host, datastore or network that would fit",
        "ask the cloud's administrator for access",
    ),
    Cause(
        "no room",
        (r"cannot dispatch vm to any host",),
        # The scheduler of 5.12 also says this if no host meets the requirements, or if it cannot read them.
        "the cloud has no host that meets its requirements, or none with room for it, or no storage or address free",
        "check --vm-requirements if you gave some; else wait, request a smaller machine (--type, --cpu, --ram), or show this to "
        "the cloud's administrator",
    ),
    Cause(
        "no host fits",
        (
            r"no (?:hosts? meets?|suitable)",
            r"requirements",
            r"does not (?:meet|match)",
            r"unavailable pci devices",
            r"cannot allocate numa",
        ),
        "no host of the cloud meets its requirements",
        "kill it, and start it with other --vm-requirements; if you gave none, ask the cloud's administrator",
    ),
    Cause(
        "too large",
        (r"no host is that large",),
        "it is larger than every host of the cloud",
        "kill it, and start a smaller machine (--type, --cpu, --ram): waiting does not help",
    ),
    Cause(
        "no capacity",
        (
            r"not enough (?:cpu|memory|capacity|mem|disk)",
            r"not enough space in (?:any )?host",
            r"insufficient (?:cpu|memory)",
            r"no host (?:with enough|has enough)",
            r"cannot dispatch",
            r"not enough resources",
        ),
        "no host has enough free capacity",
        "wait until other machines end, request a smaller machine (--type, --cpu, --ram), or kill it",
    ),
    Cause(
        "image expired",
        ("(?:image|entry|endorsement|metadata).*(?:expired|no longer valid|deprecated)", "expired.*(?:image|entry|metadata)"),
        "the image's entry in the Marketplace is no longer valid",
        "choose a newer image in the Marketplace",
    ),
    Cause(
        "checksum",
        (
            "(?:checksum|sha-?1|sha-?256|md5|size).*(?:fail|mismatch|differ|wrong|not match|incorrect|invalid)",
            "(?:fail|mismatch|wrong|invalid).*checksum",
        ),
        "the downloaded image does not match its entry in the Marketplace",
        "try again once; if it happens again, tell the image's endorser and choose another image",
    ),
    Cause(
        "policy",
        (
            "policy (?:check )?(?:fail|refus|den|forb)",
            "not (?:allowed|trusted|accepted) by.*policy",
            "endorser.*(?:not|black|deni)",
        ),
        "the cloud's rules do not allow this image",
        "choose an image from an endorser that the cloud trusts, or ask its administrator",
    ),
    Cause(
        "no emulator",
        # Only if QEMU itself is missing or incomplete; otherwise its message names another cause.
        (
            "cannot start qemu",
            r"qemu-system-\w+ is not installed",
            "qemu does not start:.*(?:shared librar|exec format|rom ?file|bios|not found)",
        ),
        "QEMU does not start on this computer",
        "run stratus-local-cloud status; install or repair QEMU, or use --hypervisor simulated",
    ),
    Cause(
        "no content",
        ("has no known content", "names no http or https location"),
        "the image's entry has no content that could be booted",
        "choose an image with content (stratus-local-cloud images), or leave --hypervisor out",
    ),
    Cause(
        "no such volume",
        ("has no volume", "persistent disk .* no longer exists"),
        "the persistent disk does not exist",
        "kill it, and start it with an existing one (stratus-local-cloud volumes)",
    ),
    Cause(
        "too little RAM",
        (r"does not boot with \d+ mib of ram",),
        "the image needs more RAM",
        "kill it, and start it with a larger --type or more --ram",
    ),
    Cause(
        "no such image",
        (
            "not in (?:this cloud's|the) marketplace",
            "no metadata",
            "metadata.*(?:not (?:be )?found|cannot|could not|unable)",
            "(?:image|manifest|file|source).*(?:not (?:be )?found|does not exist|no such)",
            r"\b(?:404|410)\b",
            "no such (?:image|file)",
            "could not (?:get|find|access) image",
            r"error (?:4\d\d|downloading)",
            r"failed to (?:get(?! .?\w{1,20}.? lock)|download)",
        ),
        "the image could not be fetched",
        "check the identifier in the Marketplace, or choose another image",
    ),
    Cause(
        "no space",
        (
            "no space left",
            "disk (?:is )?full",
            "not enough (?:free )?space",
            "enospc",
            "insufficient (?:disk|volume group|free) ?space",
            "insufficient free (?:space|extents)",
        ),
        "the disk of the host, or of the cloud's storage, is full",
        "try again later or with smaller disks (--volatile-disk, --swap), and tell the cloud's administrator",
    ),
    Cause(
        "disk in error",
        (r"image \d+, it is in state: error",),
        "OpenNebula 4 puts a persistent image in this state when the machine that uses it is killed",
        'run "oneimage enable" with the id of the image, then start again',
    ),
    Cause(
        "disk in use",
        (
            "(?:disk|volume|image|lun).*(?:in use|already (?:attached|mounted|locked|used)|is locked|busy|not ready)",
            "resource busy",
            "max(?:imum)? mounts",
            r"failed to get .?\w{1,20}.? lock",
        ),
        "a disk is in use by another machine, or not ready",
        "kill or shut down the machine that uses it, or wait until it is ready, then start again",
    ),
    Cause(
        "lease",
        ("lease", "(?:ip|address).*(?:in use|taken|not free|already)"),
        "the address is taken",
        "leave --address out, or choose another network (--network, --local-ip)",
    ),
    Cause(
        "restricted",
        ("restricted attribute", "not authorized", "permission denied to", "is not allowed"),
        "the request contains something that only administrators may use",
        "leave it out, or ask the cloud's administrator",
    ),
    Cause(
        "image server",
        (r"(?:cannot|could not|failed to|unable to) connect to .{0,2}(?:http|ftp)", r"could not resolve host"),
        "the cloud could not reach the server that it fetches the image from",
        "try again later; if it happens again, choose another image, or tell the cloud's administrator",
    ),
    Cause(
        "host access",
        (
            r"permission denied \(",
            "host key verification",
            "publickey",
            "(?:ssh|scp|sftp).*(?:fail|refus|denied|timed out|lost)",
            "connection (?:refused|timed out|reset|closed)",
            "(?:cannot|could not) (?:connect to|reach)",
            "no route to host",
            "could not resolve",
            "network is unreachable",
            "authentication (?:fail|refus)",
        ),
        "the cloud's hosts could not reach each other, or refused each other's connections",
        "tell the cloud's administrator, and try again: another host may work",
    ),
    Cause(
        "no virtualization",
        (
            "/dev/kvm",
            "kvm.*(?:not available|permission|denied|no such)",
            "virtuali[sz]ation.*(?:not|disabled|unsupported)",
            "hvm.*not supported",
            "no domain type",
            "could not find any supported hypervisor",
            "cpu mode.*not supported",
        ),
        "the host's hypervisor cannot run this kind of machine",
        "choose another image or --vm-disks-bus, and tell the cloud's administrator which host it was",
    ),
    Cause(
        "not bootable",
        (
            "no bootable",
            "boot (?:disk|device|sector)",
            "not a (?:valid )?(?:disk|boot)",
            "unknown (?:image )?format",
            "invalid (?:image|disk) format",
            r"image is not in \w{1,20} format",
            "could not open .*image",
        ),
        "the disk is not bootable",
        "choose another image: this one is broken, or the cloud does not know its format",
    ),
    Cause(
        "process lost",
        ("process ended unexpectedly", "process (?:was )?killed", "out of memory", "oom", "supervisor"),
        "the machine's process on its host ended",
        "start it again; if it happens again, the host may be short of memory",
    ),
    Cause(
        "hypervisor",
        (
            "create domain",
            "libvirt",
            "virsh",
            "qemu",
            "xend",
            r"\bxm\b",
            r"\bxl\b",
            "vmware",
            "lxc",
            "firecracker",
            "hypervisor",
            "driver",
            "monitor socket",
        ),
        "the host's hypervisor refused to start it",
        "start it again, another host may work; if not, try another image or type, and show this to the cloud's administrator",
    ),
    Cause(
        "time-out",
        ("timed? ?out", "deadline exceeded", "took too long"),
        "a step took longer than the cloud allows",
        "try again; a smaller image is quicker",
    ),
)


def known_cause(message: str) -> Cause | None:
    """The cause of the server's message, or None if it is unknown."""
    return next((cause for cause in CAUSES if cause.fits(message)), None)
