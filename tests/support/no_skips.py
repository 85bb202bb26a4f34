"""With STREAMGAUGE_NO_SKIPS=1 a skipped test, or a module skipped at collection, makes the run fail and is listed.

Elsewhere a test may be skipped for want of something that the machine lacks; where everything is installed, as in CI, a skip
is a test that silently proves nothing.
"""

import os

import pytest

NO_SKIPS_KEY = "STREAMGAUGE_NO_SKIPS"


def wanted() -> bool:
    """Whether skips are failures in this run."""
    return os.environ.get(NO_SKIPS_KEY) == "1"


class NoSkips:
    """The pytest plugin: notes skips while the run goes on, and speaks at its end."""

    def __init__(self) -> None:
        self.skips: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module or class that was skipped as a whole."""
        if report.skipped:
            self.skips.append(f"{report.nodeid} (at collection): {_reason(report.longrepr)}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that was skipped; one that is expected to fail, and did, is none."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skips.append(f"{report.nodeid}: {_reason(report.longrepr)}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turns a passing run with skips into a failing one."""
        if self.skips and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The list."""
        if self.skips:
            terminalreporter.section(f"{NO_SKIPS_KEY}=1, and {len(self.skips)} skipped", sep="!", red=True)
            for skip in self.skips:
                terminalreporter.line(skip)


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin where it is wanted; also makes this module a plugin itself (``-p tests.support.no_skips``)."""
    if wanted() and not config.pluginmanager.has_plugin("streamgauge-no-skips"):
        config.pluginmanager.register(NoSkips(), "streamgauge-no-skips")


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
