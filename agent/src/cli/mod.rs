//! The command line: every mistake is reported, all together.

mod agent;
mod ca;
mod detach;
mod explain;
mod flags;
mod status;
mod values;

use std::{ffi::OsString, fmt};

use self::flags::{Flag, Given};
pub(crate) use self::{
    agent::{AgentOptions, IssuerOptions, Source},
    ca::CaOptions,
    detach::DetachOptions,
    explain::{ExplainFormat, ExplainOptions, ExplainSource},
    status::{Output, StatusOptions},
    values::LogFormat,
};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print this and succeed.
    Print(String),
    /// Serve a node.
    Agent(Box<AgentOptions>),
    /// Serve certificates to a cluster.
    Ca(Box<CaOptions>),
    /// Ask a running agent how it is.
    Status(StatusOptions),
    /// Say how a connection would go, and why.
    Explain(ExplainOptions),
    /// Remove what an agent left in the kernel.
    Detach(DetachOptions),
}

/// Everything that is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|mistake| writeln!(f, "culvert: {mistake}"))?;
        f.write_str("culvert: see `culvert --help`")
    }
}

struct Subcommand {
    name: &'static str,
    about: &'static str,
    flags: &'static [Flag],
    parse: fn(&mut Given) -> Option<Command>,
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "agent",
        about: "Serve the pods of one node until SIGTERM or SIGINT",
        flags: agent::FLAGS,
        parse: |given| AgentOptions::parse(given).map(|options| Command::Agent(Box::new(options))),
    },
    Subcommand {
        name: "ca",
        about: "Serve certificates to the agents of a cluster until SIGTERM or SIGINT",
        flags: ca::FLAGS,
        parse: |given| CaOptions::parse(given).map(|options| Command::Ca(Box::new(options))),
    },
    Subcommand {
        name: "status",
        about: "Ask the running agent how it is; the exit status is 1 when something needs a person",
        flags: status::FLAGS,
        parse: |given| StatusOptions::parse(given).map(Command::Status),
    },
    Subcommand {
        name: "explain",
        about: "Say how a connection would go, and why; the exit status is 2 when that cannot be said",
        flags: explain::FLAGS,
        parse: |given| ExplainOptions::parse(given).map(Command::Explain),
    },
    Subcommand {
        name: "detach",
        about: "Remove the programs that an agent left attached, so that its pods are left alone",
        flags: detach::FLAGS,
        parse: |given| DetachOptions::parse(given).map(Command::Detach),
    },
];

/// Reads a command line, without the program's own name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Mistakes> {
    let mut arguments = arguments.into_iter();
    let first = arguments.next().map(|argument| argument.to_string_lossy().into_owned());
    match first.as_deref() {
        Some("--help" | "-h" | "help") => Ok(Command::Print(help())),
        Some("--version" | "-V") => Ok(Command::Print(format!("culvert {}\n", env!("CARGO_PKG_VERSION")))),
        Some(name) => match SUBCOMMANDS.iter().find(|subcommand| subcommand.name == name) {
            Some(subcommand) => parse_subcommand(subcommand, arguments),
            None => Err(Mistakes(vec![format!("there is no command {name:?}; expected one of {}", names())])),
        },
        None => Err(Mistakes(vec![format!("expected a command, one of {}", names())])),
    }
}

fn parse_subcommand(
    subcommand: &Subcommand,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Command, Mistakes> {
    let mut given = Given::read(subcommand.flags, arguments);
    if given.wants_help() {
        return Ok(Command::Print(subcommand_help(subcommand)));
    }
    let command = (subcommand.parse)(&mut given);
    match (command, given.into_mistakes()) {
        (Some(command), mistakes) if mistakes.is_empty() => Ok(command),
        (_, mistakes) => Err(Mistakes(mistakes)),
    }
}

fn names() -> String {
    SUBCOMMANDS.iter().map(|subcommand| subcommand.name).collect::<Vec<_>>().join(", ")
}

fn help() -> String {
    let lines = SUBCOMMANDS.iter().map(|command| format!("  {:8} {}", command.name, command.about));
    format!(
        "Kernel-level, transparent mutual TLS for Kubernetes nodes\n\n\
         Usage: culvert COMMAND [FLAGS]\n\n\
         Commands:\n{}\n\n\
         `culvert COMMAND --help` lists a command's flags.\n\
         Exit status: 0 done, 1 failed, 2 the question has no answer, 64 the command line is wrong.\n",
        lines.collect::<Vec<_>>().join("\n")
    )
}

fn subcommand_help(subcommand: &Subcommand) -> String {
    let line = |flag: &Flag| format!("  {:28} {}", flag.usage(), flag.help);
    format!(
        "{}\n\nUsage: culvert {} [FLAGS]\n\nFlags:\n{}\n",
        subcommand.about,
        subcommand.name,
        subcommand.flags.iter().map(line).collect::<Vec<_>>().join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(line: &str) -> Result<Command, Mistakes> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reports_every_mistake_at_once() {
        let Err(Mistakes(mistakes)) = parse_text(
            "agent --failure maybe --workers 0 --busy-poll 2ms --drain soon --no-such --node a --node b stray",
        ) else {
            panic!("it was accepted");
        };
        for part in [
            "--failure",
            "--workers",
            "--busy-poll",
            "--drain",
            "--no-such",
            "--node",
            "\"stray\"",
            "--ca-address",
        ] {
            assert_eq!(
                mistakes.iter().filter(|mistake| mistake.contains(part)).count(),
                1,
                "{part} in {mistakes:#?}"
            );
        }
    }

    #[test]
    fn a_cluster_has_one_source_and_one_authority() {
        for (line, part) in [
            ("agent --manifests /m --kubeconfig /k --ca-dir /c", "exclude each other"),
            ("agent --kubeconfig /k", "--ca-address"),
            ("agent --ca-address ca:15012 --ca-roots /r", "go together"),
            ("agent --ca-address ca:15012 --ca-roots /r --ca-token /t --ca-dir /c", "--ca-dir excludes"),
            ("agent --ca-address ca --ca-roots /r --ca-token /t", "HOST:PORT"),
        ] {
            let Err(Mistakes(mistakes)) = parse_text(line) else { panic!("accepted: {line}") };
            assert!(mistakes.iter().any(|mistake| mistake.contains(part)), "{line}: {mistakes:?}");
        }
    }

    #[test]
    fn a_switch_takes_no_value() {
        assert!(parse_text("status --ready").is_ok());
        for line in ["status --ready=yes", "status --ready -o json", "status -x", "status -o"] {
            assert!(parse_text(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_flag_without_its_value_does_not_eat_the_next_flag() {
        let Err(Mistakes(mistakes)) = parse_text("agent --node --manifests /m") else {
            panic!("it was accepted")
        };
        assert_eq!(mistakes, ["--node needs a value, NAME"]);
    }

    #[test]
    fn takes_values_after_a_space_or_an_equals_sign() {
        let spaced = parse_text("agent --node n1 --manifests /m --failure open --cert-lifetime 1h");
        let equals = parse_text("agent --node=n1 --manifests=/m --failure=open --cert-lifetime=1h");
        assert!(spaced.is_ok(), "{spaced:?}");
        assert_eq!(format!("{spaced:?}"), format!("{equals:?}"));
    }

    #[test]
    fn an_authority_takes_lists_and_looks_at_its_secret_well_within_the_overlap() {
        let line = "ca --namespace mesh --audience a,b --dns-name ca,10.0.0.1 --max-lifetime 1h --overlap 8s";
        let Ok(Command::Ca(options)) = parse_text(line) else { panic!("refused: {line}") };
        let settings = options.settings;
        assert_eq!(settings.audiences, ["a", "b"]);
        assert_eq!(settings.names, ["ca", "10.0.0.1"]);
        assert_eq!(settings.agent_account.to_string(), "mesh/culvert-agent");
        assert_eq!(settings.poll.as_secs(), 2);
        assert!(settings.default_lifetime <= settings.max_lifetime);
        for line in [
            "ca --audience a,",
            "ca --listen 15012",
            "ca --agent-account culvert-agent",
            "ca --root-lifetime 1h",
        ] {
            assert!(parse_text(line).is_err(), "{line}");
        }
    }

    #[test]
    fn help_names_each_flag() {
        for subcommand in SUBCOMMANDS {
            let Ok(Command::Print(text)) = parse_text(&format!("{} --help", subcommand.name)) else {
                panic!("no help for {}", subcommand.name)
            };
            assert!(subcommand.flags.iter().all(|flag| text.contains(flag.name)), "{text}");
        }
    }
}
