"""Known causes of failing and waiting, as a table: what a server's message holds, what that means, what a user can do.

The first row that fits a message counts, so that the special stands before the general. Messages are those of OpenNebula 3.2
to 7.x, of its drivers, and of StratusLab's image scripts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A known cause: its ``name`` (one word, for programs), what it ``means`` and the ``advice``, as sentences without an end."""

    name: str
    pattern: str
    means: str
    advice: str


CAUSES = (
    Cause(
        "quota",
        r"quota|limit of \d+ .*(?:reached|exceeded)|exceeds the limit",
        "your quota on this cloud is used up",
        "kill machines that you no longer need, ask for a smaller one (--type), or ask the cloud's administrator for more",
    ),
    Cause(
        "no capacity",
        r"not enough (?:cpu|memory|capacity|mem|disk)|not enough space in (?:any )?(?:host|datastore)|insufficient (?:cpu|memory)"
        r"|no host (?:with enough|has enough)|cannot dispatch|not enough resources",
        "no host has so much free",
        "wait until others end, ask for a smaller machine (--type, --cpu, --ram), or kill it",
    ),
    Cause(
        "no host fits",
        r"no (?:hosts? meets?|suitable|hosts? (?:found|enabled|available))|requirements|does not (?:meet|match)"
        r"|there are no (?:enabled )?hosts",
        "no host of the cloud meets what was asked for",
        "see --vm-requirements; if you gave none, ask the cloud's administrator",
    ),
    Cause(
        "image expired",
        r"(?:image|entry|endorsement|metadata).*(?:expired|no longer valid|deprecated)|expired.*(?:image|entry|metadata)",
        "the image's entry in the Marketplace is not valid any more",
        "choose a newer image in the Marketplace",
    ),
    Cause(
        "checksum",
        r"(?:checksum|sha-?1|sha-?256|md5|size).*(?:fail|mismatch|differ|wrong|not match|incorrect|invalid)"
        r"|(?:fail|mismatch|wrong|invalid).*checksum",
        "the image that was downloaded is not the one that its entry in the Marketplace describes",
        "try again once; if it stays, tell the image's endorser and choose another image",
    ),
    Cause(
        "policy",
        r"policy (?:check )?(?:fail|refus|den|forb)|not (?:allowed|trusted|accepted) by.*policy|endorser.*(?:not|black|deni)",
        "the cloud's rules do not allow this image",
        "choose an image of an endorser that the cloud trusts, or ask its administrator",
    ),
    Cause(
        "no emulator",
        # A QEMU that was started and lacks nothing of itself says what else is in the way.
        r"qemu cannot be started|there is no qemu|qemu does not start:.*(?:shared librar|exec format|rom ?file|bios|not found)",
        "QEMU does not start on this computer",
        "run stratus-local-cloud status; install or repair QEMU, or ask for --hypervisor simulated",
    ),
    Cause(
        "no content",
        r"nothing is known to be on|names no http or https location",
        "there is nothing behind the image's entry that could be booted",
        "choose an image with content (stratus-local-cloud images), or leave --hypervisor out",
    ),
    Cause(
        "no such volume",
        r"has no volume|persistent disk .* is not there",
        "there is no such persistent disk",
        "kill it, and start it with one that there is (stratus-local-cloud volumes)",
    ),
    Cause(
        "too little RAM",
        r"does not boot with \d+ mib of ram",
        "the image needs more RAM",
        "kill it, and start it with a larger --type or more --ram",
    ),
    Cause(
        "no such image",
        r"not in (?:this cloud's|the) marketplace|no metadata|metadata.*(?:not (?:be )?found|cannot|could not|unable)"
        r"|(?:image|manifest|file|source).*(?:not (?:be )?found|does not exist|no such)|(?:404|410)\b.*(?:not found|gone)?"
        r"|no such (?:image|file)|could not (?:get|find|access) image|error (?:4\d\d|downloading)"
        r"|failed to (?:get(?!.* lock)|download)",
        "the image could not be fetched",
        "check the identifier in the Marketplace, or choose another image",
    ),
    Cause(
        "no space",
        r"no space left|disk (?:is )?full|not enough (?:free )?space|enospc|insufficient (?:disk|volume group|free) ?space"
        r"|insufficient free (?:space|extents)",
        "the disk of the host, or of the cloud's storage, is full",
        "try again later or with smaller disks (--volatile-disk, --swap), and tell the cloud's administrator",
    ),
    Cause(
        "disk in use",
        r"(?:disk|volume|image|lun).*(?:in use|already (?:attached|mounted|locked|used)|is locked|busy|not ready)"
        r"|max(?:imum)? mounts|failed to get .?\w+.? lock",
        "a disk is in use by another machine, or not ready",
        "kill or shut down the machine that has it, or wait until it is ready, then start again",
    ),
    Cause(
        "lease",
        r"lease|(?:ip|address).*(?:in use|taken|not free|already)|no (?:free|more) (?:ip )?address",
        "the address is taken, or the network has none left",
        "leave --address out, choose another network (--network, --local-ip), or kill machines that hold addresses",
    ),
    Cause(
        "restricted",
        r"restricted attribute|not authorized|permission denied to|is not allowed",
        "the request holds something that only an administrator may ask for",
        "leave it out, or ask the cloud's administrator",
    ),
    Cause(
        "host access",
        r"permission denied \(|host key verification|publickey|(?:ssh|scp|sftp).*(?:fail|refus|denied|timed out|lost)"
        r"|connection (?:refused|timed out|reset|closed)|no route to host|could not resolve|network is unreachable"
        r"|authentication (?:fail|refus)",
        "the cloud's machines could not reach each other, or do not let each other in",
        "this is the cloud's fault: tell its administrator, and try again, another host may work",
    ),
    Cause(
        "no virtualization",
        r"/dev/kvm|kvm.*(?:not available|permission|denied|no such)|virtuali[sz]ation.*(?:not|disabled|unsupported)"
        r"|hvm.*not supported"
        r"|no domain type|could not find any supported hypervisor|cpu mode.*not supported",
        "the host's hypervisor cannot run this kind of machine",
        "choose another image or --vm-disks-bus, and tell the cloud's administrator which host it was",
    ),
    Cause(
        "not bootable",
        r"no bootable|boot (?:disk|device|sector)|not a (?:valid )?(?:disk|boot)|unknown (?:image )?format"
        r"|invalid (?:image|disk) format"
        r"|image is not in \w+ format|could not open .*image",
        "the disk cannot be started from",
        "the image is broken or in a format that the cloud does not know: choose another one",
    ),
    Cause(
        "process lost",
        r"process ended unexpectedly|process (?:was )?killed|out of memory|oom|supervisor",
        "the machine's process on its host ended",
        "start it again; if it stays, the host may be short of memory",
    ),
    Cause(
        "hypervisor",
        r"failed to create domain|create domain|libvirt|virsh|qemu|xend|\bxm\b|\bxl\b|vmware|lxc|firecracker|hypervisor"
        r"|driver|monitor socket",
        "the host's hypervisor refused to start it",
        "start it again, another host may do; if it stays, try another image or type, and show this to the cloud's administrator",
    ),
    Cause(
        "time-out",
        r"timed? ?out|deadline exceeded|took too long",
        "a step took longer than the cloud allows",
        "try again; a smaller image is quicker",
    ),
)


def known_cause(message: str) -> Cause | None:
    """The cause that the server's message speaks of; None where it is not known."""
    return next((cause for cause in CAUSES if re.search(cause.pattern, message, re.IGNORECASE)), None)
