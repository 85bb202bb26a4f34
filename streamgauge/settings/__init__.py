"""Settings: one frozen class per part, read from the environment completely before anything connects.

Every variable begins with ``STREAMGAUGE_``; ``NAME_FILE`` names a file to read the value from (a mounted secret). ``load``
reports every bad key at once, and unknown keys too, as a misspelt setting is otherwise a silent default.
"""

from streamgauge.settings.cloud import MigrationSettings, SubscriberSettings, WorkerSettings
from streamgauge.settings.common import (
    EARLIEST_READING_TIME,
    CommonSettings,
    LimitSettings,
    MqttSettings,
    QueueSettings,
    StoreSettings,
)
from streamgauge.settings.declare import PREFIX
from streamgauge.settings.edge import GatewaySettings, SimulatorSettings
from streamgauge.settings.load import FOREIGN_KEYS, FOREIGN_PREFIXES, PARTS, SettingDoc, document, load
from streamgauge.settings.web import WebSettings

__all__ = [
    "EARLIEST_READING_TIME",
    "FOREIGN_KEYS",
    "FOREIGN_PREFIXES",
    "PARTS",
    "PREFIX",
    "CommonSettings",
    "GatewaySettings",
    "LimitSettings",
    "MigrationSettings",
    "MqttSettings",
    "QueueSettings",
    "SettingDoc",
    "SimulatorSettings",
    "StoreSettings",
    "SubscriberSettings",
    "WebSettings",
    "WorkerSettings",
    "document",
    "load",
]
