"""From MQTT to Postgres: the subscriber, the Celery application, the pipeline of a reading, and scheduled jobs."""
