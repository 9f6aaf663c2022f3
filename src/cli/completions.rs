//! `triwire completions SHELL` and `triwire man`: what a package installs beside the binary.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

pub(super) fn command() -> Command {
    Command::new("completions")
        .about("Print the completions of a shell")
        .long_about(
            "Print the completions of a shell, for example:\n\
             triwire completions bash > /etc/bash_completion.d/triwire",
        )
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("The shell"),
        )
}

pub(super) fn man_command() -> Command {
    Command::new("man")
        .about("Print the manual page")
        .long_about("Print the manual page: triwire man > /usr/local/share/man/man1/triwire.1")
}

pub(super) fn run(matches: &ArgMatches, mut all: Command) -> ExitCode {
    let Some(shell) = matches.get_one::<Shell>("shell") else {
        return super::fail(&["say which shell".to_owned()]);
    };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut all, "triwire", &mut script);
    super::print(&script)
}

/// One page for all of it: the subcommands after the server itself.
pub(super) fn man(mut all: Command) -> ExitCode {
    all.build();
    let mut page = Vec::new();
    let main = clap_mangen::Man::new(all.clone());
    let written = main.render(&mut page).and_then(|()| {
        for command in all.get_subcommands().filter(|c| c.get_name() != "help") {
            section(command, &mut page)?;
        }
        Ok(())
    });
    match written {
        Ok(()) => super::print(&page),
        Err(error) => super::fail(&[format!("the page could not be made: {error}")]),
    }
}

/// What a subcommand does and takes, under a heading of its own.
fn section(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    // Its arguments are those of the main command.
    if command.get_name() == "serve" {
        return Ok(());
    }
    if command.has_subcommands() {
        let inner = command.get_subcommands().filter(|c| c.get_name() != "help");
        return inner.into_iter().try_for_each(|c| section(c, page));
    }
    let name = command.get_bin_name().unwrap_or(command.get_name());
    writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
    let man = clap_mangen::Man::new(command.clone());
    let mut rest = Vec::new();
    man.render_synopsis_section(&mut rest)?;
    man.render_description_section(&mut rest)?;
    man.render_options_section(&mut rest)?;
    // Sections of a section.
    page.extend_from_slice(
        String::from_utf8_lossy(&rest)
            .replace(".SH ", ".SS ")
            .as_bytes(),
    );
    Ok(())
}
