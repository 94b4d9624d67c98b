"""The administrator's client: it makes and changes topics, users and rights. Services and jobs never use it."""

from typing import Any

from kafka import KafkaAdminClient

from conf.kafka import connected, python_options, secret_file
from conf.settings import Settings
from contract.principals import ADMIN


def admin_client(settings: Settings, principal: str = ADMIN, **options: Any) -> KafkaAdminClient:
    """Connected; KafkaError where no broker answers, or none takes the password."""
    return connected(KafkaAdminClient, **python_options(settings.acting_as(principal)), **options)


def may_administer(settings: Settings) -> bool:
    """Whether Kafka is open, or what the administrator logs in with is on this machine."""
    return not settings.secured_kafka or secret_file(settings, ADMIN).exists()
