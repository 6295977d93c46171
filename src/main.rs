//! The program (its subcommands are not wired yet).

fn main() {}
