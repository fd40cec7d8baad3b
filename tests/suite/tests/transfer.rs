//! Goal: what a Redis holds comes over whole while it is being used, whatever interrupts the
//! import, and bitmaps go into files and come back.
//!
//! Method: Debian's redis-server with bitmaps of every density, expiries and keys of other types is
//! imported while a client changes bits all the time. The import is killed when its state file says
//! that it is half-way, keys come and go, and it is resumed. Then the writer stops, a last pass
//! runs, and every byte and expiry is compared. Files are made, read back and compared byte for
//! byte; what cannot work must end with the right exit code and say why.
//!
//! Mutants killed: start again at a resume (too many are copied); leave out the comparison (no key
//! is found to differ); delete whatever the source has not (lists go); forget the source's run (a
//! restarted one empties the target); merge expiries without GT (a key lives shorter).

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use bitroster_resp::Frame;
use bitroster_suite::{
    Client, Random, Server,
    transfer::{Running, address, ask, command, fill, number, path, run, run_command, url},
    wait,
};
use serde_json::{Value, json};

/// Bitmaps of 10 M ids.
const BITMAPS: u64 = 50;
const BITMAP_BYTES: usize = 1_250_000;

/// Redis's clock may be read a little before or after the expiry.
const EXPIRY_MS_MAX: u64 = 1_000;

fn bitmap(number: u64) -> String {
    format!("dau:{number:02}")
}

/// Bitmaps of every density, every second with an expiry; small keys, a sparse one, one of zeros
/// alone, one that ends in zeros, and three of other types.
fn fill_source(client: &mut Client, random: &mut Random) {
    for number in 0..BITMAPS {
        let thinness = u32::try_from(number % 12 + 1).expect("small");
        fill(client, &bitmap(number), BITMAP_BYTES, thinness, number % 8, random);
        if number % 2 == 0 {
            let seconds = 3_600 + number;
            ask(client, &format!("EXPIRE {} {seconds}", bitmap(number)));
        }
    }
    for number in 0..300 {
        ask(client, &format!("SETBIT permissions:{number} {} 1", number % 64));
        if number % 3 == 0 {
            ask(client, &format!("EXPIRE permissions:{number} 7200"));
        }
    }
    for request in [
        "SETBIT sparse 3 1",
        "SETBIT sparse 80000000 1",
        "SETBIT zeros 20000000 0",
        "SETBIT tail 5 1",
        "SETBIT tail 30000000 0",
        "SET text hello",
        "HSET hash field value",
        "RPUSH list a b",
        "SADD set a",
        "SETBIT leaves 10 1",
    ] {
        let reply = ask(client, request);
        assert!(!matches!(reply, Frame::Error(_)), "{request}: {reply:?}");
    }
}

/// Changes random bits of the first bitmaps until told to stop.
fn write_until(port: u16, stop: &AtomicBool, writes: &AtomicU64) {
    let mut client = Client::connect(port).expect("a connection");
    let mut random = Random::new(11);
    while !stop.load(Ordering::Relaxed) {
        let (key, offset) = (bitmap(random.below(BITMAPS)), random.below(10_000_000));
        let bit = u8::from(!random.one_in(3));
        ask(&mut client, &format!("SETBIT {key} {offset} {bit}"));
        writes.fetch_add(1, Ordering::Relaxed);
    }
}

fn state(file: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// What is compared of a server's strings: the value and its expiry.
fn contents(client: &mut Client) -> BTreeMap<String, (Vec<u8>, i64)> {
    let Frame::Array(keys) = ask(client, "KEYS *") else { panic!("KEYS answers no list") };
    let mut found = BTreeMap::new();
    for key in keys {
        let Frame::Bulk(key) = key else { panic!("{key:?} is no key") };
        let key = String::from_utf8(key.to_vec()).expect("text");
        if let Frame::Bulk(value) = ask(client, &format!("GET {key}")) {
            let expiry = number(client, &format!("PEXPIRETIME {key}"));
            found.insert(key, (value.to_vec(), expiry));
        }
    }
    found
}

/// Both ends hold the same strings with the same expiries.
fn assert_equal(redis: &mut Client, bitroster: &mut Client) {
    let (theirs, ours) = (contents(redis), contents(bitroster));
    let names = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for (key, (value, expiry)) in &theirs {
        let (our_value, our_expiry) = &ours[key];
        assert!(our_value == value, "{key} differs: {} and {} bytes", our_value.len(), value.len());
        assert!(our_expiry.abs_diff(*expiry) <= EXPIRY_MS_MAX, "{key}: {our_expiry}, {expiry}");
        let count = format!("BITCOUNT {key}");
        assert_eq!(number(bitroster, &count), number(redis, &count), "{key}");
    }
}

#[test]
fn a_live_redis_comes_over_whole_though_the_import_is_killed_half_way() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "4"]));
    let (mut source, mut target) = (redis.client(), bitroster.client());
    fill_source(&mut source, &mut Random::announced(4));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state_file = folder.path().join("state");
    let (url, to) = (url(&redis), address(&bitroster));
    let import = ["import", &url, "--to", &to, "--state", path(&state_file), "--output", "json"];

    let (stop, writes) = (AtomicBool::new(false), AtomicU64::new(0));
    let (resumed, deleted) = thread::scope(|scope| {
        scope.spawn(|| write_until(redis.port(), &stop, &writes));
        // Slow enough that half-way is seen; half of the bytes are copied when it is killed.
        let first = Running::start(&[&import[..], &["--rate", "15MB/s"]].concat());
        let killed_at = wait::until("the import is half-way", || {
            let state = state(&state_file)?;
            let bytes = state["totals"]["copied_bytes"].as_u64()?;
            (bytes > BITMAPS * BITMAP_BYTES as u64 / 2).then_some(state)
        });
        first.kill();
        assert_eq!(killed_at["phase"], "copy", "{killed_at}");
        let has = number(&mut target, "DBSIZE");
        assert!(has < number(&mut source, "DBSIZE") - 3, "all {has} keys are there already");

        // Keys come, go and change their expiry meanwhile.
        let mut copied = |what: &str, keys: u64| {
            let names = (0..keys).map(|number| format!("{what}{number:02}"));
            let mut copied = names.filter(|key| number(&mut target, &format!("EXISTS {key}")) == 1);
            copied.next().expect("some are copied")
        };
        let (renamed, deleted) = (copied("dau:", BITMAPS), copied("permissions:", 100));
        ask(&mut source, &format!("RENAME {renamed} renamed"));
        ask(&mut source, &format!("DEL {deleted}"));
        for request in ["DEL leaves", "SETBIT comes 4711 1", "EXPIRE text 9000", "PERSIST dau:02"] {
            ask(&mut source, request);
        }
        let resumed = run(&import);
        stop.store(true, Ordering::Relaxed);
        (resumed, deleted)
    });
    // Keys that are written to at this very moment may differ at a look.
    assert!(matches!(resumed.code, Some(0 | 1)), "{resumed:#?}");
    assert!(writes.load(Ordering::Relaxed) > 1_000, "the writer did not write");
    let report = resumed.json();
    assert_eq!(report["other_types"], json!({ "hash": 1, "list": 1, "set": 1 }));
    // What the first run had written down was not copied once more.
    let keys = BITMAPS + 300 + 6;
    let copied = report["copied"].as_u64().expect("a number");
    assert!((keys - 3..keys + 80).contains(&copied), "{copied} of {keys} keys: {report}");
    assert_eq!(state(&state_file).expect("a state")["phase"], "done");
    // What was written after it was copied was found by comparing, and what went is gone.
    let of = |name: &str| report[name].as_u64().expect("a number");
    assert!(of("equal") + of("differing") >= keys - 3, "{report}");
    assert!(of("updated") > 0 && of("deleted") > 0, "{report}");
    assert_eq!(number(&mut target, &format!("EXISTS {deleted} leaves")), 0);

    let last = ["import", &url, "--to", &to, "--sync", "--delete", "--verify", "--output", "json"];
    let last = run(&last).expect_code(0).json();
    assert_eq!((&last["differing"], &last["failed"]), (&json!(0), &json!(0)), "{last}");
    assert_equal(&mut source, &mut target);
    let dry = [
        &["import", &url, "--to", &to, "--sync", "--verify", "--dry-run"][..],
        &["--output", "json"],
    ];
    let dry = run(&dry.concat()).expect_code(0).json();
    assert_eq!(dry["equal"], json!(contents(&mut source).len()), "{dry}");

    // A comparison finds a single bit, and two whose count is the same.
    let had = number(&mut target, "SETBIT dau:09 77 1");
    ask(&mut target, &format!("SETBIT dau:09 77 {}", 1 - had));
    let compare = ["import", &url, "--to", &to, "--sync", "--dry-run", "--output", "json"];
    assert_eq!(run(&compare).expect_code(1).json()["differing"], 1);
    let thin = run(&["import", &url, "--to", &to, "--sync", "--output", "json"]).expect_code(0);
    assert_eq!(thin.json()["updated"], 1, "{thin:?}");
    assert_equal(&mut source, &mut target);
}

#[test]
fn a_sparse_value_stays_sparse_and_goes_back_to_a_redis() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "3"]));
    let (mut source, mut target) = (redis.client(), bitroster.client());
    for request in ["SETBIT far 400000000 1", "SETBIT far 1 1", "PEXPIREAT far 4102444800123"] {
        ask(&mut source, request);
    }
    let to = address(&bitroster);
    let report = run(&["import", &url(&redis), "--to", &to, "--verify"]).expect_code(0);
    assert!(report.stdout.contains("1 key, 47.7 MiB"), "{}", report.stdout);
    assert_eq!(number(&mut target, "STRLEN far"), 50_000_001);
    assert_eq!(number(&mut target, "PEXPIRETIME far"), 4_102_444_800_123);
    let memory = number(&mut target, "MEMORY USAGE far");
    assert!(memory < 100_000, "a value of two bits takes {memory} bytes");

    let back = Server::redis();
    let to = address(&back);
    run(&["import", &url(&bitroster), "--to", &to, "--verify"]).expect_code(0);
    assert_equal(&mut source, &mut back.client());

    // Keys of other types that stayed behind are still there after the way back.
    let mut back = back.client();
    for request in ["RPUSH list a b", "HSET hash field value", "SADD set a", "SETBIT goes 1 1"] {
        ask(&mut back, request);
    }
    let way_back = ["import", &url(&bitroster), "--to", &to, "--sync", "--delete"];
    let report = run(&[&way_back[..], &["--output", "json"]].concat()).expect_code(0).json();
    assert_eq!(report["deleted"], 1, "{report}");
    assert_eq!(number(&mut back, "EXISTS list hash set goes"), 3);
    assert_eq!((number(&mut back, "LLEN list"), number(&mut back, "HLEN hash")), (2, 1));
    assert_equal(&mut source, &mut back);
}

#[test]
fn a_source_that_lost_its_keys_does_not_empty_the_target() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "2"]));
    let (mut source, mut target) = (redis.client(), bitroster.client());
    for number in 0..20 {
        ask(&mut source, &format!("SETBIT k:{number} {number} 1"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("state");
    let (url, to) = (url(&redis), address(&bitroster));
    let import = ["import", &url, "--to", &to, "--state", path(&file)];
    run(&import).expect_code(0);
    // As an import looks that was killed while it compared.
    let mut halfway = state(&file).expect("a state");
    halfway["phase"] = json!("check");
    let write = |state: &Value| fs::write(&file, state.to_string()).expect("a file");

    // An empty source says nothing about what is to go.
    ask(&mut source, "FLUSHALL");
    write(&halfway);
    let refused = run(&import).expect_code(7);
    assert!(
        refused.stderr.contains("no strings") && refused.stderr.contains("--trust-source"),
        "{refused:?}"
    );
    // Nor when deletions were asked for, before the source lost its keys.
    run(&[&import[..], &["--delete"]].concat()).expect_code(7);
    ask(&mut source, "SETBIT other 0 1");
    let matching = ["import", &url, "--to", &to, "--sync", "--delete", "--match", "k:*"];
    let refused = run(&matching).expect_code(7);
    assert!(refused.stderr.contains("no strings that match"), "{refused:?}");
    assert_eq!(number(&mut target, "DBSIZE"), 20);
    ask(&mut source, "DEL other");

    // Nor does one that was restarted and has few.
    ask(&mut source, "SETBIT k:0 0 1");
    halfway["run_id"] = json!("another");
    write(&halfway);
    let refused = run(&import).expect_code(7);
    assert!(refused.stderr.contains("restarted"), "{refused:?}");
    assert_eq!(number(&mut target, "DBSIZE"), 20);
    // It does not forget, whatever its command says always.
    run(&import).expect_code(7);
    run(&[&import[..], &["--delete"]].concat()).expect_code(7);
    assert_eq!(number(&mut target, "DBSIZE"), 20);
    run(&[&import[..], &["--trust-source"]].concat()).expect_code(0);
    assert_eq!(number(&mut target, "DBSIZE"), 1);
}

#[test]
fn a_merge_shortens_no_life() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "2"]));
    let (mut source, mut target) = (redis.client(), bitroster.client());
    let (soon, late) = (4_102_444_800_000_i64, 4_102_444_900_000_i64);
    for kind in ["small", "large"] {
        let offset = if kind == "small" { 3 } else { 16_000_000 };
        for key in ["new", "endless", "longer", "shorter"] {
            ask(&mut source, &format!("SETBIT {kind}:{key} {offset} 1"));
            ask(&mut source, &format!("PEXPIREAT {kind}:{key} {soon}"));
        }
        for key in ["endless", "longer", "shorter"] {
            ask(&mut target, &format!("SETBIT {kind}:{key} 9 1"));
        }
        ask(&mut target, &format!("PEXPIREAT {kind}:longer {late}"));
        ask(&mut target, &format!("PEXPIREAT {kind}:shorter {}", soon - 100_000));
    }
    run(&["import", &url(&redis), "--to", &address(&bitroster), "--merge"]).expect_code(0);
    for kind in ["small", "large"] {
        for (key, bits, expiry) in
            [("new", 1, soon), ("endless", 2, -1), ("longer", 2, late), ("shorter", 2, soon)]
        {
            let key = format!("{kind}:{key}");
            assert_eq!(number(&mut target, &format!("BITCOUNT {key}")), bits, "{key}");
            let found = number(&mut target, &format!("PEXPIRETIME {key}"));
            assert_eq!(found, expiry, "{key}");
        }
    }
}

#[test]
fn keys_that_exist_are_treated_as_asked() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "2"]));
    let (mut source, mut target) = (redis.client(), bitroster.client());
    for request in ["SETBIT both 1 1", "SETBIT only 2 1", "SETBIT large 16000000 1"] {
        ask(&mut source, request);
    }
    let (url, to) = (url(&redis), address(&bitroster));
    let mut import = |how: &[&str]| {
        ask(&mut target, "FLUSHALL");
        for request in ["SETBIT both 9 1", "SETBIT large 3 1", "SETBIT ours 5 1"] {
            ask(&mut target, request);
        }
        let ended = run(&[&["import", &url, "--to", &to, "--output", "json"][..], how].concat());
        let bits = ["both 1", "both 9", "only 2", "large 16000000", "large 3", "ours 5"];
        let bits = bits.map(|bit| number(&mut target, &format!("GETBIT {bit}")));
        (ended, bits)
    };
    // Nobody said what becomes of them: nothing happens.
    let (refused, bits) = import(&[]);
    assert_eq!((refused.code, bits), (Some(6), [0, 1, 0, 0, 1, 1]), "{refused:?}");
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    let (dry, bits) = import(&["--dry-run"]);
    assert_eq!((dry.code, bits), (Some(0), [0, 1, 0, 0, 1, 1]), "{dry:?}");
    assert_eq!(dry.json()["copied"], 3);
    let (replaced, bits) = import(&["--replace"]);
    assert_eq!((replaced.code, bits), (Some(0), [1, 0, 1, 1, 0, 1]), "{replaced:?}");
    let (skipped, bits) = import(&["--skip-existing"]);
    assert_eq!((skipped.code, bits), (Some(0), [0, 1, 1, 0, 1, 1]), "{skipped:?}");
    assert_eq!(skipped.json()["skipped"], 2);
    let (merged, bits) = import(&["--merge"]);
    assert_eq!((merged.code, bits), (Some(0), [1, 1, 1, 1, 1, 1]), "{merged:?}");
    let (deleted, bits) = import(&["--replace", "--delete"]);
    assert_eq!((deleted.code, bits), (Some(0), [1, 0, 1, 1, 0, 0]), "{deleted:?}");
    let (matching, bits) = import(&["--replace", "--match", "on*"]);
    assert_eq!((matching.code, bits), (Some(0), [0, 1, 1, 0, 1, 1]), "{matching:?}");
}

#[test]
fn what_cannot_work_ends_with_its_exit_code_and_says_why() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "1"]));
    let mut source = redis.client();
    ask(&mut source, "SETBIT k 1 1");
    let (url, to) = (url(&redis), address(&bitroster));
    let nobody = {
        let gone = Server::redis();
        address(&gone)
    };
    let unreachable = run(&["import", &format!("redis://{nobody}"), "--to", &to]).expect_code(3);
    assert!(unreachable.stderr.contains(&nobody), "{}", unreachable.stderr);
    run(&["import", &url, "--to", &nobody]).expect_code(3);

    ask(&mut source, "CONFIG SET requirepass right");
    let denied = run(&["import", &url, "--to", &to]).expect_code(4);
    assert!(denied.stderr.contains("NOAUTH"), "{}", denied.stderr);
    let wrong = format!("redis://:wrong@127.0.0.1:{}", redis.port());
    let denied = run(&["import", &wrong, "--to", &to]).expect_code(4);
    assert!(
        denied.stderr.contains("WRONGPASS") && !denied.stderr.contains(":wrong@"),
        "{denied:?}"
    );
    let mut by_environment = command(&["import", &url, "--to", &to]);
    run_command(by_environment.env("BITROSTER_SOURCE_PASSWORD", "right")).expect_code(0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let password = folder.path().join("password");
    fs::write(&password, "right\n").expect("a file");
    let by_file = ["import", &url, "--to", &to, "--replace", "--source-password-file"];
    run(&[&by_file[..], &[path(&password)]].concat()).expect_code(0);

    let state = folder.path().join("state");
    fs::write(&state, "not a state").expect("a file");
    let by_url = format!("redis://default:right@127.0.0.1:{}", redis.port());
    let conflict = ["import", &by_url, "--to", &to, "--replace", "--state", path(&state)];
    run(&conflict).expect_code(6);
    run(&["import", &to, "--to", &to]).expect_code(2);
    run(&["import", &by_url, "--to", &address(&redis)]).expect_code(4);
    run(&["import", "missing.csv", "--to", &to, "--key", "k"]).expect_code(2);
    run(&["import", &by_url, "--to", &to, "--rate", "fast"]).expect_code(2);
}

#[test]
fn an_import_that_does_not_fit_says_so_and_goes_on_when_there_is_room() {
    let redis = Server::redis();
    let bitroster = Server::bitroster(&["--groups", "2"]);
    let (mut source, mut target) = (redis.client(), bitroster.client());
    let mut random = Random::announced(9);
    for number in 0..16 {
        fill(&mut source, &bitmap(number), 2 << 20, 1, 0, &mut random);
    }
    let used = target.info("memory", "used_memory").expect("used memory");
    ask(&mut target, &format!("CONFIG SET maxmemory {}", used + (6 << 20)));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state");
    let (url, to) = (url(&redis), address(&bitroster));
    let import = ["import", &url, "--to", &to, "--state", path(&state)];
    let full = run(&import).expect_code(7);
    assert!(full.stderr.contains("is full") && full.stderr.contains("hint: "), "{}", full.stderr);
    assert!(full.stdout.contains("copied"), "{}", full.stdout);
    ask(&mut target, "CONFIG SET maxmemory 0");
    run(&import).expect_code(0);
    assert_equal(&mut source, &mut target);
}

#[test]
fn bitmaps_go_into_files_of_every_format_and_come_back() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "4"]));
    let mut client = bitroster.client();
    let mut random = Random::announced(21);
    let folder = tempfile::tempdir().expect("a temporary folder");
    fill(&mut client, "dense", 3_000_001, 1, 4, &mut random);
    fill(&mut client, "thin", 3_000_000, 9, 4, &mut random);
    ask(&mut client, "BM.SETRANGE runs 70000 5000000");
    ask(&mut client, "SETBIT far 4000000000 1");
    ask(&mut client, "SETBIT tail 9 1");
    ask(&mut client, "SETBIT tail 40000000 0");
    ask(&mut client, "SETBIT zeros 40000000 0");
    let to = address(&bitroster);
    for format in ["roaring", "roaring64", "csv", "raw"] {
        for key in ["dense", "thin", "runs", "far", "tail", "zeros"] {
            if (format, key) == ("raw", "far") {
                // 500 MB of zeros prove nothing that `tail` does not.
                continue;
            }
            let file = folder.path().join(format!("{key}.{format}"));
            let export = ["export", key, "-o", path(&file), "--addr", &to, "--output", "json"];
            let report = run(&export).expect_code(0).json();
            let bits = number(&mut client, &format!("BITCOUNT {key}"));
            assert_eq!(report["items"][0]["set_bits"], json!(bits), "{report}");
            let import = ["import", path(&file), "--key", "back", "--to", &to, "--output", "json"];
            let report = run(&import).expect_code(0).json();
            assert_eq!(report["set_bits"], json!(bits), "{report}");
            assert_eq!(number(&mut client, "BITCOUNT back"), bits);
            if bits > 0 {
                let both = format!("BITOPCARD AND back {key}");
                assert_eq!(number(&mut client, &both), bits, "{key} as {format}");
            }
            if format == "raw" {
                let len = number(&mut client, &format!("STRLEN {key}"));
                assert_eq!(number(&mut client, "STRLEN back"), len);
                assert_eq!(fs::metadata(&file).expect("a file").len(), len.unsigned_abs());
            }
        }
    }
    assert_eq!(number(&mut client, "EXISTS back:bitroster-import"), 0);

    // A Redis's bitmap makes the same files.
    let raw = folder.path().join("thin.raw");
    let mut plain = redis.client();
    let value = fs::read(&raw).expect("a file");
    plain.call(&[b"SET".as_slice(), b"thin", &value]).expect("an answer");
    for format in ["roaring", "roaring64", "csv", "raw"] {
        let (ours, theirs) =
            (folder.path().join(format!("thin.{format}")), folder.path().join("x"));
        let export = ["export", "thin", "--format", format, "-o", path(&theirs), "--addr"];
        run(&[&export[..], &[&address(&redis)]].concat()).expect_code(0);
        assert!(fs::read(&ours).expect("a file") == fs::read(&theirs).expect("a file"), "{format}");
    }
}

#[test]
fn a_file_is_merged_or_refused_as_a_whole_and_many_keys_go_into_a_folder() {
    let bitroster = Server::bitroster(&["--groups", "3"]);
    let mut client = bitroster.client();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (to, file) = (address(&bitroster), folder.path().join("ids.csv"));
    let import = |text: &str, how: &[&str]| {
        fs::write(&file, text).expect("a file");
        run(&[&["import", path(&file), "--key", "k", "--to", &to][..], how].concat())
    };
    let range = |client: &mut Client| ask(client, "BM.RANGE k 0 4294967295");
    let offsets = |of: &[i64]| Frame::Array(of.iter().copied().map(Frame::Integer).collect());
    import("1, 5\r\n5000000 9", &[]).expect_code(0);
    ask(&mut client, "EXPIRE k 1000");
    import("5\n7\n", &["--mode", "or"]).expect_code(0);
    assert_eq!(range(&mut client), offsets(&[1, 5, 7, 9, 5_000_000]));
    assert!(number(&mut client, "TTL k") > 900);
    import("1\n9\n10\n", &["--mode", "andnot"]).expect_code(0);
    assert_eq!(range(&mut client), offsets(&[5, 7, 5_000_000]));
    // More than one batch, with the wrong line in the last one.
    let many: String = (0..300_000).map(|offset| format!("{}\n", offset * 7)).collect();
    let refused = import(&format!("{many}x7\n"), &[]).expect_code(1);
    assert!(refused.stderr.contains("'x7' on line 300001"), "{}", refused.stderr);
    assert_eq!(range(&mut client), offsets(&[5, 7, 5_000_000]));
    import(&many, &[]).expect_code(0);
    assert_eq!(number(&mut client, "BITCOUNT k"), 300_000);
    assert_eq!(number(&mut client, "TTL k"), -1);
    import("", &[]).expect_code(0);
    assert_eq!(number(&mut client, "EXISTS k"), 0);

    for request in ["SETBIT a/b:1 3 1", "SETBIT a/b:2 4 1", "SETBIT other 1 1"] {
        ask(&mut client, request);
    }
    let dir = folder.path().join("out");
    fs::create_dir(&dir).expect("a folder");
    let export = ["export", "--match", "a/*", "--format", "csv", "-o", path(&dir), "--addr", &to];
    let report = run(&export).expect_code(0);
    assert!(report.stdout.contains("2 written"), "{}", report.stdout);
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("a file");
    assert_eq!((read("a%2Fb:1.csv"), read("a%2Fb:2.csv")), ("3\n".to_owned(), "4\n".to_owned()));
    assert_eq!(fs::read_dir(&dir).expect("a folder").count(), 2);
    let piped = run(&["export", "other", "--format", "csv", "-o", "-", "--addr", &to]);
    assert_eq!(piped.expect_code(0).stdout, "1\n");
    let missing = ["export", "missing", "--format", "csv", "-o", "-", "--addr", &to];
    run(&missing).expect_code(1);
}
