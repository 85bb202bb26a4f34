"""Every metric's name, unit, labels and buckets, in one place. Parts import the object and count; nobody else makes names.

``docs/metrics.md`` is held against this module by a test. All sit in prometheus_client's default registry.
"""

from prometheus_client import Counter, Gauge, Histogram

DELAY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
TRAINING_BUCKETS_S = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0)

READINGS_RECEIVED = Counter(
    "streamgauge_readings_received_total", "Readings that arrived, sound or not, by source.", ["source"]
)
READINGS_STORED = Counter("streamgauge_readings_stored_total", "Readings committed to Postgres for the first time.")
READINGS_DUPLICATE = Counter(
    "streamgauge_readings_duplicate_total", "Readings that were there already, with the same values."
)
READINGS_DEAD = Counter(
    "streamgauge_readings_dead_total", "Readings and messages kept as dead letters, by reason.", ["reason"]
)
READING_DELAY = Histogram(
    "streamgauge_reading_delay_seconds",
    "From a reading's arrival at the subscriber to its commit.",
    buckets=DELAY_BUCKETS_S,
)
UPLINKS = Counter(
    "streamgauge_uplinks_total",
    "Messages of other network servers, by network (chirpstack, tts) and outcome: decoded, status (a frame without a "
    "measurement), ignored (no application payload) or refused (kept as a dead letter).",
    ["network", "outcome"],
)
UPLINK_PROBLEMS = Counter(
    "streamgauge_uplink_problems_total",
    "Parts of otherwise good frames that a codec left out or did not understand, by sensor model.",
    ["model"],
)
FLAGS = Counter("streamgauge_level_flags_total", "Level readings by quality flag (QARTOD value).", ["flag"])

QUEUE_MESSAGES = Gauge("streamgauge_queue_messages", "Tasks that wait in a queue.", ["queue"])
INFLIGHT_MESSAGES = Gauge("streamgauge_inflight_messages", "MQTT messages taken and not yet acknowledged.")
INFLIGHT_TASKS = Gauge("streamgauge_inflight_tasks", "Ingest tasks enqueued and not yet heard of.")
TASKS_RESENT = Counter("streamgauge_tasks_resent_total", "Ingest tasks enqueued again, as nothing was heard of them.")
INTAKE_PAUSED = Gauge("streamgauge_intake_paused", "1 while the subscriber takes no messages, by reason.", ["reason"])
MQTT_CONNECTED = Gauge("streamgauge_mqtt_connected", "1 while the subscriber's MQTT session is up.")

TASK_SECONDS = Histogram("streamgauge_task_seconds", "Time in the worker, by task.", ["task"], buckets=DELAY_BUCKETS_S)
TASK_FAILURES = Counter("streamgauge_task_failures_total", "Tasks that ended with an error, by task.", ["task"])
PUBLISH_FAILURES = Counter(
    "streamgauge_live_publish_failures_total", "Committed batches that Redis did not take for the live pages."
)

FORECASTS_ISSUED = Counter("streamgauge_forecasts_issued_total", "Forecasts issued, one per station and instant.")
FORECAST_SECONDS = Histogram(
    "streamgauge_forecast_seconds",
    "From the reading of a batch of stations' windows to the commit of their forecasts.",
    buckets=DELAY_BUCKETS_S,
)
FORECAST_STATIONS_DUE = Gauge(
    "streamgauge_forecast_stations_due",
    "Stations that wait for a forecast after a tick of the worker; above 0 for long: it does not keep up.",
    multiprocess_mode="mostrecent",
)
FORECAST_PROBLEMS = Counter(
    "streamgauge_forecast_problems_total",
    "Stations whose forecast could not go its ordinary way, by problem: track_damaged (begun anew), "
    "failed (passed over until its next reading).",
    ["problem"],
)

LEARNT_PROBLEMS = Counter(
    "streamgauge_learnt_problems_total",
    "Parts of what was learnt of a station that could not be read from the database; readings are judged without them.",
)

RESCORE_READINGS = Counter("streamgauge_rescore_readings_total", "Stored readings that were scored again.")
RESCORE_CHUNKS = Counter(
    "streamgauge_rescore_chunks_total",
    "Chunks of re-scoring runs, by outcome: done, failed (given up) or repeated (failed, to be tried again).",
    ["outcome"],
)
RESCORE_RUNS = Counter("streamgauge_rescore_runs_total", "Re-scoring runs that ended, by state.", ["state"])
RESCORE_GAVE_WAY = Counter(
    "streamgauge_rescore_gave_way_total", "Times re-scoring paused because live readings waited for workers."
)

MODELS_IN_USE = Gauge(
    "streamgauge_models_in_use", "Models that a worker process judges with.", multiprocess_mode="mostrecent"
)
MODEL_LOAD_FAILURES = Counter(
    "streamgauge_model_load_failures_total",
    "Times a worker could not load a champion; the last good model goes on, and the log says why.",
)
RETRAININGS = Counter(
    "streamgauge_retrainings_total",
    "Trainings on stored history, by scope (general, site) and outcome: challenger, kept (another challenger stays), "
    "unchanged (the same model came out), too_little (history) or failed.",
    ["scope", "outcome"],
)
RETRAIN_SECONDS = Histogram(
    "streamgauge_retrain_seconds", "Duration of a training on stored history.", buckets=TRAINING_BUCKETS_S
)
COMPARISONS = Counter(
    "streamgauge_challenger_comparisons_total",
    "Comparisons of a challenger with its champion, by what the gate said: passed, not_passed, or failed (no comparison).",
    ["outcome"],
)
MLFLOW_MIRRORED = Gauge(
    "streamgauge_mlflow_mirrored_timestamp_seconds",
    "When all models were last found to be, or brought, in MLflow; only where it is used.",
    multiprocess_mode="mostrecent",
)
MLFLOW_FAILURES = Counter(
    "streamgauge_mlflow_failures_total", "Sweeps that MLflow did not take; the next one tries again."
)

MODEL_INFO = "streamgauge_model_info"
"""1 per alias, with its model; computed when it is scraped, by the web process."""
CHALLENGER_GATE = "streamgauge_challenger_gate_passed"
"""Per challenger whether the gate lets it pass; computed when it is scraped, by the web process."""
NEWEST_READING_AGE = "streamgauge_newest_reading_age_seconds"
"""Age of each registered device's newest reading; computed when it is scraped, by the web process."""
ROLLUP_LAG = "streamgauge_rollup_lag_seconds"
"""How far behind now the roll-up is; computed when it is scraped, by the web process."""
DRIFT_CHANGED = "streamgauge_drift_changed_stations"
"""Stations whose newest weekly drift report says changed; computed when it is scraped, by the web process."""
LIVE_CLIENTS = Gauge("streamgauge_live_clients", "Browsers connected to /live.")
LIVE_DROPPED = Counter(
    "streamgauge_live_dropped_total", "Times a slow browser's backlog was dropped and it was told to ask anew."
)
LIVE_FRAMES = Counter("streamgauge_live_frames_total", "Frames with readings or forecasts sent to browsers on /live.")
LIVE_LEFT = Counter(
    "streamgauge_live_left_total",
    "Browsers that left /live, by why: left, stalled, silent, talked, broken, signed_out, stopping, failed.",
    ["why"],
)
