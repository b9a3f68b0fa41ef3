"""The images that the embedded cloud begins with, as entries of its Marketplace.

The first one's identifier is that of StratusLab's ttylinux image, which existed; behind the others there never was an image,
and their SHA-1 is that of their name. Instances of all of them are simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

from stratuslab.local.marketplace import DCTERMS, RDF, SLREQ, SLTERMS, Entry, Marketplace
from stratuslab.local.store import Store
from stratuslab.marketplace.identifier import identifier_from_sha1, sha1_from_identifier

_ENDORSER = "images@stratuslab.eu"
_CREATED = "2012-04-24T12:00:00Z"
_VALID = "2099-12-31T23:59:59Z"


@dataclass(frozen=True)
class _Image:
    identifier: str
    title: str
    os: str
    os_version: str
    arch: str
    mib: int
    description: str


def _own_images() -> list[_Image]:
    return [
        _Image(
            "BN1EEkPiBx87_uLj2-sdybSI-Xb",
            "ttylinux",
            "ttylinux",
            "9.7",
            "i486",
            64,
            "Small Linux for tests. On the embedded cloud the machine is simulated.",
        ),
        *(
            _Image(
                _simulated_identifier(title),
                title,
                system,
                version,
                "x86_64",
                mib,
                f"Simulated machine that presents itself as {system} {version}; there is no disk image behind this entry.",
            )
            for title, system, version, mib in (
                ("debian-base-simulated", "debian", "12", 2048),
                ("ubuntu-base-simulated", "ubuntu", "24.04", 3072),
                ("alpine-base-simulated", "alpine", "3.20", 256),
            )
        ),
    ]


def _simulated_identifier(title: str) -> str:
    import hashlib

    return identifier_from_sha1(hashlib.sha1(title.encode(), usedforsecurity=False).hexdigest())


def publish_own_entries(store: Store, now: float) -> None:
    """Fill a new store with the cloud's own images; part of a transaction."""
    marketplace = Marketplace(store, now)
    for image in _own_images():
        marketplace.keep(
            Entry(image.identifier, _ENDORSER, _CREATED, image.title, image.mib << 20, _VALID, False, _document(image))
        )


def _document(image: _Image) -> str:
    return f"""<rdf:RDF xmlns:rdf="{RDF}" xmlns:dcterms="{DCTERMS}" xmlns:slreq="{SLREQ}" xmlns:slterms="{SLTERMS}" \
xml:base="http://mp.stratuslab.eu/">
<rdf:Description rdf:about="#{image.identifier}">
<dcterms:identifier>{image.identifier}</dcterms:identifier>
<slreq:bytes>{image.mib << 20}</slreq:bytes>
<slreq:checksum rdf:parseType="Resource">
<slreq:algorithm>SHA-1</slreq:algorithm>
<slreq:value>{sha1_from_identifier(image.identifier)}</slreq:value>
</slreq:checksum>
<slreq:endorsement rdf:parseType="Resource">
<dcterms:created>{_CREATED}</dcterms:created>
<slreq:endorser rdf:parseType="Resource">
<slreq:email>{_ENDORSER}</slreq:email>
<slreq:subject>CN=Simulated entry of the embedded cloud,unsigned</slreq:subject>
<slreq:issuer>CN=Simulated entry of the embedded cloud,unsigned</slreq:issuer>
</slreq:endorser>
</slreq:endorsement>
<dcterms:type>base</dcterms:type>
<slterms:kind>machine</slterms:kind>
<slterms:os>{image.os}</slterms:os>
<slterms:os-version>{image.os_version}</slterms:os-version>
<slterms:os-arch>{image.arch}</slterms:os-arch>
<slterms:version>1.0</slterms:version>
<dcterms:compression></dcterms:compression>
<slterms:location>local://images/{image.identifier}</slterms:location>
<dcterms:format>raw</dcterms:format>
<slterms:disks-bus>ide</slterms:disks-bus>
<dcterms:creator>StratusLab</dcterms:creator>
<dcterms:publisher>StratusLab</dcterms:publisher>
<dcterms:title>{image.title}</dcterms:title>
<dcterms:description>{image.description}</dcterms:description>
<dcterms:valid>{_VALID}</dcterms:valid>
</rdf:Description>
</rdf:RDF>"""
