"""Run: play days to a system: plans by HTTP, evidence by MQTT, live, faster than life, or at once.

Live means: what lies before now goes out at once, so that there is a history to look at, and the rest when its time comes. When a
day is over, the next one follows. A day that is played at once ends when every outbox is empty, or when patience ends.
"""

import asyncio
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from device_sim import cities, files, fleet, post, roster
from device_sim.broker import Broker
from device_sim.fleet import Play, Say, Summary
from device_sim.options import Options
from device_sim.simulate import Day, day


class Show(Struct, frozen=True, kw_only=True):
    """How a day is played, beside what happens in it."""

    http: str | None = None
    """The API that takes the plans; None: plans are not sent."""
    mqtt: str = "mqtt://127.0.0.1:1883"
    token: str | None = None
    at_once: bool = False
    speed: float = 1.0
    days: int | None = None
    """How many days to play; None: for ever when live, one at once."""
    connections: int = 4
    own_connections: int = 2
    """Live: how many phones have a connection and a last will of their own."""
    receipts: bool = True
    """False trusts the broker's word: for a broker with no sitewatch behind it."""
    give_up_s: float = 600.0
    """At once: how long to wait for the last receipts."""
    truth: Path | None = None


def resolve(options: Options, *, city: str, local_day: str | None, now: float) -> Options:
    """`auto` and today, as of now, made definite."""
    chosen = cities.choose(now) if city == "auto" else cities.named(city)
    today = datetime.fromtimestamp(now, ZoneInfo(chosen.zone)).date().isoformat()
    return msgspec.structs.replace(options, city=chosen.key, day=local_day or today)


async def run(*, http: str | None, mqtt: str, token: str | None = None, seed: int = 7, options: Options, show: Show | None = None,
              say: Say = fleet.to_stderr) -> Summary:  # fmt: skip
    """Play the day of `options`, and following days if `show` says so. The summary is of the last day played."""
    show = msgspec.structs.replace(show or Show(), http=http, mqtt=mqtt, token=token)
    broker, played = Broker.parse(mqtt), 0
    days = show.days or (1 if show.at_once else None)
    while True:
        made = await asyncio.to_thread(day, seed, options)
        say(describe(made))
        if show.truth is not None:
            files.write_truth(made, show.truth, append=played > 0)
        if show.http is not None:
            say(f"sending plans to {show.http}, for up to {post.PATIENCE_S:.0f} s if nobody answers there yet")
            sent = await asyncio.to_thread(post.plans, show.http, show.token, made)
            say(f"{sent} plans sent to {show.http}")
        summary = await _play(made, broker, show, say)
        played += 1
        if days is not None and played >= days:
            return summary
        options = msgspec.structs.replace(options, day=roster.next_day(options.day))


async def _play(made: Day, broker: Broker, show: Show, say: Say) -> Summary:
    now = fleet.forever if show.at_once else fleet.clock(show.speed, fleet.first_at(made.feeds))
    own = 0 if show.at_once else show.own_connections
    play = Play(made, broker, now, connections=show.connections, receipts=show.receipts, say=say, own=own)
    try:
        async with asyncio.timeout(show.give_up_s if show.at_once else None):
            await play.play()
    except TimeoutError:
        say(f"gave up after {show.give_up_s:.0f} s: {play.summary.unconfirmed} reports have no receipt. Is ingest running?")
    summary = play.summary
    rate = summary.reports / max(summary.seconds, 1e-9)
    say(
        f"{made.options.day}: {summary.reports} reports in {summary.messages} messages, {summary.resent} sent again, "
        f"{summary.receipts} receipts, {summary.unconfirmed} unconfirmed, {summary.seconds:.1f} s ({rate:,.0f} reports/s)"
    )
    return summary


def describe(made: Day) -> str:
    """One line a person can read, to be said before anything is played."""
    options, world = made.options, made.world
    amiss = sum(conduct.behaviour != "on_time" for conduct in made.trouble.conducts)
    return (
        f"{world.city.key} {options.day}: {len(world.workers)} workers, {len(world.homes)} sites, {len(made.visits)} visits "
        f"({amiss} not as planned), {len(made.trouble.faults)} faults, {sum(map(len, made.feeds))} reports"
    )


def opening(seed: int, options: Options) -> str:
    """Seed and options as JSON: what has to be said first, so that any run can be made again."""
    return msgspec.json.encode({"seed": seed, "made_at": int(time.time()), **msgspec.to_builtins(options)}).decode()
