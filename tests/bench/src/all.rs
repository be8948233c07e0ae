//! Everything that is measured, one after the other, each in a process of its own.

use std::process::Command;

/// What is measured, and with which words it is over in seconds.
const EVERYTHING: [(&str, &str); 7] = [
    ("drain", "--count 500 --rounds 1"),
    ("intake", "--count 200 --rounds 1"),
    ("lateness", "--rate 50 --seconds 2 --rounds 1"),
    ("claim", "--planned 2000,8000 --claims 2 --rounds 1"),
    ("snapshot", "--count 500 --rounds 1"),
    ("replicas", "--count 500 --rounds 1"),
    ("sqlite", "--count 500 --planned 5000 --rounds 1"),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only so much of each that one sees that it works: the figures say nothing
    #[arg(long)]
    short: bool,
}

pub(crate) fn run(args: &Args) {
    for (name, short) in EVERYTHING {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(name);
        if args.short {
            command.args(short.split(' '));
        }
        assert!(command.status().unwrap().success(), "{name} failed");
    }
}
