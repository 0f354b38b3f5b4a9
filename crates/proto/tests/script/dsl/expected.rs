//! What the host has to send, compared with what it sent.

use polytcp_proto::mptcp::key::{Key, Nonce, add_addr_hmac, join_hmac};
use polytcp_wire::mptcp::{AddAddrAuth, Capable, CapableForm, DataAck, Dss, DssDsn, Join, MptcpOption};
use polytcp_wire::tcp::TcpFlags;
use polytcp_wire::tcp_options::TcpOptions;

use super::script::{Line, Script, Seen};
use super::segment::{Mp, Seg, Width};
use super::{PEER_KEY, PEER_NONCE, dss_checksum};

impl Script {
    /// The next segment that the host sent is this one.
    #[track_caller]
    pub fn sends(&mut self, expected: Seg) -> &mut Self {
        let Some(seen) = self.out.pop_front() else {
            self.fail(format_args!("nothing was sent; expected {expected:?}"))
        };
        if let Err(what) = self.compare(&seen, &expected) {
            let text = self.describe(&seen);
            self.fail(format_args!("{what}\n sent     {text}\n expected {expected:?}"));
        }
        self
    }

    /// One past the last octet of what was sent and not named yet, on the first subflow; 0 without any.
    pub fn sent_to(&self) -> u32 {
        let end = |s: &Seen| s.header.seq.wrapping_sub(self.host_iss(0)) + s.payload.len() as u32;
        self.out.iter().map(end).max().unwrap_or(0)
    }

    /// The Fast Open cookie of the next segment.
    pub fn fast_open_cookie(&self) -> Vec<u8> {
        let next = self.out.front().expect("something was sent");
        next.options.fast_open.expect("a cookie").as_slice().to_vec()
    }

    /// The subflow of the next segment.
    pub fn sent_on(&self) -> usize {
        self.out.front().and_then(|seen| seen.line).expect("something was sent")
    }

    /// The first segment, sent and not named yet, that is on another subflow than `on`.
    pub fn sent_on_other(&self, on: usize) -> Option<usize> {
        self.out.iter().filter_map(|seen| seen.line).find(|line| *line != on)
    }

    /// The next segment, whatever it is.
    #[track_caller]
    pub fn sends_any(&mut self) -> &mut Self {
        if self.out.pop_front().is_none() {
            self.fail(format_args!("nothing was sent"));
        }
        self
    }

    #[track_caller]
    pub fn sends_nothing(&mut self) -> &mut Self {
        if let Some(seen) = self.out.pop_front() {
            let text = self.describe(&seen);
            self.fail(format_args!("not expected: {text}"));
        }
        self
    }

    /// Forgets what was sent; returns how many segments that were.
    #[track_caller]
    pub fn ignores(&mut self) -> usize {
        let count = self.out.len();
        self.out.clear();
        count
    }

    /// The announced windows of what was sent and not named yet, with the acknowledgements before them, relative.
    #[track_caller]
    pub fn drain_edges(&mut self) -> Vec<(u32, u16)> {
        let iss: Vec<u32> = self.lines.iter().map(|l| l.peer_iss).collect();
        self.out
            .drain(..)
            .map(|s| (s.header.ack.wrapping_sub(iss[s.line.unwrap_or(0)]), s.header.window))
            .collect()
    }

    /// IP headers and urgent pointers of what was sent and not named yet.
    pub fn drain_headers(&mut self) -> Vec<(Vec<u8>, u16)> {
        self.out.drain(..).map(|s| (s.ip_header, s.header.urgent)).collect()
    }

    /// Payload lengths of what was sent and not named yet.
    pub fn drain_lens(&mut self) -> Vec<usize> {
        self.out.drain(..).map(|s| s.payload.len()).collect()
    }

    #[track_caller]
    fn compare(&self, seen: &Seen, want: &Seg) -> Result<(), String> {
        let Some(index) = seen.line else { return Err("a four-tuple that the script does not know".into()) };
        if index != want.subflow {
            return Err(format!("on subflow {index}, not {}", want.subflow));
        }
        let line = &self.lines[index];
        let ignored = TcpFlags::PSH.0;
        if seen.header.flags.0 & !ignored != want.flags & !ignored {
            return Err("flags".into());
        }
        if want.push.is_some_and(|push| push != seen.header.flags.contains(TcpFlags::PSH)) {
            return Err("PSH".into());
        }
        let host_iss = line.host_iss.unwrap_or(0);
        let is = |what: &str, seen: u32, want: Option<u32>| match want {
            Some(want) if want != seen => Err(format!("{what} {seen}, not {want}")),
            _ => Ok(()),
        };
        is("seq", seen.header.seq.wrapping_sub(host_iss), want.seq)?;
        is("ack", seen.header.ack.wrapping_sub(line.peer_iss), want.ack)?;
        is("window", seen.header.window.into(), want.window.map(u32::from))?;
        is("mss", seen.options.mss.unwrap_or(0).into(), want.mss.map(u32::from))?;
        is("wscale", seen.options.window_scale.map_or(99, u32::from), want.wscale.map(u32::from))?;
        is("ecn", seen.ecn.into(), want.ecn.map(u32::from))?;
        is("hop limit", seen.hop_limit.into(), want.hop_limit.map(u32::from))?;
        match want.payload_len {
            Some(len) if seen.payload.len() != len => return Err(format!("{} octets", seen.payload.len())),
            _ if seen.payload != want.payload => {
                return Err(format!("payload of {} octets", seen.payload.len()));
            }
            _ => {}
        }
        let cookie = seen.options.fast_open.map(|cookie| cookie.as_slice().to_vec());
        if cookie != want.fast_open {
            return Err(format!("Fast Open {cookie:02x?}, not {:02x?}", want.fast_open));
        }
        if want.ts.is_some_and(|ts| ts != seen.options.timestamps.is_some()) {
            return Err("timestamps".into());
        }
        if want.sack_ok.is_some_and(|ok| ok != seen.options.sack_permitted) {
            return Err("SACK-permitted".into());
        }
        is("TSecr", seen.options.timestamps.map_or(0, |ts| ts.ecr), want.ts_ecr)?;
        if let Some(blocks) = &want.sack {
            let found: Vec<_> = seen
                .options
                .sack
                .iter()
                .map(|b| (b.left.wrapping_sub(line.peer_iss), b.right.wrapping_sub(line.peer_iss)))
                .collect();
            if found != *blocks {
                return Err(format!("SACK {found:?}, not {blocks:?}"));
            }
        }
        if want.plain && !seen.options.mptcp.is_empty() {
            return Err("an MPTCP option".into());
        }
        for option in &want.mptcp {
            if !seen.options.mptcp.iter().any(|found| self.option_is(line, found, option)) {
                return Err(format!("no {option:?}"));
            }
        }
        Ok(())
    }

    #[track_caller]
    fn option_is(&self, line: &Line, found: &MptcpOption, want: &Mp) -> bool {
        let peer = Key::from_wire(PEER_KEY);
        let host = self.host_key;
        match (found, want) {
            (MptcpOption::Capable(c), Mp::CapableSyn { flags }) => {
                matches!(c.form, CapableForm::Syn) && c.flags == *flags
            }
            (MptcpOption::Capable(c), Mp::CapableSynAck { a, c: deny }) => {
                matches!(c.form, CapableForm::SynAck { .. })
                    && c.flags.checksum_required == *a
                    && c.flags.deny_join_initial == *deny
            }
            (MptcpOption::Capable(c), Mp::CapableAck { a, c: deny }) => {
                matches!(c.form, CapableForm::Ack { receiver_key: PEER_KEY, .. })
                    && c.flags.checksum_required == *a
                    && c.flags.deny_join_initial == *deny
            }
            (MptcpOption::Capable(c), Mp::CapableData { len, a, c: deny, csum }) => {
                matches!(
                    c.form,
                    CapableForm::Data { receiver_key: PEER_KEY, data_len, checksum, .. }
                        if data_len == *len && checksum.is_some() == csum.is_some()
                ) && c.flags.checksum_required == *a
                    && c.flags.deny_join_initial == *deny
            }
            (MptcpOption::Fail { dsn }, Mp::Fail { dsn: want }) => *dsn == (peer.idsn() + *want).0,
            (MptcpOption::Dss(dss), Mp::Dss { ack, map, fin, csum }) => {
                let Some(host) = host else { return false };
                let ack_is = ack.is_none_or(|(to, width)| {
                    let to = (peer.idsn() + to).0;
                    match dss.data_ack {
                        Some(DataAck::Four(low)) => low == to as u32 && width != Width::Eight,
                        Some(DataAck::Eight(full)) => full == to && width != Width::Four,
                        None => false,
                    }
                });
                let map_is = match (map, dss.mapping) {
                    (None, None) => true,
                    (Some((dsn, _, ssn, len)), Some(m)) => {
                        let dsn = (host.idsn() + *dsn).0;
                        let dsn_is = match m.dsn {
                            DssDsn::Four(low) => low == dsn as u32,
                            DssDsn::Eight(full) => full == dsn,
                        };
                        dsn_is && m.ssn == *ssn && m.len == *len && m.checksum.is_some() == csum.is_some()
                    }
                    _ => false,
                };
                ack_is && map_is && dss.data_fin == *fin
            }
            (MptcpOption::Join(Join::Syn { token, .. }), Mp::AnyJoinSyn) => *token == peer.token().0,
            (MptcpOption::Join(Join::SynAck { hmac, nonce, .. }), Mp::JoinSynAck { right: true, .. }) => host
                .is_some_and(|host| {
                    join_hmac(host, peer, Nonce(*nonce), Nonce(PEER_NONCE)).leftmost_64() == *hmac
                }),
            (MptcpOption::Join(Join::Ack { hmac }), Mp::JoinAck { right: true }) => {
                host.is_some_and(|host| {
                    join_hmac(host, peer, Nonce(line.host_nonce), Nonce(PEER_NONCE)).leftmost_160() == *hmac
                })
            }
            (MptcpOption::AddAddr(add), Mp::AddAddr { id, address, port, .. }) => {
                let right = host.map(|host| add_addr_hmac(host, peer, *id, *address, *port));
                add.address_id == *id
                    && add.address == *address
                    && add.port == *port
                    && matches!(add.auth, AddAddrAuth::Hmac(hmac) if Some(hmac) == right)
            }
            (MptcpOption::AddAddr(add), Mp::Echo { id, address, port }) => {
                add.address_id == *id
                    && add.address == *address
                    && add.port == *port
                    && add.auth == AddAddrAuth::Echo
            }
            (MptcpOption::RemoveAddr(ids), Mp::Remove(want)) => ids.as_slice() == want,
            (MptcpOption::Prio(prio), Mp::Prio { backup }) => prio.backup == *backup,
            (MptcpOption::FastClose { receiver_key }, Mp::FastClose { .. }) => *receiver_key == PEER_KEY,
            (MptcpOption::Reset(reset), Mp::TcpRst { reason }) => reset.reason == *reason,
            (MptcpOption::Reset(_), Mp::AnyTcpRst) => true,
            (found, Mp::Raw(want)) => found == want,
            _ => false,
        }
    }

    /// The checksum that the host sent with a mapping that is whole on its segment has to be right.
    #[track_caller]
    pub(super) fn judge_checksum(&mut self, options: &TcpOptions, payload: &[u8]) {
        for option in options.mptcp.iter() {
            let (dsn, ssn, len, fin, found) = match option {
                MptcpOption::Dss(Dss { mapping: Some(m), data_fin, .. }) => {
                    let DssDsn::Eight(dsn) = m.dsn else { continue };
                    (dsn, m.ssn, m.len, *data_fin, m.checksum)
                }
                MptcpOption::Capable(Capable {
                    form: CapableForm::Data { data_len, checksum, .. }, ..
                }) => ((self.keys().0.idsn() + 1).0, 1, *data_len, false, *checksum),
                _ => continue,
            };
            let Some(found) = found else { continue };
            self.checksums.push(found);
            if len == 0 {
                assert_eq!(found, 0, "the infinite mapping's checksum");
            } else if usize::from(len - u16::from(fin)) == payload.len() {
                assert_eq!(found, dss_checksum(dsn, ssn, len, payload), "the checksum of {option:?}");
            }
        }
    }
}
