//! Was the reduction of the window needed? What tells it apart afterwards.
//!
//! A reduction is needless when everything that was sent again had arrived in its first copy. Two signs tell
//! that: an acknowledgement that echoes a timestamp older than the first retransmission (Eifel detection,
//! RFC 3522), and duplicates reported for all that was sent again (RFC 3708, as Linux counts them). What
//! follows is the response of RFC 4015, carried out by the flow.

use crate::ranges::Span;
use crate::seq::SeqNum;

/// What is remembered of the latest reduction, until it is undone or another one comes.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    /// SND.UNA at the reduction: reports of what lies before are older.
    marker: SeqNum,
    resent: Option<Resent>,
}

#[derive(Clone, Debug)]
struct Resent {
    /// Our timestamp when the first retransmission left.
    stamp: Option<u32>,
    /// Octets sent again whose second copy was not reported.
    unreported: u32,
}

impl Undo {
    /// A reduction with everything before `snd_una` acknowledged.
    pub(crate) fn new(snd_una: SeqNum) -> Self {
        Self { marker: snd_una, resent: None }
    }

    /// `len` octets leave again, with timestamp `stamp`.
    pub(crate) fn on_resent(&mut self, len: u32, stamp: Option<u32>) {
        let resent = self.resent.get_or_insert(Resent { stamp, unreported: 0 });
        resent.unreported = resent.unreported.saturating_add(len);
    }

    /// What ends at `end` was acknowledged before the reduction, and tells nothing of it.
    pub(crate) fn is_older(&self, end: SeqNum) -> bool {
        !end.after(self.marker)
    }

    /// The peer reports that it has `span` twice; everything before `snd_una` is acknowledged.
    pub(crate) fn on_duplicate(&mut self, span: Span<SeqNum>, snd_una: SeqNum) {
        let counts = span.end.after(self.marker) && !span.end.after(snd_una);
        if let Some(resent) = self.resent.as_mut().filter(|_| counts) {
            resent.unreported = resent.unreported.saturating_sub(span.end.saturating_since(span.start));
        }
    }

    /// The peer has twice whatever was sent again.
    pub(crate) fn is_reported(&self) -> bool {
        self.resent.as_ref().is_some_and(|resent| resent.unreported == 0)
    }

    /// An acknowledgement that echoes `echoed` was caused by an original: nothing had been sent again, or only
    /// later.
    pub(crate) fn is_delayed(&self, echoed: Option<u32>) -> bool {
        match &self.resent {
            None => true,
            Some(Resent { stamp: Some(stamp), .. }) => {
                echoed.is_some_and(|ecr| ecr != 0 && SeqNum(ecr).before(SeqNum(*stamp)))
            }
            Some(Resent { stamp: None, .. }) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u32, to: u32) -> Span<SeqNum> {
        Span::new(SeqNum(from), SeqNum(to))
    }

    #[test]
    fn only_an_echo_older_than_the_first_retransmission_was_caused_by_an_original() {
        let mut undo = Undo::new(SeqNum(100));
        assert!(undo.is_delayed(None), "nothing was sent again");
        undo.on_resent(10, Some(500));
        undo.on_resent(10, Some(600));
        assert!(undo.is_delayed(Some(499)));
        assert!(!undo.is_delayed(Some(500)));
        assert!(!undo.is_delayed(Some(550)));
        assert!(!undo.is_delayed(None));
        assert!(!undo.is_delayed(Some(0)), "no timestamp was echoed");
    }

    #[test]
    fn without_timestamps_no_echo_tells_which_copy_was_meant() {
        let mut undo = Undo::new(SeqNum(100));
        undo.on_resent(10, None);
        assert!(!undo.is_delayed(Some(499)));
        assert!(!undo.is_delayed(None));
    }

    #[test]
    fn a_report_counts_from_the_reduction_to_what_is_acknowledged() {
        let mut undo = Undo::new(SeqNum(100));
        assert!(!undo.is_reported());
        undo.on_resent(10, None);
        undo.on_duplicate(span(90, 100), SeqNum(200));
        undo.on_duplicate(span(200, 210), SeqNum(200));
        undo.on_duplicate(span(100, 105), SeqNum(200));
        assert!(!undo.is_reported());
        undo.on_duplicate(span(105, 110), SeqNum(200));
        assert!(undo.is_reported());
        undo.on_resent(1, None);
        assert!(!undo.is_reported());
    }
}
