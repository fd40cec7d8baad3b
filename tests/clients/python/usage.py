"""What teams do with bitmaps, through redis-py: one JSON line a step.

Run against two servers, the outputs must be equal byte for byte. Everything is derived from fixed
seeds; times are printed only as facts that must hold ("the key expires within its window").

Usage: usage.py PORT
"""

import json
import sys
import time

import redis


def show(step, value):
    """Prints one step's result; bytes as hexadecimal."""
    print(json.dumps([step, value], default=lambda b: b.hex()), flush=True)


class Random:
    """A fixed generator, the same on every platform and in every run."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % limit


DAYS = [f"2026-10-{day:02}" for day in range(1, 29)]
# Most users have small ids; some came later. The last lies beyond ten segments.
TOP_ID = 12_000_000


def user(random):
    return random.below(3_000) if random.below(10) else random.below(TOP_ID)


def active_users(r):
    """Daily, weekly and monthly active users over dated keys."""
    random = Random(1)
    for day in DAYS:
        pipe = r.pipeline(transaction=False)
        for _ in range(400):
            pipe.setbit(f"dau:{day}", user(random), 1)
        replies = pipe.execute()
        show(f"dau {day} seen before", sum(replies))
        r.expire(f"dau:{day}", 86_400 * 40)
    show("dau", [r.bitcount(f"dau:{day}") for day in DAYS])
    show("strlen", [r.strlen(f"dau:{day}") for day in DAYS])
    for week in range(4):
        keys = [f"dau:{day}" for day in DAYS[week * 7 : week * 7 + 7]]
        show(f"wau {week} bytes", r.bitop("OR", f"wau:{week}", *keys))
        show(f"wau {week}", r.bitcount(f"wau:{week}"))
        show(f"every day of week {week}", [r.bitop("AND", "every", *keys), r.bitcount("every")])
        show(f"odd days of week {week}", [r.bitop("XOR", "odd", *keys), r.bitcount("odd")])
    show("mau bytes", r.bitop("OR", "mau", *[f"wau:{week}" for week in range(4)]))
    show("mau", r.bitcount("mau"))
    show("mau ranges", [r.bitcount("mau", 0, 99), r.bitcount("mau", -200_000, -1),
                        r.bitcount("mau", 5, 4_000_000, "BIT"), r.bitcount("mau", 7, 3)])
    show("first and last", [r.bitpos("mau", 1), r.bitpos("mau", 0), r.bitpos("mau", 1, 200_000),
                            r.bitpos("mau", 1, 1_000_000, -1, "BIT")])
    show("not mau", [r.bitop("NOT", "absent-users", "mau"), r.bitcount("absent-users")])
    show("mau again", [r.bitop("NOT", "twice", "absent-users"), r.get("twice") == r.get("mau")])
    show("ttl is kept", [0 < r.ttl(f"dau:{day}") <= 86_400 * 40 for day in DAYS[:3]])
    show("result has no ttl", r.ttl("mau"))


def retention(r):
    """A cohort's retention triangle by BITOP AND."""
    random = Random(2)
    for week in range(6):
        with r.pipeline() as pipe:
            for _ in range(300):
                pipe.setbit(f"cohort:{week}", user(random), 1)
            pipe.bitcount(f"cohort:{week}")
            show(f"cohort {week}", pipe.execute()[-1])
        for later in range(week, 6):
            members = r.pipeline(transaction=False)
            for _ in range(500):
                members.setbit(f"active:{later}", user(random), 1)
            members.execute()
    triangle = []
    for week in range(6):
        row = []
        for later in range(week, 6):
            r.bitop("AND", "kept", f"cohort:{week}", f"active:{later}")
            row.append(r.bitcount("kept"))
        triangle.append(row)
    show("retention", triangle)
    show("clean up", [r.delete("kept"), r.exists("kept"), r.bitcount("kept")])


def feature_flags(r):
    """Flags as bits, variants as small fields."""
    random = Random(3)
    for flag in ("dark-mode", "new-checkout", "beta"):
        for _ in range(200):
            r.setbit(f"flag:{flag}", random.below(1_000_000), 1)
    ids = [random.below(1_000_000) for _ in range(100)]
    show("flags", [[r.getbit(f"flag:{flag}", i) for i in ids] for flag in ("dark-mode", "beta")])
    field = r.bitfield("variant")
    for index in range(50):
        field.set("u3", f"#{index}", index % 8)
    show("variants were", field.execute())
    show("variants are", r.bitfield("variant").get("u3", "#7").get("u3", "#13").execute())
    show("saturates", r.bitfield("variant", "SAT").incrby("u3", "#7", 5).execute())
    show("fails", r.bitfield("variant", "FAIL").incrby("u3", "#7", 5).execute())
    show("raw", r.get("variant"))


def permissions(r):
    """A small bitmap a user, and roles as masks."""
    with r.pipeline() as pipe:
        for number in range(300):
            pipe.setbit(f"permissions:user:{number}", number % 48, 1)
            pipe.setbit(f"permissions:user:{number}", (number * 7) % 64, 1)
        show("granted", pipe.execute())
    r.set("role:admin", b"\xff\xff\xff\xff")
    r.set("role:guest", b"\x01")
    show("may", [r.getbit("permissions:user:7", bit) for bit in range(64)])
    show("with role", [r.bitop("OR", "effective", "permissions:user:7", "role:admin"),
                       r.get("effective")])
    show("guest only", [r.bitop("AND", "effective", "permissions:user:7", "role:guest"),
                        r.get("effective")])
    show("types", [r.type("effective"), r.type("no-such-key")])
    show("all users", sorted(k.decode() for k in r.scan_iter("permissions:user:1*", count=50)))
    show("many", r.mget([f"permissions:user:{n}" for n in (1, 2, 999)]))


def presence(r):
    """Who was online this hour: hourly keys that expire."""
    for hour in range(24):
        r.setbit(f"online:{hour:02}", hour * 1_000_003 % TOP_ID, 1)
        r.expire(f"online:{hour:02}", 7_200)
    show("online", [r.bitcount(f"online:{hour:02}") for hour in range(24)])
    show("expires", [7_100 < r.ttl(f"online:{hour:02}") <= 7_200 for hour in range(24)])
    show("conditions", [r.expire("online:00", 100, nx=True), r.expire("online:00", 9_000, gt=True),
                        r.expire("online:00", 50, gt=True), r.persist("online:01"),
                        r.persist("online:01"), r.ttl("online:01")])
    # The last of these lies in a later segment than the first.
    r.setbit("gone", 1, 1)
    r.setbit("gone", TOP_ID, 1)
    r.pexpire("gone", 150)
    until = time.monotonic() + 30
    while r.exists("gone") and time.monotonic() < until:
        pass
    show("gone", [r.exists("gone"), r.getbit("gone", 1), r.getbit("gone", TOP_ID), r.ttl("gone")])
    show("born again", [r.setbit("gone", TOP_ID, 0), r.bitcount("gone"), r.strlen("gone")])


def transactions(r):
    """MULTI, WATCH and what happens when a watched key changes."""
    with r.pipeline() as pipe:
        pipe.watch("counter")
        pipe.multi()
        pipe.incr("counter")
        pipe.setbit("hits", 5_000_000, 1)
        pipe.getbit("hits", 5_000_000)
        show("watched", pipe.execute())
    with r.pipeline() as pipe:
        pipe.watch("counter")
        r.incr("counter")
        pipe.multi()
        pipe.set("counter", "lost")
        try:
            pipe.execute()
            show("conflict", "missed")
        except redis.WatchError:
            show("conflict", "seen")
    show("counter", r.get("counter"))
    with r.pipeline() as pipe:
        pipe.set("word", "text")
        pipe.incr("word")
        pipe.append("word", "!")
        show("error inside", [str(reply) for reply in pipe.execute(raise_on_error=False)])


def main():
    r = redis.Redis(port=int(sys.argv[1]), socket_timeout=30)
    r.flushall()
    for step in (active_users, retention, feature_flags, permissions, presence, transactions):
        step(r)
    show("keys", r.dbsize())
    show("values", {k.decode(): r.bitcount(k) for k in sorted(r.keys("*")) if k != b"word"})


main()
