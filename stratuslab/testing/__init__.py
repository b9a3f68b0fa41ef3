"""An OpenNebula for the tests of other programs: a server in this process, on a free port of the loopback interface.

::

    from stratuslab.testing import embedded_cloud

    with embedded_cloud() as opennebula:
        server = pyone.OneServer(opennebula.endpoint, session=opennebula.session)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stratuslab.testing.embedded_opennebula import EmbeddedOpenNebula, embedded_cloud

__all__ = ["EmbeddedOpenNebula", "embedded_cloud"]


def __getattr__(name: str) -> object:
    # pytest loads the plugin, and with it this package, in each of its runs.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stratuslab.testing import embedded_opennebula

    return getattr(embedded_opennebula, name)


def __dir__() -> list[str]:
    return __all__
