"""Makes the rights in Kafka what contract/principals.py says: no more, no less."""

from collections.abc import Iterable
from contextlib import closing

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)

from conf.kafka import MECHANISM, password
from conf.settings import Settings
from contract.principals import PRINCIPALS
from runtime.admin import admin_client
from runtime.processes import wait_until

ALLOWED_SECONDS = 30


def ensure_access(settings: Settings) -> list[str]:
    """Give our principals their rights, and take others from them; a sentence for each change.

    On the embedded broker their users are made too. Whoever is no principal of ours is left alone. Those who come by
    `plain` or `tls` have names and rights that are the cluster's own affair.
    """
    if settings.kafka_security != "scram":
        return []
    with closing(admin_client(settings)) as admin:
        if settings.embedded_kafka:
            upsert_users(admin, settings, [principal.name for principal in PRINCIPALS])
        have, wanted = _granted(admin), wanted_acls()
        if wanted - have:
            admin.create_acls(list(wanted - have))
        if have - wanted:
            admin.delete_acls([_exactly(acl) for acl in have - wanted])
        wait_until(lambda: _granted(admin) == wanted, ALLOWED_SECONDS, lambda: "Kafka does not take the access rights")
    return _sentences(have, wanted)


def access_differences(settings: Settings) -> list[str]:
    """A sentence for each right that is missing, or is one too many; changes nothing."""
    if settings.kafka_security != "scram":
        return []
    with closing(admin_client(settings)) as admin:
        have, wanted = _granted(admin), wanted_acls()
    return _sentences(have, wanted, "should, and may not,", "may, and should not,")


def _sentences(have: set[ACL], wanted: set[ACL], missing: str = "may", extra: str = "may no more") -> list[str]:
    told = [(missing, acl) for acl in wanted - have] + [(extra, acl) for acl in have - wanted]
    return sorted(f"{_name(acl)} {verb} {_says(acl)}" for verb, acl in told)


def wanted_acls() -> set[ACL]:
    """To read or write a topic is to be allowed to describe it; an idempotent producer needs no more than to write."""
    return {
        _allow(principal.name, operation, topic)
        for principal in PRINCIPALS
        for operation, topics in ((ACLOperation.READ, principal.reads), (ACLOperation.WRITE, principal.writes))
        for topic in topics
    }


def _allow(name: str, operation: ACLOperation, topic: str) -> ACL:
    pattern = ResourcePattern(ResourceType.TOPIC, topic)
    return ACL(f"User:{name}", "*", operation, ACLPermissionType.ALLOW, pattern)


def _granted(admin: KafkaAdminClient) -> set[ACL]:
    """All that the cluster says about our principals."""
    everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    found, _ = admin.describe_acls(ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything))
    ours = {f"User:{principal.name}" for principal in PRINCIPALS}
    return {acl for acl in found if acl.principal in ours}


def _exactly(acl: ACL) -> ACLFilter:
    place = acl.resource_pattern
    pattern = ResourcePatternFilter(place.resource_type, place.resource_name, place.pattern_type)
    return ACLFilter(acl.principal, acl.host, acl.operation, acl.permission_type, pattern)


def upsert_users(admin: KafkaAdminClient, settings: Settings, names: Iterable[str]) -> None:
    """What a password file says is the password; SystemExit where Kafka does not take it."""
    users = [UserScramCredentialUpsertion(name, MECHANISM, password(settings, name)) for name in names]
    failed = {name: error for name, error in admin.alter_user_scram_credentials(users).items() if error}
    if failed:
        raise SystemExit(f"Kafka does not take the users {', '.join(failed)}: {next(iter(failed.values()))}")


def _name(acl: ACL) -> str:
    return str(acl.principal).removeprefix("User:")


def _says(acl: ACL) -> str:
    return f"{acl.operation.name.lower()} {acl.resource_pattern.resource_name}"
