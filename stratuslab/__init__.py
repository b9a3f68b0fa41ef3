"""StratusLab's client for virtual machines on OpenNebula clouds, old and new, and a small cloud of its own.

The public interface for programs::

    import stratuslab

    cloud = stratuslab.open_cloud("local")
    for instance in cloud.instances():
        print(instance.id, instance.state_label, *instance.addresses)

Names are loaded when they are first used, so that ``import stratuslab`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stratuslab.version import __version__ as __version__

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud
    from stratuslab.cloud.machine_request import ImageDisk, MachineRequest
    from stratuslab.errors import (
        AuthenticationError,
        NotFound,
        PermissionDenied,
        StratusLabError,
        Unreachable,
        UsageError,
    )
    from stratuslab.marketplace.marketplace_client import Marketplace
    from stratuslab.opennebula.instance import Instance
    from stratuslab.python_api import open_cloud, open_marketplace

__all__ = [
    "AuthenticationError",
    "Cloud",
    "ImageDisk",
    "Instance",
    "MachineRequest",
    "Marketplace",
    "NotFound",
    "PermissionDenied",
    "StratusLabError",
    "Unreachable",
    "UsageError",
    "open_cloud",
    "open_marketplace",
]

_HOMES = {
    "Cloud": "stratuslab.cloud.client",
    "Instance": "stratuslab.opennebula.instance",
    "MachineRequest": "stratuslab.cloud.machine_request",
    "Marketplace": "stratuslab.marketplace.marketplace_client",
    "ImageDisk": "stratuslab.cloud.machine_request",
    "open_cloud": "stratuslab.python_api",
    "open_marketplace": "stratuslab.python_api",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "stratuslab.errors")), name)
