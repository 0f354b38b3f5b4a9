//! What a host counts, under Linux's names.
//!
//! [`Counters`] holds every `MPTcpExt` counter of Linux 6.18 and those of `Ip`, `Icmp`, `Tcp` and `TcpExt` (and the
//! IPv6 pair) that a stack of this kind can have. A monitor reads them as it reads /proc/net/netstat: in that order,
//! by those names. All count events since the host was made, but for the gauges, which say so.
//!
//! The code that decides increments the field; nothing reads a counter to decide. A counter of Linux that has no
//! event here is listed all the same, so that a monitor finds it, and its description says why it stays 0.

/// Declares the groups, the struct and its two ways of reading from one table, so that no name can be missing
/// from any of them. A line is: field, Linux's name, description.
macro_rules! counters {
    ($($(#[$group_doc:meta])* $group:ident $prefix:literal {
        $($field:ident $name:literal $doc:literal;)+
    })+) => {
        /// The groups that Linux prints counters in.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Group {
            $($(#[$group_doc])* $group,)+
        }

        impl Group {
            /// All groups, in the order of [`Counters::iter`].
            pub const ALL: &[Self] = &[$(Self::$group),+];

            /// The word before the colon in /proc, which nstat puts before each name.
            pub const fn prefix(self) -> &'static str {
                match self {
                    $(Self::$group => $prefix,)+
                }
            }
        }

        /// The counters of one host.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(
                #[doc = concat!("`", $prefix, $name, "`: ", $doc)]
                pub $field: u64,
            )+)+
        }

        impl Counters {
            /// Number of counters.
            pub const COUNT: usize = [$($($name),+),+].len();

            fn entries(&self) -> [Entry; Self::COUNT] {
                [$($(
                    Entry { group: Group::$group, full_name: concat!($prefix, $name), value: self.$field },
                )+)+]
            }
        }
    };
}

counters! {
    /// IPv4: `Ip` of /proc/net/snmp.
    Ip "Ip" {
        ip_in_receives "InReceives" "IPv4 packets received, bad ones included.";
        ip_in_hdr_errors "InHdrErrors" "IPv4 packets with a broken header.";
        ip_in_addr_errors "InAddrErrors" "IPv4 packets to an address that is not the host's.";
        ip_in_unknown_protos "InUnknownProtos" "IPv4 packets of a protocol that the host does not speak.";
        ip_in_discards "InDiscards" "Never incremented: nothing between the header and TCP or ICMP needs room.";
        ip_in_delivers "InDelivers" "IPv4 packets handed to TCP or ICMP.";
        ip_out_requests "OutRequests" "IPv4 packets sent; a super-packet counts once.";
        ip_out_discards "OutDiscards" "IPv4 packets that could not leave: their device was down or gone, or too many replies waited.";
        ip_out_no_routes "OutNoRoutes" "IPv4 connections and joins that found no interface to leave by.";
        ip_reasm_reqds "ReasmReqds" "IPv4 fragments received; each is dropped.";
        ip_reasm_fails "ReasmFails" "IPv4 fragments dropped, which is all of them.";
    }
    /// ICMP: `Icmp` of /proc/net/snmp.
    Icmp "Icmp" {
        icmp_in_msgs "InMsgs" "ICMP messages received, bad ones included.";
        icmp_in_errors "InErrors" "ICMP messages that are too short or damaged.";
        icmp_in_csum_errors "InCsumErrors" "ICMP messages with a wrong checksum, also counted in `icmp_in_errors`.";
        icmp_in_dest_unreachs "InDestUnreachs" "Destination-unreachable messages received, whatever their code.";
        icmp_in_echos "InEchos" "Echo requests received.";
        icmp_out_msgs "OutMsgs" "ICMP messages sent.";
        icmp_out_echo_reps "OutEchoReps" "Echo replies sent.";
    }
    /// TCP: `Tcp` of /proc/net/snmp, both address families.
    Tcp "Tcp" {
        active_opens "ActiveOpens" "Connections opened by this host (CLOSED to SYN-SENT).";
        passive_opens "PassiveOpens" "Connections opened by peers (LISTEN to SYN-RECEIVED).";
        attempt_fails "AttemptFails" "Handshakes that failed, those of either side.";
        estab_resets "EstabResets" "Flows that ended in ESTABLISHED or CLOSE-WAIT without both FINs.";
        curr_estab "CurrEstab" "Gauge: flows in ESTABLISHED or CLOSE-WAIT, each subflow being one.";
        in_segs "InSegs" "Segments received, bad ones included; a super-packet counts once.";
        out_segs "OutSegs" "Segments sent, without retransmissions; a super-packet counts the segments that it is cut into.";
        retrans_segs "RetransSegs" "Segments retransmitted, counted as `out_segs` is. Linux counts a repeated SYN/ACK in both.";
        in_errs "InErrs" "Segments received in error.";
        out_rsts "OutRsts" "Segments sent with RST.";
        in_csum_errors "InCsumErrors" "Segments received with a wrong checksum, also counted in `in_errs`.";
    }
    /// IPv6: `Ip6` of /proc/net/snmp6.
    Ip6 "Ip6" {
        ip6_in_receives "InReceives" "IPv6 packets received, bad ones included.";
        ip6_in_hdr_errors "InHdrErrors" "IPv6 packets with a broken header.";
        ip6_in_no_routes "InNoRoutes" "Never incremented: nothing is forwarded; such packets are in `ip6_in_addr_errors`.";
        ip6_in_addr_errors "InAddrErrors" "IPv6 packets to an address that is not the host's.";
        ip6_in_unknown_protos "InUnknownProtos" "IPv6 packets of a protocol that the host does not speak.";
        ip6_in_discards "InDiscards" "Never incremented: nothing between the header and TCP or ICMPv6 needs room.";
        ip6_in_delivers "InDelivers" "IPv6 packets handed to TCP or ICMPv6.";
        ip6_out_requests "OutRequests" "IPv6 packets sent; a super-packet counts once.";
        ip6_out_discards "OutDiscards" "IPv6 packets that could not leave: their device was down or gone, or too many replies waited.";
        ip6_out_no_routes "OutNoRoutes" "IPv6 connections and joins that found no interface to leave by.";
        ip6_reasm_reqds "ReasmReqds" "IPv6 fragments received; each is dropped.";
        ip6_reasm_fails "ReasmFails" "IPv6 fragments dropped, which is all of them.";
    }
    /// ICMPv6: `Icmp6` of /proc/net/snmp6.
    Icmp6 "Icmp6" {
        icmp6_in_msgs "InMsgs" "ICMPv6 messages received, bad ones included.";
        icmp6_in_errors "InErrors" "ICMPv6 messages that are too short or damaged.";
        icmp6_out_msgs "OutMsgs" "ICMPv6 messages sent.";
        icmp6_in_csum_errors "InCsumErrors" "ICMPv6 messages with a wrong checksum, also counted in `icmp6_in_errors`.";
        icmp6_in_dest_unreachs "InDestUnreachs" "Destination-unreachable messages received.";
        icmp6_in_pkt_too_bigs "InPktTooBigs" "Packet-too-big messages received.";
        icmp6_in_echos "InEchos" "Echo requests received.";
        icmp6_out_echo_replies "OutEchoReplies" "Echo replies sent.";
    }
    /// TCP: `TcpExt` of /proc/net/netstat.
    TcpExt "TcpExt" {
        syncookies_sent "SyncookiesSent" "SYN cookies sent.";
        syncookies_recv "SyncookiesRecv" "SYN cookies that came back.";
        syncookies_failed "SyncookiesFailed" "Third ACKs without a request whose SYN cookie was wrong or old.";
        embryonic_rsts "EmbryonicRsts" "Requests that ended with a reset, of the peer or for want of room.";
        ofo_pruned "OfoPruned" "Times that out-of-order data was given up for want of receive memory.";
        out_of_window_icmps "OutOfWindowIcmps" "ICMP errors that quote a sequence number outside the window, dropped.";
        time_wait "TW" "Connections that entered TIME-WAIT; as in Linux, whose own description says that they left it.";
        time_wait_recycled "TWRecycled" "TIME-WAITs that ended early for a connection of this host. As in Linux, those that a peer's SYN ends do not count.";
        paws_active "PAWSActive" "Never incremented: what a SYN/ACK echoes is not judged.";
        paws_estab "PAWSEstab" "Segments rejected by PAWS on established connections.";
        beyond_window "BeyondWindow" "Segments that end beyond the receive window, and are dropped.";
        ts_ecr_rejected "TSEcrRejected" "Never incremented: what the third ACK echoes is not judged.";
        paws_old_ack "PAWSOldAck" "Never incremented: such acknowledgements are in `paws_estab`.";
        paws_timewait "PAWSTimewait" "Segments rejected by PAWS in TIME-WAIT.";
        delayed_acks "DelayedACKs" "Acknowledgements that the delay timer sent.";
        delayed_ack_lost "DelayedACKLost" "Segments received again of which everything had been acknowledged.";
        listen_overflows "ListenOverflows" "Accept queues that were full when a handshake ended.";
        listen_drops "ListenDrops" "Connection requests dropped at a listener, for any reason.";
        tcp_pure_acks "TCPPureAcks" "Acknowledgements without data received.";
        tcp_reno_recovery "TCPRenoRecovery" "Fast recoveries without SACK.";
        tcp_sack_recovery "TCPSackRecovery" "Fast recoveries with SACK.";
        tcp_sack_reneging "TCPSACKReneging" "Peers that dropped data which they had acknowledged selectively.";
        tcp_sack_reorder "TCPSACKReorder" "Reordering detected by SACK.";
        tcp_reno_reorder "TCPRenoReorder" "Never incremented: without SACK, reordering is not measured.";
        tcp_ts_reorder "TCPTSReorder" "Reordering detected by timestamps.";
        tcp_full_undo "TCPFullUndo" "Window reductions undone because no retransmission was needed.";
        tcp_partial_undo "TCPPartialUndo" "Window reductions undone at a partial acknowledgement.";
        tcp_dsack_undo "TCPDSACKUndo" "Window reductions undone by D-SACK.";
        tcp_loss_undo "TCPLossUndo" "Window reductions undone after a spurious timeout.";
        tcp_lost_retransmit "TCPLostRetransmit" "Retransmissions that were lost themselves.";
        tcp_fast_retrans "TCPFastRetrans" "Segments retransmitted in fast recovery.";
        tcp_slow_start_retrans "TCPSlowStartRetrans" "Segments retransmitted in slow start after a timeout.";
        tcp_timeouts "TCPTimeouts" "Expiries of the retransmission timer.";
        tcp_loss_probes "TCPLossProbes" "Tail loss probes sent.";
        tcp_loss_probe_recovery "TCPLossProbeRecovery" "Losses repaired by a tail loss probe.";
        tcp_rcv_collapsed "TCPRcvCollapsed" "Never incremented: small payloads are copied out of their buffers as they come.";
        tcp_dsack_old_sent "TCPDSACKOldSent" "D-SACKs sent for old data.";
        tcp_dsack_ofo_sent "TCPDSACKOfoSent" "D-SACKs sent for out-of-order data.";
        tcp_dsack_recv "TCPDSACKRecv" "D-SACKs received for old data.";
        tcp_dsack_ofo_recv "TCPDSACKOfoRecv" "D-SACKs received for out-of-order data.";
        tcp_abort_on_data "TCPAbortOnData" "Connections aborted because data came after close.";
        tcp_abort_on_close "TCPAbortOnClose" "Connections aborted because they were closed with unread data.";
        tcp_abort_on_memory "TCPAbortOnMemory" "Never incremented: orphans have no limit of memory of their own.";
        tcp_abort_on_timeout "TCPAbortOnTimeout" "Flows given up because nobody answered: SYNs, data, window probes, keep-alives.";
        tcp_abort_on_linger "TCPAbortOnLinger" "Never incremented: there is no `TCP_LINGER2`, whose negative values these are.";
        tcp_sack_discard "TCPSACKDiscard" "SACK blocks of what was never sent, or that end before they begin.";
        tcp_dsack_ignored_old "TCPDSACKIgnoredOld" "D-SACKs ignored because what they report was acknowledged before the last reduction of the window.";
        tcp_dsack_ignored_no_undo "TCPDSACKIgnoredNoUndo" "D-SACKs ignored outside a recovery that could be undone.";
        tcp_spurious_rtos "TCPSpuriousRTOs" "Timeouts that F-RTO found spurious.";
        tcp_defer_accept_drop "TCPDeferAcceptDrop" "Third ACKs without data dropped because a listener waits for data.";
        tcp_time_wait_overflow "TCPTimeWaitOverflow" "TIME-WAITs that ended early because there were too many. Linux refuses the newest instead.";
        tcp_req_q_full_do_cookies "TCPReqQFullDoCookies" "Connection requests answered with a cookie at a full request queue.";
        tcp_req_q_full_drop "TCPReqQFullDrop" "Connection requests dropped at a full request queue.";
        tcp_retrans_fail "TCPRetransFail" "Retransmissions that could not leave: their device was down or gone.";
        tcp_rcv_coalesce "TCPRcvCoalesce" "Never incremented: received payload is handed on in the buffers that it came in.";
        tcp_ofo_queue "TCPOFOQueue" "Segments queued out of order.";
        tcp_ofo_drop "TCPOFODrop" "Out-of-order segments dropped for want of receive memory.";
        tcp_ofo_merge "TCPOFOMerge" "Out-of-order segments that overlapped queued ones.";
        tcp_challenge_ack "TCPChallengeACK" "Challenge acknowledgements sent (RFC 5961).";
        tcp_syn_challenge "TCPSYNChallenge" "Challenge acknowledgements sent to a SYN.";
        tcp_fast_open_active "TCPFastOpenActive" "Connections whose data on the SYN was acknowledged by the SYN/ACK.";
        tcp_fast_open_active_fail "TCPFastOpenActiveFail" "Connections whose data on the SYN was not, or not all, acknowledged.";
        tcp_fast_open_passive "TCPFastOpenPassive" "Connections made by a SYN with data and a right cookie.";
        tcp_fast_open_passive_fail "TCPFastOpenPassiveFail" "SYNs with data whose cookie was wrong.";
        tcp_fast_open_listen_overflow "TCPFastOpenListenOverflow" "SYNs with data that found the Fast Open queue full.";
        tcp_fast_open_cookie_reqd "TCPFastOpenCookieReqd" "SYNs that asked for a Fast Open cookie.";
        tcp_from_zero_window_adv "TCPFromZeroWindowAdv" "Windows announced that opened from zero.";
        tcp_to_zero_window_adv "TCPToZeroWindowAdv" "Windows announced that closed to zero.";
        tcp_want_zero_window_adv "TCPWantZeroWindowAdv" "Never incremented: only what a window was raised to is kept, and not from what.";
        tcp_syn_retrans "TCPSynRetrans" "SYNs and SYN/ACKs retransmitted.";
        tcp_orig_data_sent "TCPOrigDataSent" "Segments with data or FIN sent for the first time.";
        tcp_hystart_train_detect "TCPHystartTrainDetect" "Never incremented: HyStart++ has no train detection.";
        tcp_hystart_train_cwnd "TCPHystartTrainCwnd" "Never incremented: HyStart++ has no train detection.";
        tcp_hystart_delay_detect "TCPHystartDelayDetect" "Slow starts that ended by HyStart++.";
        tcp_hystart_delay_cwnd "TCPHystartDelayCwnd" "Sum of the windows, in segments, at which HyStart++ ended slow start.";
        tcp_ack_skipped_syn_recv "TCPACKSkippedSynRecv" "Repeated SYNs that were not answered because of the rate limit.";
        tcp_ack_skipped_paws "TCPACKSkippedPAWS" "Duplicate acknowledgements suppressed for segments that PAWS rejected.";
        tcp_ack_skipped_seq "TCPACKSkippedSeq" "Duplicate acknowledgements suppressed for segments out of the window.";
        tcp_ack_skipped_fin_wait2 "TCPACKSkippedFinWait2" "Never incremented: in FIN-WAIT-2 a flow is whole, and counts as in any other state.";
        tcp_ack_skipped_time_wait "TCPACKSkippedTimeWait" "Duplicate acknowledgements suppressed in TIME-WAIT by their rate limit.";
        tcp_ack_skipped_challenge "TCPACKSkippedChallenge" "Challenge acknowledgements suppressed by their rate limit.";
        tcp_win_probe "TCPWinProbe" "Zero-window probes sent.";
        tcp_keep_alive "TCPKeepAlive" "Keep-alive probes sent.";
        tcp_mtup_fail "TCPMTUPFail" "Probes of a larger packet that were lost (RFC 4821 §7.6.2).";
        tcp_mtup_success "TCPMTUPSuccess" "Probes of a larger packet that arrived.";
        tcp_delivered "TCPDelivered" "Segments delivered, as acknowledgements tell.";
        tcp_delivered_ce "TCPDeliveredCE" "Segments delivered with a congestion mark.";
        tcp_zero_window_drop "TCPZeroWindowDrop" "Segments whose data was dropped because the announced window was zero.";
        tcp_rcv_q_drop "TCPRcvQDrop" "Never incremented: data in order within the announced window always has room.";
        tcp_fast_open_passive_alt_key "TCPFastOpenPassiveAltKey" "Fast Open cookies of the key before the present one.";
        tcp_dsack_recv_segs "TCPDSACKRecvSegs" "Segments that received D-SACKs report.";
        tcp_dsack_ignored_dubious "TCPDSACKIgnoredDubious" "D-SACKs ignored because they report more than was sent again.";
    }
    /// MPTCP: `MPTcpExt` of /proc/net/netstat.
    MpTcpExt "MPTcpExt" {
        mp_capable_syn_rx "MPCapableSYNRX" "SYNs with MP_CAPABLE that opened a request.";
        mp_capable_syn_tx "MPCapableSYNTX" "Connections opened with MP_CAPABLE; repeated SYNs do not count.";
        mp_capable_syn_ack_rx "MPCapableSYNACKRX" "SYN/ACKs with MP_CAPABLE received.";
        mp_capable_ack_rx "MPCapableACKRX" "MPTCP connections that `accept` delivered.";
        mp_capable_fallback_ack "MPCapableFallbackACK" "Fallbacks of a server in the handshake.";
        mp_capable_fallback_syn_ack "MPCapableFallbackSYNACK" "Fallbacks of a client in the handshake.";
        mp_capable_syn_tx_drop "MPCapableSYNTXDrop" "Clients that went on to plain SYNs after unanswered ones.";
        mp_capable_syn_tx_disabled "MPCapableSYNTXDisabled" "Connections opened as plain TCP because of a suspected blackhole.";
        mp_capable_endp_attempt "MPCapableEndpAttempt" "SYNs with MP_CAPABLE or plain ones at the port of an endpoint, which takes joins only.";
        mp_fallback_token_init "MPFallbackTokenInit" "Connections without MPTCP because no token was available.";
        mptcp_retrans "MPTCPRetrans" "Chunks sent again at data level.";
        mp_join_no_token_found "MPJoinNoTokenFound" "SYNs with MP_JOIN and an unknown token.";
        mp_join_syn_rx "MPJoinSynRx" "SYNs with MP_JOIN received.";
        mp_join_syn_backup_rx "MPJoinSynBackupRx" "SYNs with MP_JOIN and the backup flag received.";
        mp_join_syn_ack_rx "MPJoinSynAckRx" "Valid SYN/ACKs with MP_JOIN received.";
        mp_join_syn_ack_backup_rx "MPJoinSynAckBackupRx" "Valid SYN/ACKs with MP_JOIN and the backup flag received.";
        mp_join_syn_ack_hmac_failure "MPJoinSynAckHMacFailure" "Never incremented, as in Linux: see `mp_join_ack_hmac_failure`.";
        mp_join_ack_rx "MPJoinAckRx" "Joins completed at the server.";
        mp_join_ack_hmac_failure "MPJoinAckHMacFailure" "Wrong HMACs in the third ACK or, at the client, in the SYN/ACK.";
        mp_join_rejected "MPJoinRejected" "Joins that the path manager or a limit refused.";
        mp_join_syn_tx "MPJoinSynTx" "Joins begun by this host.";
        mp_join_syn_tx_creat_sk_err "MPJoinSynTxCreatSkErr" "Never incremented: own joins need no socket that could run out.";
        mp_join_syn_tx_bind_err "MPJoinSynTxBindErr" "Own joins whose local address could not be bound.";
        mp_join_syn_tx_connect_err "MPJoinSynTxConnectErr" "Own joins that could not be connected, mostly for want of a route.";
        dss_not_matching "DSSNotMatching" "New mappings that came while the old one still covered the data.";
        dss_corruption_fallback "DSSCorruptionFallback" "Never incremented: data is matched with its mapping once, as it is delivered (`dss_no_match_tcp`).";
        dss_corruption_reset "DSSCorruptionReset" "Never incremented: as `dss_corruption_fallback`.";
        infinite_map_tx "InfiniteMapTx" "Infinite mappings sent.";
        infinite_map_rx "InfiniteMapRx" "Infinite mappings received.";
        dss_no_match_tcp "DSSNoMatchTCP" "Mappings that do not cover the subflow's sequence number.";
        data_csum_err "DataCsumErr" "DSS checksums that were wrong.";
        ofo_queue_tail "OFOQueueTail" "Insertions at the tail of the data-level out-of-order queue.";
        ofo_queue "OFOQueue" "Insertions anywhere into the data-level out-of-order queue.";
        ofo_merge "OFOMerge" "Segments merged in the data-level out-of-order queue.";
        no_dss_in_window "NoDSSInWindow" "Data beyond the announced data-level window, dropped.";
        duplicate_data "DuplicateData" "Data that had been received already, dropped.";
        add_addr "AddAddr" "Valid ADD_ADDRs received, repetitions included.";
        add_addr_tx "AddAddrTx" "ADD_ADDRs sent.";
        add_addr_tx_drop "AddAddrTxDrop" "ADD_ADDRs that could not be sent.";
        echo_add "EchoAdd" "Echoes of ADD_ADDR received.";
        echo_add_tx "EchoAddTx" "Echoes of ADD_ADDR sent.";
        echo_add_tx_drop "EchoAddTxDrop" "Echoes of ADD_ADDR that could not be sent.";
        port_add "PortAdd" "ADD_ADDRs or echoes with a port received.";
        add_addr_drop "AddAddrDrop" "ADD_ADDRs dropped: another one was pending, or nobody listened.";
        mp_join_port_syn_rx "MPJoinPortSynRx" "SYNs with MP_JOIN at another port than the connection's first.";
        mp_join_port_syn_ack_rx "MPJoinPortSynAckRx" "SYN/ACKs with MP_JOIN from another port than the connection's first.";
        mp_join_port_ack_rx "MPJoinPortAckRx" "Third ACKs with MP_JOIN at another port than the connection's first.";
        mismatch_port_syn_rx "MismatchPortSynRx" "SYNs with MP_JOIN at a port that was not announced.";
        mismatch_port_ack_rx "MismatchPortAckRx" "Third ACKs with MP_JOIN at a port that was not announced.";
        rm_addr "RmAddr" "Address ids of received REMOVE_ADDRs that were handled.";
        rm_addr_drop "RmAddrDrop" "REMOVE_ADDRs dropped because the one before was still in work.";
        rm_addr_tx "RmAddrTx" "Address ids sent in REMOVE_ADDRs.";
        rm_addr_tx_drop "RmAddrTxDrop" "REMOVE_ADDRs not sent because another signal was pending.";
        rm_subflow "RmSubflow" "Subflows closed by a command of the local path manager.";
        mp_prio_tx "MPPrioTx" "MP_PRIOs sent.";
        mp_prio_rx "MPPrioRx" "MP_PRIOs received.";
        mp_fail_tx "MPFailTx" "MP_FAILs sent.";
        mp_fail_rx "MPFailRx" "MP_FAILs received.";
        mp_fastclose_tx "MPFastcloseTx" "MP_FASTCLOSEs sent.";
        mp_fastclose_rx "MPFastcloseRx" "MP_FASTCLOSEs received with the right key.";
        mp_rst_tx "MPRstTx" "MP_TCPRSTs sent.";
        mp_rst_rx "MPRstRx" "MP_TCPRSTs received.";
        subflow_stale "SubflowStale" "Subflows that became stale.";
        subflow_recover "SubflowRecover" "Stale subflows that came back.";
        snd_wnd_shared "SndWndShared" "Send windows of subflows that were raised to the connection's.";
        rcv_wnd_shared "RcvWndShared" "Windows in sent headers that were raised to the connection's.";
        rcv_wnd_conflict_update "RcvWndConflictUpdate" "Never incremented: a connection has one owner, so no two subflows race for its window.";
        rcv_wnd_conflict "RcvWndConflict" "Never incremented: as `rcv_wnd_conflict_update`.";
        mp_curr_estab "MPCurrEstab" "Gauge: MPTCP connections in ESTABLISHED or CLOSE-WAIT, fallen back ones included.";
        blackhole "Blackhole" "Blackholes of MPTCP detected.";
        mp_capable_data_fallback "MPCapableDataFallback" "Fallbacks because the first data came without a DSS.";
        md5_sig_fallback "MD5SigFallback" "Never incremented: there are no TCP MD5 signatures.";
        dss_fallback "DssFallback" "Fallbacks because of a bad or missing DSS.";
        simult_connect_fallback "SimultConnectFallback" "Fallbacks because of a simultaneous open.";
        fallback_failed "FallbackFailed" "Fallbacks that were needed but not allowed any more.";
        win_probe "WinProbe" "Zero-window probes at data level.";
    }
}

#[derive(Clone, Copy)]
struct Entry {
    group: Group,
    /// Prefix and name in one word.
    full_name: &'static str,
    value: u64,
}

impl Counters {
    /// All counters in Linux's printed order, under nstat's names: `MPTcpExtMPCapableSYNRX`.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.entries().into_iter().map(|entry| (entry.full_name, entry.value))
    }

    /// The counters of one group in Linux's printed order, under their names in /proc: `MPCapableSYNRX`.
    pub fn group(&self, group: Group) -> impl Iterator<Item = (&'static str, u64)> {
        self.entries()
            .into_iter()
            .filter(move |entry| entry.group == group)
            .map(move |entry| (&entry.full_name[group.prefix().len()..], entry.value))
    }

    /// The counter that nstat calls `name`, group included.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.iter().find(|(full_name, _)| *full_name == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn the_mptcp_group_has_the_76_names_of_linux_in_its_order() {
        let names: Vec<_> = Counters::default().group(Group::MpTcpExt).map(|(name, _)| name).collect();
        assert_eq!(names.len(), 76);
        assert_eq!((names[0], names[75]), ("MPCapableSYNRX", "WinProbe"));
        assert_eq!(names[68..70], ["MPCurrEstab", "Blackhole"]);
    }

    #[test]
    fn every_name_is_there_once_and_leads_to_its_field() {
        let counters =
            Counters { mp_join_syn_rx: 3, in_csum_errors: 5, icmp_in_csum_errors: 7, ..Counters::default() };
        assert_eq!(counters.get("MPTcpExtMPJoinSynRx"), Some(3));
        assert_eq!(counters.get("TcpInCsumErrors"), Some(5));
        assert_eq!(counters.get("IcmpInCsumErrors"), Some(7));
        assert_eq!(counters.get("MPJoinSynRx"), None);
        let names: BTreeSet<_> = counters.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), Counters::COUNT);
        assert_eq!(counters.iter().map(|(_, value)| value).sum::<u64>(), 15);
        let grouped: usize = Group::ALL.iter().map(|group| counters.group(*group).count()).sum();
        assert_eq!(grouped, Counters::COUNT);
    }

    /// The lists are those of Linux 6.18; older and newer ones differ, and are not asked.
    #[test]
    fn the_running_kernel_prints_the_same_names_in_the_same_order() {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        if !release.starts_with("6.18.") {
            std::println!("skipped: this kernel is {release}, the lists are those of 6.18");
            return;
        }
        let netstat = std::fs::read_to_string("/proc/net/netstat").expect("Linux");
        let snmp = std::fs::read_to_string("/proc/net/snmp").expect("Linux");
        for group in [Group::Ip, Group::Icmp, Group::Tcp, Group::TcpExt, Group::MpTcpExt] {
            let header = netstat.lines().chain(snmp.lines());
            let mut kernel = header
                .filter_map(|line| line.strip_prefix(group.prefix())?.strip_prefix(": "))
                .next()
                .expect("the group")
                .split(' ');
            for (name, _) in Counters::default().group(group) {
                assert!(kernel.any(|theirs| theirs == name), "{name} of {group:?}");
            }
        }
    }
}
