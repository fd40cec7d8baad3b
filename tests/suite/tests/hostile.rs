//! Goal: hostile bytes neither crash the server nor grow its memory, and far offsets, sparse bits
//! and many small keys cost what is set, not what lies between.
//!
//! Method: raw bytes on real connections to a real server; memory as `INFO memory` tells it
//! (what the allocator has handed out) and as the kernel sees it, side by side with redis-server
//! for the small keys.

use bitroster_resp::{Frame, encode_request};
use bitroster_suite::{Client, Random, Server, wait};
use bytes::BytesMut;

const MIB: u64 = 1 << 20;

/// Sends bytes, ends its half of the talk if `half` says so, and returns what came back.
fn send_and_listen(server: &Server, bytes: &[u8]) -> String {
    let mut client = server.client();
    // The server may close while we still send: then there is nothing more to say.
    drop(client.send_raw(bytes));
    let answer = client.receive_until_closed().expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn malformed_requests_get_redis_error_and_lose_their_connection() {
    let server = Server::bitroster(&[]);
    let cases: &[(&[u8], &str)] = &[
        (b"*1000000000\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n$4\r\nPINGxx", "invalid CRLF in request"),
        (b"SET \"unbalanced\r\n", "unbalanced quotes in request"),
    ];
    for (bytes, text) in cases {
        let answer = send_and_listen(&server, bytes);
        let expected = format!("-ERR Protocol error: {text}\r\n");
        assert_eq!(answer, expected, "after {}", bytes.escape_ascii());
    }
    let nested = "*1\r\n".repeat(100_000);
    let answer = send_and_listen(&server, nested.as_bytes());
    assert!(answer.starts_with("-ERR Protocol error: expected '$'"), "{answer}");
    let endless = vec![b'x'; 200 << 10];
    let answer = send_and_listen(&server, &endless);
    assert!(answer.starts_with("-ERR Protocol error: too big inline request"), "{answer}");
    for request in ["POST / HTTP/1.1\r\n", "Host: example\r\n"] {
        assert_eq!(send_and_listen(&server, request.as_bytes()), "", "{request:?}");
    }
    assert_eq!(server.client().words("PING").expect("it lives"), Frame::Simple("PONG".into()));
}

#[test]
fn a_request_that_comes_one_byte_at_a_time_is_answered() {
    let server = Server::bitroster(&[]);
    let mut client = server.client();
    let mut request = BytesMut::new();
    encode_request(&["SETBIT", "slow", "7", "1"], &mut request);
    request.extend_from_slice(b"GETBIT slow 7\r\n");
    for byte in request {
        client.send_raw(&[byte]).expect("the server reads");
    }
    assert_eq!(client.receive().expect("an answer"), Frame::Integer(0));
    assert_eq!(client.receive().expect("an answer"), Frame::Integer(1));
}

#[test]
fn announced_lengths_and_random_bytes_do_not_grow_memory() {
    let mut server = Server::bitroster(&[]);
    let before = server.resident_bytes();
    // Announced and never sent: five hundred times half a gigabyte, and a million arguments each.
    let mut waiting: Vec<Client> = Vec::new();
    for _ in 0..250 {
        for start in
            [&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc"[..], b"*1048576\r\n$1\r\na\r\n"]
        {
            let mut client = server.client();
            client.send_raw(start).expect("the server reads");
            waiting.push(client);
        }
    }
    let mut random = Random::announced(5);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..random.below(300))
            .map(|_| match random.below(4) {
                0 => *random.pick(&[&b'*', &b'$', &b'\r', &b'\n', &b'-', &b'1', &b'2', &b'"']),
                _ => random.byte(),
            })
            .collect();
        let mut client = server.client();
        drop(client.send_raw(&bytes));
    }
    assert_eq!(server.client().words("PING").expect("it lives"), Frame::Simple("PONG".into()));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "grew by {} MiB", grown / MIB);
    assert!(server.is_running());
}

#[test]
fn a_client_that_never_reads_is_dropped_before_memory_grows() {
    let server = Server::bitroster(&[]);
    let mut client = server.client();
    let value = "x".repeat(1 << 20);
    client.call(&["SET", "big", &value]).expect("an answer");
    let before = server.resident_bytes();
    let mut request = BytesMut::new();
    encode_request(&["GET", "big"], &mut request);
    let many = request.repeat(3000);
    drop(client.send_raw(&many));
    // Others are served meanwhile, and three gigabytes of replies are not held for it.
    let mut other = server.client();
    for _ in 0..200 {
        assert_eq!(other.words("STRLEN big").expect("an answer"), Frame::Integer(1 << 20));
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 600 * MIB, "grew by {} MiB", grown / MIB);
}

/// Bytes that one command adds to the dataset, by two measures: what the engine accounts for, and
/// what the allocator has handed out (which also holds the log's entry and buffers).
fn cost(server: &Server, commands: &[&str]) -> u64 {
    let mut client = server.client();
    let before = client.info("memory", "used_memory_dataset").expect("a number");
    for command in commands {
        let reply = client.words(command).expect("an answer");
        assert!(!matches!(reply, Frame::Error(_)), "{command}: {reply:?}");
    }
    client.info("memory", "used_memory_dataset").expect("a number") - before
}

#[test]
fn a_far_offset_costs_what_is_set() {
    let server = Server::bitroster(&[]);
    let resident = server.resident_bytes();
    let far = cost(&server, &["SETBIT far 4294967295 1"]);
    assert!((1..1024).contains(&far), "one bit at 2^32-1 costs {far} bytes");
    let two = cost(&server, &["SETBIT two 1 1", "SETBIT two 99999999 1"]);
    assert!((1..1024).contains(&two), "bits 1 and 99,999,999 cost {two} bytes");
    let mut client = server.client();
    assert_eq!(client.words("STRLEN far").expect("an answer"), Frame::Integer(1 << 29));
    assert_eq!(client.words("BITCOUNT far").expect("an answer"), Frame::Integer(1));
    assert_eq!(client.words("BITPOS far 1").expect("an answer"), Frame::Integer(4_294_967_295));
    assert_eq!(client.words("BITPOS far 0").expect("an answer"), Frame::Integer(0));
    let grown = server.resident_bytes().saturating_sub(resident);
    assert!(grown < 16 * MIB, "resident memory grew by {} KiB", grown >> 10);
}

/// Writes a million one-byte values and tells what a key costs, by `used_memory`.
fn bytes_per_small_key(server: &Server) -> u64 {
    const KEYS: u64 = 1_000_000;
    let mut client = server.client();
    let before = client.info("memory", "used_memory").expect("a number");
    for from in (0..KEYS).step_by(1000) {
        let mut request = BytesMut::new();
        for number in from..from + 1000 {
            encode_request(&["SETBIT", &format!("user:{number:07}"), "3", "1"], &mut request);
        }
        client.send_raw(&request).expect("the server reads");
        for _ in 0..1000 {
            assert_eq!(client.receive().expect("an answer"), Frame::Integer(0));
        }
    }
    assert_eq!(client.words("DBSIZE").expect("an answer"), Frame::Integer(1_000_000));
    // Entries that wait for a snapshot are not the dataset; a snapshot lets go of them.
    client.words("BGSAVE").expect("an answer");
    wait::until("the snapshot is written", || {
        let running = client.info("persistence", "rdb_bgsave_in_progress").expect("a number");
        (running == 0).then_some(())
    });
    let after = client.info("memory", "used_memory").expect("a number");
    (after - before) / KEYS
}

#[test]
fn a_million_small_keys_cost_no_more_than_in_redis() {
    let redis = bytes_per_small_key(&Server::redis());
    let bitroster = bytes_per_small_key(&Server::bitroster(&["--set", "storage.sync=interval"]));
    assert!(bitroster <= redis, "a key costs {bitroster} bytes, in redis-server {redis}");
}
