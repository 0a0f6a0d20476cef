"""TLS of the server from files, renewed without a restart."""

import ssl
from pathlib import Path
from typing import Final

import grpc

from .settings import Settings
from .watched_files import WatchedFiles

_MARK: Final = "-----BEGIN CERTIFICATE-----"


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Credentials that follow their files; None if the settings name none.

    Every new connection sees the newest certificate that is good; connections that are open keep
    the one they began with.

    Raises:
        ConfigError: A file cannot be read, or key and certificate do not belong together.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    cert, key, client_ca = settings.tls_cert, settings.tls_key, settings.tls_client_ca
    paths = [path for path in (cert, key, client_ca) if path is not None]
    files = WatchedFiles(paths, lambda: _configuration(cert, key, client_ca))
    return grpc.dynamic_ssl_server_credentials(
        files.get(), files.get, require_client_authentication=client_ca is not None
    )


def _configuration(
    cert: Path, key: Path, client_ca: Path | None
) -> grpc.ServerCertificateConfiguration:
    """What gRPC takes; refuses here what it would refuse at every handshake."""
    _check_pair(cert, key)
    authorities = None
    if client_ca is not None:
        authorities = client_ca.read_bytes()
        if _MARK.encode() not in authorities:
            raise ValueError(f"{client_ca} holds no PEM certificate")
        ssl.create_default_context(cadata=authorities.decode("ascii"))
    return grpc.ssl_server_certificate_configuration(
        [(key.read_bytes(), cert.read_bytes())], root_certificates=authorities
    )


def _check_pair(cert: Path, key: Path) -> None:
    """Raise SSLError unless certificate and key belong together; a passphrase is never asked for."""

    def no_passphrase() -> str:
        raise ValueError(f"{key} is encrypted; give a key without a passphrase")

    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=no_passphrase)
