//! Goal: the load records what clients saw, faithfully enough to be checked.
//!
//! Method: a load on one process of Bitroster, which serializes everything; then the same history
//! with single answers turned around, which the checker must refuse.

use bitroster_suite::{
    LoadPlan, Random, Server,
    checker::check,
    history::{Kind, Outcome},
};

#[test]
fn a_load_on_one_process_is_linearizable_and_no_longer_when_an_answer_is_changed() {
    let server = Server::bitroster(&["--groups", "4"]);
    let load = LoadPlan::new(vec![([127, 0, 0, 1], server.port()).into()], 7).start();
    load.wait_for_answers(5_000);
    let history = load.stop_and_read();
    let tally = history.tally();
    assert!(tally.sets > 1_000 && tally.gets > 1_000, "{tally}");
    assert_eq!((tally.unknown, tally.refused), (0, 0));
    check(&history).expect("one process is linearizable");

    let mut random = Random::announced(8);
    let mut found = 0;
    for _ in 0..100 {
        let mut broken = history.clone();
        let at = random.index(broken.operations.len());
        let operation = &mut broken.operations[at];
        let Outcome::Answered(bit) = operation.outcome else { continue };
        if random.one_in(2) {
            operation.outcome = Outcome::Answered(!bit);
        } else if let Kind::Set(value) = &mut operation.kind {
            *value = !*value;
        } else {
            continue;
        }
        found += u32::from(check(&broken).is_err());
    }
    // A few changes are hidden by what ran at the same time.
    assert!(found > 50, "only {found} of 100 changed answers were found");
}
