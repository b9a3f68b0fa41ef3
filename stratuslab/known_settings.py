"""The table of all settings: key, meaning, default."""

from typing import NamedTuple

LOCAL_MARKETPLACE = "local://marketplace"
"""The endpoint of the Marketplace inside this package; an adapter for it is mounted on the session."""


class Setting(NamedTuple):
    """A value and its origin in words (``--endpoint``, ``STRATUSLAB_ENDPOINT``, ``FILE [section]``, ``default``)."""

    value: str
    origin: str


class Known(NamedTuple):
    """A setting's key, what it means, and a value for an example."""

    key: str
    meaning: str
    example: str


KNOWN = (
    Known("endpoint", 'The cloud: a host name, a URL, or "local" for the embedded one.', "cloud.example.org"),
    Known("username", "User name on the cloud. It takes precedence over a certificate.", "jane"),
    Known("password", "Password or login token. If none is set, you are asked for it at a terminal.", "secret"),
    Known("password_file", "File whose first line is the password, instead of the password itself.", "~/.stratuslab/password"),
    Known("pem_certificate", "Client certificate (PEM), used if there is no user name.", "~/.globus/usercert.pem"),
    Known("pem_key", "The certificate's private key.", "~/.globus/userkey.pem"),
    Known("ca_bundle", "Certificates (PEM) to trust instead of the system's.", "/etc/ssl/certs/site.pem"),
    Known("timeout", "Seconds to wait for data from a server.", "30"),
    Known("wait_timeout", "Seconds to wait for machines (default 600; 120 to connect or shut down).", "600"),
    Known("marketplace_endpoint", "The Marketplace, where images are looked up.", "https://marketplace.example.org"),
    Known("no_cache", "yes: keep no catalogues of Marketplaces on this computer.", "yes"),
    Known("verify_image", "yes: start only images whose metadata a trusted endorser has signed.", "yes"),
    Known("trusted_endorsers", "Emails of the endorsers whose signed images may start.", "alice@example.org, bob@example.org"),
    Known("trusted_certificates", "SHA-256 fingerprints: certificates that they sign with.", "sha256:68918c7d...44f81ed35"),
    Known("pdisk_endpoint", "The persistent disk service (default: the cloud's host).", "pdisk.example.org"),
    Known("pdisk_port", "Port of the persistent disk service.", "8445"),
    Known("user_public_key_file", "Public SSH key that may log in to new machines.", "~/.ssh/id_ed25519.pub"),
    Known("instance_type", "Type of new machines: processors, RAM and swap space.", "m1.small"),
    Known("default_instance_type", "The same, if instance_type is not set.", "m1.small"),
    Known("default_context_method", '"one", or "cloud-init" for images that get their key from cloud-init.', "one"),
    Known("port_translation", "yes: look up the SSH ports of machines in StratusLab's port translation.", "yes"),
    Known("pat_service_host", "Host of the port translation service (default: the cloud's host).", "pat.example.org"),
    Known("pat_gateway_host", "Gateway whose ports are translated (default: the cloud's host).", "gateway.example.org"),
    Known("hypervisor", "Hypervisor of the embedded cloud: qemu or simulated (default: what fits).", "qemu"),
    Known("download_networks", "Networks that images of other users of the embedded cloud may come from.", "10.20.0.0/16"),
    Known("selected_section", "The section to use without -S; read in [default] only.", "partner"),
)
"""All of them, in the order to show them."""

HYPERVISORS = ("qemu", "simulated")
"""The values of the setting ``hypervisor``."""
