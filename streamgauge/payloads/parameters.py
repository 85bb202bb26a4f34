"""What is configured of one device, held against what its codec or installation declares."""

from collections.abc import Mapping, Sequence

from streamgauge.payloads.base import Parameter, parameter_problems, settle_parameters


def complete(given: Mapping[str, float], declared: Sequence[Parameter]) -> tuple[dict[str, float], list[str]]:
    """Given numbers with the defaults of those that are not given, and what is wrong with them.

    Args:
        given: names, in any spelling that ``as_declared`` knows, and numbers.
        declared: what there may and must be.
    """
    values: dict[str, float] = {}
    doubles: list[str] = []
    for name, value in given.items():
        ours = as_declared(name, declared)
        if ours in values:
            doubles.append(f"{ours} is given twice, once as {name}: leave one of them out")
        values[ours] = float(value)
    problems = [*doubles, *parameter_problems(declared, values)]
    return ({}, problems) if problems else (settle_parameters(declared, values), [])


def as_declared(name: str, declared: Sequence[Parameter]) -> str:
    """A parameter's name as it is declared: case, ``_`` and ``-`` do not matter; as it was given if there is no such one."""
    sought = _squeezed(name)
    return next((parameter.name for parameter in declared if _squeezed(parameter.name) == sought), name)


def _squeezed(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "")
