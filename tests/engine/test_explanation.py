"""The sentence says no more than the figures, and what of them is uncertain, in English and Chinese."""

import numpy as np
from msgspec.structs import replace

from geofence import judge
from geofence.evidence import Fixes
from geofence.outcome import Outcome
from geofence.policy import Policy
from tests.engine.worlds import START, circle, day, lonlat, scene, seen

HOUR = scene(circle(0.0, 0.0, 60.0), 3600.0)


def told(of: Fixes) -> Outcome:
    return judge(HOUR, seen(of), Policy(), START + 90_000.0)


def test_a_best_guess_of_nothing_is_no_figure_where_it_may_have_been_all() -> None:
    outcome = told(day(planned_s=3600.0, went=3660.0, mock=np.ones(720, dtype=bool)))
    assert (outcome.verdict, outcome.on_site_s.best) == ("unknown", 0.0)
    assert "on site for anything from 0 to" in outcome.explanation.en
    assert "在场时长无法确定（0 至" in outcome.explanation.zh


def test_who_was_here_too_briefly_was_here() -> None:
    outcome = told(day(planned_s=3600.0, came=600.0, went=900.0))
    assert outcome.verdict == "contradicted"
    assert "no_show" not in outcome.findings
    assert "here too briefly" in outcome.explanation.en
    assert "停留过短" in outcome.explanation.zh
    assert "did not happen here" in told(day(planned_s=3600.0, place=(3000.0, 0.0), went=3660.0)).explanation.en


def test_less_time_than_planned_is_said_once() -> None:
    of = day(planned_s=3600.0, went=3660.0)
    at = of.at - START
    east = 1.4 * np.maximum(np.minimum(at - 900.0, 2400.0 - at), 0.0)
    outcome = told(replace(of, lon=of.lon + lonlat(east, 0.0)[0] - lonlat(0.0, 0.0)[0]))
    assert "short_service" in outcome.findings
    assert "she stayed for less time than planned" in outcome.explanation.en
    late = told(day(planned_s=3600.0, came=1500.0, went=3660.0))
    assert {"late_arrival", "short_service"} <= set(late.findings)
    assert "she came late" in late.explanation.en
    assert "less time" not in late.explanation.en
    assert "服务人员迟到" in late.explanation.zh
