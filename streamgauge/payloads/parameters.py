"""What is configured of one device, held against what its codec or installation declares."""

from collections.abc import Mapping, Sequence

from streamgauge.payloads.base import Parameter, parameter_problems, settle_parameters


def complete(given: Mapping[str, float], declared: Sequence[Parameter]) -> tuple[dict[str, float], list[str]]:
    """Given numbers with the defaults of those that are not given, and what is wrong with them. Case does not matter.

    Args:
        given: names and numbers.
        declared: what there may and must be.
    """
    as_declared = {parameter.name.lower(): parameter.name for parameter in declared}
    values = {as_declared.get(name.lower(), name): float(value) for name, value in given.items()}
    problems = parameter_problems(declared, values)
    return ({}, problems) if problems else (settle_parameters(declared, values), [])
