//! How the demo went: for people, and as JSON.

use serde::Serialize;

use super::director::{Same, Story};
use super::world::World;
use crate::output::line;
use crate::units::{bytes, mbps, millis, rounded};

/// The least part of a direction's data that counts as use of a path.
const USED_SHARE: f64 = 0.01;

/// The JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// All data arrived unchanged, by MPTCP, and every path carried its part.
    ok: bool,
    /// Carried in each direction.
    bytes: u64,
    seconds: f64,
    /// In each direction.
    goodput_mbps: f64,
    /// Of both links in each direction, as if neither had been cut.
    link_sum_mbps: f64,
    /// The longest time without delivery while the faster link was down.
    longest_pause_ms: f64,
    mptcp: bool,
    paths: Vec<PathReport>,
}

#[derive(Debug, Serialize)]
struct PathReport {
    name: String,
    /// Octets of IP packets that came through, in both directions.
    bytes: u64,
}

impl Report {
    pub(super) fn new(world: &World, size: u64, story: &Story) -> Self {
        let paths: Vec<_> = world
            .paths
            .iter()
            .map(|path| PathReport { name: path.name.clone(), bytes: path.carried().sum() })
            .collect();
        let same = story.directions.iter().all(|direction| *direction == Ok(Same::Yes));
        let used = paths.iter().all(|path| path.bytes as f64 >= size as f64 * USED_SHARE);
        Self {
            ok: same && used && story.mptcp,
            bytes: size,
            seconds: rounded(story.elapsed.as_secs_f64()),
            goodput_mbps: rounded(mbps(size, story.elapsed)),
            link_sum_mbps: rounded(world.link_sum_mbps()),
            longest_pause_ms: rounded(millis(story.longest_pause)),
            mptcp: story.mptcp,
            paths,
        }
    }

    /// Why the demo failed.
    pub(super) fn problem(&self, story: &Story) -> Option<String> {
        for (direction, result) in ["to the peer", "from the peer"].iter().zip(&story.directions) {
            match result {
                Ok(Same::Yes) => {}
                Ok(Same::No) => return Some(format!("the data {direction} arrived changed")),
                Err(error) => return Some(format!("the data {direction} did not arrive: {error}")),
            }
        }
        match self {
            Self { mptcp: false, .. } => Some("the connection fell back to plain TCP".to_owned()),
            Self { ok: false, .. } => Some("one of the paths was hardly used".to_owned()),
            Self { ok: true, .. } => None,
        }
    }

    pub(super) fn print(&self, story: &Story) {
        let carried: u64 = self.paths.iter().map(|path| path.bytes).sum();
        let paths = self.paths.iter().map(|path| {
            let share = path.bytes as f64 * 100.0 / carried.max(1) as f64;
            format!("{} {} ({share:.0} %)", path.name, bytes(path.bytes))
        });
        let same = story.directions.iter().all(|direction| *direction == Ok(Same::Yes));
        let offered = self.link_sum_mbps - story.fast_mbps * story.outage_share();
        let percent = self.goodput_mbps * 100.0 / offered.max(1.0);
        line("");
        line(&format!("SHA-256        {}", if same { "equal in both directions" } else { "NOT EQUAL" }));
        line(&format!("protocol       {}", if self.mptcp { "MPTCP" } else { "TCP (fallback)" }));
        line(&format!("data           {} each way in {:.2} s", bytes(self.bytes), self.seconds));
        line(&format!(
            "goodput        {:.1} Mbit/s each way, {percent:.0} % of the links' sum ({:.0} Mbit/s, and {:.0} for the \
             {:.1} s of the cut)",
            self.goodput_mbps,
            self.link_sum_mbps,
            self.link_sum_mbps - story.fast_mbps,
            story.outage.as_secs_f64(),
        ));
        line(&format!("longest pause  {:.0} ms of delivery at the cut", self.longest_pause_ms));
        line(&format!("paths          {}", paths.collect::<Vec<_>>().join(", ")));
    }
}
