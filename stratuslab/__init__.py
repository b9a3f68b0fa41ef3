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

# ruff: noqa: I001  "as" says that a name is public; one import for each would be twice as long
from __future__ import annotations

from typing import TYPE_CHECKING

from stratuslab.version import __version__ as __version__

if TYPE_CHECKING:
    from stratuslab.cloud.resource_lookup import Resource as Resource
    from stratuslab.cloud.client import Cloud as Cloud
    from stratuslab.cloud.machine_request import (
        ImageDisk as ImageDisk,
        MachineRequest as MachineRequest,
        MachineTemplate as MachineTemplate,
        NetworkRequest as NetworkRequest,
    )
    from stratuslab.cloud.reply import Fault as Fault, Refused as Refused
    from stratuslab.cloud.delivery_failures import AnswerLost as AnswerLost
    from stratuslab.errors import (
        AuthenticationError as AuthenticationError,
        ConfigurationError as ConfigurationError,
        InstanceFailed as InstanceFailed,
        NotFound as NotFound,
        PermissionDenied as PermissionDenied,
        SeveralFailed as SeveralFailed,
        SSHError as SSHError,
        StratusLabError as StratusLabError,
        TimedOut as TimedOut,
        Unreachable as Unreachable,
        UsageError as UsageError,
    )
    from stratuslab.instance_types import InstanceType as InstanceType
    from stratuslab.marketplace.image_query import ImageQuery as ImageQuery
    from stratuslab.marketplace.marketplace_client import Marketplace as Marketplace
    from stratuslab.opennebula.instance import Instance as Instance
    from stratuslab.python_library.connected_cloud import ConnectedCloud as ConnectedCloud
    from stratuslab.python_library.python_api import (
        connect as connect,
        open_cloud as open_cloud,
        open_marketplace as open_marketplace,
    )
    from stratuslab.python_library.run_options import RunOptions as RunOptions
    from stratuslab.python_library.virtual_machine import (
        BatchFailed as BatchFailed,
        CommandFailed as CommandFailed,
        CommandOutput as CommandOutput,
        VirtualMachine as VirtualMachine,
    )

# The public names, by the module that has them.
_PUBLIC = {
    "cloud.resource_lookup": "Resource",
    "cloud.client": "Cloud",
    "cloud.machine_request": "ImageDisk MachineRequest MachineTemplate NetworkRequest",
    "cloud.reply": "Fault Refused",
    "cloud.delivery_failures": "AnswerLost",
    "errors": "AuthenticationError ConfigurationError InstanceFailed NotFound PermissionDenied SeveralFailed SSHError "
    "StratusLabError TimedOut Unreachable UsageError",
    "instance_types": "InstanceType",
    "marketplace.image_query": "ImageQuery",
    "marketplace.marketplace_client": "Marketplace",
    "opennebula.instance": "Instance",
    "python_library.connected_cloud": "ConnectedCloud",
    "python_library.python_api": "connect open_cloud open_marketplace",
    "python_library.run_options": "RunOptions",
    "python_library.virtual_machine": "BatchFailed CommandFailed CommandOutput VirtualMachine",
}
_HOMES = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"stratuslab.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "testing"])
