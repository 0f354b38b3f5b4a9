//! A pcapng file for each host, with virtual time since the start.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};

use crate::scenario::Scenario;
use crate::tap::Sighting;

/// `if_tsresol`: timestamps count in 10^-9 seconds.
const NANOSECONDS: u8 = 9;
/// `epb_flags`, bits 0 and 1 (pcapng §4.3.1).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// The files of a run.
pub(crate) struct Capture {
    hosts: Vec<PcapNgWriter<BufWriter<File>>>,
    failure: Option<io::Error>,
}

impl Capture {
    /// A file `HOST.pcapng` in `folder` for each host; every link is an interface of each file.
    pub(crate) fn create(folder: &Path, scenario: &Scenario) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut hosts = Vec::new();
        for host in &scenario.hosts {
            let file = File::create(folder.join(format!("{}.pcapng", host.name)))?;
            let mut writer = PcapNgWriter::new(BufWriter::new(file)).map_err(io_error)?;
            for link in &scenario.links {
                let options = vec![
                    InterfaceDescriptionOption::IfName(Cow::Owned(link.name.clone())),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ];
                let block = InterfaceDescriptionBlock { linktype: DataLink::RAW, snaplen: 0, options };
                writer.write_pcapng_block(block).map_err(io_error)?;
            }
            hosts.push(writer);
        }
        Ok(Self { hosts, failure: None })
    }

    pub(crate) fn see(&mut self, sighting: &Sighting<'_>) {
        if self.failure.is_some() {
            return;
        }
        let block = EnhancedPacketBlock {
            interface_id: sighting.link as u32,
            timestamp: Duration::from_nanos(sighting.at.as_nanos()),
            original_len: sighting.packet.len() as u32,
            data: Cow::Borrowed(sighting.packet),
            options: vec![EnhancedPacketOption::Flags(if sighting.is_sent { OUTBOUND } else { INBOUND })],
        };
        self.failure = self.hosts[sighting.host].write_pcapng_block(block).map_err(io_error).err();
    }

    /// Writes out what is buffered, and tells the first failure.
    pub(crate) fn finish(self) -> io::Result<()> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        for writer in self.hosts {
            writer.into_inner().into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        }
        Ok(())
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
