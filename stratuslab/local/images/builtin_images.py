"""The Marketplace entries that a new embedded cloud has. Their machines are simulated.

The first has the identifier of StratusLab's real ttylinux image. The others never had content; their SHA-1 is that of their
name.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone

from stratuslab.local.images.embedded_marketplace import MarketplaceEntries, endorsed, local_location
from stratuslab.local.store.database import Store
from stratuslab.marketplace.identifier import identifier_from_sha1, sha1_from_identifier
from stratuslab.marketplace.metadata import Metadata

_ENDORSED = datetime(2012, 4, 24, 12, tzinfo=timezone.utc)
_TTYLINUX = "BN1EEkPiBx87_uLj2-sdybSI-Xb"
# Title, system, version, architecture and size in MiB.
_IMAGES = (
    ("ttylinux", "ttylinux", "9.7", "i486", 64),
    ("debian-base-simulated", "debian", "12", "x86_64", 2048),
    ("ubuntu-base-simulated", "ubuntu", "24.04", "x86_64", 3072),
    ("alpine-base-simulated", "alpine", "3.20", "x86_64", 256),
)


def add_builtin_images(store: Store, now: float) -> None:
    """Add the built-in images to a new store. Part of a transaction."""
    marketplace = MarketplaceEntries(store, now)
    for title, system, version, arch, mib in _IMAGES:
        identifier = identifier_from_sha1(hashlib.sha1(title.encode(), usedforsecurity=False).hexdigest())
        description = f"Simulated machine that presents itself as {system} {version}; this entry has no disk image."
        if title == "ttylinux":
            identifier = _TTYLINUX
            description = "Small Linux for tests. On the embedded cloud the machine is simulated."
        image = Metadata(
            identifier=identifier,
            bytes=mib << 20,
            checksums={"SHA-1": sha1_from_identifier(identifier)},
            title=title,
            description=description,
            os=system,
            version="1.0",
            os_version=version,
            os_arch=arch,
            locations=(local_location(identifier),),
            disks_bus="ide",
            email="images@stratuslab.eu",
            subject="CN=Simulated entry of the embedded cloud,unsigned",
        )
        marketplace.keep(endorsed(image, _ENDORSED))
