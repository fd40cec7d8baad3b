"""Watches the console of a cluster whose shard nodes have no replicas while one of them is killed and
comes back. Says what it waits for on standard output and goes on at a line of standard input.

usage: trouble.py ADMIN_URL RESP_PORT
"""

import sys

import redis
from playwright.sync_api import expect

from browser import PATIENCE_MS, visit

BASE = sys.argv[1].rstrip("/")
CLIENT = redis.Redis(port=int(sys.argv[2]), decode_responses=True)


def wait_for(step):
    print(step, flush=True)
    line = sys.stdin.readline()
    assert line, f"nobody answered {step}"
    return line.strip()


def served_key(page):
    """A key of a group that still has a leader."""
    state = page.request.get(f"{BASE}/api/v1/cluster").json()
    led = [span for group in state["groups"] if group["leader"] for span in group["slots"]]
    for name in (f"k{at}" for at in range(64)):
        slot = CLIENT.execute_command("CLUSTER", "KEYSLOT", name)
        if any(low <= slot <= high for low, high in led):
            return name
    raise AssertionError("no key is served")


def main():
    # A group that is down refuses: that is what the page is to tell.
    with visit(BASE, refusals=[503, 504]) as seen:
        page = seen.page
        seen.open("#/cluster")
        expect(page.locator(".figure").first).to_contain_text("100 %")
        expect(page.locator(".trouble")).to_have_count(0)

        address = wait_for("serving")
        trouble = page.locator(".trouble.down")
        expect(trouble).to_contain_text("no leader")
        expect(trouble).to_contain_text("slots are not served")
        expect(trouble).to_contain_text("The other groups serve on.")
        expect(trouble).to_contain_text(address)
        expect(page.locator(".figure").first).not_to_contain_text("100 %")
        rows = page.get_by_role("region", name="Groups").locator("tbody tr")
        down = rows.filter(has_text="no leader")
        assert 0 < down.count() < rows.count()
        node = page.get_by_role("region", name="Nodes").locator("tr", has_text=address)
        expect(node).to_contain_text("no answer")
        seen.picture("console-trouble")

        # Pages stay usable: what needs every group says why it is not there, the rest is.
        name = served_key(page)
        seen.open(f"#/keys?key={name}")
        expect(page.locator(".key-name code")).to_have_text(name)
        expect(page.locator(".key-card .figure").first).to_contain_text("1")
        expect(page.locator(".keys .panel").first.get_by_role("alert")).to_be_visible()
        expect(trouble).to_contain_text("no leader")

        wait_for("told")
        expect(page.locator(".trouble")).to_have_count(0, timeout=2 * PATIENCE_MS)
        retry = page.locator(".keys .panel").first.get_by_role("button", name="Try again")
        retry.click()
        expect(page.locator(".tree .row").first).to_be_visible()
        seen.fits()
    print("ok a group that is down is told, and told no more once it is back", flush=True)


if __name__ == "__main__":
    main()
