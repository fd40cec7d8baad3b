use bitroster_command::lookup;

use super::*;

fn user(rules: &str) -> User {
    let mut user = User::new();
    for rule in rules.split(' ').filter(|rule| !rule.is_empty()) {
        user.apply(rule.as_bytes()).unwrap_or_else(|error| panic!("{rule}: {error}"));
    }
    user
}

fn text(user: &User) -> String {
    String::from_utf8(user.text()).unwrap()
}

fn may_run(user: &User, name: &str) -> bool {
    user.command_set().contains(Place::named(name.as_bytes()).unwrap())
}

const HASH: &str = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";

#[test]
fn rules_give_the_text_that_redis_lists() {
    for (rules, expected) in [
        ("", "off sanitize-payload resetchannels -@all"),
        ("on nopass ~* &* +@all", "on nopass sanitize-payload ~* &* +@all"),
        (
            "on >password ~a* %R~b* %W~c* %RW~d* &n:* &m +get +@read -mget",
            &format!(
                "on sanitize-payload #{HASH} ~a* %R~b* %W~c* ~d* resetchannels &n:* &m -@all +get \
                 +@read -mget"
            ),
        ),
        (
            "+@all -@dangerous +config|get",
            "off sanitize-payload resetchannels +@all -@dangerous \
                                           +config|get",
        ),
        ("+get -get +get", "off sanitize-payload resetchannels -@all +get"),
        ("+config|get +config|set -config", "off sanitize-payload resetchannels -@all -config"),
        ("%R~a %W~a", "off sanitize-payload ~a resetchannels -@all"),
        ("+get allcommands", "off sanitize-payload resetchannels +@all"),
        ("~a allkeys resetkeys ~b", "off sanitize-payload ~b resetchannels -@all"),
        ("on >password nopass", "on nopass sanitize-payload resetchannels -@all"),
        ("nopass >password", &format!("off sanitize-payload #{HASH} resetchannels -@all")),
        ("on >password ~* +@all reset", "off sanitize-payload resetchannels -@all"),
        ("ON >password <password NOPASS RESETPASS", "on sanitize-payload resetchannels -@all"),
    ] {
        let user = user(rules);
        assert_eq!(text(&user), expected, "{rules}");
        assert_eq!(User::from_text(&user.text()), Ok(user), "{rules}");
    }
}

#[test]
fn a_rule_that_makes_no_sense_is_refused_with_redis_text_and_changes_nothing() {
    for (before, rule, error) in [
        ("", "nonsense", RuleError::Syntax),
        ("", "", RuleError::Syntax),
        ("", "+nothing", RuleError::Unknown),
        ("", "-@nothing", RuleError::Unknown),
        ("", "+config|nothing", RuleError::Unknown),
        ("", "+get|first", RuleError::FirstArgument),
        ("", "+config|get|x", RuleError::FirstArgument),
        ("allkeys", "~a", RuleError::AllKeys),
        ("allchannels", "&a", RuleError::AllChannels),
        ("", "<password", RuleError::NoPassword),
        ("", "#123", RuleError::Hash),
        ("", "%~a", RuleError::Syntax),
        ("", "%X~a", RuleError::Syntax),
        ("", "%RR~a", RuleError::Syntax),
        ("", "%R", RuleError::Syntax),
        ("", "~a b", RuleError::Syntax),
        ("", "(+get ~a)", RuleError::Selector),
    ] {
        let mut user = user(before);
        let was = user.clone();
        assert_eq!(user.apply(rule.as_bytes()), Err(error), "{rule}");
        assert_eq!(user, was, "{rule}");
    }
}

#[test]
fn later_rules_of_commands_win() {
    let reader = user("+@read -get +config|get");
    assert!(may_run(&reader, "mget") && !may_run(&reader, "get"));
    assert!(may_run(&reader, "config|get") && !may_run(&reader, "config|set"));
    assert!(!may_run(&reader, "set"));
    let safe = user("+@all -@dangerous -@admin");
    assert!(may_run(&safe, "set") && !may_run(&safe, "config|set") && !may_run(&safe, "flushall"));
    assert!(
        !may_run(&safe, "keys") && may_run(&safe, "client|id") && !may_run(&safe, "client|kill")
    );
    let nobody = user("");
    assert!(may_run(&nobody, "auth") && may_run(&nobody, "hello") && !may_run(&nobody, "ping"));
}

#[test]
fn keys_are_allowed_by_pattern_and_by_what_is_done_with_them() {
    let user = user("~rw:* %R~r:* %W~w:*");
    for (key, reads, writes) in
        [("rw:1", true, true), ("r:1", true, false), ("w:1", false, true), ("x", false, false)]
    {
        assert_eq!(user.may_touch(key.as_bytes(), true), reads, "{key}");
        assert_eq!(user.may_touch(key.as_bytes(), false), writes, "{key}");
    }
    assert!(!user.may_touch_all(true));
    let reader = super::tests::user("%R~*");
    assert!(reader.may_touch_all(true) && !reader.may_touch_all(false));
}

#[test]
fn a_family_is_allowed_by_a_pattern_that_covers_all_of_its_keys() {
    for (pattern, may) in [
        ("*", true),
        ("d*", true),
        ("dau:*", true),
        ("d?u*", true),
        ("*:*", true),
        ("da\\u:*", true),
        ("dau:**", true),
        ("dau:?", false),
        ("dau:?*", false),
        ("dau:\\*", false),
        ("dau:\\\\*", false),
        ("dau:[*]", false),
        ("dau:[*", false),
        ("*:", false),
        ("dau", false),
        ("mau:*", false),
        ("dau:2026*", false),
    ] {
        let user = user(&format!("~{pattern}"));
        assert_eq!(user.may_touch_from(b"dau:", true), may, "{pattern}");
        assert_eq!(user.may_touch_from(b"dau:", false), may, "{pattern}");
    }
    let reader = user("%R~dau:*");
    assert!(reader.may_touch_from(b"dau:", true) && !reader.may_touch_from(b"dau:", false));
}

#[test]
fn a_pattern_of_channels_must_be_one_of_the_users_own() {
    let user = user("&news:*");
    assert!(user.may_reach(b"news:1", false) && !user.may_reach(b"other", false));
    assert!(user.may_reach(b"news:*", true) && !user.may_reach(b"news:1*", true));
}

#[test]
fn unknown_commands_in_a_stored_text_are_passed_over_and_other_nonsense_is_not() {
    let stored = User::from_text(b"on ~a +get +command-of-a-later-version -@nothing").unwrap();
    assert_eq!(stored, user("on ~a +get"));
    assert_eq!(User::from_text(b"on ~a nonsense"), Err(RuleError::Syntax));
}

#[test]
fn any_order_of_any_rules_comes_back_from_its_text() {
    let rules = [
        "on",
        "off",
        "nopass",
        "resetpass",
        ">a",
        ">b",
        "<a",
        "~a*",
        "%R~b*",
        "%W~b*",
        "allkeys",
        "resetkeys",
        "&c",
        "allchannels",
        "resetchannels",
        "+get",
        "-get",
        "+@read",
        "-@read",
        "+config",
        "-config",
        "+config|get",
        "-config|set",
        "+@all",
        "-@all",
        "+@admin",
        "-@dangerous",
        "reset",
    ];
    // A fixed generator (Knuth's MMIX), so that a failure comes again.
    let mut state = 7_u64;
    let mut draw = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    for round in 0..2_000 {
        let mut user = User::new();
        for _ in 0..draw(12) {
            // Some are refused after others, and then change nothing.
            user.apply(rules[draw(rules.len())].as_bytes()).ok();
        }
        let again = User::from_text(&user.text()).unwrap();
        assert_eq!(again, user, "round {round}: {}", text(&user));
        assert_eq!(again.command_set(), user.command_set());
    }
}

#[test]
fn every_command_can_be_named_in_a_rule() {
    for spec in bitroster_command::table::COMMANDS {
        assert!(lookup(spec.name.as_bytes()).is_some());
        let rule = format!("+{}", spec.name);
        assert!(may_run(&user(&rule), spec.name), "{rule}");
    }
}
