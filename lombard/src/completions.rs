//! `lombard completions`: what a shell needs to complete our commands.

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use lombard_rpc::{Service, services};

use crate::failure::Failure;
use crate::{Cli, output};

/// Print what a shell needs to complete commands, options, services and methods.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard completions bash > ~/.local/share/bash-completion/completions/lombard
  lombard completions zsh > ~/.zfunc/_lombard
  lombard completions fish > ~/.config/fish/completions/lombard.fish")]
pub struct Options {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// The output is closed or full.
pub fn run(options: &Options) -> Result<(), Failure> {
    let names: Vec<&'static str> = services().iter().map(Service::short_name).collect();
    let methods: Vec<&'static str> = services()
        .iter()
        .flat_map(|service| &service.methods)
        .map(|method| method.name.as_str())
        .collect();
    let mut command = Cli::command()
        .mut_subcommand("call", |call| {
            call.mut_arg("service", |arg| {
                arg.value_parser(PossibleValuesParser::new(names))
            })
            .mut_arg("method", |arg| {
                arg.value_parser(PossibleValuesParser::new(methods))
            })
        })
        .mut_subcommand("run", |run| {
            run.mut_arg("services", |arg| {
                arg.value_parser(PossibleValuesParser::new(crate::assembly::SERVICES))
            })
        });
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "lombard", &mut script);
    if script.is_empty() {
        let known: Vec<String> = Shell::value_variants()
            .iter()
            .map(ToString::to_string)
            .collect();
        output::note(format!("nothing to complete; shells: {}", known.join(", ")));
    }
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}
