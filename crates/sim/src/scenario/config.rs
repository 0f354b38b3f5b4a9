//! What hosts and links of a scenario come to: the stack's configuration, and that of `polytcp_netem`'s links.

use std::num::{NonZeroU32, NonZeroU64};

use polytcp_netem::{CodelConfig, GilbertElliott, LinkConfig, Order, QueueDiscipline, Trace};
use polytcp_proto::config::{Ecn, HostConfig, MtuProbing, SynCookies, fastopen};
use polytcp_proto::pm::kernel::{EXTRA_SUBFLOWS_MAX, LIMIT_MAX};
use polytcp_proto::{sched, tcp};

use super::{HostSpec, LinkSpec, Shape, TraceSpec};
use crate::quantity::{Size, Span};

impl HostSpec {
    /// The stack's configuration.
    ///
    /// # Errors
    /// One line that names the key.
    pub fn config(&self) -> Result<HostConfig, String> {
        let mut config = HostConfig::default();
        let named = |key: &str, name: &Option<String>, known: &[&str], into: &mut String| match name {
            Some(name) if !known.contains(&name.as_str()) => {
                Err(format!("{key}: `{name}` is none of {}", known.join(", ")))
            }
            Some(name) => {
                into.clone_from(name);
                Ok(())
            }
            None => Ok(()),
        };
        named(
            "congestion_control",
            &self.congestion_control,
            tcp::cc::AVAILABLE,
            &mut config.tcp.congestion_control,
        )?;
        named("scheduler", &self.scheduler, sched::AVAILABLE, &mut config.mptcp.scheduler)?;
        let buffer = |key: &str, size: Option<Size>, into: &mut Option<NonZeroU32>| {
            let Some(size) = size else { return Ok(()) };
            let bytes = u32::try_from(size.0).ok().filter(|bytes| *bytes >= BUFFER_MIN);
            let bytes = bytes.and_then(NonZeroU32::new);
            *into = Some(bytes.ok_or_else(|| format!("{key}: from {}k to below 4G", BUFFER_MIN >> 10))?);
            Ok::<_, String>(())
        };
        buffer("send_buffer", self.send_buffer, &mut config.tcp.send_buffer_bytes)?;
        buffer("recv_buffer", self.recv_buffer, &mut config.tcp.recv_buffer_bytes)?;
        config.tcp.pacing = self.pacing.unwrap_or(config.tcp.pacing);
        config.mptcp.enabled = self.mptcp.unwrap_or(config.mptcp.enabled);
        config.mptcp.subflows = self.subflows.unwrap_or(LIMIT_MAX);
        config.mptcp.add_addr_accepted = self.add_addr_accepted.unwrap_or(LIMIT_MAX);
        let most = EXTRA_SUBFLOWS_MAX;
        if config.mptcp.subflows > most || config.mptcp.add_addr_accepted > most {
            return Err(format!("subflows, add_addr_accepted: at most {most}"));
        }
        config.tcp.keepalive_idle = self.keepalive.map(Span::duration);
        config.mptcp.checksum_enabled = self.checksum.unwrap_or(config.mptcp.checksum_enabled);
        if let Some(syns) = self.syn_retrans_before_tcp_fallback {
            config.mptcp.syn_retrans_before_tcp_fallback = syns;
        }
        config.tcp.ecn = match self.ecn {
            None => config.tcp.ecn,
            Some(0) => Ecn::Off,
            Some(1) => Ecn::Request,
            Some(2) => Ecn::Accept,
            Some(_) => return Err("ecn: 0, 1 or 2".to_owned()),
        };
        if self.fast_open == Some(true) {
            config.tcp.fastopen |= fastopen::CLIENT_ENABLE | fastopen::SERVER_ENABLE;
        }
        if self.syncookies == Some(true) {
            config.tcp.syncookies = SynCookies::Always;
        }
        if self.mtu_probing == Some(true) {
            config.tcp.mtu_probing = MtuProbing::OnBlackHole;
        }
        if let Some(within) = self.wrap_within {
            let within = u32::try_from(within.0).ok().and_then(NonZeroU32::new);
            let within = within.ok_or("wrap_within: from 1B to below 4G")?;
            config.tcp.isn_near_wrap_bytes = Some(within);
            // Keys are drawn until one fits: a small range takes long.
            config.mptcp.idsn_near_wrap_bytes = Some(within.get().max(1 << 20));
        }
        self.sysctl.apply(&mut config).map_err(|fault| format!("sysctl: {fault}"))?;
        Ok(config)
    }
}

/// Below, a window cannot hold two full segments and their headers.
const BUFFER_MIN: u32 = 16 << 10;

impl LinkSpec {
    /// The link of both directions, `up` first, when `shape` holds.
    pub(crate) fn configs(&self, shape: Shape) -> [LinkConfig; 2] {
        let [up, down] = [self.up, self.down].map(|over| shape.over(over.unwrap_or_default()).config());
        // A trace has the rate; what is left of the configured one is the queue's default.
        let queued = |mut config: LinkConfig, spec: Option<&TraceSpec>| {
            if let Some(trace) = spec.and_then(|spec| spec.trace(config.delay).ok())
                && config.rate_bits_per_sec.is_none()
            {
                config.rate_bits_per_sec = NonZeroU64::new(trace.mean_rate_bits_per_sec());
            }
            config
        };
        let [up_trace, down_trace] = self.trace_specs();
        [queued(up, up_trace), queued(down, down_trace)]
    }

    fn trace_specs(&self) -> [Option<&TraceSpec>; 2] {
        [&self.up_trace, &self.down_trace].map(|own| own.as_ref().or(self.trace.as_ref()))
    }

    /// What both directions follow, `up` first.
    ///
    /// # Errors
    /// One line that says what is wrong with a trace.
    pub(crate) fn traces(&self) -> Result<[Option<Trace>; 2], String> {
        let [up, down] = self.configs(self.shape).map(|config| config.delay);
        let [up_spec, down_spec] = self.trace_specs();
        Ok([
            up_spec.map(|spec| spec.trace(up)).transpose()?,
            down_spec.map(|spec| spec.trace(down)).transpose()?,
        ])
    }
}

impl Shape {
    /// This shape with what `over` gives in its place.
    fn over(self, over: Self) -> Self {
        Self {
            rate: over.rate.or(self.rate),
            delay: over.delay.or(self.delay),
            jitter: over.jitter.or(self.jitter),
            reorder: over.reorder.or(self.reorder),
            loss: over.loss.or(self.loss),
            bursts: over.bursts.or(self.bursts),
            duplicate: over.duplicate.or(self.duplicate),
            corrupt: over.corrupt.or(self.corrupt),
            queue: over.queue.or(self.queue),
            codel: over.codel.or(self.codel),
        }
    }

    fn config(self) -> LinkConfig {
        let nothing =
            LinkConfig::new(self.rate.map_or(0, |rate| rate.0), self.delay.unwrap_or_default().duration());
        LinkConfig {
            jitter: self.jitter.unwrap_or_default().duration(),
            order: if self.reorder == Some(true) { Order::Free } else { Order::Kept },
            loss: self.loss.unwrap_or_default().ratio(),
            burst_loss: self.bursts.map(|[begin, end]| GilbertElliott::bursts(begin.ratio(), end.ratio())),
            duplicate: self.duplicate.unwrap_or_default().ratio(),
            corrupt: self.corrupt.unwrap_or_default().ratio(),
            queue_bytes: self.queue.map(|queue| queue.0),
            discipline: match self.codel {
                Some(true) => QueueDiscipline::Codel(CodelConfig::default()),
                _ => QueueDiscipline::TailDrop,
            },
            ..nothing
        }
    }
}
