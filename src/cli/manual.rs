//! `wirefan completions` and `wirefan man`: what the arguments' own definition says, for shells and for man(1).
//!
//! Both are made from the same [`Arguments`] that parse the command line, so that no flag is missing. Nothing of a running
//! broker or of a configuration is read.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man as Page;

use super::outcome::{Failure, tell};
use super::{Arguments, Completions, Man};

/// Prints the script of a shell.
pub(super) fn completions(arguments: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "wirefan", &mut script);
    print(&script)
}

/// Prints the page of the whole, or writes that and those of the commands to a directory.
pub(super) fn man(arguments: &Man) -> Result<(), Failure> {
    let mut whole = Arguments::command().disable_help_subcommand(true);
    // So that the usage lines of the commands say `wirefan serve`.
    whole.build();
    let failed = |error: io::Error| Failure::Failed(format!("cannot make the manual page: {error}"));
    let Some(dir) = &arguments.dir else {
        return print(&page(&whole).map_err(failed)?);
    };
    write(dir, "wirefan", &page(&whole).map_err(failed)?)?;
    for command in whole.get_subcommands() {
        let name = format!("wirefan-{}", command.get_name());
        write(dir, &name, &page(command).map_err(failed)?)?;
    }
    Ok(())
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut roff = Vec::new();
    Page::new(command.clone().version(env!("CARGO_PKG_VERSION"))).manual("wirefan").render(&mut roff)?;
    roff.extend_from_slice(ENDS.as_bytes());
    Ok(roff)
}

fn write(dir: &Path, name: &str, roff: &[u8]) -> Result<(), Failure> {
    let path = dir.join(format!("{name}.1"));
    let failed = |error| Failure::Failed(format!("cannot write {}: {error}", path.display()));
    fs::write(&path, roff).map_err(failed)?;
    tell(path.display());
    Ok(())
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::from_stdout(&error))
}

/// What is the same for all commands.
const ENDS: &str = r#".SH "EXIT STATUS"
0: it worked. 1: it failed. 2: it was called wrongly, or the configuration is wrong. Standard error says why.
.SH ENVIRONMENT
.TP
\fBWIREFAN_TOKEN\fR
The token or API key of publish, subscribe and top.
.TP
\fBWIREFAN_SECTION__KEY\fR
Any key of the configuration, such as WIREFAN_SERVER__SHARDS, for serve, check and token.
"#;
