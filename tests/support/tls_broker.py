"""A Mosquitto that speaks TLS and wants a client's certificate; authority and certificates are made for the occasion."""

import datetime as dt
import ipaddress
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from embedded.ports import any_free

CONFIGURATION = """\
listener {port} 127.0.0.1
cafile {ca}
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {folder}/acl
persistence false
user root
"""
ACCESS_LIST = """\
user {gateway}
topic write streamgauge/v1/gateways/{gateway}/batches
topic write streamgauge/v1/gateways/{gateway}/status
topic read streamgauge/v1/gateways/{gateway}/stored
user cloud
topic readwrite streamgauge/v1/#
"""


@dataclass(frozen=True)
class TlsBroker:
    """Where it is, and the files that clients need: ``<name>.pem`` and ``<name>.key`` of each client, ``ca.pem``."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        """Its address."""
        return f"mqtts://127.0.0.1:{self.port}"


def mosquitto() -> str | None:
    """The program, where the machine has it."""
    return shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")


@contextmanager
def running_tls_broker(folder: Path, gateway: str) -> Iterator[TlsBroker]:
    """A broker that lets ``gateway`` and ``cloud`` in by certificate, each to its own topics."""
    authority = _Authority.made("Streamgauge test authority")
    (folder / "ca.pem").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    for name in ("server", gateway, "cloud"):
        authority.issue(name, folder)
    _Authority.made("Somebody else's authority").issue("stranger", folder)
    (folder / "acl").write_text(ACCESS_LIST.format(gateway=gateway))
    port = any_free()
    (folder / "mosquitto.conf").write_text(CONFIGURATION.format(port=port, ca=folder / "ca.pem", folder=folder))
    program = mosquitto()
    assert program is not None
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stdout=log, stderr=log)
    try:
        time.sleep(0.3)
        assert process.poll() is None, (folder / "mosquitto.log").read_text()
        yield TlsBroker(port, folder)
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def made(cls, name: str) -> "_Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name)
        builder = _builder(subject, subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    def issue(self, name: str, folder: Path) -> None:
        """A certificate for this name and for the loopback address, and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(name), self.certificate.subject, key.public_key())
        addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = builder.add_extension(addresses, critical=False).sign(self.key, hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )
