"""What may differ between recorded documents and those of the embedded cloud."""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """Paths that may differ (a regular expression for each as a whole), in which versions and recordings, and why."""

    versions: str
    names: str
    paths: str
    why: str


_ANY = ".*"
_VM = r"vm(pool)?\.info.*"
_LISTING_OF_4 = r"vmpool\.info-(listing-with-tokens|page-0-5)"

DIFFERENCES = (
    # Machines
    Difference(_ANY, _VM + r"|vmpool\.monitoring.*", r"(/VM)?/MONITORING/(DISK(RD|WR)(BYTES|IOPS)|NET[RT]X)", "not measured"),
    Difference(
        _ANY,
        r"vm\.info-(DONE|PENDING-no-capacity|PENDING-no-host-meets|BOOT|HOLD|PROLOG_FAILURE|bad-sched-requirements|no-host-meets)",
        r"/VM/MONITORING(/(CPU|ID|MEMORY|TIMESTAMP))?",
        "the site's driver reported figures of machines that did not run",
    ),
    Difference(
        "3.2.1",
        r"vm\.info-FAILED-poll-error",
        r"/VM/DEPLOY_ID|/VM/TEMPLATE/ERROR(/(MESSAGE|TIMESTAMP))?",
        "ours do not fail while they run",
    ),
    Difference(
        "3.2.1",
        r"vm\.info-(DONE-killed-after-monitoring-error|RUNNING-after-shutdown-failed|RUNNING-monitoring-failed)",
        r"/VM/TEMPLATE/ERROR(/(MESSAGE|TIMESTAMP))?",
        "polls and shutdowns of ours do not fail",
    ),
    Difference(
        "6.8.0", r"vmpool\.info-(all-any-state|mine-not-done)", r"/VM/DEPLOY_ID", "the site's driver had not started them yet"
    ),
    Difference(
        "4.14.2",
        r"vm\.info-.*|" + _LISTING_OF_4,
        r"/VM/USER_TEMPLATE/SCHED_MESSAGE",
        "the site's scheduler did not run: nobody said why they wait",
    ),
    Difference(
        "6.8.0",
        _VM,
        r"/VM/USER_TEMPLATE(/SCHED_MESSAGE)?",
        "the reason to wait goes when a machine of ours is placed; theirs stays",
    ),
    # Interfaces
    Difference(_ANY, _VM, r"/VM/TEMPLATE/CONTEXT/ETH\d_MASK", "networks of ours have a mask, the recorded ones did not"),
    Difference(
        "7.4.0",
        _VM,
        r"/VM/TEMPLATE/CONTEXT/ETH0_(DNS|GATEWAY|NETWORK)|/VM/TEMPLATE/NIC/(DNS|GATEWAY)",
        "settings of the site's network",
    ),
    Difference(
        "4.14.2|5.12.0.4|7.4.0",
        _VM,
        r"/VM/TEMPLATE/CONTEXT/ETH\d_IP(6|6_ULA)?|/VM/TEMPLATE/NIC/IP(6_GLOBAL|6_LINK|6_ULA)?",
        "networks of ours have IPv4, the recorded ones IPv6, both or none",
    ),
    Difference(
        "4.14.2",
        _LISTING_OF_4,
        r"/VM/TEMPLATE/CONTEXT/ETH\d_(CONTEXT_FORCE_IPV4|DNS|GATEWAY6?|MTU|NETWORK|SEARCH_DOMAIN)",
        "these machines were made with such attributes in their templates",
    ),
    Difference(
        "7.4.0",
        r"vm\.info-NIC_ALIAS-EXTERNAL_IP",
        r"/VM/TEMPLATE/(CONTEXT/ETH0_ALIAS\d_[A-Z0-9_]+|NIC_ALIAS(/[A-Z0-9_]+)?|NIC/(ALIAS_IDS|EXTERNAL_IP))",
        "ours have no aliases",
    ),
    Difference("7.4.0", r"vm\.info-NIC-auto", r"/VM/TEMPLATE/NIC/NETWORK_MODE", "a network that the scheduler chose"),
    Difference(
        "5.12.0.4|7.4.0",
        r"vmpool\.infoextended|vm\.info-(VMGROUP-RUNNING|user-inputs-not-given)",
        r"/VM/TEMPLATE/AUTOMATIC_NIC_REQUIREMENTS",
        "left over there from interfaces that were taken out",
    ),
    # Disks
    Difference(
        "7.4.0",
        r"vm\.info-(HOTPLUG|HOTPLUG_SNAPSHOT|SHUTDOWN_POWEROFF|after-resume-of-STOPPED)",
        r"/VM/(TEMPLATE/SNAPSHOT|SNAPSHOTS|SNAPSHOTS/SNAPSHOT)(/[A-Z_]+)?|/VM/TEMPLATE/DISK/(ATTACH|TM_MAD_SYSTEM)",
        "ours have no snapshots, and no disks that were attached later",
    ),
    Difference(
        "3.2.1",
        r"vm\.info-(RUNNING-(url-swap|pdisk)-.*|UNKNOWN)|vmpool\.info-(mine-not-done|range-2-4)",
        r"/VM/TEMPLATE/DISK/(CLONE|DRIVER|IMAGE|IMAGE_ID|PERSISTENT|READONLY|SIZE|TYPE)",
        "plain 3.2 keeps a disk with a SOURCE as it is given; ours, as StratusLab's, knows the image or volume",
    ),
    # What machines are made of
    Difference(_ANY, r"imagepool\.info.*", r"/IMAGE/TEMPLATE/(DESCRIPTION|MARKETPLACE_IDENTIFIER)", "the site's own attributes"),
    Difference(
        _ANY, r"vn(pool)?\.info.*", r"/VNET/TEMPLATE/(DNS|GATEWAY|NETWORK_ADDRESS|NETWORK_MASK)", "the site's own settings"
    ),
    Difference("[67].*", r"vnpool\.info.*", r"/VNET/TEMPLATE/(OUTER_)?VLAN_ID", "networks that were made with an empty VLAN"),
    Difference("4.14.2", r"vnpool\.info", r"/VNET/TEMPLATE/X?VN_MAD", "networks that were made with another attribute"),
    Difference(
        "4.14.2|5.12.0.4",
        r"vnpool\.info",
        r"/VNET/AR_POOL/AR/(GLOBAL_PREFIX|IP|IP6|PREFIX_LENGTH|ULA_PREFIX)",
        "networks of ours have IPv4, the recorded ones IPv6, both or none",
    ),
    # Hosts and users
    Difference(
        "[4567].*",
        r"hostpool\.info.*",
        r"/HOST/HOST_SHARE/(PCI_DEVICES(/PCI(/[A-Z_]+)?)?|NUMA_NODES(/NODE(/[A-Z_]+){0,2})?)",
        "nobody looks for devices and nodes of this computer",
    ),
    Difference(
        _ANY,
        r"host(pool)?\.info.*",
        r"/HOST/TEMPLATE/(ARCH|CPUSPEED|MODELNAME|MEMORY_ENCRYPTION|KVM_CPU_(FEATURES|MODELS)|(FREE|TOTAL|USED)(CPU|MEMORY))",
        "what the site's driver reports of the hardware",
    ),
    Difference("6.8.0", r"hostpool\.info-all", r"/HOST/TEMPLATE/RESERVED_(CPU|MEM)", "capacity that the site added"),
    Difference(
        "7.4.0", r"user\.info-self", r"/USER/(NETWORK|VM|IMAGE)_QUOTA(/.*)?", "ours has no quotas, so that nothing is counted"
    ),
    Difference(
        "7.4.0", r"user\.info-self", r"/USER/(PASSWORD|TEMPLATE|TEMPLATE/TOKEN_PASSWORD)", "no hash of a password is ever shown"
    ),
)
