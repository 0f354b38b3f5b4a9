//! `sysctl [-q] [-n] [-w] NAME[=VALUE]...` for what the [registry](polytcp::sysctl) has.

use polytcp::sysctl::{self, SysctlError};

use super::Outcome;
use crate::stack::Net;

pub(super) fn run(net: &Net, arguments: &[&str]) -> Outcome {
    let (options, settings): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|word| word.starts_with('-'));
    if settings.is_empty()
        || options.iter().any(|option| !matches!(*option, "-q" | "-n" | "-w" | "-e" | "-qw" | "-wq"))
    {
        return Outcome::Foreign;
    }
    // What belongs to no TCP is the kernel's, all of it.
    let name_of = |setting: &str| setting.split('=').next().unwrap_or_default().trim().to_owned();
    if settings.iter().any(|setting| !is_of_a_stack(&name_of(setting))) {
        return Outcome::Foreign;
    }
    let has = |flag: char| options.iter().any(|option| option.contains(flag));
    let (mut out, mut faults) = (String::new(), Vec::new());
    for setting in settings {
        let result = match setting.split_once('=') {
            Some((name, value)) => net
                .sockets
                .stack()
                .set_sysctl(name, value)
                .map(|()| (!has('q')).then(|| (name.trim(), value.trim().to_owned()))),
            None => net.sockets.stack().sysctl(setting).map(|value| Some((setting, value))),
        };
        match result {
            Ok(None) => (),
            Ok(Some((_, value))) if has('n') => out += &format!("{value}\n"),
            Ok(Some((name, value))) => out += &format!("{} = {value}\n", name.replace('/', ".")),
            Err(SysctlError::Unknown { .. }) if has('e') => (),
            Err(fault) => faults.push(format!("sysctl: {fault}\n")),
        }
    }
    Outcome::Done { code: u8::from(!faults.is_empty()), out, error: faults.concat() }
}

/// A name that the registry has, or could.
fn is_of_a_stack(name: &str) -> bool {
    let dotted = name.replace('/', ".");
    sysctl::find(name).is_ok() || dotted.starts_with("net.mptcp.") || dotted.starts_with("net.ipv4.tcp_")
}
