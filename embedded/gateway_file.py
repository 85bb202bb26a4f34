"""An empty ``gateway.toml`` for a person to write sensors into: ``python -m embedded.gateway_file PATH``."""

import sys
from pathlib import Path

from embedded.home import write_private

EMPTY = """\
# The sensors of this gateway. Write yours as the examples show, seal their keys, and start `make up` again; gateway/README.md
# explains every line. For keys and checks:
#
#   set -a; . .streamgauge/urls.env; set +a        (while `make up` runs: it holds STREAMGAUGE_GATEWAY_KEY)
#   python -m gateway seal --dev-eui 70B3D57ED0000001
#   python -m gateway check
#
# [[forwarders]]                                   # without any, every forwarder on this machine is heard
# eui = "AA555A0000000101"
#
# [[devices]]
# name = "mill-brook"
# model = "decentlab_dl_mbx"                       # python -m gateway models
# dev_eui = "70B3D57ED0000001"
# activation = "otaa"
# join_eui = "0000000000000000"
# app_key = "sealed:v1:…"
# installation = { sensor_height_m = 6.0 }
"""


def main() -> None:
    """Write the file unless it is there."""
    path = Path(sys.argv[1])
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, EMPTY)


if __name__ == "__main__":
    main()
