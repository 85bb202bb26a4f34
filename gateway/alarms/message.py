"""What a local alarm says: as JSON for programs, and in a sentence per language for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.configuration import Rule
from gateway.judging.verdict import Verdict
from gateway.page.i18n import LANGUAGES, Words
from streamgauge.reading import format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An alarm that was raised; lengths in metres, rates in metres per hour.

    Attributes:
        id: the same however often it is sent: the rule's name and when it was raised.
        rule: the rule's name.
        device: whose level.
        gateway: who says it.
        raised_at: our clock, aware UTC.
        time: of the reading.
        level_m: of the reading; likewise the next five.
        is_confirmed: more than one reading says so (or one that did not leap).
        is_offline: the link to the cloud was down.
        bounds: what the rule sets.
        text: one sentence per language.
    """

    id: str
    rule: str
    device: str
    gateway: str
    raised_at: datetime
    time: datetime
    level_m: float
    rise_m_per_h: float | None
    score: float | None
    expected_m: float | None
    next_time: datetime | None
    next_m: float | None
    is_confirmed: bool
    is_offline: bool
    bounds: Mapping[str, float]
    text: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, rule: Rule, verdict: Verdict, *, gateway: str, raised_at: datetime, is_confirmed: bool, is_offline: bool
    ) -> "Raised":
        """The alarm of a rule that a verdict passed."""
        names = ("level_above_m", "rise_above_m_per_h", "score_above")
        return cls(
            id=f"{rule.name}@{format_time(raised_at)}",
            rule=rule.name,
            device=rule.device,
            gateway=gateway,
            raised_at=raised_at,
            time=verdict.time,
            level_m=verdict.level_m,
            rise_m_per_h=verdict.rise_m_per_h,
            score=verdict.score,
            expected_m=verdict.expected_m,
            next_time=verdict.next_time,
            next_m=verdict.next_m,
            is_confirmed=is_confirmed,
            is_offline=is_offline,
            bounds={name: value for name in names if (value := getattr(rule, name)) is not None},
            text={
                language: sentence(Words(language), rule, verdict, is_confirmed, is_offline) for language in LANGUAGES
            },
        )

    def as_json(self) -> dict[str, Any]:
        """What is posted to webhooks and given to commands; ``from_json`` reads it again."""
        content = {name: getattr(self, name) for name in self.__slots__}
        times = {name: format_time(value) for name, value in content.items() if isinstance(value, datetime)}
        return content | times | {"bounds": dict(self.bounds), "text": dict(self.text)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Raised":
        """The alarm again.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        found = {name: content[name] for name in cls.__slots__}
        for name in ("raised_at", "time", "next_time"):
            if found[name] is not None:
                found[name] = datetime.fromisoformat(found[name])
        return cls(**found)


def sentence(t: Words, rule: Rule, verdict: Verdict, is_confirmed: bool, is_offline: bool) -> str:
    """What one would say on the telephone: "Bridge: mill-brook at 1.62 m (limit 1.50 m), +34 cm/h"."""
    level = t("unit.m", n=t.number(verdict.level_m, 2))
    if rule.level_above_m is not None:
        level = t("alarm.limit", value=level, limit=t("unit.m", n=t.number(rule.level_above_m, 2)))
    parts = [t("alarm.level", rule=rule.name, device=rule.device, level=level)]
    if verdict.rise_m_per_h is not None:
        rise = t.rise(verdict.rise_m_per_h)
        if rule.rise_above_m_per_h is not None:
            rise = t("alarm.limit", value=rise, limit=t.rise(rule.rise_above_m_per_h))
        parts.append(rise)
    if rule.score_above is not None and verdict.score is not None:
        score = t.number(verdict.score, 2)
        parts.append(t("alarm.score", score=t("alarm.limit", value=score, limit=t.number(rule.score_above, 2))))
    if not is_confirmed:
        parts.append(t("alarm.unconfirmed"))
    if is_offline:
        parts.append(t("alarm.offline"))
    return t("list.separator").join(parts)
