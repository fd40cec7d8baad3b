//! Goal: a gRPC client that has none of our files works with a real node, and what it writes is
//! what Redis clients read.
//!
//! Method: a Python program with grpcio that learns everything by reflection, run against one
//! process of Bitroster; what it prints is compared line by line.

use bitroster_resp::Frame;
use bitroster_suite::{Server, programs};

const EXPECTED: &[&str] = &[
    concat!(
        r#"["services", ["bitroster.v1.Bitmaps", "bitroster.v1.Commands", "bitroster.v1.Ids", "#,
        r#""bitroster.v1.Keys", "grpc.health.v1.Health"]]"#
    ),
    r#"["set 3", {}]"#,
    r#"["set 3", {"previous": true}]"#,
    r#"["set 3000000", {}]"#,
    r#"["count", {"count": "2"}]"#,
    r#"["execute", {"reply": {"integer": "1"}}]"#,
    r#"["get", {"reply": {"bulk": "EA=="}}]"#,
    concat!(
        r#"["refused", ["INVALID_ARGUMENT", "#,
        r#""ERR bit offset is not an integer or out of range", true]]"#
    ),
    concat!(
        r#"["too far", ["INVALID_ARGUMENT", "#,
        r#""ERR bit offset is not an integer or out of range", true]]"#
    ),
    r#"["import", {"count": "20000"}]"#,
    r#"["list", [true, 20000]]"#,
    r#"["query", {"count": "1"}]"#,
    concat!(
        r#"["pipeline", [[[{"integer": "0"}, {"integer": "1"}], "#,
        r#"[{"integer": "1"}, {"integer": "1"}]], ["ERR", "ERR"]]]"#
    ),
    r#"["age", true]"#,
];

#[test]
fn a_python_client_that_knows_reflection_only_does_what_redis_clients_see() {
    let server = Server::bitroster(&["--groups", "4"]);
    let port = server.grpc_port();
    let said = programs::run(programs::python_grpc(), port);
    for (at, (got, expected)) in said.lines().zip(EXPECTED).enumerate() {
        assert_eq!(got, *expected, "line {}", at + 1);
    }
    assert_eq!(said.lines().count(), EXPECTED.len(), "{said}");
    let mut client = server.client();
    assert_eq!(client.words("GETBIT users 3000000").expect("an answer"), Frame::Integer(1));
    assert_eq!(client.words("BITCOUNT paid").expect("an answer"), Frame::Integer(20_000));
}
