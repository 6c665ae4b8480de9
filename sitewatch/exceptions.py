"""Exceptions: which alerts a visit's outcome calls for. Pure; the same outcome at the same time calls for the same alerts.

While the visit runs, only what somebody could still do something about; afterwards, what somebody must look into.
"""

from collections.abc import Iterator
from typing import NamedTuple

from geofence.outcome import Outcome
from geofence.plan import Visit
from geofence.policy import Policy
from store.alerts import Alert, Severity


class _Kind(NamedTuple):
    severity: Severity
    en: str
    zh: str


KINDS = {
    "late": _Kind("warning", "Nobody is on site {minutes} min after the start.", "开始 {minutes} 分钟后仍无人到场。"),
    "no_show": _Kind("critical", "Nobody came: the worker was seen elsewhere.", "无人到场：该员工当时在别处。"),
    "wrong_site": _Kind("warning", "The worker is at another known site in planned time.", "计划时间内，该员工在另一个服务点。"),
    "contradicted": _Kind("critical", "The service did not take place here.", "服务没有在此处进行。"),
    "spoof_suspected": _Kind("warning", "Positions look made up. Ask before you conclude.", "定位疑似伪造，请先核实。"),
    "conflicting_evidence": _Kind("warning", "Phone and home contradict each other.", "手机与家中设备的证据互相矛盾。"),
    "unscheduled": _Kind("warning", "On site at a time for which nothing was planned.", "在计划之外的时间到过现场。"),
    "low_coverage": _Kind("info", "Less was seen than the target asks for.", "监测覆盖率低于目标。"),
}
WHILE_RUNNING = ("wrong_site", "spoof_suspected")
AFTERWARDS = ("no_show", "wrong_site", "unscheduled", "spoof_suspected", "conflicting_evidence", "low_coverage")


def of(visit: Visit, outcome: Outcome, policy: Policy, now: float) -> list[Alert]:
    """The alerts of one visit as of `now`."""
    return [_alert(kind, visit, policy) for kind in _kinds(visit, outcome, policy, now)]


def _kinds(visit: Visit, outcome: Outcome, policy: Policy, now: float) -> Iterator[str]:
    findings: set[str] = set(outcome.findings)
    if outcome.verdict == "pending":
        if outcome.arrived_at is None and now >= visit.starts_at + policy.punctuality_s:
            yield "late"
        yield from (kind for kind in WHILE_RUNNING if kind in findings)
        return
    if "unscheduled" in findings:
        # She came, at another time: whoever reads that nobody came would blame her for nothing.
        findings.discard("no_show")
    if outcome.verdict == "contradicted" and not findings & {"no_show", "wrong_site", "unscheduled"}:
        yield "contradicted"
    yield from (kind for kind in AFTERWARDS if kind in findings)


def _alert(kind: str, visit: Visit, policy: Policy) -> Alert:
    severity, en, zh = KINDS[kind]
    minutes = round(policy.punctuality_s / 60)
    return Alert(
        kind=kind,
        severity=severity,
        at=visit.starts_at + policy.punctuality_s if kind == "late" else visit.starts_at,
        visit=visit.id,
        worker=visit.worker,
        site=visit.site,
        detail={"en": en.format(minutes=minutes), "zh": zh.format(minutes=minutes)},
    )
