"""The report as JUnit XML, one test case a trial, for continuous integration."""

from __future__ import annotations

from io import TextIOBase
from itertools import groupby
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from roadworthy.core.visible import visible
from roadworthy.trials.results import TestReport, TrialResult, Turn


def write_junit(report: TestReport, file: TextIOBase) -> None:
    """Write it, a suite per scenario. Characters that XML cannot hold, or that deceive the eye, become code points."""
    xml = XMLGenerator(file, encoding="utf-8", short_empty_elements=True)
    xml.startDocument()
    total = report.total
    _start(
        xml,
        "testsuites",
        name=f"roadworthy {report.manifest.agent}",
        tests=str(total.trials),
        failures=str(total.failed),
        errors=str(total.errors),
        time=f"{report.duration_s:.3f}",
    )
    for scenario, group in groupby(report.trials, key=lambda t: t.scenario):
        trials = list(group)
        _start(
            xml,
            "testsuite",
            name=scenario,
            tests=str(len(trials)),
            failures=str(sum(t.status == "failed" for t in trials)),
            errors=str(sum(t.status == "error" for t in trials)),
            skipped="0",
            time=f"{sum(t.duration_s for t in trials):.3f}",
            timestamp=report.started.strftime("%Y-%m-%dT%H:%M:%S"),
        )
        _properties(xml, report)
        for trial in trials:
            _case(xml, report, trial)
        xml.endElement("testsuite")
    xml.endElement("testsuites")
    xml.endDocument()


def _properties(xml: XMLGenerator, report: TestReport) -> None:
    _start(xml, "properties")
    manifest = report.manifest
    for name, value in (
        ("release_verdict", report.release.verdict),
        ("contract", manifest.contract),
        ("manifest", manifest.digest),
        ("seed", str(manifest.seed)),
    ):
        _start(xml, "property", name=name, value=value)
        xml.endElement("property")
    xml.endElement("properties")


def _case(xml: XMLGenerator, report: TestReport, trial: TrialResult) -> None:
    _start(
        xml,
        "testcase",
        name=f"{trial.scenario}[{trial.index}]",
        classname=f"{report.manifest.agent}.{trial.capability}",
        time=f"{trial.duration_s:.6f}",
    )
    if not trial.passed:
        element = "failure" if trial.status == "failed" else "error"
        _start(xml, element, message="; ".join(trial.why), type=trial.ending if element == "failure" else "harness")
        lines = [*trial.why, *(f"missing: {m}" for m in trial.missing)]
        lines += [_line(turn) for turn in trial.transcript]
        command = report.command_for(trial)
        if command is not None:
            lines.append(f"again: {command}")
        xml.characters(visible("\n".join(lines)))
        xml.endElement(element)
    xml.endElement("testcase")


def _line(turn: Turn) -> str:
    if turn.tool is None:
        held_back = f" [held back: {' '.join(turn.why)}]" if turn.status == "denied" else ""
        return f"{turn.who}{f' {turn.agent}' if turn.agent else ''}: {turn.text}{held_back}"
    fault = f" [{turn.fault}]" if turn.fault else ""
    who = f"{turn.agent}: " if turn.agent else ""
    return f"{who}{turn.tool}({turn.args}) {turn.ruling} {turn.status or ''}{fault}: {turn.text}"


def _start(xml: XMLGenerator, element: str, **attributes: str) -> None:
    shown = {name: visible(value, lines=False) for name, value in attributes.items()}
    xml.startElement(element, AttributesImpl(shown))
