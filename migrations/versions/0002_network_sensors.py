"""Devices may be LoRaWAN sensors: their DevEUI, model, parameters and installation.

Only adds, so that the program before this one goes on working. ``migrations/env.py`` sets the lock timeout.

Revision: 0002
Follows: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ADD = """
ALTER TABLE devices
    ADD COLUMN dev_eui text CONSTRAINT uq_devices_dev_eui UNIQUE CONSTRAINT ck_devices_dev_eui CHECK (dev_eui ~ '^[0-9A-F]{16}$'),
    ADD COLUMN model text,
    ADD COLUMN codec_parameters jsonb,
    ADD COLUMN installation jsonb;
COMMENT ON COLUMN devices.dev_eui IS 'of a LoRaWAN sensor, upper case';
COMMENT ON COLUMN devices.model IS 'which codec reads its payloads; see streamgauge.payloads.registry';
COMMENT ON COLUMN devices.codec_parameters IS 'the codec''s parameters by name, such as Pmin';
COMMENT ON COLUMN devices.installation IS 'how the sensor stands: sensor_height_m, offset_m, density_kg_m3, gravity_m_s2';
"""

REMOVE = "ALTER TABLE devices DROP COLUMN dev_eui, DROP COLUMN model, DROP COLUMN codec_parameters, DROP COLUMN installation;"


def upgrade() -> None:
    op.execute(ADD)


def downgrade() -> None:
    op.execute(REMOVE)
