//! Payload of a subflow on its way to the data level: by its mappings, and with checksums not before a mapping is
//! whole and right (RFC 8684 §3.3, §3.3.1).

use bytes::Bytes;

use super::checksum::Verdict;
use super::fallback::{Failing, FallbackReason};
use super::hook::{Hook, Mode, reset_reason};
use super::mapping::{MappingFault, Part, PeerMapping};
use super::subflow::HeldTag;
use crate::seq::Ssn;
use crate::tcp::extension::Abort;
use crate::tcp::flow::Env;

impl Hook<'_> {
    /// Hands in-order payload on by its mappings.
    pub(super) fn deliver_mapped(
        &mut self,
        env: &mut Env<'_>,
        mut ssn: Ssn,
        mut rest: Bytes,
        buffer_bytes: u32,
        held: HeldTag,
    ) -> Result<(), Abort> {
        let mut result = self.mp.cursor.see(ssn, held);
        while result.is_ok() && !rest.is_empty() {
            result = match self.mp.cursor.next_part(ssn, &mut rest, held) {
                Ok(part) => {
                    ssn += part.bytes.len() as u32;
                    // Each part pins the whole buffer, since the others may be gone: of old data, or beyond the window.
                    self.take_part(env, part, buffer_bytes)?
                }
                Err(fault) => Err(fault),
            };
            if self.data.mode == Mode::Plain {
                // A wrong checksum did that.
                break;
            }
        }
        match result {
            Ok(()) => {}
            Err(MappingFault::Unmapped) => {
                env.counters.dss_no_match_tcp += u64::from(ssn != Ssn(1));
                // A segment without any mapping that is no fallback of the peer's: the path takes no DSS any more, and
                // what the peer sends again at data level could not be told from new data (RFC 8684 §3.7).
                let may_be_plain =
                    self.mp.acked_bare.is_some() || !self.is_proven() || self.data.failing != Failing::No;
                let is_stripped = held.is_none() && !may_be_plain;
                if is_stripped || self.data.rcv.nxt() != self.data.rcv.contiguous_at(ssn) {
                    env.counters.fallback_failed += 1;
                    return Err(Abort { reason: reset_reason::MIDDLEBOX });
                }
                self.fall_back_alone_or(env, FallbackReason::Dss, reset_reason::MIDDLEBOX)?;
            }
            Err(MappingFault::Contradiction) => {
                env.counters.dss_not_matching += 1;
                return Err(Abort { reason: reset_reason::MPTCP_ERROR });
            }
        }
        if !rest.is_empty() {
            self.data.rcv.append(rest.clone(), buffer_bytes);
        }
        Ok(())
    }

    /// Takes octets of one mapping: to the data level, or first to where they wait to be verified.
    fn take_part(
        &mut self,
        env: &mut Env<'_>,
        part: Part,
        pinned: u32,
    ) -> Result<Result<(), MappingFault>, Abort> {
        let Part { mapping, into, bytes } = part;
        if !self.data.checksums {
            self.data.rcv.insert(mapping.dsn + u64::from(into), bytes, pinned);
            return Ok(Ok(()));
        }
        match self.mp.unverified.get_or_insert_default().take(&mapping, into, bytes, pinned) {
            Verdict::Partial => {
                let is_next = self.data.rcv.nxt().within(mapping.dsn, u64::from(mapping.len));
                // A window that ends within it would never open.
                self.mp.ack_wanted |= is_next && self.data.rcv.promise(mapping.end());
            }
            Verdict::Right => {
                self.data.checksum_seen = true;
                self.accept_mapping(&mapping);
            }
            Verdict::Wrong => self.on_wrong_checksum(env, &mapping)?,
            Verdict::Headless => return Ok(Err(MappingFault::Contradiction)),
        }
        Ok(Ok(()))
    }

    /// Hands on what is held of a mapping, all of it.
    pub(super) fn accept_mapping(&mut self, mapping: &PeerMapping) {
        let mut dsn = mapping.dsn;
        while let Some((bytes, pinned)) = self.mp.unverified.as_mut().and_then(|held| held.pop()) {
            let len = bytes.len() as u64;
            self.data.rcv.insert(dsn, bytes, pinned);
            dsn += len;
        }
        if mapping.fin {
            self.data.rcv.handle_fin(mapping.end());
        }
    }
}
