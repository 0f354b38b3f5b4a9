//! Why a command ends without success: one line on stderr, and the exit status.

use std::fmt::Display;
use std::process::ExitCode;

use clap::error::ErrorKind;

/// Why a command failed. The text is one line without a full stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// It cannot begin: flags, addresses, privilege or devices. Exit status 2. Says what to do.
    Setup(String),
    /// It began and did not end well. Exit status 1.
    Run(String),
}

impl Failure {
    pub(crate) fn setup(text: impl Display) -> Self {
        Self::Setup(text.to_string())
    }

    pub(crate) fn run(text: impl Display) -> Self {
        Self::Run(text.to_string())
    }

    /// For `map_err`: the text before the cause.
    pub(crate) fn setting_up<E: Display>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Setup(format!("{what}: {error}"))
    }

    /// For `map_err`: the text before the cause.
    pub(crate) fn running<E: Display>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Run(format!("{what}: {error}"))
    }

    /// The same, with the place before it.
    pub(crate) fn within(self, place: &str) -> Self {
        match self {
            Self::Setup(text) => Self::Setup(format!("{place}: {text}")),
            Self::Run(text) => Self::Run(format!("{place}: {text}")),
        }
    }

    pub(crate) fn tell(&self) -> ExitCode {
        let (text, status) = match self {
            Self::Setup(text) => (text, 2),
            Self::Run(text) => (text, 1),
        };
        eprintln!("polytcp: {}", one_line(text));
        ExitCode::from(status)
    }
}

/// Prints help and version as they are, and an error as one line. Returns the exit status.
pub(crate) fn tell_parse_error(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nothing to be done where stdout is closed.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Failure::setup("no command given; try `polytcp demo`, or `polytcp --help`").tell()
        }
        _ => Failure::setup(parse_error_line(&error.render().to_string())).tell(),
    }
}

/// The message of clap, without the usage that follows it, and where to read more.
fn parse_error_line(rendered: &str) -> String {
    let message = rendered.split("\n\nUsage:").next().unwrap_or(rendered);
    let message = message.split("\n\nFor more information").next().unwrap_or(message);
    let message = one_line(message.strip_prefix("error: ").unwrap_or(message));
    format!("{message}; see `polytcp --help`")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_several_lines_becomes_one() {
        let rendered = "error: the following required arguments were not provided:\n  --path <PATH>\n\n\
                        Usage: polytcp nc --path <PATH>\n\nFor more information, try '--help'.\n";
        let expected =
            "the following required arguments were not provided: --path <PATH>; see `polytcp --help`";
        assert_eq!(parse_error_line(rendered), expected);
    }
}
