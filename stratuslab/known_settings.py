"""The table of all settings: key, meaning, default."""

from __future__ import annotations

from dataclasses import dataclass

LOCAL_MARKETPLACE = "local://marketplace"
"""The endpoint of the Marketplace inside this package; an adapter for it is mounted on the session."""


@dataclass(frozen=True)
class Known:
    """A setting's key, what it means, and a value for an example."""

    key: str
    meaning: str
    example: str


KNOWN = (
    Known("endpoint", 'The cloud: a host name, a URL, or "local" for the embedded one.', "cloud.example.org"),
    Known("username", "User name at the cloud. It wins over a certificate.", "jane"),
    Known("password", "Password or login token. Without one it is asked for, at a terminal.", "secret"),
    Known("password_file", "A file with the password in its first line, in place of the password.", "~/.stratuslab/password"),
    Known("pem_certificate", "Client certificate (PEM), used where there is no user name.", "~/.globus/usercert.pem"),
    Known("pem_key", "The certificate's private key.", "~/.globus/userkey.pem"),
    Known("ca_bundle", "Certificates (PEM) to trust, in place of the system's.", "/etc/ssl/certs/site.pem"),
    Known("timeout", "Seconds that a server may be silent.", "30"),
    Known("wait_timeout", "Seconds to wait for instances; without it 600, to connect or shut down 120.", "600"),
    Known("marketplace_endpoint", "The Marketplace, where images are looked up.", "https://marketplace.example.org"),
    Known("pdisk_endpoint", "The service that keeps persistent disks; without it the cloud's host.", "pdisk.example.org"),
    Known("pdisk_port", "Its port.", "8445"),
    Known("user_public_key_file", "Public SSH key that may log in to new machines.", "~/.ssh/id_ed25519.pub"),
    Known("instance_type", "Type of new machines: processors, RAM and swap space.", "m1.small"),
    Known("default_instance_type", "The same, where instance_type is not set.", "m1.small"),
    Known("default_context_method", '"one", or "cloud-init" for images that read their key that way.', "one"),
    Known("port_translation", "yes asks StratusLab's port translation for the way in to machines.", "yes"),
    Known("pat_service_host", "The host that knows translated ports; without it the cloud's host.", "pat.example.org"),
    Known("pat_gateway_host", "The host whose ports they are; without it the cloud's host.", "gateway.example.org"),
    Known("hypervisor", "What runs machines of the embedded cloud: qemu or simulated; without it what fits.", "qemu"),
    Known("selected_section", "The section that counts when nobody says; read in [default] only.", "partner"),
)
"""All of them, in the order to show them."""

HYPERVISORS = ("qemu", "simulated")
"""The values of the setting ``hypervisor``."""
