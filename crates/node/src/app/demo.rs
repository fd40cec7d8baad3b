//! What `bitroster dev --demo` shows: a product with a hundred thousand users, its days up to today
//! and what else such products keep in bitmaps.
//!
//! All of it is drawn from fixed seeds: two loads of one day are the same. It goes in by ordinary
//! commands.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use bitroster_command::{Reply, composite::Unit, dates::Period};
use bitroster_frontend::{Caller, Frontend};
use bitroster_types::UnixMillis;
use bytes::Bytes;
use tracing::info;

/// Users, numbered in the order in which they came.
const USERS: u32 = 100_000;

/// Days since the first of them came, today among them, and those of them that have keys.
const DAYS: u32 = 180;
const DAYS_KEPT: u32 = 90;

/// Hours that have keys, and for how long those are kept, in seconds.
const HOURS_KEPT: u32 = 24;
const HOUR_KEPT_SECS: u32 = 48 * 3600;

/// Commands of one pipeline.
const LINES_AT_ONCE: usize = 256;

/// Share of users that are there on a day of the week, from Thursday on, as 1970 began.
const WEEK: [f64; 7] = [1.0, 0.95, 0.70, 0.66, 1.0, 1.03, 1.04];

/// A command.
type Line = Vec<Bytes>;

/// Fills the keyspace, if it is empty.
///
/// # Errors
///
/// Where a command fails.
pub(super) async fn load(frontend: &Frontend) -> anyhow::Result<()> {
    let mut caller = frontend.call_by_node()?;
    if caller.ask(&line(&["DBSIZE"])).await != Reply::Integer(0) {
        info!("the keyspace is not empty: no demo data is loaded");
        return Ok(());
    }
    let started = Instant::now();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = UnixMillis(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX));
    let crowd = Crowd::new(now);
    let mut count = crowd.load_days(&mut caller, now).await?;
    count += send(&mut caller, crowd.traits()).await?;
    count += send(&mut caller, small_keys()).await?;
    count += send(&mut caller, wide_keys()).await?;
    count += send(&mut caller, presence()).await?;
    info!(commands = count, took_ms = started.elapsed().as_millis(), "demo data loaded");
    Ok(())
}

/// Sends commands in pipelines; how many there were.
async fn send(caller: &mut Caller, lines: Vec<Line>) -> anyhow::Result<usize> {
    for lines in lines.chunks(LINES_AT_ONCE) {
        for (line, reply) in lines.iter().zip(caller.ask_all(lines).await) {
            if let Reply::Error(error) = reply {
                bail!("{}: {error}", String::from_utf8_lossy(&line[0]));
            }
        }
    }
    Ok(lines.len())
}

fn line(words: &[&str]) -> Line {
    words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// A number that follows from a seed and nothing else, well mixed (splitmix64).
fn draw(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A share, from 0 to 1, of a subject and a topic.
#[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
fn share(subject: u32, topic: u32) -> f64 {
    let seed = u64::from(topic) << 32 | u64::from(subject);
    (draw(seed) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Topics of draws; those of days and hours begin behind them.
const LIFE: u32 = 1;
const LOYAL: u32 = 2;
const PREMIUM: u32 = 3;
const DARK: u32 = 4;
const CHECKOUT: u32 = 5;
const SEARCH: u32 = 6;
const CONSENT: u32 = 7;
const OF_DAYS: u32 = 1000;
const OF_HOURS: u32 = 2000;

/// A bitmap as Redis's bytes.
struct Bits(Vec<u8>);

impl Bits {
    fn new(bits: u32) -> Self {
        Self(vec![0; bits.div_ceil(8) as usize])
    }

    fn of(bits: u32, is_set: impl Fn(u32) -> bool) -> Self {
        let mut made = Self::new(bits);
        (0..bits).filter(|bit| is_set(*bit)).for_each(|bit| made.set(bit));
        made
    }

    fn set(&mut self, bit: u32) {
        self.0[(bit / 8) as usize] |= 0x80 >> (bit % 8);
    }

    fn into_set(self, key: impl Into<Bytes>) -> Line {
        vec![Bytes::from_static(b"SET"), key.into(), self.0.into()]
    }
}

/// When each user came, and until when.
struct Crowd {
    /// First day of each user, from 0 to today.
    came: Vec<u32>,
    /// The day after the last.
    left: Vec<u32>,
    /// How likely a user of some days is there: casual ones, and loyal ones.
    habits: [Vec<f64>; 2],
    /// Day of the week of day 0.
    weekday: u64,
}

impl Crowd {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "days are few")]
    fn new(now: UnixMillis) -> Self {
        let first_day = (now.0 / 86_400_000).saturating_sub(u64::from(DAYS - 1));
        // More come every day than the day before.
        let came = |user: u32| {
            let share = (f64::from(user) + 0.5) / f64::from(USERS);
            (share.powf(1.0 / 1.6) * f64::from(DAYS)) as u32
        };
        let came: Vec<u32> = (0..USERS).map(came).collect();
        // A third stays; the others leave after fifty days on the average.
        let left = |(user, came): (u32, &u32)| match share(user, LIFE) {
            stays if stays < 0.33 => u32::MAX,
            share => came + 1 + (-50.0 * ((share - 0.33) / 0.67).max(1e-9).ln()) as u32,
        };
        let left = (0..USERS).zip(&came).map(left).collect();
        let habit = |first: f64, fades: f64| -> Vec<f64> {
            (0..DAYS).map(|age| first * (1.0 + f64::from(age)).powf(-fades)).collect()
        };
        let habits = [habit(0.5, 0.55), habit(0.8, 0.08)];
        Self { came, left, habits, weekday: first_day % 7 }
    }

    fn is_loyal(user: u32) -> bool {
        share(user, LOYAL) < 0.22
    }

    fn is_here(&self, user: u32, day: u32) -> bool {
        let (came, left) = (self.came[user as usize], self.left[user as usize]);
        if day < came || day >= left {
            return false;
        }
        let habit = &self.habits[usize::from(Self::is_loyal(user))];
        let week = WEEK[((self.weekday + u64::from(day)) % 7) as usize];
        let likely = habit[(day - came) as usize] * week;
        day == came || share(user, OF_DAYS + day) < likely
    }

    /// `dau:` and `new:` of each day, and `hau:` of each hour.
    async fn load_days(&self, caller: &mut Caller, now: UnixMillis) -> anyhow::Result<usize> {
        let (Some(today), Some(hour)) = (Period::at(Unit::Day, now), Period::at(Unit::Hour, now))
        else {
            bail!("the clock is outside the years that keys have names for");
        };
        let name = |period: Period, family: &str, back: u32| {
            let period = period.step(-i64::from(back));
            let key = period.and_then(|period| period.key(family.as_bytes()));
            key.map(|key| Bytes::copy_from_slice(&key))
        };
        let mut count = 0;
        for back in (0..DAYS_KEPT).rev() {
            let day = DAYS - 1 - back;
            let names = (name(today, "dau", back), name(today, "new", back));
            let (Some(active), Some(new)) = names else { continue };
            let active = Bits::of(USERS, |user| self.is_here(user, day)).into_set(active);
            let new = Bits::of(USERS, |user| self.came[user as usize] == day).into_set(new);
            count += send(caller, vec![active, new]).await?;
            tokio::task::yield_now().await;
        }
        let mut lines = Vec::new();
        for back in (0..HOURS_KEPT).rev() {
            let Some(key) = name(hour, "hau", back) else { continue };
            let here = |user: u32| {
                share(user, OF_HOURS + back) < 0.12 && self.is_here(user, DAYS - 1 - back / 24)
            };
            lines.push(Bits::of(USERS, here).into_set(key.clone()));
            let secs = (HOUR_KEPT_SECS - back * 3600).to_string();
            lines.push(vec![Bytes::from_static(b"EXPIRE"), key, secs.into()]);
        }
        Ok(count + send(caller, lines).await?)
    }

    /// What is known of users: what they pay for, see and have agreed to.
    fn traits(&self) -> Vec<Line> {
        let gone = |user: u32| self.left[user as usize] < DAYS - 14;
        let premium =
            |user: u32| share(user, PREMIUM) < if Self::is_loyal(user) { 0.22 } else { 0.03 };
        vec![
            Bits::of(USERS, premium).into_set("premium"),
            Bits::of(USERS, gone).into_set("churned"),
            Bits::of(USERS, |user| share(user, DARK) < 0.35).into_set("feature:dark-mode"),
            Bits::of(USERS, |user| share(user, CHECKOUT) < 0.1).into_set("feature:new-checkout"),
            Bits::of(USERS, |user| share(user, SEARCH) < 0.5).into_set("feature:search-v2"),
            line(&["BM.SETRANGE", "feature:gdpr-banner", "0", &(USERS - 1).to_string()]),
            line(&["BM.SETRANGE", "beta", "0", "4999"]),
            line(&["BM.SETRANGE", "beta", "60000", "61999"]),
        ]
    }
}

/// A few bits a user, in keys of their own.
fn small_keys() -> Vec<Line> {
    let permissions = |user: u32| {
        let bits = draw(u64::from(user)).to_be_bytes();
        let key = format!("permissions:user:{user}");
        vec![Bytes::from_static(b"SET"), key.into(), Bytes::copy_from_slice(&bits[..4])]
    };
    let mut lines: Vec<Line> = (0..1000).map(permissions).collect();
    lines.push(line(&["BM.ID", "emails"]));
    let names = (0..1000).map(|user| Bytes::from(format!("user{user}@example.com")));
    lines.last_mut().into_iter().for_each(|line| line.extend(names.clone()));
    let trial = |day: u32| {
        let key = format!("trial:day-{day}");
        let (first, last) = (day * 700, day * 700 + 399);
        let secs = (86_400 * (14 - day)).to_string();
        let set = line(&["BM.SETRANGE", &key, &first.to_string(), &last.to_string()]);
        [set, line(&["EXPIRE", &key, &secs])]
    };
    lines.extend((0..14).flat_map(trial));
    lines
}

/// A sparse key with far offsets, a dense one, and one that lies in many segments.
fn wide_keys() -> Vec<Line> {
    let mut devices = line(&["BM.SETBITS", "device:seen"]);
    devices.extend((0..2000).map(|n| Bytes::from((draw(77 + n) >> 32).to_string())));
    let mut lines = vec![
        devices,
        Bits::of(1 << 21, |bit| share(bit, CONSENT) < 0.5).into_set("consent:marketing"),
        line(&["BM.SETRANGE", "visitors:all-time", "0", "23999999"]),
    ];
    let holes = (0..40).map(|n| {
        let first = draw(1_000_000 + n) % 23_000_000;
        let last = first + draw(2_000_000 + n) % 40_000;
        line(&["BM.SETRANGE", "visitors:all-time", &first.to_string(), &last.to_string(), "0"])
    });
    lines.extend(holes);
    lines
}

/// Who is there just now, for some minutes to an hour.
fn presence() -> Vec<Line> {
    let touch = |n: u64| {
        let id = draw(5_000_000 + n) % u64::from(USERS);
        let secs = 300 + draw(6_000_000 + n) % 3300;
        line(&["BM.TOUCH", "online", &id.to_string(), "TTL", &secs.to_string()])
    };
    (0..1500).map(touch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T12:00.
    const NOW: UnixMillis = UnixMillis(1_795_262_400_000);

    fn active(crowd: &Crowd, day: u32) -> u32 {
        (0..USERS).map(|user| u32::from(crowd.is_here(user, day))).sum()
    }

    #[test]
    fn the_crowd_grows_and_keeps_weekends_and_most_that_left_stay_away() {
        let crowd = Crowd::new(NOW);
        let week = |end: u32| (end - 6..=end).map(|day| active(&crowd, day)).sum::<u32>() / 7;
        let (early, late) = (week(DAYS - DAYS_KEPT + 6), week(DAYS - 1));
        assert!(late > early * 3 / 2, "{early} a day at first, {late} at last");
        // 2026-11-21 is a Saturday.
        let (saturday, wednesday) = (active(&crowd, DAYS - 1), active(&crowd, DAYS - 4));
        assert!(saturday * 10 < wednesday * 9, "{saturday} on Saturday, {wednesday} before");
        let here = |user: u32, age: u32| {
            let day = crowd.came[user as usize] + age;
            day < DAYS && crowd.is_here(user, day)
        };
        let cohort: Vec<u32> =
            (0..USERS).filter(|user| crowd.came[*user as usize] == DAYS - 60).collect();
        let kept = |age| cohort.iter().filter(|user| here(**user, age)).count();
        assert_eq!(kept(0), cohort.len());
        assert!(kept(1) > kept(30) && kept(30) > cohort.len() / 50, "{} {}", kept(1), kept(30));
    }

    #[test]
    fn two_loads_are_the_same() {
        let (a, b) = (Crowd::new(NOW), Crowd::new(NOW));
        let day = |crowd: &Crowd| Bits::of(USERS, |user| crowd.is_here(user, 120)).0;
        assert!(day(&a) == day(&b));
        assert_eq!(a.traits(), b.traits());
        assert_eq!(wide_keys(), wide_keys());
    }
}
