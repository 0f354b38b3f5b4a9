//! Whole hosts over emulated links and middleboxes in virtual time; a seed reproduces a run byte for byte.
//!
//! | module | what |
//! | --- | --- |
//! | [`scenario`], [`quantity`], [`boxes`], [`expect`] | the language of scenario files, and what a file expects |
//! | [`world`] | hosts, links and programs, and the loop around them; under it `path` and `program` |
//! | `tap`, [`watch`], `window`, `capture`, `plot` | who looks at every packet |
//! | [`random`], [`batch`], [`shrink`] | worlds from seeds, many at a time, and a bad one made small |
//! | [`report`] | what came out |
//!
//! [`run`] is all of it: a scenario in, a report out.
#![forbid(unsafe_code)]

pub mod batch;
pub mod boxes;
mod capture;
pub mod expect;
mod path;
mod pattern;
mod plot;
pub mod program;
pub mod quantity;
pub mod random;
pub mod report;
pub mod scenario;
pub mod shrink;
pub mod sysctl;
mod tap;
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
    report.violations.append(&mut world.violations);
    report.violations.dedup();
    Ok((report, world.watchers))
}
