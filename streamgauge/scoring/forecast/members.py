"""The models that a forecast is made of: several medians that differ in what they have seen and what they are relative to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """One kind of model, trained once per horizon.

    Attributes:
        name: in the artefact.
        scale: column of ``window_features.SCALES`` that lengths are divided by; ``None``: metres as they are.
        varied: trained on the record as other sensors at other rivers would have it, too.
        depth: of each tree, at most.
        leaf_weight: a leaf holds at least this much weight; a row has 1 on average.
        quantiles: its outputs.
    """

    name: str
    scale: int | None
    varied: bool
    depth: int
    leaf_weight: float
    quantiles: tuple[float, ...] = (0.5,)


MEMBERS: tuple[Member, ...] = (
    Member("rate", scale=1, varied=False, depth=6, leaf_weight=20.0),
    Member("root", scale=2, varied=False, depth=6, leaf_weight=20.0),
    Member("varied", scale=0, varied=True, depth=6, leaf_weight=30.0),
    Member("metres", scale=None, varied=False, depth=6, leaf_weight=50.0),
)
"""The medians. The first two are averaged; the others are proposals of their own."""

TAILS = Member("tails", scale=0, varied=True, depth=5, leaf_weight=50.0, quantiles=(0.05, 0.95))
"""The band's shape; how wide it must be is learnt per station (``conformal``)."""


def member_name(member: Member, horizon_s: int) -> str:
    """The name of a member's model for one horizon."""
    return f"{member.name}_{horizon_s}"
