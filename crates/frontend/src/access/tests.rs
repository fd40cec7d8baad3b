use bitroster_command::{ParseLimits, lookup};

use super::*;

fn users(list: &[(&str, &str)]) -> Users {
    list.iter().map(|(name, rules)| (name.as_bytes().to_vec(), rules.as_bytes().to_vec())).collect()
}

fn admit(identity: &Identity, request: &str) -> Result<(), String> {
    let args: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
    let spec = lookup(args[0]).unwrap();
    let command = spec.parse(&args, &ParseLimits::default()).unwrap();
    identity.admit(spec, &args, &command).map_err(|error| error.to_string())
}

#[test]
fn without_users_the_configurations_password_is_that_of_default() {
    let open = Access::new(None);
    assert!(!open.asks_for_password() && open.default_identity().unwrap().is_free());
    assert!(open.authenticate(b"default", b"any").is_ok());
    let closed = Access::new(Some(b"secret"));
    assert!(closed.asks_for_password() && closed.default_identity().is_none());
    assert!(closed.authenticate(b"default", b"secret").is_ok());
    for (user, password) in [("default", ""), ("default", "Secret"), ("other", "secret")] {
        let refusal = closed.authenticate(user.as_bytes(), password.as_bytes()).unwrap_err();
        assert!(refusal.to_string().starts_with("WRONGPASS "), "{user}");
    }
    assert_eq!(closed.set_configured_password(b""), Ok(()));
    assert!(closed.default_identity().is_some());
}

#[test]
fn an_identity_follows_every_change_of_its_user() {
    let access = Access::new(None);
    let followed = access.follow(1, &users(&[("alice", "on nopass ~a* -@all +get +set")]));
    assert_eq!(followed, Some(false));
    let alice = access.authenticate(b"alice", b"any").unwrap();
    assert_eq!(admit(&alice, "GET a1"), Ok(()));
    assert_eq!(admit(&alice, "GET b1"), Err("NOPERM No permissions to access a key".to_owned()));
    let refusal = "NOPERM User alice has no permissions to run the 'del' command";
    assert_eq!(admit(&alice, "DEL a1"), Err(refusal.to_owned()));
    access.follow(2, &users(&[("alice", "on nopass ~* &* +@all")]));
    assert!(alice.is_free());
    assert_eq!(admit(&alice, "DEL b1"), Ok(()));
    // An older list changes nothing.
    assert_eq!(access.follow(1, &users(&[])), None);
    assert!(alice.is_free());
    assert_eq!(access.follow(3, &users(&[("bob", "off")])), Some(true));
    assert_eq!(access.follow(4, &users(&[("bob", "off")])), None);
    assert!(alice.is_deleted() && !alice.is_free());
    assert_eq!(admit(&alice, "GET a1"), Err(NO_AUTH.to_string()));
    // The same name again is somebody else.
    access.follow(4, &users(&[("alice", "on nopass ~* &* +@all")]));
    assert!(alice.is_deleted());
    assert_ne!(access.authenticate(b"alice", b"").unwrap(), alice);
}

#[test]
fn a_family_needs_a_right_to_all_its_keys() {
    let access = Access::new(None);
    access.follow(1, &users(&[("a", "on nopass ~dau:? +@all"), ("b", "on nopass ~dau:* +@all")]));
    let [a, b] = [b"a", b"b"].map(|name| access.authenticate(name, b"").unwrap());
    for request in ["BM.MARK dau 7", "BM.WINDOW dau LAST 3d"] {
        let refusal = "NOPERM No permissions to access a key".to_owned();
        assert_eq!(admit(&a, request), Err(refusal), "{request}");
        assert_eq!(admit(&b, request), Ok(()), "{request}");
    }
}

#[test]
fn a_user_that_is_off_or_makes_no_sense_does_not_come_in() {
    let access = Access::new(None);
    access.follow(1, &users(&[("off", "off nopass +@all"), ("bad", "on nopass nonsense +@all")]));
    assert!(access.authenticate(b"off", b"").is_err());
    assert!(access.authenticate(b"bad", b"").is_err());
}

#[test]
fn the_clusters_default_is_before_the_configurations() {
    let access = Access::new(None);
    let first = access.default_identity().unwrap();
    access.follow(1, &users(&[("default", "off resetchannels -@all")]));
    assert!(access.asks_for_password() && access.default_identity().is_none());
    assert_eq!(
        admit(&first, "GET a"),
        Err("NOPERM User default has no permissions to run the 'get' command".to_owned())
    );
    assert!(access.set_configured_password(b"x").is_err());
    access.follow(2, &users(&[]));
    assert!(first.is_free() && !first.is_deleted());
}

#[test]
fn every_key_of_a_command_counts_by_what_is_done_with_it() {
    let access = Access::new(None);
    let rules = "on nopass %R~source* %W~target* &news -@all +@read +@write +@pubsub +watch";
    access.follow(1, &users(&[("alice", rules)]));
    let alice = access.authenticate(b"alice", b"").unwrap();
    assert_eq!(admit(&alice, "BITOP AND target source1 source2"), Ok(()));
    let refused = [
        "BITOP AND source1 source1 source2",
        "BITOP AND target source1 target",
        "BITOP AND target source1 other",
        "BITOPCARD AND source1 other",
        "COPY source1 source2",
        "RENAME source1 target",
        "MSET target1 a other b",
        "DEL target1 other",
        "WATCH source1 other",
    ];
    for request in refused {
        let refusal = "NOPERM No permissions to access a key".to_owned();
        assert_eq!(admit(&alice, request), Err(refusal), "{request}");
    }
    for request in ["COPY source1 target", "MSET target1 a target2 b", "WATCH source1 source2"] {
        assert_eq!(admit(&alice, request), Ok(()), "{request}");
    }
    assert_eq!(admit(&alice, "PUBLISH news hello"), Ok(()));
    assert_eq!(admit(&alice, "SUBSCRIBE news"), Ok(()));
    let refusal = "NOPERM No permissions to access a channel".to_owned();
    assert_eq!(admit(&alice, "PUBLISH other hello"), Err(refusal.clone()));
    assert_eq!(admit(&alice, "SUBSCRIBE news other"), Err(refusal.clone()));
    assert_eq!(admit(&alice, "PSUBSCRIBE n*"), Err(refusal));
}

#[test]
fn refusals_are_noted_without_passwords() {
    let access = Access::new(None);
    access.follow(1, &users(&[("alice", "on nopass -@all")]));
    let alice = access.authenticate(b"alice", b"hunter2").unwrap();
    assert!(admit(&alice, "GET a").is_err());
    let log = format!("{:?}{access:?}{alice:?}", access.log().lock().show(10));
    assert!(log.contains("alice") && !log.contains("hunter2"));
}
