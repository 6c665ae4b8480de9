"""The sentence says no more than the figures, and what of them is uncertain, in English and Chinese."""

import numpy as np
from msgspec.structs import replace

from tests.engine.test_judge import check, told
from tests.engine.worlds import START, circle, day, lonlat, scene, square, take

HOUR = scene(circle(0.0, 0.0, 60.0), 3600.0)


def test_a_best_guess_of_nothing_is_no_figure_where_it_may_have_been_all() -> None:
    outcome = told(day(planned_s=3600.0, went=3660.0, mock=np.ones(720, dtype=bool)), HOUR)
    assert (outcome.verdict, outcome.on_site_s.best) == ("unknown", 0.0)
    assert "on site for anything from 0 to" in outcome.explanation.en
    assert "在场时长无法确定（0 至" in outcome.explanation.zh


def test_who_was_here_too_briefly_was_here() -> None:
    outcome = told(day(planned_s=3600.0, came=600.0, went=900.0), HOUR)
    assert outcome.verdict == "contradicted"
    assert "no_show" not in outcome.findings
    assert "here too briefly" in outcome.explanation.en
    assert "停留过短" in outcome.explanation.zh
    assert "did not happen here" in told(day(planned_s=3600.0, place=(3000.0, 0.0), went=3660.0), HOUR).explanation.en


def test_less_time_than_planned_is_said_once() -> None:
    of = day(planned_s=3600.0, went=3660.0)
    at = of.at - START
    east = 1.4 * np.maximum(np.minimum(at - 900.0, 2400.0 - at), 0.0)
    outcome = told(replace(of, lon=of.lon + lonlat(east, 0.0)[0] - lonlat(0.0, 0.0)[0]), HOUR)
    assert "short_service" in outcome.findings
    assert "she stayed for less time than planned" in outcome.explanation.en
    late = told(day(planned_s=3600.0, came=1500.0, went=3660.0), HOUR)
    assert {"late_arrival", "short_service"} <= set(late.findings)
    assert "she came late" in late.explanation.en
    assert "less time" not in late.explanation.en
    assert "服务人员迟到" in late.explanation.zh


def test_the_sentence_names_what_is_missing_in_both_languages() -> None:
    of = day()
    outcome = told(take(of, of.at < START + 3600.0))
    assert "63 of" not in outcome.explanation.en
    assert "nothing was sent" in outcome.explanation.en
    assert "没有上报数据" in outcome.explanation.zh
    assert outcome.explanation.en.endswith(".")


def test_the_sentence_says_what_is_likely_as_likely_and_of_whom_was_late_that_she_was_late() -> None:
    late = told(day(came=1500.0, went=7200.0), checks=(check(1560.0, "in"),))
    assert "; she came late and the check-out is missing." in late.explanation.en
    assert late.explanation.zh.endswith("；服务人员迟到，缺少签退。")
    assert "probably" not in late.explanation.en
    near = told(day(place=(14.0, 0.0), sigma_m=6.0, accuracy_m=9.0), scene(square(0, 0, 15)))
    assert near.explanation.en.startswith("Undecided: probably on site for")
    assert "可能在场" in near.explanation.zh


def test_who_stayed_longer_than_planned_is_not_told_in_shares_of_the_plan() -> None:
    of = day(went=9000.0)
    sentence = told(of).explanation
    assert "minutes where 120 were planned" in sentence.en
    assert f"依据 {len(of.at)} 条定位" in sentence.zh
