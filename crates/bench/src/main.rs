//! The `tercet-bench` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tercet_bench::cli::main()
}
