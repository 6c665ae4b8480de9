"""Explanation: one sentence for a person, in English and Chinese: what was seen, by which evidence, what is missing, what to
look at.

Only plain templates of facts that the outcome holds anyway, so that the sentence can never say more than the figures.
"""

from geofence.coverage import Coverage
from geofence.credibility import SPOOF, names
from geofence.outcome import Cause, Finding, Sentence, Tally, Verdict
from geofence.plan import Scene
from geofence.policy import Policy
from geofence.verdict import CAME_S, CLEAR_SHARE, Reading, clear_shares
from geofence.witness import Witness

_CAUSE_EN: dict[Cause, str] = {
    "ingest_outage": "our own reception was down",
    "no_device": "nothing is paired",
    "permission_off": "the phone was not allowed to share its position",
    "phone_offline": "the phone was offline",
    "power_save": "the phone was saving power",
    "poor_accuracy": "the positions were too inaccurate",
    "suspect": "the evidence is not credible",
    "delayed": "data may still arrive",
    "silent": "nothing was sent",
}
_CAUSE_ZH: dict[Cause, str] = {
    "ingest_outage": "接收服务中断",
    "no_device": "未配对任何设备",
    "permission_off": "手机未授权定位",
    "phone_offline": "手机离线",
    "power_save": "手机处于省电模式",
    "poor_accuracy": "定位精度不足",
    "suspect": "证据不可信",
    "delayed": "数据可能尚未到达",
    "silent": "没有上报数据",
}
_VERDICT_EN: dict[Verdict, str] = {
    "pending": "Not settled yet",
    "verified": "Verified",
    "partial": "Partly proven",
    "contradicted": "Contradicted: we saw that the service did not happen here",
    "unknown": "Undecided",
}
_VERDICT_ZH: dict[Verdict, str] = {
    "pending": "尚未结案",
    "verified": "已核实",
    "partial": "部分得到证实",
    "contradicted": "与证据矛盾：服务未在此处进行",
    "unknown": "无法判定",
}
_REMARK_EN: dict[Finding, str] = {
    "late_arrival": "she came late",
    "early_departure": "she left early",
    "short_service": "she stayed for less time than planned",
    "over_service": "she stayed longer than planned",
    "missing_check_in": "the check-in is missing",
    "missing_check_out": "the check-out is missing",
}
"""What is worth a word, and decides nothing."""
_REMARK_ZH: dict[Finding, str] = {
    "late_arrival": "服务人员迟到",
    "early_departure": "服务人员早退",
    "short_service": "停留时间少于计划",
    "over_service": "停留时间超过计划",
    "missing_check_in": "缺少签到",
    "missing_check_out": "缺少签退",
}
_FINDING_EN: dict[Finding, str] = {
    "wrong_site": "she was at another known site instead",
    "unscheduled": "she was there at another time of that day",
    "spoof_suspected": "the positions look made up",
    "clock_skew": "the phone's clock is wrong",
    "conflicting_evidence": "parts of the evidence contradict each other",
}
_FINDING_ZH: dict[Finding, str] = {
    "wrong_site": "服务人员当时在另一个已知地点",
    "unscheduled": "服务人员在当天其他时间到过此处",
    "spoof_suspected": "定位疑似伪造",
    "clock_skew": "手机时钟不准",
    "conflicting_evidence": "证据相互矛盾",
}
_STILL_EN: dict[Finding, str] = {"spoof_suspected": "the position stood still as no receiver's does"}
"""Of a phone that may just have hung."""
_STILL_ZH: dict[Finding, str] = {"spoof_suspected": "定位长时间纹丝不动，不像真实的接收机"}
OTHER_SPOOF = tuple(name for name in names(SPOOF) if name != "frozen")
_OFF_PLAN_EN, _OFF_PLAN_ZH = "; but for half of the planned time she was elsewhere", "；但计划时间内有一半不在此处"

FEW_MS = 30_000
"""Less than half a minute is not worth a figure, nor a cause."""


def explain(
    scene: Scene, witness: Witness, reading: Reading, verdict: Verdict, findings: tuple[Finding, ...], tally: Tally, policy: Policy
) -> Sentence:
    """The sentence of one outcome."""
    strong = sum(anchor.strong and anchor.llr > 0.0 for anchor in witness.anchors)
    service_en, service_zh = _service(scene, reading, verdict, tally)
    verdict_en, verdict_zh = _VERDICT_EN[verdict], _VERDICT_ZH[verdict]
    if verdict == "contradicted" and reading.on_site.best >= CAME_S:
        verdict_en, verdict_zh = (
            "Contradicted: we saw that she was here too briefly for the service",
            "与证据矛盾：在此处停留过短，不足以完成服务",
        )
    en = [f"{verdict_en}; " if verdict == "contradicted" else f"{verdict_en}: ", service_en]
    zh = [f"{verdict_zh}；" if verdict == "contradicted" else f"{verdict_zh}：", service_zh]
    if strong:
        en.append(f", {strong} of them tied to the home")
        zh.append(f"，其中 {strong} 条与住所绑定")
    missing_en, missing_zh = _missing(reading.coverage)
    en.append(missing_en)
    zh.append(missing_zh)
    named = [finding for finding in findings if finding in _FINDING_EN]
    if verdict == "unknown" and not named and reading.coverage.monitored_ms >= reading.coverage.expected_ms / 2:
        reason_en, reason_zh = _undecided(reading)
        en.append(reason_en)
        zh.append(reason_zh)
    planned_s, on_site = scene.visit.ends_at - scene.visit.starts_at, reading.on_site
    if verdict == "partial" and not named and on_site.lower >= planned_s:
        _, away = clear_shares(scene, witness, policy)
        en.append(_OFF_PLAN_EN if away >= CLEAR_SHARE else "; but too few reports place her here by themselves")
        zh.append(_OFF_PLAN_ZH if away >= CLEAR_SHARE else "；但能单独证明在场的证据过少")
    if verdict == "partial" and not named and on_site.best >= policy.on_site_best_share * planned_s:
        if on_site.lower < policy.on_site_lower_share * planned_s:
            en.append(f"; only {_minutes(on_site.lower)} of them are certain")
            zh.append(f"；其中只有 {_minutes(on_site.lower)} 分钟可以确定")
    elif verdict == "partial" and not named and on_site.upper - on_site.best >= planned_s / 4.0:
        en.append("; for the rest, what was seen does not tell being here from being close by")
        zh.append("；其余时间的证据无法区分在此处还是在附近")
    if tally.flags.get("datum"):
        en.append("; the positions fit the site only if read in another map datum")
        zh.append("；定位坐标与地点的坐标系似乎不一致")
    if tally.flags.get("replayed"):
        en.append("; the same positions are known from an earlier visit")
        zh.append("；与此前一次服务的定位轨迹完全相同")
    remarks = [finding for finding in findings if finding in _REMARK_EN]
    if {"late_arrival", "early_departure"} & set(remarks):
        remarks = [finding for finding in remarks if finding != "short_service"]
    if verdict != "contradicted" and remarks:
        en.append("; " + _and_en([_REMARK_EN[finding] for finding in remarks]))
        zh.append("；" + "，".join(_REMARK_ZH[finding] for finding in remarks))
    if named:
        where = _elsewhere(verdict, reading)
        only_still = tally.flags.get("frozen") and not any(tally.flags.get(flag) for flag in OTHER_SPOOF)
        en_of, zh_of = ({**_FINDING_EN, **_STILL_EN}, {**_FINDING_ZH, **_STILL_ZH}) if only_still else (_FINDING_EN, _FINDING_ZH)
        en.append("; " + _and_en([where[0] if finding == "wrong_site" else en_of[finding] for finding in named]))
        zh.append("；" + "，".join(where[1] if finding == "wrong_site" else zh_of[finding] for finding in named))
    return Sentence(en="".join(en) + ".", zh="".join(zh) + "。")


def _service(scene: Scene, reading: Reading, verdict: Verdict, tally: Tally) -> tuple[str, str]:
    """How long she was on site, and by what."""
    planned_s, on_site = scene.visit.ends_at - scene.visit.starts_at, reading.on_site
    planned, best, low, high = (_minutes(s) for s in (planned_s, on_site.best, on_site.lower, on_site.upper))
    en_by, zh_by = [], []
    for count, one, many, chinese in (
        (tally.fixes, "position", "positions", "条定位"),
        (tally.checks, "check", "checks", "次签到签退"),
        (tally.device_events, "device event", "device events", "条设备事件"),
    ):
        if count:
            en_by.append(f"{count} {one if count == 1 else many}")
            zh_by.append(f"{count} {chinese}")
    if not en_by:
        return f"there is no evidence at all for the {planned} planned minutes", f"计划的 {planned} 分钟内没有任何证据"
    by_en, by_zh = f" by {_and_en(en_by)}", f"依据 {'、'.join(zh_by)}，"
    if verdict != "contradicted" and on_site.best < FEW_MS / 1000.0 and on_site.upper >= planned_s / 2.0:
        # A best guess of nothing is none, where she may have been there for most of it.
        return (
            f"on site for anything from {low} to {high} minutes, of {planned} planned,{by_en}",
            f"{by_zh}在场时长无法确定（{low} 至 {high} 分钟），计划 {planned} 分钟",
        )
    doubtful = verdict != "contradicted" and on_site.lower < on_site.best / 2.0
    longer = on_site.best > planned_s and best != planned
    of_planned = f"{best} minutes where {planned} were planned" if longer else f"{best} of {planned} planned minutes"
    return (
        f"{'probably ' if doubtful else ''}on site for {of_planned} (between {low} and {high}){by_en}",
        f"{by_zh}{'可能' if doubtful else ''}在场 {best} 分钟（{low} 至 {high} 分钟），计划 {planned} 分钟",
    )


def _elsewhere(verdict: Verdict, reading: Reading) -> tuple[str, str]:
    """That she was at another known site: instead, or for a part of the time if she was, or may have been, here for the rest."""
    if reading.on_site.best >= FEW_MS / 1000.0:
        return "for a part of the planned time she was at another known site", "计划时间内有一部分服务人员在另一个已知地点"
    if verdict != "contradicted":
        return "she was probably at another known site instead", "服务人员当时很可能在另一个已知地点"
    return _FINDING_EN["wrong_site"], _FINDING_ZH["wrong_site"]


def _undecided(reading: Reading) -> tuple[str, str]:
    """Why a visit of which enough was seen stays open."""
    if reading.on_site.lower >= FEW_MS / 1000.0:
        return (
            "; that is too short to prove the service, and too long to say that it did not happen here",
            "；时长不足以证实服务，也不足以认定服务未在此处进行",
        )
    if reading.on_site.best < FEW_MS / 1000.0:
        return (
            "; she was probably not here, but the positions are too near, or too vague, to say so of each of them",
            "；服务人员很可能不在此处，但定位距离过近或过于模糊，不足以逐条证明",
        )
    return "; what was seen does not tell being here from being close by", "；现有证据无法区分在此处还是在附近"


def _missing(coverage: Coverage) -> tuple[str, str]:
    """What of the visit nobody saw, and the cause of most of it."""
    if not coverage.expected_ms:
        return "; it has not begun", "；尚未开始"
    unseen = coverage.expected_ms - coverage.monitored_ms
    if not unseen:
        return "; every minute was seen", "；全程均有监测"
    if unseen < FEW_MS:
        return "; all but a few seconds were seen", "；除数秒外全程均有监测"
    by_cause: dict[Cause, float] = {}
    for gap in coverage.gaps:
        by_cause[gap.cause] = by_cause.get(gap.cause, 0.0) + gap.end - gap.start
    worst = max(by_cause, key=lambda cause: (by_cause[cause], cause))
    minutes = _minutes(unseen / 1000.0)
    return (
        f"; {minutes} minutes were not seen, mostly because {_CAUSE_EN[worst]}",
        f"；{minutes} 分钟未被监测到，主要原因：{_CAUSE_ZH[worst]}",
    )


def _and_en(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _minutes(seconds: float) -> str:
    """Whole minutes, or one decimal below ten."""
    minutes = seconds / 60.0
    return f"{minutes:.0f}" if minutes >= 10.0 or minutes == 0.0 else f"{minutes:.1f}"
