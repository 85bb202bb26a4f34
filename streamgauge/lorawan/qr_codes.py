"""QR codes on LoRaWAN devices: LoRa Alliance TR005, "LoRaWAN Device Identification QR Codes", version 1.0 (2020).

``LW:D0:<JoinEUI>:<DevEUI>:<ProfileID>`` and then, in any number and order, ``:O`` owner token, ``:S`` serial number, ``:P``
proprietary, ``:C`` checksum: CRC-16 (polynomial 8005 reflected, from FFFF) over all that stands before it. That is the one
variant that gives the checksum of the document's own example. A ProfileID is the vendor's id and the vendor's own number of the
device type, four hexadecimal digits each. Its third draft, ``URN:DEV:LW:<JoinEUI>_<DevEUI>_<ProfileID>…``, is still printed on
devices; and many labels hold the DevEUI alone.
"""

import re
from dataclasses import dataclass

MAX_CHARACTERS = 1_000
_EUI = re.compile(r"[0-9A-F]{16}")
_PROFILE = re.compile(r"[0-9A-F]{8}")
_SEPARATORS = str.maketrans("", "", " -:")
_FINAL, _DRAFT = "LW:D0:", "URN:DEV:LW:"
_TAGS = {"O": "owner_token", "S": "serial_number", "P": "proprietary"}
_DRAFT_TAGS = {"V": "owner_token", "S": "serial_number", "P": "proprietary"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLabel:
    """What a device's label says; EUIs and ids in upper case, None for what it does not say."""

    dev_eui: str
    join_eui: str | None = None
    vendor_id: str | None = None
    vendor_profile_id: str | None = None
    owner_token: str | None = None
    serial_number: str | None = None
    proprietary: str | None = None


class NotALabel(ValueError):
    """A text that is no device's label. ``fault``: ``form`` (none of the forms), ``eui``, ``profile`` or ``checksum``."""

    def __init__(self, fault: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


def read_label(text: str) -> DeviceLabel:
    """Read what a QR code says.

    Args:
        text: the code's text; case and blanks around it do not matter.

    Raises:
        NotALabel: it is none, or was read wrongly.
    """
    label = text.strip()[: MAX_CHARACTERS + 1]
    if len(label) > MAX_CHARACTERS:
        raise NotALabel("form", f"longer than {MAX_CHARACTERS} characters")
    upper = label.upper()
    if upper.startswith(_FINAL):
        _check_sum(label)
        fields = label[len(_FINAL) :].split(":")
        return _label(fields[:3], fields[3:], _TAGS)
    if upper.startswith(_DRAFT):
        fields = label[len(_DRAFT) :].split("_")
        return _label(fields[:3], fields[3:], _DRAFT_TAGS)
    alone = upper.translate(_SEPARATORS)
    if not _EUI.fullmatch(alone):
        raise NotALabel("form", "neither LW:D0:…, nor URN:DEV:LW:…, nor a DevEUI of 16 hexadecimal digits")
    return DeviceLabel(dev_eui=alone)


def crc16(content: bytes) -> int:
    """CRC-16 with the polynomial 8005, reflected, from FFFF; of "123456789" it is 4B37."""
    remainder = 0xFFFF
    for byte in content:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ 0xA001 if remainder & 1 else remainder >> 1
    return remainder


def _check_sum(label: str) -> None:
    before, found, claimed = label.upper().rpartition(":C")
    if not found or not re.fullmatch(r"[0-9A-F]{4}", claimed):
        return
    if crc16(before.encode()) != int(claimed, 16):
        raise NotALabel("checksum", f"the checksum {claimed} is not that of the text before it")


def _label(required: list[str], further: list[str], tags: dict[str, str]) -> DeviceLabel:
    if len(required) < 2:
        raise NotALabel("form", "JoinEUI or DevEUI is missing")
    join_eui, dev_eui = (field.strip().upper().replace("-", "") for field in required[:2])
    for name, eui in (("JoinEUI", join_eui), ("DevEUI", dev_eui)):
        if not _EUI.fullmatch(eui):
            raise NotALabel("eui", f"{name} {eui[:40]!r} is not 16 hexadecimal digits")
    profile = required[2].strip().upper() if len(required) > 2 else ""
    if profile and not _PROFILE.fullmatch(profile):
        raise NotALabel("profile", f"ProfileID {profile[:40]!r} is not 8 hexadecimal digits")
    said: dict[str, str] = {}
    for field in further:
        if (tag := tags.get(field[:1].upper())) and field[1:]:
            said.setdefault(tag, field[1:])
    return DeviceLabel(
        dev_eui=dev_eui,
        join_eui=join_eui,
        vendor_id=profile[:4] or None,
        vendor_profile_id=profile[4:] or None,
        owner_token=said.get("owner_token"),
        serial_number=said.get("serial_number"),
        proprietary=said.get("proprietary"),
    )
