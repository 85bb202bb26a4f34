"""What is configured of one device, held against what its codec or installation declares."""

from collections.abc import Mapping

from streamgauge.payloads.base import Parameter


def complete(given: Mapping[str, float], declared: tuple[Parameter, ...]) -> tuple[dict[str, float], list[str]]:
    """Given numbers with the defaults of those that are not given, and what is wrong with them. Case does not matter.

    Args:
        given: names and numbers.
        declared: what there may and must be.
    """
    faults: list[str] = []
    known = {parameter.name.lower(): parameter for parameter in declared}
    values = {parameter.name: parameter.default for parameter in declared if parameter.default is not None}
    for name, value in given.items():
        parameter = known.get(name.lower())
        if parameter is None:
            there = ", ".join(parameter.name for parameter in declared) or "none"
            faults.append(f"{name} is not known here (known: {there})")
        elif not parameter.low <= value <= parameter.high:
            faults.append(
                f"{parameter.name} must lie in {parameter.low:g} to {parameter.high:g} {parameter.unit}".rstrip()
            )
        else:
            values[parameter.name] = float(value)
    faults += [
        f"{parameter.name} is missing: {parameter.doc}"
        for parameter in declared
        if parameter.name not in values and not parameter.optional
    ]
    return values, faults
