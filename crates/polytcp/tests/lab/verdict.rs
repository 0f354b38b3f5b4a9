//! Whether the kernel agrees with what happened.

use polytcp::Accounting;

use crate::bounded::wait_until;
use crate::world::{Client, Ends, World};

const GROUP: &str = "MPTcpExt";

/// Counters that a sound peer never moves, beside all of fallbacks.
const FAULTS: [&str; 12] = [
    "DSSNotMatching",
    "DSSNoMatchTCP",
    "DSSCorruptionFallback",
    "DSSCorruptionReset",
    "DataCsumErr",
    "MPJoinSynAckHMacFailure",
    "MPJoinAckHMacFailure",
    "MPJoinNoTokenFound",
    "InfiniteMapRx",
    "InfiniteMapTx",
    "MPFailRx",
    "MPFailTx",
];

impl World {
    /// Checks that the kernel knows a sound MPTCP connection with one subflow on every path.
    pub(crate) fn assert_sound(&self, ends: &Ends) {
        let paths = self.plan.links.len();
        let fail = |what: String| -> ! { panic!("{what}\n{}", self.describe(Some(ends))) };
        let info = ends.kernel.mptcp_info().unwrap_or_else(|error| fail(format!("MPTCP_INFO: {error}")));
        if info.is_fallback() || !info.has_remote_key() || !ends.kernel.tcp_is_mptcp().unwrap_or(false) {
            fail("the kernel fell back".into());
        }
        if !ends.stack.is_mptcp().unwrap_or(false) {
            fail("the stack fell back".into());
        }
        if usize::from(info.subflows_total) != paths || usize::from(info.subflows) != paths - 1 {
            fail(format!("the kernel has {} subflows on {paths} paths", info.subflows_total));
        }
        self.assert_no_faults(ends);
        let counters = self.counters();
        let joins = match self.plan.client {
            Client::Stack => counters.value("MPTcpExtMPJoinAckRx"),
            Client::Kernel => counters.value("MPTcpExtMPJoinSynAckRx"),
        };
        if joins != paths as i64 - 1 {
            fail(format!("{joins} joins on {paths} paths"));
        }
    }

    /// Checks the counters alone, which hold also where paths came and went.
    pub(crate) fn assert_no_faults(&self, ends: &Ends) {
        let kernel = self.counters();
        let stack = self.stack.counters();
        let of_kernel =
            kernel.starting_with(GROUP).map(|(name, value)| ("kernel", name, value.unsigned_abs()));
        let of_stack = stack.iter().map(|(name, value)| ("stack", name, value));
        for (whose, name, value) in of_kernel.chain(of_stack) {
            let Some(short) = name.strip_prefix(GROUP) else { continue };
            let fault = FAULTS.contains(&short) || short.contains("Fallback");
            assert!(!fault || value == 0, "{whose}: {name} is {value}\n{}", self.describe(Some(ends)));
        }
        // Each duplicate that the kernel saw is at least one octet that the stack sent again knowingly.
        let duplicates = kernel.value("MPTcpExtDuplicateData").unsigned_abs();
        let again = ends.stack.info().map_or(0, |info| info.bytes_reinjected);
        let times = stack.mptcp_retrans + stack.win_probe;
        assert!(
            duplicates <= again && (duplicates == 0 || times > 0),
            "DuplicateData is {duplicates}, but the stack sent {again} octets again, in {times} pieces\n{}",
            self.describe(Some(ends))
        );
    }

    /// Waits until the stack holds nothing but that many listeners and TIME-WAIT, and returns how many are
    /// in that.
    pub(crate) fn await_quiet(&self, listeners: usize) -> usize {
        let now = || self.stack.accounting();
        let quiet = || {
            let now = now();
            now == Accounting { listeners, time_wait: now.time_wait, ..Accounting::default() }
        };
        wait_until(quiet, || format!("nothing held, {}", self.describe(None)));
        now().time_wait
    }
}
