"""StratusLab's client for virtual machines on OpenNebula clouds, old and new, and a small cloud of its own.

The public interface for programs::

    import stratuslab

    with stratuslab.connect("local") as cloud:
        vm = cloud.run("ttylinux", type="m1.small", name="web")
        vm.wait("ssh")
        print(vm.ssh("uname -a").stdout)
        vm.kill()

Names are loaded when they are first used, so that ``import stratuslab`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stratuslab.version import __version__ as __version__

if TYPE_CHECKING:
    from stratuslab.cloud.catalogue import Resource
    from stratuslab.cloud.client import Cloud
    from stratuslab.cloud.machine_request import ImageDisk, MachineRequest, MachineTemplate, NetworkRequest
    from stratuslab.cloud.reply import Fault, Refused
    from stratuslab.cloud.transport_errors import AnswerLost
    from stratuslab.errors import (
        AuthenticationError,
        ConfigurationError,
        InstanceFailed,
        NotFound,
        PermissionDenied,
        SeveralFailed,
        SSHError,
        StratusLabError,
        TimedOut,
        Unreachable,
        UsageError,
    )
    from stratuslab.instance_types import InstanceType
    from stratuslab.marketplace.image_query import ImageQuery
    from stratuslab.marketplace.marketplace_client import Marketplace
    from stratuslab.opennebula.instance import Instance
    from stratuslab.python_library.connected_cloud import ConnectedCloud
    from stratuslab.python_library.python_api import connect, open_cloud, open_marketplace
    from stratuslab.python_library.run_options import RunOptions
    from stratuslab.python_library.virtual_machine import BatchFailed, CommandFailed, CommandOutput, VirtualMachine

__all__ = [
    "AnswerLost",
    "AuthenticationError",
    "BatchFailed",
    "Cloud",
    "CommandFailed",
    "CommandOutput",
    "ConfigurationError",
    "ConnectedCloud",
    "Fault",
    "ImageDisk",
    "ImageQuery",
    "Instance",
    "InstanceFailed",
    "InstanceType",
    "MachineRequest",
    "MachineTemplate",
    "Marketplace",
    "NetworkRequest",
    "NotFound",
    "PermissionDenied",
    "Refused",
    "Resource",
    "RunOptions",
    "SSHError",
    "SeveralFailed",
    "StratusLabError",
    "TimedOut",
    "Unreachable",
    "UsageError",
    "VirtualMachine",
    "connect",
    "open_cloud",
    "open_marketplace",
]

_HOMES = {
    "AnswerLost": "cloud.transport_errors",
    "BatchFailed": "python_library.virtual_machine",
    "Cloud": "cloud.client",
    "CommandFailed": "python_library.virtual_machine",
    "CommandOutput": "python_library.virtual_machine",
    "ConnectedCloud": "python_library.connected_cloud",
    "Fault": "cloud.reply",
    "ImageDisk": "cloud.machine_request",
    "ImageQuery": "marketplace.image_query",
    "Instance": "opennebula.instance",
    "InstanceType": "instance_types",
    "MachineRequest": "cloud.machine_request",
    "MachineTemplate": "cloud.machine_request",
    "Marketplace": "marketplace.marketplace_client",
    "NetworkRequest": "cloud.machine_request",
    "Refused": "cloud.reply",
    "Resource": "cloud.catalogue",
    "RunOptions": "python_library.run_options",
    "VirtualMachine": "python_library.virtual_machine",
    "connect": "python_library.python_api",
    "open_cloud": "python_library.python_api",
    "open_marketplace": "python_library.python_api",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"stratuslab.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "testing"])
