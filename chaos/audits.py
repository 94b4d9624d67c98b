"""The audit after each fault, all in one session of Spark: only the first has everything to compile."""

import json
import threading
from typing import Any

from kafka.errors import KafkaError
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from audit.job import audit
from audit.offsets import CannotAuditError
from audit.report import EVERYTHING
from chaos import report
from chaos.report import Outcome
from conf.settings import Settings
from contract.principals import AUDITOR

AUDIT_SECONDS = 900
AUDITS = 3
"""At the most: the archive may be behind, a ranking of the first tick after a start, a row of real time too young."""


def audited(outcome: Outcome, spark: SparkSession, settings: Settings) -> Outcome:
    """The outcome with what the audit says; failed where it finds drift, or cannot say that there is none."""
    for _ in range(AUDITS):
        found = _audit(spark, settings)
        is_whole = found.get("compared") == EVERYTHING and not found["unsettled"]
        if is_whole or found.get("drift"):
            outcome.drift, outcome.facts = found["drift"], found["facts"]
            break
    if outcome.drift != 0:
        outcome.what += f"; the audit: {found.get('error') or json.dumps(found)}"
    return report.judged(outcome)


def _audit(spark: SparkSession, settings: Settings) -> dict[str, Any]:
    guard = threading.Timer(AUDIT_SECONDS, spark.sparkContext.cancelAllJobs)
    guard.start()
    try:
        return audit(spark, settings.acting_as(AUDITOR), from_kafka=False).as_json()
    except (CannotAuditError, PySparkException, Py4JError, KafkaError, OSError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        guard.cancel()
