//! Goes through all executions of a scenario: depth first, each from its start.
//!
//! A future cannot be cloned, so the way to a state is gone again for each choice there; a state
//! that was met before is left alone, however it was reached.

use std::{collections::HashSet, env, fmt::Write as _, time::Instant};

use super::{
    scenario::Scenario,
    world::{Choice, Verdict, World},
};

/// What was gone through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    /// Executions, to their end or to a state met before.
    pub(crate) executions: u64,
    pub(crate) states: usize,
    /// Steps of the longest one.
    pub(crate) longest: usize,
    /// Executions in which a command made more requests than any should.
    pub(crate) cut: u64,
}

/// The choices at one state, and which one is being followed.
struct Fork {
    choices: Vec<Choice>,
    taken: usize,
}

/// Goes through a scenario; the first execution that is wrong is told step by step.
///
/// # Errors
///
/// What is wrong, and how it came to be.
#[expect(clippy::print_stderr, reason = "says how much was seen")]
pub(crate) fn explore(mut scenario: Scenario) -> Result<Coverage, String> {
    if let Ok(faults) = env::var("EXPLORE_FAULTS") {
        scenario.faults = faults.parse().expect("EXPLORE_FAULTS is a number");
    }
    if let Some(depth) = env::var_os("EXPLORE_DEEP") {
        (scenario.finishers, scenario.is_hasty) = (1, depth == "2");
    }
    scenario.prepare();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // Timers may be made, and never fire.
    let guard = runtime.enter();
    let began = Instant::now();
    let mut coverage = Coverage::default();
    let most = scenario.faults;
    // Few faults first: what they show is told with as few of them as it takes.
    for faults in 0..=most {
        scenario.faults = faults;
        let result = search(&scenario, &mut coverage);
        eprintln!("{}, {faults} faults: {coverage:?} in {:?}", scenario.name, began.elapsed());
        result?;
    }
    drop(guard);
    Ok(coverage)
}

fn search(scenario: &Scenario, coverage: &mut Coverage) -> Result<(), String> {
    let mut met: HashSet<u64> = HashSet::new();
    let mut forks: Vec<Fork> = Vec::new();
    let started = coverage.executions;
    loop {
        let mut world = World::new(scenario);
        let mut verdict = world.begin();
        for fork in &forks {
            verdict = verdict.and_then(|()| world.step(fork.choices[fork.taken]));
        }
        // Only the last step of these is new.
        while verdict.is_ok() && met.insert(world.hash()) {
            let choices = world.choices();
            let Some(first) = choices.first().copied() else { break };
            forks.push(Fork { choices, taken: 0 });
            verdict = world.step(first);
        }
        coverage.executions += 1;
        coverage.longest = coverage.longest.max(forks.len());
        if world.is_cut {
            coverage.cut += 1;
            if env::var_os("EXPLORE_CUT").is_some() && verdict.is_ok() {
                verdict = Err("a command asks again and again".into());
            }
        }
        if let Err(wrong) = verdict {
            coverage.states += met.len();
            return Err(told(scenario, &forks, &wrong));
        }
        while let Some(fork) = forks.last_mut() {
            fork.taken += 1;
            if fork.taken < fork.choices.len() {
                break;
            }
            forks.pop();
        }
        if forks.is_empty() {
            coverage.states += met.len();
            assert!(coverage.executions > started);
            return Ok(());
        }
    }
}

/// An execution step by step.
fn told(scenario: &Scenario, forks: &[Fork], wrong: &str) -> String {
    let mut world = World::new(scenario);
    world.tells = Some(Vec::new());
    let mut verdict: Verdict = world.begin();
    for fork in forks {
        verdict = verdict.and_then(|()| world.step(fork.choices[fork.taken]));
    }
    assert!(verdict.is_ok() || verdict == Err(wrong.into()), "the same steps end in the same way");
    let mut text = format!("{}: {wrong}\nafter {} steps:\n", scenario.name, forks.len());
    for (at, line) in world.tells.unwrap_or_default().iter().enumerate() {
        writeln!(text, "{at:4} {line}").unwrap();
    }
    text
}
