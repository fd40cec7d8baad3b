"""Activity and retention through the package bitmapist, unchanged: one JSON line a step.

Run against two servers, the outputs must be equal byte for byte. Dates and ids are fixed.

Usage: bitmapist_usage.py PORT
"""

import json
import sys
from datetime import datetime, timedelta, timezone

import bitmapist
from bitmapist import cohort

START = datetime(2026, 10, 1, 12, tzinfo=timezone.utc)
USERS = 2_000


def show(step, value):
    """Prints one step's result."""
    print(json.dumps([step, value], default=str), flush=True)


def mark_days(days):
    """Marks who was active: user n on days that n divides, and some that come and go."""
    for day in range(days):
        now = START + timedelta(days=day)
        for user in range(1, USERS, 37):
            if (user + day) % 3 == 0:
                bitmapist.mark_event("active", user, now=now, track_hourly=True)
            if (user * day) % 5 == 1:
                bitmapist.mark_event("bought", user, now=now)
        bitmapist.mark_unique("signed_up", 1_000_000 + day)


def counts(days):
    """Counts by hour, day, week, month and year."""
    for day in range(days):
        now = START + timedelta(days=day)
        active = bitmapist.DayEvents("active", now.year, now.month, now.day)
        show(f"day {day}", [len(active), active.has_events_marked(), 1 in active, 38 in active])
        hour = bitmapist.HourEvents("active", now.year, now.month, now.day, now.hour)
        show(f"hour {day}", len(hour))
    week = bitmapist.WeekEvents.from_date("active", START)
    month = bitmapist.MonthEvents("active", START.year, START.month)
    year = bitmapist.YearEvents("active", START.year)
    show("week, month, year", [len(week), len(month), len(year)])
    show("members", sorted(month)[:20])
    show("unique", [len(bitmapist.UniqueEvents("signed_up")), 1_000_003 in bitmapist.UniqueEvents("signed_up")])


def operations():
    """Combinations, nested, and their temporary keys."""
    active = bitmapist.MonthEvents("active", START.year, START.month)
    bought = bitmapist.MonthEvents("bought", START.year, START.month)
    day = bitmapist.DayEvents("active", START.year, START.month, START.day)
    show("and", len(active & bought))
    show("or", len(active | bought))
    show("xor", len(active ^ bought))
    show("not", len(bitmapist.BitOpNot(day)))
    nested = bitmapist.BitOpAnd(active, bitmapist.BitOpOr(bought, day))
    show("nested", [len(nested), sorted(nested)[:10], 1 in nested])
    show("names", sorted(name.decode() if isinstance(name, bytes) else name for name in bitmapist.get_event_names()))
    bitmapist.delete_runtime_bitop_keys()


def retention():
    """The cohort module's table of returning users."""
    rows = cohort.get_dates_data(
        select1="active",
        select1b="",
        select2="active",
        select2b="",
        time_group="days",
        as_precent=False,
        num_results=5,
        num_of_rows=5,
        start_date="2026-10-01",
    )
    show("rows", len(rows))
    for row in rows:
        show("cohort", [str(row[0])[:10], row[1:]])


def deletions():
    """What is unmarked and deleted is gone."""
    bitmapist.unmark_event("active", 1, now=START)
    show("unmarked", 1 in bitmapist.DayEvents("active", START.year, START.month, START.day))
    bitmapist.delete_temporary_bitop_keys()
    bitmapist.delete_all_events()
    show("left", len(bitmapist.get_redis("default").keys("trackist_*")))


def main():
    bitmapist.setup_redis("default", "127.0.0.1", int(sys.argv[1]))
    mark_days(12)
    counts(12)
    operations()
    retention()
    deletions()


main()
