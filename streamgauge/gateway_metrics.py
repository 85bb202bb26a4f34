"""The gateway's metrics: name, unit, labels and buckets of each, apart from the cloud's so that neither exports the other's.

``docs/metrics.md`` is held against this module by a test. All sit in prometheus_client's default registry.
"""

from prometheus_client import Counter, Gauge, Histogram

PREDICTION_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05)
COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

DATAGRAMS = Counter("streamgauge_gateway_datagrams_total", "UDP datagrams from packet forwarders, by kind.", ["kind"])
DATAGRAMS_REFUSED = Counter(
    "streamgauge_gateway_datagrams_refused_total", "UDP datagrams that were not taken, by reason.", ["reason"]
)
DOWNLINKS = Counter(
    "streamgauge_gateway_downlinks_total",
    "Join accepts and acknowledgements to sensors, by what became of them: sent, accepted by the forwarder, or why not.",
    ["outcome"],
)
FRAMES = Counter("streamgauge_gateway_frames_total", "LoRaWAN frames heard, by what became of them.", ["outcome"])
READINGS_ACCEPTED = Counter(
    "streamgauge_gateway_readings_accepted_total", "Readings committed to the buffer, by way in.", ["source"]
)
READINGS_REFUSED = Counter(
    "streamgauge_gateway_readings_refused_total", "Readings and payloads that were refused, by reason.", ["reason"]
)
NO_ROOM = Counter(
    "streamgauge_gateway_no_room_total",
    "Datagrams and messages that were not taken, as too much waits, by way in.",
    ["source"],
)
NOT_JUDGED = Counter(
    "streamgauge_gateway_not_judged_total",
    "Readings that came faster than they could be judged locally; they are kept.",
)
BUFFERED_READINGS = Gauge("streamgauge_gateway_buffered_readings", "Readings that wait for the cloud's `stored`.")
BUFFER_BYTES = Gauge("streamgauge_gateway_buffer_bytes", "Size of the buffer's files.")
BUFFER_WRITABLE = Gauge(
    "streamgauge_gateway_buffer_writable",
    "1 while the buffer takes what comes; 0 since an attempt to write it failed: nothing new is acknowledged.",
)
BUFFER_DROPPED = Counter(
    "streamgauge_gateway_buffer_dropped_readings_total",
    "Readings given up because the buffer was full, by rank (ordinary ones go before precious ones).",
    ["rank"],
)
BUFFER_FAULTS = Counter(
    "streamgauge_gateway_buffer_faults_total", "Times the buffer could not be used as it was, by fault.", ["fault"]
)
COMMIT_SECONDS = Histogram(
    "streamgauge_gateway_commit_seconds", "Time of a commit to the buffer, in seconds.", buckets=COMMIT_BUCKETS_S
)
OLDEST_BUFFERED_SECONDS = Gauge(
    "streamgauge_gateway_oldest_buffered_seconds", "How long the oldest buffered reading has waited."
)
BATCHES_SENT = Counter("streamgauge_gateway_batches_sent_total", "Batches published, by lane.", ["lane"])
BATCHES_RESENT = Counter("streamgauge_gateway_batches_resent_total", "Batches published again, by lane.", ["lane"])
READINGS_CONFIRMED = Counter(
    "streamgauge_gateway_readings_confirmed_total",
    "Readings that the cloud has stored, or keeps as dead letters.",
    ["as"],
)
ANSWERS_IGNORED = Counter(
    "streamgauge_gateway_answers_ignored_total",
    "Answers of the cloud that fit no batch under way, by reason.",
    ["reason"],
)
LINK_CONNECTED = Gauge("streamgauge_gateway_link_connected", "1 while the session with the cloud's broker is up.")
PREDICTION_SECONDS = Histogram(
    "streamgauge_gateway_prediction_seconds", "Time to judge one reading locally.", buckets=PREDICTION_BUCKETS_S
)
ALARMS = Counter("streamgauge_gateway_alarms_total", "Local alarms, by what became of them.", ["outcome"])
CLOCK_STEPS = Counter(
    "streamgauge_gateway_clock_steps_total", "Times the system clock jumped, by direction.", ["direction"]
)
