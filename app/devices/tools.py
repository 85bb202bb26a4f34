"""``/devices/register/qr`` and ``/devices/register/decode``: what a label says, and what a payload says."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from flask import render_template, request

from app.connections import connections
from app.devices.entry import Typed, codec_of, plain, read_number
from app.devices.form import PARAMETER_PREFIX
from app.devices.routes import Answer, blueprint, form_page
from app.i18n import words
from app.security import allow_feature
from app.session.roles import needs_role
from streamgauge.lorawan.qr_codes import MAX_CHARACTERS, DeviceLabel, NotALabel, read_label
from streamgauge.payloads import registry
from streamgauge.payloads.base import MAX_F_PORT, Codec, Decoded, Parameter, PayloadRefused
from streamgauge.payloads.installation import Installation, level_of
from streamgauge.storage.device_rows import DeviceRow, holders_of, models_of_siblings, read_device_row

MAX_PAYLOAD_BYTES = 512
"""LoRaWAN's longest is 242 (RP002, DR with the largest payload)."""
SERIES_DIGITS = 9
"""DevEUIs that begin with so many equal digits are taken for one maker's series: six are its OUI-24, nine its MA-S block."""


class BadPayload(ValueError):
    """A text that is no payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSample:
    """A sample: its values by name, as text; the level where the sensor stands, None if it gives none."""

    values: tuple[tuple[str, str], ...]
    level_m: float | None
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a payload says, or why it says nothing. ``fault``: the key of a sentence; ``detail``: the codec's own words."""

    fault: str | None = None
    detail: str = ""
    payload: bytes = b""
    decoded: Decoded | None = None
    samples: tuple[ReadSample, ...] = ()
    problems: tuple[str, ...] = ()


@blueprint.get("/devices/register/qr")
@needs_role("operator")
def show_qr() -> str:
    """Where a label is read: by the camera, from a photo, or as text."""
    return _qr_page("", None, None)


@blueprint.post("/devices/register/qr")
@needs_role("operator")
def post_qr() -> Answer:
    """The form of a new device, filled with what a label says."""
    text = request.form.get("text", "")[: MAX_CHARACTERS + 1]
    try:
        label = read_label(text)
    except NotALabel as refusal:
        return _qr_page(text, f"devices.qr.fault.{refusal.fault}", None), 422
    with connections().engine.connect() as connection:
        holder = holders_of(connection, [label.dev_eui]).get(label.dev_eui)
        siblings = models_of_siblings(connection, label.dev_eui, SERIES_DIGITS)
    if holder:
        return _qr_page(text, None, holder), 409
    model = siblings[0][0] if siblings else ""
    serial = words()("devices.qr.serial", serial=label.serial_number[:100]) if label.serial_number else ""
    fields = {"dev_eui": label.dev_eui, "model": model, "description": serial}
    typed = Typed(fields={"time_zone": "UTC", "silence_limit_minutes": "60", **fields})
    return form_page(typed, label=label_facts(label), siblings=siblings)


@blueprint.get("/devices/register/decode")
@needs_role("viewer")
def show_decode() -> Answer:
    """What a payload says by a model's codec; ``?device=`` takes model, parameters and installation of that device."""
    asked = {name: request.args.get(name, "")[:2_000].strip() for name in ("device", "model", "f_port", "payload")}
    with connections().engine.connect() as connection:
        device = read_device_row(connection, asked["device"]) if asked["device"] else None
    codec = codec_of(asked["model"] or (device.model if device and device.model else ""))
    read = None
    if asked["payload"] or "f_port" in request.args:
        read = read_payload(codec, asked["payload"], asked["f_port"], device, _typed_parameters())
    shown = render_template(
        "devices/decode.html",
        asked={**asked, "model": codec.model if codec else asked["model"]},
        device=device,
        codec=codec,
        read=read,
        models=registry.models(),
        parameters=_shown_parameters(codec, device),
    )
    return (shown, 422) if read is not None and read.fault else shown


def read_payload(
    codec: Codec | None, payload: str, f_port: str, device: DeviceRow | None, typed: Mapping[str, float]
) -> Read:
    """What a pasted payload says.

    Args:
        codec: the model's.
        payload: hexadecimal or base64.
        f_port: empty for the model's own.
        device: whose parameters and installation count; None: the model's defaults, and no installation.
        typed: parameters that go before the device's.
    """
    if codec is None:
        return Read(fault="devices.decode.fault.model")
    port = int(f_port) if f_port.isascii() and f_port.isdecimal() and len(f_port) < 4 else None
    if f_port and (port is None or not 1 <= port <= MAX_F_PORT):
        return Read(fault="devices.decode.fault.f_port")
    try:
        content = payload_bytes(payload)
    except BadPayload:
        return Read(fault="devices.decode.fault.payload")
    own = device is not None and device.model == codec.model
    try:
        installation = Installation(**device.installation) if device is not None and own else Installation()
    except (TypeError, ValueError):
        installation = Installation()
    parameters = {**(device.codec_parameters if device is not None and own else {}), **typed}
    try:
        decoded = codec.decode(content, codec.f_port if port is None else port, parameters)
    except PayloadRefused as refusal:
        return Read(fault="devices.decode.fault.refused", detail=refusal.detail, payload=content)
    levels = [level_of(sample.values, codec.measures, installation) for sample in decoded.samples]
    return Read(
        payload=content,
        decoded=decoded,
        samples=tuple(
            ReadSample(
                values=tuple((name, f"{value:.9g}") for name, value in sample.values.items()),
                level_m=level_m,
                age_s=sample.age_s,
            )
            for sample, (level_m, _) in zip(decoded.samples, levels, strict=True)
        ),
        problems=tuple(dict.fromkeys((*decoded.problems, *(problem for _, problem in levels if problem)))),
    )


def _shown_parameters(codec: Codec | None, device: DeviceRow | None) -> list[tuple[Parameter, str]]:
    """The codec's parameters with what stands in their fields."""
    known = device.codec_parameters if device is not None and codec and device.model == codec.model else {}
    return [
        (parameter, request.args.get(PARAMETER_PREFIX + parameter.name, plain(known.get(parameter.name)))[:40])
        for parameter in (codec.parameters if codec else ())
    ]


def _typed_parameters() -> dict[str, float]:
    """The codec's parameters as they were typed; what is no number is as if not typed."""
    typed = {
        name.removeprefix(PARAMETER_PREFIX): read_number(said)
        for name, said in request.args.items()
        if name.startswith(PARAMETER_PREFIX)
    }
    return {name: value for name, value in typed.items() if value is not None}


def payload_bytes(text: str) -> bytes:
    """Bytes from hexadecimal digits (with blanks, colons, dashes or 0x between them) or base64.

    What is both is hexadecimal, as sensors' makers print it.

    Raises:
        BadPayload: it is neither, empty, or longer than ``MAX_PAYLOAD_BYTES``.
    """
    digits = re.sub(r"0[xX]|[\s:,-]", "", text)
    if re.fullmatch(r"([0-9A-Fa-f]{2})+", digits):
        content = bytes.fromhex(digits)
    else:
        try:
            content = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadPayload from error
    if not 0 < len(content) <= MAX_PAYLOAD_BYTES:
        raise BadPayload
    return content


def _qr_page(text: str, fault: str | None, holder: str | None) -> str:
    allow_feature("camera")
    return render_template("devices/qr.html", text=text, fault=words()(fault) if fault else None, holder=holder)


def label_facts(label: DeviceLabel) -> list[tuple[str, str]]:
    """What a label says that is the network server's: key and value."""
    said = (
        ("join_eui", label.join_eui),
        ("vendor_id", label.vendor_id),
        ("vendor_profile_id", label.vendor_profile_id),
    )
    return [(name, value) for name, value in said if value]
