//! Whole hosts over emulated links and middleboxes in virtual time; a seed reproduces a run byte for byte.
//!
//! | module | what |
//! | --- | --- |
//! | [`scenario`], [`quantity`], [`boxes`], [`expect`] | the language of scenario files, and what a file expects |
//! | [`world`] | hosts, links and programs, and the loop around them; under it `path` and `program` |
//! | `tap`, [`watch`], `window`, `rules`, `capture`, `plot` | who looks at every packet; `rules` has its own proofs of keys |
//! | [`random`], [`batch`], [`search`], [`shrink`] | worlds from seeds, many at a time, the first bad one, and it made small |
//! | [`coverage`], `special` | what such worlds have to contain, and those about one thing each |
//! | `filled` | which general worlds have to fill their links, and how far |
//! | [`report`] | what came out |
//!
//! [`run`] is all of it: a scenario in, a report out.
#![forbid(unsafe_code)]

pub mod batch;
pub mod boxes;
mod capture;
pub mod coverage;
pub mod expect;
mod filled;
mod path;
mod pattern;
mod plot;
pub mod program;
mod proofs;
pub mod quantity;
pub mod random;
pub mod report;
mod rules;
pub mod scenario;
pub mod search;
pub mod shrink;
mod special;
pub mod sysctl;
mod tap;
#[cfg(test)]
mod test_support;
pub mod watch;
mod window;
pub mod world;

pub use report::Report;
pub use scenario::Scenario;
pub use watch::Watchers;

/// Runs a scenario.
///
/// # Errors
/// One line that says why its world cannot be built.
pub fn run(scenario: &Scenario, watchers: Watchers) -> Result<(Report, Watchers), String> {
    let mut world = world::World::new(scenario, watchers)?;
    world.run_traffic();
    let mut report = Report::of(&world);
    world.run_down();
    world.judge_whole();
    report.violations.append(&mut world.violations);
    report.violations.dedup();
    Ok((report, world.watchers))
}
