"""Looks at every page of the console of a node with demo data, and compares what they show with what
the server answers over RESP.

usage: pages.py ADMIN_URL RESP_PORT
"""

import datetime
import re
import shlex
import sys

import redis
from playwright.sync_api import expect

from browser import PATIENCE_MS, visit

ROUTES = ["cluster", "keys", "query", "retention", "memory", "operations"]
BASE = sys.argv[1].rstrip("/")
CLIENT = redis.Redis(port=int(sys.argv[2]), decode_responses=True)


def passed(what):
    print(f"ok {what}", flush=True)


def day(back):
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return str(today - datetime.timedelta(days=back))


def newest_day():
    """The last day that has a key: it may be yesterday's, right after midnight."""
    return next(day(back) for back in (0, 1) if CLIENT.exists(f"dau:{day(back)}"))


def day_before(date, days):
    return str(datetime.date.fromisoformat(date) - datetime.timedelta(days=days))


def number(text):
    return int(text.replace(",", ""))


def every_page_renders():
    grounds = {}
    for scheme in ("light", "dark"):
        for width in (1280, 700):
            with visit(BASE, scheme, width) as seen:
                for route in ROUTES:
                    seen.open(f"#/{route}")
                    expect(seen.page.locator(".failure, .trouble")).to_have_count(0)
                    expect(seen.page.locator(f'nav li a[href="#/{route}"]')).to_have_attribute(
                        "aria-current", "page"
                    )
                    assert seen.page.locator(".panel").count() >= 2 or route == "query"
                    seen.fits()
                    seen.check()
                grounds[scheme] = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds["light"] != grounds["dark"], grounds
    passed("every page renders without a fault, light and dark, wide and narrow")


def theme_stays():
    with visit(BASE, "light") as seen:
        seen.open("#/memory")
        ground = "getComputedStyle(document.body).backgroundColor"
        light = seen.page.evaluate(ground)
        seen.page.get_by_role("button", name="Switch to the dark theme").click()
        dark = seen.page.evaluate(ground)
        assert light != dark
        seen.page.reload()
        seen.settle()
        assert seen.page.evaluate(ground) == dark, "the theme was forgotten"
    passed("a chosen theme stays")


def cluster_page():
    with visit(BASE) as seen:
        seen.open("#/cluster")
        expect(seen.page.locator(".figure").first).to_contain_text("100 %")
        owned = seen.page.locator(".slots .legend b").all_inner_texts()
        assert sum(number(text) for text in owned) == 16384, owned
        seen.page.locator(".slots canvas").focus()
        seen.page.keyboard.press("ArrowRight")
        expect(seen.page.locator(".slot-told")).to_contain_text(re.compile("Slots? 0"))
        box = seen.page.locator(".slots canvas").bounding_box()
        seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.53)
        # The map has 16 rows of 1,024: this is about the middle of the ninth.
        told = seen.page.locator(".slot-told strong")
        expect(told).to_contain_text(re.compile("8,(69|70|71)"))
        group = int(re.search(r"group (\d+)", seen.page.locator(".slot-told").inner_text())[1])
        slot = number(told.inner_text().split()[1].split("–")[0])
        state = seen.page.request.get(f"{BASE}/api/v1/cluster").json()
        owner = next(one for one in state["groups"] if one["id"] == group)
        assert any(low <= slot <= high for low, high in owner["slots"]), (slot, group)
        seen.page.mouse.move(0, 0)
        chart = seen.page.get_by_role("region", name="Commands per second")
        # The samples are taken each 5 s, and looked at each 5 s.
        for _ in range(4):
            for _ in range(200):
                CLIENT.setbit("visits", 7, 1)
            with seen.page.expect_response(lambda answer: "/series" in answer.url):
                pass
        expect(chart.get_by_text("setbit", exact=True)).to_be_visible()
        expect(chart.locator("canvas")).to_be_visible()
        assert seen.figure("Keys") == CLIENT.dbsize()
        CLIENT.delete("visits")
        seen.page.locator(".slots canvas").blur()
        seen.picture("console-cluster")
    passed("the cluster's page shows slots, keys and traffic")


def keys_page():
    date = newest_day()
    name = f"dau:{date}"
    with visit(BASE) as seen:
        page = seen.page
        seen.open("#/keys")
        page.locator(".tree .row", has_text=re.compile(r"^\W*dau:")).click()
        leaf = page.locator(".tree .row", has_text=date)
        leaf.wait_for()
        days = sum(1 for _ in CLIENT.scan_iter(match="dau:*", count=5000))
        below = page.locator(".tree ul ul .row")
        expect(below).to_have_count(days)
        below.first.focus()
        page.keyboard.press("ArrowDown")
        assert below.nth(1).evaluate("row => row === document.activeElement")
        leaf.click()
        seen.settle()
        assert seen.figure("Bits set") == CLIENT.bitcount(name)
        assert seen.figure("Last set") == CLIENT.execute_command("BM.MAX", name)
        density(seen, name)
        wanted = CLIENT.execute_command("BM.RANGE", name, 0, 2**32 - 1, "LIMIT", 1)[0]
        page.get_by_label("Offset").fill(str(wanted))
        page.get_by_role("button", name="Look").click()
        expect(page.get_by_role("status")).to_contain_text("is set")
        page.get_by_label("An exact key").fill("no such key")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_text("There is no such key")).to_be_visible()
    passed("the key's page counts as the server does, down to single bits")


def shown_range(page):
    return [int(page.get_by_label(label, exact=True).input_value()) for label in ("From", "to")]


def density(seen, name):
    page = seen.page
    first, last = shown_range(page)
    assert first == 0 and last >= CLIENT.execute_command("BM.MAX", name)
    strip = page.locator(".strip")
    strip.scroll_into_view_if_needed()
    seen.picture("console-keys")
    box = strip.bounding_box()
    across = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, across)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, across, steps=5)
    page.mouse.up()
    page.wait_for_function(
        "before => document.querySelector('.range-bar input').value !== before", arg=str(first)
    )
    seen.settle()
    low, high = shown_range(page)
    column = (last + 1) // 1024
    assert abs(low - 256 * column) <= column, (low, column)
    assert abs(high - 513 * column) <= column + 1024, (high, column)
    counted = CLIENT.bitcount(name, low, high, "BIT")
    expect(page.locator(".strip-scale")).to_contain_text(f"{counted:,} bits set here")
    page.get_by_label("From", exact=True).fill("2048")
    page.get_by_label("to", exact=True).fill("2100")
    page.get_by_role("button", name="Show").click()
    bits = page.locator("svg.bits rect")
    expect(bits).to_have_count(1024)
    flags = bits.evaluate_all("all => all.map(one => one.classList.contains('set'))")
    drawn = [2048 + at for at, is_set in enumerate(flags) if is_set]
    wanted = CLIENT.execute_command("BM.RANGE", name, 2048, 3071)
    assert drawn == wanted and 0 < len(wanted) < 1024, (drawn, wanted)
    bits.nth(wanted[0] - 2048).hover()
    expect(page.locator(".told")).to_have_text(f"Bit {wanted[0]:,} is set")
    page.get_by_role("button", name="Back").click()
    expect(page.locator(".strip")).to_be_visible()
    assert shown_range(page) == [low, high]


def query_page():
    date = newest_day()
    one, two = f"dau:{date}", f"dau:{day_before(date, 1)}"
    with visit(BASE) as seen:
        page = seen.page
        seen.open("#/query")
        page.get_by_label("Expression", exact=True).last.fill(f"{one} & {two}")
        page.get_by_role("button", name="Count", exact=True).click()
        count = page.get_by_label("Count", exact=True)
        expect(count).to_have_text(f"{CLIENT.execute_command('BITOPCARD', 'AND', one, two):,}")
        seen.settle()
        both = CLIENT.execute_command("BM.QUERY", "COUNT", f"{one} & {two}")
        for name in (one, two):
            told = f"{both:,} of {CLIENT.bitcount(name):,}"
            expect(page.locator(".operands")).to_contain_text(told)
        ids = [int(text) for text in page.locator(".ids li").all_inner_texts()]
        assert len(ids) == 20 and all(CLIENT.getbit(key, at) for at in ids for key in (one, two))
        page.get_by_role("region", name="Answer").get_by_role("button", name="Copy as").click()
        line = page.locator(".copy-line code").first.inner_text()
        words = shlex.split(line)
        assert words[0] == "redis-cli" and CLIENT.execute_command(*words[1:]) == both, line
        page.keyboard.press("Escape")
        expect(page.locator(".copy-line")).to_have_count(0)
        week = f"(dau:{{{day_before(date, 6)}..{date}}} & premium) - churned"
        page.get_by_label("Expression", exact=True).last.fill(week)
        page.keyboard.press("Enter")
        expect(count).to_have_text(f"{CLIENT.execute_command('BM.QUERY', 'COUNT', week):,}")
        seen.settle()
        seen.picture("console-query")
    with visit(BASE, refusals=[400]) as seen:
        seen.open("#/query?q=premium%20%26")
        expect(seen.page.get_by_role("alert")).to_contain_text("at byte 9")
        expect(seen.page.locator(".caret")).to_contain_text("▲")
    passed("a query's count, shares and sample are the server's")


def retention_page():
    date = newest_day()
    with visit(BASE) as seen:
        page = seen.page
        seen.open("#/retention?family=dau")
        assert seen.figure("Last 7 days") == CLIENT.execute_command(
            "BM.WINDOW", "dau", "FROM", day_before(date, 6), "TO", date
        )
        assert seen.figure("Last 28 days") == CLIENT.execute_command(
            "BM.WINDOW", "dau", "FROM", day_before(date, 27), "TO", date
        )
        cohort = page.locator(".triangle tbody th").nth(3).inner_text()
        later = day_before(cohort, -2)
        size = CLIENT.bitcount(f"dau:{cohort}")
        back = CLIENT.execute_command("BITOPCARD", "AND", f"dau:{cohort}", f"dau:{later}")
        assert 0 < back < size
        cell = page.locator('[data-cell="3-2"]')
        expect(cell).to_have_text(f"{100 * back / size:.1f} %")
        cell.hover()
        expect(page.locator(".cell-told")).to_contain_text(f"{back:,} of {size:,}")
        cell.focus()
        page.keyboard.press("ArrowDown")
        expect(page.locator('[data-cell="4-2"]')).to_be_focused()
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").click()
        rows = open(download.value.path(), encoding="utf-8").read().splitlines()
        assert rows[4].startswith(f'"dau:{cohort}",{size},{size},'), rows[4]
        assert rows[4].split(",")[4] == str(back), rows[4]
        seen.picture("console-retention", whole=True)
        segment_counts(seen, cohort, later)
    passed("active users and the retention triangle are the server's")


def segment_counts(seen, cohort, later):
    page = seen.page
    page.get_by_label("Segment").fill("premium")
    page.keyboard.press("Enter")
    both = f"dau:{cohort} & dau:{later} & premium"
    back = CLIENT.execute_command("BM.QUERY", "COUNT", both)
    size = CLIENT.execute_command("BM.QUERY", "COUNT", f"dau:{cohort} & premium")
    expect(page.locator('[data-cell="3-2"]')).to_have_text(f"{100 * back / size:.1f} %")
    seen.settle()


def memory_page():
    with visit(BASE) as seen:
        page = seen.page
        seen.open("#/memory")
        assert page.locator(".map button").count() >= 4
        rows = CLIENT.execute_command("BM.PREFIXES", "", "LIMIT", 100)
        expect(page.locator("table tbody tr")).to_have_count(len(rows))
        seen.picture("console-memory")
        page.locator("table a", has_text="dau:").click()
        seen.settle()
        expect(page.locator(".crumbs")).to_contain_text("dau:")
        days = sum(1 for _ in CLIENT.scan_iter(match="dau:*", count=5000))
        expect(page.locator("table tbody tr")).to_have_count(days)
        page.get_by_label("Order").select_option("each")
        page.locator("table a").first.click()
        expect(page.locator(".key-name code")).to_contain_text("dau:")
    passed("memory is told by prefix, down to a key")


def operations_page():
    with visit(BASE) as seen:
        page = seen.page
        seen.open("#/operations")
        expect(page.get_by_role("region", name="Commands", exact=True)).to_contain_text("BM.PREFIXES")
        limit = CLIENT.config_get("maxclients")["maxclients"]
        page.get_by_label("Find a setting").fill("maxclients")
        row = page.get_by_role("region", name="Settings").locator("tr")
        expect(row).to_have_count(1)
        expect(row).to_contain_text(limit)
        metrics = page.get_by_role("link", name="/metrics").get_attribute("href")
        answer = page.request.get(f"{BASE}/console/{metrics}", timeout=PATIENCE_MS)
        assert answer.ok and "bitroster_" in answer.text()
    passed("operations shows commands and settings")


if __name__ == "__main__":
    every_page_renders()
    theme_stays()
    cluster_page()
    keys_page()
    query_page()
    retention_page()
    memory_page()
    operations_page()
