"""What the embedded broker needs to let nobody in whom it does not know: a key, passwords, and its settings."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conf.kafka import MECHANISM, ca_file, jaas_config, password, password_file, providers
from conf.settings import Settings, kept_secret
from contract.principals import ADMIN, PRINCIPALS

VALID_DAYS = 3650
SUBJECT = "CN=mysocialmedia-embedded-broker"
NAMES = "san=ip:127.0.0.1,dns:localhost"

# Clients are known by password. The controller's port is the broker's own: who has not its key is not let in.
PROPERTIES = """\
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENTS://127.0.0.1:{port}
listener.security.protocol.map=CLIENTS:SASL_SSL,CONTROLLER:SSL
inter.broker.listener.name=CLIENTS
sasl.enabled.mechanisms={mechanism}
sasl.mechanism.inter.broker.protocol={mechanism}
listener.name.clients.scram-sha-512.sasl.jaas.config={jaas}
listener.name.controller.ssl.client.auth=required
ssl.keystore.type=PKCS12
ssl.keystore.location={keystore}
ssl.keystore.password=${{file:{keystore_password}:password}}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{admin};User:{subject}
"""


def secured_properties(settings: Settings) -> str:
    """Listeners, authorizer and trust, as lines of server.properties; what is missing of the secrets is made."""
    make_secrets(settings)
    lines = PROPERTIES.format(
        port=settings.kafka_port,
        controller_port=settings.kafka_port + 1,
        mechanism=MECHANISM,
        jaas=jaas_config(settings, ADMIN, ADMIN),
        keystore=_keystore(settings),
        keystore_password=password_file(settings, "keystore"),
        ca=ca_file(settings),
        admin=ADMIN,
        subject=SUBJECT,
    )
    return lines + "".join(f"{name}={value}\n" for name, value in providers(settings).items())


def make_secrets(settings: Settings) -> None:
    """A password a principal, and the broker's key with its certificate; what is there stays.

    SystemExit with the fix where the folder that is set has somebody else's authority.
    """
    if settings.kafka_secrets_dir and ca_file(settings).exists() and not _keystore(settings).exists():
        raise SystemExit(
            f"{ca_file(settings)} is of another cluster than the embedded broker: set MSM_KAFKA_BOOTSTRAP to use that "
            "one, or unset MSM_KAFKA_SECRETS_DIR"
        )
    settings.kafka_secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (ADMIN, "keystore", *(principal.name for principal in PRINCIPALS)):
        kept_secret(password_file(settings, name), "password=")
    if not _keystore(settings).exists() or not ca_file(settings).exists():
        _make_key(settings)


@contextmanager
def administrator(settings: Settings) -> Iterator[list[str]]:
    """The administrator's user as arguments of StorageTool: in a file, since everybody sees a command line."""
    if not settings.secured_kafka:
        yield []
        return
    file = settings.kafka_secrets / f"format.{os.getpid()}"
    file.touch(mode=0o600)
    file.write_text(f"--add-scram\n{MECHANISM}=[name={ADMIN},password={password(settings, ADMIN)}]\n")
    try:
        yield [f"@{file}"]
    finally:
        file.unlink()


def knows_administrator(settings: Settings) -> bool:
    """Whether the broker's folder was given today's password of the administrator."""
    mark = _mark(settings)
    return mark.exists() and mark.read_text() == _digest(settings)


def remember_administrator(settings: Settings) -> None:
    """Note that it was. The password is 48 random bytes, so that its digest tells nothing."""
    _mark(settings).write_text(_digest(settings))


def _mark(settings: Settings) -> Path:
    return settings.kafka_dir / "administrator.sha256"


def _digest(settings: Settings) -> str:
    return hashlib.sha256(password(settings, ADMIN).encode()).hexdigest()


def _keystore(settings: Settings) -> Path:
    return settings.kafka_secrets / "broker.p12"


def _make_key(settings: Settings) -> None:
    """A key that vouches for itself: its certificate is the authority that clients trust, for this broker alone."""
    fresh = settings.kafka_secrets / f"broker.p12.{os.getpid()}"
    store = ["-storetype", "PKCS12", "-keystore", str(fresh), "-storepass:env", "STORE_PASSWORD", "-alias", "broker"]
    key = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", str(VALID_DAYS)]
    env = {**os.environ, "STORE_PASSWORD": password(settings, "keystore")}
    _keytool(["-genkeypair", *store, *key, "-dname", SUBJECT, "-ext", NAMES], env)
    certificate = _keytool(["-exportcert", *store, "-rfc"], env)
    fresh.chmod(0o600)
    fresh.replace(_keystore(settings))
    ca_file(settings).write_text(certificate)


def _keytool(arguments: list[str], env: dict[str, str]) -> str:
    keytool = shutil.which("keytool")
    if keytool is None:
        raise SystemExit("keytool is missing: it comes with a JRE (apt-get install openjdk-17-jre-headless)")
    done = subprocess.run([keytool, *arguments], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the broker's key cannot be made: {done.stdout.strip()[-400:]}")
    return done.stdout
