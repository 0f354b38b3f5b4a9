//! MP_CAPABLE as we say it and as we understand it (RFC 8684 §3.1).

use polytcp_wire::mptcp::{Capable, CapableFlags, CapableForm, MptcpOption, VERSION};
use polytcp_wire::tcp_options::MptcpOptions;

use crate::config::MptcpConfig;

/// What MP_CAPABLE asks for beside its keys (RFC 8684 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Flag A: DSS checksums.
    pub checksums: bool,
    /// Flag C: no joins to the sender's initial address and port.
    pub deny_join_initial: bool,
}

impl Asked {
    /// What our settings ask for.
    pub fn by(config: &MptcpConfig) -> Self {
        Self { checksums: config.checksum_enabled, deny_join_initial: !config.allow_join_initial_addr_port }
    }
}

/// MP_CAPABLE of version 1 with HMAC-SHA256.
pub fn capable(form: CapableForm, asked: Asked) -> MptcpOption {
    let flags = CapableFlags {
        checksum_required: asked.checksums,
        deny_join_initial: asked.deny_join_initial,
        crypto: CapableFlags::HMAC_SHA256,
        ..CapableFlags::default()
    };
    MptcpOption::Capable(Capable { version: VERSION, flags, form })
}

/// The MP_CAPABLE of a segment, if it is one that we understand: version 1 (or higher on a SYN, which
/// is answered with 1), HMAC-SHA256, no extension bit (RFC 8684 §3.1).
pub fn understood_capable(options: &MptcpOptions) -> Option<Capable> {
    options.iter().find_map(|option| match option {
        MptcpOption::Capable(capable) => {
            let syn = matches!(capable.form, CapableForm::Syn);
            let version = capable.version == VERSION || (syn && capable.version >= VERSION);
            let flags = capable.flags.crypto == CapableFlags::HMAC_SHA256 && !capable.flags.extensibility;
            (version && flags).then_some(*capable)
        }
        _ => None,
    })
}
